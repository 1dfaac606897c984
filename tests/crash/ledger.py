"""What the clients sent and what they were told: the one side of the comparison."""
import hashlib
import json
import random
import threading
from dataclasses import dataclass, field
from enum import Enum

DOMAIN = "crash.example"
REFUSED = "refused-"  # recipients that the upstream never takes
# Octets of a body, with weights.
SIZES = [((0, 200), 20), ((200, 8_000), 70), ((8_000, 70_000), 8), ((300_000, 1_500_000), 2)]
RECIPIENT_COUNTS = [1, 1, 1, 1, 2, 3]
REFUSED_CHANCE = 0.04
LINE_MAX = 120
POOL = "".join(chr(c) for c in range(32, 127)) * 64


class Fate(Enum):
    BEGUN = "begun"                # the client never sent the final dot
    ABORTED = "aborted"            # the client hung up on purpose before the final dot
    UNKNOWN = "unknown"            # no reply came to the final dot
    REFUSED = "refused"
    ACKNOWLEDGED = "acknowledged"


@dataclass
class Entry:
    """One message. `taken` are the recipients that were answered with 250."""
    id: str
    sender: str
    recipients: list
    digest: bytes
    fate: Fate = Fate.BEGUN
    taken: list = field(default_factory=list)
    reply: str = ""

    def as_json(self):
        return json.dumps({"id": self.id, "fate": self.fate.value, "sender": self.sender,
                           "recipients": self.recipients, "taken": self.taken, "reply": self.reply})


def lines_of(rng, size):
    """Lines of all lengths; some begin with dots, some are one."""
    left = size
    while left > 0:
        n = min(left, rng.randrange(LINE_MAX))
        at = rng.randrange(95)
        yield rng.choice(["", "", "", ".", ".."]) + POOL[at:at + n]
        left -= n + 2


def text_of(seed, number):
    """The whole message: the same for the same seed and number, the last line tells a truncated one."""
    rng = random.Random(f"{seed}.{number}")
    low, high = rng.choices([s[0] for s in SIZES], [s[1] for s in SIZES])[0]
    message_id = id_of(seed, number)
    head = [f"Message-ID: {message_id}", "Date: Sat, 21 Nov 2026 22:06:22 +0000",
            f"From: sender{number}@{DOMAIN}", f"To: many@{DOMAIN}", f"Subject: crash {number}", ""]
    block = list(lines_of(rng, min(rng.randint(low, high), 16_000)))
    repeat = 1 if high <= 16_000 else rng.randint(low, high) // 16_000 + 1
    body = [f"{i} {line}" if line[:1] != "." and repeat > 1 else line
            for i in range(repeat) for line in block]
    return ("\r\n".join(head + body + [f"end of {message_id}"]) + "\r\n").encode("ascii")


def id_of(seed, number):
    return f"<{number}.{seed}@{DOMAIN}>"


class Ledger:
    """All entries of a run, for all client threads."""

    def __init__(self, seed):
        self.seed = seed
        self.lock = threading.Lock()
        self.entries = {}
        self.acknowledged = 0

    def new(self, rng):
        """A message to send: its entry and its text."""
        with self.lock:
            number = len(self.entries)
            entry = Entry(id_of(self.seed, number), f"sender{number}@{DOMAIN}", [], b"")
            self.entries[entry.id] = entry
        text = text_of(self.seed, number)
        entry.digest = hashlib.sha256(text).digest()
        for i in range(rng.choice(RECIPIENT_COUNTS)):
            word = REFUSED if rng.random() < REFUSED_CHANCE else "to"
            entry.recipients.append(f"{word}{i}.{number}@{DOMAIN}")
        return entry, text

    def settle(self, entry, code, reply):
        """The reply to the final dot."""
        entry.reply = f"{code} {reply}"
        entry.fate = Fate.ACKNOWLEDGED if code == 250 else Fate.REFUSED
        if code == 250:
            with self.lock:
                self.acknowledged += 1

    def text(self, entry):
        return text_of(self.seed, int(entry.id[1:].partition(".")[0]))

    def write(self, path):
        with open(path, "w", encoding="ascii") as out:
            out.writelines(e.as_json() + "\n" for e in self.entries.values())
