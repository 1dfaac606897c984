"""submitd-sandbox by itself: a process, and a client that says one line at a time."""
import base64
import json
import os
import shlex
import signal
import smtplib
import socket
import ssl
import subprocess
import time
from pathlib import Path

import ntlmclient

ROOT = Path(__file__).resolve().parents[2]
WAIT_SECONDS = 10


def program(config):
    build = os.environ.get("SUBMITD_BUILD") or config.getoption("--build", None) or "build/release"
    return str(ROOT / build / "submitd-sandbox")


def b64(data):
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def environment(directory):
    """In a build with AddressSanitizer: gss-ntlmssp and its OpenSSL contexts leak with each login."""
    known = directory / "lsan.supp"
    known.write_text("leak:gssntlmssp\nleak:libcrypto\n")
    return {**os.environ, "LSAN_OPTIONS": f"suppressions={known}:print_suppressions=0"}


class Box:
    """A running sandbox with CORP\\scanner and CORP\\payroll."""

    def __init__(self, binary, directory, *options):
        self.dir = directory
        users = directory / "accounts"
        users.write_text("CORP:scanner:Sandbox-Pass1\n# a comment\nCORP:payroll:Payroll-Pass2\n")
        command = [binary, "--listen", "127.0.0.1:0", "--dir", str(directory / "box"), "--users",
                   str(users), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        env=environment(directory))
        self.ready = self.process.stdout.readline()
        if not self.ready:
            raise AssertionError(self.process.stderr.read())
        self.values = dict(word.split("=", 1) for word in shlex.split(self.ready))
        self.port = int(self.values["PORT"])

    def context(self):
        return ssl.create_default_context(cafile=self.values["CA"])

    def kept(self, count):
        """The first `count` messages as (envelope, octets); exactly that many must be there."""
        mail = Path(self.values["MAILDIR"])
        end = time.monotonic() + WAIT_SECONDS
        while not (mail / f"{count}.json").exists() and count > 0 and time.monotonic() < end:
            time.sleep(0.01)
        names = sorted(int(p.stem) for p in mail.glob("*.json"))
        assert names == list(range(1, count + 1))
        return [(json.loads((mail / f"{n}.json").read_text()), (mail / f"{n}.eml").read_bytes())
                for n in names]

    def counters(self):
        self.process.send_signal(signal.SIGUSR1)
        return json.loads(self.process.stdout.readline())

    def stop(self):
        """Its last line and what it said on standard error."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            out, err = self.process.communicate(timeout=WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise AssertionError("the sandbox did not end on SIGTERM") from None
        assert self.process.returncode == 0, (self.process.returncode, err)
        return out, err


class Line:
    """A connection that speaks SMTP by hand."""

    def __init__(self, box, context=None):
        self.socket = socket.create_connection(("127.0.0.1", box.port), WAIT_SECONDS)
        if context:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.file = self.socket.makefile("rb")
        self.box = box

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def reply(self):
        """A whole reply, lines joined by newlines; "" at the end of the connection."""
        lines = []
        while True:
            try:
                line = self.file.readline().decode()
            except ConnectionResetError:
                return ""
            if not line:
                assert not lines, lines
                return ""
            assert line.endswith("\r\n"), line
            lines.append(line[:-2])
            if line[3:4] != "-":
                return "\n".join(lines)

    def send(self, text):
        self.socket.sendall(text if isinstance(text, bytes) else text.encode())

    def say(self, line):
        self.send(line + "\r\n")
        return self.reply()

    def hello(self):
        return self.say("EHLO client.test")

    def start_tls(self):
        assert self.say("STARTTLS").startswith("220 2.0.0")
        self.file.close()
        self.socket = self.box.context().wrap_socket(self.socket, server_hostname="localhost")
        self.file = self.socket.makefile("rb")
        return self.hello()

    def binding(self):
        return ntlmclient.end_point_binding(self.socket.getpeercert(binary_form=True))

    def login(self, user="CORP\\scanner", password="Sandbox-Pass1"):
        assert self.say("AUTH LOGIN") == "334 VXNlcm5hbWU6"
        assert self.say(b64(user)) == "334 UGFzc3dvcmQ6"
        return self.say(b64(password))

    def ntlm(self, user="scanner", password="Sandbox-Pass1", domain="CORP", *, initial=False, **more):
        if initial:
            answer = self.say("AUTH NTLM " + b64(ntlmclient.type1()))
        else:
            assert self.say("AUTH NTLM") == "334 NTLM supported"
            answer = self.say(b64(ntlmclient.type1()))
        assert answer.startswith("334 "), answer
        token = ntlmclient.type3(base64.b64decode(answer[4:]), domain, user, password, **more)
        return self.say(b64(token))

    def message(self, sender="scanner@corp.example", to="b@example.test", text="Subject: x\r\n\r\nHello.\r\n"):
        """The replies to MAIL, RCPT, DATA and the final dot, up to the first that refuses."""
        replies = []
        for step in (f"MAIL FROM:<{sender}>", f"RCPT TO:<{to}>", "DATA", text + "."):
            replies.append(self.say(step))
            if replies[-1][:1] not in "23":
                break
        return replies


def smtp(box):
    """smtplib under TLS, logged in."""
    client = smtplib.SMTP("localhost", box.port, timeout=WAIT_SECONDS)
    client.starttls(context=box.context())
    client.login("CORP\\scanner", "Sandbox-Pass1")
    return client
