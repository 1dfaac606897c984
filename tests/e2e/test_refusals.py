"""An upstream that is broken, hostile or gone: the client hears 451 and the reason, never a 5xx; the log names it."""
import re
import smtplib
import ssl

import pytest

from harness import expected
from harness.message import complete
from harness.net import first_refusal, free_port
from harness.rogue import DROP, HANG
from harness.wait import until

SHORT = {"connect_timeout": "1s", "command_timeout": "1s", "data_timeout": "1s", "final_timeout": "1s"}
RATE = "421 4.4.2 Message submission rate for this client has exceeded the configured limit"

# name in expected.REFUSALS: (script of the rogue server, [upstream] options, step where the client hears it).
# The server is asked with the first RCPT, so that is where all before it is heard.
CASES = {
    "starttls not offered": ({"offers_starttls": False}, {}, "RCPT"),
    "starttls 454": ({"replies": {"STARTTLS": "454 4.7.0 TLS not available"}}, {}, "RCPT"),
    "starttls 999": ({"replies": {"STARTTLS": "999 what"}}, {}, "RCPT"),
    "starttls 220 with plaintext behind": (
        {"replies": {"STARTTLS": b"220 2.0.0 go ahead\r\n250-injected\r\n250 AUTH PLAIN\r\n"}}, {}, "RCPT"),
    "expired": ({"cert": "expired"}, {}, "RCPT"),
    "wrong name": ({"cert": "wrong_name"}, {}, "RCPT"),
    "unknown ca": ({"cert": "unknown_ca"}, {}, "RCPT"),
    "self signed": ({"cert": "self_signed"}, {}, "RCPT"),
    "wrong password": ({"replies": {"AUTH": "535 5.7.3 Authentication unsuccessful"}}, {}, "RCPT"),
    "login 454": ({"replies": {"AUTH": "454 4.7.0 Temporary authentication failure"}}, {}, "RCPT"),
    "no common mechanism": ({"mechs": "GSSAPI"}, {}, "RCPT"),
    "no mechanism at all": ({"mechs": ""}, {}, "RCPT"),
    "configured mechanism missing": ({}, {"auth": "cram-md5"}, "RCPT"),
    "hangs before the banner": ({"replies": {"BANNER": HANG}}, SHORT, "RCPT"),
    "hangs at ehlo": ({"replies": {"EHLO": HANG}}, SHORT, "RCPT"),
    "hangs at auth": ({"replies": {"AUTH": HANG}}, SHORT, "RCPT"),
    "hangs at mail": ({"replies": {"MAIL": HANG}}, SHORT, "RCPT"),
    "hangs at rcpt": ({"replies": {"RCPT": HANG}}, SHORT, "RCPT"),
    "hangs at data": ({"replies": {"DATA": HANG}}, SHORT, "DATA"),
    "hangs at dot": ({"replies": {"DOT": HANG}}, SHORT, "DOT"),
    "banner 421": ({"replies": {"BANNER": "421 4.3.2 Service not available"}}, {}, "RCPT"),
    "banner 554": ({"replies": {"BANNER": "554 5.7.1 go away"}}, {}, "RCPT"),
    "banner is no smtp": ({"replies": {"BANNER": b"HTTP/1.1 400 Bad Request\r\n\r\n"}}, {}, "RCPT"),
    "ehlo and helo refused": ({"replies": {"EHLO": "502 5.5.1 no", "HELO": "502 5.5.1 no"}}, {}, "RCPT"),
    "dies at banner": ({"replies": {"BANNER": DROP}}, {}, "RCPT"),
    "dies at starttls": ({"replies": {"STARTTLS": DROP}}, {}, "RCPT"),
    "dies at auth": ({"replies": {"AUTH": DROP}}, {}, "RCPT"),
    "dies at mail": ({"replies": {"MAIL": DROP}}, {}, "RCPT"),
    "dies at rcpt": ({"replies": {"RCPT": DROP}}, {}, "RCPT"),
    "dies at data": ({"replies": {"DATA": DROP}}, {}, "DATA"),
    "dies in the body": ({"replies": {"BODY": DROP}}, {}, "DOT"),
    "dies after the dot": ({"replies": {"DOT": DROP}}, {}, "DOT"),
    "421 at mail": ({"replies": {"MAIL": RATE}}, {}, "RCPT"),
    "421 at rcpt": ({"replies": {"RCPT": RATE}}, {}, "RCPT"),
    "421 at dot": ({"replies": {"DOT": RATE}}, {}, "DOT"),
    "530 at mail": ({"replies": {"MAIL": "530 5.7.57 Client not authenticated to send mail"}}, {}, "RCPT"),
}


