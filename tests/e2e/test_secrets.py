"""No form of a secret is ever in a log, an output, a command line or an environment."""
import base64
import subprocess

import pytest

from harness.message import complete
from harness.net import first_refusal

PASSWORD = "Zeta-Geheim_9$xq"
USERNAME = "CORP\\user"


def b64(data):
    return base64.b64encode(data).decode()


def forms(password, username=USERNAME):
    """The password as a log might betray it."""
    utf8, utf16 = password.encode(), password.encode("utf-16-le")
    plain = b"\0" + username.encode() + b"\0" + utf8
    yield from (password, password[::-1], utf8.hex(), utf16.hex(), b64(utf8), b64(utf16), b64(plain))
    # base64 of it at the other two offsets, the unstable ends cut off
    for secret in (utf8, utf16):
        for shift in (1, 2):
            yield b64(b"x" * shift + secret)[4:-4]


def wire_forms(server):
    """What the server was really sent to log in: whole tokens, and the NTLM response inside them."""
    for mech, responses in server.logins:
        for response in responses[1 if mech in ("NTLM", "LOGIN") else 0:]:
            yield b64(response)
            yield response.hex()
            if mech == "NTLM":
                yield b64(response)[80:160]
                yield response[72:140].hex()
            if mech == "CRAM-MD5":
                yield response.decode().split(" ")[-1]


def assert_clean(text, secrets, where):
    lowered = text.lower()
    for secret in secrets:
        assert len(secret) >= 8 and secret.lower() not in lowered, f"{secret!r} is in {where}"


@pytest.mark.parametrize("mech", ["NTLM", "LOGIN", "PLAIN", "CRAM-MD5"])
@pytest.mark.parametrize("verdict", [None, "535 5.7.3 Authentication unsuccessful"], ids=["accepted", "refused"])
def test_debug_log(submitd, rogue, mech, verdict):
    server = rogue(mechs=mech, replies={"AUTH": verdict})
    server.username, server.password = USERNAME, PASSWORD
    daemon = submitd(server, {"upstream": {"auth": mech.lower()}})
    if verdict:
        assert first_refusal(daemon.port)[1].code == 451
    else:
        daemon.send(complete(), ["b@example.test"])
    daemon.reload({"upstream": {"auth": mech.lower()}})
    daemon.wait_event("reloaded")
    assert server.logins and server.logins[0][0] == mech
    secrets = [*forms(PASSWORD), *wire_forms(server)]
    pid = daemon.process.pid
    for name in ("cmdline", "environ"):
        with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="replace") as f:
            assert_clean(f.read(), secrets, f"/proc/{pid}/{name}")
    daemon.stop()
    text = daemon.everything()
    assert "AUTH " + mech in text and "redacted" in text, "the debug log has the dialogue, without its secrets"
    assert_clean(text, secrets, "the log")


def test_log_at_a_broken_server(submitd, rogue):
    """A server that sends our own credential back in its refusal must not get it into the log."""
    server = rogue(mechs="LOGIN")
    server.password = PASSWORD
    server.script.replies["AUTH"] = f"535 5.7.8 no such password {b64(PASSWORD.encode())}"
    daemon = submitd(server, {"upstream": {"auth": "login"}})
    first_refusal(daemon.port)
    daemon.stop()
    assert_clean(daemon.everything(), [PASSWORD], "the log")


@pytest.mark.parametrize("command", ["check", "doctor"])
def test_output_of_commands(submitd, submitd_program, rogue, command):
    server = rogue(mechs="LOGIN")
    server.password = PASSWORD
    daemon = submitd(server, {"upstream": {"auth": "login"}}, start=False)
    run = subprocess.run([submitd_program, command, "--config", str(daemon.config_file)], capture_output=True,
                         text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert_clean(run.stdout + run.stderr, [*forms(PASSWORD), *wire_forms(server)], command)


def test_configuration_errors_do_not_show_the_password(submitd, submitd_program, rogue):
    daemon = submitd(rogue(), start=False)
    for text in (f"[account]\nusername = u\npasswort = {PASSWORD}\n",
                 f"[account]\npassword = {PASSWORD}\npassword = {PASSWORD}\n",
                 f"password = {PASSWORD}\n", f"[account]\n{PASSWORD}\n",
                 f"[upstream]\nhost = x\n[account]\nusername = u\npassword = {PASSWORD}\n  {PASSWORD}\n"):
        daemon.write_config_text(text)
        run = subprocess.run([submitd_program, "check", "--config", str(daemon.config_file)], capture_output=True,
                             text=True, timeout=20, check=False)
        assert run.returncode == 2, text
        assert_clean(run.stdout + run.stderr, [PASSWORD], "the configuration error")


def test_password_command_is_not_shown_with_its_output(submitd, rogue, tmp_path):
    server = rogue(mechs="LOGIN")
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o600)
    daemon = submitd(server, {"upstream": {"auth": "login"},
                              "account": {"password": None, "password_command": f"cat {secret}"}})
    daemon.send(complete(), ["b@example.test"])
    assert server.logins[0][1][1] == PASSWORD.encode()
    assert_clean(daemon.everything(), forms(PASSWORD), "the log")


def test_no_core_file(submitd, rogue):
    daemon = submitd(rogue())
    with open(f"/proc/{daemon.process.pid}/limits", encoding="ascii") as limits:
        core = next(line.split() for line in limits if line.startswith("Max core file size"))
    assert core[4:6] == ["0", "0"]


def test_the_search_finds_every_form():
    """What assert_clean is worth: each form is found in a line that has it."""
    user, password = USERNAME.encode(), PASSWORD.encode()
    lines = [PASSWORD, b64(password), b64(b"\0" + user + b"\0" + password), b64(b"x" + password + b"y"),
             b64(b"xy" + password), b64(PASSWORD.encode("utf-16-le")), password.hex().upper()]
    for line in lines:
        with pytest.raises(AssertionError):
            assert_clean(f"2026-11-21T22:06:22.123Z debug upstream_smtp line={line}", forms(PASSWORD), "it")
