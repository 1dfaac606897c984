"""Comparing a message that was sent with what arrived: only the documented repairs may differ."""
import re

ADDED = ("Date", "Message-ID")


def header_fields(data):
    """The header as a list of raw fields (folding included), and the rest from the empty line on."""
    head, separator, body = data.partition(b"\r\n\r\n")
    if data.startswith(b"\r\n"):
        return [], data
    if separator:
        head += b"\r\n"
    fields = re.findall(rb"[^\r\n][^\n]*\n(?:[ \t][^\n]*\n)*", head)
    assert b"".join(fields) == head, "the header is not made of CRLF lines"
    return fields, (b"\r\n" + body if separator else b"")


def field_name(raw):
    return raw.partition(b":")[0].strip().decode("ascii", "replace").lower()


def field_values(data, name):
    return [raw.partition(b":")[2].strip().decode("utf-8", "replace")
            for raw in header_fields(data)[0] if field_name(raw) == name.lower()]


def without_repairs(kept, added=()):
    """`kept` less its first Received line and the first field of each name in `added`."""
    fields, rest = header_fields(kept)
    assert fields and field_name(fields[0]) == "received", kept[:200]
    fields = fields[1:]
    for name in added:
        at = next((i for i, raw in enumerate(fields) if field_name(raw) == name.lower()), None)
        assert at is not None, f"no {name} was added: {kept[:400]!r}"
        del fields[at]
    return b"".join(fields) + rest


def assert_arrived(sent, kept, added=()):
    """What arrived is what was sent, but for a Received line on top and the fields named in `added`."""
    got = without_repairs(kept, added)
    if got != sent:
        at = next((i for i, (a, b) in enumerate(zip(got, sent)) if a != b), min(len(got), len(sent)))
        raise AssertionError(f"differs at octet {at}: arrived {got[at - 40:at + 60]!r}, "
                             f"sent {sent[at - 40:at + 60]!r} (lengths {len(got)}, {len(sent)})")
    assert b"\n" not in kept.replace(b"\r\n", b""), "bare line ends arrived"


COMPLETE = (b"Date: Sat, 21 Nov 2026 22:06:22 +0000\r\nMessage-ID: <kept@corp.example>\r\n"
            b"From: a@corp.example\r\nTo: b@example.test\r\nSubject: complete\r\n")


def complete(body=b"Hello.\r\n", extra=b""):
    """A message that needs no repair but the Received line."""
    return COMPLETE + extra + b"\r\n" + body
