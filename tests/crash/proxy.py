#!/usr/bin/python3
"""A TCP proxy in front of the upstream that fails at random: it cuts, stalls, refuses and swallows connections.

    proxy.py TARGET-PORT JOURNAL SEED

Prints its port, then takes one word a line on standard input: `fair` (pass everything on), `storm` (fail at
random), `down` (refuse). Ends when its input ends. JOURNAL gets a line of JSON for each connection: the port
that the upstream saw, when it began and ended, why it ended, and whether it was held up.
"""
import asyncio
import json
import random
import socket
import struct
import sys
import time
from dataclasses import dataclass, field

HOST = "127.0.0.1"
BLOCK = 16384
NEVER = float("inf")
AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset
# What a stretch of storm is made of, with weights, and how long it lasts.
STRETCHES = {"flaky": 45, "fair": 25, "refuse": 20, "swallow": 10}
STRETCH_SECONDS = (0.05, 0.6)
CUT_ALL_CHANCE = 0.3  # at the begin of a stretch
MEAN_LIFE_SECONDS = 0.3
DOWN_BYTES = (0, 8000)     # a handshake with login is about 3000, the replies to one message 350
UP_BYTES_POWER = (2, 5.5)  # 100 octets to 300 kB
STALL_SECONDS = (0.1, 4)
SWALLOW_SECONDS = (0.1, 3)


@dataclass
class Fate:
    """When a connection fails: after so many seconds, or octets in one direction."""
    life: float = NEVER
    up: float = NEVER
    down: float = NEVER
    stall: float = 0  # seconds to hold it up when the octets are used up; 0: cut
    swallow: float = 0  # seconds for which nothing passes before it is cut


def flaky_fate(rng):
    kind = rng.choice(["life", "down", "up", "stall", "none"])
    if kind == "life":
        return Fate(life=rng.expovariate(1 / MEAN_LIFE_SECONDS))
    if kind == "up":
        return Fate(up=10 ** rng.uniform(*UP_BYTES_POWER))
    if kind in ("down", "stall"):
        return Fate(down=rng.uniform(*DOWN_BYTES), stall=rng.uniform(*STALL_SECONDS) if kind == "stall" else 0)
    return Fate()


@dataclass(eq=False)
class Link:
    """One connection through the proxy."""
    fate: Fate
    near: asyncio.StreamWriter  # to submitd
    far: asyncio.StreamWriter   # to the upstream
    began: float = field(default_factory=time.time)
    end: str = ""
    was_held: bool = False

    def stop(self, why):
        """The first reason counts. A cut resets both sides."""
        if self.end:
            return
        self.end = why
        for writer in (self.near, self.far):
            if why == "cut" and not writer.transport.is_closing():
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
                writer.transport.abort()
            else:
                writer.close()


class Proxy:
    def __init__(self, target, journal, seed):
        self.target, self.journal = target, journal
        self.rng = random.Random(seed)
        self.links = set()
        self.server = None
        self.port = 0
        self.stretch = "fair"

    # --- one connection

    async def serve(self, reader, writer):
        fate = self.new_fate()
        if fate.swallow:
            await asyncio.sleep(fate.swallow)
            writer.transport.abort()
            return
        try:
            far_reader, far = await asyncio.open_connection(HOST, self.target)
        except OSError:
            writer.transport.abort()
            return
        link = Link(fate, writer, far)
        self.links.add(link)
        await asyncio.gather(self.pump(link, reader, far, "up"), self.pump(link, far_reader, writer, "down"),
                             self.expire(link))
        self.links.discard(link)
        self.note(link)

    def new_fate(self):
        if self.stretch == "swallow":
            return Fate(swallow=self.rng.uniform(*SWALLOW_SECONDS))
        return flaky_fate(self.rng) if self.stretch == "flaky" else Fate()

    async def expire(self, link):
        """Ends with the connection, at the latest with its life."""
        until = time.monotonic() + link.fate.life
        while not link.end and time.monotonic() < until:
            await asyncio.sleep(0.01)
        link.stop("cut")

    async def pump(self, link, reader, writer, way):
        """Passes octets on; exactly as many as the fate allows before it strikes."""
        left = getattr(link.fate, way)
        try:
            while not link.end and (data := await reader.read(BLOCK)):
                if len(data) > left:
                    writer.write(data[:int(left)])
                    await self.strike(link)
                    left, data = NEVER, data[int(left):]
                left -= len(data)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        link.stop("client" if way == "up" else "upstream")

    async def strike(self, link):
        if link.fate.stall:
            link.was_held = True
            await asyncio.sleep(link.fate.stall)
        else:
            await asyncio.sleep(0)
            link.stop("cut")
            raise ConnectionResetError

    def note(self, link):
        name = link.far.get_extra_info("sockname")
        self.journal.write(json.dumps({"port": name[1], "began": link.began, "ended": time.time(),
                                       "end": link.end, "held": link.was_held}) + "\n")
        self.journal.flush()

    # --- the weather

    async def set_open(self, is_open):
        if is_open and not self.server:
            self.server = await asyncio.start_server(self.serve, HOST, self.port, reuse_address=True)
            self.port = self.server.sockets[0].getsockname()[1]
        elif not is_open and self.server:
            self.server.close()
            self.server = None

    def cut_all(self):
        for link in list(self.links):
            link.stop("cut")

    async def storm(self):
        while True:
            self.stretch, = self.rng.choices(list(STRETCHES), STRETCHES.values())
            await self.set_open(self.stretch != "refuse")
            if self.rng.random() < CUT_ALL_CHANCE:
                self.cut_all()
            await asyncio.sleep(self.rng.uniform(*STRETCH_SECONDS))

    async def change(self, word, storm):
        """The storm that blows from now on, or None."""
        if storm:
            storm.cancel()
            await asyncio.wait([storm])
        if word == "storm":
            return asyncio.ensure_future(self.storm())
        self.stretch = "fair"
        await self.set_open(word == "fair")
        if word == "down":
            self.cut_all()
        return None

    async def run(self):
        await self.set_open(True)
        print(self.port, flush=True)
        loop = asyncio.get_running_loop()
        words = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(words), sys.stdin)
        storm = None
        while line := await words.readline():
            storm = await self.change(line.decode().strip(), storm)
        await self.change("down", storm)
        while self.links:
            await asyncio.sleep(0.01)


def main():
    with open(sys.argv[2], "w", encoding="ascii") as journal:
        asyncio.run(Proxy(int(sys.argv[1]), journal, sys.argv[3]).run())


if __name__ == "__main__":
    main()
