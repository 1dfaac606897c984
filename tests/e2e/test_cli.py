"""The command line: exit status 0 fine, 1 not fine, 2 usage or configuration; sentences that help."""
import re
import socket
import subprocess

import pytest

from harness.daemon import OWN_USER, ini_text
from harness.message import field_values
from harness.net import free_port

COMMANDS = ["run", "check", "doctor", "queue", "secret", "service", "version"]


@pytest.fixture
def run(submitd_program):
    def call(*args, timeout=30):
        return subprocess.run([submitd_program, *map(str, args)], capture_output=True, text=True, timeout=timeout,
                              check=False)
    return call


@pytest.fixture
def config(tmp_path):
    def write(text, mode=0o600):
        file = tmp_path / "submitd.ini"
        file.write_text(text if isinstance(text, str) else ini_text(text), encoding="utf-8")
        file.chmod(mode)
        return file
    return write


def good(**overrides):
    sections = {"upstream": {"host": "mail.corp.example"},
                "account": {"username": "CORP\\svc", "password": "Hush-Hush-1"},
                "delivery": {"on_failure": "defer"},  # no spool folder needed
                "service": {"user": OWN_USER}}
    sections.update(overrides)
    return sections


# --- usage


def test_version(run):
    result = run("version")
    assert result.returncode == 0 and re.match(r"submitd \d+\.\d+\.\d+", result.stdout) and not result.stderr


@pytest.mark.parametrize("args", [["--help"], *[[c, "--help"] for c in COMMANDS]], ids=" ".join)
def test_help(run, args):
    result = run(*args)
    assert result.returncode == 0 and "submitd" in result.stdout and "--config" in result.stdout


@pytest.mark.parametrize("word", ["install", "start", "status", "nosuch"])
def test_service_is_systemds(run, word):
    result = run("service", word)
    assert result.returncode == 2 and "systemd does that here: systemctl" in result.stderr, result.stderr
    assert result.stderr.count("\n") == 1 and not result.stdout


@pytest.mark.parametrize("args", [[], ["nosuch"], ["run", "--nosuch"], ["check", "--config"], ["check", "extra"],
                                  ["version", "--nosuch"]], ids=" ".join)
def test_bad_usage(run, args):
    result = run(*args)
    assert result.returncode == 2 and result.stderr and not result.stdout
    assert "Traceback" not in result.stderr


def test_unknown_command_names_the_nearest(run):
    assert "check" in run("chekc").stderr


# --- check


def test_check_prints_the_effective_configuration(run, config):
    result = run("check", "--config", config(good()))
    assert result.returncode == 0, result.stderr
    for line in ("host = mail.corp.example", "port = 587", "tls = starttls", "username = CORP\\svc"):
        assert line in result.stdout
    assert "***" in result.stdout and "Hush-Hush-1" not in result.stdout + result.stderr


def test_check_output_is_a_configuration_again(run, config, tmp_path):
    first = run("check", "--config", config(good()))
    text = first.stdout.replace("***", "Hush-Hush-1")
    second = run("check", "--config", config(text))
    assert second.returncode == 0, second.stderr
    assert second.stdout.replace("***", "Hush-Hush-1") == text