def assert_refused(daemon, name, step, refusal):
    status, sentence = expected.REFUSALS[name]
    got_step, reply = refusal
    wanted = f"451 {re.escape(status)} {expected.NOT_NOW}{sentence}"
    assert re.fullmatch(wanted, str(reply)), f"{reply}\nwanted {wanted}"
    assert got_step == step, (got_step, reply)
    events = [e for e in daemon.events() if e.level in ("error", "warning")]
    said = [text for e in events for text in (e.get("reason", ""), e.get("reply", ""))]
    about_us = sentence.removeprefix("the upstream said: ")
    assert any(re.search(about_us, text) for text in said), said


@pytest.mark.parametrize("name", CASES)
def test_upstream_fault(submitd, rogue, name):
    script, options, step = CASES[name]
    server = rogue(**script)
    daemon = submitd(server, {"upstream": options})
    assert_refused(daemon, name, step, first_refusal(daemon.port))


@pytest.mark.parametrize("name", ["starttls not offered", "starttls 454", "starttls 999",
                                  "starttls 220 with plaintext behind", "expired", "wrong name", "unknown ca",
                                  "self signed"])
def test_no_credential_and_no_mail_without_verified_tls(submitd, rogue, name):
    script, options, _ = CASES[name]
    server = rogue(mechs_before_tls="NTLM LOGIN PLAIN", **script)
    daemon = submitd(server, {"upstream": options})
    first_refusal(daemon.port)
    said = [line.split(" ")[0].upper() for s in server.sessions for line in s.lines]
    assert set(said) <= {"EHLO", "HELO", "STARTTLS", "QUIT", "RSET"}, said


def test_what_was_offered_before_tls_is_forgotten(submitd, rogue):
    """A man in the middle adds LOGIN before TLS; after TLS the server offers only NTLM."""
    server = rogue(mechs_before_tls="LOGIN PLAIN NTLM", mechs="NTLM")
    daemon = submitd(server)
    daemon.send(complete(), ["b@example.test"])
    assert [mech for mech, _ in server.logins] == ["NTLM"]
    login = submitd(server, {"upstream": {"auth": "login"}})
    assert first_refusal(login.port)[1].code == 451


def test_connection_refused(submitd, rogue):
    server = rogue()
    server.port = free_port()
    daemon = submitd(server)
    assert_refused(daemon, "connection refused", "RCPT", first_refusal(daemon.port))


def test_name_does_not_resolve(submitd, rogue):
    server = rogue()
    server.host = "nosuch.invalid"
    daemon = submitd(server)
    assert_refused(daemon, "dns", "RCPT", first_refusal(daemon.port))


@pytest.mark.parametrize("cert", ["good", "self_signed", "expired", "wrong_name"])
def test_right_pin(submitd, rogue, certs, cert):
    """With a pin the key alone decides."""
    server = rogue(cert=cert)
    daemon = submitd(server, {"upstream": {"tls_ca_file": None, "tls_pin": certs.pin(cert)}})
    daemon.send(complete(), ["b@example.test"])
    assert len(server.messages) == 1


def test_wrong_pin(submitd, rogue, certs):
    server = rogue()
    daemon = submitd(server, {"upstream": {"tls_pin": certs.pin("self_signed")}})
    assert_refused(daemon, "wrong pin", "RCPT", first_refusal(daemon.port))


