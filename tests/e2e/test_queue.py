"""`submitd queue`, with the daemon running and stopped, and what a daemon says of a spool that it cannot use."""
import json
import os
import re
import sqlite3
import subprocess
import threading
import time

import pytest

from harness.message import COMPLETE, assert_arrived, complete
from harness.wait import until
from spoollib import (exchange, keeper, listed, numbered, numbers_at, queue, queue_fine, restart, retry, send_queued,
                      spool_sql, states, stop, try_sending, wait_empty, wait_tried)  # exchange and keeper: fixtures

TO = "b@example.test"

__all__ = ["exchange", "keeper"]


@pytest.fixture(params=[True, False], ids=["running", "stopped"])
def three(request, keeper, exchange):
    """A daemon with three messages in its queue, running or stopped, and their ids."""
    daemon = keeper(exchange, mode="queue")
    daemon.wait_event("upstream_failed")
    ids = [send_queued(daemon, numbered(1), [TO]),
           send_queued(daemon, numbered(2), ["c@x.test", "d@x.test"], sender="payroll@corp.example"),
           send_queued(daemon, numbered(3, b"x\r\n" * 30_000), [TO], sender="")]
    daemon.wait_event("delivery_paused")
    until(lambda: listed(daemon)[0]["attempts"] == 1)
    if not request.param:
        stop(daemon)
    return daemon, ids


def run_on(daemon):
    if daemon.process is None:
        restart(daemon)


def test_list(three):
    daemon, ids = three
    lines = queue_fine(daemon, "list").out.splitlines()
    assert lines[0].split() == ["ID", "AGE", "SIZE", "STATE", "TRIES", "NEXT", "ACCOUNT", "FROM", "TO", "LAST", "REPLY"]
    assert [line.split()[0] for line in lines[1:4]] == ids
    first, second, third = (line.split() for line in lines[1:4])
    assert first[3:5] == ["queued", "1"] and first[6:9] == ["(default)", "a@corp.example", TO]
    assert "connection refused" in lines[1]
    assert second[7:10] == ["payroll@corp.example", "c@x.test", "+1"]
    assert third[7:9] == ["<>", TO] and third[2] == "88K"
    assert lines[-1] == "3 messages: 3 queued, 0 held, 0 failed"


def test_list_json(three):
    daemon, ids = three
    messages = listed(daemon)
    assert [m["id"] for m in messages] == ids
    first, second, third = messages
    assert first["from"] == "a@corp.example" and first["state"] == "queued" and first["attempts"] == 1
    assert "connection refused" in first["last_reply"] and 0 <= first["age"] <= 30
    assert first["client"] == "127.0.0.1" and first["helo"] == "client.example"
    assert abs(first["expires"] - first["arrived"] - 3 * 24 * 3600) <= 1
    assert [r["mailbox"] for r in second["recipients"]] == ["c@x.test", "d@x.test"]
    assert all(r["state"] == "waiting" for r in second["recipients"])
    assert third["from"] == "" and third["size"] > 90_000 and not third["uncertain"]


def test_show(three):
    daemon, ids = three
    page = queue_fine(daemon, "show", ids[1]).out
    for part in (ids[1], "payroll@corp.example", "c@x.test", "d@x.test", "127.0.0.1"):
        assert part in page
    shown, row = json.loads(queue_fine(daemon, "show", ids[1], "--json").out), listed(daemon)[1]
    assert shown.pop("age") <= row.pop("age") and shown == row


def test_show_message(three):
    """Exactly what will be sent."""
    daemon, ids = three
    for message_id, sent in zip(ids, (numbered(1), numbered(2), numbered(3, b"x\r\n" * 30_000))):
        assert_arrived(sent, queue_fine(daemon, "show", message_id, "--message").raw)


