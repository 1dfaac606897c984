"""The fixtures of tests/e2e, with submitd.exe under Wine as the program; and a Windows with the service in it."""
import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
E2E = ROOT / "tests" / "e2e"
sys.path[:0] = [str(E2E), str(ROOT / "tests" / "windows")]  # harness, machine

spec = importlib.util.spec_from_file_location("e2e_conftest", E2E / "conftest.py")
e2e = importlib.util.module_from_spec(spec)
spec.loader.exec_module(e2e)
for name in ("certs", "postfix_dovecot", "rcpt", "fresh_number", "rogue", "sandbox", "sandbox_program", "shared_sandbox", "submitd",
             "submitd_program", "workdir"):
    globals()[name] = getattr(e2e, name)

pytest_configure = e2e.pytest_configure

from machine import INI, Machine, Service  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--build", default=str(ROOT / "build" / "windows"), help="directory of submitd.exe")


@pytest.fixture(scope="session")
def exe(request):
    path = Path(request.config.getoption("--build")).resolve() / "submitd.exe"
    if not path.exists():
        pytest.exit(f"{path} is missing: cmake --preset windows && cmake --build --preset windows", 2)
    return path


@pytest.fixture(scope="session")
def windows(exe, tmp_path_factory):
    """One Windows for all tests of the service, with the program in its place and no service."""
    machine = Machine(tmp_path_factory.mktemp("wine") / "prefix", exe)
    yield machine
    machine.close()


@pytest.fixture
def exchange(sandbox):
    """A server that takes NTLM as Exchange does; its messages are those of this test only."""
    return sandbox()


@pytest.fixture
def service(windows):
    """Installed, not configured; removed with all of its files when the test ends."""
    windows.submitd("service", "install")
    yield Service(windows)
    windows.submitd("service", "uninstall")
    windows.remove_folder(INI)
