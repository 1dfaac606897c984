"""Sessions, pace and logins: what the server lets us have, shared fairly, and never more."""
import re
import signal
import subprocess
import threading
import time

import pytest

from harness.message import complete
from harness.rogue import HANG
from harness.wait import until
from spoollib import (exchange, keeper, kill, listed, numbered, numbers_at, queue_fine, restart, retry, send_queued,
                      small_disk, stop, try_sending, wait_empty)

__all__ = ["exchange", "keeper", "small_disk"]

TO = "b@example.test"
RATE = "421 4.4.2 Message submission rate for this client has exceeded the configured limit"
TOO_MANY = ("421 4.3.2 The maximum number of concurrent server connections has exceeded a per-source limit, "
            "closing transmission channel")
WRONG = "535 5.7.3 Authentication unsuccessful"


# --- pacing


def test_configured_rate_is_kept_and_no_client_sees_it(keeper, exchange):
    """Two a second: the server, which counts, never refuses one."""
    daemon = keeper(exchange.up("--rate", "2", "--rate-window", "900"), {"upstream": {"rate": "2/s"}}, mode="relay")
    began = time.monotonic()
    codes = [try_sending(daemon, numbered(n), [TO])[-1].code for n in range(7)]
    assert codes == [250] * 7
    assert time.monotonic() - began < 2.5, "clients did not wait for the pace"
    wait_empty(daemon)
    assert time.monotonic() - began > 2.8, "seven at two a second"
    assert sorted(numbers_at(exchange)) == list(range(7))
    assert not daemon.events("throttled")
    assert "rate" in daemon.wait_event("queued")["reason"]


def test_rate_without_a_spool_waits_and_then_says_why(submitd, exchange):
    daemon = submitd(exchange.up(), {"upstream": {"rate": "1/s", "wait_timeout": "3s"}})
    began = time.monotonic()
    for _ in range(3):
        daemon.send(complete(), [TO])
    assert 1.8 < time.monotonic() - began < 4
    daemon.reload({"upstream": {"rate": "1/h", "wait_timeout": "3s"}})
    daemon.wait_event("reloaded")
    reply = try_sending(daemon, complete(), [TO])[1]
    assert reply.code == 451 and "rate" in reply.text, "an hour is longer than anybody waits, so it says so at once"
    assert time.monotonic() - began < 10


def test_a_reload_keeps_the_pace_of_each_account(submitd, rogue):
    """Of two accounts with the same login each goes on from where it was."""
    server = rogue()
    daemon = submitd(server, {"upstream": {"rate": "3/min", "wait_timeout": "1s"}, "account copy": {
        "match_sender": "copy@*", "username": server.username, "password": server.password}})
    for _ in range(3):
        daemon.send(complete(), [TO])
    daemon.reload()
    daemon.wait_event("reloaded")
    assert try_sending(daemon, complete(), [TO])[1].code == 451
    daemon.send(complete(), [TO], sender="copy@corp.example")
    assert len(server.messages) == 4


def test_rate_is_per_account(keeper, exchange):
    daemon = keeper(exchange.up(), {"upstream": {"rate": "1/h"}, "account payroll": {
        "match_sender": "payroll@*", "username": "CORP\\payroll", "password": "Payroll-Pass2"}}, mode="relay")
    replies = [try_sending(daemon, numbered(n), [TO], sender=sender)[-1].text
               for n, sender in enumerate(["a@corp.example", "payroll@corp.example", "a@corp.example"])]
    assert ["queued as" in text for text in replies] == [False, False, True]


