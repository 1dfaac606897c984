"""The installer: what it puts where, what an upgrade and a removal leave alone, what a broken install leaves behind."""
import subprocess
from pathlib import Path

import pytest
from harness.net import free_port
from machine import HOME, INI, PROGRAM, Machine

BUILD_MSI = Path(__file__).resolve().parents[2] / "packaging" / "windows" / "build-msi"
FAILED = 1603 % 256  # ERROR_INSTALL_FAILURE
OLD, NEW, OLD_ANEW = r"C:\old.msi", r"C:\new.msi", r"C:\anew.msi"
EDITED = "[listener]\nport = {port}\n[upstream]\nhost = localhost\nport = 1\nauth = none\n"


@pytest.fixture(scope="module")
def packages(exe, tmp_path_factory):
    """The same program as versions 1.0.0 and 1.1.0."""
    folder = tmp_path_factory.mktemp("msi")
    made = [subprocess.run([BUILD_MSI, version, exe, folder], capture_output=True, text=True, check=True).stdout.strip()
            for version in ("1.0.0", "1.1.0")]
    return [Path(path) for path in made]


@pytest.fixture(scope="module")
def clean(packages, tmp_path_factory):
    """A Windows that never saw the program."""
    machine = Machine(tmp_path_factory.mktemp("wine") / "prefix", None)
    for package, name in zip(packages, (OLD, NEW)):
        machine.copy(package, name)
    yield machine
    machine.close()


@pytest.fixture
def installed(clean):
    """The old version, installed; whatever version there is in the end is removed, with its files."""
    assert clean.msi("/i", OLD) == 0
    yield clean
    for name in (NEW, OLD):
        clean.msi("/x", name)
    clean.remove_folder(INI)


def table(package, name):
    text = subprocess.run(["msiinfo", "export", package, name], capture_output=True, text=True, check=True).stdout
    return {row.split("\t")[0]: row.split("\t")[1:] for row in text.splitlines()[3:]}


def test_tables_say_what_windows_needs(packages):
    """What Wine does not look at: elevation, rollback, the order of an upgrade."""
    secure = table(packages[0], "Property")["SecureCustomProperties"][0].split(";")
    assert {"UPSTREAM_HOST", "USERNAME_", "WIX_DOWNGRADE_DETECTED"} <= set(secure)
    kinds = {name: int(row[0]) for name, row in table(packages[0], "CustomAction").items()}
    deferred, rollback, system = 1024, 256, 2048
    assert all(kind & deferred and kind & system for kind in kinds.values()), kinds
    assert [name for name, kind in kinds.items() if kind & rollback] == ["UndoInstallService"]
    order = {name: int(row[1]) for name, row in table(packages[0], "InstallExecuteSequence").items()}
    assert order["InstallInitialize"] < order["RemoveExistingProducts"] < order["StopServices"] \
        < order["UninstallService"] < order["RemoveFiles"] < order["InstallFiles"] \
        < order["UndoInstallService"] < order["InstallService"] < order["StartService"] < order["InstallFinalize"]
    codes = [table(package, "Property")["ProductCode"] for package in packages]
    assert codes[0] != codes[1]
    assert table(packages[0], "Property")["UpgradeCode"] == table(packages[1], "Property")["UpgradeCode"]


def test_install_puts_everything_in_its_place(installed):
    assert {path.name for path in installed.path(HOME).iterdir()} == {
        "submitd.exe", "LICENSE.txt", "NOTICE.txt", "WINDOWS.txt", "CONFIGURATION.txt"}
    assert b"\r\nhost = mail.corp.example\r\n" in installed.read(INI)
    assert "state     stopped" in installed.submitd("service", "status", status=1).stdout, "nothing to start with yet"
    assert installed.registry(r"HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\submitd")
    assert "needs password" in installed.submitd("check", status=2).stderr
    product = installed.wine("reg", "query", r"HKLM\Software\Microsoft\Windows\CurrentVersion\Uninstall", "/s")
    assert "DisplayName    REG_SZ    submitd" in product.stdout and "1.0.0" in product.stdout


