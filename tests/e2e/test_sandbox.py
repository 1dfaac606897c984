"""submitd-sandbox by itself: that it says what Exchange says, and refuses what Exchange refuses."""
import json
import re
import signal
import smtplib
import ssl
import subprocess
import time

import ntlmclient
import pytest
import sandboxlib
from sandboxlib import Line, b64

DENIED = "535 5.7.3 Authentication unsuccessful"
WELCOME = "235 2.7.0 Authentication successful"


@pytest.fixture(name="binary", scope="module")
def fixture_binary(request):
    return sandboxlib.program(request.config)


@pytest.fixture(name="box")
def fixture_box(binary, tmp_path):
    """box(*options) starts a sandbox; all are ended, cleanly, behind the test."""
    running = []

    def start(*options):
        directory = tmp_path / f"sandbox{len(running)}"
        directory.mkdir()
        running.append(sandboxlib.Box(binary, directory, *options))
        return running[-1]
    yield start
    for one in running:
        one.stop()


@pytest.fixture(name="line")
def fixture_line():
    """line(box) is a connection; line(box, tls=True) one behind STARTTLS."""
    lines = []

    def connect(box, tls=False, **more):
        lines.append(Line(box, **more))
        banner = lines[-1].reply()
        assert banner.startswith("220 "), banner
        lines[-1].hello()
        if tls:
            lines[-1].start_tls()
        return lines[-1]
    yield connect
    for one in lines:
        one.__exit__()


def words(reply):
    return {text[4:] for text in reply.split("\n")[1:]}


# --- dialogue -------------------------------------------------------------------------------------

def test_offers_only_ntlm_before_tls_and_login_behind_it(box):
    with Line(box()) as client:
        assert client.reply().startswith("220 localhost ")
        before = words(client.hello())
        assert {"AUTH NTLM", "STARTTLS", "SIZE 37748736", "PIPELINING", "DSN", "ENHANCEDSTATUSCODES",
                "8BITMIME", "CHUNKING"} == before
        behind = words(client.start_tls())
        assert behind == before - {"AUTH NTLM", "STARTTLS"} | {"AUTH NTLM LOGIN"}
        assert client.say("QUIT").startswith("221 ")
        assert client.reply() == ""


def test_offers_what_the_options_say(box, line):
    one = box("--auth", "login,plain", "--no-chunking", "--no-pipelining", "--no-8bitmime", "--no-dsn",
              "--smtputf8", "--size", "1000", "--hostname", "mail.corp.example")
    client = line(one)
    reply = client.hello()
    assert words(reply) == {"STARTTLS", "SIZE 1000", "ENHANCEDSTATUSCODES", "SMTPUTF8"}
    assert reply.startswith("250-mail.corp.example")
    assert "AUTH LOGIN PLAIN" in words(client.start_tls())


def test_wants_a_login_before_mail(box, line):
    one = box()
    for tls in (False, True):
        assert line(one, tls=tls).say("MAIL FROM:<a@corp.example>").startswith("530 5.7.57 ")


def test_wants_hello_again_behind_tls(box, line):
    client = line(box())
    client.hello = lambda: None
    client.start_tls()
    assert client.say("MAIL FROM:<a@corp.example>").startswith("503 ")


def test_keeps_a_message_with_how_it_came(box):
    one = box()
    with sandboxlib.smtp(one) as client:
        client.sendmail("scanner@corp.example", ["b@example.test", "c@example.test"],
                        "Subject: one\r\n\r\n.dot\r\nend\r\n", ["body=8bitmime", "ENVID=e1"],
                        ["NOTIFY=NEVER"])
    (envelope, octets), = one.kept(1)
    assert octets == b"Subject: one\r\n\r\n.dot\r\nend\r\n"
    assert envelope["from"] == "scanner@corp.example"
    assert [r["address"] for r in envelope["recipients"]] == ["b@example.test", "c@example.test"]
    assert envelope["recipients"][0]["NOTIFY"] == "NEVER"
    assert envelope["mail_params"]["ENVID"] == "e1" and envelope["mail_params"]["BODY"] == "8BITMIME"
    assert (envelope["account"], envelope["mechanism"]) == ("CORP\\scanner", "LOGIN")
    assert envelope["tls_version"] == "TLS1.3" and "AES" in envelope["tls_cipher"]
    assert envelope["channel_binding"] is False
    assert (envelope["protocol"], envelope["size"], envelope["session"]) == ("DATA", len(octets), 1)
    assert envelope["client_address"] == "127.0.0.1" and envelope["client_port"] > 0