def test_learned_limit(keeper, rogue):
    """The fourth of a minute is refused: it and those behind it wait, and it is said how to raise the limit."""
    server = rogue(replies={"MAIL": [None, None, None, RATE]})
    daemon = keeper(server, mode="relay")
    texts = [try_sending(daemon, numbered(n), [TO])[-1].text for n in range(6)]
    assert ["queued as" in text for text in texts] == [False] * 3 + [True] * 3
    throttled = daemon.wait_event("throttled")
    assert throttled["per_minute"] == "3" and "MessageRateLimit" in throttled["remedy"]
    assert len(server.messages) == 3
    time.sleep(1)
    said = [line for s in server.sessions for line in s.lines if line.startswith("MAIL")]
    assert len(said) == 4, "nobody asks again before the minute is over"
    assert not daemon.events("delivery_paused")
    server.script.replies.clear()
    retry(daemon)  # a person's word
    wait_empty(daemon)
    assert len(server.messages) == 6


def test_learned_limit_drains_minute_by_minute(keeper, exchange, request):
    """The real minute, once."""
    if "debug" in request.config.getoption("--build"):
        pytest.skip("takes over a minute; the release build shows it")
    daemon = keeper(exchange.up("--rate", "3", "--rate-window", "60000"), mode="queue")
    for n in range(6):
        send_queued(daemon, numbered(n), [TO])
    daemon.wait_event("throttled")
    assert len(numbers_at(exchange)) == 3
    wait_empty(daemon, timeout=75)
    assert sorted(numbers_at(exchange)) == list(range(6))
    assert len(daemon.events("throttled")) == 1, "the second minute keeps to what the first taught"


# --- sessions


def hold_sessions(daemon, count, sender="a@corp.example"):
    """Clients in the middle of a message, each with a session of its own."""
    clients = []
    for _ in range(count):
        client = daemon.raw()
        client.hello()
        client.send(f"MAIL FROM:<{sender}>\r\nRCPT TO:<{TO}>\r\nDATA\r\n")
        assert [r.code for r in client.replies(3)] == [250, 250, 354]
        client.send("Subject: begun\r\n")
        clients.append(client)
    return clients


def end_all(clients):
    for client in clients:
        client.send("\r\n.\r\n")
        assert client.reply().code == 250
        client.close()


PAYROLL = {"match_sender": "payroll@*", "username": "CORP\\payroll", "password": "Payroll-Pass2"}


def test_all_accounts_together_have_a_limit_and_none_starves(submitd, exchange):
    """Two sessions in all: the second account gets an idle one's place, and a busy one's as soon as it is free."""
    exchange.up("--sessions", "3")  # one that is just closing may still count there
    daemon = submitd(exchange, {"upstream": {"max_sessions_total": 2}, "account payroll": PAYROLL})
    end_all(hold_sessions(daemon, 2))  # both rest now
    daemon.send(complete(), [TO], sender="payroll@corp.example")
    end_all(hold_sessions(daemon, 1))
    busy = hold_sessions(daemon, 2)
    done = threading.Event()

    def send_payroll():
        daemon.send(complete(), [TO], sender="payroll@corp.example")
        done.set()
    threading.Thread(target=send_payroll, daemon=True).start()
    time.sleep(0.3)
    assert not done.is_set()
    crowd = [threading.Thread(target=daemon.send, args=(complete(), [TO]), daemon=True) for _ in range(8)]
    for thread in crowd:
        thread.start()
    time.sleep(0.2)
    end_all(busy[:1])
    assert done.wait(5), "it waits for one session's end, not for the other account's crowd"
    end_all(busy[1:])
    for thread in crowd:
        thread.join(10)
        assert not thread.is_alive()
    assert not daemon.events("upstream_failed")


def test_the_servers_session_limit_shrinks_the_pool(submitd, rogue):
    """Four are open when the fifth is refused: the rest of the crowd shares the four."""
    server = rogue(replies={"BANNER": [None] * 4 + [TOO_MANY]})
    daemon = submitd(server)
    held = hold_sessions(daemon, 4)
    crowd = [threading.Thread(target=daemon.send, args=(complete(), [TO]), daemon=True) for _ in range(10)]
    for thread in crowd:
        thread.start()
    limited = daemon.wait_event("sessions_limited", sessions=4)
    assert "MaxInboundConnectionPerSource" in limited["remedy"]
    time.sleep(1.5)  # longer than the pause between attempts
    knocked = len(server.sessions)
    assert knocked <= 6, "two at the same time, and not again at once"
    end_all(held)
    for thread in crowd:
        thread.join(10)
        assert not thread.is_alive()
    assert len(server.messages) == 14 and len(server.sessions) == knocked


