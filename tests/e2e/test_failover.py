"""Several hosts: a broken one is left out, nobody is asked for a password twice, no message is on two of them."""
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import expected
from harness.message import complete
from harness.net import first_refusal, free_port
from harness.rogue import DROP, HANG
from harness.wait import until
from spoollib import Exchange, keeper, numbered, numbers_at, retry_until_empty, wait_empty  # noqa: F401

FIRST_SKIP_SECONDS = 30
SHORT = {"connect_timeout": "1s"}
REFUSED = "535 5.7.3 Authentication unsuccessful"

# what is wrong with the first host, and [upstream] options
BROKEN = {
    "banner 421": ({"replies": {"BANNER": "421 4.3.2 Service not available"}}, {}),
    "banner 554": ({"replies": {"BANNER": "554 5.7.1 go away"}}, {}),
    "dies at banner": ({"replies": {"BANNER": DROP}}, {}),
    "hangs at banner": ({"replies": {"BANNER": HANG}}, SHORT),
    "no starttls": ({"offers_starttls": False}, {}),
    "starttls 454": ({"replies": {"STARTTLS": "454 4.7.0 TLS not available"}}, {}),
    "expired": ({"cert": "expired"}, {}),
    "wrong name": ({"cert": "wrong_name"}, {}),
    "login 454": ({"replies": {"AUTH": "454 4.7.0 Temporary authentication failure"}}, {}),
    "hangs at auth": ({"replies": {"AUTH": HANG}}, SHORT),
}


def hosts(*servers, **options):
    """[upstream] with these hosts in order: servers, or text."""
    names = [s if isinstance(s, str) else f"localhost:{s.port}" for s in servers]
    return {"upstream": {"host": ", ".join(names), "port": free_port(), **options}}


def send(daemon):
    return daemon.send(complete(), ["b@example.test"])


def assert_skipped_once(daemon, host="localhost"):
    skipped = daemon.events("host_skipped")
    assert [(e.get("host"), e.level) for e in skipped] == [(host, "warning")], skipped
    assert not [e for e in daemon.events(expected.EVENT_UPSTREAM_FAILED) if e.level == "error"]
    assert not daemon.events("sessions_limited")  # its 421 is about itself


@pytest.mark.parametrize("name", BROKEN)
def test_second_host_takes_over(submitd, rogue, name):
    """From the first message on, and the broken one is left alone after that."""
    script, options = BROKEN[name]
    first, second = rogue(**script), rogue()
    daemon = submitd(second, hosts(first, second, **options))
    send(daemon)
    tried = len(first.sessions)
    send(daemon)
    assert len(second.messages) == 2 and not first.messages
    assert len(first.sessions) == tried == 1
    assert_skipped_once(daemon)


@pytest.mark.parametrize("name", ["dns", "tcp"])
def test_host_that_is_not_there(submitd, rogue, name):
    """The certificate is checked against the host that is used, so it must be the second's name."""
    second = rogue()
    missing = "nosuch.invalid" if name == "dns" else f"127.0.0.1:{free_port()}"
    daemon = submitd(second, hosts(missing, second))
    send(daemon)
    assert len(second.messages) == 1
    assert_skipped_once(daemon, missing.split(":")[0])
    assert daemon.events("upstream_ready", host="localhost") and daemon.events("message", host="localhost")


def test_third_host(submitd, rogue):
    third = rogue()
    daemon = submitd(third, hosts("nosuch.invalid", f"127.0.0.1:{free_port()}", third))
    send(daemon)
    assert len(third.messages) == 1 and len(daemon.events("host_skipped")) == 2


def test_second_host_is_left_alone_while_the_first_works(submitd, rogue):
    first, second = rogue(), rogue()
    daemon = submitd(first, hosts(first, second))
    for _ in range(3):
        send(daemon)
    assert len(first.messages) == 3 and not second.sessions


def test_clients_that_wait_together_wait_once(submitd, rogue):
    """A first host that swallows everything costs one connect_timeout, not one for each client."""
    first, second = rogue(replies={"BANNER": HANG}), rogue()
    daemon = submitd(second, hosts(first, second, connect_timeout="2s"))
    began = time.monotonic()
    clients = [daemon.raw(timeout=30) for _ in range(20)]
    for client in clients:
        client.hello()
        client.send("MAIL FROM:<a@corp.example>\r\nRCPT TO:<b@example.test>\r\n")
    for client in clients:
        assert [r.code for r in client.replies(2)] == [250, 250]
        client.close()  # its session is the next one's
    assert 1 < time.monotonic() - began < 6 and len(first.sessions) == 1 and second.sessions


def test_the_next_host_has_its_chance_when_the_first_took_all_the_time(submitd, rogue):
    """As by default: wait_timeout is as long as connect_timeout, and the second host needs a moment to log in."""
    first, second = rogue(replies={"BANNER": HANG}), rogue(replies={"AUTH": lambda session: time.sleep(1.5)})
    daemon = submitd(first, hosts(first, second, connect_timeout="2s", wait_timeout="2s"))
    with daemon.raw(timeout=30) as client:
        client.hello()
        assert client.cmd("MAIL FROM:<a@corp.example>").code == 250
        assert client.cmd("RCPT TO:<b@example.test>").code == 250


