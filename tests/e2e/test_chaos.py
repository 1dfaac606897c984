"""Many clients, a bad line to the server, and reloads all at once; then everything must be as before.

CHAOS_SECONDS is how long each of them runs (7; longer while too little has gone through), CHAOS_SEED repeats a run.
"""
import asyncio
import os
import random
import signal
import subprocess
import time

import pytest

from chaoslib import Client, Ledger, Proxy
from harness.message import complete
from harness.upstream import Upstream
from harness.wait import until

SECONDS = float(os.environ.get("CHAOS_SECONDS", "7"))
SEED = os.environ.get("CHAOS_SEED") or str(random.randrange(10**6))
CLIENTS = 24
ENOUGH = 20  # messages that must go through, to mean anything
LATEST = 5   # times SECONDS
GROWTH_MAX_KB = 48 * 1024  # with the allocator's and a sanitizer's idea of freed memory
SPARE_FDS = 4
UPSTREAM = {"connect_timeout": "3s", "command_timeout": "2s", "data_timeout": "2s", "final_timeout": "3s",
            "wait_timeout": "3s", "idle_close": "1s", "session_age": "5s", "max_sessions": 6}
REFUSALS = ["--reject-rcpt", "reject*", "--defer-rcpt", "defer*"]


def count_fds(daemon):
    return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))


def accepted(ledger):
    return sum(1 for m in ledger.messages.values() if m.code == 250)


async def one_after_the_other(daemon, seed, ledger, end):
    rng = random.Random(seed)
    latest = end + (LATEST - 1) * SECONDS
    while time.monotonic() < (end if accepted(ledger) > ENOUGH else latest):
        await Client(daemon.port, rng, ledger).run()


async def hang_up_now_and_then(daemon, end, pause):
    rng = random.Random(SEED)
    while pause and time.monotonic() < end:
        await asyncio.sleep(rng.uniform(0, pause))
        for _ in range(rng.choice([1, 1, 10])):
            daemon.process.send_signal(signal.SIGHUP)


async def live(prepare, proxy, ledger, reload_pause, finish):
    """The chaos itself, then calm; `prepare` starts the daemon behind the proxy."""
    proxy.is_calm = True
    await proxy.start()
    loop = asyncio.get_running_loop()
    daemon = await loop.run_in_executor(None, prepare, proxy.port)
    await loop.run_in_executor(None, send_normally, daemon, ledger)
    proxy.is_calm = False
    before = daemon.memory_kb(), count_fds(daemon)
    end = time.monotonic() + SECONDS
    clients = [one_after_the_other(daemon, f"{SEED}/{i}", ledger, end) for i in range(CLIENTS)]
    await asyncio.gather(hang_up_now_and_then(daemon, end, reload_pause), *clients)
    proxy.calm_down()
    if reload_pause:
        daemon.process.send_signal(signal.SIGHUP)  # logins that the chaos has refused are tried again
    await loop.run_in_executor(None, calm, daemon, ledger, before)
    await loop.run_in_executor(None, finish, daemon, ledger)
    return daemon


def send_normally(daemon, ledger):
    message = ledger.new_message(random.Random(0))
    message.is_whole = True
    daemon.send(message.data, ["calm@example.test"])
    message.code = 250


def calm(daemon, ledger, before):
    def works():
        try:
            return send_normally(daemon, ledger) or True
        except Exception:
            return False
    until(works, 20, "submitd taking a message again")
    # The server itself may still drop one of these.
    assert sum(works() for _ in range(10)) >= 9, "submitd does not work as before"
    memory, fds = before
    until(lambda: count_fds(daemon) <= fds + SPARE_FDS, 15, f"no more than {fds} file descriptors, "
          f"not {count_fds(daemon)}")
    grown = daemon.memory_kb() - memory
    assert grown < GROWTH_MAX_KB, f"grew by {grown} kB"


def run(submitd, server, proxy, sections, reload_pause, finish=lambda daemon, ledger: None):
    ledger = Ledger()

    def prepare(port):
        upstream = Upstream(port=port, ca=server.ca, maildir=server.maildir, host="127.0.0.1")
        return submitd(upstream, sections, start=False).start(
            {"ASAN_OPTIONS": "quarantine_size_mb=4:malloc_context_size=20"})

    async def body():
        try:
            return await live(prepare, proxy, ledger, reload_pause, finish)
        finally:
            await proxy.stop()
    print(f"CHAOS_SEED={SEED}")
    daemon = asyncio.run(body())
    print(f"{len(ledger.messages)} messages, {proxy.count} connections to the server, replies {ledger.codes}")
    return daemon, ledger


def check(server, ledger, may_repeat=False):
    kept = [m.data for m in server.messages() if m.sender or b"X-Chaos" in m.data.partition(b"\r\n\r\n")[0]]
    ledger.check(kept, may_repeat)
    assert accepted(ledger) > ENOUGH, "too little went through to mean anything"


@pytest.mark.parametrize("chunking, reload_pause", [("auto", 1.0), ("no", 0)])
def test_in_clear_text(submitd, sandbox, chunking, reload_pause):
    """Without reloads one pool has to survive it all."""
    server = sandbox("--tls", "off", "--no-auth", "--drop-after-dot", "40", "--die-idle", "700", *REFUSALS)
    sections = {"account": None, "log": {"level": "info"},
                "upstream": {"tls": "off", "auth": "none", "tls_ca_file": None, "chunking": chunking, **UPSTREAM}}
    daemon, ledger = run(submitd, server, Proxy(server.port, SEED), sections, reload_pause)
    daemon.stop()
    check(server, ledger)


def test_with_tls_and_logins(submitd, sandbox, certs):
    server = sandbox("--tls", "implicit", "--session-age", "3000", *REFUSALS)
    sections = {"upstream": {"tls": "implicit", "tls_ca_file": certs.ca, **UPSTREAM}, "log": {"level": "debug"}}
    daemon, ledger = run(submitd, server, Proxy(server.port, SEED, certs.path("good")), sections, 0.7)
    daemon.stop()
    check(server, ledger)


@pytest.mark.parametrize("mode", ["relay", "queue"])
def test_with_a_spool(submitd, submitd_program, sandbox, workdir, mode):
    server = sandbox("--tls", "off", "--no-auth", "--no-pipelining")
    spool = workdir("spool") / "spool.db"
    sections = {"account": None, "log": {"level": "info"},
                "upstream": {"tls": "off", "auth": "none", "tls_ca_file": None, **UPSTREAM},
                "delivery": {"mode": mode, "on_failure": "spool", "spool": spool, "min_free": "1M",
                             "on_uncertain": "retry"}}

    def wait_for_all(daemon, ledger):
        def are_there():
            missing = ledger.missing([m.data for m in server.messages()])
            if missing:
                subprocess.run([submitd_program, "queue", "retry", "all", "--config", str(daemon.config_file)],
                               check=False, capture_output=True, timeout=30)
                time.sleep(1)
            return not missing
        until(are_there, 200, "everything that was answered with 250 being at the server")
    daemon, ledger = run(submitd, server, Proxy(server.port, SEED), sections, 1.0, wait_for_all)
    daemon.stop()
    check(server, ledger, may_repeat=True)
