"""An SMTP server that misbehaves as it is told, one thread for each connection.

A Script says what it answers; the Rogue writes down what it was sent. Without changes it is a
well-behaved server with STARTTLS and every login mechanism that takes any password.
"""
import base64
import os
import socket
import ssl
import threading
from dataclasses import dataclass, field

import ntlmparse

from .wait import until


class _Action:
    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return self.name


DROP = _Action("DROP")  # close the connection instead of answering
HANG = _Action("HANG")  # never answer; the other side must give up
BLOCK = 65536


@dataclass
class Script:
    """`replies` maps a step to what is answered there instead of the usual reply.

    Steps: BANNER, EHLO (before TLS), EHLO_TLS, HELO, STARTTLS, AUTH (the verdict), MAIL, RCPT, DATA, BODY
    (the first octets of the message came), DOT, RSET, NOOP, QUIT. An answer is text without CRLF, bytes
    sent as they are, DROP, HANG, a list (used one by one, the last one stays), a function that is given the
    session and returns one of these, or None for the usual one.
    """
    replies: dict = field(default_factory=dict)
    cert: str = "good"
    caps: tuple = ("PIPELINING", "SIZE 37748736", "8BITMIME", "DSN", "ENHANCEDSTATUSCODES")
    mechs_before_tls: str = "NTLM"
    mechs: str = "NTLM LOGIN"
    offers_starttls: bool = True
    target_info: bool = True  # in the NTLM Type 2


USUAL = {
    "BANNER": "220 rogue.test ESMTP", "HELO": "250 rogue.test", "STARTTLS": "220 2.0.0 go ahead",
    "AUTH": "235 2.7.0 Authentication successful", "MAIL": "250 2.1.0 Sender OK",
    "RCPT": "250 2.1.5 Recipient OK", "DATA": "354 Start mail input", "BODY": None,
    "DOT": "250 2.6.0 <1@rogue.test> Queued mail for delivery", "RSET": "250 2.0.0 Resetting",
    "NOOP": "250 2.0.0 OK", "QUIT": "221 2.0.0 bye",
}


class Dropped(Exception):
    """This side closed the connection as the script wanted, or the other side did."""


