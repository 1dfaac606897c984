#!/usr/bin/python3
"""NTLMSSP messages (MS-NLMP): takes a Type 3 apart, verifies it, makes a Type 2 to provoke one.

ntlmparse.py TYPE3 [--cert PEM] [--challenge HEX --user U --domain D --password P]
TYPE3 is a file with the message in binary or base64. With --cert the channel binding must be that of the
certificate (hash SHA-256), with --challenge the NTLMv2 proof must be right. Exit 1 when it is not.
"""
import argparse
import base64
import hashlib
import hmac
import ssl
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field

SIGNATURE = b"NTLMSSP\0"
AV_EOL, AV_NB_COMPUTER, AV_NB_DOMAIN, AV_DNS_COMPUTER, AV_DNS_DOMAIN = 0, 1, 2, 3, 4
AV_FLAGS, AV_TIMESTAMP, AV_TARGET_NAME, AV_CHANNEL_BINDINGS = 6, 7, 9, 10
AV_NAMES = {1: "NbComputerName", 2: "NbDomainName", 3: "DnsComputerName", 4: "DnsDomainName",
            5: "DnsTreeName", 6: "Flags", 7: "Timestamp", 8: "SingleHost", 9: "TargetName",
            10: "ChannelBindings"}
FLAG_UNICODE = 0x00000001
# UNICODE REQUEST_TARGET NTLM ALWAYS_SIGN TARGET_TYPE_DOMAIN ESS TARGET_INFO VERSION 128 56
TYPE2_FLAGS = 0xA2898205
SECONDS_1601_TO_1970 = 11644473600
VERSION = bytes([10, 0, 0x63, 0x45, 0, 0, 0, 15])


@dataclass
class Type3:
    raw: bytes
    domain: str
    user: str
    workstation: str
    flags: int
    lm: bytes
    nt: bytes
    av: dict = field(default_factory=dict)

    @property
    def is_v2(self):
        return len(self.nt) > 24

    @property
    def channel_binding(self):
        """MD5 of the binding, None without one. All zero is what a client without one may send, too."""
        value = self.av.get(AV_CHANNEL_BINDINGS)
        return value if value and any(value) else None


def secbuf(message, at):
    length, _, offset = struct.unpack("<HHI", message[at:at + 8])
    return message[offset:offset + length]


def av_pairs(data):
    pairs = {}
    while len(data) >= 4:
        av_id, length = struct.unpack("<HH", data[:4])
        if av_id == AV_EOL:
            break
        pairs[av_id] = data[4:4 + length]
        data = data[4 + length:]
    return pairs


def parse_type3(message):
    if not message.startswith(SIGNATURE):
        message = base64.b64decode(message)
    if message[:8] != SIGNATURE or struct.unpack("<I", message[8:12])[0] != 3:
        raise ValueError("not an NTLMSSP Type 3 message")
    flags = struct.unpack("<I", message[60:64])[0]
    encoding = "utf-16-le" if flags & FLAG_UNICODE else "cp437"
    nt = secbuf(message, 20)
    return Type3(raw=message, domain=secbuf(message, 28).decode(encoding),
                 user=secbuf(message, 36).decode(encoding),
                 workstation=secbuf(message, 44).decode(encoding), flags=flags,
                 lm=secbuf(message, 12), nt=nt, av=av_pairs(nt[44:]) if len(nt) > 24 else {})


def make_type2(challenge, domain="CORP", computer="MAIL", target_info=True):
    """A Type 2 as Exchange sends it; without target information as Cyrus SASL does."""
    name = domain.encode("utf-16-le")
    now = int((time.time() + SECONDS_1601_TO_1970) * 10_000_000)
    pairs = [(AV_NB_DOMAIN, name), (AV_NB_COMPUTER, computer.encode("utf-16-le")),
             (AV_DNS_DOMAIN, "corp.example".encode("utf-16-le")),
             (AV_DNS_COMPUTER, "mail.corp.example".encode("utf-16-le")),
             (AV_TIMESTAMP, struct.pack("<Q", now)), (AV_EOL, b"")]
    info = b"".join(struct.pack("<HH", k, len(v)) + v for k, v in pairs) if target_info else b""
    flags = TYPE2_FLAGS if target_info else TYPE2_FLAGS & ~0x00800000
    head_size = 56
    head = SIGNATURE + struct.pack("<I", 2) + struct.pack("<HHI", len(name), len(name), head_size)
    head += struct.pack("<I", flags) + challenge + bytes(8)
    head += struct.pack("<HHI", len(info), len(info), head_size + len(name)) + VERSION
    return head + name + info


def binding_of_certificate(pem_text):
    """MD5 of gss_channel_bindings_struct with tls-server-end-point (RFC 5929, SHA-256 certificates)."""
    begin, end = pem_text.index("-----BEGIN CERTIFICATE-----"), pem_text.index("-----END CERTIFICATE-----")
    der = ssl.PEM_cert_to_DER_cert(pem_text[begin:end] + "-----END CERTIFICATE-----")
    digest = hashlib.sha256(der).digest()
    data = b"tls-server-end-point:" + digest
    return hashlib.md5(bytes(16) + struct.pack("<I", len(data)) + data).digest()


def md4(data):
    run = subprocess.run(["openssl", "dgst", "-md4", "-provider", "legacy", "-provider", "default", "-r"],
                         input=data, capture_output=True, check=True)
    return bytes.fromhex(run.stdout[:32].decode())


def proof_is_right(type3, challenge, password, user=None, domain=None):
    """The NTLMv2 proof (MS-NLMP 3.3.2), by default for the user and domain the Type 3 names."""
    user = type3.user if user is None else user
    domain = type3.domain if domain is None else domain
    identity = (user.upper() + domain).encode("utf-16-le")
    key = hmac.new(md4(password.encode("utf-16-le")), identity, "md5").digest()
    return hmac.new(key, challenge + type3.nt[16:], "md5").digest() == type3.nt[:16]


def describe(type3):
    yield f"domain={type3.domain!r} user={type3.user!r} workstation={type3.workstation!r}"
    yield f"flags=0x{type3.flags:08x} LM response {len(type3.lm)} octets"
    yield f"{'NTLMv2' if type3.is_v2 else 'NTLMv1'} response {len(type3.nt)} octets"
    for av_id, value in type3.av.items():
        is_text = av_id in (1, 2, 3, 4, 5, AV_TARGET_NAME)
        shown = repr(value.decode("utf-16-le")) if is_text else value.hex()
        yield f"  {AV_NAMES.get(av_id, av_id)} {shown}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    for option in ("--cert", "--challenge", "--user", "--domain", "--password"):
        parser.add_argument(option)
    args = parser.parse_args()
    with open(args.file, "rb") as f:
        type3 = parse_type3(f.read())
    print("\n".join(describe(type3)))
    checks = []
    if args.cert:
        with open(args.cert, encoding="ascii") as f:
            checks.append(("channel binding", type3.channel_binding == binding_of_certificate(f.read())))
    if args.challenge:
        right = proof_is_right(type3, bytes.fromhex(args.challenge), args.password, args.user, args.domain)
        checks.append(("NTLMv2 proof", right))
    for name, is_right in checks:
        print(f"{name}: {'right' if is_right else 'WRONG'}")
    return 0 if all(is_right for _, is_right in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
