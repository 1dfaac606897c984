"""MAIL is answered at once; what the upstream says to the sender is what the recipients hear (decisions/0012)."""
import time

import pytest

from harness.message import complete
from harness.net import free_port
from harness.rogue import DROP
from harness.upstream import Upstream
from spoollib import keeper

__all__ = ["keeper"]

PASSED_ON = "250 2.1.0 sender will be passed on"
MAIL_FIRST = "503 5.5.1 MAIL first"
CAPS = ("SIZE 37748736", "8BITMIME")
REFUSALS = {
    "550": ("550-5.7.60 SMTP; Client does not have permissions\r\n550 5.7.60 to send as this sender",
            "550 5.7.60 SMTP; Client does not have permissions\n5.7.60 to send as this sender"),
    "451": ("451 4.7.0 Temporary server error. Please try again later. PRX2",) * 2,
}


def said(server, verb):
    return [line for s in server.sessions for line in s.lines if line.startswith(verb)]


def rcpt(n):
    return f"RCPT TO:<b{n}@example.test>"


def say(client, lines, pipelined):
    if not pipelined:
        return [client.cmd(line) for line in lines]
    client.send("".join(line + "\r\n" for line in lines))
    return client.replies(len(lines))


def assert_next_message_goes(client):
    assert client.cmd("RSET").code == 250
    replies = say(client, ["MAIL FROM:<a@corp.example>", rcpt(9), "DATA"], pipelined=False)
    assert [r.code for r in replies] == [250, 250, 354]
    client.send(complete() + b".\r\n")
    assert client.reply().code == 250


def test_mail_alone_takes_no_session_and_asks_nobody(submitd, rogue):
    server = rogue()
    daemon = submitd(server, {"upstream": {"max_sessions": 1}})
    daemon.wait_event("upstream_ready")
    with daemon.raw() as client:
        client.hello()
        assert str(client.cmd("MAIL FROM:<first@corp.example>")) == PASSED_ON
        began = time.monotonic()
        daemon.send(complete(), ["b@example.test"], sender="second@corp.example")
        assert time.monotonic() - began < 1, "the only session was free"
        assert [line.split(">")[0] for line in said(server, "MAIL")] == ["MAIL FROM:<second@corp.example"]
        assert client.cmd(rcpt(1)).code == 250
        assert [line.split(">")[0] for line in said(server, "MAIL")][1:] == ["MAIL FROM:<first@corp.example"]
    assert len(server.sessions) == 1


def test_mail_alone_does_not_need_an_upstream(submitd, rogue):
    """Nor is it put off because the upstream was out of order a moment ago: by the first RCPT it may work again."""
    server = rogue(replies={"BANNER": "421 4.3.2 Service not available"})
    daemon = submitd(server)
    daemon.wait_event("upstream_failed")
    with daemon.raw() as client:
        client.hello()
        tried = len(server.sessions)
        assert str(client.cmd("MAIL FROM:<a@corp.example>")) == PASSED_ON
        assert len(server.sessions) == tried
        server.script.replies.clear()
        assert client.cmd(rcpt(1)).code == 250


def test_mail_goes_out_together_with_the_first_recipient(submitd, rogue):
    """Though the client waited in between, and not at all before a server without PIPELINING has answered."""
    seen = []

    def look(session):
        time.sleep(0.3)
        session.sock.settimeout(0.1)
        try:
            session.read_more()
        except TimeoutError:
            pass
        session.sock.settimeout(None)
        seen.append(session.buffer.split(b":")[0])
    for caps in (("PIPELINING", *CAPS), CAPS):
        daemon = submitd(rogue(caps=caps, replies={"MAIL": look}))
        daemon.send(complete(), ["b@example.test"])
    assert seen == [b"RCPT TO", b""]


def test_the_next_mail_needs_no_rset_when_nobody_was_accepted(submitd, rogue):
    """Programs that give a message up and begin another one hear no 503: neither behind a refused sender, for message after
    message, nor when the upstream is out of order."""
    server = rogue(replies={"MAIL": ["550 5.7.60 no"] * 30 + [None]})
    daemon = submitd(server)
    with daemon.raw() as client:
        client.hello()
        for _ in range(30):
            assert str(client.cmd("MAIL FROM:<a@corp.example>")) == PASSED_ON
            assert str(client.cmd(rcpt(1))) == "550 5.7.60 no"
        assert [r.code for r in say(client, ["MAIL FROM:<a@corp.example>", rcpt(1), "DATA"], False)] == [250, 250, 354]
        client.send(complete() + b".\r\n")
        assert client.reply().code == 250
    down = submitd(Upstream(port=free_port(), ca=server.ca, maildir=None))
    with down.raw() as client:
        client.hello()
        replies = say(client, ["MAIL FROM:<a@corp.example>", rcpt(1), "MAIL FROM:<b@corp.example>", rcpt(2), "DATA"], False)
        assert [r.code for r in replies] == [250, 451, 250, 451, 451]