def test_removal_of_an_unedited_installation_leaves_nothing(installed):
    assert installed.msi("/x", OLD) == 0
    assert installed.state() is None
    assert not installed.path(HOME).exists() and not installed.path(INI).parent.exists()


def test_properties_fill_in_the_ini(clean):
    assert clean.msi("/i", OLD, "UPSTREAM_HOST=mail.gpo.test", r"USERNAME_=CORP\svc of gpo") == 0
    text = clean.read(INI).decode()
    assert "\r\nhost = mail.gpo.test\r\n" in text and "\r\nusername = CORP\\svc of gpo\r\n" in text
    assert clean.msi("/x", OLD) == 0
    assert clean.read(INI).decode() == text, "what was filled in is kept"
    clean.path(INI).unlink()


def test_upgrade_keeps_ini_and_spool_and_starts_the_service_again(installed):
    edited = EDITED.format(port=free_port())
    installed.write(INI, edited)
    installed.submitd("service", "start")
    spool = installed.path(INI).parent / "data" / "spool.db"
    assert spool.exists()
    before = installed.processes()
    assert installed.msi("/i", NEW, "UPSTREAM_HOST=other.test") == 0
    assert installed.read(INI).decode() == edited and spool.exists()
    assert "state     running" in installed.submitd("service", "status").stdout
    assert installed.processes() and installed.processes() != before
    assert installed.msi("/i", OLD) == FAILED, "a downgrade is refused"
    assert "state     running" in installed.submitd("service", "status").stdout
    assert installed.msi("/x", NEW) == 0
    assert installed.read(INI).decode() == edited and spool.exists()
    assert installed.state() is None and not installed.path(PROGRAM).exists()


def test_a_package_of_the_same_version_takes_the_place_of_the_one_before(installed, exe, tmp_path):
    anew = subprocess.run([BUILD_MSI, "1.0.0", exe, tmp_path], capture_output=True, text=True, check=True).stdout.strip()
    installed.copy(anew, OLD_ANEW)
    assert installed.msi("/i", OLD_ANEW) == 0
    products = installed.wine("reg", "query", r"HKLM\Software\Microsoft\Windows\CurrentVersion\Uninstall", "/s").stdout
    assert products.count("DisplayName    REG_SZ    submitd") == 1
    assert installed.state() is not None and installed.path(PROGRAM).exists()
    assert installed.msi("/x", OLD_ANEW) == 0
    assert installed.state() is None and not installed.path(PROGRAM).exists()


def test_a_wrong_property_ends_the_install_and_leaves_nothing(clean):
    assert clean.msi("/i", OLD, "UPSTREAM_HOST=mail..corp") != 0
    assert clean.state() is None and not clean.path(PROGRAM).exists() and not clean.path(INI).exists()



@pytest.mark.parametrize("value", ['UPSTREAM_HOST=a.test" --config "C:\\other.ini', "UPSTREAM_HOST=a.test\\", "USERNAME_=CORP\\"])
def test_a_property_that_would_end_its_quotes_is_refused(clean, value):
    """The system runs the line that it becomes part of."""
    assert clean.msi("/i", OLD, value) == FAILED
    assert clean.state() is None and not clean.path(PROGRAM).exists()
    assert not clean.path(INI).exists() and not clean.path(r"C:\other.ini").exists()


def test_a_repair_takes_no_properties(installed):
    """Any user may ask for one, and it runs as the system."""
    before = installed.read(INI)
    installed.submitd("service", "uninstall")
    installed.write(INI, before)
    assert installed.msi("/i", OLD, "REINSTALL=ALL", "REINSTALLMODE=vomus", "UPSTREAM_HOST=stranger.test") == 0
    assert installed.state() is not None, "it brings back what is missing"
    assert installed.read(INI) == before