def test_who_gets_no_session_because_of_others_hears_which_limit(submitd, exchange):
    daemon = submitd(exchange.up(), {"upstream": {"max_sessions_total": 1, "wait_timeout": "1s"},
                                     "account payroll": PAYROLL})
    held = hold_sessions(daemon, 1)
    reply = try_sending(daemon, complete(), [TO], sender="payroll@corp.example")[1]
    assert reply.code == 451 and "account 'payroll' got no session for 1 s: others held all 1" in reply.text
    assert "max_sessions_total" in reply.text
    end_all(held)


def test_a_session_at_rest_is_closed_for_its_age_too(submitd, rogue):
    """Exchange ends a session after ten minutes, also one that rested for a moment only."""
    server = rogue()
    daemon = submitd(server, {"upstream": {"session_age": "2s", "idle_close": "60s"}})
    daemon.wait_event("upstream_ready")
    time.sleep(1)
    assert server.sessions[0].lines[-1] != "QUIT"
    until(lambda: server.sessions[0].lines[-1] == "QUIT", 3, "the end of an old session")


def test_first_come_first_served(submitd, rogue):
    """One session: those who wait get it in the order in which they came."""
    server = rogue()
    daemon = submitd(server, {"upstream": {"max_sessions": 1}})
    held = hold_sessions(daemon, 1)
    crowd = [daemon.raw() for _ in range(8)]
    for number, client in enumerate(crowd):
        client.hello()
        client.send(f"MAIL FROM:<a@corp.example>\r\nRCPT TO:<n{number}@example.test>\r\n")
        assert client.reply().code == 250
        time.sleep(0.05)
    end_all(held)
    for client in crowd:
        assert client.reply().code == 250
        client.close()
    asked = [line.split("<")[1].split("@")[0] for s in server.sessions for line in s.lines if line.startswith("RCPT TO:<n")]
    assert asked == [f"n{number}" for number in range(8)]


def test_the_spool_leaves_half_of_the_sessions_to_clients(keeper, rogue):
    server = rogue(replies={"DOT": HANG})
    daemon = keeper(server, {"upstream": {"max_sessions": 4}}, mode="queue")
    for number in range(8):
        send_queued(daemon, numbered(number), [TO])
    server.wait_messages(2)
    time.sleep(0.5)
    assert len(server.messages) == 2


def test_a_reload_does_not_double_the_sessions(submitd, exchange):
    daemon = submitd(exchange.up("--sessions", "4"), {"upstream": {"max_sessions_total": 3}})
    held = hold_sessions(daemon, 3)
    daemon.reload()
    daemon.wait_event("reloaded")
    waiting = threading.Thread(target=daemon.send, args=(complete(), [TO]), daemon=True)
    waiting.start()
    time.sleep(0.5)
    assert waiting.is_alive()
    end_all(held)
    waiting.join(10)
    assert not waiting.is_alive()
    assert not daemon.events("upstream_failed")


def test_an_account_whose_pace_says_later_takes_no_session_from_others(submitd, rogue):
    """One session for two accounts. While the first waits for its pace, the second keeps what it has: it is not given
    up for somebody who cannot use it, and got back again by another login, for each message."""
    server = rogue()
    daemon = submitd(server, {"upstream": {"max_sessions_total": 1, "rate": "12/min", "wait_timeout": "2m"},
                              "account payroll": PAYROLL})
    for _ in range(12):
        daemon.send(complete(), [TO])
    waiting = daemon.raw()
    waiting.hello()
    waiting.send(f"MAIL FROM:<a@corp.example>\r\nRCPT TO:<{TO}>\r\n")
    assert waiting.reply().code == 250, "MAIL waits for nothing, RCPT does"
    time.sleep(0.2)
    logged_in = len(server.logins)
    for _ in range(10):
        daemon.send(complete(), [TO], sender="payroll@corp.example")
    assert len(server.logins) - logged_in == 1
    waiting.close()