pipelined_or_not = pytest.mark.parametrize("pipelined", [False, True], ids=["in turn", "together"])


@pytest.fixture(params=["defer", "spool"])
def start(request, submitd, keeper):
    """start(server): a daemon whose session is logged in. With a spool as without one, a refusal is no reason to keep."""
    def begin(server):
        daemon = submitd(server) if request.param == "defer" else keeper(server, mode="relay")
        daemon.wait_event("upstream_ready")
        return daemon
    return begin


def assert_refused(daemon, server):
    """The log has MAIL's refusal once, and only the message behind it went anywhere."""
    assert [e["command"] for e in daemon.events("refused")] == ["MAIL"]
    assert len(server.messages) == 1 and not daemon.events("session_replaced")
    assert not daemon.events("queued") and not daemon.events("deferred")


@pytest.mark.parametrize("refusal", REFUSALS)
@pipelined_or_not
@pytest.mark.parametrize("caps", [("PIPELINING", *CAPS), CAPS], ids=["pipelining", "no pipelining"])
@pytest.mark.parametrize("to_rcpt", [MAIL_FIRST, "250 2.1.5 never mind"], ids=["503", "250"])
def test_every_recipient_hears_the_refusal_of_mail(start, rogue, refusal, pipelined, caps, to_rcpt):
    """Its words and all its lines, whatever the server says to RCPT then; and the session is good for more."""
    wire, heard = REFUSALS[refusal]
    server = rogue(caps=caps, replies={"MAIL": [wire, None], "RCPT": to_rcpt})
    daemon = start(server)
    with daemon.raw() as client:
        client.hello()
        replies = say(client, ["MAIL FROM:<a@corp.example>", rcpt(1), rcpt(2), rcpt(3), "DATA"], pipelined)
        assert str(replies[0]) == PASSED_ON
        assert [str(r) for r in replies[1:4]] == [heard] * 3
        assert str(replies[4]) == (heard if refusal == "451" else "554 5.5.1 no valid recipients")
        assert str(client.cmd(rcpt(4))) == heard, "also behind DATA"
        assert len(said(server, "RCPT")) == (3 if pipelined else 1), "nobody asks when the answer is known"
        server.script.replies.clear()
        assert_next_message_goes(client)
    assert len(server.sessions) == 1
    assert_refused(daemon, server)


@pytest.mark.parametrize("refusal", REFUSALS)
@pipelined_or_not
@pytest.mark.parametrize("last_words", [None, "421 4.4.1 closing"], ids=["dies", "421"])
def test_the_server_refuses_mail_and_goes_away(start, rogue, refusal, pipelined, last_words):
    """Before it has answered RCPT. What it said counts: it is not asked again, and it is no trouble on the way."""
    wire, heard = REFUSALS[refusal]

    def refuse_and_go(session):
        while b"RCPT TO" not in session.buffer:
            session.read_more()
        session.sock.sendall("".join(f"{line}\r\n" for line in (wire, last_words) if line).encode())
        return DROP
    server = rogue(replies={"MAIL": [refuse_and_go, None]})
    daemon = start(server)
    with daemon.raw() as client:
        client.hello()
        replies = say(client, ["MAIL FROM:<a@corp.example>", rcpt(1), rcpt(2), "DATA"], pipelined)
        assert [str(r) for r in replies[:3]] == [PASSED_ON, heard, heard]
        assert str(replies[3]) == (heard if refusal == "451" else "554 5.5.1 no valid recipients")
        assert_next_message_goes(client)
    assert len(server.sessions) == 2
    assert_refused(daemon, server)


def test_mail_is_refused_after_a_rest_that_nobody_was_accepted_before(submitd, rogue):
    """No word is taken back then: the next recipient hears the refusal."""
    wire, heard = REFUSALS["550"]
    server = rogue(replies={"MAIL": [None, wire], "RCPT": ["550 5.1.1 User unknown", MAIL_FIRST]})
    daemon = submitd(server)
    with daemon.raw() as client:
        client.hello()
        assert [r.code for r in say(client, ["MAIL FROM:<a@corp.example>", rcpt(1)], pipelined=False)] == [250, 550]
        daemon.wait_event("session_rested")
        assert str(client.cmd(rcpt(2))) == heard
        server.script.replies.clear()
        assert_next_message_goes(client)
    assert len(server.sessions) == 1
