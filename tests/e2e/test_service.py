"""submitd as a service: the user it becomes, what it tells systemd, sockets that systemd hands over, secrets in memory."""
import fcntl
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

import pytest

from harness.daemon import OWN_USER, Submitd, merged
from harness.message import complete
from harness.net import Raw, free_port, share
from harness.wait import until
from spoollib import kill, listed, queue, restart, send_queued, stop

NOBODY = pwd.getpwnam("nobody")
AS_NOBODY = {"user": NOBODY.pw_uid, "group": NOBODY.pw_gid, "extra_groups": []}
NOT_ROOT = os.geteuid() != 0
as_root = pytest.mark.skipif(NOT_ROOT, reason="only root can become another user")
STDERR = {"log": {"target": "stderr"}}


def is_sanitized(binary):
    return b"__asan_init" in Path(binary).read_bytes()


def status_of(process):
    """The lines of /proc/PID/status as a dictionary of word lists."""
    lines = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines()
    return {line.split(":")[0]: line.split(":", 1)[1].split() for line in lines}


def facts(daemon):
    return status_of(daemon.process)


def said_at_failed_start(daemon, status=1, **popen):
    ran = subprocess.run(daemon.command(), stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False,
                         **popen)
    said = ran.stderr.decode()
    assert ran.returncode == status, (ran.returncode, said)
    return said


def low_port():
    """A free one below 1024, which only root may bind."""
    for port in share(600, 1024):
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise AssertionError("no port below 1024 is free")