def test_two_accounts_take_turns_with_a_single_session(submitd, rogue):
    """Each is served by the session that was made for it before it gives way: else both log in, and nothing is sent."""
    server = rogue()
    daemon = submitd(server, {"upstream": {"max_sessions_total": 1, "wait_timeout": "20s"}, "account payroll": PAYROLL})
    crowd = [threading.Thread(target=daemon.send, args=(complete(), [TO], sender), daemon=True)
             for sender in ["a@corp.example", "payroll@corp.example"] * 4]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join(15)
        assert not thread.is_alive()
    assert len(server.messages) == 8 and len(server.logins) <= 10


def test_a_session_made_for_the_old_configuration_does_not_rest(submitd, rogue):
    """It was on its way when the reload came: nobody will use it, and it would keep its place for minutes."""
    def slowly(_session):
        time.sleep(1.5)
    server = rogue(replies={"AUTH": slowly})
    daemon = submitd(server, {"upstream": {"max_sessions_total": 1, "wait_timeout": "10s"}})
    client = daemon.raw()
    client.hello()  # keeps the old configuration alive
    until(lambda: server.sessions, 5, "the session that is opened ahead of need")
    daemon.reload()
    daemon.wait_event("reloaded")
    daemon.wait_event("upstream_ready")
    began = time.monotonic()
    daemon.send(complete(), [TO])
    assert time.monotonic() - began < 6
    client.close()


# --- the breaker


def test_half_open_after_the_cool_down(keeper, rogue):
    """The queue itself finds out, as soon as it may; people and programs cannot hurry it."""
    server = rogue(replies={"AUTH": WRONG})
    daemon = keeper(server, {"upstream": {"breaker_cooldown": "4s"}})
    send_queued(daemon, numbered(0), [TO])
    daemon.wait_event("logins_paused")
    began = time.monotonic()
    assert len(server.logins) == 2
    retry(daemon)
    send_queued(daemon, numbered(1), [TO])
    time.sleep(1.5)
    assert len(server.logins) == 2
    daemon.wait_event("logins_paused", count=2)
    assert len(server.logins) == 3 and time.monotonic() - began > 3.5, "a single try, after the cool-down"
    server.script.replies.clear()
    wait_empty(daemon, timeout=30)
    assert len(server.logins) == 4


def test_accounts_with_one_login_name_count_together(submitd, rogue):
    """Active Directory counts per user, whatever the sections are called."""
    server = rogue(replies={"AUTH": WRONG})
    daemon = submitd(server, {"account copy": {"match_sender": "copy@*", "username": "corp\\USER",
                                               "password": "Secret-Pass1"}})
    for sender in ["a@corp.example", "copy@corp.example"] * 3:
        assert try_sending(daemon, complete(), [TO], sender=sender)[1].code == 451
    assert len(server.logins) == 2


def test_refused_logins_are_counted_across_a_reload(submitd, rogue):
    """Clients that stay keep the old configuration (nothing of it changed, the log was rotated): when the password is
    changed in Active Directory, their logins and those of new clients are refused together."""
    server = rogue()
    daemon = submitd(server)
    old = daemon.raw()
    old.hello()
    daemon.send(complete(), [TO])
    daemon.reload()
    daemon.wait_event("reloaded")
    daemon.send(complete(), [TO])
    server.script.replies["AUTH"] = WRONG
    server.drop_all()
    worked = len(server.logins)
    for _ in range(3):
        assert old.cmd("MAIL FROM:<a@corp.example>").code == 250
        assert old.cmd(f"RCPT TO:<{TO}>").code == 451
        assert old.cmd("RSET").code == 250
        assert try_sending(daemon, complete(), [TO])[1].code == 451
    old.close()
    assert len(server.logins) - worked == 2