# what is wrong: (file, what stderr must say). FILE:LINE must be there in any case.
BROKEN = {
    "unknown key": ("[upstream]\nhots = mail.corp.example\n", 2, r"hots.*host"),
    "unknown section": ("[upsteram]\nhost = x\n", 1, r"upsteram.*upstream"),
    "bad port": ("[upstream]\nhost = x\nport = 70000\n", 3, r"port.*70000.*65535"),
    "bad choice": ("[upstream]\nhost = x\ntls = maybe\n", 3, r"tls.*maybe.*starttls"),
    "bad time": ("[upstream]\nhost = x\nconnect_timeout = soon\n", 3, r"connect_timeout.*soon"),
    "bad network": ("[listener]\nallow = 10.0.0.0/33\n", 2, r"allow.*10\.0\.0\.0/33"),
    "bad address": ("[listener]\naddress = 300.1.1.1\n", 2, r"address.*300\.1\.1\.1"),
    "open listener": ("[listener]\naddress = 0.0.0.0\n", None, r"allow"),
    "tls off elsewhere": ("[upstream]\nhost = mail.corp.example\ntls = off\n", None, r"tls.*loopback|loopback.*tls"),
    "bad pin": ("[upstream]\nhost = x\ntls_pin = sha256:short\n", 3, r"tls_pin"),
    "no value": ("[upstream]\nhost\n", 2, r"."),
    "twice": ("[upstream]\nhost = x\nhost = y\n", 3, r"host"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_configuration_errors(run, config, name):
    text, line, wanted = BROKEN[name]
    account = "[account]\nusername = u\npassword = p-p-p-p\n"
    file = config(text + account)
    result = run("check", "--config", file)
    assert result.returncode == 2 and not result.stdout, result
    where = re.escape(str(file)) + (f":{line}" if line else "")
    problem = next((p for p in result.stderr.splitlines() if re.search(wanted, p)), None)
    assert problem and re.search(where, problem), result.stderr


def test_host_is_mandatory(run, config):
    result = run("check", "--config", config({"account": {"username": "u", "password": "p-p-p-p"}}))
    assert result.returncode == 2 and re.search(r"upstream.*host|host.*upstream", result.stderr)


def test_missing_file(run, tmp_path):
    result = run("check", "--config", tmp_path / "nosuch.ini")
    assert result.returncode == 2 and "nosuch.ini" in result.stderr and "No such file" in result.stderr


def test_file_that_others_can_read(run, config):
    file = config(good(), mode=0o644)
    result = run("check", "--config", file)
    assert result.returncode == 2 and re.search(rf"chmod \S+ {re.escape(str(file))}", result.stderr)


def test_password_file_that_others_can_read(run, config, tmp_path):
    secret = tmp_path / "password"
    secret.write_text("x-x-x-x\n")
    secret.chmod(0o644)
    result = run("check", "--config", config(good(account={"username": "u", "password_file": secret})))
    assert result.returncode == 2 and re.search(rf"chmod \S+ {re.escape(str(secret))}", result.stderr)


def test_all_problems_are_reported_at_once(run, config):
    result = run("check", "--config", config("[upstream]\nport = x\ntls = y\n[listener]\nmax_clients = z\n"))
    assert result.returncode == 2
    assert all(word in result.stderr for word in ("port", "tls", "max_clients"))


def test_run_exits_before_it_opens_a_socket(run, config):
    """One listener would work, another option is wrong: nothing may have been opened."""
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):  # would fail with "in use" when it came to that
        result = run("run", "--config", config(good(
            listener={"address": "127.0.0.1", "port": port}, log={"level": "loud"})))
    assert result.returncode == 2 and "loud" in result.stderr and "in use" not in result.stderr


def test_port_in_use(run, config):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("run", "--config", config(good(listener={"address": "127.0.0.1", "port": port})))
    assert result.returncode == 1
    assert str(port) in result.stderr and "something else listens there" in result.stderr


# --- doctor


def doctor_config(config, server, **upstream):
    return config({"upstream": {"host": server.host, "port": server.port, "tls_ca_file": server.ca, **upstream},
                   "account": {"username": server.username, "password": server.password}})


def test_doctor_walks_all_steps(run, config, shared_sandbox):
    result = run("doctor", "--config", doctor_config(config, shared_sandbox))
    assert result.returncode == 0, result.stdout + result.stderr
    for word in ("localhost", "127.0.0.1", "STARTTLS", "TLS1.3", "NTLM", "SIZE"):
        assert word in result.stdout, word
    assert len(result.stdout.splitlines()) >= 6


def test_doctor_sends_a_message(run, config, shared_sandbox, rcpt):
    to = rcpt("doctor")
    result = run("doctor", "--config", doctor_config(config, shared_sandbox), "--from", "user@corp.example", "--to", to)
    assert result.returncode == 0, result.stdout + result.stderr
    kept = shared_sandbox.one_to(to)
    assert kept.sender == "user@corp.example" and field_values(kept.data, "Subject")


DOCTOR_FAULTS = {
    "no starttls": ({"offers_starttls": False}, {}, "STARTTLS"),
    "expired": ({"cert": "expired"}, {}, "expired"),
    "unknown ca": ({"cert": "unknown_ca"}, {}, "tls_ca_file"),
    "wrong name": ({"cert": "wrong_name"}, {}, "tls_verify_name"),
    "wrong password": ({"replies": {"AUTH": "535 5.7.3 Authentication unsuccessful"}}, {}, "535 5.7.3"),
    "no mechanism": ({"mechs": "GSSAPI"}, {}, "GSSAPI"),
    "dns": ({}, {"host": "nosuch.invalid"}, "nosuch.invalid"),
}


@pytest.mark.parametrize("name", DOCTOR_FAULTS)
def test_doctor_stops_at_the_first_failure(run, config, rogue, name):
    script, upstream, wanted = DOCTOR_FAULTS[name]
    server = rogue(**script)
    result = run("doctor", "--config", doctor_config(config, server, **upstream))
    said = result.stdout + result.stderr
    assert result.returncode == 1 and wanted in said, said


def test_doctor_names_the_right_that_is_missing(run, config, sandbox, rcpt):
    server = sandbox("--send-as")
    result = run("doctor", "--config", doctor_config(config, server), "--from", "boss@corp.example", "--to", rcpt())
    said = result.stdout + result.stderr
    assert result.returncode == 1 and "5.7.60" in said and "Send As" in said


def test_doctor_with_a_broken_configuration(run, config):
    assert run("doctor", "--config", config("[upstream]\nhots = x\n")).returncode == 2
