"""Corners of the relay layer: floods, clients and servers that stop, ends while something is under way."""
import contextlib
import select
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness.message import COMPLETE, assert_arrived, complete
from harness.net import Closed
from harness.rogue import DROP, HANG
from harness.wait import until

ENVELOPE = b"MAIL FROM:<a@corp.example>\r\nRCPT TO:<b@example.test>\r\n"
MEGABYTE = 1024 * 1024


def begin_text(client, envelope=ENVELOPE):
    client.hello()
    client.send(envelope + b"DATA\r\n")
    codes = [r.code for r in client.replies(envelope.count(b"\r\n") + 1)]
    assert codes[-1] == 354, codes


# --- floods


def test_thousands_of_pipelined_commands_are_all_answered(submitd, rogue):
    daemon, count = submitd(rogue()), 5000
    with daemon.raw() as client:
        client.hello()
        client.send(b"RSET\r\n" * count)
        assert {r.code for r in client.replies(count)} == {250}
        assert client.cmd("NOOP").code == 250


def send_until_blocked(client, block, limit):
    """Octets that the other side took without our reading a single reply; stops at `limit`."""
    client.sock.setblocking(False)
    sent = 0
    while sent < limit and select.select([], [client.sock], [], 1)[1]:
        with contextlib.suppress(BlockingIOError):
            sent += client.sock.send(block)
    client.sock.settimeout(15)
    return sent


def test_client_that_reads_no_replies_is_held_back(submitd, rogue):
    daemon = submitd(rogue(), {"log": {"level": "info"}, "listener": {"idle_timeout": "5s"}})
    with daemon.raw() as client:
        client.hello()
        assert send_until_blocked(client, b"HELP\r\n" * 10000, 64 * MEGABYTE) < 32 * MEGABYTE
        daemon.wait_event("disconnect", reason="idle timeout")


def test_held_back_client_that_reads_again_gets_every_reply(submitd, rogue):
    daemon, count = submitd(rogue(), {"log": {"level": "info"}}), 200_000
    with daemon.raw(timeout=60) as client:
        client.hello()
        sender = threading.Thread(target=client.send, args=(b"HELP\r\n" * count,), daemon=True)
        sender.start()
        time.sleep(1)
        assert {r.code for r in client.replies(count)} == {214}
        sender.join()
        assert client.cmd("NOOP").code == 250


def test_refused_recipients_of_one_message_have_a_limit(submitd, rogue):
    """Only accepted ones count against max_recipients, so a flood of others needs a limit of its own."""
    server = rogue(replies={"RCPT": "550 5.1.1 nobody"})
    daemon = submitd(server, {"listener": {"max_recipients": 10}, "log": {"level": "info"}})
    with daemon.raw(timeout=60) as client:
        client.hello()
        assert client.cmd("MAIL FROM:<a@corp.example>").code == 250
        codes = []
        for _ in range(22):
            client.send(b"RCPT TO:<b@example.test>\r\n" * 50)
            codes += [r.code for r in client.replies(50)]
        assert codes[0] == 550 and codes[-1] == 452 and sorted(set(codes)) == [452, 550]
        assert client.cmd("RSET").code == 250
        assert client.cmd("MAIL FROM:<a@corp.example>").code == 250
        assert client.cmd("RCPT TO:<b@example.test>").code == 550


# --- the order of things


def test_commands_behind_a_refused_data_hear_that_it_is_over(submitd, rogue):
    daemon = submitd(rogue(replies={"DATA": ["451 4.3.2 not now", None]}))
    with daemon.raw() as client:
        client.hello()
        client.send(ENVELOPE + b"DATA\r\n")
        assert [r.code for r in client.replies(3)] == [250, 250, 451]
        for line in ("RCPT TO:<c@example.test>", "DATA"):
            reply = client.cmd(line)
            assert reply.code == 503 and "memory" not in reply.text, reply
        assert client.cmd("RSET").code == 250
        client.send(ENVELOPE + b"DATA\r\n")
        assert [r.code for r in client.replies(3)] == [250, 250, 354]
        client.send(complete() + b".\r\n")
        assert client.reply().code == 250


def test_refused_mail_frees_its_session_before_the_next_command_runs(submitd, rogue):
    server = rogue(replies={"MAIL": ["550 5.7.60 not you", None], "RCPT": ["503 5.5.1 MAIL first", None]})
    daemon = submitd(server)
    daemon.wait_event("upstream_ready")
    with daemon.raw() as client:
        client.hello()
        client.send(b"MAIL FROM:<x@corp.example>\r\nRCPT TO:<b@example.test>\r\nRSET\r\n" + ENVELOPE + b"DATA\r\n")
        replies = client.replies(6)
        assert [r.code for r in replies] == [250, 550, 250, 250, 250, 354] and replies[1].text == "5.7.60 not you"
        client.send(complete() + b".\r\n")
        assert client.reply().code == 250
    assert len(server.sessions) == 1


