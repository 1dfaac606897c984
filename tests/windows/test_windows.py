"""submitd.exe under Wine, in front of the Linux sandbox: what is not the same program as on Linux."""
import hashlib
import os
import re
import signal
import ssl
import struct
import subprocess

import pytest

from harness import expected, windows
from harness.message import assert_arrived, complete
from harness.net import first_refusal, free_port
from harness.upstream import Upstream
from harness.wait import until

ROOT_STORE = r"HKCU\Software\Microsoft\SystemCertificates\ROOT\Certificates"


def run(program, *args):
    return subprocess.run([program, *map(str, args)], capture_output=True, text=True, timeout=60, check=False)


def login_as(server, username, password="Secret-Pass1"):
    return Upstream(port=server.port, ca=server.ca, maildir=server.maildir, username=username, password=password)


# --- a message


def test_a_message_with_ntlm_by_sspi(submitd, sandbox, rcpt):
    server, to = sandbox(), rcpt()
    daemon = submitd(server)
    sent = complete(b"first\r\n..\r\n.dots\r\n\tlast\r\n")
    daemon.send(sent, [to], sender="scanner@corp.example")
    kept = server.one_to(to)
    assert_arrived(sent, kept.data)
    assert (kept.sender, kept.method, kept.user) == ("scanner@corp.example", "NTLM", "CORP\\user")
    event = daemon.wait_event("message")
    assert event["mech"] == "NTLM" and event["tls"] == "TLS1.3" and event["reply"].startswith("250 2.6.0")
    assert daemon.wait_event("upstream_ready")["binding"] == "yes"  # given to SSPI; Wine's leaves it out


@pytest.mark.parametrize("username, password", [
    ("user@CORP", "Secret-Pass1"), ("CORP\\umlaut", "pässwörd €1")])
def test_names_and_passwords(submitd, sandbox, rcpt, username, password):
    server, to = sandbox(), rcpt()
    submitd(login_as(server, username, password), {"upstream": {"auth": "ntlm"}}).send(complete(), [to])
    assert server.one_to(to).method == "NTLM"


def test_a_wrong_password_is_the_servers_word(submitd, sandbox):
    daemon = submitd(login_as(sandbox("--tarpit", "0"), "CORP\\user", "wrong"))
    step, reply = first_refusal(daemon.port)
    assert step == "RCPT" and str(reply).startswith("451 4.7.8") and "535 5.7.3" in str(reply)


# --- whom to trust


@pytest.fixture
def trusted_root(submitd_program, certs):
    """The tests' authority in the root store of the Windows that submitd.exe runs in."""
    assert submitd_program  # it has made the Windows that reg runs in
    der = ssl.PEM_cert_to_DER_cert(certs.ca.read_text(encoding="ascii"))
    sha1 = hashlib.sha1(der).digest()
    # properties, each with its number, 1 and its size: 3 is the SHA-1, 32 the certificate
    blob = b"".join(struct.pack("<III", number, 1, len(data)) + data for number, data in ((3, sha1), (32, der)))
    key = f"{ROOT_STORE}\\{sha1.hex().upper()}"
    reg("add", key, "/v", "Blob", "/t", "REG_BINARY", "/d", blob.hex(), "/f")
    yield certs
    reg("delete", key, "/f")


def reg(*args):
    subprocess.run([windows.WINE, "reg", *args], check=True, capture_output=True, timeout=60)


NO_FILE = {"upstream": {"tls_ca_file": None}}


def test_an_authority_in_the_root_store_is_trusted(submitd, rogue, trusted_root):
    server = rogue()
    daemon = submitd(server, NO_FILE)
    daemon.send(complete(), ["b@example.test"])
    assert daemon.wait_event("upstream_ready")["tls"] == "TLS1.3"


@pytest.mark.parametrize("cert", ["wrong name", "expired", "unknown ca", "self signed"])
def test_the_root_store_does_not_help_a_bad_certificate(submitd, rogue, trusted_root, cert):
    refuses(submitd(rogue(cert=cert.replace(" ", "_"), mechs_before_tls="NTLM LOGIN PLAIN"), NO_FILE), cert)


def test_an_authority_that_windows_does_not_know_is_refused(submitd, rogue):
    daemon = submitd(rogue(cert="good"), NO_FILE)
    reply = str(first_refusal(daemon.port)[1])
    assert reply.startswith("451 4.7.5") and "signed by 'CN=ca', which is not in the system's store" in reply, reply


@pytest.mark.parametrize("cert", ["wrong name", "expired", "unknown ca", "self signed"])
def test_a_bad_certificate_is_refused_with_a_file_of_authorities(submitd, rogue, cert):
    refuses(submitd(rogue(cert=cert.replace(" ", "_"))), cert)


def refuses(daemon, name):
    """451 with the sentence of Linux, the store's name apart."""
    status, sentence = expected.REFUSALS[name]
    step, reply = first_refusal(daemon.port)
    want = f"451 {status} {expected.NOT_NOW}{sentence}".replace(r"\S+/ca\.pem", r"(\S+/ca\.pem|the system's store)")
    assert step == "RCPT" and re.fullmatch(want, str(reply)), f"{reply}\nwanted {want}"


# --- files and commands