@pytest.fixture
def house():
    """A folder that nobody may use: pytest's own are closed to other users."""
    directory = Path(tempfile.mkdtemp(prefix="submitd-house-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def nobodys(submitd_program, shared_sandbox, house):
    """nobodys({...}) prepares a daemon whose files can be read and written by the user nobody."""
    made = []
    ca = house / "ca.pem"
    ca.write_bytes(Path(shared_sandbox.ca).read_bytes())

    def make(sections=None):
        room = house / f"room{len(made)}"
        room.mkdir()
        os.chown(room, NOBODY.pw_uid, NOBODY.pw_gid)
        own = {"upstream": {"tls_ca_file": ca}, "service": {"user": "nobody"},
               "delivery": {"on_failure": "spool", "spool": room / "spool.db", "min_free": "1M"}}
        made.append(Submitd(submitd_program, room, shared_sandbox, merged(own, sections or {})))
        give_to_nobody(made[-1])
        return made[-1]
    yield make
    for daemon in made:
        daemon.stop()


def give_to_nobody(daemon):
    """As in a package: 0640, the owner is root, the group the service's."""
    os.chmod(daemon.config_file, 0o640)
    if not NOT_ROOT:
        os.chown(daemon.config_file, 0, NOBODY.pw_gid)


def relays(daemon, server, rcpt, to):
    daemon.send(complete(), [to])
    return server.one_to(to)


# --- the user


@as_root
def test_root_is_dropped_for_good(nobodys, shared_sandbox, rcpt):
    port = low_port()
    daemon = nobodys({"listener": {"port": port}})
    daemon.port = port
    daemon.start()
    now = facts(daemon)
    assert now["Uid"] == [str(NOBODY.pw_uid)] * 4 and now["Gid"] == [str(NOBODY.pw_gid)] * 4
    assert now["Groups"] == [str(NOBODY.pw_gid)]  # not root's
    assert all(int(now[caps][0], 16) == 0 for caps in ("CapPrm", "CapEff", "CapInh", "CapAmb"))
    assert relays(daemon, shared_sandbox, rcpt, rcpt("dropped"))
    for name in ("submitd.log", "spool.db"):
        assert (daemon.config_file.parent / name).stat().st_uid == NOBODY.pw_uid, name


@as_root
def test_reload_is_done_as_that_user(nobodys, shared_sandbox, rcpt):
    daemon = nobodys().start()
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_event("reloaded")
    os.chmod(daemon.config_file, 0o600)
    daemon.process.send_signal(signal.SIGHUP)
    assert re.search("Permission denied; the user that submitd runs as",
                     daemon.wait_event("config_problem").get("reason"))
    daemon.wait_event("reload_failed")
    give_to_nobody(daemon)
    text = daemon.config_file.read_text().replace(f"port = {daemon.port}\n", f"port = {low_port()}\n")
    daemon.config_file.write_text(text)
    daemon.process.send_signal(signal.SIGHUP)
    assert "restart" in daemon.wait_event("reload_failed", 2).get("reason")
    assert relays(daemon, shared_sandbox, rcpt, rcpt("old"))


@as_root
def test_another_user_takes_a_restart(nobodys):
    daemon = nobodys().start()
    daemon.config_file.write_text(daemon.config_file.read_text().replace("user = nobody", "user = root"))
    daemon.process.send_signal(signal.SIGHUP)
    assert "restart" in daemon.wait_event("user_not_changed").get("remedy")
    assert facts(daemon)["Uid"] == [str(NOBODY.pw_uid)] * 4


@as_root
def test_roots_queue_command_leaves_the_spool_usable(nobodys, rcpt):
    """SQLite's side files must belong to the service, also when root looks into the queue."""
    daemon = nobodys({"delivery": {"mode": "queue"}, "upstream": {"port": free_port()}}).start()
    send_queued(daemon, complete(), [rcpt()])
    kill(daemon)
    assert len(listed(daemon)) == 1  # as root, with the journal of the killed one
    restart(daemon)
    assert queue(daemon, "hold", "all").status == 0
    send_queued(daemon, complete(), [rcpt()])
    stop(daemon)
    assert len(listed(daemon)) == 2
    assert {f.stat().st_uid for f in daemon.config_file.parent.glob("spool.db*")} == {NOBODY.pw_uid}


@as_root
def test_root_looks_into_the_queue_as_the_owner_of_the_spool(nobodys, rcpt, submitd_program):
    """What root makes beside the spool must be the service's from the first moment: it may just be starting."""
    daemon = nobodys({"delivery": {"mode": "queue"}, "upstream": {"port": free_port()}}).start()
    waiting = send_queued(daemon, complete(b"more than a pipe holds\r\n" * 10000), [rcpt()])
    kill(daemon)
    with subprocess.Popen([submitd_program, "queue", "show", waiting, "--message", "--config", daemon.config_file],
                          stdout=subprocess.PIPE) as ours:
        until(lambda: [status_of(ours)[name][1] for name in ("Uid", "Gid")] == [str(NOBODY.pw_uid), str(NOBODY.pw_gid)],
              15, "the owner's rights")
        assert ours.stdout.read().count(b"more than a pipe holds") == 10000
    assert ours.returncode == 0


@as_root
@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_root_looks_into_a_copy_that_its_owner_cannot_use(nobodys, rcpt, house, mode):
    """What was put aside below /root keeps the service as its owner, but no service runs there."""
    daemon = nobodys({"delivery": {"mode": "queue"}, "upstream": {"port": free_port()}}).start()
    send_queued(daemon, complete(), [rcpt()])
    stop(daemon)
    aside = house / "aside"
    shutil.copytree(daemon.config_file.parent, aside)
    os.chown(aside / "spool.db", NOBODY.pw_uid, NOBODY.pw_gid)
    aside.chmod(mode)
    daemon.config_file.write_text(daemon.config_file.read_text().replace(str(daemon.config_file.parent), str(aside)))
    assert len(listed(daemon)) == 1


@as_root
def test_root_stays_root_only_when_told(nobodys):
    assert facts(nobodys({"service": {"user": "root"}}).start())["Uid"] == ["0"] * 4


@as_root
@pytest.mark.parametrize("target", ["stderr", "a file"])
def test_a_user_that_does_not_exist(nobodys, target):
    daemon = nobodys({"service": {"user": "no-such-user"}, **(STDERR if target == "stderr" else {})})
    said = said_at_failed_start(daemon)
    assert re.search(r"\[service\] user = no-such-user: this machine has no such user; run: useradd .*no-such-user"
                     r".*user = root", said)
    assert not (daemon.config_file.parent / "spool.db").exists()


@as_root
def test_a_log_that_only_root_could_write_is_told_at_the_start(nobodys, house):
    said = said_at_failed_start(nobodys({"log": {"target": house / "roots.log"}}))
    assert "roots.log': Permission denied" in said
    assert not (house / "roots.log").exists()


@as_root
def test_a_user_who_is_not_root_cannot_become_another(nobodys):
    said = said_at_failed_start(nobodys({"service": {"user": "daemon"}}), **AS_NOBODY)
    assert re.search(r"user = daemon: .*only root", said)
    said = said_at_failed_start(nobodys({"service": {"user": "root"}}), **AS_NOBODY)
    assert re.search(r"user = root: .*only root", said)


@as_root
@pytest.mark.parametrize("user", [None, "submitd", "nobody"])
def test_the_default_asks_nothing_of_a_user_who_is_not_root(nobodys, user):
    daemon = nobodys({"service": {"user": user}})
    daemon.start(**AS_NOBODY)
    assert facts(daemon)["Uid"] == [str(NOBODY.pw_uid)] * 4


# --- memory


def may_read_memory(pid, **popen):
    """Whether another process of that user can attach to it."""
    code = f"import os; os.pread(os.open('/proc/{pid}/mem', os.O_RDONLY), 1, 0)"
    ran = subprocess.run(["/usr/bin/python3", "-c", code], capture_output=True, text=True, check=False, **popen)
    if "PermissionError" in ran.stderr:
        return False
    assert "Input/output error" in ran.stderr or ran.returncode == 0, ran  # it is open; nothing is at address 0
    return True


@as_root
@pytest.mark.parametrize("start", ["as root", "as the user"])
def test_nobody_else_sees_our_memory(nobodys, submitd_program, start):
    if is_sanitized(submitd_program):
        pytest.skip("a build with sanitizers stays traceable: LeakSanitizer traces itself")
    with subprocess.Popen(["sleep", "60"], **AS_NOBODY) as plain:  # shows that the question is a good one
        assert may_read_memory(plain.pid, **AS_NOBODY)
        plain.kill()
    daemon = nobodys().start(**(AS_NOBODY if start == "as the user" else {}))
    assert facts(daemon)["Uid"] == [str(NOBODY.pw_uid)] * 4
    assert not may_read_memory(daemon.process.pid, **AS_NOBODY)


def test_no_core_file(submitd, shared_sandbox):
    daemon = submitd(shared_sandbox)
    limits = Path(f"/proc/{daemon.process.pid}/limits").read_text()
    assert re.search(r"^Max core file size\s+0\s+0\s", limits, re.M)


# --- what systemd is told


class Manager:
    """systemd's end of $NOTIFY_SOCKET."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        path.chmod(0o666)
        self.environment = {"NOTIFY_SOCKET": str(path)}
        self.heard = []

    def listen(self):
        self.socket.setblocking(False)
        while True:
            try:
                words = self.socket.recv(65536).decode()
            except BlockingIOError:
                return self.heard
            self.heard.append(dict(line.split("=", 1) for line in words.splitlines()))

    def wait(self, key, count=1, timeout=10):
        def found():
            with_key = [m for m in self.listen() if key in m]
            return with_key[-1] if len(with_key) >= count else None
        return until(found, timeout, f"{key} x{count}")

    def count(self, key):
        return sum(key in m for m in self.listen())


@pytest.fixture
def manager(tmp_path):
    one = Manager(tmp_path / "notify")
    yield one
    one.socket.close()


def test_ready_is_told_when_clients_are_served(submitd, shared_sandbox, manager, rcpt):
    daemon = submitd(shared_sandbox, start=False)
    daemon.start(manager.environment)
    ready = manager.wait("READY")
    assert ready["STATUS"] == f"Relays to {shared_sandbox.host}:{shared_sandbox.port}"
    assert relays(daemon, shared_sandbox, rcpt, rcpt("ready"))
    daemon.stop()
    assert "STOPPING" in manager.listen()[-1] and manager.count("READY") == 1 and manager.count("WATCHDOG") == 0


def test_a_reload_is_told_from_begin_to_end(submitd, shared_sandbox, manager):
    daemon = submitd(shared_sandbox, start=False)
    daemon.start(manager.environment)
    manager.wait("READY")
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    daemon.reload()
    assert int(manager.wait("RELOADING")["MONOTONIC_USEC"]) > before
    assert manager.wait("READY", 2)["STATUS"].startswith("Relays to")
    daemon.reload(text="[upstream]\nhots = x\n")
    assert "stays in force" in manager.wait("READY", 3)["STATUS"]
    words = [next(iter(m)) for m in manager.listen()]
    assert words == ["READY", "RELOADING", "READY", "RELOADING", "READY"]


def test_a_failed_start_is_told(submitd, shared_sandbox, manager, tmp_path):
    environment = {**os.environ, **manager.environment}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        daemon = submitd(shared_sandbox, {"listener": {"port": taken.getsockname()[1]}}, start=False)
        said_at_failed_start(daemon, env=environment)
    assert "something else listens there" in manager.listen()[-1]["STATUS"]
    daemon.write_config_text("[upstream]\nhots = x\n")
    said_at_failed_start(daemon, 2, env=environment)
    assert "submitd check" in manager.listen()[-1]["STATUS"] and manager.count("READY") == 0


def test_the_watchdog_hears_of_a_loop_that_turns(submitd, shared_sandbox, manager):
    """Also while a reload waits for a slow command: that is a worker's business."""
    daemon = submitd(shared_sandbox, start=False)
    daemon.start({**manager.environment, "WATCHDOG_USEC": "200000"})
    manager.wait("WATCHDOG", 3)
    slow = {"account": {"password": None, "password_command": "sleep 1; echo Secret-Pass1"}}
    daemon.reload(slow)
    manager.wait("RELOADING")
    before = manager.count("WATCHDOG")
    daemon.wait_event("reloaded")
    assert manager.count("WATCHDOG") >= before + 5  # one each 100 ms; 200 ms are allowed


def test_the_watchdog_hears_nothing_of_a_loop_that_hangs(submitd, shared_sandbox, manager, tmp_path):
    """A log that nobody reads any more holds the loop up."""
    log = SlowLog(tmp_path / "log")
    daemon = submitd(shared_sandbox, {"log": {"target": log.path}}, start=False)
    with open(daemon.stderr_file, "ab") as stderr:
        daemon.process = subprocess.Popen(daemon.command(), stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr,
                                          env={**os.environ, **manager.environment, "WATCHDOG_USEC": "200000"})
    manager.wait("READY")
    with socket.create_connection(("127.0.0.1", daemon.port), 10) as client:
        client.sendall(b"NOOP\r\n" * 500)
        until(log.is_full, 10, "a loop that waits for its log")
        silent_since = manager.count("WATCHDOG")
        time.sleep(0.7)
        assert manager.count("WATCHDOG") == silent_since
        until(lambda: log.drain() or manager.count("WATCHDOG") > silent_since + 3, 20, "signs of life again")
    daemon.process.terminate()
    until(lambda: log.drain() or daemon.process.poll() is not None, 20, "its end")
    os.close(log.reader)


class SlowLog:
    """A pipe of one page that is read only when the test wants."""

    def __init__(self, path):
        self.path = path
        os.mkfifo(path)
        self.reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(self.reader, getattr(fcntl, "F_SETPIPE_SZ", 1031), 4096)

    def is_full(self):
        """No room for another line: whoever writes one waits."""
        return int.from_bytes(fcntl.ioctl(self.reader, termios.FIONREAD, bytes(4)), sys.byteorder) > 4096 - 200

    def drain(self):
        try:
            while os.read(self.reader, 65536):
                pass
        except BlockingIOError:
            pass


# --- sockets that are handed over

WRAPPER = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid())
for target, fd in enumerate(map(int, os.environ.pop("TEST_FDS").split(",")), 3):
    os.dup2(fd, target, inheritable=True)
os.execv(sys.argv[1], sys.argv[1:])
"""


def moved_up(sockets):
    """Their descriptors far above 3, so that the wrapper's dup2 does not overwrite one that is needed later."""
    return [fcntl.fcntl(s.fileno(), fcntl.F_DUPFD, 100) for s in sockets]


def hand_over(daemon, sockets, names=None):
    """(command, environment, Popen's arguments) for a start with these sockets, as systemd would do it."""
    fds = moved_up(sockets)
    environment = {"LISTEN_FDS": str(len(fds)), "TEST_FDS": ",".join(map(str, fds)),
                   **({"LISTEN_FDNAMES": ":".join(names)} if names else {})}
    return [sys.executable, "-c", WRAPPER, *daemon.command()], environment, {"pass_fds": fds}


def start_with(daemon, sockets, names=None, **popen):
    command, environment, more = hand_over(daemon, sockets, names)
    daemon.start(environment, command, **more, **popen)
    for fd in more["pass_fds"]:
        os.close(fd)


def failed_start_with(daemon, sockets, names=None):
    command, environment, more = hand_over(daemon, sockets, names)
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False,
                         env={**os.environ, **environment}, **more)
    for fd in more["pass_fds"]:
        os.close(fd)
    assert ran.returncode == 1, ran
    return ran.stderr.decode()


