"""Bodies stream: a large message does not sit in memory."""
import threading
import time

import pytest

from harness.message import COMPLETE

MEGABYTE = 1024 * 1024
BODY = 150 * MEGABYTE
LINE = b"The quick brown fox jumps over the lazy dog, again and again, for ever.\r\n"
GROWTH_MAX_KB = 8 * 1024
SAMPLE_SECONDS = 0.05


class Sampler(threading.Thread):
    """The largest resident set seen while it runs."""

    def __init__(self, daemon):
        super().__init__(daemon=True)
        self.submitd, self.peak, self.is_done = daemon, 0, threading.Event()

    def run(self):
        while not self.is_done.wait(SAMPLE_SECONDS):
            self.peak = max(self.peak, self.submitd.memory_kb())


def send_large(daemon):
    block = LINE * (MEGABYTE // len(LINE))
    with daemon.raw(timeout=120) as client:
        client.hello()
        client.send(b"MAIL FROM:<a@corp.example>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n")
        assert [r.code for r in client.replies(3)] == [250, 250, 354]
        client.send(COMPLETE + b"\r\n")
        for _ in range(BODY // len(block)):
            client.send(block)
        client.send(b".\r\n")
        reply = client.reply()
        assert reply.code == 250, reply


@pytest.fixture(autouse=True)
def not_sanitized(submitd_program):
    with open(submitd_program, "rb") as program:
        if b"__asan_init" in program.read():
            pytest.skip("AddressSanitizer keeps freed memory")


@pytest.mark.parametrize("chunking, latency", [("auto", 0), ("no", 0), ("auto", 20)])
def test_150_megabytes(submitd, sandbox, chunking, latency):
    """With BDAT, with DATA, and towards a server that is slow to answer each chunk."""
    server = sandbox("--size", str(200 * MEGABYTE), "--discard", "--latency", str(latency))
    daemon = submitd(server, {"listener": {"max_message_size": "160M"}, "upstream": {"chunking": chunking},
                              "log": {"level": "info"}})
    with daemon.raw() as client:  # everything that is made once has been made
        client.hello()
        client.send(b"MAIL FROM:<a@corp.example>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n")
        client.replies(3)
        client.send(COMPLETE + b"\r\n" + LINE * 1000 + b".\r\n")
        assert client.reply().code == 250
    before = daemon.memory_kb()
    sampler = Sampler(daemon)
    sampler.start()
    began = time.monotonic()
    try:
        send_large(daemon)
    finally:
        sampler.is_done.set()
        sampler.join()
    growth = max(sampler.peak, daemon.memory_kb("VmHWM")) - before
    print(f"{BODY // MEGABYTE} MB in {time.monotonic() - began:.1f} s, resident {before} kB, grew {growth} kB")
    assert growth <= GROWTH_MAX_KB


SILENT, SILENT_OCTETS_MAX = 1000, 8192


def test_a_silent_client_costs_little(submitd, shared_sandbox):
    """They have said EHLO; a message in between leaves nothing behind."""
    daemon = submitd(shared_sandbox, {"listener": {"max_clients": 2 * SILENT, "max_clients_per_address": 0},
                                      "log": {"level": "info"}})
    daemon.send(COMPLETE, ["b@example.test"])
    before, clients = daemon.memory_kb(), []
    try:
        for _ in range(SILENT):
            clients.append(daemon.raw())
            clients[-1].hello()
        for client in clients[:50]:
            client.send(b"MAIL FROM:<a@corp.example>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n")
            assert [r.code for r in client.replies(3)] == [250, 250, 354]
            client.send(COMPLETE + LINE * 1000 + b".\r\n")
            assert client.reply().code == 250
        assert (daemon.memory_kb() - before) * 1024 / SILENT <= SILENT_OCTETS_MAX
    finally:
        for client in clients:
            client.close()