def doctor(daemon, *options):
    return subprocess.run([daemon.binary, "doctor", "--config", str(daemon.config_file), *options], capture_output=True,
                          timeout=30, text=True, check=False)


def touch(file):
    """Whatever was done to it: submitd cannot know that it says the same."""
    file.write_bytes(file.read_bytes())


@pytest.fixture
def pause(keeper, rogue):
    """pause(sections): (daemon, server) behind two refused logins, with a message that waits."""
    def start(sections=None, **delivery):
        server = rogue(replies={"AUTH": WRONG})
        daemon = keeper(server, sections, mode="relay", **delivery)
        send_queued(daemon, numbered(0), [TO])
        daemon.wait_event("logins_paused")
        assert len(server.logins) == 2
        return daemon, server
    return start


def test_paused_logins_are_seen(pause):
    """Where people look when mail does not arrive."""
    daemon, server = pause()
    sentence = f"logins of account (default) ({server.username}) are paused for"
    until(lambda: sentence in queue_fine(daemon, "list").out, 5, "the notice in the list")
    assert WRONG in queue_fine(daemon, "list").out
    assert [m["logins_paused_until"] > time.time() for m in listed(daemon)] == [True]
    seen = doctor(daemon)
    assert seen.returncode == 1 and sentence in seen.stdout
    assert "ok    mechanism" in seen.stdout, "all that comes before the login"
    assert re.search(r"^FAIL  login +not tried: .*\n +remedy: .*submitd doctor --login", seen.stdout, re.M)
    assert len(server.logins) == 2
    forced = doctor(daemon, "--login")
    assert forced.returncode == 1 and "counts towards a lockout" in forced.stdout and WRONG in forced.stdout
    assert len(server.logins) == 3


def test_doctor_says_why_mail_waits(keeper, exchange):
    """All steps are fine, and still the mail is slow: it is the limit of the connector, with the command that lifts it."""
    daemon = keeper(exchange.up("--rate", "2", "--rate-window", "60000"), mode="relay")
    for number in range(4):
        send_queued(daemon, numbered(number), [TO]) if number > 1 else daemon.send(numbered(number), [TO])
    seen = doctor(daemon)
    assert seen.returncode == 0 and "FAIL" not in seen.stdout
    assert re.search(r"^note  2 messages wait in the spool, the oldest for \d+s: .*\n +remedy: .*-MessageRateLimit 100",
                     seen.stdout, re.M), seen.stdout
    assert "wait in the spool" not in doctor(keeper(exchange)).stdout


def test_paused_logins_survive_restarts(pause):
    """Nobody has touched username and password: neither people who restart nor a service manager lock the account."""
    daemon, server = pause()
    for end in (stop, kill, stop):
        end(daemon)
        restart(daemon)
        assert int(daemon.wait_event("logins_paused")["seconds"]) > 1700
        send_queued(daemon, numbered(1), [TO])
        reason = daemon.wait_event("queued")["reason"]
        assert "are paused for" in reason and WRONG in reason
    assert len(server.logins) == 2
    daemon.reload()
    until(lambda: len(server.logins) == 3, 5, "a reload tries one")
    daemon.wait_event("logins_paused", 2)
    server.script.replies.clear()
    daemon.reload()
    wait_empty(daemon)
    assert "logins of account" not in queue_fine(daemon, "list").out


def test_restarts_and_doctor_without_any_mail_do_not_lock_the_account(keeper, rogue):
    """Each start logs in ahead of need, and doctor does; all of them together are refused twice."""
    server = rogue(replies={"AUTH": WRONG})
    daemon = keeper(server)
    daemon.wait_event("upstream_failed")
    until(lambda: "were refused; the next message tries one" in queue_fine(daemon, "list").out, 5, "the notice")
    for _ in range(3):
        stop(daemon)
        restart(daemon)
        daemon.wait_event("logins_paused")
    assert doctor(daemon).returncode == 1
    assert len(server.logins) == 2