def test_mail_behind_rset_waits_for_its_session(submitd, rogue):
    """The upstream's answer to RSET is a round trip away; a new login would take several."""
    server = rogue(replies={"RSET": lambda session: time.sleep(0.2)})
    daemon = submitd(server)
    daemon.wait_event("upstream_ready")
    with daemon.raw() as client:
        client.hello()
        for _ in range(3):
            client.send(ENVELOPE + b"RSET\r\n")
            assert [r.code for r in client.replies(3)] == [250, 250, 250]
    assert len(server.sessions) == 1


def test_session_with_an_early_verdict_carries_nothing_more(submitd, rogue):
    """The server says no while the end of the text is still on its way to it."""
    def say_no_and_read_nothing(session):
        session.sock.sendall(b"552 5.3.4 too big\r\n")
        time.sleep(2)
        return DROP
    server = rogue(replies={"BODY": [say_no_and_read_nothing, None]})
    daemon = submitd(server)
    with daemon.raw() as client:
        begin_text(client)
        client.send(complete(b"x" * 998 + b"\r\n") + b"y" * 998 + b"\r\n")
        client.send((b"z" * 998 + b"\r\n") * 8000 + b".\r\n")
        assert client.reply().code == 552
        client.send(ENVELOPE + b"DATA\r\n")
        assert [r.code for r in client.replies(3)] == [250, 250, 354]
        client.send(complete() + b".\r\n")
        assert client.reply().code == 250
    assert not daemon.events("session_replaced")


# --- who waits, and for whom


@pytest.mark.parametrize("chunking", ["auto", "no"])
def test_client_held_back_by_a_slow_server_is_not_idle(submitd, rogue, chunking):
    server = rogue(replies={"BODY": lambda session: time.sleep(3)})
    daemon = submitd(server, {"listener": {"idle_timeout": "1s"}, "upstream": {"chunking": chunking}})
    sent = complete((b"x" * 998 + b"\r\n") * 8000)
    with daemon.raw() as client:
        begin_text(client)
        client.send(sent + b".\r\n")
        assert client.reply().code == 250
    assert_arrived(sent, server.messages[0])


def test_held_back_client_that_then_says_nothing_is_idle(submitd, rogue):
    server = rogue(replies={"BODY": lambda session: time.sleep(3)})
    daemon = submitd(server, {"listener": {"idle_timeout": "1s"}})
    with daemon.raw() as client:
        begin_text(client)
        client.send(COMPLETE + b"\r\n" + (b"x" * 998 + b"\r\n") * 8000)
        assert client.reply().code == 421
    assert not server.messages


def test_client_that_ends_its_half_behind_the_dot_hears_the_verdict(submitd, rogue):
    server = rogue(replies={"DOT": lambda session: time.sleep(1)})
    daemon = submitd(server)
    with daemon.raw() as client:
        begin_text(client)
        client.send(complete() + b".\r\n")
        client.sock.shutdown(socket.SHUT_WR)
        assert client.reply().code == 250
        assert client.at_end()
    daemon.wait_event("disconnect")


def test_client_that_is_gone_before_the_verdict_leaves_nothing_behind(submitd, rogue):
    server = rogue(replies={"DOT": lambda session: time.sleep(1)})
    daemon = submitd(server)
    with daemon.raw() as client:
        begin_text(client)
        client.send(complete() + b".\r\n")
    daemon.wait_event("message")
    daemon.wait_event("disconnect")


# --- the end of the daemon


def slow_password(directory):
    script = directory / "password"
    script.write_text("#!/bin/sh\n[ -e %s/slow ] && sleep 3\necho Secret-Pass1\n" % directory)
    script.chmod(0o700)
    return script


def test_stop_while_a_reload_is_under_way(submitd, rogue, tmp_path):
    daemon = submitd(rogue(), {"account": {"password": None, "password_command": slow_password(tmp_path)}})
    (tmp_path / "slow").touch()
    daemon.reload()
    time.sleep(0.5)
    daemon.stop()
    assert not daemon.events("reloaded")


def hang_at_the_dot(rogue, submitd):
    server = rogue(replies={"DOT": HANG})
    daemon = submitd(server)
    client = daemon.raw()
    begin_text(client)
    client.send(complete() + b".\r\n")
    until(lambda: any(s.messages for s in server.sessions), 10)
    return daemon, client


def test_second_signal_ends_at_once_though_a_verdict_is_awaited(submitd, rogue):
    daemon, client = hang_at_the_dot(rogue, submitd)
    with client:
        began = time.monotonic()
        daemon.process.send_signal(signal.SIGTERM)
        daemon.wait_event("stopping")
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(10) == 0 and time.monotonic() - began < 8
    assert daemon.events("uncertain")


