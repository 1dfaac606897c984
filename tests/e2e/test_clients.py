"""Unmodified programs and libraries that people send mail with, each through submitd to the sandbox."""
import email
import email.policy
import shutil
import subprocess
from pathlib import Path

import pytest

CLIENTS = Path(__file__).parent / "clients"
ATTACHMENT = bytes(range(256)) * 40
TEXT = "Grüße\n.\n..dots\nlast line"

# name: (program that must be there, command). They get HOST PORT FROM TO ATTACHMENT as arguments.
COMMANDS = {
    "smtplib": ("/usr/bin/python3", ["/usr/bin/python3", CLIENTS / "send.py"]),
    "swaks": ("swaks", [CLIENTS / "send_swaks"]),
    "curl": ("curl", [CLIENTS / "send_curl"]),
    "ruby": ("ruby", ["ruby", CLIENTS / "send.rb"]),
    "perl": ("perl", ["perl", CLIENTS / "send.pl"]),
    "nodemailer": ("node", ["node", CLIENTS / "send.js"]),
    "phpmailer": ("php", ["php", CLIENTS / "send.php"]),
}


@pytest.fixture(scope="module")
def relay(submitd_program, shared_sandbox, tmp_path_factory):
    from harness.daemon import Submitd
    daemon = Submitd(submitd_program, tmp_path_factory.mktemp("submitd"), shared_sandbox).start()
    yield daemon
    daemon.stop()


@pytest.mark.parametrize("name", COMMANDS)
def test_client(relay, shared_sandbox, rcpt, tmp_path, name):
    needed, command = COMMANDS[name]
    assert shutil.which(needed), f"{needed} is missing: tools/install-packages test"
    attachment, to = tmp_path / "scan.bin", rcpt()
    attachment.write_bytes(ATTACHMENT)
    run = subprocess.run([*command, "127.0.0.1", str(relay.port), "scanner@corp.example", to, attachment],
                         capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    kept = shared_sandbox.one_to(to)
    assert (kept.sender, kept.recipients, kept.method) == ("scanner@corp.example", (to,), "NTLM")
    message = email.message_from_bytes(kept.data, policy=email.policy.default)
    assert message["Subject"] == f"scan by {name}"
    assert message["Received"] and message["Date"] and message["Message-ID"] and not message["Bcc"]
    parts = list(message.walk())
    text = next(p for p in parts if p.get_content_type() == "text/plain")
    assert text.get_payload(decode=True).decode().replace("\r\n", "\n").rstrip("\n") == TEXT
    scan = next(p for p in parts if p.get_filename() == "scan.bin")
    assert scan.get_payload(decode=True) == ATTACHMENT