@as_root
@pytest.mark.parametrize("names", [None, ["submitd.socket"], ["default"]], ids=str)
def test_a_privileged_port_without_any_privilege(nobodys, shared_sandbox, rcpt, names):
    port = low_port()
    with socket.create_server(("127.0.0.1", port)) as ours:
        daemon = nobodys({"listener": {"port": port}})
        daemon.port = port
        start_with(daemon, [ours], names, **AS_NOBODY)
        assert relays(daemon, shared_sandbox, rcpt, rcpt("handed"))
        assert daemon.events("listening", address="127.0.0.1", port=port) and not daemon.events("socket_unused")


def test_no_client_is_refused_during_a_restart(submitd, shared_sandbox):
    with socket.create_server(("127.0.0.1", 0)) as ours:
        port = ours.getsockname()[1]
        daemon = submitd(shared_sandbox, {"listener": {"port": port}}, start=False)
        daemon.port = port
        start_with(daemon, [ours])
        Raw(port).hello()
        stop(daemon)
        with Raw(port) as early:  # systemd keeps the socket; nobody serves it just now
            daemon.log_file.unlink()
            start_with(daemon, [ours])
            assert early.reply().code == 220


def test_each_listener_gets_its_socket(submitd, shared_sandbox):
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.2", 0)) as two:
        ports = [s.getsockname()[1] for s in (one, two)]
        own = free_port()
        daemon = submitd(shared_sandbox, {
            "listener": {"port": ports[0]},
            "listener office": {"address": "127.0.0.2", "port": ports[1]},
            "listener own": {"address": "127.0.0.3", "port": own}}, start=False)
        start_with(daemon, [two, one], ["office", "submitd.socket"])
        for address, port in (("127.0.0.1", ports[0]), ("127.0.0.2", ports[1]), ("127.0.0.3", own)):
            with Raw(port, host=address) as client:
                assert client.reply().code == 220, address


