"""submitd as a process: its configuration file, its log, its signals."""
import os
import pwd
import re
import signal
import smtplib
import subprocess

from . import log as logs
from .net import Raw, free_port
from .wait import until

TERM_SECONDS = 20
OWN_USER = pwd.getpwuid(os.geteuid()).pw_name  # whoever runs the tests: nothing is dropped
SANITIZER = re.compile(r"ERROR: (Address|Leak)Sanitizer|runtime error:")  # in a sanitized build


def ini_text(sections):
    """Sections as an INI file. A value of None leaves the option out; a section of None is left out."""
    lines = []
    for name, options in sections.items():
        if options is None:
            continue
        lines.append(f"[{name}]")
        lines += [f"{key} = {value}" for key, value in options.items() if value is not None]
        lines.append("")
    return "\n".join(lines)


def merged(sections, overrides):
    result = {name: dict(options) for name, options in sections.items()}
    for name, options in overrides.items():
        result[name] = None if options is None else {**(result.get(name) or {}), **options}
    return result


def standard_sections(upstream, port, log_file):
    return {
        "listener": {"address": "127.0.0.1", "port": port},
        "upstream": {"host": upstream.host, "port": upstream.port, "tls_ca_file": upstream.ca},
        "account": {"username": upstream.username, "password": upstream.password},
        "delivery": {"on_failure": "defer"},
        "log": {"target": log_file, "level": "debug"},
        "service": {"user": OWN_USER},
    }


class Submitd:
    """One running daemon. `sections` override the standard ones, option by option."""

    stop_signal = signal.SIGTERM  # Ctrl-C for submitd.exe

    def __init__(self, binary, directory, upstream, sections=None):
        self.binary = binary
        self.port = free_port()
        self.log_file = directory / "submitd.log"
        self.stderr_file = directory / "stderr"
        self.config_file = directory / "submitd.ini"
        self.sections = merged(standard_sections(upstream, self.port, self.log_file), sections or {})
        self.write_config(self.sections)
        self.process = None

    def write_config(self, sections):
        self.write_config_text(ini_text(sections))

    def write_config_text(self, text):
        self.config_file.write_text(text, encoding="utf-8")
        os.chmod(self.config_file, 0o600)

    def command(self):
        return [self.binary, "run", "--config", str(self.config_file)]

    def start(self, env=None, command=None, **popen):
        """`popen` goes to Popen: user, pass_fds and the like."""
        with open(self.stderr_file, "ab") as stderr:
            self.process = subprocess.Popen(command or self.command(), stdin=subprocess.DEVNULL, stdout=stderr,
                                            stderr=stderr, env={**os.environ, **(env or {})}, **popen)
        until(self._is_listening, 15, "submitd listening")
        return self

    def _is_listening(self):
        if self.process.poll() is not None:
            raise AssertionError(f"submitd ended with {self.process.returncode}:\n{self.everything()}")
        return self.events("listening")

    # --- what it said

    def log(self):
        return self.log_file.read_text(encoding="utf-8") if self.log_file.exists() else ""

    def said_on_stderr(self):
        return self.stderr_file.read_text(encoding="utf-8", errors="replace") if self.stderr_file.exists() else ""

    def everything(self):
        return self.log() + self.said_on_stderr()

    def events(self, name=None, **fields):
        return [e for e in logs.parse(self.log()) if (name is None or e.name == name)
                and all(e.get(k) == str(v) for k, v in fields.items())]

    def wait_event(self, name, count=1, timeout=10, **fields):
        """The newest event of that name and fields, when there are `count` of them."""
        def found():
            events = self.events(name, **fields)
            return events[-1] if len(events) >= count else None
        return until(found, timeout, f"log event {name} {fields} x{count}")

    def wait_log(self, pattern, timeout=10):
        return until(lambda: re.search(pattern, self.everything()), timeout, f"log line /{pattern}/")

    # --- talking to it

    def smtp(self, **kwargs):
        return smtplib.SMTP("127.0.0.1", self.port, "client.example", timeout=60, **kwargs)

    def raw(self, **kwargs):
        return Raw(self.port, **kwargs)

    def send(self, data, recipients, sender="a@corp.example", options=()):
        """One message through smtplib; `data` as it is to arrive, except for submitd's repairs."""
        with self.smtp() as client:
            return client.sendmail(sender, recipients, data, mail_options=options)

    # --- life

    def reload(self, overrides=None, text=None):
        if text is not None:
            self.write_config_text(text)
        else:
            self.write_config(merged(self.sections, overrides or {}))
        self.process.send_signal(signal.SIGHUP)

    def memory_kb(self, key="VmRSS"):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith(key + ":"))

    def stop(self):
        """Asks it to stop; it must end with 0. Never leaves a process behind."""
        if self.process is None:
            return
        was_running = self.process.poll() is None
        if was_running:
            self.process.send_signal(self.stop_signal)
        try:
            status = self.process.wait(TERM_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("submitd did not end when it was asked to:\n" + self.log()[-4000:]) from None
        assert status == 0 or not was_running, f"submitd ended with {status}:\n{self.everything()[-4000:]}"
        assert not SANITIZER.search(self.said_on_stderr()), self.said_on_stderr()[-8000:]