@pytest.mark.parametrize("on_failure", ["defer", "spool"])
def test_a_client_does_not_wait_for_every_host_that_hangs(submitd, rogue, workdir, on_failure):
    """For the first, whose end gives a reason; with a reason not for longer than wait_timeout."""
    hanging = [rogue(replies={"BANNER": HANG}) for _ in range(6)]
    options = hosts(*hanging, connect_timeout="2s", wait_timeout="1s")
    daemon = submitd(hanging[0], {**options, "delivery": {"on_failure": on_failure, "spool": workdir("s") / "spool.db"}})
    began = time.monotonic()
    step, reply = first_refusal(daemon.port)
    assert time.monotonic() - began < 8, "six hosts take twelve seconds"
    said = reply.text
    if on_failure == "spool":
        assert step == "DOT" and reply.code == 250 and "queued as" in reply.text
        said = daemon.wait_event("queued")["reason"]
    else:
        assert step == "RCPT" and reply.code == 451
    assert "localhost did not get through TLS and login within 2 s" in said


def test_refused_login_is_never_tried_at_the_next_host(submitd, rogue):
    """Both ask the same directory, which counts: two at each host would lock the account."""
    first, second = rogue(replies={"AUTH": REFUSED}), rogue()
    daemon = submitd(first, hosts(first, second))
    for _ in range(4):
        assert first_refusal(daemon.port)[1].code == 451
    daemon.wait_event("logins_paused")
    assert len(first.logins) == 2 and not second.sessions and not daemon.events("host_skipped")


def test_refusals_at_both_hosts_count_together(submitd, rogue):
    first, second = rogue(replies={"BANNER": "421 4.3.2 no"}), rogue(replies={"AUTH": REFUSED})
    daemon = submitd(first, hosts(first, second))
    for _ in range(4):
        assert first_refusal(daemon.port)[1].code == 451
    first.script.replies.clear()
    assert first_refusal(daemon.port)[1].code == 451
    assert len(first.logins) + len(second.logins) == 2


@pytest.mark.parametrize("step", ["RCPT", "DATA", "BODY", "DOT"])
def test_message_that_was_begun_stays_where_it_is(submitd, rogue, step):
    """Something of it was answered: the client hears 451 and decides, no other host gets a part of it."""
    first, second = rogue(replies={step: DROP}), rogue()
    daemon = submitd(first, hosts(first, second))
    refused_at, reply = first_refusal(daemon.port)
    assert reply.code == 451 and refused_at == ("DOT" if step == "BODY" else step)
    assert reply.text.split("not delivered now: ")[1].startswith("localhost: ")
    assert not second.sessions


def test_session_that_died_at_rest_is_replaced_at_the_next_host(submitd, rogue):
    first, second = rogue(), rogue()
    daemon = submitd(first, hosts(first, second))
    send(daemon)
    with daemon.raw() as client:
        client.hello()
        first.script.replies["MAIL"] = DROP
        first.script.replies["BANNER"] = "421 4.3.2 no"
        assert client.cmd("MAIL FROM:<a@corp.example>").code == 250
        assert client.cmd("RCPT TO:<b@example.test>").code == 250
    assert len(first.messages) == 1 and second.sessions
    assert daemon.wait_event("session_replaced")


def test_probes(submitd, rogue):
    """submitd finds out by itself whether a skipped host works again, without a login, and nobody waits for it."""
    mended, broken, other = rogue(replies={"BANNER": HANG}), rogue(replies={"BANNER": HANG}), rogue()
    daemon = submitd(other, hosts(mended, other, connect_timeout="3s", session_age="1s"))
    second = submitd(other, hosts(broken, other, connect_timeout="3s", session_age="1s"))
    send(daemon)
    send(second)
    mended.script.replies.clear()

    daemon.wait_event("host_works", timeout=FIRST_SKIP_SECONDS + 10)
    probe = mended.sessions[-1]
    until(lambda: probe.is_over, 5, "the end of the probe")
    assert [line.split(" ")[0] for line in probe.lines[:3]] == ["EHLO", "STARTTLS", "EHLO"] and not probe.logins
    send(daemon)  # the session with the other one is too old
    assert len(mended.messages) == 1 and len(other.messages) == 2

    until(lambda: len(broken.sessions) == 2, 10, "the probe that is in vain")
    began = time.monotonic()
    send(second)
    assert time.monotonic() - began < 2 and len(other.messages) == 3
    skipped = second.wait_event("host_skipped", count=2)
    assert skipped.get("seconds") == "60" and skipped.level == "info"


def test_reload_forgets_what_was_broken(submitd, rogue):
    first, second = rogue(replies={"BANNER": "421 4.3.2 no"}), rogue()
    daemon = submitd(first, hosts(first, second))
    send(daemon)
    first.script.replies.clear()
    daemon.reload()
    daemon.wait_event(expected.EVENT_RELOADED)
    send(daemon)
    assert len(second.messages) == 1 and len(first.messages) == 1


