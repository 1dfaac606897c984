"""Chaos around submitd: clients that do what they like, and a proxy that spoils its way to the server.

Everything random comes from one seed, so that a run can be repeated (the operating system's timing cannot).
"""
import asyncio
import contextlib
import math
import random
import re
import socket
import ssl
from dataclasses import dataclass, field

from harness.message import complete

REPLY_SECONDS = 40  # a client that waits longer was forgotten
# What is refused for good: nonsense, commands behind refused ones, and what the server itself refuses.
LASTING = r"500 5\.5\.2 |503 5\.5\.1 |554 5\.5\.1 |550 5\.1\.1 "
TOKEN = re.compile(rb"^X-Chaos: (\d+)\r$", re.M)
RESET_ON_CLOSE = b"\1\0\0\0\0\0\0\0"  # SO_LINGER


def log_uniform(rng, low, high):
    return int(math.exp(rng.uniform(math.log(low), math.log(high))))


# --- what was sent, and what was heard about it


@dataclass
class Sent:
    data: bytes            # as it should arrive, but for the repairs
    is_whole: bool = False  # the final dot left us
    code: int = 0          # the reply to it; 0: none was heard


@dataclass
class Ledger:
    messages: dict = field(default_factory=dict)
    faults: list = field(default_factory=list)  # what must not happen
    codes: dict = field(default_factory=dict)   # how often each reply code was heard

    def new_message(self, rng):
        number = len(self.messages) + 1
        size = log_uniform(rng, 10, 3_000_000) if rng.random() < 0.3 else rng.randrange(2000)
        line = bytes(rng.choices(b"abcdefghij .klm", k=rng.choice([1, 30, 70, 900])))
        body = ((b"." + line + b"\r\n" + line[::-1] + b"\r\n") * (size // (2 * len(line) + 5) + 1))
        self.messages[number] = Sent(complete(body + b"end %d\r\n" % number, b"X-Chaos: %d\r\n" % number))
        return self.messages[number]

    def heard(self, code, text):
        self.codes[code] = self.codes.get(code, 0) + 1
        if code >= 500 and not re.match(LASTING, f"{code} {text}"):
            self.faults.append(f"{code} {text}")

    def missing(self, kept):
        here = {int(token[1]) for token in map(TOKEN.search, kept) if token}
        return [n for n, sent in self.messages.items() if sent.code == 250 and n not in here]

    def check(self, kept, may_repeat):
        """`kept` is every message at the server as (data, count): complete ones of ours, and each one that we
        heard a 250 for."""
        seen = {}
        for data in kept:
            token = TOKEN.search(data)
            assert token, f"nobody sent this: {data[:300]!r}"
            sent = self.messages[int(token[1])]
            assert sent.is_whole, f"message {token[1]} was never ended by its client"
            assert data.endswith(sent.data[len(sent.data) // 2:]), f"message {token[1]} differs at its end"
            assert_same(data, sent.data)
            seen[int(token[1])] = seen.get(int(token[1]), 0) + 1
        assert not self.missing(kept), f"answered with 250, but not at the server: {self.missing(kept)}"
        repeated = [n for n, count in seen.items() if count > 1]
        assert may_repeat or not repeated, f"more than once at the server: {repeated}"
        assert not self.faults, self.faults[:20]


def assert_same(arrived, sent):
    """Only a Received line on top may differ; it is folded over lines that begin with a blank."""
    rest = re.sub(rb"\AReceived:[^\n]*\n(?:[ \t][^\n]*\n)*", b"", arrived)
    assert rest == sent, f"arrived as {rest[:200]!r}, sent as {sent[:200]!r}, {len(rest)} and {len(sent)} octets"


# --- clients


class Over(Exception):
    """The session ended: by the other side, or because this client wants it so."""


class Client:
    """One session of a client with a will of its own."""

    def __init__(self, port, rng, ledger):
        self.port, self.rng, self.ledger = port, rng, ledger

    async def run(self):
        try:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            await asyncio.sleep(0.1)
            return
        try:
            await self.talk()
        except (Over, OSError, EOFError):
            pass
        finally:
            if self.rng.random() < 0.3:
                sock = self.writer.get_extra_info("socket")
                with contextlib.suppress(OSError):  # it may be closed already
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            self.writer.close()

    async def reply(self):
        while True:
            try:
                line = await asyncio.wait_for(self.reader.readline(), REPLY_SECONDS)
            except asyncio.TimeoutError:
                self.ledger.faults.append(f"no reply within {REPLY_SECONDS} s to {self.last!r}")
                raise Over from None
            if not line.endswith(b"\r\n"):
                raise Over
            if line[3:4] != b"-":
                break
        code = int(line[:3])
        self.ledger.heard(code, line[4:].decode("utf-8", "replace").strip())
        if code == 421:
            raise Over
        return code

    async def send(self, data):
        self.last = data[-60:]
        self.writer.write(data)
        await self.writer.drain()

    def leave(self, chance):
        if self.rng.random() < chance:
            raise Over

    async def talk(self):
        rng = self.rng
        self.leave(0.02)
        await self.reply()
        await self.send(b"EHLO chaos.example\r\n")
        await self.reply()
        for _ in range(rng.choice([1, 1, 2, 5])):
            await rng.choice([self.message, self.message, self.message, self.storm, self.nothing])()
        await self.send(b"QUIT\r\n")
        await self.reply()

    async def nothing(self):
        for line in self.rng.sample([b"NOOP", b"RSET", b"VRFY x", b"HELP", b"DATA", b"NONSENSE"], 3):
            await self.send(line + b"\r\n")
            await self.reply()

    async def storm(self):
        group = b"MAIL FROM:<a@corp.example>\r\nRCPT TO:<b@example.test>\r\nRSET\r\n"
        count = log_uniform(self.rng, 1, 60)
        await self.send(group * count)
        self.leave(0.3)
        for _ in range(3 * count):
            await self.reply()

    def envelope(self):
        rng = self.rng
        sender = rng.choice([b"a@corp.example", b"a@corp.example", b"user@corp.example", b""])
        names = [b"b%d", b"b%d", b"b%d", b"reject%d", b"defer%d"]
        rcpts = [rng.choice(names) % i for i in range(rng.choice([1, 1, 3, 12]))]
        return [b"MAIL FROM:<%s>\r\n" % sender] + [b"RCPT TO:<%s@example.test>\r\n" % r for r in rcpts] + [b"DATA\r\n"]

    async def message(self):
        rng, lines = self.rng, self.envelope()
        codes = []
        if rng.random() < 0.5:
            await self.send(b"".join(lines))
            self.leave(0.05)
            codes = [await self.reply() for _ in lines]
        else:
            for line in lines:
                await self.send(line)
                self.leave(0.02)
                codes.append(await self.reply())
                if codes[-1] >= 400 and line.startswith(b"MAIL"):
                    return
        if codes[-1] == 354:
            await self.text(self.ledger.new_message(rng))
        else:
            await self.send(b"RSET\r\n")
            await self.reply()

    async def text(self, message):
        rng = self.rng
        wire = re.sub(rb"(?m)^\.", b"..", message.data)
        stop = rng.randrange(len(wire)) if rng.random() < 0.1 else len(wire)
        step = rng.choice([len(wire), 65536, max(1, len(wire) // 7)])
        for at in range(0, stop, step):
            await self.send(wire[at:min(at + step, stop)])
            if step < 65536 and rng.random() < 0.5:
                await asyncio.sleep(rng.random() / 10)
        if stop < len(wire):
            raise Over
        message.is_whole = True  # from here on it may arrive
        end = rng.random()
        await self.send(b".\r\n")
        if end < 0.05:
            raise Over
        if end < 0.1:
            self.writer.write_eof()
        message.code = await self.reply()
        if end < 0.1:
            raise Over


# --- the proxy


@dataclass
class Fate:
    """What happens to one connection through the proxy."""
    fault: str = "none"     # none, kill, close, stall, pause, 421
    is_upwards: bool = False  # counted in the direction of the server
    after: int = 0          # octets
    trickles: bool = False  # the first octets come in the smallest pieces
    refuses_login: bool = False
    seconds: float = 0


def choose_fate(rng):
    upwards = rng.random() < 0.5
    fault = rng.choice(["none", "none", "none", "kill", "close", "stall", "pause"] + ([] if upwards else ["421"] * 2))
    return Fate(fault, upwards, log_uniform(rng, 1, 3_000_000 if upwards else 20_000), rng.random() < 0.15,
                rng.random() < 0.03, rng.uniform(0.1, 2.5))


class Proxy:
    """Between submitd and the server at `port`; TLS from the first octet on both sides, or none."""

    def __init__(self, port, seed, certificate=None):
        self.target, self.seed = port, seed
        self.is_calm = False
        self.count = 0
        self.tasks = set()
        self.ours = self.theirs = None
        if certificate:
            self.ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.ours.load_cert_chain(certificate)
            self.theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self.theirs.check_hostname, self.theirs.verify_mode = False, ssl.CERT_NONE

    async def start(self):
        self.server = await asyncio.start_server(self.handle, "127.0.0.1", 0, ssl=self.ours)
        self.port = self.server.sockets[0].getsockname()[1]

    async def stop(self):
        self.server.close()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def calm_down(self):
        """From now on nothing happens to new connections, and the old ones end."""
        self.is_calm = True
        for task in list(self.tasks):
            task.cancel()

    async def handle(self, reader, writer):
        self.count += 1
        fate = Fate() if self.is_calm else choose_fate(random.Random(f"{self.seed}/{self.count}"))
        task = asyncio.current_task()
        self.tasks.add(task)
        writers = [writer]
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target, ssl=self.theirs)
            writers.append(up_writer)
            both = [asyncio.ensure_future(self.pump(reader, up_writer, fate, True)),
                    asyncio.ensure_future(self.pump(up_reader, writer, fate, False))]
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in both:
                    one.cancel()
                await asyncio.gather(*both, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for one in writers:
                if fate.fault == "close":
                    one.close()
                else:
                    one.transport.abort()
            self.tasks.discard(task)

    async def pump(self, source, sink, fate, is_upwards):
        total = 0
        while True:
            data = await source.read(7 if fate.trickles and total < 600 else 65536)
            if not data:
                return
            if not is_upwards and fate.refuses_login and data.startswith(b"235 "):
                sink.write(b"535 5.7.3 Authentication unsuccessful\r\n")
                await sink.drain()
                await asyncio.sleep(0.1)
                return
            is_due = fate.fault != "none" and fate.is_upwards == is_upwards and total + len(data) >= fate.after > total
            total += len(data)
            if is_due and not await self.spoil(data[:fate.after - total + len(data)], sink, fate):
                return
            if fate.trickles and total < 600:
                for i in range(len(data)):
                    sink.write(data[i:i + 1])
                    await asyncio.sleep(0)
            else:
                sink.write(data)
            await sink.drain()

    async def spoil(self, data, sink, fate):
        """False: the connection ends."""
        if fate.fault == "pause":
            await asyncio.sleep(fate.seconds)
            return True
        if fate.fault == "421":
            data = data[:data.rfind(b"\n") + 1] + b"421 4.3.2 chaos, closing\r\n"
        sink.write(data)
        await sink.drain()
        await asyncio.sleep(8 if fate.fault == "stall" else 0.05 if fate.fault == "421" else 0)
        return False