def test_reload_keeps_a_transaction_whose_client_left(submitd, rogue):
    """Its configuration is an old one then; the end still finds it."""
    daemon, client = hang_at_the_dot(rogue, submitd)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    daemon.reload()
    daemon.wait_event("reloaded")
    daemon.process.send_signal(signal.SIGTERM)
    daemon.wait_event("stopping")
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.process.wait(10) == 0
    assert daemon.events("uncertain")


def test_drain_waits_for_the_verdict_on_a_complete_message(submitd, rogue):
    server = rogue(replies={"DOT": lambda session: time.sleep(2)})
    daemon = submitd(server)
    with daemon.raw() as client:
        begin_text(client)
        client.send(complete() + b".\r\n")
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    until(lambda: any(s.messages for s in server.sessions), 10)
    daemon.stop()
    assert daemon.events("message") and not daemon.events("uncertain")


def test_drain_while_a_client_is_held_back(submitd, rogue):
    server = rogue(replies={"BODY": lambda session: time.sleep(2)})
    daemon = submitd(server)
    sent = complete((b"x" * 998 + b"\r\n") * 8000)
    with daemon.raw() as client:
        begin_text(client)
        sender = threading.Thread(target=client.send, args=(sent + b".\r\n",), daemon=True)
        sender.start()
        time.sleep(0.5)
        daemon.process.send_signal(signal.SIGTERM)
        assert client.reply().code == 250
        with contextlib.suppress(Closed):
            assert client.reply().code == 421
        sender.join()
    assert daemon.process.wait(10) == 0
    assert_arrived(sent, server.messages[0])


# --- the end of the daemon, with a spool


@pytest.fixture
def spooling(submitd, workdir):
    """spooling(upstream, mode="queue") starts a daemon with a spool."""
    def start(upstream, **delivery):
        options = {"on_failure": "spool", "spool": workdir("spool") / "spool.db", "min_free": "1M", **delivery}
        return submitd(upstream, {"delivery": options})
    return start


def end_at_once(daemon):
    daemon.process.send_signal(signal.SIGTERM)
    daemon.wait_event("stopping")
    daemon.process.send_signal(signal.SIGTERM)
    try:
        assert daemon.process.wait(10) == 0, daemon.everything()[-4000:]
    except subprocess.TimeoutExpired:
        daemon.process.kill()
        raise


@pytest.mark.parametrize("step, is_uncertain", [("DOT", True), ("DATA", False), ("MAIL", False), ("BODY", False)])
def test_second_signal_ends_at_once_while_spooled_mail_is_sent(spooling, rogue, step, is_uncertain):
    """What hangs then is sent again by the next life; its end is written down as uncertain where it is."""
    read_nothing = (lambda session: time.sleep(15)) if step == "BODY" else HANG
    server = rogue(replies={step: [read_nothing, None]})
    daemon = spooling(server, mode="queue", on_uncertain="retry")
    daemon.send(complete((b"x" * 998 + b"\r\n") * 12000), ["b@example.test"])
    begun = {"MAIL": "MAIL FROM", "DATA": "DATA", "BODY": "DATA", "DOT": "DATA"}[step]
    until(lambda: any(line.startswith(begun) for s in server.sessions for line in s.lines), 10)
    if step == "DOT":
        server.wait_messages(1, 30)
    time.sleep(1)
    end_at_once(daemon)
    assert bool(daemon.events("uncertain")) == is_uncertain
    assert len(server.messages) == (step == "DOT")


def test_stop_right_behind_a_reload(spooling, rogue):
    daemon = spooling(rogue(), mode="queue")
    daemon.wait_event("upstream_ready")
    for _ in range(5):
        daemon.process.send_signal(signal.SIGHUP)
    until(lambda: daemon.events("reloaded"), 10)
    daemon.stop()


def test_stop_under_load(spooling, rogue):
    """Commits, look-ups and sending are under way when the signals come."""
    daemon = spooling(rogue(replies={"DOT": lambda session: time.sleep(0.2)}), mode="queue")
    is_over = threading.Event()

    def send_all():
        with contextlib.suppress(Exception):
            while not is_over.is_set():
                daemon.send(complete(), ["b@example.test"])
    senders = [threading.Thread(target=send_all, daemon=True) for _ in range(8)]
    for sender in senders:
        sender.start()
    time.sleep(2)
    daemon.stop()
    is_over.set()


def test_upstream_lost_behind_the_dot_of_a_client_that_left(spooling, rogue):
    """The client heard nothing and sends it again: it is not kept in the spool as well."""
    def drop_later(session):
        time.sleep(1)
        return DROP
    daemon = spooling(rogue(replies={"DOT": drop_later}))
    with daemon.raw() as client:
        begin_text(client)
        client.send(complete() + b".\r\n")
        client.sock.shutdown(socket.SHUT_WR)
        assert client.reply().code == 451
    assert daemon.wait_event("uncertain") and not daemon.events("queued")
