"""What the tests of the spool share: daemons that keep mail, their queue, and a server that comes and goes."""
import json
import re
import shutil
import signal
import sqlite3
import subprocess
from dataclasses import dataclass

import pytest

from harness.daemon import merged
from harness.message import complete, field_values
from harness.net import free_port
from harness.upstream import Upstream
from harness.wait import until

QUEUED = re.compile(r"2\.0\.0 queued as (\S+)")
SENDER = "a@corp.example"
COMMAND_SECONDS = 60


def numbered(number, body=b"Hello.\r\n", extra=b""):
    """A complete message that can be told from others by its Message-ID."""
    return complete(body, extra).replace(b"<kept@", b"<kept-%d@" % number)


def number_of(data):
    found = re.fullmatch(r"<kept-(\d+)@corp\.example>", field_values(data, "Message-ID")[0])
    return int(found[1])


def numbers_at(server):
    """Which of the numbered messages arrived, in order of arrival."""
    return [number_of(m.data) for m in server.messages()]


# --- the daemon and its queue


@pytest.fixture
def keeper(submitd, workdir):
    """keeper(upstream, sections, mode="queue", ...) starts a daemon with a spool of its own."""
    def start(upstream, sections=None, *, start=True, **delivery):
        options = {"on_failure": "spool", "spool": workdir("spool") / "spool.db", "min_free": "1M", **delivery}
        return submitd(upstream, merged({"delivery": options}, sections or {}), start=start)
    return start


@pytest.fixture
def exchange(sandbox, certs):
    """A server that is down until the test says exchange.up(OPTIONS)."""
    return Exchange(sandbox, certs)


def restart(daemon):
    """Starts it again on the same files; the log begins anew."""
    daemon.log_file.unlink(missing_ok=True)
    return daemon.start()


def kill(daemon):
    daemon.process.send_signal(signal.SIGKILL)
    daemon.process.wait()
    daemon.process = None


def stop(daemon):
    daemon.stop()
    daemon.process = None


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str
    raw: bytes


def queue(daemon, *words):
    """`submitd queue WORDS`."""
    run = subprocess.run([daemon.binary, "queue", *words, "--config", str(daemon.config_file)],
                         stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_SECONDS, check=False)
    return Ran(run.returncode, run.stdout.decode("utf-8", "replace"), run.stderr.decode("utf-8", "replace"),
               run.stdout)


def queue_fine(daemon, *words):
    ran = queue(daemon, *words)
    assert ran.status == 0 and not ran.err, ran
    return ran


def listed(daemon):
    """What the queue has, in order of arrival, as `submitd queue list --json` tells it."""
    return json.loads(queue_fine(daemon, "list", "--json").out)


def states(daemon):
    return [m["state"] for m in listed(daemon)]


def wait_empty(daemon, timeout=15):
    until(lambda: not listed(daemon), timeout, "an empty queue")


def wait_tried(daemon, attempts=1, timeout=15):
    """Waits until each message of the queue has had so many attempts."""
    def check():
        messages = listed(daemon)
        return messages if messages and all(m["attempts"] >= attempts for m in messages) else None
    return until(check, timeout, f"{attempts} attempt(s) for each message")


def retry(daemon, what="all"):
    queue_fine(daemon, "retry", what)


def retry_until_empty(daemon, timeout=15):
    """For what comes in portions: people would wait a minute between them."""
    def check():
        if not listed(daemon):
            return True
        retry(daemon)
        return False
    until(check, timeout, "an empty queue")


def spool_sql(daemon, statement, *values):
    """Changes the file of a daemon that is stopped: how time passes in a test."""
    assert daemon.process is None
    with sqlite3.connect(daemon.sections["delivery"]["spool"]) as db:
        db.execute(statement, values)
    db.close()


# --- clients


def try_sending(daemon, data, recipients, sender=SENDER, pipelined=False, mail="", rcpt=""):
    """One message, dots and all; returns the replies to MAIL, each RCPT, DATA and the dot, as far as it came."""
    text = b"".join(b"." + line if line.startswith(b".") else line for line in data.splitlines(True))
    envelope = [f"MAIL FROM:<{sender}>{mail}", *(f"RCPT TO:<{to}>{rcpt}" for to in recipients), "DATA"]
    with daemon.raw(timeout=60) as client:
        client.hello()
        if pipelined:
            client.send("".join(line + "\r\n" for line in envelope))
            replies = client.replies(len(envelope))
        else:
            replies = []
            for line in envelope:
                replies.append(client.cmd(line))
        if replies[-1].code == 354:
            client.send(text + b".\r\n")
            replies.append(client.reply())
        return replies


def queued_id(reply):
    found = QUEUED.fullmatch(reply.text)
    assert reply.code == 250 and found, reply
    return found[1]


def send_queued(daemon, data, recipients, **kwargs):
    """Sends a message that must be accepted and kept; returns its id."""
    replies = try_sending(daemon, data, recipients, **kwargs)
    assert [r.code for r in replies] == [250] * (1 + len(recipients)) + [354, 250], replies
    return queued_id(replies[-1])


# --- the server


class Exchange(Upstream):
    """A sandbox at one address that can be down, or come back with other options. Its mail adds up."""

    def __init__(self, sandbox, certs):
        super().__init__(port=free_port(), ca=certs.ca, maildir=None)
        self.new = sandbox
        self.certs = certs
        self.lives = []

    def up(self, *options):
        cert = self.certs.path("good")
        self.lives.append(self.new("--listen", f"127.0.0.1:{self.port}", "--cert", str(cert), "--key", str(cert),
                                   *options))
        return self

    def down(self):
        self.lives[-1].stop()
        return self

    def messages(self):
        return [m for life in self.lives for m in life.messages()]

    def counters(self):
        """What the present life counted: messages, sessions, logins, refused_logins."""
        life = self.lives[-1]
        before = life.said().count("\n")
        life.process.send_signal(signal.SIGUSR1)
        until(lambda: life.said().count("\n") > before, 5, "the sandbox's counters")
        return json.loads(life.said().splitlines()[-1])


# --- the disk


class SmallDisk:
    """A file system of some megabytes in memory, mounted at `path`."""

    def __init__(self, path, size):
        self.path = path
        self.filler = path / "filler"
        path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], check=True)

    def free(self):
        return shutil.disk_usage(self.path).free

    def fill(self, leave=0):
        """Other people's files take the room, but for `leave` octets."""
        with open(self.filler, "ab", buffering=0) as file:
            file.write(bytes(max(0, self.free() - leave)))

    def make_room(self):
        self.filler.unlink(missing_ok=True)

    def unmount(self):
        subprocess.run(["umount", "-l", str(self.path)], check=True)


@pytest.fixture
def small_disk(tmp_path):
    """small_disk("8M") mounts one; only root may."""
    disks = []

    def mount(size):
        try:
            disks.append(SmallDisk(tmp_path / f"disk{len(disks)}", size))
        except subprocess.CalledProcessError:
            pytest.skip("no right to mount")
        return disks[-1]
    yield mount
    for disk in disks:
        disk.unmount()
