"""A small NTLM client (MS-NLMP) for tests: it can do what a good client must not do.

Type 1 and Type 3 as bytes; NTLMv2 or NTLMv1; a channel binding that is right, wrong, zero or absent.
"""
import hashlib
import hmac
import os
import struct
import time

SIGNATURE = b"NTLMSSP\0"
UNICODE, REQUEST_TARGET, NTLM, ALWAYS_SIGN, EXTENDED = 0x1, 0x4, 0x200, 0x8000, 0x80000
TARGET_INFO, KEY_128, KEY_56 = 0x800000, 0x20000000, 0x80000000
FLAGS = UNICODE | REQUEST_TARGET | NTLM | ALWAYS_SIGN | EXTENDED | TARGET_INFO | KEY_128 | KEY_56
AV_EOL, AV_TIMESTAMP, AV_BINDING = 0, 7, 10
HEADER_SIZE = 64


def rotate(value, count):
    value &= 0xFFFFFFFF
    return (value << count | value >> (32 - count)) & 0xFFFFFFFF


def md4(data):
    """RFC 1320; OpenSSL 3 keeps its own in the legacy provider."""
    rounds = (
        (lambda x, y, z: x & y | ~x & z, 0, tuple(range(16)), (3, 7, 11, 19)),
        (lambda x, y, z: x & y | x & z | y & z, 0x5A827999,
         (0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), (3, 5, 9, 13)),
        (lambda x, y, z: x ^ y ^ z, 0x6ED9EBA1,
         (0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15), (3, 9, 11, 15)),
    )
    state = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476]
    padded = data + b"\x80" + bytes((55 - len(data)) % 64) + struct.pack("<Q", 8 * len(data))
    for at in range(0, len(padded), 64):
        words = struct.unpack("<16I", padded[at:at + 64])
        a, b, c, d = state
        for function, constant, order, shifts in rounds:
            for i, k in enumerate(order):
                new = rotate(a + function(b, c, d) + words[k] + constant, shifts[i % 4])
                a, b, c, d = d, new, b, c
        state = [(old + new) & 0xFFFFFFFF for old, new in zip(state, (a, b, c, d))]
    return struct.pack("<4I", *state)


def md5_hmac(key, data):
    return hmac.new(key, data, "md5").digest()


def end_point_binding(certificate_der):
    """tls-server-end-point (RFC 5929 4.1) of a certificate that is signed with SHA-256."""
    return b"tls-server-end-point:" + hashlib.sha256(certificate_der).digest()


def binding_hash(application_data):
    """MD5 of the GSS channel bindings with empty addresses."""
    return hashlib.md5(bytes(16) + struct.pack("<I", len(application_data)) + application_data).digest()


def pair(kind, value):
    return struct.pack("<HH", kind, len(value)) + value


def pairs_of(target_info):
    result, at = [], 0
    while True:
        kind, size = struct.unpack_from("<HH", target_info, at)
        if kind == AV_EOL:
            return result
        result.append((kind, target_info[at + 4:at + 4 + size]))
        at += 4 + size


def type1():
    return SIGNATURE + struct.pack("<II", 1, FLAGS) + bytes(24)  # no domain, no workstation, no version


class Challenge:
    """A Type 2, taken apart."""

    def __init__(self, token):
        assert token.startswith(SIGNATURE) and token[8:12] == b"\2\0\0\0", token
        self.server_challenge = token[24:32]
        size, _, at = struct.unpack_from("<HHI", token, 40)
        self.pairs = pairs_of(token[at:at + size])


def ntlm2_key(domain, user, password):
    return md5_hmac(md4(password.encode("utf-16-le")), (user.upper() + domain).encode("utf-16-le"))


def ntlmv2_response(challenge, domain, user, password, binding):
    """`binding`: 16 octets for AV pair 0x000A, or None to leave it out."""
    pairs = [(kind, value) for kind, value in challenge.pairs if kind != AV_BINDING]
    stamp = next((value for kind, value in pairs if kind == AV_TIMESTAMP),
                 struct.pack("<Q", int((time.time() + 11644473600) * 10**7)))
    if binding is not None:
        pairs.append((AV_BINDING, binding))
    blob = b"\1\1" + bytes(6) + stamp + os.urandom(8) + bytes(4)
    blob += b"".join(pair(kind, value) for kind, value in pairs) + pair(AV_EOL, b"") + bytes(4)
    proof = md5_hmac(ntlm2_key(domain, user, password), challenge.server_challenge + blob)
    return proof + blob


def type3(type2, domain, user, password, binding=None, response=None):
    """`response` replaces the NTLMv2 response, as 24 octets of NTLMv1 would."""
    if response is None:
        response = ntlmv2_response(Challenge(type2), domain, user, password, binding)
    lm_response = bytes(24)
    texts = [text.encode("utf-16-le") for text in (domain, user, "TESTS")]
    parts = [lm_response, response, *texts, b""]
    header, payload = b"", b""
    for part in parts:
        header += struct.pack("<HHI", len(part), len(part), HEADER_SIZE + len(payload))
        payload += part
    return SIGNATURE + struct.pack("<I", 3) + header + struct.pack("<I", FLAGS) + payload
