"""On a slow line a message costs few round trips: fewer than its client waits for."""
import time

import pytest

from harness.message import complete
from harness.turns import Turns
from harness.upstream import Upstream
from harness.wait import until

MAIL, RCPT = b"MAIL FROM:<a@corp.example>\r\n", b"RCPT TO:<%s@example.test>\r\n"
TEXT = complete(b"Hello.\r\n") + b".\r\n"
REST_SECONDS = 0.3  # nothing more is said: the session is logged in, or the last message is over


@pytest.fixture
def line(sandbox):
    """line(OPTIONS) starts a sandbox behind a counting line."""
    lines = []

    def start(*options):
        server = sandbox(*options)
        lines.append(Turns(server))
        lines[-1].server = server
        lines[-1].upstream = Upstream(port=lines[-1].port, ca=server.ca, maildir=server.maildir)
        return lines[-1]
    yield start
    for one in lines:
        one.close()


def at_rest(line):
    """The count, once it stands still."""
    before = -1
    while line.count != before:
        before = line.count
        time.sleep(REST_SECONDS)
    return line.count


def warm(submitd, line, **delivery):
    """A daemon whose session is logged in."""
    daemon = submitd(line.upstream, {"delivery": delivery, "upstream": {"max_sessions": 1}})
    daemon.wait_event("upstream_ready")
    at_rest(line)
    return daemon


def speak_in_turn(client, name, rcpts=1):
    """One command after the other; returns how often the client waited."""
    steps = [MAIL, *[RCPT % b"%s%d" % (name, i) for i in range(rcpts)], b"DATA\r\n", TEXT]
    for step in steps:
        client.send(step)
        assert client.reply().code in (250, 354)
    return len(steps)


def speak_together(client, name, rcpts=1):
    """All that may be said together is."""
    client.send(MAIL + b"".join(RCPT % b"%s%d" % (name, i) for i in range(rcpts)) + b"DATA\r\n")
    assert [r.code for r in client.replies(rcpts + 2)] == [250] * (rcpts + 1) + [354]
    client.send(TEXT)
    assert client.reply().code == 250
    return 2


@pytest.mark.parametrize("speak", [speak_in_turn, speak_together])
@pytest.mark.parametrize("options", [(), ("--no-chunking",), ("--no-pipelining",), ("--no-pipelining", "--no-chunking")])
@pytest.mark.parametrize("rcpts", [1, 5])
def test_a_relayed_message_costs(submitd, line, speak, options, rcpts):
    """MAIL goes with the first recipient, and with BDAT the go-ahead costs nothing: in turn that is one or two less
    than the client waits for. Without PIPELINING each command must wait for its answer, whatever the client does."""
    slow = line(*options)
    daemon = warm(submitd, slow)
    if "--no-pipelining" in options:
        envelope = 1 + rcpts
    else:
        envelope = rcpts if speak is speak_in_turn else 1
    go_ahead = 1 if "--no-chunking" in options else 0
    with daemon.raw() as client:
        client.hello()
        for name in (b"first", b"second"):
            before = at_rest(slow)
            waits = speak(client, name, rcpts)
            cost = at_rest(slow) - before
            assert cost == envelope + go_ahead + 1
            if speak is speak_in_turn and "--no-pipelining" not in options:
                assert cost == waits - (1 if go_ahead else 2)
    assert len(slow.server.messages()) == 2


def test_mail_alone_costs_nothing(submitd, line):
    slow = line()
    daemon = warm(submitd, slow)
    with daemon.raw() as client:
        client.hello()
        before = at_rest(slow)
        client.send(MAIL)
        assert client.reply().code == 250
        assert at_rest(slow) == before


def test_a_client_that_never_waits_keeps_it(submitd, line):
    """The next message's commands go out with the text's end (RFC 2920 3.1)."""
    slow = line()
    daemon = warm(submitd, slow)
    with daemon.raw() as client:
        client.hello()
        envelope = MAIL + RCPT % b"many" + b"DATA\r\n"
        before = at_rest(slow)
        client.send(envelope)
        for _ in range(4):
            assert [r.code for r in client.replies(3)] == [250, 250, 354]
            client.send(TEXT + envelope)
            assert client.reply().code == 250
        assert [r.code for r in client.replies(3)] == [250, 250, 354]
        assert at_rest(slow) - before == 2 * 4 + 1
    assert len(slow.server.messages()) == 4


@pytest.mark.parametrize("options", [(), ("--no-chunking",)])
@pytest.mark.parametrize("rcpts", [1, 5])
def test_a_spooled_message_costs_two(submitd, line, workdir, options, rcpts):
    slow = line(*options)
    daemon = warm(submitd, slow, mode="queue", on_failure="spool", spool=workdir("spool") / "spool.db",
                  min_free="1M")
    for number in (1, 2):
        before = slow.count
        with daemon.raw() as client:
            client.hello()
            speak_in_turn(client, b"q%d" % number, rcpts)
        until(lambda: len(slow.server.messages()) == number, 10, "delivery")
        assert at_rest(slow) - before <= 2


# --- DATA went out with the envelope, so it is answered also when nobody may have the message


@pytest.fixture
def queueing(submitd, workdir):
    def start(server):
        return submitd(server, {"upstream": {"max_sessions": 1}, "delivery": {
            "mode": "queue", "on_failure": "spool", "spool": workdir("spool") / "spool.db", "min_free": "1M"}})
    return start


def send(daemon, *recipients):
    with daemon.smtp() as client:
        assert client.sendmail("a@corp.example", recipients, complete(b"Hello.\r\n")) == {}


REFUSED = "550 5.1.1 no such user"


@pytest.mark.parametrize("step", ["MAIL", "RCPT"])
@pytest.mark.parametrize("go_ahead", ["554 5.5.1 no valid recipients", "503 5.5.1 MAIL first", None])
def test_nobody_takes_it_but_data_was_asked(queueing, rogue, step, go_ahead):
    """The only message that gets there is the report; what refused the first one is in it."""
    server = rogue(replies={step: [REFUSED, None], "DATA": [go_ahead, None]})
    daemon = queueing(server)
    send(daemon, "b@example.test")
    (report,) = server.wait_messages(1)
    assert b"5.1.1" in report
    sessions = [s for s in server.sessions if s.logins]
    assert len(sessions) == (1 if go_ahead else 2), "a session that waits for a text nobody may have is closed"
    time.sleep(REST_SECONDS)
    assert len(server.messages) == 1


def test_those_who_are_accepted_get_it(queueing, rogue):
    server = rogue(replies={"RCPT": [REFUSED, None]})
    send(queueing(server), "b@example.test", "c@example.test")
    first, report = server.wait_messages(2)
    assert b"Hello." in first and b"5.1.1" in report
    assert [line.split(">")[0] for line in server.sessions[-1].lines if line.startswith("RCPT")] == [
        "RCPT TO:<b@example.test", "RCPT TO:<c@example.test", "RCPT TO:<a@corp.example"]


def test_the_end_behind_a_refusal_changes_nothing(queueing, rogue):
    """The server refuses everybody and closes instead of answering DATA: they stay refused."""
    server = rogue(replies={"RCPT": [REFUSED, None], "DATA": ["421 4.3.2 closing", None]})
    daemon = queueing(server)
    send(daemon, "b@example.test")
    (report,) = server.wait_messages(1)
    assert b"5.1.1" in report
    assert [line for s in server.sessions for line in s.lines].count("RCPT TO:<b@example.test>") == 1