def test_paths_beyond_ascii(submitd, sandbox, rcpt, tmp_path, submitd_program):
    folder = tmp_path / "Prüfung € 日本"
    folder.mkdir()
    server, to = sandbox(), rcpt()
    secret = folder / "pässwort"
    secret.write_text("Secret-Pass1\r\n", encoding="utf-8")
    secret.chmod(0o600)
    daemon = submitd(server, {"account": {"password": None, "password_file": secret},
                              "log": {"target": folder / "lög.txt"},
                              "delivery": {"mode": "queue", "on_failure": "spool", "spool": folder / "späool.db"}},
                     start=False)
    daemon.log_file = folder / "lög.txt"
    daemon.config_file = daemon.config_file.rename(folder / "submitd-ä.ini")
    daemon.start()
    daemon.send(complete(), [to])
    assert server.one_to(to).user == "CORP\\user"
    assert (folder / "späool.db").exists()
    listed = run(submitd_program, "queue", "list", "--config", daemon.config_file)
    assert listed.returncode == 0 and "späool.db" in listed.stdout, listed


def test_password_from_a_command(submitd, sandbox, rcpt):
    server, to = sandbox(), rcpt()
    daemon = submitd(server, {"account": {"password": None, "password_command": "echo Secret-Pass1"}})
    daemon.send(complete(), [to])
    assert server.one_to(to).user == "CORP\\user"


def test_a_password_file_that_everyone_can_read_is_refused(submitd, sandbox, tmp_path, submitd_program):
    secret = tmp_path / "secret"
    secret.write_text("Secret-Pass1\n", encoding="utf-8")
    secret.chmod(0o644)
    daemon = submitd(sandbox(), {"account": {"password": None, "password_file": secret}}, start=False)
    checked = run(submitd_program, "check", "--config", daemon.config_file)
    assert checked.returncode == 2
    assert "is open to Everyone; run as administrator: icacls" in checked.stderr, checked.stderr


def test_the_service_account_needs_no_password(submitd, sandbox, submitd_program):
    daemon = submitd(sandbox(), {"account": {"username": "", "password": None}}, start=False)
    checked = run(submitd_program, "check", "--config", daemon.config_file)
    assert checked.returncode == 0 and "username =\n" in checked.stdout, checked
    daemon.write_config({**daemon.sections, "upstream": {**daemon.sections["upstream"], "auth": "login"}})
    refused = run(submitd_program, "check", "--config", daemon.config_file)
    assert refused.returncode == 2 and "set it to ntlm or auto" in refused.stderr, refused


def test_the_log_may_be_moved_away(submitd, sandbox, tmp_path):
    daemon = submitd(sandbox())
    moved = daemon.log_file.rename(tmp_path / "old.log")
    daemon.send(complete(), ["b@example.test"])
    until(lambda: " message " in moved.read_text(encoding="utf-8"), what="the message in the moved log")


def test_a_port_that_is_taken_is_told_with_commands_of_windows(submitd, sandbox, submitd_program):
    server = sandbox()
    daemon = submitd(server)
    other = submitd(server, {"listener": {"port": daemon.port}}, start=False)
    second = run(submitd_program, "run", "--config", other.config_file)
    assert second.returncode == 1 and f"find it with: netstat -ano -p TCP | findstr :{daemon.port}" in second.stderr, second


# --- life


def test_ctrl_c_lets_a_message_end(submitd, sandbox, rcpt):
    server, to = sandbox(), rcpt()
    daemon = submitd(server)
    with daemon.raw() as client:
        client.hello()
        assert client.cmd("MAIL FROM:<a@corp.example>").code == 250
        assert client.cmd(f"RCPT TO:<{to}>").code == 250
        assert client.cmd("DATA").code == 354
        daemon.process.send_signal(signal.SIGINT)
        daemon.wait_event("stopping")
        client.send(complete() + b".\r\n")
        assert client.reply().code == 250
    assert daemon.process.wait(20) == 0
    assert server.one_to(to)


def test_what_is_spooled_survives_the_end_of_the_process(submitd, sandbox, rcpt, tmp_path, submitd_program):
    away, to = free_port(), rcpt()
    server = sandbox()
    daemon = submitd(Upstream(port=away, ca=server.ca, maildir=server.maildir),
                     {"delivery": {"on_failure": "spool", "spool": tmp_path / "spool.db"}})
    _, reply = first_refusal(daemon.port, recipient=to, body=complete())
    assert reply.code == 250 and "queued as" in reply.text, reply
    other = submitd(server, {"delivery": daemon.sections["delivery"]}, start=False)
    second = run(submitd_program, "run", "--config", other.config_file)
    assert second.returncode == 1 and "is in use by process" in second.stderr, second
    os.kill(daemon.process.pid, signal.SIGKILL)
    daemon.process.wait()
    listed = run(submitd_program, "queue", "list", "--config", daemon.config_file)
    assert "1 message" in listed.stdout, listed
    daemon.sections["upstream"]["port"] = server.port
    daemon.write_config(daemon.sections)
    daemon.start()
    assert server.one_to(to).method == "NTLM"


def test_queue_shows_the_message_as_it_is(submitd, sandbox, tmp_path, submitd_program):
    server = sandbox()
    daemon = submitd(Upstream(port=free_port(), ca=server.ca, maildir=server.maildir),
                     {"delivery": {"on_failure": "spool", "spool": tmp_path / "spool.db"}})
    sent = complete(b"one\r\ntwo\r\n")
    _, reply = first_refusal(daemon.port, body=sent)
    number = reply.text.split()[-1]
    shown = subprocess.run([submitd_program, "queue", "show", number, "--message", "--config", daemon.config_file],
                           capture_output=True, timeout=60, check=True)
    assert_arrived(sent, shown.stdout)
