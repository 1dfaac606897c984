"""The .rpm as rpm itself sees it, and its scripts in a system without any other rpm."""
import re

import pytest

from lib import INI
from roots import run
from test_deb import UNCONFIGURED, look

FILES = {INI, "/etc/logrotate.d/submitd", "/usr/sbin/submitd", "/usr/lib/systemd/system/submitd.service",
         "/usr/lib/systemd/system/submitd.socket", "/usr/lib/sysusers.d/submitd.conf",
         "/usr/lib/tmpfiles.d/submitd.conf", "/usr/share/man/man8/submitd.8.gz",
         "/usr/share/man/man5/submitd.ini.5.gz", "/usr/share/bash-completion/completions/submitd"}


def ask(rpm, *words):
    return run("rpm", "-q", "-p", rpm, *words).stdout


def test_what_it_brings(rpm):
    listed = set(ask(rpm, "-l").splitlines())
    assert listed >= FILES
    shared = {"/etc", "/usr", "/usr/sbin", "/usr/lib", "/usr/lib/systemd", "/usr/share", "/usr/share/man",
              "/usr/lib/systemd/system", "/etc/logrotate.d", "/usr/share/man/man8", "/usr/share/doc"}
    assert not listed & shared  # folders of other packages
    flags = ask(rpm, "--qf", "[%{FILENAMES} %{FILEFLAGS:fflags}\n]").splitlines()
    assert {f.split()[0]: f.split()[1] for f in flags if len(f.split()) > 1 and "c" in f.split()[1]} == {
        INI: "cn", "/etc/logrotate.d/submitd": "cn"}  # configuration, not replaced
    assert re.search(rf"^-rw-r----- +1 root +submitd .* {INI}$", ask(rpm, "-lv"), re.M)


def test_what_it_needs(rpm):
    needs = ask(rpm, "--requires")
    for name in ("gssntlmssp", "ca-certificates", "sqlite-libs >= 3.40", "libuv.so.1", "libgnutls.so.30",
                 "libgssapi_krb5.so.2", "libsystemd.so.0"):
        assert re.search(rf"^{re.escape(name)}\b", needs, re.M), name
    assert "inih" not in needs  # its soname differs between distributions


@pytest.fixture
def rpm_in(plain_root, rpm):
    """rpm_in("-i", FILE) works on a Debian root: the shell and useradd are all that the scripts need."""
    plain_root.file("/var/lib/rpm").mkdir()

    def call(*words):
        return run("rpm", f"--root={plain_root.path}", "--nodeps", *words)
    return call


def test_installation_upgrade_and_removal(plain_root, rpm_in, rpm):
    ran = rpm_in("-i", rpm)
    assert (ran.stdout + ran.stderr).count(UNCONFIGURED) == 1, ran
    assert look(plain_root, INI) == "640 root submitd" and look(plain_root, "/etc/submitd") == "755 root root"
    assert look(plain_root, "/var/lib/submitd") == "700 submitd submitd"
    assert plain_root.run("submitd", "version").stdout.startswith("submitd ")
    edited = plain_root.file(INI).read_text() + "; mine\n"
    plain_root.file(INI).write_text(edited)
    plain_root.file("/var/lib/submitd/spool.db").write_text("mail")
    ran = rpm_in("-U", "--force", rpm)
    assert UNCONFIGURED not in ran.stdout + ran.stderr
    assert plain_root.file(INI).read_text() == edited
    ran = rpm_in("-e", "submitd")
    assert not plain_root.file("/usr/sbin/submitd").exists()
    assert plain_root.file(f"{INI}.rpmsave").read_text() == edited
    assert plain_root.file("/var/lib/submitd/spool.db").read_text() == "mail"