def test_a_socket_at_the_wrong_place(submitd, shared_sandbox):
    with socket.create_server(("127.0.0.2", 0)) as ours:
        there = f"127.0.0.2:{ours.getsockname()[1]}"
        daemon = submitd(shared_sandbox, {"listener office": {"port": free_port()}}, start=False)
        here = f"127.0.0.1:{daemon.sections['listener']['port']}"
        assert re.search(rf"\[listener\]: the socket 'submitd.socket' that the service manager handed over listens on "
                         rf"{re.escape(there)}, but address and port are {re.escape(here)}",
                         failed_start_with(daemon, [ours], ["submitd.socket"]))
        assert re.search(r"\[listener office\]: the socket 'office'", failed_start_with(daemon, [ours], ["office"]))
        assert "ListenStream=" in daemon.log()


def test_a_socket_that_no_listener_wants(submitd, shared_sandbox):
    with socket.create_server(("127.0.0.2", 0)) as ours:
        daemon = submitd(shared_sandbox, start=False)
        start_with(daemon, [ours], ["stranger"])
        unused = daemon.wait_event("socket_unused")
        assert unused.get("socket") == "stranger" and unused.get("address") == f"127.0.0.2:{ours.getsockname()[1]}"


@pytest.mark.parametrize("kind", ["not listening", "datagram", "unix"])
def test_what_is_no_listening_tcp_socket(submitd, shared_sandbox, kind, tmp_path):
    family = socket.AF_UNIX if kind == "unix" else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if kind == "datagram" else socket.SOCK_STREAM) as ours:
        ours.bind(str(tmp_path / "s") if kind == "unix" else ("127.0.0.1", 0))
        if kind == "unix":
            ours.listen()
        daemon = submitd(shared_sandbox, start=False)
        assert "'odd' that systemd handed over is no listening TCP socket" in failed_start_with(daemon, [ours], ["odd"])