def test_doctor_alone_does_not_lock_the_account(keeper, rogue):
    """The daemon has not been started since the first installation, and somebody tries and tries."""
    server = rogue()
    daemon = keeper(server)
    daemon.wait_event("upstream_ready")
    stop(daemon)
    server.script.replies["AUTH"] = WRONG
    assert [doctor(daemon).returncode for _ in range(4)] == [1] * 4
    assert len(server.logins) == 1 + 2
    restart(daemon)
    daemon.wait_event("logins_paused")
    assert len(server.logins) == 1 + 2
    server.script.replies.clear()
    assert doctor(daemon, "--login").returncode == 0
    daemon.process.send_signal(signal.SIGHUP)
    until(lambda: "logins of account" not in queue_fine(daemon, "list").out, 5, "no notice")


def test_accounts_with_one_user_name_share_what_is_noted(pause, keeper):
    """The directory knows only one: what was refused to one concerns both, and what works clears it for both."""
    both = {"account other": {"match_sender": "other@*", "username": "corp\\USER", "password": "Secret-Pass1"}}
    daemon, server = pause(both)
    send_queued(daemon, numbered(1), [TO], sender="other@corp.example")
    assert [bool(m["logins_paused_until"]) for m in listed(daemon)] == [True, True]
    seen = doctor(daemon).stdout
    assert seen.count("not tried") == 2 and len(server.logins) == 2
    server.script.replies.clear()
    daemon.process.send_signal(signal.SIGHUP)
    wait_empty(daemon)
    assert "logins of account" not in queue_fine(daemon, "list").out
    stop(daemon)
    restart(daemon)
    daemon.wait_event("upstream_ready")
    assert not daemon.events("logins_paused")


def test_a_spool_that_opens_late_pauses_no_login_that_works(pause, small_disk):
    """The account was unlocked, and submitd started on a full disk: it has logged in since."""
    disk = small_disk("8M")
    daemon, server = pause(spool=disk.path / "spool.db")
    stop(daemon)
    server.script.replies.clear()
    disk.fill()
    restart(daemon)
    daemon.wait_event("spool_not_opened")
    daemon.wait_event("upstream_ready")
    disk.make_room()
    daemon.wait_event("spool_opened", timeout=20)
    until(lambda: "logins of account" not in queue_fine(daemon, "list").out, 5, "no notice")
    assert not daemon.events("logins_paused")


@pytest.mark.parametrize("what", ["config", "password_file"])
def test_a_restart_with_another_credential_tries_one_login(pause, workdir, what):
    file = workdir("secrets") / "password"
    file.write_text("Some-Pass1\n", encoding="ascii")
    file.chmod(0o600)
    daemon, server = pause({"account": {"password": None, "password_file": file}} if what == "password_file" else None)
    file = file if what == "password_file" else daemon.config_file
    stop(daemon)
    touch(file)
    restart(daemon)
    daemon.wait_event("logins_paused")
    time.sleep(0.3)
    assert len(server.logins) == 3
    stop(daemon)
    touch(file)
    server.script.replies.clear()
    assert doctor(daemon).returncode == 0
    restart(daemon)
    wait_empty(daemon)
    assert "logins of account" not in queue_fine(daemon, "list").out


def test_a_changed_password_file_closes_the_breaker(keeper, rogue, workdir):
    """Nobody sends a signal: the new password is found, and what waited is delivered."""
    server = rogue(replies={"AUTH": WRONG})
    file = workdir("secrets") / "svc.password"
    file.write_text("Old-Pass1\n", encoding="utf-8")
    file.chmod(0o600)
    daemon = keeper(server, {"account": {"password": None, "password_file": file}})
    send_queued(daemon, numbered(0), [TO])
    daemon.wait_event("logins_paused")
    server.script.replies.clear()
    new = file.with_suffix(".new")  # how careful people replace a file
    new.write_text("New-Pass2\n", encoding="utf-8")
    new.chmod(0o600)
    new.rename(file)
    wait_empty(daemon)
    assert daemon.events("password_file_changed") and len(server.logins) == 3
    assert "Pass" not in daemon.everything()


# --- clients that fall silent


