"""What a test needs to know of the server behind submitd, and the messages that server kept."""
from dataclasses import dataclass, field
from pathlib import Path

from .wait import until


@dataclass(frozen=True)
class Kept:
    """One message as an upstream received it."""
    data: bytes
    sender: str
    recipients: tuple
    method: str  # NTLM, LOGIN, ...
    user: str
    extra: dict = field(default_factory=dict)  # what else the server wrote down


@dataclass
class Upstream:
    """A server and one login for it."""
    port: int
    ca: Path
    maildir: Path
    host: str = "localhost"
    username: str = "CORP\\user"
    password: str = "Secret-Pass1"

    def messages(self):
        """Everything kept so far, oldest first. A message counts once it is complete."""
        files = sorted(self.maildir.glob("*.eml"), key=lambda f: (f.stat().st_mtime_ns, f.name))
        return [self.read_kept(f) for f in files]

    def read_kept(self, eml):
        """FILE.eml and FILE.env, as tests/lab/keep writes them."""
        fields, recipients = {}, []
        for line in eml.with_suffix(".env").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition("=")
            if key == "to":
                recipients.append(value)
            else:
                fields[key] = value
        return Kept(data=eml.read_bytes(), sender=fields.pop("from", ""), recipients=tuple(recipients),
                    method=fields.pop("method", ""), user=fields.pop("user", ""), extra=fields)

    def to(self, recipient, count=1, timeout=15.0):
        """Waits for `count` messages to this recipient and returns them."""
        def found():
            mine = [m for m in self.messages() if recipient in m.recipients]
            return mine if len(mine) >= count else None
        return until(found, timeout, f"{count} message(s) to {recipient}")

    def one_to(self, recipient, timeout=15.0):
        messages = self.to(recipient, 1, timeout)
        assert len(messages) == 1, messages
        return messages[0]

