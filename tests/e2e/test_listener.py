"""The client's side: who may come, how many, how long, how fast, and what no one may get past us."""
import json
import re
import smtplib

import pytest

from harness import expected
from harness.message import assert_arrived, complete
from harness.net import Closed, Raw, free_port
from harness.rogue import HANG
from harness.wait import until


def refusal_at_connect(daemon, source):
    with daemon.raw(source=source) as client:
        reply = client.reply()
        assert client.at_end()
        return str(reply)


# --- who may come


def test_networks(submitd, shared_sandbox, rcpt):
    daemon = submitd(shared_sandbox, {"listener": {"allow": "127.0.0.0/30"}})
    for source in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
        with daemon.raw(source=source) as client:
            client.hello()
    assert re.fullmatch(expected.NOT_ALLOWED, refusal_at_connect(daemon, "127.0.0.4"))
    assert daemon.wait_event(expected.EVENT_DENIED)["client"] == "127.0.0.4"


def test_several_listeners(submitd, shared_sandbox, rcpt):
    second, third = free_port(), free_port()
    daemon = submitd(shared_sandbox, {
        "listener second": {"address": "127.0.0.1", "port": second, "allow": "127.0.0.2",
                            "max_message_size": 1000},
        "listener six": {"address": "::1", "port": third}})
    until(lambda: len(daemon.events("listening")) == 3, 5)
    with Raw(second, source="127.0.0.2") as client:
        assert "SIZE 1000" in client.hello().text
    with Raw(second) as client:
        assert client.reply().code == 554
    to = rcpt()
    with smtplib.SMTP("::1", third) as client:
        client.sendmail("a@corp.example", [to], complete())
    assert b"[IPv6:::1]" in shared_sandbox.one_to(to).data.split(b"\r\n")[0]


# --- how many


def test_clients_in_all(submitd, shared_sandbox):
    daemon = submitd(shared_sandbox, {"listener": {"max_clients": 2}})
    with daemon.raw() as first, daemon.raw(source="127.0.0.2") as second:
        first.hello()
        second.hello()
        assert re.fullmatch(expected.TOO_MANY_CLIENTS, refusal_at_connect(daemon, "127.0.0.3"))
        assert second.cmd("QUIT").code == 221
        assert second.at_end()

        def gets_in():
            with daemon.raw(source="127.0.0.3") as third:
                return third.reply().code == 220
        until(gets_in, 5, "a free place")


def test_clients_per_address(submitd, shared_sandbox):
    daemon = submitd(shared_sandbox, {"listener": {"max_clients_per_address": 1}})
    with daemon.raw() as first:
        first.hello()
        assert re.fullmatch(expected.TOO_MANY_FROM_ADDRESS, refusal_at_connect(daemon, "127.0.0.1"))
        with daemon.raw(source="127.0.0.2") as second:
            second.hello()


def test_recipients(submitd, shared_sandbox, rcpt):
    daemon = submitd(shared_sandbox, {"listener": {"max_recipients": 2}})
    refused = daemon.send(complete(), [rcpt(), rcpt(), "third@example.test"])
    assert refused["third@example.test"][0] == 452 and refused["third@example.test"][1].startswith(b"4.5.3")


# --- the dialogue


def test_commands(submitd, shared_sandbox):
    daemon = submitd(shared_sandbox)
    with daemon.raw() as client:
        assert client.reply().code == 220
        assert client.cmd("HELO old.example").code == 250
        for command, code in (("NOOP", 250), ("NOOP words are fine", 250), ("VRFY user", 252), ("RSET", 250),
                              ("EHLO new.example", 250), ("noop", 250), ("STARTTLS", 502), ("AUTH LOGIN", 502),
                              ("DATA", 503), ("RCPT TO:<b@example.test>", 503), ("WHAT", 500)):
            assert client.cmd(command).code == code, command
        assert client.cmd("HELP").code in (214, 211, 502)
        assert client.cmd("EXPN list").code in (252, 502, 550)
        assert client.cmd("QUIT").code == 221
        assert client.at_end()


@pytest.mark.parametrize("command", [
    "MAIL FROM:<a@corp.example> BODY=9BIT", "MAIL FROM:<a@corp.example", "MAIL FROM:<a b@corp.example>",
    "MAIL FROM:<a@corp.example> SIZE=abc", "MAIL FROM:<a@corp.example> NOSUCH=1", "MAIL TO:<a@corp.example>",
    "MAIL FROM:<" + "a" * 65 + "@corp.example>", "RCPT TO:<>", "RCPT TO:<b@example.test> NOSUCH=1"])
