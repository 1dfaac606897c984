"""The packages that tools/package makes, installed where nothing else is."""
import itertools
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "tests" / "e2e")]
sys.dont_write_bytecode = True

from harness.sandbox import Sandbox  # noqa: E402
from roots import Cache, Machine, Network, Root, run  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--packages", default=str(ROOT / "build" / "package"), help="where tools/package left them")


def pytest_configure(config):
    if os.geteuid() != 0:
        pytest.exit("the tests of the packages need root: they install them into systems of their own", 2)


@pytest.fixture(scope="session")
def folder(request):
    return Path(request.config.getoption("--packages")).resolve()


def only(folder, pattern):
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        pytest.exit(f"{len(found)} files are {folder}/{pattern}: run tools/package", 2)
    return found[0]


@pytest.fixture(scope="session")
def deb(folder):
    return only(folder, "submitd_*.deb")


@pytest.fixture(scope="session")
def rpm(folder):
    return only(folder, "submitd-*.rpm")


@pytest.fixture(scope="session")
def cache(deb):
    return Cache(ROOT / "build" / "roots", run("dpkg-deb", "-f", deb, "Depends").stdout.strip())


@pytest.fixture(scope="session")
def playground():
    """Below build/, because /tmp may be small or in memory."""
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="package-test-", dir=ROOT / "build") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def counter():
    return itertools.count(1)


@pytest.fixture
def new_root(playground, counter):
    made = []

    def make(base):
        place = playground / f"root{next(counter)}"
        place.mkdir()
        made.append(Root(base, place))
        return made[-1]
    yield make
    for root in made:
        root.close()


@pytest.fixture
def plain_root(cache, new_root):
    return new_root(cache.plain())


@pytest.fixture
def machine(cache, new_root):
    """machine(prepare) boots a system with systemd, after prepare(root)."""
    made = []
    if not shutil.which("systemd-nspawn"):
        pytest.exit("systemd-nspawn is missing: tools/install-packages package", 2)

    def boot(prepare):
        root = new_root(cache.systemd())
        prepare(root)
        made.append(Machine(root))
        return made[-1]
    yield boot
    for one in made:
        one.close()


@pytest.fixture
def network():
    one = Network()
    yield one
    one.close()


@pytest.fixture
def exchange_in(folder, playground, counter):
    """exchange_in(network or machine) starts a sandbox there."""
    running = []

    def start(place):
        directory = playground / f"sandbox{next(counter)}"
        directory.mkdir()
        program = directory / "submitd-sandbox"
        program.write_text(f"#!/bin/sh\nexec {' '.join(place.inside)} {folder}/submitd-sandbox \"$@\"\n")
        program.chmod(0o755)
        running.append(Sandbox(str(program), directory, ("--epa",)))
        return running[-1]
    yield start
    for one in running:
        one.stop()