def test_hold_release_cancel(three, exchange):
    daemon, ids = three
    assert queue_fine(daemon, "hold", ids[0]).out == f"message {ids[0]} held\n"
    assert states(daemon) == ["held", "queued", "queued"]
    assert "already" in queue_fine(daemon, "hold", ids[0]).out
    assert queue_fine(daemon, "cancel", ids[2]).out == f"message {ids[2]} cancelled\n"
    assert states(daemon) == ["held", "queued"]
    exchange.up()
    run_on(daemon)
    queue(daemon, "retry", ids[1])  # a daemon that was just started has sent it perhaps
    until(lambda: states(daemon) == ["held"])
    assert numbers_at(exchange) == [2]
    assert queue_fine(daemon, "release", ids[0]).out == f"message {ids[0]} released\n"
    wait_empty(daemon)
    assert numbers_at(exchange) == [2, 1]


def test_all_at_once(three, exchange):
    daemon, _ = three
    assert queue_fine(daemon, "hold", "all").out == "3 messages held\n"
    assert states(daemon) == ["held"] * 3
    assert queue_fine(daemon, "release", "all").out == "3 messages released\n"
    assert queue_fine(daemon, "hold", "all").out == "3 messages held\n"
    exchange.up()
    run_on(daemon)
    assert queue_fine(daemon, "retry", "all").out == "3 messages to be tried at once\n"
    wait_empty(daemon)
    assert sorted(numbers_at(exchange)) == [1, 2, 3]


def test_cancel_all(three, exchange):
    daemon, _ = three
    assert queue_fine(daemon, "cancel", "all").out == "3 messages cancelled\n"
    assert queue_fine(daemon, "list").out.startswith("nothing waits in ")
    assert listed(daemon) == []
    exchange.up()
    run_on(daemon)
    time.sleep(1.2)
    assert not exchange.messages()


@pytest.mark.parametrize("command", ["show", "retry", "hold", "release", "cancel"])
def test_no_such_message(three, command):
    daemon, _ = three
    ran = queue(daemon, command, "nonesuch")
    assert ran.status == 1 and "there is no message 'nonesuch' in" in ran.err and not ran.out


@pytest.mark.parametrize("words, status, sentence", [
    ([], 2, "what is to be done"), (["flush"], 2, "flush"), (["retry"], 2, "retry needs ID|all"),
    (["show"], 2, "show needs ID"), (["list", "x"], 2, "x"), (["hold", "x", "--json"], 2, "--json is not for hold"),
    (["list", "--message"], 2, "--message is not for list"), (["show", "all"], 1, "no message 'all'")])
def test_usage(three, words, status, sentence):
    daemon, _ = three
    ran = queue(daemon, *words)
    assert ran.status == status and sentence in ran.err and not ran.out


def test_hold_while_it_is_being_sent(keeper, exchange):
    """The attempt that is under way counts; after a failure the message is held."""
    daemon = keeper(exchange.up("--latency", "300", "--defer-rcpt", "later@*"), mode="queue")
    daemon.wait_event("upstream_ready")
    message_id = send_queued(daemon, complete(), ["later@x.test"])
    queue_fine(daemon, "hold", message_id)
    assert daemon.wait_event("message", id=message_id)["deferred"] == "1"
    time.sleep(0.3)
    assert states(daemon) == ["held"]
    exchange.down().up()
    time.sleep(1.2)
    assert states(daemon) == ["held"]


@pytest.mark.parametrize("command", ["hold", "cancel", "retry"])
def test_a_command_while_it_is_being_sent(keeper, exchange, command):
    """It arrives once, or not when it is cancelled in time, and is gone."""
    daemon = keeper(exchange.up("--latency", "200"), mode="queue")
    daemon.wait_event("upstream_ready")
    message_id = send_queued(daemon, complete(b"x\r\n" * 100_000), [TO])
    queue_fine(daemon, command, message_id)
    if command != "cancel":
        exchange.to(TO)
    wait_empty(daemon)
    time.sleep(1.2)
    assert len(exchange.messages()) in ((0, 1) if command == "cancel" else (1,))
    assert not daemon.events("spool_failed")