def test_takes_pipelined_bdat(box, line):
    one = box("--tls", "off", "--no-auth")
    client = line(one)
    client.send(b"MAIL FROM:<>\r\nRCPT TO:<b@example.test>\r\nBDAT 5\r\nab\r\n.BDAT 4 LAST\r\n\r\nc\n"
                b"MAIL FROM:<a@b.test>\r\n")
    assert [client.reply()[:3] for _ in range(5)] == ["250"] * 5
    (envelope, octets), = one.kept(1)
    assert octets == b"ab\r\n.\r\nc\r\n"
    assert (envelope["protocol"], envelope["from"], envelope["account"]) == ("BDAT", "", None)
    assert envelope["tls_version"] is None


@pytest.mark.parametrize("name", [b"caf\xe9", "café".encode(), b"under_score", b"[127.0.0.1]"])
def test_an_odd_name_in_ehlo_does_not_stop_mail(box, line, name):
    one = box("--tls", "off", "--no-auth")
    client = line(one)
    client.send(b"EHLO " + name + b"\r\n")
    client.reply()
    assert client.message()[-1].startswith("250")
    one.kept(1)


def test_goes_on_counting_in_a_directory_with_mail(binary, tmp_path):
    for count in (1, 2):
        one = sandboxlib.Box(binary, tmp_path, "--tls", "off", "--no-auth")
        with Line(one) as client:
            client.reply()
            client.hello()
            assert client.message()[-1].startswith("250 2.6.0 ")
        one.kept(count)
        one.stop()


def test_a_message_that_is_given_up_leaves_nothing(box, line):
    one = box("--tls", "off", "--no-auth")
    client = line(one)
    for last in ("RSET", "EHLO client.test", None):
        client.say("MAIL FROM:<a@corp.example>")
        client.say("RCPT TO:<b@example.test>")
        if last:
            assert client.say(last).startswith("250")
    client.say("DATA")
    client.send("half of a")
    client.__exit__()
    assert line(one).message()[-1].startswith("250")
    one.kept(1)
    assert len(list((one.dir / "box" / "mail").iterdir())) == 2


# --- TLS ------------------------------------------------------------------------------------------

def test_implicit_tls(box):
    one = box("--tls", "implicit")
    with Line(one, one.context()) as client:
        assert client.reply().startswith("220 ")
        assert "AUTH NTLM LOGIN" in words(client.hello())
        assert client.login() == WELCOME


def test_an_expired_certificate(box, line):
    client = line(box("--expired"))
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        client.start_tls()


def test_names_in_the_certificate(box, line):
    one = box("--names", "mail.corp.example")
    with pytest.raises(ssl.SSLCertVerificationError, match="localhost"):
        line(one, tls=True)


def test_a_certificate_from_files(binary, box, line, tmp_path):
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert,
                    "-days", "3", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
                   check=True, capture_output=True)
    one = box("--cert", str(cert), "--key", str(key), "--epa")
    assert one.values["CA"] == str(cert)
    client = line(one, tls=True)
    assert client.ntlm(binding=ntlmclient.binding_hash(client.binding())) == WELCOME


def test_plain_text_behind_starttls_is_no_command(box, line):
    client = line(box())
    client.send("STARTTLS\r\nNOOP\r\n")
    alert = b"\x15\x03\x03"
    assert re.fullmatch(rb"220 [^\r\n]*\r\n(" + alert + rb".{4})?", client.file.read(), re.S)