def test_bad_parameters_get_one_sentence_and_the_session_goes_on(submitd, shared_sandbox, command):
    daemon = submitd(shared_sandbox)
    daemon.wait_event("upstream_ready")
    with daemon.raw() as client:
        client.hello()
        if command.startswith("RCPT"):
            client.cmd("MAIL FROM:<a@corp.example>")
        reply = client.cmd(command)
        assert reply.code in (500, 501, 504, 553, 555) and re.match(r"5\.\d\.\d+ \S", reply.text), reply
        assert "\n" not in reply.text
        assert client.cmd("RSET").code == 250


@pytest.mark.parametrize("data", [
    b"EHLO a.example\r\nMAIL FROM:<a@corp.example>\r\n", b"NOOP\r\nNOOP\r\n", b"VRFY x\r\nNOOP\r\n"],
    ids=["EHLO", "NOOP", "VRFY"])
def test_input_behind_a_command_that_must_be_last(submitd, shared_sandbox, data):
    """RFC 2920 3.1."""
    daemon = submitd(shared_sandbox)
    with daemon.raw() as client:
        client.hello()
        client.send(data)
        assert client.reply().code < 400
        assert re.fullmatch(expected.OUT_OF_TURN, str(client.reply()))
        assert client.at_end()


@pytest.mark.parametrize("chunking", ["auto", "no"])
def test_message_sent_before_the_354(submitd, shared_sandbox, rcpt, chunking):
    """A client that does not wait for 354 has not seen whether its recipients were accepted."""
    daemon, to = submitd(shared_sandbox, {"upstream": {"chunking": chunking}}), rcpt()
    daemon.wait_event("upstream_ready")
    with daemon.raw() as client:
        client.hello()
        client.send(f"MAIL FROM:<a@corp.example>\r\nRCPT TO:<{to}>\r\nDATA\r\nSubject: x\r\n\r\n.\r\n")
        replies = []
        with pytest.raises(Closed):
            while len(replies) < 5:
                replies.append(client.reply())
    assert re.fullmatch(expected.OUT_OF_TURN, str(replies[-1])), replies
    assert not [m for m in shared_sandbox.messages() if to in m.recipients]


def test_several_transactions_in_one_segment_behind_a_dot(submitd, shared_sandbox, rcpt):
    """RFC 2920 3.1: the end of a message may be followed at once by the next transaction."""
    daemon, first, second = submitd(shared_sandbox), rcpt(), rcpt()
    with daemon.raw() as client:
        client.hello()
        client.send(f"MAIL FROM:<a@corp.example>\r\nRCPT TO:<{first}>\r\nDATA\r\n")
        assert [r.code for r in client.replies(3)] == [250, 250, 354]
        client.send(complete() + f".\r\nMAIL FROM:<a@corp.example>\r\nRCPT TO:<{second}>\r\nDATA\r\n".encode())
        assert [r.code for r in client.replies(4)] == [250, 250, 250, 354]
        client.send(complete() + b".\r\nQUIT\r\n")
        assert [r.code for r in client.replies(2)] == [250, 221]
    shared_sandbox.one_to(first)
    shared_sandbox.one_to(second)


def test_errors_end_the_session(submitd, shared_sandbox):
    daemon = submitd(shared_sandbox, {"listener": {"max_errors": 3}})
    with daemon.raw() as client:
        client.hello()
        replies = [client.cmd("NONSENSE") for _ in range(2)]
        assert [r.code for r in replies] == [500, 500]
        client.send(b"NONSENSE\r\n")
        last = client.reply()
        if last.code == 500:
            last = client.reply()
        assert re.fullmatch(expected.TOO_MANY_ERRORS, str(last))
        assert client.at_end()


def test_idle_timeout(submitd, shared_sandbox):
    daemon = submitd(shared_sandbox, {"listener": {"idle_timeout": "1s"}})
    with daemon.raw() as client:
        client.hello()
        assert re.fullmatch(expected.IDLE_TIMEOUT, str(client.reply()))
        assert client.at_end()


def test_idle_timeout_within_a_message(submitd, sandbox):
    server = sandbox()
    daemon = submitd(server, {"listener": {"idle_timeout": "1s"}})
    with daemon.raw() as client:
        client.hello()
        client.send(b"MAIL FROM:<a@corp.example>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n")
        client.replies(3)
        client.send(b"Subject: half\r\n\r\nhalf")
        assert client.reply().code == 421
        assert client.at_end()
    assert not server.messages()


