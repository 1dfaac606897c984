"""The .deb in a Debian 12 that has nothing but what it depends on: no systemd, no mail server."""
import re
import subprocess

import pytest

from harness.wait import until
from lib import INI, Daemon, configure, put_password, repacked, send
from roots import run

UNCONFIGURED = "submitd is installed but not started: fill in /etc/submitd/submitd.ini"
MADE = ("/etc/submitd", "/var/lib/submitd", "/var/log/submitd", "/usr/sbin/submitd")


def install(root, deb, *options, check=True):
    target = root.file(f"/{deb.name}")
    target.write_bytes(deb.read_bytes())
    ran = root.run("dpkg", *options, "-i", f"/{deb.name}", check=check)
    target.unlink()
    return ran.stdout + ran.stderr


def look(root, path):
    """"MODE OWNER GROUP", by the names inside."""
    return root.run("stat", "-c", "%a %U %G", path).stdout.strip()


@pytest.fixture
def installed(plain_root, deb):
    install(plain_root, deb)
    return plain_root


@pytest.fixture
def daemon(network):
    running = []

    def start(root):
        running.append(Daemon(root, network))
        until(lambda: "event=started" in running[-1].said() or " started " in running[-1].said()
              or running[-1].process.poll() is not None, 15, "a started daemon")
        return running[-1]
    yield start
    for one in running:
        one.stop()


def test_lintian_finds_no_error(deb):
    ran = run("lintian", "--allow-root", "--fail-on", "error", deb, check=False)
    assert ran.returncode == 0, ran.stdout


def test_what_it_brings(deb):
    listed = run("dpkg-deb", "-c", deb).stdout
    for path in ("usr/sbin/submitd", "etc/submitd/submitd.ini", "etc/logrotate.d/submitd",
                 "usr/lib/systemd/system/submitd.service", "usr/lib/systemd/system/submitd.socket",
                 "usr/lib/sysusers.d/submitd.conf", "usr/lib/tmpfiles.d/submitd.conf",
                 "usr/share/man/man8/submitd.8.gz", "usr/share/man/man5/submitd.ini.5.gz",
                 "usr/share/bash-completion/completions/submitd", "usr/share/doc/submitd/copyright"):
        assert re.search(rf" \./{re.escape(path)}$", listed, re.M), path
    assert re.search(r"^-rw-r----- root/root .* \./etc/submitd/submitd\.ini$", listed, re.M)


def test_an_unedited_installation_is_clean_and_off(plain_root, deb):
    said = install(plain_root, deb)
    assert said.count(UNCONFIGURED) == 1 and "error" not in said.lower(), said
    assert plain_root.run("dpkg", "--audit").stdout == ""
    assert look(plain_root, INI) == "640 root submitd"
    assert look(plain_root, "/var/lib/submitd") == "700 submitd submitd"
    assert look(plain_root, "/var/log/submitd") == "750 submitd submitd"
    assert plain_root.run("getent", "passwd", "submitd").stdout.strip().endswith(":/var/lib/submitd:/usr/sbin/nologin")
    assert not plain_root.file("/etc/systemd/system/multi-user.target.wants/submitd.service").is_symlink()
    ran = plain_root.run("submitd", "run", check=False)
    assert ran.returncode == 2 and f"{INI}:" in ran.stderr and "svc-mail.password" in ran.stderr


def test_it_relays_as_its_own_user(installed, network, exchange_in, daemon):
    exchange = exchange_in(network)
    configure(installed, exchange)
    put_password(installed, exchange)
    assert installed.run("submitd", "check").stdout.count("***") == 0  # the password is in a file of its own
    ours = daemon(installed)
    send(network, "desk@corp.example")
    kept = exchange.one_to("desk@corp.example")
    assert kept.method == "NTLM" and kept.extra["channel_binding_verified"], kept
    uid = installed.run("id", "-u", "submitd").stdout.strip()
    status = open(f"/proc/{ours.process.pid}/status", encoding="ascii").read()
    assert re.search(rf"^Uid:\s+{uid}\s+{uid}\s+{uid}\s+{uid}$", status, re.M)
    assert look(installed, "/var/lib/submitd/spool.db") == "600 submitd submitd"


def test_an_upgrade_keeps_configuration_and_spool(installed, deb, playground, network, exchange_in, daemon):
    exchange = exchange_in(network)
    configure(installed, exchange)
    put_password(installed, exchange)
    exchange.stop()  # what comes now waits
    before = daemon(installed)
    send(network, "waiting@corp.example")
    before.stop()
    edited = installed.file(INI).read_text()
    installed.run("chmod", "0600", INI)  # an operator's choice
    said = install(installed, repacked(deb, playground, "9.0-1"))
    assert UNCONFIGURED not in said
    said = install(installed, repacked(deb, playground, "9.1-1", "; a line that only the new version has\n"),
                   "--force-confdef", "--force-confold")
    assert installed.file(INI).read_text() == edited and look(installed, INI) == "600 root submitd"
    assert installed.run("submitd", "queue", "list").stdout.count("waiting@corp.example") == 1
    assert installed.run("dpkg-query", "-W", "-f", "${Version}", "submitd").stdout == "9.1-1"
    again = exchange_in(network)
    installed.file(INI).write_text(edited.replace(f"port = {exchange.port}", f"port = {again.port}"))
    installed.file("/etc/submitd/corp-ca.pem").write_bytes(again.ca.read_bytes())
    daemon(installed)
    installed.run("submitd", "queue", "retry", "all")
    assert again.one_to("waiting@corp.example")


def test_removal_keeps_and_purge_forgets(installed, deb):
    installed.file("/var/lib/submitd/spool.db").write_text("mail")
    installed.file("/var/log/submitd/submitd.log").write_text("words")
    said = installed.run("dpkg", "-r", "submitd")
    assert installed.file("/var/lib/submitd/spool.db").exists() and installed.file(INI).exists()
    install(installed, deb)  # and back again
    assert look(installed, INI) == "640 root submitd"
    said = installed.run("dpkg", "-P", "submitd")
    assert "warning" not in said.stderr and "stays" not in said.stdout, said
    assert not [path for path in MADE if installed.file(path).exists()]
    assert installed.run("getent", "passwd", "submitd", check=False).returncode == 2
    assert installed.run("getent", "group", "submitd", check=False).returncode == 2
    left = installed.run("find", "/etc", "/usr", "/var/lib/systemd", "-name", "*submitd*").stdout
    assert left == "", left
    assert installed.run("dpkg", "--audit").stdout == ""


def test_purge_leaves_what_is_not_the_packages(installed):
    secret = installed.file("/etc/submitd/svc-mail.password")
    secret.write_text("x")
    assert "/etc/submitd stays" in installed.run("dpkg", "-P", "submitd").stdout
    assert secret.exists() and not installed.file(INI).exists()


def test_manual_pages_and_completion_work_there(deb, installed):
    page = subprocess.run(["groff", "-ww", "-man", "-Tascii", "-P-cbou"], check=True, capture_output=True, text=True,
                          input=run("zcat", installed.file("/usr/share/man/man8/submitd.8.gz")).stdout)
    assert "SUBMITD(8)" in page.stdout and not page.stderr
    script = "source /usr/share/bash-completion/completions/submitd; COMP_WORDS=(submitd que) COMP_CWORD=1; _submitd;" \
             "echo ${COMPREPLY[@]}"
    assert installed.run("bash", "-c", script).stdout == "queue\n"