# --- logins ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("user", ["CORP\\scanner", "corp\\SCANNER", "scanner@CORP", "scanner"])
def test_login_takes_every_form_of_the_name(box, line, user):
    assert line(box(), tls=True).login(user) == WELCOME


def test_login_with_the_user_as_initial_response(box, line):
    client = line(box(), tls=True)
    assert client.say("AUTH LOGIN " + b64("CORP\\payroll")) == "334 UGFzc3dvcmQ6"
    assert client.say(b64("Payroll-Pass2")) == WELCOME
    assert client.message()[-1].startswith("250")


@pytest.mark.parametrize("user, password", [
    ("CORP\\scanner", "sandbox-pass1"), ("CORP\\scanner", ""), ("OTHER\\scanner", "Sandbox-Pass1"),
    ("nobody", "Sandbox-Pass1"), ("", "")])
def test_login_refuses(box, line, user, password):
    client = line(box(), tls=True)
    assert client.login(user, password) == DENIED
    assert client.say("MAIL FROM:<a@corp.example>").startswith("530 ")


def test_plain(box, line):
    client = line(box("--auth", "PLAIN"), tls=True)
    assert client.say("AUTH PLAIN " + b64("\0CORP\\scanner\0wrong")) == DENIED
    assert client.say("AUTH PLAIN " + b64("CORP\\payroll\0CORP\\scanner\0Sandbox-Pass1")) == DENIED
    assert client.say("AUTH PLAIN " + b64("no zeros")).startswith("501 ")
    assert client.say("AUTH PLAIN") == "334 "
    assert client.say(b64("\0CORP\\scanner\0Sandbox-Pass1")) == WELCOME


def test_auth_that_is_no_base64_or_unknown_or_cancelled(box, line):
    client = line(box(), tls=True)
    assert client.say("AUTH GSSAPI").startswith("504 5.7.4 ")
    assert client.say("AUTH LOGIN ?").startswith("501 ")
    client.say("AUTH LOGIN")
    assert client.say("*").startswith("501 ")
    client.say("AUTH NTLM")
    assert client.say(b64("no NTLM at all")) == DENIED
    assert client.login() == WELCOME
    assert client.say("AUTH LOGIN").startswith("503 ")


def test_login_is_not_offered_before_tls(box, line):
    assert line(box()).say("AUTH LOGIN").startswith("504 ")


@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize("tls", [True, False])
def test_ntlm(box, line, initial, tls):
    one = box()
    client = line(one, tls=tls)
    assert client.ntlm(initial=initial) == WELCOME
    assert client.message()[-1].startswith("250")
    (envelope, _), = one.kept(1)
    assert (envelope["account"], envelope["mechanism"]) == ("CORP\\scanner", "NTLM")
    assert envelope["channel_binding"] is False


@pytest.mark.parametrize("who", [{"password": "sandbox-pass1"}, {"user": "nobody"}, {"domain": "OTHER"},
                                 {"user": "", "domain": "", "password": ""}])
def test_ntlm_refuses(box, line, who):
    client = line(box(), tls=True)
    assert client.ntlm(**who) == DENIED
    assert client.ntlm() == WELCOME


@pytest.mark.parametrize("epa", [True, False])
@pytest.mark.parametrize("size", [0, 1, 24])
def test_ntlmv1_and_anonymous_are_refused(box, line, epa, size):
    client = line(box(*["--epa"] if epa else []), tls=True)
    assert client.ntlm(response=bytes(range(size))) == DENIED


def test_a_type3_that_was_cut_off_is_refused(box, line):
    client = line(box("--logon-failures", "0"), tls=True)
    whole = ntlmclient.type3(b"NTLMSSP\0\2\0\0\0" + bytes(44), "CORP", "scanner", "x", response=bytes(60))
    for size in (0, 1, 63, 64, len(whole) - 200):
        client.say("AUTH NTLM")
        client.say(b64(ntlmclient.type1()))
        assert client.say(b64(whole[:max(size, 0)])) == DENIED


# --- Extended Protection --------------------------------------------------------------------------

