"""Ports and a client that says exactly what it is told, byte by byte."""
import os
import random
import socket
from typing import NamedTuple

WORKERS_MAX = 16  # pytest processes side by side


def share(first, end):
    """This pytest process's part of the ports: no other one takes a free port before its server does."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS_MAX
    return range(first + worker, end, WORKERS_MAX)


def free_port():
    """Below the ports that the system gives to connections: none of those takes it before a server does."""
    while True:
        port = random.choice(share(12000, 32000))
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Reply(NamedTuple):
    code: int
    text: str  # the lines without their code, joined by \n

    def __str__(self):
        return f"{self.code} {self.text}"


class Closed(Exception):
    """The other side closed the connection where a reply was due."""


class Raw:
    """An SMTP client without opinions. `source` is the address it connects from."""

    def __init__(self, port, source=None, host="127.0.0.1", timeout=15):
        address = (source, 0) if source else None
        self.sock = socket.create_connection((host, port), timeout, address)
        self.file = self.sock.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.file.close()
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode())

    def reply(self):
        lines = []
        while True:
            try:
                line = self.file.readline()
            except ConnectionResetError:
                line = b""
            if not line.endswith(b"\n"):
                raise Closed(f"closed after {lines} {line!r}")
            text = line.rstrip(b"\r\n").decode("utf-8", "replace")
            lines.append(text[4:])
            if text[3:4] != "-":
                return Reply(int(text[:3]), "\n".join(lines))

    def replies(self, count):
        return [self.reply() for _ in range(count)]

    def cmd(self, line):
        self.send((line if isinstance(line, bytes) else line.encode()) + b"\r\n")
        return self.reply()

    def hello(self, name="client.example"):
        """Banner and EHLO; returns the EHLO reply."""
        banner = self.reply()
        assert banner.code == 220, banner
        reply = self.cmd(f"EHLO {name}")
        assert reply.code == 250, reply
        return reply

    def at_end(self):
        """True when the other side has closed and everything was read."""
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True


def first_refusal(port, sender="a@corp.example", recipient="b@example.test", body=b"Subject: x\r\n\r\nx\r\n"):
    """Sends a message step by step; returns (step, reply) of the first refusal or of the last step."""
    with Raw(port, timeout=30) as client:
        steps = [("EHLO", b"EHLO client.example\r\n"), ("MAIL", f"MAIL FROM:<{sender}>\r\n".encode()),
                 ("RCPT", f"RCPT TO:<{recipient}>\r\n".encode()), ("DATA", b"DATA\r\n"),
                 ("DOT", body + b".\r\n")]
        reply = client.reply()
        assert reply.code == 220, reply
        for step, data in steps:
            client.send(data)
            reply = client.reply()
            if reply.code >= 400:
                break
        return step, reply
