"""What arrived at the upstream, held against the ledger."""
import email
import email.policy
import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import dataclass

from harness.message import field_values, without_repairs
from ledger import REFUSED, Fate

# Between the upstream's 250 and the commit that takes the message off the queue lies less than this: a copy
# older than that when submitd was killed has no excuse.
KILL_WINDOW_SECONDS = 1.0
CLOCK_SECONDS = 0.05
LAG_SECONDS = 0.5
SHOWN = 20


@dataclass(frozen=True)
class Arrival:
    number: int
    session: int
    port: int
    when: float
    recipients: tuple


@dataclass(frozen=True)
class Bounce:
    original: str
    recipients: tuple


def final_recipients(report):
    status = list(report.iter_parts())[1]
    return tuple(str(block["Final-Recipient"]).partition(";")[2].strip()
                 for block in status.get_payload()[1:])


def read_bounce(data):
    report = email.message_from_bytes(data, policy=email.policy.default)
    original = email.message_from_string(list(report.iter_parts())[2].get_content())
    return str(report["Message-ID"]), Bounce(str(original["Message-ID"]), final_recipients(report))


class Judge:
    """collect() as often as wanted while it goes on, verdict() at the end. `problems` are violations."""

    def __init__(self, ledger, maildir, drop_every):
        self.ledger, self.maildir, self.drop_every = ledger, maildir, drop_every
        self.seen = 0
        self.arrivals = defaultdict(list)  # by Message-ID
        self.bounces = {}
        self.last_of_session = {}
        self.counts = Counter()
        self.problems = []
        self.kills = []  # times
        self.waiting = set()  # ids of messages that submitd still has
        self.links = defaultdict(list)  # the proxy's journal by port

    def problem(self, text):
        self.counts["violations"] += 1
        if len(self.problems) < SHOWN:
            self.problems.append(text)

    # --- reading what arrived

    def collect(self):
        """Reads what came since the last time; True when something did."""
        before = self.seen
        while (facts := self.maildir / f"{self.seen + 1}.json").exists():
            self.seen += 1
            self.read(facts)
        return self.seen > before

    def read(self, path):
        facts = json.loads(path.read_text(encoding="utf-8"))
        data = path.with_suffix(".eml").read_bytes()
        arrival = Arrival(facts["number"], facts["session"], facts["client_port"], path.stat().st_mtime,
                          tuple(r["address"] for r in facts["recipients"]))
        self.last_of_session[arrival.session] = arrival.number
        if facts["from"] == "":
            self.take_bounce(arrival, data)
        else:
            self.take_message(arrival, facts["from"], data)

    def take_bounce(self, arrival, data):
        try:
            message_id, bounce = read_bounce(data)
        except (IndexError, KeyError, TypeError, AttributeError) as why:
            self.problem(f"{arrival.number}.eml is no complete bounce: {why!r}")
            return
        self.arrivals[message_id].append(arrival)
        self.bounces[message_id] = bounce
        entry = self.ledger.entries.get(bounce.original)
        if not entry or arrival.recipients != (entry.sender,):
            self.problem(f"{arrival.number}.eml bounces what nobody sent: {bounce}")

    def take_message(self, arrival, sender, data):
        message_id = (field_values(data, "Message-ID") or ["none"])[0]
        entry = self.ledger.entries.get(message_id)
        if not entry:
            self.problem(f"{arrival.number}.eml has Message-ID {message_id}, which nobody sent")
            return
        self.arrivals[message_id].append(arrival)
        if sender != entry.sender or not set(arrival.recipients) <= set(entry.recipients):
            self.problem(f"{arrival.number}.json: the envelope is not that of {message_id}: {sender}, "
                         f"{arrival.recipients}")
        self.check_text(arrival, entry, data)

    def check_text(self, arrival, entry, data):
        try:
            got = without_repairs(data)
        except AssertionError as why:
            got = str(why).encode()
        if hashlib.sha256(got).digest() == entry.digest:
            return
        kind = "is truncated" if self.ledger.text(entry).startswith(got) else "differs from what was sent"
        self.problem(f"{arrival.number}.eml, {entry.id}, {kind}")

    # --- the verdict

    def read_journal(self, path):
        for line in path.read_text(encoding="ascii").splitlines():
            link = json.loads(line)
            self.links[link["port"]].append(link)

    def verdict(self):
        self.check_bounces()
        for entry in self.ledger.entries.values():
            self.counts[entry.fate.value] += 1
            self.check_entry(entry)
        for message_id, arrivals in self.arrivals.items():
            self.check_copies(message_id, arrivals)

    def check_bounces(self):
        """Each recipient is bounced once, those alone that the upstream refuses."""
        self.bounced = Counter((b.original, to) for b in self.bounces.values() for to in b.recipients)
        self.counts["bounces"] = len(self.bounces)
        for (original, to), count in self.bounced.items():
            if count > 1:
                self.problem(f"{original} to {to} was bounced {count} times")
            if not to.startswith(REFUSED):
                self.problem(f"{original} to {to} was bounced, the upstream would have taken it")

    def check_entry(self, entry):
        arrived = {to for a in self.arrivals.get(entry.id, ()) for to in a.recipients}
        if arrived:
            self.counts["arrived"] += 1
            self.counts[f"{entry.fate.value}, arrived"] += 1
        if arrived and entry.fate in (Fate.BEGUN, Fate.ABORTED):
            self.problem(f"{entry.id} arrived, its client never finished it")
        if entry.fate == Fate.ACKNOWLEDGED:
            self.check_promise(entry, arrived)

    def check_promise(self, entry, arrived):
        is_waiting = entry.reply.rpartition(" ")[2] in self.waiting
        for to in entry.taken:
            if to not in arrived and not self.bounced[entry.id, to] and not is_waiting:
                self.problem(f"LOST: {entry.id} to {to}, acknowledged with {entry.reply!r}")
        for to in arrived - set(entry.taken):
            self.problem(f"{entry.id} arrived for {to}, which its client was told is refused")

    def check_copies(self, message_id, arrivals):
        by_recipient = defaultdict(list)
        for arrival in arrivals:
            for to in arrival.recipients:
                by_recipient[to].append(arrival)
        excused = {(a, b) for copies in by_recipient.values() for a, b in zip(copies, copies[1:])}
        for first, again in excused:
            why = self.excuse(first, again)
            self.counts["duplicates"] += 1
            self.counts[f"duplicates: {why or 'without reason'}"] += 1
            if not why:
                self.problem(f"{message_id} arrived as {first.number}.eml and again as {again.number}.eml "
                             f"without a reason")

    def excuse(self, first, again):
        """Why the outcome of `first` was uncertain; None: it was not."""
        is_last = self.last_of_session[first.session] == first.number
        link = next((l for l in self.links[first.port]
                     if l["began"] - CLOCK_SECONDS <= first.when <= l["ended"] + CLOCK_SECONDS), None)
        if self.drop_every and first.number % self.drop_every == 0:
            return "the upstream hung up after the final dot"
        if is_last and link and (link["end"] == "cut" or link["held"]):
            return "the connection was cut or held up"
        # What the upstream had still to read when submitd was killed is kept a little later.
        earliest = first.when - (LAG_SECONDS if is_last else CLOCK_SECONDS)
        if any(earliest <= kill <= min(again.when, first.when + KILL_WINDOW_SECONDS) for kill in self.kills):
            return "submitd was killed"
        return None
