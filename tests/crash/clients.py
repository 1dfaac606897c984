"""The programs that hand in mail: threads that note every answer in the ledger."""
import random
import socket
import threading

from harness.net import Closed, Raw
from ledger import Fate

MESSAGES_PER_CONNECTION = [1, 1, 1, 2, 5, 20]
ABORT_CHANCE = 0.01
REPLY_SECONDS = 30
PAUSE_SECONDS = 0.02


def stuffed(text):
    """`text` as it is sent behind DATA, with the final dot."""
    return (b"." + text if text[:1] == b"." else text).replace(b"\r\n.", b"\r\n..") + b".\r\n"


class Client(threading.Thread):
    """Sends until it is told to stop. Pipelines when `pipelines`: the next envelope leaves with a message's end."""

    def __init__(self, ledger, port, seed, pipelines):
        super().__init__(daemon=True)
        self.ledger, self.port, self.pipelines = ledger, port, pipelines
        self.rng = random.Random(seed)
        self.is_over, self.may_send = threading.Event(), threading.Event()
        self.may_send.set()
        self.failure = None

    def run(self):
        while not self.is_over.is_set():
            self.may_send.wait()
            try:
                with Raw(self.port, timeout=REPLY_SECONDS) as raw:
                    self.session(raw)
            except socket.timeout:
                self.failure = f"no reply within {REPLY_SECONDS} s"
            except (OSError, Closed):
                self.is_over.wait(PAUSE_SECONDS)

    def session(self, raw):
        if raw.reply().code != 220 or raw.cmd("EHLO client.example").code != 250:
            self.is_over.wait(PAUSE_SECONDS)
            return
        following = None
        for left in reversed(range(self.rng.choice(MESSAGES_PER_CONNECTION))):
            entry, text = following or self.ledger.new(self.rng)
            is_wanted = self.envelope(raw, entry, is_sent=bool(following))
            following = self.ledger.new(self.rng) if self.pipelines and left and is_wanted else None
            if is_wanted:
                self.message(raw, entry, text, following)
            if self.is_over.is_set():
                break
        raw.cmd("QUIT" if not following else "RSET")

    def commands(self, entry):
        return [f"MAIL FROM:<{entry.sender}>", *(f"RCPT TO:<{to}>" for to in entry.recipients), "DATA"]

    def envelope(self, raw, entry, is_sent):
        """True when the message itself is wanted."""
        commands = self.commands(entry)
        if self.pipelines and not is_sent:
            raw.send("\r\n".join(commands) + "\r\n")
        replies = [raw.reply() if self.pipelines else raw.cmd(command) for command in commands]
        entry.taken = [to for to, reply in zip(entry.recipients, replies[1:]) if reply.code == 250]
        if replies[-1].code != 354:
            entry.fate, entry.reply = Fate.REFUSED, str(replies[-1])
            raw.cmd("RSET")
        return replies[-1].code == 354

    def message(self, raw, entry, text, following):
        data = stuffed(text)
        if self.rng.random() < ABORT_CHANCE:
            entry.fate = Fate.ABORTED
            raw.send(data[:self.rng.randrange(len(data) - len(b".\r\n"))])
            raise Closed
        entry.fate = Fate.UNKNOWN
        if following:
            data += ("\r\n".join(self.commands(following[0])) + "\r\n").encode()
        raw.send(data)
        reply = raw.reply()
        self.ledger.settle(entry, reply.code, reply.text)


class Crowd:
    """All the clients."""

    def __init__(self, ledger, port, count, seed):
        self.clients = [Client(ledger, port, f"{seed}.client{i}", pipelines=i % 2 == 1) for i in range(count)]

    def start(self):
        for client in self.clients:
            client.start()

    def let(self, may_send):
        for client in self.clients:
            client.may_send.set() if may_send else client.may_send.clear()

    def stop(self):
        """The failures."""
        for client in self.clients:
            client.is_over.set()
            client.may_send.set()
        for client in self.clients:
            client.join(2 * REPLY_SECONDS)
        return [f"{c.name}: {c.failure}" for c in self.clients if c.failure] + [
            f"{c.name}: does not end" for c in self.clients if c.is_alive()]