def test_session_timeout(submitd, shared_sandbox):
    daemon = submitd(shared_sandbox, {"listener": {"session_timeout": "1s"}})
    with daemon.raw() as client:
        client.hello()
        codes = set()
        try:
            while 421 not in codes:
                codes.add(client.cmd("NOOP").code)
        except (Closed, ConnectionError):
            pass
        assert 421 in codes


@pytest.mark.parametrize("length", [2049, 5000, 1_000_000])
def test_long_command_lines(submitd, shared_sandbox, length):
    daemon = submitd(shared_sandbox)
    with daemon.raw() as client:
        client.hello()
        client.send(b"NOOP " + b"x" * (length - 7) + b"\r\n")
        assert re.fullmatch(expected.LINE_TOO_LONG, str(client.reply()))
        assert client.cmd("NOOP").code == 250


def test_nul_and_control_octets_in_commands(submitd, shared_sandbox):
    daemon = submitd(shared_sandbox)
    with daemon.raw() as client:
        client.hello()
        for line in (b"MAIL FROM:<a\0b@corp.example>", b"NO\x07OP", b"\xff\xfe\xfd",
                     b"MAIL FROM:<a@corp.example>\x1b[2J"):
            assert 500 <= client.cmd(line).code <= 555, line
    assert "\x1b" not in daemon.everything() and "\0" not in daemon.everything()


# --- smuggling: nothing but CRLF.CRLF ends a message

END_OF_DATA_VARIANTS = [
    b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\n.\r", b"\r\n\0.\r\n", b"\r\n.\0\r\n",
    b"\r\r\n.\r\r\n", b"\n\n.\n\n", b"\r\n.\r\r\n", b"\r\n .\r\n", b"\r\n.\n\r\n", b"\r.\n", b"\n.\n\r",
]


@pytest.mark.parametrize("chunking", ["auto", "no"])
@pytest.mark.parametrize("variant", END_OF_DATA_VARIANTS, ids=repr)
def test_smuggling(smuggle_daemons, postfix_dovecot, rcpt, variant, chunking):
    """Postfix in the lab takes a bare LF for a line end: what we let through would be a second message."""
    daemon, to, stolen = smuggle_daemons[chunking], rcpt("front"), rcpt("smuggled")
    inner = f"MAIL FROM:<ceo@corp.example>\r\nRCPT TO:<{stolen}>\r\nDATA\r\nSubject: smuggled\r\n\r\nx".encode()
    with daemon.raw() as client:
        client.hello()
        client.send(f"MAIL FROM:<a@corp.example>\r\nRCPT TO:<{to}>\r\nDATA\r\n")
        assert [r.code for r in client.replies(3)] == [250, 250, 354]
        client.send(complete(b"start" + variant + inner) + b"\r\n.\r\n")
        reply = client.reply()
        assert reply.code in (250, 550, 554, 500), reply
        client.send(b"RSET\r\n")
        assert client.reply().code in (250, 421)
    if reply.code == 250:
        kept = postfix_dovecot.one_to(to)
        assert b"Subject: smuggled" in kept.data and b"RCPT TO:" in kept.data, "one message with all of it"
    assert not [m for m in postfix_dovecot.messages() if stolen in m.recipients]


@pytest.fixture(scope="module")
def smuggle_daemons(submitd_program, tmp_path_factory, postfix_dovecot):
    from harness.daemon import Submitd
    daemons = {chunking: Submitd(submitd_program, tmp_path_factory.mktemp("submitd"), postfix_dovecot,
                                 {"upstream": {"chunking": chunking}}).start() for chunking in ("auto", "no")}
    yield daemons
    for daemon in daemons.values():
        daemon.stop()


# --- signals


def test_sigterm_drains(submitd, sandbox, rcpt):
    """The message in flight is completed, the idle client hears 421, nobody new gets in, exit status 0."""
    server, to = sandbox(), rcpt()
    daemon = submitd(server)
    with daemon.raw() as busy, daemon.raw() as idle:
        busy.hello()
        idle.hello()
        busy.send(f"MAIL FROM:<a@corp.example>\r\nRCPT TO:<{to}>\r\nDATA\r\n")
        assert [r.code for r in busy.replies(3)] == [250, 250, 354]
        daemon.process.terminate()
        assert re.fullmatch(expected.SHUTTING_DOWN, str(idle.reply()))
        assert idle.at_end()
        busy.send(complete() + b".\r\n")
        assert busy.reply().code == 250
        assert busy.reply().code == 421
        assert busy.at_end()
    assert daemon.process.wait(10) == 0
    assert_arrived(complete(), server.one_to(to).data)
    with pytest.raises(ConnectionRefusedError):
        daemon.raw()


