"""The unit: by systemd's own judgement, and in a machine that boots with it."""
import re
import shutil
import time
from pathlib import Path

from harness.wait import until
from lib import INI, configure, send
from roots import run
from test_deb import UNCONFIGURED, install

UNITS = Path(__file__).resolve().parents[2] / "packaging" / "linux"
EXPOSURE_MAX = 15  # tenths: 1.5
DROP_IN = "/etc/systemd/system/submitd.service.d/test.conf"


# --- without a running systemd


def test_exposure_is_low(tmp_path):
    ran = run("systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE_MAX}", "--no-pager",
              UNITS / "submitd.service", check=False)
    assert ran.returncode == 0, ran.stdout[-3000:]
    open_one = tmp_path / "submitd.service"
    open_one.write_text((UNITS / "submitd.service").read_text().replace("NoNewPrivileges=yes\n", "")
                        .replace("ProtectSystem=strict\n", "").replace("PrivateDevices=yes\n", ""))
    assert run("systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE_MAX}", "--no-pager", open_one,
               check=False).returncode != 0  # the threshold means something


def test_each_setting_that_stays_open_has_its_reason():
    """systemd-analyze names them; each must stand in the unit's comment."""
    said = run("systemd-analyze", "security", "--offline=yes", "--no-pager", UNITS / "submitd.service").stdout
    names = set(re.findall(r"^✗ (?:\S+: )?(\w+)", said, re.M))
    text = (UNITS / "submitd.service").read_text()
    assert {n for n in names if not re.search(rf"^# .*\b{n}\b", text, re.M)} <= {
        "CapabilityBoundingSet", "AmbientCapabilities"}, names  # explained at their lines


# --- with one


def show(machine, *names):
    text = machine.run("systemctl", "show", "submitd.service", *(f"--property={n}" for n in names)).stdout
    return dict(line.split("=", 1) for line in text.splitlines())


def journal(machine):
    return machine.run("journalctl", "--no-pager", "-o", "cat", "-u", "submitd.service").stdout


def drop_in(machine, text):
    file = machine.root.file(DROP_IN)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    machine.run("systemctl", "daemon-reload")


def edit(machine, text):
    machine.root.file(INI).write_text(text)


def configured(machine, exchange):
    configure(machine.root, exchange)
    password = machine.root.file("/etc/submitd/svc-mail.password")
    password.write_text(exchange.password)
    password.chmod(0o640)
    machine.run("chgrp", "submitd", "/etc/submitd/svc-mail.password")


def test_life_under_systemd(machine, deb, exchange_in):
    """One boot for the whole life: boots take the time here."""
    said = []
    machine = machine(lambda root: said.append(install(root, deb)))
    assert said[0].count(UNCONFIGURED) == 1
    off(machine)
    exchange = exchange_in(machine)
    starts_and_relays(machine, exchange)
    reloads(machine)
    is_watched(machine, exchange)
    rotates_its_log(machine, exchange)
    takes_a_credential(machine, exchange)
    takes_an_encrypted_password(machine, exchange)
    takes_the_socket(machine, exchange)
    stays_down_with_a_broken_configuration(machine)
    goes_without_a_trace(machine)


def off(machine):
    assert show(machine, "ActiveState", "UnitFileState") == {"ActiveState": "inactive", "UnitFileState": "disabled"}
    assert machine.run("systemctl", "--failed", "--plain", "--no-legend").stdout.count("submitd") == 0


def starts_and_relays(machine, exchange):
    configured(machine, exchange)
    machine.run("systemctl", "enable", "--now", "submitd")
    now = show(machine, "ActiveState", "StatusText", "MainPID")
    assert now["ActiveState"] == "active" and now["StatusText"] == f"Relays to localhost:{exchange.port}"
    status = machine.run("cat", f"/proc/{now['MainPID']}/status").stdout
    uid = machine.run("id", "-u", "submitd").stdout.strip()
    assert re.search(rf"^Uid:\s+{uid}\s+{uid}\s+{uid}\s+{uid}$", status, re.M)
    assert re.search(r"^CapEff:\s+0000000000000400$", status, re.M)  # CAP_NET_BIND_SERVICE
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.M) and re.search(r"^Seccomp:\s+2$", status, re.M)
    send(machine, "first@corp.example")
    kept = exchange.one_to("first@corp.example")
    assert kept.method == "NTLM" and kept.extra["channel_binding_verified"]


def reloads(machine):
    text = machine.root.file(INI).read_text()
    edit(machine, text.replace(";level = info", "level = debug"))
    machine.run("systemctl", "reload", "submitd")
    until(lambda: " reloaded " in journal(machine), 10, "a reload")
    edit(machine, text + "[listner]\n")
    machine.run("systemctl", "reload", "submitd")
    until(lambda: "stays in force" in show(machine, "StatusText")["StatusText"], 10, "a reload that failed")
    assert show(machine, "ActiveState")["ActiveState"] == "active"
    edit(machine, text)


def is_watched(machine, exchange):
    """A process that does not answer is started again, with its mail."""
    drop_in(machine, "[Service]\nWatchdogSec=1\n")
    machine.run("systemctl", "restart", "submitd")
    pid = show(machine, "MainPID")["MainPID"]
    time.sleep(2.5)
    assert show(machine, "MainPID")["MainPID"] == pid  # healthy: left alone
    machine.run("kill", "-STOP", pid)
    until(lambda: show(machine, "NRestarts", "ActiveState") == {"NRestarts": "1", "ActiveState": "active"}, 30,
          "a restart by the watchdog")
    send(machine, "watched@corp.example")
    assert exchange.one_to("watched@corp.example")
    drop_in(machine, "")


