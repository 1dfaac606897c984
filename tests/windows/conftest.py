"""The fixtures of tests/e2e, with submitd.exe under Wine as the program."""
import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
E2E = ROOT / "tests" / "e2e"
sys.path.insert(0, str(E2E))  # harness

spec = importlib.util.spec_from_file_location("e2e_conftest", E2E / "conftest.py")
e2e = importlib.util.module_from_spec(spec)
spec.loader.exec_module(e2e)
for name in ("certs", "rcpt", "fresh_number", "rogue", "sandbox", "sandbox_program", "shared_sandbox", "submitd",
             "submitd_program", "workdir"):
    globals()[name] = getattr(e2e, name)

pytest_configure = e2e.pytest_configure


def pytest_addoption(parser):
    parser.addoption("--build", default=str(ROOT / "build" / "windows"), help="directory of submitd.exe")