def test_sigterm_twice_ends_at_once(submitd, rogue):
    server = rogue(replies={"DOT": HANG})
    daemon = submitd(server)
    with daemon.raw() as client:
        client.hello()
        client.send(b"MAIL FROM:<a@corp.example>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n")
        client.replies(3)
        client.send(complete() + b".\r\n")
        until(lambda: server.messages, 5, "the message at the rogue server")
        daemon.process.terminate()
        daemon.wait_log(r"drain|stopping|shutting")
        daemon.process.terminate()
        assert daemon.process.wait(10) is not None


def test_sighup_takes_the_new_password(submitd, rogue, certs):
    server = rogue(mechs="LOGIN")
    daemon = submitd(server, {"upstream": {"auth": "login"}})
    daemon.send(complete(), ["b@example.test"])
    daemon.reload({"account": {"password": "Second-Pass2"}, "upstream": {"auth": "login"}})
    daemon.wait_event(expected.EVENT_RELOADED)
    daemon.send(complete(), ["b@example.test"])
    assert [responses[1] for _, responses in server.logins][-1] == b"Second-Pass2"
    assert len(server.messages) == 2


def test_sighup_leaves_a_message_in_flight_alone(submitd, sandbox, rcpt):
    server, to = sandbox(), rcpt()
    daemon = submitd(server)
    with daemon.raw() as client:
        client.hello()
        client.send(f"MAIL FROM:<a@corp.example>\r\nRCPT TO:<{to}>\r\nDATA\r\n")
        client.replies(3)
        daemon.reload({"upstream": {"host": "nosuch.invalid"}})
        daemon.wait_event(expected.EVENT_RELOADED)
        client.send(complete() + b".\r\n")
        assert client.reply().code == 250
    server.one_to(to)
    with pytest.raises(smtplib.SMTPException):
        daemon.send(complete(), [rcpt()])


def test_sighup_with_a_broken_file_keeps_the_old_one(submitd, sandbox, rcpt):
    server, to = sandbox(), rcpt()
    daemon = submitd(server)
    daemon.reload(text="[upstream]\nhots = mail.corp.example\n")
    event = daemon.wait_event(expected.EVENT_RELOAD_FAILED)
    assert event.level == "error"
    daemon.wait_log(r"hots.*host")
    daemon.send(complete(), [to])
    server.one_to(to)


def test_sighup_opens_the_log_again(submitd, shared_sandbox, rcpt):
    daemon, to = submitd(shared_sandbox), rcpt()
    old = daemon.log_file.with_suffix(".1")
    daemon.log_file.rename(old)
    daemon.reload()
    daemon.wait_event(expected.EVENT_RELOADED)
    size = old.stat().st_size
    daemon.send(complete(), [to])
    assert daemon.wait_event("message")
    assert old.stat().st_size == size
    assert daemon.log_file.stat().st_mode & 0o777 == 0o640


# --- the log


def test_json_log(submitd, shared_sandbox, rcpt):
    daemon = submitd(shared_sandbox, {"log": {"format": "json"}}, start=False)
    daemon._is_listening = lambda: '"listening"' in daemon.log()
    daemon.start()
    to = rcpt("zo\u00eb-")
    with daemon.raw() as client:
        client.hello()
        client.cmd(b'NOOP "quoted\\" \xff\x01 <tag>')
        client.cmd(f"MAIL FROM:<{'x' * 64}@corp.example>")
    daemon.send(complete(), [rcpt()])
    until(lambda: '"event":"message"' in daemon.log().replace(" ", ""), 5)
    events = [json.loads(line) for line in daemon.log().splitlines()]
    assert {"time", "level", "event"} <= set.intersection(*(set(e) for e in events))
    message = next(e for e in events if e["event"] == "message")
    assert message["mech"] == "NTLM" and isinstance(message["size"], int) and message["reply"].startswith("250 ")
    assert any(e["level"] == "debug" for e in events)


def test_text_log_lines_cannot_be_forged(submitd, shared_sandbox):
    daemon = submitd(shared_sandbox)
    with daemon.raw() as client:
        client.hello()
        client.cmd(b"NOOP x\n2026-11-21T22:06:22.123Z info message id=forged")
        client.cmd(b"MAIL FROM:<a@corp.example> X=\r2026-11-21T22:06:22.123Z")
    assert not [e for e in daemon.events("message") if e.get("id") == "forged"]
