"""What the tests of both packages share."""
import re
import subprocess
import sys

from roots import run

INI = "/etc/submitd/submitd.ini"
SENDER = "scanner@corp.example"
CLIENT = """
import smtplib, sys
with smtplib.SMTP("127.0.0.1", int(sys.argv[1]), "scanner.corp.example", timeout=30) as client:
    client.sendmail(sys.argv[2], [sys.argv[3]], f"From: {sys.argv[2]}\\nTo: {sys.argv[3]}\\nSubject: a scan\\n\\nHello.\\n")
"""


def send(place, recipient, port=25, check=True):
    """From inside, as a program on that machine would."""
    return run(*place.inside, sys.executable, "-c", CLIENT, port, SENDER, recipient, check=check)


def configure(root, exchange, password_file="/etc/submitd/svc-mail.password", **replaced):
    """As an operator edits the file that is there: the lines of the sample, and not one more."""
    ca = root.file("/etc/submitd/corp-ca.pem")
    ca.write_bytes(exchange.ca.read_bytes())
    ca.chmod(0o644)
    wanted = {"host": exchange.host, "port": exchange.port, "tls_ca_file": "corp-ca.pem", "username": exchange.username,
              "password_file": password_file, **replaced}
    text = root.file(INI).read_text(encoding="utf-8")
    head, upstream = text.split("[upstream]")
    for name, value in wanted.items():
        upstream, count = re.subn(rf"^;?{name} =.*$", lambda _: f"{name} = {value}", upstream, count=1, flags=re.M)
        assert count == 1, name
    root.file(INI).write_text(f"{head}[upstream]{upstream}", encoding="utf-8")


def put_password(root, exchange, mode=0o640, group="submitd"):
    """Like `install -m 640 -g submitd`; the ids are those inside."""
    file = root.file("/etc/submitd/svc-mail.password")
    file.write_text(exchange.password + "\n", encoding="utf-8")
    file.chmod(mode)
    root.run("chgrp", group, "/etc/submitd/svc-mail.password")


def repacked(deb, target, version, extra_ini=None):
    """The same package as a later version, with a line more in the configuration it brings."""
    tree = target / f"tree-{version}"
    run("dpkg-deb", "-R", deb, tree)
    control = tree / "DEBIAN" / "control"
    control.write_text(re.sub(r"^Version: .*$", f"Version: {version}", control.read_text(), flags=re.M))
    if extra_ini:
        ini = tree / INI.lstrip("/")
        ini.write_text(ini.read_text() + extra_ini)
    result = target / f"submitd_{version}.deb"
    run("dpkg-deb", "-b", "--root-owner-group", tree, result)
    return result


class Daemon:
    """`submitd run` in a root, as an init script without systemd would start it."""

    def __init__(self, root, network):
        self.root = root
        self.output = root.folder / "daemon.out"
        with open(self.output, "wb") as out:
            self.process = subprocess.Popen(
                [*network.inside, "chroot", str(root.path), "/usr/sbin/submitd", "run"], stdin=subprocess.DEVNULL,
                stdout=out, stderr=out, env={"PATH": "/usr/sbin:/usr/bin"})

    def said(self):
        return self.output.read_text(encoding="utf-8", errors="replace")

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        status = self.process.wait(30)
        assert status == 0, f"{status}: {self.said()}"
