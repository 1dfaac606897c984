"""Who takes part in bench/run: how each is set up in front of the same upstream, and how a client speaks to it.

A contender is started once and measured many times. `session` says what the load generator does: a new connection
for each message (NEW), one that stays (KEPT), or one that stays with MAIL, RCPT and DATA sent together (PIPELINED).
"""
import os
import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.daemon import Submitd, ini_text
from harness.net import free_port
from harness.wait import until
from meter import Meter
from postfix import Postfix, is_available, relay_cf

HOST = "127.0.0.1"
NEW, KEPT, PIPELINED = ["--per-message"], [], ["--pipelined"]
SESSIONS = 8  # max_sessions, as it is by default

MSMTP_CONF = """\
defaults
tls on
tls_starttls on
tls_trust_file {ca}
tls_host_override localhost
account default
host {host}
port {port}
auth login
user {user}
password {password}
"""

STUNNEL_CONF = """\
foreground = yes
pid =
syslog = no
debug = err
[smtp]
client = yes
accept = {host}:{port}
connect = {host}:{upstream}
CAfile = {ca}
verifyChain = yes
checkHost = localhost
"""


@dataclass
class Scene:
    """What everybody of one run shares."""
    build: Path
    directory: Path
    upstream: object       # a harness.upstream.Upstream: where messages go, over the slow line if there is one
    implicit: object       # the same without AUTH and with TLS from the first byte, for stunnel


def is_listening(port):
    try:
        socket.create_connection((HOST, port), 1).close()
    except OSError:
        return False
    return True


def login(upstream):
    return {"username": upstream.username, "password": upstream.password}


class Contender:
    """`is_queued`: it answers before the upstream has the message."""
    name, label, session, is_queued = "", "", KEPT, False

    def __init__(self, scene):
        self.scene = scene
        self.home = scene.directory / self.name
        self.home.mkdir()
        self.home.chmod(0o755)
        self.meter = Meter(self.name)
        self.load_config = self.home / "load.ini"

    @classmethod
    def missing(cls):
        """Why it cannot take part here; None: it can."""
        return None

    def start(self):
        self.point_load({"host": HOST, "port": self.listen(), "tls": "off", "auth": "none", "chunking": "no"})

    def listen(self):
        """Starts it and returns the port where it takes mail."""
        raise NotImplementedError

    def point_load(self, upstream, account=None):
        sections = {"upstream": {"hostname": "bench.example", **upstream}, "account": account,
                    "delivery": {"on_failure": "defer"}}
        self.load_config.write_text(ini_text(sections), encoding="utf-8")
        self.load_config.chmod(0o600)

    def stop(self):
        self.meter.close()


class Direct(Contender):
    """The program does what submitd would do for it; its cost is the generator's."""
    def start(self):
        upstream = self.scene.upstream
        self.point_load({"host": HOST, "port": upstream.port, "tls_ca_file": upstream.ca, "auth": "ntlm",
                         "chunking": "no"}, login(upstream))


class DirectNew(Direct):
    name, label, session = "direct-new", "STARTTLS and NTLM for each message", NEW


class DirectKept(Direct):
    name, label, session = "direct-kept", "one session that stays logged in", KEPT


class Relay(Contender):
    """submitd. Several of these share one process: only the client differs."""
    delivery, running, daemon = {"on_failure": "spool"}, {}, None

    def sections(self):
        upstream = self.scene.upstream
        return {"listener": {"max_clients_per_address": 0, "max_clients": 50000},
                "upstream": {"tls_ca_file": upstream.ca, "max_sessions": SESSIONS},
                "delivery": {"min_free": 0, **self.delivery, "spool": self.home / "spool.db"},
                "log": {"level": "info"}}

    def listen(self):
        key = (id(self.scene), *self.delivery.values())
        if key in self.running:
            self.meter.close()
            daemon, self.meter = self.running[key]
            return daemon.port
        self.daemon = Submitd(str(self.scene.build / "submitd"), self.home, self.scene.upstream, self.sections())
        self.daemon.start()
        self.meter.adopt(self.daemon.process.pid)
        self.running[key] = self.daemon, self.meter
        return self.daemon.port

    def stop(self):
        if self.daemon:
            self.daemon.stop()
            super().stop()


class RelayNew(Relay):
    name, label, session = "relay-new", "submitd, new connection for each message", NEW


class RelayKept(Relay):
    name, label, session = "relay-kept", "submitd, the client stays connected", KEPT


class RelayPipelined(Relay):
    name, label, session = "relay-pipelined", "submitd, the client stays and pipelines", PIPELINED


class RelayDefer(Relay):
    name, label, session = "relay-defer", "the same without a spool (on_failure = defer)", KEPT
    delivery = {"on_failure": "defer"}


class Queue(Relay):
    name, label, session, is_queued = "queue", "submitd, mode = queue, new connection each", NEW, True
    delivery = {"on_failure": "spool", "mode": "queue"}


class PostfixRelay(Contender):
    name, label, session, is_queued = "postfix", "Postfix, TLS sessions reused, new connection each", NEW, True

    @classmethod
    def missing(cls):
        return None if is_available() else "needs root and the Debian package postfix"

    def listen(self):
        self.postfix = Postfix(self.home / "postfix", relay_cf(self.scene.upstream))
        self.postfix.start(self.meter.enter)
        pid_file = self.postfix.home / "spool" / "pid" / "master.pid"
        self.meter.pids.append(int(pid_file.read_text(encoding="ascii")))
        return self.postfix.port

    def stop(self):
        self.postfix.stop()
        super().stop()


class Child(Contender):
    """A program that stays in the foreground until it is ended."""
    def spawn(self, port, *command):
        with open(self.home / "output", "wb") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                            preexec_fn=self.meter.enter, start_new_session=True)
        self.meter.pids.append(self.process.pid)
        until(lambda: is_listening(port), 10, f"{self.name} listening")
        return port

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(10)
        super().stop()


class Msmtp(Child):
    name, label, session = "msmtp", "msmtpd with msmtp, new connection each", NEW
    # Debian's msmtp-mta cannot be installed beside Postfix; bench/run unpacks it.
    msmtpd = None

    @classmethod
    def missing(cls):
        if not shutil.which("msmtp"):
            return "needs the Debian package msmtp"
        return None if cls.msmtpd else "needs msmtpd of the Debian package msmtp-mta"

    def listen(self):
        port, upstream, conf = free_port(), self.scene.upstream, self.home / "msmtprc"
        conf.write_text(MSMTP_CONF.format(ca=upstream.ca, host=HOST, port=upstream.port, user=upstream.username,
                                          password=upstream.password), encoding="utf-8")
        conf.chmod(0o600)
        return self.spawn(port, str(self.msmtpd), f"--interface={HOST}", f"--port={port}", "--log=none",
                          f"--command=/usr/bin/msmtp -C {conf} -f %F --")


class Stunnel(Child):
    name, label, session = "stunnel", "stunnel, TLS only: no login, no SMTP", KEPT

    @classmethod
    def missing(cls):
        return None if shutil.which("stunnel") else "needs the Debian package stunnel4"

    def listen(self):
        port, conf = free_port(), self.home / "stunnel.conf"
        conf.write_text(STUNNEL_CONF.format(host=HOST, port=port, upstream=self.scene.implicit.port,
                                            ca=self.scene.implicit.ca), encoding="utf-8")
        return self.spawn(port, "stunnel", str(conf))


ALL = (RelayNew, RelayKept, RelayPipelined, RelayDefer, Queue, DirectNew, DirectKept, PostfixRelay, Msmtp, Stunnel)
BY_NAME = {c.name: c for c in ALL}
