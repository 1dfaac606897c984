"""submitd-sandbox as a process."""
import json
import re
import shlex
import subprocess
from pathlib import Path

from .daemon import SANITIZER
from .upstream import Kept, Upstream
from .wait import until

USERS = "CORP:user:Secret-Pass1\nCORP:payroll:Payroll-Pass2\nCORP:umlaut:pässwörd €1\n"


class Sandbox(Upstream):
    """One running sandbox, an Upstream whose login is CORP\\user."""

    def __init__(self, binary, directory, options):
        self.output = directory / "sandbox.out"
        users = directory / "users"
        users.write_text(USERS, encoding="utf-8")
        users.chmod(0o600)
        command = [binary, "--listen", "127.0.0.1:0", "--dir", str(directory / "sandbox"),
                   "--users", str(users), *options]
        with open(self.output, "wb") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        ready = until(self._ready, 15, "the sandbox being ready")
        super().__init__(port=int(ready["PORT"]), ca=Path(ready["CA"]), maildir=Path(ready["MAILDIR"]))

    def _ready(self):
        text = self.said()
        if self.process.poll() is not None:
            raise AssertionError(f"the sandbox ended with {self.process.returncode}: {text}")
        values = dict(word.split("=", 1) for line in re.findall(r"^[A-Z]+=.*", text, re.M)
                      for word in shlex.split(line) if "=" in word)
        return values if {"PORT", "CA", "MAILDIR"} <= values.keys() else None

    def messages(self):
        """N.eml with the octets, N.json with the envelope; the second appears when both are complete."""
        files = sorted(self.maildir.glob("*.json"), key=lambda f: int(f.stem))
        return [self.read_kept(f) for f in files]

    def read_kept(self, envelope):
        facts = json.loads(envelope.read_text(encoding="utf-8"))
        return Kept(data=envelope.with_suffix(".eml").read_bytes(), sender=facts["from"],
                    recipients=tuple(r["address"] for r in facts["recipients"]),
                    method=facts.get("mechanism") or "", user=facts.get("account") or "", extra=facts)

    def said(self):
        return self.output.read_text(encoding="utf-8", errors="replace")

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("the sandbox did not end on SIGTERM") from None
        assert self.process.returncode == 0 and not SANITIZER.search(self.said()), self.said()[-8000:]