# --- submitd secret


def protect(program, *words, stdin=b"Hush-Hush-1\n", **popen):
    return subprocess.run([program, "secret", "protect", *words], input=stdin, capture_output=True, timeout=60,
                          check=False, **popen)


@as_root
@pytest.mark.skipif(not shutil.which("systemd-creds"), reason="systemd 250 or newer")
def test_a_protected_password_comes_back(submitd_program, tmp_path):
    ran = protect(submitd_program, "svc-mail", stdin="pässwörd €1\r\nnot this".encode())
    said = ran.stdout.decode()
    assert ran.returncode == 0 and "password_file = svc-mail\n" in said, ran
    assert "pässwörd" not in said + ran.stderr.decode()
    blob = re.search(r"^SetCredentialEncrypted=svc-mail: \\\n((?:\s+\S+( \\)?\n)+)", said, re.M)[1]
    opened = subprocess.run(["systemd-creds", "decrypt", "--name=svc-mail", "-", "-"], capture_output=True,
                            input=re.sub(r"[\s\\]", "", blob).encode(), check=True)
    assert opened.stdout.decode() == "pässwörd €1"


@as_root
def test_protect_needs_root(submitd_program, house):
    program = house / "submitd"
    shutil.copy(submitd_program, program)
    ran = protect(program, **AS_NOBODY)
    assert ran.returncode == 1 and b"sudo" in ran.stderr and not ran.stdout


