"""submitd secret protect, and the line it prints at work. Wine's DPAPI protects nothing: only the way is tested here."""
import pytest
from harness.daemon import ini_text
from harness.message import complete
from machine import INI

import smtplib

PASSWORD = "Secret-Pass1"


def protect(windows, password, **kwargs):
    return windows.submitd("secret", "protect", text=password, **kwargs)


def with_lines(lines, upstream, port):
    return ini_text({"listener": {"port": port}, "upstream": {"host": upstream.host, "port": upstream.port,
                    "tls_ca_file": "Z:" + str(upstream.ca).replace("/", "\\")}}) + \
        f"[account]\nusername = {upstream.username}\n{lines}"


@pytest.mark.parametrize("password", ["Secret-Pass1\n", "Secret-Pass1\r\n", "Secret-Pass1", "\ufeffSecret-Pass1\r\n"])
def test_a_protected_password_logs_in(windows, service, exchange, password):
    lines = protect(windows, password).stdout
    assert PASSWORD not in lines and all(len(line) <= 198 for line in lines.splitlines())
    windows.write(INI, with_lines(lines, exchange, service.port))
    service.start()
    with smtplib.SMTP("127.0.0.1", service.port) as client:
        client.sendmail("a@corp.example", ["b@example.test"], complete())
    assert exchange.one_to("b@example.test").method == "NTLM"
    printed = windows.submitd("check").stdout
    assert "\npassword_protected = ***\n" in printed and PASSWORD not in printed


def test_letters_beyond_ascii_survive(windows, service, exchange):
    lines = protect(windows, "pässwörd €1\n").stdout
    text = with_lines(lines, exchange, service.port).replace(exchange.username, "CORP\\umlaut")
    windows.write(INI, text)
    service.start()
    with smtplib.SMTP("127.0.0.1", service.port) as client:
        client.sendmail("a@corp.example", ["b@example.test"], complete())
    assert exchange.one_to("b@example.test").user == "CORP\\umlaut"


def test_two_runs_print_different_lines(windows):
    assert protect(windows, "same\n").stdout != protect(windows, "same\n").stdout


@pytest.mark.parametrize("password, sentence", [("\n", "the password is empty"), ("", "the password is empty"),
                                                ("x" * 5000, "longer than 4096 bytes"),
                                                ("p\0a\0s\0s\0\n\0", "not UTF-8"), (b"p\xe4sswort\n", "not UTF-8")])
def test_what_is_no_password_is_refused(windows, password, sentence):
    run = protect(windows, password, status=None)
    assert run.returncode == 1 and sentence in run.stderr and run.stdout == ""


def test_lines_that_are_not_whole_or_from_elsewhere_are_refused(windows, service, exchange):
    lines = protect(windows, PASSWORD + "\n").stdout
    comment, first, rest = lines.splitlines()
    assert comment.startswith("; for [account]") and rest.startswith("    ")
    for wrong in (f"{first}\n", lines.replace("= A", "= B"), "password_protected = AAAA\n"):
        windows.write(INI, with_lines(wrong, exchange, service.port))
        run = windows.submitd("check", status=2)
        assert "password_protected: was not made on this machine, or some of it is missing" in run.stderr
        assert "AAAA" not in run.stderr


def test_the_file_must_be_closed_to_others(windows, service, exchange):
    windows.write(INI, with_lines(protect(windows, PASSWORD).stdout, exchange, service.port))
    windows.path(INI).chmod(0o644)
    run = windows.submitd("check", status=2)
    assert "every user of this machine could decrypt it" in run.stderr and "icacls" in run.stderr