def rotates_its_log(machine, exchange):
    text = machine.root.file(INI).read_text()
    edit(machine, text.replace(";target = stderr", "target = /var/log/submitd/submitd.log"))
    machine.run("systemctl", "restart", "submitd")
    folder = machine.root.file("/var/log/submitd")
    assert " started " in (folder / "submitd.log").read_text()
    machine.run("logrotate", "--force", "/etc/logrotate.d/submitd")
    send(machine, "rotated@corp.example")
    assert exchange.one_to("rotated@corp.example")
    until(lambda: "rotated@corp.example" in (folder / "submitd.log").read_text(), 10, "a line in the new log")
    assert "rotated@corp.example" not in (folder / "submitd.log.1").read_text()
    edit(machine, text)


def takes_a_credential(machine, exchange):
    """A file that only root can read, and that the service never sees by its own name."""
    machine.run("chown", "root:root", "/etc/submitd/svc-mail.password")
    machine.run("chmod", "600", "/etc/submitd/svc-mail.password")
    assert machine.run("systemctl", "restart", "submitd", check=False).returncode != 0
    assert "Permission denied" in journal(machine)
    text = machine.root.file(INI).read_text()
    edit(machine, text.replace("password_file = /etc/submitd/svc-mail.password", "password_file = svc-mail"))
    drop_in(machine, "[Service]\nLoadCredential=svc-mail:/etc/submitd/svc-mail.password\n")
    machine.run("systemctl", "restart", "submitd")
    send(machine, "credential@corp.example")
    assert exchange.one_to("credential@corp.example").user.endswith("user")


def takes_an_encrypted_password(machine, exchange):
    """What `submitd secret protect` prints is put where it says, and nothing else."""
    said = machine.run("sh", "-c", f"echo {exchange.password} | submitd secret protect svc-mail").stdout
    drop_in(machine, said[said.index("[Service]"):said.index("2. In")])
    machine.run("shred", "-u", "/etc/submitd/svc-mail.password")
    machine.run("systemctl", "restart", "submitd")
    send(machine, "encrypted@corp.example")
    assert exchange.one_to("encrypted@corp.example")
    drop_in(machine, machine.root.file(DROP_IN).read_text()
            + "CapabilityBoundingSet=\nAmbientCapabilities=\nPrivateUsers=yes\n")


def takes_the_socket(machine, exchange):
    """Without any right to bind; and a client that comes during a restart waits instead of being refused."""
    assert machine.run("systemctl", "restart", "submitd", check=False).returncode != 0
    assert "no permission for a port below 1024" in journal(machine)
    machine.run("systemctl", "reset-failed", "submitd")
    machine.run("systemctl", "enable", "--now", "submitd.socket")
    send(machine, "activated@corp.example")
    assert exchange.one_to("activated@corp.example")
    status = machine.run("cat", f"/proc/{show(machine, 'MainPID')['MainPID']}/status").stdout
    assert re.search(r"^CapEff:\s+0{16}$", status, re.M)
    machine.run("systemctl", "stop", "submitd.service")
    send(machine, "woken@corp.example")
    assert exchange.one_to("woken@corp.example")
    machine.run("systemctl", "disable", "--now", "submitd.socket")
    machine.run("rm", DROP_IN)
    machine.run("systemctl", "daemon-reload")


def stays_down_with_a_broken_configuration(machine):
    machine.run("systemctl", "stop", "submitd")
    text = machine.root.file(INI).read_text()
    edit(machine, text.replace("[upstream]\n", "[upstream]\nhots = x\n"))
    assert machine.run("systemctl", "start", "submitd", check=False).returncode != 0
    time.sleep(3)  # RestartSec=2
    now = show(machine, "ActiveState", "NRestarts", "ExecMainStatus")
    assert now["ActiveState"] == "failed" and now["ExecMainStatus"] == "2" and now["NRestarts"] == "0"
    edit(machine, text)


def goes_without_a_trace(machine):
    machine.run("systemctl", "reset-failed", "submitd")
    machine.run("dpkg", "-P", "submitd")
    machine.run("systemctl", "daemon-reload")
    assert show(machine, "LoadState")["LoadState"] == "not-found"
    left = machine.run("find", "/etc/systemd", "/usr/lib/systemd", "/var/lib", "-name", "*submitd*",
                       "-not", "-path", "*/submitd.service.d*").stdout
    assert left == "", left


def test_a_configuration_that_is_there_already_is_started(machine, deb, exchange_in):
    """The way of tools that lay out files first: the package then starts by itself, and an upgrade restarts it."""
    one = machine(lambda root: shutil.copy(deb, root.file("/submitd.deb")))
    exchange = exchange_in(one)
    one.root.file("/etc/submitd").mkdir()
    shutil.copy(UNITS.parents[1] / "config" / "submitd.ini", one.root.file(INI))
    one.run("useradd", "--system", "--user-group", "submitd")
    configured(one, exchange)
    said = one.run("dpkg", "--force-confdef", "--force-confold", "-i", "/submitd.deb").stdout
    assert UNCONFIGURED not in said
    assert show(one, "ActiveState", "UnitFileState") == {"ActiveState": "active", "UnitFileState": "enabled"}
    first = show(one, "MainPID")["MainPID"]
    one.run("dpkg", "-i", "/submitd.deb")
    assert show(one, "ActiveState")["ActiveState"] == "active" and show(one, "MainPID")["MainPID"] != first
    send(one, "laid-out@corp.example")
    assert exchange.one_to("laid-out@corp.example")
