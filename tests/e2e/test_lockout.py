"""A wrong password in front of a real Active Directory: the account is not locked, and no mail is lost."""
import re
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import expected
from harness.lab import Lab
from spoollib import keeper, listed, numbered, numbers_at, queue_fine, restart, stop, wait_empty  # noqa: F401

MESSAGES, CLIENTS = 1000, 8
ACCOUNT, THRESHOLD = "lockme", 3  # refused logins that lock it; tests/lab/samba_ad
DELIVERED_SECONDS = 90
pytestmark = pytest.mark.xdist_group("directory")  # one domain controller: it takes 20 seconds to come up


class Directory(Lab):
    """Postfix whose logins a domain controller verifies."""

    def __init__(self):
        super().__init__("samba-ad")
        self.username = f"CORP\\{ACCOUNT}"

    def tool(self, *words):
        return subprocess.run([f"{self.state}/pd/samba-tool", *words], capture_output=True, text=True, timeout=60,
                              check=True).stdout

    def counted(self):
        """(refused logins that count, whether the account is locked), as the directory has it."""
        shown = self.tool("user", "show", ACCOUNT, "--attributes=badPwdCount,lockoutTime")
        facts = dict(re.findall(r"^(\w+): (\d+)$", shown, re.M))
        return int(facts.get("badPwdCount", 0)), int(facts.get("lockoutTime", 0)) != 0


@pytest.fixture(scope="module")
def directory():
    server = Directory()
    yield server
    server.stop()


def write_password(file, text):
    file.write_text(text + "\n")
    file.chmod(0o600)


def send_share(daemon, first):
    """Each CLIENTS-th message from `first` on, over one connection."""
    with daemon.smtp() as client:
        for number in range(first, MESSAGES, CLIENTS):
            client.sendmail("a@corp.example", ["b@example.test"], numbered(number))


def send_all(daemon):
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda first: send_share(daemon, first), range(CLIENTS)))


def doctor(daemon):
    return subprocess.run([daemon.binary, "doctor", "--config", daemon.config_file], capture_output=True, text=True,
                          timeout=60, check=False).stdout


def test_wrong_password_locks_nothing_and_loses_nothing(directory, keeper, tmp_path):
    password = tmp_path / "password"
    write_password(password, "Old-Pass9")
    daemon = keeper(directory, {"account": {"password": None, "password_file": password}, "log": {"level": "info"}},
                    mode="relay", on_failure="spool")
    send_all(daemon)
    daemon.wait_event("logins_paused")
    assert len(listed(daemon)) == MESSAGES and not directory.messages()
    queue_fine(daemon, "retry", "all")  # somebody tries to help
    refused = [e for e in daemon.events(expected.EVENT_UPSTREAM_FAILED) if " 535 " in e["reason"]]
    assert directory.counted() == (len(refused), False) and len(refused) < THRESHOLD

    for _ in range(2):  # and looks, and restarts it
        assert "not tried" in doctor(daemon)
        stop(daemon)
        restart(daemon)
        daemon.wait_event("logins_paused")
    assert directory.counted() == (len(refused), False)

    write_password(password, directory.password)
    daemon.process.send_signal(signal.SIGHUP)
    wait_empty(daemon, DELIVERED_SECONDS)
    directory.to("b@example.test", MESSAGES, DELIVERED_SECONDS)  # Postfix has them; its mailbox may lag behind
    assert sorted(numbers_at(directory)) == list(range(MESSAGES))
    assert directory.counted() == (0, False)


def test_this_directory_does_lock(directory, submitd):
    """What the test above would look like without the guard: doctor logs in each time it is asked to."""
    def login(password):
        daemon = submitd(directory, {"account": {"password": password}}, start=False)
        return subprocess.run([daemon.binary, "doctor", "--config", daemon.config_file], capture_output=True,
                              timeout=60, check=False).returncode
    directory.tool("user", "unlock", ACCOUNT)
    assert login(directory.password) == 0
    assert [login("Old-Pass9") for _ in range(THRESHOLD)] == [1] * THRESHOLD
    assert directory.counted() == (THRESHOLD, True)
    assert login(directory.password) == 1
