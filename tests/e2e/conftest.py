"""Fixtures. Every daemon and server that a test starts is stopped when the test ends."""
import itertools
import os
import signal
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "lab"))  # ntlmparse

os.environ["LSAN_OPTIONS"] = f"suppressions={Path(__file__).with_name('lsan.supp')}:print_suppressions=0"

from harness.certs import EC_KEY, RSA_KEY, Certificates  # noqa: E402
from harness import windows  # noqa: E402
from harness.daemon import Submitd  # noqa: E402
from harness.lab import Lab  # noqa: E402
from harness.rogue import Rogue, Script  # noqa: E402
from harness.sandbox import Sandbox  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--build", default=str(ROOT / "build" / "release"),
                     help="directory of submitd and submitd-sandbox")


def pytest_configure():
    # `timeout` ends a run with SIGTERM: then, too, the servers of tests/lab are stopped
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def program(config, name):
    build = Path(config.getoption("--build")).resolve()
    if windows.is_build(build):
        return windows.program(build, name)
    path = build / name
    if not path.exists():
        pytest.exit(f"{path} is missing: cmake --preset release && cmake --build --preset release", 2)
    return str(path)


@pytest.fixture(scope="session")
def submitd_program(request):
    return program(request.config, "submitd")


@pytest.fixture(scope="session")
def sandbox_program(request):
    return program(request.config, "submitd-sandbox")


@pytest.fixture(scope="session")
def docs_program(request):
    return program(request.config, "submitd-docs")


@pytest.fixture(scope="session")
def certs(request, tmp_path_factory):
    # Wine 8 takes an ECDSA signature for wrong when one of its two numbers is a byte shorter: one in 128 is
    is_wine = windows.is_build(Path(request.config.getoption("--build")))
    return Certificates(tmp_path_factory.mktemp("certs"), RSA_KEY if is_wine else EC_KEY)


@pytest.fixture(scope="session")
def postfix_dovecot():
    lab = Lab("dovecot")
    yield lab
    lab.stop()


@pytest.fixture(scope="session")
def postfix_cyrus():
    lab = Lab("cyrus")
    yield lab
    lab.stop()


@pytest.fixture
def workdir(tmp_path):
    """A new directory inside the test's own one, each time it is called."""
    count = itertools.count(1)

    def make(name):
        directory = tmp_path / f"{name}{next(count)}"
        directory.mkdir()
        return directory
    return make


@pytest.fixture
def submitd(submitd_program, workdir):
    """submitd(upstream, {section: {option: value}}) starts a daemon; start=False only prepares it."""
    running = []

    def start(upstream, sections=None, *, start=True, env=None):
        daemon = Submitd(submitd_program, workdir("submitd"), upstream, sections)
        running.append(daemon)
        return daemon.start(env) if start else daemon
    yield start
    stop_all(running)


@pytest.fixture
def sandbox(sandbox_program, workdir):
    """sandbox("--epa", ...) starts a sandbox."""
    running = []

    def start(*options):
        running.append(Sandbox(sandbox_program, workdir("sandbox"), options))
        return running[-1]
    yield start
    stop_all(running)


@pytest.fixture(scope="session")
def shared_sandbox(request, sandbox_program, tmp_path_factory):
    """A sandbox with Extended Protection for tests that need nothing special of it. Wine has no channel binding."""
    protection = () if windows.is_build(Path(request.config.getoption("--build"))) else ("--epa",)
    one = Sandbox(sandbox_program, tmp_path_factory.mktemp("sandbox"), (*protection, "--smtputf8"))
    yield one
    one.stop()


def stop_all(processes):
    failures = []
    for process in processes:
        try:
            process.stop()
        except AssertionError as failure:
            failures.append(str(failure))
    assert not failures, failures


@pytest.fixture
def rogue(certs):
    """rogue(replies={...}, cert=...) starts a scripted server; see harness/rogue.py."""
    running = []

    def start(**script):
        running.append(Rogue(certs, Script(**script)))
        return running[-1]
    yield start
    for server in running:
        server.close()


@pytest.fixture(scope="session")
def fresh_number():
    return itertools.count(1)


@pytest.fixture
def rcpt(fresh_number):
    """A new recipient address each time: messages are found by it in a server that tests share."""
    return lambda word="r": f"{word}{next(fresh_number)}@example.test"