def test_verify_name(submitd, rogue):
    server = rogue(cert="wrong_name")
    daemon = submitd(server, {"upstream": {"tls_verify_name": "mail.elsewhere.example"}})
    daemon.send(complete(), ["b@example.test"])
    assert len(server.messages) == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_1_1_is_refused(submitd, rogue, monkeypatch):
    server = rogue()
    original = ssl.SSLContext.load_cert_chain

    def only_old(context, *args, **kwargs):
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        return original(context, *args, **kwargs)
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", only_old)
    daemon = submitd(server)
    step, reply = first_refusal(daemon.port)
    assert (step, reply.code) == ("RCPT", 451) and not server.logins


def test_helo_fallback(submitd, sandbox, rogue):
    """A server that knows no EHLO, on loopback without TLS."""
    server = rogue(replies={"EHLO": "502 5.5.1 what?"})
    daemon = submitd(server, {"account": None, "upstream": {
        "host": "127.0.0.1", "tls": "off", "auth": "none", "tls_ca_file": None}})
    daemon.send(complete(), ["b@example.test"])
    assert [line.split(" ")[0] for line in server.sessions[0].lines][:2] == ["EHLO", "HELO"]


def test_pipelined_message_is_put_off_as_a_whole(submitd, rogue):
    """A program that looks at the last reply only must not take our trouble for a refusal."""
    daemon = submitd(rogue(replies={"BANNER": "421 4.3.2 Service not available"}))
    with daemon.raw() as client:
        client.hello()
        for _ in range(30):  # and it is no fault of the client's, whose session is not ended for it
            client.send("MAIL FROM:<a@corp.example>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n")
            replies = client.replies(3)
            assert [r.code for r in replies] == [250, 451, 451] and replies[1] == replies[2], replies
            assert client.cmd("RSET").code == 250


def test_two_refused_logins_stop_the_account(submitd, rogue):
    """Active Directory locks an account after some refused logins; it must not come to that."""
    server = rogue(replies={"AUTH": "535 5.7.3 Authentication unsuccessful"})
    daemon = submitd(server)
    for _ in range(5):
        assert first_refusal(daemon.port)[1].code == 451
    assert len(server.logins) == 2
    assert re.match(expected.LOGINS_PAUSED, str(first_refusal(daemon.port)[1]))
    assert daemon.wait_event("logins_paused").level == "error"
    assert len(server.logins) == 2


def test_corrected_password_works_after_reload(submitd, rogue):
    server = rogue(replies={"AUTH": "535 5.7.3 Authentication unsuccessful"})
    daemon = submitd(server)
    for _ in range(3):
        first_refusal(daemon.port)
    server.script.replies.clear()
    daemon.reload({"account": {"password": "Changed-Pass3"}})
    daemon.wait_event(expected.EVENT_RELOADED)
    daemon.send(complete(), ["b@example.test"])
    assert len(server.messages) == 1


def test_another_wrong_password_at_a_reload_is_one_refused_login(submitd, rogue):
    """The directory counts on: it is told of at once, and not tried twice."""
    server = rogue(replies={"AUTH": "535 5.7.3 Authentication unsuccessful"})
    daemon = submitd(server)
    for _ in range(3):
        first_refusal(daemon.port)
    daemon.reload({"account": {"password": "Changed-Pass3"}})
    daemon.wait_event("logins_paused", count=2)
    for _ in range(3):
        assert first_refusal(daemon.port)[1].code == 451
    assert len(server.logins) == 3


def test_reloads_with_the_refused_password_try_it_once_each(submitd, rogue):
    """A SIGHUP may mean that the account was mended, or only that logs were rotated: one login, not two."""
    server = rogue(replies={"AUTH": "535 5.7.3 Authentication unsuccessful"})
    daemon = submitd(server)
    for _ in range(3):
        first_refusal(daemon.port)
    assert len(server.logins) == 2
    for reloads in (1, 2):
        daemon.reload()
        daemon.wait_event(expected.EVENT_RELOADED, count=reloads)
        daemon.wait_event("logins_paused", count=1 + reloads)
        for _ in range(3):
            assert first_refusal(daemon.port)[1].code == 451
        assert len(server.logins) == 2 + reloads


