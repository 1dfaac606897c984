"""Mail through the service to real servers: NTLM by SSPI into Postfix with Dovecot and winbindd, and what TLS refuses."""
import smtplib
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness.message import assert_arrived, complete
from harness.net import first_refusal


def send(port, recipient, data):
    with smtplib.SMTP("127.0.0.1", port, "client.example", timeout=60) as client:
        client.sendmail("a@corp.example", [recipient], data)


def test_messages_arrive_octet_for_octet_with_ntlm(service, postfix_dovecot, rcpt):
    service.configure(postfix_dovecot)
    service.start()
    bodies = {"small": b"Hello.\r\n", "dots": b".\r\n..\r\n.x\r\n", "large": b"0123456789abcdef" * 4 + b"\r\n",
              "eight": "grüße €\r\n".encode()}
    bodies["large"] *= 120000  # 8 MB
    for word, body in bodies.items():
        recipient = rcpt(word)
        send(service.port, recipient, complete(body))
        kept = postfix_dovecot.one_to(recipient)
        assert kept.method == "NTLM" and kept.user.lower() in ("user", r"corp\user", "user@corp"), kept.user
        assert_arrived(complete(body), kept.data)


def test_many_clients_at_once(service, postfix_dovecot, rcpt):
    service.configure(postfix_dovecot)
    service.start()
    recipients = [rcpt("many") for _ in range(60)]
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda recipient: send(service.port, recipient, complete(b"x" * 3000 + b"\r\n")), recipients))
    for recipient in recipients:
        postfix_dovecot.one_to(recipient)


@pytest.mark.parametrize("username", [r"CORP\umlaut", "umlaut@CORP"])
def test_password_beyond_ascii(service, postfix_dovecot, rcpt, username):
    service.configure(postfix_dovecot, {"account": {"username": username, "password": "pässwörd €1"}})
    service.start()
    recipient = rcpt()
    send(service.port, recipient, complete())
    assert postfix_dovecot.one_to(recipient).method == "NTLM"


def test_a_refused_password_is_tried_twice_at_most(windows, service, rogue):
    server = rogue(replies={"AUTH": "535 5.7.3 Authentication unsuccessful"})
    service.configure(server, {"delivery": {"on_failure": "defer"}})
    seen = len(windows.events("logins_paused"))
    service.start()
    for _ in range(6):
        assert first_refusal(service.port)[1].code == 451
    assert len(server.logins) == 2
    windows.wait_event("logins_paused", seen)


@pytest.mark.parametrize("certificate, trust", [
    ("expired", "file"), ("wrong_name", "file"), ("unknown_ca", "file"), ("self_signed", "file"),
    ("good", "windows"), ("self_signed", "windows"),
])
def test_nothing_goes_to_a_server_that_cannot_be_trusted(windows, service, rogue, certificate, trust):
    """`windows`: no tls_ca_file, and Windows does not know the authority either."""
    server = rogue(cert=certificate)
    no_file = {"tls_ca_file": None} if trust == "windows" else {}
    service.configure(server, {"upstream": no_file, "delivery": {"on_failure": "defer"}})
    seen = len(windows.events("upstream_failed"))
    service.start()
    step, reply = first_refusal(service.port)
    assert step == "RCPT" and str(reply).startswith("451 4.7.5 not delivered now: "), reply
    event = windows.wait_event("upstream_failed", seen)
    assert event.level == "error" and event.fields["kind"] == "TLS" and "certificate" in event.fields["reason"], event
    assert not server.logins and not server.messages


def test_a_server_without_starttls_gets_nothing(windows, service, rogue):
    server = rogue(offers_starttls=False)
    service.configure(server, {"delivery": {"on_failure": "defer"}})
    service.start()
    assert str(first_refusal(service.port)[1]).startswith("451 4.7.5 not delivered now: localhost: the server does not")
    assert not server.logins
