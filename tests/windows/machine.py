"""A Windows of its own under Wine: files, programs, services, the event log. No screen, nothing outside its directory."""
import os
import re
import select
import shutil
import subprocess
import tempfile
from pathlib import Path

from harness.daemon import ini_text, merged
from harness.net import free_port
from harness.wait import until

HOME = r"C:\Program Files\submitd"
PROGRAM = HOME + r"\submitd.exe"
INI = r"C:\ProgramData\submitd\submitd.ini"
SPOOL = r"C:\ProgramData\submitd\data\spool.db"
COMMAND_SECONDS = 120
# 00d8:err:eventlog:ReportEventW L"config_problem\r\n\r\nreason: ..."
EVENT = re.compile(r'\w+:(err|warn|trace):eventlog:ReportEventW L"(.*)"(?:\.\.\.)?$')
LEVELS = {"err": "error", "warn": "warning", "trace": "info"}
NOISE = re.compile(r"it looks like wine32 is missing.*\n(?:.*\n){2}")  # a remark of Debian's wrapper


class Event:
    """One entry of the event log, as it was handed over."""

    def __init__(self, level, literal):
        self.level = level
        self.text = re.sub(r'\\(\\|"|r|n|t|x[0-9a-f]{4})', self._unescape, literal)
        self.name, *rest = self.text.split("\r\n")
        self.fields = dict(line.split(": ", 1) for line in rest if ": " in line)

    @staticmethod
    def _unescape(found):
        what = found[1]
        return chr(int(what[1:], 16)) if what[0] == "x" else {"r": "\r", "n": "\n", "t": "\t"}.get(what, what)

    def __repr__(self):
        return f"{self.level} {self.text!r}"


def text_of(file):
    file.seek(0)
    return file.read().decode("utf-8", "replace").replace("\r\n", "\n")