def test_epa_accepts_the_right_binding(box, line):
    one = box("--epa")
    client = line(one, tls=True)
    assert client.ntlm(binding=ntlmclient.binding_hash(client.binding())) == WELCOME
    client.message()
    (envelope, _), = one.kept(1)
    assert envelope["channel_binding"] is True and envelope["channel_binding_verified"] is True


@pytest.mark.parametrize("binding", [
    None, bytes(16), b"0123456789abcdef",
    ntlmclient.binding_hash(ntlmclient.end_point_binding(b"another certificate"))])
def test_epa_refuses_any_other(box, line, binding):
    client = line(box("--epa"), tls=True)
    assert client.ntlm(binding=binding) == DENIED


def test_epa_refuses_ntlm_without_tls(box, line):
    assert line(box("--epa")).say("AUTH NTLM").startswith("535 ")


def test_without_epa_a_binding_is_noted_and_not_checked(box, line):
    one = box()
    client = line(one, tls=True)
    assert client.ntlm(binding=b"0123456789abcdef") == WELCOME
    client.message()
    (envelope, _), = one.kept(1)
    assert envelope["channel_binding"] is True and envelope["channel_binding_verified"] is False


# --- refusals and limits --------------------------------------------------------------------------

def test_tarpit_and_logon_failures(box, line):
    client = line(box("--tarpit", "150", "--logon-failures", "2"), tls=True)
    begin = time.monotonic()
    assert client.login(password="wrong") == DENIED
    assert client.ntlm(password="wrong") == DENIED
    assert time.monotonic() - begin >= 0.3
    assert client.reply().startswith("421 4.7.0 ")
    assert client.reply() == ""


NOT_YOURS = "550 5.7.60 SMTP; Client does not have permissions to send as this sender"


@pytest.mark.parametrize("option, place", [("--send-as", 3), ("--send-as=dot", 3), ("--send-as=mail", 0)])
def test_send_as(box, line, option, place):
    one = box(option)
    client = line(one, tls=True)
    client.login()
    assert client.message(sender="boss@corp.example")[place] == NOT_YOURS
    assert client.message(sender="scanner@any.example")[-1].startswith("250 2.6.0 ")
    assert client.message(sender="")[-1].startswith("250 2.6.0 ")
    one.kept(2)


def test_mailboxes(box, line):
    client = line(box("--send-as=mail", "--mailbox", "CORP\\scanner=scan-*@corp.example",
                      "--mailbox", "corp\\scanner=boss@corp.example"), tls=True)
    client.login()
    assert client.message(sender="Scan-1@corp.example")[-1].startswith("250")
    assert client.message(sender="boss@corp.example")[-1].startswith("250")
    assert client.message(sender="scanner@corp.example") == [NOT_YOURS]


def test_rate_is_per_user_and_minute(box, line):
    one = box("--rate", "2", "--rate-window", "600")
    mine, other = line(one, tls=True), line(one, tls=True)
    mine.login()
    other.login("CORP\\payroll", "Payroll-Pass2")
    begin = time.monotonic()
    for _ in range(2):
        assert mine.message()[-1].startswith("250")
    assert mine.message() == [
        "421 4.4.2 Message submission rate for this client has exceeded the configured limit"]
    assert mine.reply() == ""
    assert other.message(sender="payroll@corp.example")[-1].startswith("250")
    time.sleep(max(0.0, begin + 0.8 - time.monotonic()))
    again = line(one, tls=True)
    again.login()
    assert again.message()[-1].startswith("250")


def test_sessions_per_source(box, line):
    one = box("--sessions", "2")
    first = line(one)
    line(one)
    with Line(one) as third:
        assert third.reply() == ("421 4.3.2 The maximum number of concurrent server connections has exceeded "
                                 "a per-source limit, closing transmission channel")
        assert third.reply() == ""
    first.say("QUIT")
    first.reply()
    line(one)