def test_cancelled_while_it_is_being_sent(keeper, rogue):
    """That is what somebody wanted, and no fault of the spool."""
    goes_on = threading.Event()
    server = rogue(replies={"DATA": lambda session: goes_on.wait(15) and None})
    daemon = keeper(server, mode="queue")
    message_id = send_queued(daemon, complete(b"x\r\n" * 100_000), [TO])
    until(lambda: server.sessions and "DATA" in server.sessions[-1].lines, 10, "DATA")
    queue_fine(daemon, "cancel", message_id)
    goes_on.set()
    assert daemon.wait_event("cancelled", id=message_id).level == "info"
    time.sleep(0.5)
    assert not server.messages and not listed(daemon)
    assert not [e for e in daemon.events() if e.level in ("warning", "error")]


def test_terminal_and_table_cannot_be_forged(keeper, exchange):
    """What comes from outside is shown printably; a pipe gets the message's bytes."""
    daemon = keeper(exchange, mode="queue")
    sent = complete(b"\x1b]0;title\x07\x1b[31mred\r\n")
    message_id = send_queued(daemon, sent, [TO], sender='"a b"@corp.example')
    assert b"\x1b" not in queue_fine(daemon, "list").raw + queue_fine(daemon, "show", message_id).raw
    assert len(queue_fine(daemon, "list").out.splitlines()) == 4
    assert b"\x1b[31mred" in queue_fine(daemon, "show", message_id, "--message").raw
    shown = subprocess.run(["script", "-qec", f"{daemon.binary} queue show {message_id} --message --config "
                            f"{daemon.config_file}", "/dev/null"], capture_output=True, stdin=subprocess.DEVNULL,
                           timeout=10, check=False)
    assert b"red" in shown.stdout and b"\x1b" not in shown.stdout


def test_a_thousand_messages(keeper, exchange):
    """Listed while more come in and go out, quickly and completely."""
    daemon = keeper(exchange, {"log": {"level": "info"}}, mode="queue")
    with daemon.raw(timeout=60) as client:
        client.hello()
        for n in range(1000):
            client.send(f"MAIL FROM:<a@corp.example>\r\nRCPT TO:<r{n}@x.test>\r\nDATA\r\n")
            assert client.replies(3)[-1].code == 354
            client.send(COMPLETE + b"\r\n.\r\n")
            assert client.reply().code == 250
    began = time.monotonic()
    table = queue_fine(daemon, "list").out
    took = time.monotonic() - began
    assert len(re.findall(r"^\w{16} ", table, re.M)) == 1000 and "1000 messages: 1000 queued" in table
    print(f"a list of 1000 took {took:.3f} s")
    assert took < 2
    exchange.up()
    retry(daemon)
    sizes = []
    while not sizes or sizes[-1] > 0:
        sizes.append(len(listed(daemon)))
        assert len(sizes) < 1000
    assert sizes == sorted(sizes, reverse=True)
    assert len({m.recipients for m in exchange.messages()}) == len(exchange.messages()) == 1000


def test_many_commands_at_the_same_time(three, exchange):
    """Nobody hears of a lock."""
    daemon, ids = three
    failures = []

    def work(words):
        for _ in range(10):
            ran = queue(daemon, *words)
            if ran.status != 0:
                failures.append(ran)
    exchange.up("--latency", "100")
    workers = [threading.Thread(target=work, args=(words,)) for words in (
        ["list"], ["hold", "all"], ["release", "all"], ["retry", "all"])]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures
    run_on(daemon)
    queue_fine(daemon, "release", "all")
    wait_empty(daemon)
    assert sorted(numbers_at(exchange)) == [1, 2, 3] and ids


# --- a spool that cannot be used


def fails_to_start(daemon):
    run = subprocess.run([daemon.binary, "run", "--config", str(daemon.config_file)], stdin=subprocess.DEVNULL,
                         capture_output=True, timeout=10, check=False)
    assert run.returncode == 1, run
    return run.stderr.decode()


def test_a_second_daemon_is_refused(keeper, exchange):
    first = keeper(exchange)
    second = keeper(exchange, start=False, spool=first.sections["delivery"]["spool"])
    said = fails_to_start(second)
    assert f"spool '{first.sections['delivery']['spool']}' is in use by process {first.process.pid}" in said
    send_queued(first, complete(), [TO])


