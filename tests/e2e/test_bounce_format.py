"""The bounces that the unit tests keep as files, read by another program: Python's email package."""
import email
import email.policy
import re
from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[1] / "unit" / "data"
FILES = sorted(DATA.glob("bounce_*.eml"))
# What test_bounce.c put in: (recipients, statuses)
WANTED = {
    "refused": (["rfc822; jane@corp.example"], ["5.1.1"]),
    "several": (["rfc822; jane@corp.example", 'rfc822; "a  b"@corp.example', "rfc822; late@corp.example",
                 "rfc822; dark@corp.example", "rfc822; mute@corp.example"],
                ["5.7.60", "5.0.0", "4.4.7", "4.4.7", "4.4.7"]),
    "international": ([r"utf-8; j\x{FC}rgen@b\x{FC}cher.example",
                       r'utf-8; "\x{20AC}\x{20}\x{5C}a"\x{2B}b\x{3D}c@corp.example'], ["5.1.1", "5.0.0"]),
    "hostile": (["rfc822; a@b??Bcc: x@evil.example", "rfc822; ??@x"], ["5.1.1", "5.0.0"]),
}


def name_of(file):
    return file.stem.removeprefix("bounce_")


def parse(file):
    data = file.read_bytes().replace(b"\n", b"\r\n")
    return email.message_from_bytes(data, policy=email.policy.default)


@pytest.fixture(params=FILES, ids=name_of)
def file(request):
    return request.param


def test_every_case_has_its_file():
    assert {name_of(f) for f in FILES} == set(WANTED)


def test_is_a_report_of_three_parts(file):
    report = parse(file)
    assert report.get_content_type() == "multipart/report"
    assert report.get_param("report-type") == "delivery-status"
    assert [p.get_content_type() for p in report.iter_parts()] == [
        "text/plain", "message/delivery-status", "text/rfc822-headers"]
    for part in report.walk():
        assert not part.defects, part.defects


def test_header_is_ours_alone(file):
    report = parse(file)
    assert [n.lower() for n in report.keys()] == [
        "date", "from", "to", "subject", "message-id", "auto-submitted", "mime-version", "content-type"]
    assert report["From"].addresses[0].display_name == "Mail Delivery System"
    assert report["Date"].datetime.isoformat() == "2026-11-21T22:06:40+00:00"
    assert report["Auto-Submitted"] == "auto-replied"


def test_status_fields(file):
    status = list(parse(file).iter_parts())[1]
    whole, *each = status.get_payload()
    assert whole["Reporting-MTA"].startswith("dns; relay")
    assert whole["Arrival-Date"] == "Sat, 21 Nov 2026 22:06:22 +0000"
    recipients, statuses = WANTED[name_of(file)]
    assert [r["Final-Recipient"] for r in each] == recipients
    assert [r["Status"] for r in each] == statuses
    assert all(r["Action"] == "failed" for r in each)
    allowed = {"Original-Recipient", "Final-Recipient", "Action", "Status", "Remote-MTA", "Diagnostic-Code"}
    for recipient in each:
        assert set(recipient.keys()) <= allowed


def test_parts_for_people_can_be_read(file):
    words, _, header = parse(file).iter_parts()
    text = words.get_content()
    assert "could not be delivered" in text and "\ufffd" not in text
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", text)
    assert header.get_payload(decode=True).lstrip().lower().startswith((b"received:", b"from:", b"subject:"))


def test_international_text_comes_back_whole():
    words, _, header = parse(DATA / "bounce_international.eml").iter_parts()
    assert "jürgen@bücher.example" in words.get_content()
    assert "Unbekannt: Jürgen €" in words.get_content()
    assert header.get_payload(decode=True).decode() == "From: grüße@corp.example\r\nSubject: Grüße 📧\r\n"