def test_recipients(box, line):
    one = box("--recipients", "2", "--tls", "off", "--no-auth", "--reject-rcpt", "no*@*", "--defer-rcpt",
              "later@*")
    client = line(one)
    client.say("MAIL FROM:<a@corp.example>")
    assert client.say("RCPT TO:<nobody@example.test>").startswith("550 5.1.1 User unknown")
    assert client.say("RCPT TO:<later@example.test>").startswith("451 4.")
    assert client.say("RCPT TO:<b@example.test>").startswith("250 2.1.5 ")
    assert client.say("RCPT TO:<c@example.test>").startswith("250 2.1.5 ")
    assert client.say("RCPT TO:<d@example.test>").startswith("452 4.5.3 ")
    client.say("DATA")
    assert client.say("x\r\n.").startswith("250")
    (envelope, _), = one.kept(1)
    assert [r["address"] for r in envelope["recipients"]] == ["b@example.test", "c@example.test"]


def test_size(box, line):
    one = box("--size", "1000", "--tls", "off", "--no-auth")
    client = line(one)
    assert client.say("MAIL FROM:<a@corp.example> SIZE=1001").startswith("552 5.3.4 ")
    assert client.message(text="x" * 998 + "\r\n")[-1].startswith("250")
    assert client.message(text="x" * 999 + "\r\n")[-1].startswith("552 5.3.4 ")
    assert client.message()[-1].startswith("250")
    one.kept(2)


def test_latency_delays_every_reply(box):
    with Line(box("--latency", "80", "--tls", "off", "--no-auth")) as client:
        begin = time.monotonic()
        assert client.reply().startswith("220")
        client.hello()
        assert client.message()[-1].startswith("250")
        assert client.say("QUIT").startswith("221")
        assert time.monotonic() - begin >= 7 * 0.08


def test_latency_with_tls(box, line):
    client = line(box("--latency", "30"), tls=True)
    assert client.ntlm() == WELCOME


TIMED_OUT = "421 4.4.1 Connection timed out"


def test_idle(box, line):
    one = box("--idle", "200")
    client, body = line(one), line(one, tls=True)
    body.login()
    body.say("MAIL FROM:<scanner@corp.example>")
    assert client.reply() == TIMED_OUT
    assert client.reply() == ""
    assert body.reply() == TIMED_OUT
    assert body.reply() == ""


def test_idle_in_the_middle_of_a_message_and_of_a_handshake(box, line):
    one = box("--idle", "200")
    body, handshake = line(one, tls=True), line(one)
    body.login()
    for step in ("MAIL FROM:<scanner@corp.example>", "RCPT TO:<b@example.test>", "DATA"):
        body.say(step)
    handshake.say("STARTTLS")
    assert body.reply()[:4] in ("421 ", "")
    assert body.reply() == ""
    assert handshake.socket.recv(100) == b""


def test_die_idle(box, line):
    client = line(box("--die-idle", "150"))
    assert client.reply() == ""


def test_session_age(box, line):
    client = line(box("--session-age", "300", "--tls", "off", "--no-auth"))
    client.say("MAIL FROM:<a@corp.example>")
    for _ in range(5):
        time.sleep(0.1)
        assert client.say("NOOP").startswith("250")
    client.say("RSET")
    assert client.reply() == TIMED_OUT
    assert client.reply() == ""


@pytest.mark.parametrize("keep", [True, False])
def test_drop_after_dot(box, line, keep):
    one = box("--drop-after-dot", "2", "--tls", "off", "--no-auth", *["--keep-dropped"] if keep else [])
    client = line(one)
    assert client.message()[-1].startswith("250")
    assert client.message()[-1] == ""
    one.kept(2 if keep else 1)


# --- the process ----------------------------------------------------------------------------------

def test_counters(box, line):
    one = box("--discard")
    with sandboxlib.smtp(one) as client:
        client.sendmail("scanner@corp.example", "b@example.test", "x\r\n")
    line(one, tls=True).ntlm(password="wrong")
    wanted = {"messages": 1, "octets": 3, "sessions": 2, "logins": 1, "refused_logins": 1}
    assert one.counters() == wanted
    assert one.values["MAILDIR"] == ""
    out, _ = one.stop()
    assert json.loads(out) == wanted


