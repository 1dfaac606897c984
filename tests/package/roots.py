"""Debian systems in a folder: made once by debootstrap, kept below build/, used through an overlay that is thrown away."""
import hashlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

from harness.wait import until

SUITE = "bookworm"
BOOT_SECONDS = 60
# What a machine with systemd has beside the package's own dependencies.
WITH_SYSTEMD = ["systemd-sysv", "logrotate", "procps"]
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8",
               "DEBIAN_FRONTEND": "noninteractive"}


def mirror():
    """Where this machine has that suite's packages from."""
    lines = subprocess.run(["apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"],
                           capture_output=True, text=True, check=True).stdout.splitlines()
    return next(line.split()[1] for line in lines if line.split()[0] == SUITE)


MIRROR = mirror()


def run(*command, check=True, **more):
    ran = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False,
                         stdin=subprocess.DEVNULL, **more)
    assert not check or ran.returncode == 0, f"{command}: {ran.returncode}\n{ran.stdout}{ran.stderr}"
    return ran


def in_root(root, *command, **more):
    """In a mount and process space of its own, so that nothing stays behind."""
    return run("unshare", "--mount", "--pid", "--fork", f"--mount-proc={root}/proc", "chroot", root, *command,
               env=ENVIRONMENT, **more)


class Cache:
    """The systems that the tests start from: `plain` has what the package depends on, `systemd` is that and systemd."""

    def __init__(self, folder, depends):
        key = hashlib.sha256(repr((SUITE, MIRROR, depends, WITH_SYSTEMD)).encode()).hexdigest()[:12]
        self.folder = folder / key
        self.depends = depends

    def plain(self):
        return self._made("plain", self._make_plain)

    def systemd(self):
        return self._made("systemd", self._make_systemd)

    def _made(self, name, make):
        """Made beside its place and then renamed: one that is there is whole."""
        place, building = self.folder / name, self.folder / f"{name}.new"
        if not place.exists():
            shutil.rmtree(building, ignore_errors=True)
            self.folder.mkdir(parents=True, exist_ok=True)
            make(building)
            building.rename(place)
        return place

    def _make_plain(self, root):
        run("debootstrap", "--variant=minbase", SUITE, root, MIRROR)
        shutil.copy("/etc/resolv.conf", root / "etc" / "resolv.conf")
        (root / "etc" / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
        in_root(root, "apt-get", "update", "-qq")
        in_root(root, "apt-get", "satisfy", "-qq", "-y", "--no-install-recommends", self.depends)
        in_root(root, "apt-get", "clean")

    def _make_systemd(self, root):
        clone(self.plain(), root)
        in_root(root, "apt-get", "install", "-qq", "-y", "--no-install-recommends", *WITH_SYSTEMD)
        in_root(root, "apt-get", "clean")
        # Its own services are not what is tested here, and take time.
        in_root(root, "systemctl", "mask", "systemd-networkd.service", "systemd-resolved.service",
                "systemd-logind.service", "console-getty.service", "systemd-update-utmp.service")


def clone(source, target):
    """With owners, devices and links, as `cp -a` does."""
    run("cp", "-a", "--reflink=auto", source, target)


class Root:
    """A system to spoil. Below it lies one of the cache's, which stays as it is."""

    def __init__(self, base, folder):
        self.folder = folder
        self.path = folder / "root"
        self.path.mkdir()
        for name in ("upper", "work"):
            (folder / name).mkdir()
        self.is_mounted = run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={base},upperdir={folder}/upper,"
                              f"workdir={folder}/work", self.path, check=False).returncode == 0
        if not self.is_mounted:  # build/ is on an overlay itself
            self.path.rmdir()
            clone(base, self.path)

    def run(self, *command, **more):
        return in_root(self.path, *command, **more)

    def file(self, path):
        return self.path / path.lstrip("/")

    def close(self):
        if self.is_mounted:
            run("umount", self.path)
        shutil.rmtree(self.folder)


class Network:
    """A network of its own, with nothing but localhost: port 25 is free there, and nobody else listens."""

    def __init__(self):
        self.process = subprocess.Popen(["unshare", "--net", "sh", "-c", "ip link set lo up && exec sleep infinity"])
        self.inside = ["nsenter", f"--net=/proc/{self.process.pid}/ns/net"]
        until(lambda: "LOOPBACK,UP" in run(*self.inside, "ip", "link", check=False).stdout, 10, "a network")

    def close(self):
        self.process.kill()
        self.process.wait()


class Machine:
    """A root with a running systemd. Its network has nothing but localhost."""

    def __init__(self, root):
        self.root = root
        self.log = root.folder / "console"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network", "--console=pipe",
                 f"--directory={root.path}", "--boot"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)
        try:
            self.leader = until(self._leader, BOOT_SECONDS, "systemd in a container")
            self.inside = ["nsenter", f"--net=/proc/{self.leader}/ns/net"]
            until(self._is_up, BOOT_SECONDS, "a booted system")
        except AssertionError:
            self.close()
            raise AssertionError(self.log.read_text(errors="replace")[-4000:]) from None

    def _leader(self):
        assert self.process.poll() is None, self.log.read_text(errors="replace")[-4000:]
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        named = [c for c in children if Path(f"/proc/{c}/comm").read_text().strip() == "systemd"]
        return int(named[0]) if named else None

    def _is_up(self):
        said = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return said in ("running", "degraded")

    def run(self, *command, **more):
        return run("nsenter", "-t", self.leader, "-a", *command, env=ENVIRONMENT, **more)

    def close(self):
        if self.process.poll() is None:
            if hasattr(self, "leader"):
                os.kill(self.leader, signal.SIGRTMIN + 4)  # systemd(1): poweroff
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