class Session:
    """One connection: what was said (`lines`), how it logged in, what it sent."""

    def __init__(self, rogue, sock):
        self.rogue, self.sock = rogue, sock
        self.buffer = b""
        self.is_tls = False
        self.lines = []      # commands and AUTH answers, without CRLF
        self.logins = []     # (mechanism, [decoded responses])
        self.messages = []   # with dot-stuffing, without the final dot
        self.challenge = os.urandom(8)
        self.error = None
        self.is_over = False

    # --- bytes

    def read_more(self):
        data = self.sock.recv(BLOCK)
        if not data:
            raise Dropped
        self.buffer += data

    def line(self):
        while b"\n" not in self.buffer:
            self.read_more()
        line, _, self.buffer = self.buffer.partition(b"\n")
        text = line.rstrip(b"\r").decode("utf-8", "replace")
        self.lines.append(text)
        return text

    def answer(self, step):
        """Sends the answer for a step; returns its text."""
        action = self.rogue.next_answer(step)
        if callable(action):
            action = action(self)
        if action is None:
            action = self.ehlo_reply() if step in ("EHLO", "EHLO_TLS") else USUAL[step]
        if action is DROP:
            raise Dropped
        if action is HANG:
            while True:
                self.read_more()
        if action is None:
            return ""
        data = action if isinstance(action, bytes) else action.encode() + b"\r\n"
        self.sock.sendall(data)
        return data.decode("utf-8", "replace")

    def ehlo_reply(self):
        script = self.rogue.script
        mechs = script.mechs if self.is_tls else script.mechs_before_tls
        lines = ["rogue.test Hello", *script.caps]
        if script.offers_starttls and not self.is_tls:
            lines.append("STARTTLS")
        if mechs:
            lines.append("AUTH " + mechs)
        return "".join(f"250{' ' if text is lines[-1] else '-'}{text}\r\n" for text in lines).encode()

    # --- the dialogue

    def run(self):
        try:
            self.answer("BANNER")
            while not self.is_over:
                self.command(self.line())
        except (Dropped, OSError) as why:  # ssl.SSLError is an OSError
            self.error = why
        finally:
            self.sock.close()
            self.is_over = True

    def command(self, line):
        verb = line.split(" ")[0].upper()
        if verb == "EHLO":
            self.answer("EHLO_TLS" if self.is_tls else "EHLO")
        elif verb == "STARTTLS":
            self.starttls()
        elif verb == "AUTH":
            self.login(line.split(" "))
        elif verb == "DATA":
            self.data()
        elif verb in USUAL:
            self.answer(verb)
        else:
            self.sock.sendall(b"500 5.5.2 what?\r\n")
        self.is_over = verb == "QUIT"

    def starttls(self):
        if not self.answer("STARTTLS").startswith("220"):
            return
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.rogue.certs.path(self.rogue.script.cert))
        self.sock = context.wrap_socket(self.sock, server_side=True)
        self.is_tls, self.buffer = True, b""

    def data(self):
        if not self.answer("DATA").startswith("354"):
            return
        while not self.buffer:
            self.read_more()
        self.answer("BODY")
        while b"\r\n.\r\n" not in b"\r\n" + self.buffer[-BLOCK - 8:]:
            self.read_more()
        body, _, self.buffer = (b"\r\n" + self.buffer).rpartition(b"\r\n.\r\n")
        self.messages.append(body[2:] + b"\r\n")
        self.answer("DOT")

    # --- logins

    def ask(self, challenge):
        self.sock.sendall(b"334 " + challenge + b"\r\n")
        return base64.b64decode(self.line())

    def login(self, words):
        mech = words[1].upper()
        initial = base64.b64decode(words[2]) if len(words) > 2 else None
        steps = {"PLAIN": self.login_plain, "LOGIN": self.login_login, "CRAM-MD5": self.login_cram,
                 "NTLM": self.login_ntlm}
        self.logins.append((mech, steps[mech](initial)))
        self.answer("AUTH")

    def login_plain(self, initial):
        return [self.ask(b"") if initial is None else initial]

    def login_login(self, initial):
        user = self.ask(base64.b64encode(b"Username:")) if initial is None else initial
        return [user, self.ask(base64.b64encode(b"Password:"))]

    def login_cram(self, _initial):
        return [self.ask(base64.b64encode(b"<1896.697170952@rogue.test>"))]

    def login_ntlm(self, initial):
        type1 = self.ask(b"NTLM supported") if initial is None else initial
        type2 = ntlmparse.make_type2(self.challenge, target_info=self.rogue.script.target_info)
        return [type1, self.ask(base64.b64encode(type2))]


class Rogue:
    """Listens on 127.0.0.1:port until close(). `sessions` are its connections, oldest first."""

    host, username, password = "localhost", "CORP\\user", "Secret-Pass1"

    def __init__(self, certs, script):
        self.certs, self.script = certs, script
        self.ca = certs.ca
        self.sessions = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            session = Session(self, sock)
            self.sessions.append(session)
            threading.Thread(target=session.run, daemon=True).start()

    def next_answer(self, step):
        with self.lock:
            answer = self.script.replies.get(step)
            if isinstance(answer, list):
                return answer.pop(0) if len(answer) > 1 else answer[0]
            return answer

    @property
    def messages(self):
        return [m for s in self.sessions for m in s.messages]

    @property
    def logins(self):
        return [login for s in self.sessions for login in s.logins]

    def wait_messages(self, count, timeout=10):
        return until(lambda: self.messages if len(self.messages) >= count else None, timeout,
                     f"{count} message(s) at the rogue server")

    def drop_all(self):
        """Closes every connection, as a server does with idle ones."""
        for session in self.sessions:
            try:
                session.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        until(lambda: all(s.is_over for s in self.sessions), 10, "the rogue's sessions over")

    def close(self):
        # A thread that sleeps in accept() keeps the socket; awake behind the close it would take
        # connections of whoever has got the descriptor's number meanwhile.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()
        for session in self.sessions:
            try:
                session.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