def test_ends_cleanly_with_open_sessions(box, line):
    one = box()
    idle, busy = line(one), line(one, tls=True)
    busy.login()
    for step in ("MAIL FROM:<scanner@corp.example>", "RCPT TO:<b@example.test>", "DATA"):
        busy.say(step)
    one.process.send_signal(signal.SIGINT)
    assert one.process.wait(10) == 0
    assert idle.reply().startswith("421 ")


def test_trace_keeps_logins_out(box, line):
    one = box("--trace")
    client = line(one, tls=True)
    client.login()
    client = line(one, tls=True)
    client.ntlm(password="wrong")
    _, err = one.stop()
    assert "AUTH LOGIN" in err and "NTLM: " in err
    for secret in ("Sandbox-Pass1", b64("Sandbox-Pass1"), "TlRMTVNTUAADAAAA"):
        assert secret not in err


def test_the_default_account(binary, tmp_path):
    command = [binary, "--listen", "127.0.0.1:0", "--dir", str(tmp_path / "a dir")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=sandboxlib.environment(tmp_path)) as process:
        ready = process.stdout.readline()
        assert f"MAILDIR='{tmp_path}/a dir/mail'" in ready
        assert (tmp_path / "a dir" / "users").read_text() == "CORP:scanner:Sandbox-Pass1\n"
        process.terminate()
        assert "CORP:scanner:Sandbox-Pass1" in process.stderr.read()
    assert process.returncode == 0


@pytest.mark.parametrize("options, says", [
    (["--listen", "0.0.0.0:0"], "--any"),
    (["--listen", "localhost"], "not ADDRESS:PORT"),
    (["--listen", "127.0.0.1:65536"], "not ADDRESS:PORT"),
    (["--size", "many"], "--size: 'many'"),
    (["--size", "-1"], "--size: '-1'"),
    (["--size", "1000000000000"], "at most 12 digits"),
    (["--tls", "no"], "--tls: 'no'"),
    (["--send-as=never"], "--send-as: 'never'"),
    (["--auth", "NTLM GSSAPI"], "--auth: 'GSSAPI'"),
    (["--cert", "x"], "belong together"),
    (["--epa", "--tls", "off"], "--epa needs TLS"),
    (["--mailbox", "nobody=x@y"], "--mailbox: 'nobody=x@y'"),
    (["--users", "/nonexistent/users"], "/nonexistent/users"),
    (["--users", "/dev/null"], "no account"),
    (["--nonsense"], "--nonsense"),
    (["more"], "'more'"),
])
def test_a_wrong_option_is_named(binary, tmp_path, options, says):
    run = subprocess.run([binary, "--listen", "127.0.0.1:0", "--dir", str(tmp_path), *options],
                         capture_output=True, text=True, timeout=10, check=False)
    assert run.returncode == 2 and says in run.stderr, run
    assert run.stdout == ""


@pytest.mark.parametrize("text", ["CORP:scanner", "CORP:scanner:", "CORP::secret", "CORP:scanner:sec:ret"])
def test_a_wrong_line_among_the_users_is_named(binary, tmp_path, text):
    users = tmp_path / "accounts"
    users.write_text(f"# users\n{text}\n")
    run = subprocess.run([binary, "--dir", str(tmp_path), "--users", str(users)], capture_output=True, text=True,
                         timeout=10, check=False)
    assert run.returncode == 2 and f"{users}:2: want DOMAIN:user:password" in run.stderr, run
    assert "sec" not in run.stderr


def test_help(binary):
    run = subprocess.run([binary, "--help"], capture_output=True, text=True, check=True)
    assert "--drop-after-dot=N" in run.stdout and "--send-as[=WHICH]" in run.stdout


def test_smtplib_reports_a_refused_login(box):
    one = box()
    with smtplib.SMTP("localhost", one.port, timeout=10) as client:
        client.starttls(context=one.context())
        with pytest.raises(smtplib.SMTPAuthenticationError) as caught:
            client.login("CORP\\scanner", "wrong")
    assert caught.value.smtp_code == 535