def test_accounts_share_what_is_known_of_a_host(submitd, rogue):
    first, second = rogue(replies={"BANNER": HANG}), rogue()
    daemon = submitd(second, {
        **hosts(first, second, connect_timeout="2s"),
        "account other": {"match_sender": "*@other.example", "username": "u", "password": "x-x-x"}})
    send(daemon)
    began = time.monotonic()
    daemon.send(complete(), ["b@example.test"], sender="a@other.example")
    assert time.monotonic() - began < 1.5 and len(first.sessions) == 1 and len(second.messages) == 2


def test_all_hosts_broken_then_one_comes_back(submitd, rogue):
    """They take turns, so that the one that works is found."""
    no = "421 4.3.2 no"
    first, second = rogue(replies={"BANNER": no}), rogue(replies={"BANNER": no})
    daemon = submitd(first, hosts(first, second))
    daemon.wait_event("host_skipped", count=2)
    for _ in range(2):
        assert first_refusal(daemon.port)[1].code == 451
    assert len(first.sessions) == 2 and len(second.sessions) == 2
    second.script.replies.clear()
    replies = [first_refusal(daemon.port)[1].code for _ in range(3)]
    assert replies[1:] == [250, 250] and len(second.messages) >= 2


def test_one_session_too_many_is_no_broken_host(submitd, rogue):
    """Exchange's limit per source: its other sessions work, so nothing moves to the next host."""
    full = "421 4.3.2 The maximum number of concurrent server connections has exceeded a per-source limit"
    first, second = rogue(replies={"BANNER": [None, full, None]}), rogue()
    daemon = submitd(first, hosts(first, second))
    with daemon.raw() as busy, daemon.raw(timeout=30) as waiting:
        for client in (busy, waiting):
            client.hello()
            client.send("MAIL FROM:<a@corp.example>\r\nRCPT TO:<b@example.test>\r\n")
            assert client.reply().code == 250
        assert busy.reply().code == 250
        daemon.wait_event("sessions_limited")
        assert busy.cmd("RSET").code == 250
        assert waiting.reply().code == 250
    send(daemon)
    assert len(first.messages) == 1 and not second.sessions and not daemon.events("host_skipped")


def test_spooled_mail_goes_to_the_host_that_works(keeper, sandbox, rogue):
    first = rogue(replies={"BANNER": "421 4.3.2 no"})
    second = sandbox()
    daemon = keeper(second, {"upstream": {
        "host": f"nosuch.invalid, localhost:{first.port}, localhost", "tls_ca_file": second.ca}})
    for number in range(20):
        daemon.send(numbered(number), ["b@example.test"])
    wait_empty(daemon)
    assert numbers_at(second) == list(range(20))


def test_first_host_dies_under_load(keeper, sandbox, certs):
    """Each message arrives once, at one of the two, but for one per client: whose end nobody saw."""
    first, second = Exchange(sandbox, certs).up(), Exchange(sandbox, certs).up()
    daemon = keeper(first, hosts(first, second), mode="relay")
    clients, each = 4, 60

    def send_share(number):
        for n in range(number, clients * each, clients):
            daemon.send(numbered(n, b"x" * 70 + b"\r\n" * 500), ["b@example.test"])
            if n == clients * each // 3:
                first.down()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(send_share, range(clients)))
    retry_until_empty(daemon, 30)
    at_first, at_second = numbers_at(first), numbers_at(second)
    assert at_first and at_second and set(at_first + at_second) == set(range(clients * each))
    twice = len(at_first + at_second) - clients * each
    assert twice <= clients and len(set(at_second)) == len(at_second)


def doctor(daemon):
    return subprocess.run([daemon.binary, "doctor", "--config", daemon.config_file], capture_output=True,
                          text=True, timeout=60, check=False)


def test_doctor_walks_every_host(submitd, rogue):
    first, last = rogue(), rogue()
    daemon = submitd(first, hosts(first, "nosuch.invalid", last), start=False)
    ran = doctor(daemon)
    assert ran.returncode == 1 and ran.stdout.count("FAIL") == 1 and ran.stdout.count("ok    login") == 2, ran
    assert [line for line in ran.stdout.splitlines() if line.startswith("host ")] == [
        f"host localhost, port {first.port}",
        f"host nosuch.invalid, port {daemon.sections['upstream']['port']}",
        f"host localhost, port {last.port}"]


def test_doctor_shows_a_wrong_password_once(submitd, rogue):
    first, second = rogue(replies={"AUTH": REFUSED}), rogue(replies={"AUTH": REFUSED})
    daemon = submitd(first, {**hosts(first, second), "account other": {
        "match_sender": "*@other.example", "username": "u", "password": "x-x-x"}}, start=False)
    ran = doctor(daemon)
    assert ran.returncode == 1 and len(first.logins) == 1 and not second.sessions, ran