def test_nothing_is_a_5xx_before_the_first_login(submitd, rogue):
    """What the upstream offers is not known yet; a program that says BODY=8BITMIME must not lose its mail for it."""
    server = rogue(replies={"BANNER": "421 4.3.2 Service not available"})
    daemon = submitd(server)
    with daemon.smtp() as client:
        client.ehlo("old.example.test")
        assert client.has_extn("8bitmime") and client.has_extn("dsn") and not client.has_extn("smtputf8")
        assert client.docmd("MAIL FROM:<a@corp.example> BODY=8BITMIME RET=HDRS")[0] == 250
        assert client.docmd("RCPT TO:<b@example.test> NOTIFY=NEVER")[0] == 451


def test_upstream_comes_back(submitd, rogue):
    """After a failure the next message is tried at once."""
    server = rogue(replies={"BANNER": ["421 4.3.2 Service not available"] * 2 + [None]})
    daemon = submitd(server)
    until(lambda: daemon.events(expected.EVENT_UPSTREAM_FAILED), 10)
    assert first_refusal(daemon.port)[1].code == 451
    daemon.send(complete(), ["b@example.test"])
    assert len(server.messages) == 1


def test_upstreams_own_5xx_is_passed_on(submitd, rogue):
    server = rogue(replies={"MAIL": ["550 5.7.60 SMTP; Client does not have permissions to send as this sender", None],
                            "RCPT": ["503 5.5.1 MAIL first", "550-5.1.1 first line\r\n550 5.1.1 second line", None],
                            "DOT": ["554 5.6.0 Invalid message content", None]})
    daemon = submitd(server)
    assert first_refusal(daemon.port) == (
        "RCPT", (550, "5.7.60 SMTP; Client does not have permissions to send as this sender"))
    assert first_refusal(daemon.port) == ("RCPT", (550, "5.1.1 first line\n5.1.1 second line"))
    assert first_refusal(daemon.port) == ("DOT", (554, "5.6.0 Invalid message content"))
    assert first_refusal(daemon.port) == ("DOT", (250, "2.6.0 <1@rogue.test> Queued mail for delivery"))


def test_lost_after_the_dot_is_logged_as_uncertain(submitd, rogue):
    server = rogue(replies={"DOT": [DROP, None]})
    daemon = submitd(server)
    step, reply = first_refusal(daemon.port)
    assert (step, reply.code) == ("DOT", 451)
    assert daemon.wait_event(expected.EVENT_UNCERTAIN).level in ("warning", "error")
    daemon.send(complete(), ["b@example.test"])


def test_client_that_leaves_mid_message_delivers_nothing(submitd, sandbox, rcpt):
    """Neither over DATA nor over BDAT may half a message be taken for a whole one."""
    server = sandbox()
    for chunking in ("auto", "no"):
        daemon = submitd(server, {"upstream": {"chunking": chunking}})
        to = rcpt()
        with daemon.raw() as client:
            client.hello()
            client.send(f"MAIL FROM:<a@corp.example>\r\nRCPT TO:<{to}>\r\nDATA\r\n")
            assert [r.code for r in client.replies(3)] == [250, 250, 354]
            client.send(complete(b"half a line\r\n" * 20000))
        daemon.wait_event(expected.EVENT_DISCONNECT)
        after = rcpt()
        daemon.send(complete(), [after])
        server.one_to(after)
        assert not [m for m in server.messages() if to in m.recipients]


def test_smtplib_sees_the_451(submitd, rogue):
    server = rogue(replies={"DOT": DROP})
    with pytest.raises(smtplib.SMTPDataError) as refused:
        submitd(server).send(complete(), ["b@example.test"])
    assert refused.value.smtp_code == 451