@pytest.mark.parametrize("stdin, why", [(b"", "empty"), (b"\n", "empty"), (b"a\0b\n", "no text"),
                                        (b"x" * 5000, "longer")])
def test_what_is_no_password(submitd_program, stdin, why):
    ran = protect(submitd_program, stdin=stdin)
    assert ran.returncode == 1 and why in ran.stderr.decode() and not ran.stdout


@pytest.mark.parametrize("words", [["../x"], [".x"], ["-x"], ["a b"], ["a$(id)"], [""], ["x" * 201], ["a", "b"]], ids=str)
def test_what_is_no_name(submitd_program, words):
    assert protect(submitd_program, *words).returncode == 2


def test_a_terminal_does_not_show_the_password(submitd_program):
    """It is asked twice; two different ones do nothing."""
    pid, terminal = os.forkpty()
    if pid == 0:
        os.execv(submitd_program, [submitd_program, "secret", "protect"])
    said = b""
    for word, answer in ((b"Password: ", b"Hush-Hush-1\n"), (b"again: ", b"Hush-Hush-2\n")):
        while word not in said:
            said += os.read(terminal, 1024)
        os.write(terminal, answer)
    try:
        while True:
            said += os.read(terminal, 1024)
    except OSError:  # the other end is closed
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    assert b"Hush" not in said and b"different" in said, said
    os.close(terminal)