def test_a_spool_in_no_folder(keeper, exchange, tmp_path):
    daemon = keeper(exchange, start=False, spool=tmp_path / "missing" / "spool.db")
    assert re.search(r"spool '\S+/missing/spool\.db'.*: .*(No such file|folder)", fails_to_start(daemon))
    ran = queue(daemon, "list")
    assert ran.status == 1 and "spool.db" in ran.err and not ran.out


def test_a_spool_that_was_never_made(keeper, exchange):
    daemon = keeper(exchange, start=False)
    ran = queue(daemon, "list")
    assert ran.status in (0, 1) and "spool.db" in ran.out + ran.err
    assert not daemon.sections["delivery"]["spool"].exists(), "looking makes nothing"


@pytest.mark.parametrize("damage", ["no database", "head", "middle", "truncated"])
def test_a_damaged_spool(keeper, exchange, damage):
    """It is said at the start or, when only an answer is spoiled by it, to the client; nobody gets a false 250."""
    daemon = keeper(exchange, mode="queue")
    for n in range(20):
        send_queued(daemon, numbered(n, b"x\r\n" * 3000), [TO])
    stop(daemon)
    spool = daemon.sections["delivery"]["spool"]
    data = bytearray(spool.read_bytes())
    if damage == "no database":
        data = b"[listener]\n" * 1000
    elif damage == "head":
        data[:4096] = bytes(4096)
    elif damage == "middle":
        data[4096:40960] = os.urandom(36864)
    else:
        del data[len(data) // 2:]
    spool.write_bytes(data)
    said = fails_to_start(daemon)
    assert re.search(r"start_failed|submitd:", said) or "start_failed" in daemon.log()
    assert str(spool) in said and re.search("damaged|corrupt|malformed|not a", said), said
    ran = queue(daemon, "list")
    assert ran.status == 1 and str(spool) in ran.err


def test_a_newer_spool(keeper, exchange):
    daemon = keeper(exchange)
    stop(daemon)
    spool_sql(daemon, "PRAGMA user_version = 99")
    assert "was written by a newer submitd" in fails_to_start(daemon)
    assert "was written by a newer submitd" in queue(daemon, "list").err


def test_a_file_of_another_program(keeper, exchange):
    daemon = keeper(exchange)
    stop(daemon)
    spool = daemon.sections["delivery"]["spool"]
    spool.unlink()
    with sqlite3.connect(spool) as db:
        db.execute("CREATE TABLE bookmarks (url TEXT)")
    db.close()
    assert str(spool) in fails_to_start(daemon)


def test_a_read_only_spool(keeper, exchange, tmp_path):
    """root is stopped by no permission: a file system that is read-only does it."""
    folder = tmp_path / "folder"
    folder.mkdir()
    daemon = keeper(exchange, mode="queue", spool=folder / "spool.db")
    send_queued(daemon, complete(), [TO])
    stop(daemon)
    commands = [["mount", "--bind", folder, folder], ["mount", "-o", "remount,ro,bind", folder]]
    if any(subprocess.run(c, capture_output=True, check=False).returncode for c in commands):
        subprocess.run(["umount", folder], capture_output=True, check=False)
        pytest.skip("no right to mount")
    try:
        said = fails_to_start(daemon)
        assert "spool.db" in said and re.search("read-only|Read-only|cannot be written", said), said
    finally:
        subprocess.run(["umount", folder], check=True)
    exchange.up()
    restart(daemon)
    wait_empty(daemon)


def test_no_spool_no_queue(submitd, exchange):
    daemon = submitd(exchange, {"delivery": {"on_failure": "defer", "spool": ""}})
    ran = queue(daemon, "list")
    assert ran.status == 2 and "names no spool" in ran.err
    assert try_sending(daemon, complete(), [TO])[1].code == 451


def test_files_are_private(keeper, exchange):
    daemon = keeper(exchange, mode="queue")
    send_queued(daemon, complete(), [TO])
    folder = daemon.sections["delivery"]["spool"].parent
    assert {f.name: oct(f.stat().st_mode & 0o777) for f in folder.iterdir()}.items() >= {
        "spool.db": "0o600", "spool.db-wal": "0o600"}.items()
    assert all(f.stat().st_mode & 0o077 == 0 for f in folder.iterdir())
    assert wait_tried(daemon)