class Machine:
    """One Windows. It runs as long as this object: without a client, Wine would end and take the services along."""

    def __init__(self, directory, program):
        self.prefix = Path(directory)
        self.log_file = self.prefix.with_name(self.prefix.name + ".events")
        self.env = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
        self.env.update(WINEPREFIX=str(self.prefix), WINEDEBUG="-all",
                        WINEDLLOVERRIDES="mscoree=;mshtml=;winemenubuilder.exe=d")
        self.prefix.mkdir(parents=True)
        os.umask(0o027)  # Wine makes access lists of modes: a file that others may read is open to Everyone
        self._wine("wineboot", "--init")
        self._wine("winecfg", "-v", "win10")
        subprocess.run(["wineserver", "-k"], env=self.env, check=False, timeout=30)
        # The services inherit from whoever starts Wine where their channel's lines go: nobody else may be first.
        with open(self.log_file, "wb") as log:
            self.keeper = subprocess.Popen(["wine", "cmd"], env={**self.env, "WINEDEBUG": "-all,+eventlog"},
                                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        self.keeper.stdin.write(b"echo is-%OS%\r\n")
        self.keeper.stdin.flush()
        said = b""
        while b"is-Windows" not in said:
            ready, _, _ = select.select([self.keeper.stdout], [], [], COMMAND_SECONDS)
            more = os.read(self.keeper.stdout.fileno(), 4096) if ready else b""
            assert more, "Wine did not start"
            said += more
        if program:
            self.copy(program, PROGRAM)

    def _wine(self, *args):
        subprocess.run(["wine", *args], env=self.env, check=True, timeout=COMMAND_SECONDS,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def close(self):
        self.keeper.stdin.close()
        subprocess.run(["wineserver", "-k"], env=self.env, check=False, timeout=30)
        self.keeper.wait(30)
        shutil.rmtree(self.prefix, ignore_errors=True)

    # --- files

    def path(self, windows):
        """C:\\x as a path of the test's own system."""
        assert windows.startswith("C:\\")
        return self.prefix / "drive_c" / windows[3:].replace("\\", "/")

    @staticmethod
    def name(path):
        """The other way round: everything of this system is drive Z:."""
        return "Z:" + str(path).replace("/", "\\")

    def copy(self, source, windows):
        target = self.path(windows)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)

    def write(self, windows, data):
        target = self.path(windows)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data.encode() if isinstance(data, str) else data)
        target.chmod(0o600)

    def read(self, windows):
        return self.path(windows).read_bytes()

    def remove_folder(self, windows):
        """The folder that this file is in, with everything in it."""
        shutil.rmtree(self.path(windows).parent, ignore_errors=True)

    # --- programs

    def wine(self, *args, text=None):
        """Any program; what it said is text, its line ends are LF."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            # No pipes: a process of Wine's own that is started on the way would keep them open.
            given = text if isinstance(text, bytes) else (text or "").encode()
            run = subprocess.run(["wine", *args], env=self.env, input=given, timeout=COMMAND_SECONDS,
                                 stdout=out, stderr=err, check=False)
            run.stdout, run.stderr = text_of(out), NOISE.sub("", text_of(err))
        return run

    def submitd(self, *args, status=0, text=None):
        """The program; it must exit with `status`, None: whatever."""
        run = self.wine(PROGRAM, *args, text=text)
        assert status is None or run.returncode == status, \
            f"submitd {' '.join(args)} ended with {run.returncode}: {run.stdout}{run.stderr}{self.events()[-8:]}"
        return run

    def msi(self, *args):
        """msiexec without questions; its exit status (modulo 256, as Unix has it)."""
        return self.wine("msiexec", *args, "/qn").returncode

    def registry(self, key):
        """Value names and what they hold; None when there is no such key."""
        run = self.wine("reg", "query", key)
        if run.returncode != 0:
            return None
        return dict(re.findall(r"^ {4}(\S+) +REG_\w+ +(.*?)\r?$", run.stdout, re.M))

    # --- services

    def state(self):
        """What the manager says of the service: a dict of sc's lines; None when there is none."""
        run = self.wine("sc", "query", "submitd")
        return dict(re.findall(r"^\s*(\w+)\s*: (.*?)\s*$", run.stdout, re.M)) if run.returncode == 0 else None

    def processes(self):
        """The process ids, on this system, of the running service."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes()
                mine = f"WINEPREFIX={self.prefix}".encode() in (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if mine and b"submitd.exe" in command and b"service\0run" in command:
                found.append(int(folder.name))
        return found

    # --- the event log

    def events(self, name=None):
        text = self.log_file.read_text(encoding="utf-8", errors="replace")
        all_events = [Event(LEVELS[found[1]], found[2]) for found in map(EVENT.search, text.splitlines()) if found]
        return [e for e in all_events if name is None or e.name == name]

    def wait_event(self, name, seen=0, timeout=20):
        """The newest event of that name, when there are more than `seen` of them."""
        def found():
            events = self.events(name)
            return events[-1] if len(events) > seen else None
        return until(found, timeout, f"event {name}, more than {seen} of them")


class Service:
    """The installed service and its INI file."""

    def __init__(self, machine):
        self.machine = machine
        self.port = free_port()

    def configure(self, upstream, overrides=None):
        """Writes the INI file; the upstream's login unless it is overridden."""
        sections = {
            "listener": {"port": self.port},
            "upstream": {"host": upstream.host, "port": upstream.port, "tls_ca_file": self.machine.name(upstream.ca)},
            "account": {"username": upstream.username, "password": upstream.password},
        }
        self.machine.write(INI, ini_text(merged(sections, overrides or {})))

    def start(self):
        return self.machine.submitd("service", "start")

    def stop(self):
        return self.machine.submitd("service", "stop")

    def kill(self):
        """As a power cut would; the manager must notice."""
        for pid in self.machine.processes():
            os.kill(pid, 9)
        until(lambda: not self.machine.processes(), 15, "the service's process gone")