def said(server, verb):
    return [line for s in server.sessions for line in s.lines if line.startswith(verb)]


def begin(daemon, recipients, sender="a@corp.example"):
    client = daemon.raw(timeout=40)
    client.hello()
    assert client.cmd(f"MAIL FROM:<{sender}>").code == 250
    return client, [client.cmd(f"RCPT TO:<{to}>").code for to in recipients]


def test_a_silent_client_gives_its_session_back(submitd, rogue):
    """One session for two clients: the silent one's envelope is said again when it goes on, without what was refused."""
    server = rogue(replies={"RCPT": [None, "550 5.1.1 User unknown", None]})
    daemon = submitd(server, {"upstream": {"max_sessions": 1}})
    client, codes = begin(daemon, ["one@x.test", "unknown@x.test"])
    assert codes == [250, 550]
    began = time.monotonic()
    daemon.send(complete(), [TO])
    assert 1 < time.monotonic() - began < 8
    assert "RSET" in server.sessions[0].lines
    assert client.cmd("RCPT TO:<two@x.test>").code == 250
    assert client.cmd("DATA").code == 354
    client.send(complete(b"late\r\n") + b".\r\n")
    assert client.reply().code == 250
    assert len(server.sessions) == 1 and len(server.messages) == 2
    assert [line.split(":")[1] for line in said(server, "RCPT")] == [
        "<one@x.test>", "<unknown@x.test>", f"<{TO}>", "<one@x.test>", "<two@x.test>"]
    assert daemon.wait_event("message", to="one@x.test,two@x.test")["rcpts"] == "2"


@pytest.mark.parametrize("goes_on", ["DATA", "RCPT TO:<two@x.test>\r\nDATA"])
def test_a_silent_client_goes_on_with(submitd, shared_sandbox, rcpt, goes_on):
    daemon, to = submitd(shared_sandbox), rcpt()
    client, codes = begin(daemon, [to])
    daemon.wait_event("session_rested")
    client.send(goes_on + "\r\n")
    assert [r.code for r in client.replies(goes_on.count("\n") + 1)][-1] == 354
    client.send(complete() + b".\r\n")
    assert client.reply().code == 250 and codes == [250]
    client.close()
    kept = shared_sandbox.one_to(to)
    assert to in kept.recipients and len(kept.recipients) == goes_on.count("\n") + 1


def test_a_silent_client_may_also_give_up(submitd, rogue):
    server = rogue()
    daemon = submitd(server)
    client, _ = begin(daemon, ["one@x.test"])
    daemon.wait_event("session_rested")
    assert client.cmd("RSET").code == 250
    assert client.cmd("NOOP").code == 250
    daemon.send(complete(), [TO])
    client.close()
    assert len(server.messages) == 1 and len(said(server, "MAIL")) == 2


@pytest.mark.parametrize("step, replies", [("MAIL", [None, "550 5.7.60 no more"]), ("RCPT", [None, "550 5.1.1 gone"])])
def test_a_word_that_is_taken_back_after_the_rest(submitd, keeper, rogue, step, replies):
    """The client was told 250: a 5xx cannot follow. The spool takes it, or it is put off."""
    server = rogue(replies={step: list(replies)})
    daemon = submitd(server)
    client, _ = begin(daemon, ["one@x.test"])
    daemon.wait_event("session_rested")
    reply = client.cmd("DATA")
    assert reply.code == 451 and replies[1] in reply.text
    client.close()
    server.script.replies[step] = list(replies)
    daemon = keeper(server, mode="relay")
    client, _ = begin(daemon, ["one@x.test"])
    daemon.wait_event("session_rested")
    assert client.cmd("DATA").code == 354
    client.send(complete() + b".\r\n")
    assert "queued as" in client.reply().text
    assert replies[1] in daemon.wait_event("queued")["reason"]


def test_the_next_server_lacks_what_the_client_was_promised(submitd, keeper, rogue):
    """SMTPUTF8 before the rest and not behind it: put off, not refused for good."""
    caps = ("PIPELINING", "SIZE 37748736", "8BITMIME")
    server = rogue(caps=(*caps, "SMTPUTF8"))
    for daemon, code in ((submitd(server), 451), (keeper(server, mode="relay"), 354)):
        server.script.caps = (*caps, "SMTPUTF8")
        daemon.send(complete(), [TO])
        client = daemon.raw()
        client.hello()
        assert client.cmd("MAIL FROM:<a@corp.example> SMTPUTF8").code == 250
        assert client.cmd(f"RCPT TO:<{TO}>").code == 250
        daemon.wait_event("session_rested")
        server.script.caps = caps
        server.drop_all()
        assert client.cmd("DATA").code == code
        client.close()


def test_upstream_goes_away_while_the_client_is_silent(submitd, keeper, exchange):
    exchange.up()
    defer, spool = submitd(exchange), keeper(exchange, mode="relay")
    clients = [begin(daemon, ["one@x.test"])[0] for daemon in (defer, spool)]
    for daemon in (defer, spool):
        daemon.wait_event("session_rested")
    exchange.down()
    assert clients[0].cmd("DATA").code == 451
    assert clients[1].cmd("RCPT TO:<two@x.test>").code == 250
    assert clients[1].cmd("DATA").code == 354
    clients[1].send(complete() + b".\r\n")
    assert "queued as" in clients[1].reply().text
    assert [r["mailbox"] for r in listed(spool)[0]["recipients"]] == ["one@x.test", "two@x.test"]
    for client in clients:
        client.close()


def test_a_stalled_text_makes_room_when_others_wait(keeper, exchange, request):
    if "debug" in request.config.getoption("--build"):
        pytest.skip("waits for 15 seconds; the release build shows it")
    daemon = keeper(exchange.up(), {"upstream": {"max_sessions": 1}}, mode="relay")
    [stalled] = hold_sessions(daemon, 1)
    began = time.monotonic()
    waiting = try_sending(daemon, complete(), [TO])
    assert waiting[-1].text.startswith("2.6.0"), "Exchange's own word"
    assert 10 < time.monotonic() - began < 25
    stalled.send("\r\nlate\r\n.\r\n")
    assert "queued as" in stalled.reply().text
    wait_empty(daemon)
    assert len(exchange.messages()) == 2


def test_a_stalled_text_makes_room_for_another_account(keeper, exchange, request):
    if "debug" in request.config.getoption("--build"):
        pytest.skip("waits for 15 seconds; the release build shows it")
    daemon = keeper(exchange.up(), {"upstream": {"max_sessions_total": 1}, "account payroll": PAYROLL}, mode="relay")
    [stalled] = hold_sessions(daemon, 1)
    waiting = try_sending(daemon, complete(), [TO], sender="payroll@corp.example")
    assert waiting[-1].text.startswith("2.6.0"), "Exchange's own word"
    stalled.send("\r\nlate\r\n.\r\n")
    assert "queued as" in stalled.reply().text


def test_a_stalled_text_alone_keeps_its_session(keeper, exchange, request):
    if "debug" in request.config.getoption("--build"):
        pytest.skip("waits for 17 seconds; the release build shows it")
    daemon = keeper(exchange.up(), {"upstream": {"max_sessions": 1}}, mode="relay")
    [stalled] = hold_sessions(daemon, 1)
    time.sleep(17)
    stalled.send("\r\nlate\r\n.\r\n")
    assert stalled.reply().text.startswith("2.6.0")


def test_a_stalled_text_makes_room_as_its_time_is_up(keeper, exchange):
    """The client loses its session and its connection in the same moment."""
    daemon = keeper(exchange.up(), {"upstream": {"max_sessions": 1}, "listener": {"idle_timeout": "15s"}}, mode="relay")
    [stalled] = hold_sessions(daemon, 1)
    assert try_sending(daemon, complete(), [TO])[-1].text.startswith("2.6.0")
    assert stalled.reply().code == 421
    stalled.close()
    assert len(exchange.messages()) == 1
