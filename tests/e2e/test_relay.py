"""A message from an unmodified client arrives at a real, NTLM-authenticated server; only the repairs differ."""
import email.utils
import smtplib
import time

import ntlmparse
import pytest

from harness.message import assert_arrived, complete, field_values, header_fields
from harness.net import Reply
from harness.upstream import Upstream
from harness.wait import until

MEGABYTE = 1024 * 1024


def login_as(server, username, password="Secret-Pass1"):
    return Upstream(port=server.port, ca=server.ca, maildir=server.maildir, username=username,
                    password=password)


# --- the three servers


def test_ntlm_to_postfix_and_dovecot(submitd, postfix_dovecot, rcpt):
    daemon, to = submitd(postfix_dovecot), rcpt()
    sent = complete(b"first\r\n..\r\n.dots\r\n\tlast\r\n")
    daemon.send(sent, [to], sender="scanner@corp.example")
    kept = postfix_dovecot.one_to(to)
    assert_arrived(sent, kept.data)
    assert (kept.sender, kept.method, kept.user) == ("scanner@corp.example", "NTLM", "user@corp")
    event = daemon.wait_event("message")
    assert event["from"] == "scanner@corp.example" and event["client"] == "127.0.0.1"
    assert to in event["to"] and event["mech"] == "NTLM" and event["tls"] == "TLS1.3"
    assert event["account"] == "default" and event["reply"].startswith("250 2.0.0")
    assert int(event["size"]) > 0 and int(event["ms"]) >= 0
    assert not daemon.events("channel_binding_left_out")


def test_ntlm_without_target_information(submitd, postfix_cyrus, rcpt):
    """Cyrus SASL's Type 2 carries no target information: no place for the channel binding, and we say so."""
    daemon, to = submitd(postfix_cyrus, {"upstream": {"auth": "ntlm"}}), rcpt()
    daemon.send(complete(), [to])
    kept = postfix_cyrus.one_to(to)
    assert_arrived(complete(), kept.data)
    assert kept.method == "NTLM"
    assert daemon.wait_event("channel_binding_left_out").level == "warning"


def test_ntlm_with_extended_protection(submitd, shared_sandbox, rcpt):
    daemon, to = submitd(shared_sandbox), rcpt()
    daemon.send(complete(), [to])
    kept = shared_sandbox.one_to(to)
    assert_arrived(complete(), kept.data)
    assert (kept.method, kept.user) == ("NTLM", "CORP\\user")
    assert kept.extra["channel_binding"] and kept.extra["channel_binding_verified"]
    assert daemon.wait_event("upstream_ready")["binding"] == "yes"


def test_type3_proof_and_channel_binding(submitd, rogue, certs):
    """Computed here from the specification, independently of any NTLM library."""
    server = rogue()
    submitd(server).send(complete(), ["b@example.test"])
    mech, (_, token) = server.logins[0]
    type3 = ntlmparse.parse_type3(token)
    assert mech == "NTLM" and type3.is_v2 and not any(type3.lm)
    assert (type3.domain, type3.user) == ("CORP", "user")
    assert type3.channel_binding == ntlmparse.binding_of_certificate(certs.path("good").read_text())
    assert ntlmparse.proof_is_right(type3, server.sessions[0].challenge, "Secret-Pass1")


@pytest.mark.parametrize("auth, method", [
    ("auto", "NTLM"), ("ntlm", "NTLM"), ("login", "LOGIN"), ("plain", "PLAIN"), ("cram-md5", "CRAM-MD5")])
def test_mechanisms(submitd, postfix_dovecot, rcpt, auth, method):
    username = "CORP\\user" if method == "NTLM" else "user"
    daemon, to = submitd(login_as(postfix_dovecot, username), {"upstream": {"auth": auth}}), rcpt()
    daemon.send(complete(), [to])
    assert postfix_dovecot.one_to(to).method == method
    assert daemon.wait_event("message")["mech"] == method


@pytest.mark.parametrize("username", ["CORP\\user", "user@CORP", "user"])
def test_user_name_forms(submitd, postfix_dovecot, rcpt, username):
    daemon, to = submitd(login_as(postfix_dovecot, username), {"upstream": {"auth": "ntlm"}}), rcpt()
    daemon.send(complete(), [to])
    assert postfix_dovecot.one_to(to).method == "NTLM"


@pytest.mark.parametrize("auth, username", [("ntlm", "CORP\\umlaut"), ("login", "umlaut"), ("plain", "umlaut"),
                                            ("cram-md5", "umlaut")])
def test_password_beyond_ascii(submitd, postfix_dovecot, rcpt, auth, username):
    server = login_as(postfix_dovecot, username, "pässwörd €1")
    daemon, to = submitd(server, {"upstream": {"auth": auth}}), rcpt()
    daemon.send(complete(), [to])
    assert postfix_dovecot.one_to(to).user.startswith("umlaut")


@pytest.mark.parametrize("source", ["file", "command"])
def test_password_from_elsewhere(submitd, shared_sandbox, rcpt, tmp_path, source):
    secret = tmp_path / "password"
    secret.write_text("Secret-Pass1\n")
    secret.chmod(0o600)
    where = {"password_file": secret} if source == "file" else {"password_command": f"cat {secret}"}
    daemon, to = submitd(shared_sandbox, {"account": {"password": None, **where}}), rcpt()
    daemon.send(complete(), [to])
    assert shared_sandbox.one_to(to).user == "CORP\\user"


def test_password_from_systemd_credential(submitd, shared_sandbox, rcpt, tmp_path):
    """A relative password_file is looked for in $CREDENTIALS_DIRECTORY."""
    (tmp_path / "svc-mail").write_text("Secret-Pass1\n")
    (tmp_path / "svc-mail").chmod(0o400)
    daemon = submitd(shared_sandbox, {"account": {"password": None, "password_file": "svc-mail"}},
                     env={"CREDENTIALS_DIRECTORY": str(tmp_path)})
    to = rcpt()
    daemon.send(complete(), [to])
    assert shared_sandbox.one_to(to).user == "CORP\\user"


def test_implicit_tls(submitd, sandbox, rcpt):
    server, to = sandbox("--tls", "implicit"), rcpt()
    submitd(server, {"upstream": {"tls": "implicit"}}).send(complete(), [to])
    assert server.one_to(to).extra["tls_version"] == "TLS1.3"


def test_plain_text_to_loopback_without_login(submitd, sandbox, rcpt):
    server, to = sandbox("--tls", "off", "--no-auth"), rcpt()
    daemon = submitd(server, {"account": None, "upstream": {
        "host": "127.0.0.1", "tls": "off", "auth": "none", "tls_ca_file": None}})
    daemon.send(complete(), [to])
    assert_arrived(complete(), server.one_to(to).data)
    assert daemon.wait_event("message")["tls"] == "none"


# --- bodies, byte for byte, through DATA and BDAT, at Postfix and at the sandbox

BODIES = {
    "dots": b".\r\n..\r\n...\r\n.a\r\na.\r\n",
    "empty lines": b"\r\n\r\n\r\n",
    "8 bit": bytes(range(128, 256)) + b"\r\n",
    "control octets": bytes(b for b in range(1, 32) if b not in b"\r\n") + b"\r\n",
    "line of 998": b"x" * 998 + b"\r\n",
    "line of 100000": b"y" * 100_000 + b"\r\n",
    "blanks at line ends": b"a \r\n\t\r\n \r\n",
    "many short lines": b"z\r\n" * 50_000,
    "looks like commands": b"QUIT\r\nRSET\r\nMAIL FROM:<x@y>\r\n",
    "signed": b"This is signed.  \r\n-- \r\n\r\n.\t\r\nFrom the start\r\n>From\r\n" * 20,
}


@pytest.fixture(scope="module", params=["auto", "no"])
def both_ways(request, submitd_program, tmp_path_factory, postfix_dovecot, shared_sandbox):
    """Daemons to both servers, once with BDAT (chunking = auto), once with DATA."""
    from harness.daemon import Submitd
    sections = {"upstream": {"chunking": request.param}}
    pairs = [(Submitd(submitd_program, tmp_path_factory.mktemp("submitd"), server, sections).start(), server)
             for server in (postfix_dovecot, shared_sandbox)]
    for daemon, _ in pairs:
        daemon.wait_event("upstream_ready")  # from then on the upstream's extensions are offered
    yield pairs, "BDAT" if request.param == "auto" else "DATA"
    for daemon, _ in pairs:
        daemon.stop()


@pytest.mark.parametrize("name", BODIES)
def test_body_is_exact(both_ways, rcpt, name):
    pairs, protocol = both_ways
    sent = complete(BODIES[name])
    for daemon, server in pairs:
        to = rcpt()
        daemon.send(sent, [to], options=["BODY=8BITMIME"])
        kept = server.one_to(to)
        assert_arrived(sent, kept.data)
        assert kept.extra.get("protocol", protocol) == protocol


def test_20_megabytes(both_ways, rcpt):
    line = b"0123456789abcdef" * 4 + b"\r\n"
    sent = complete(line * (20 * MEGABYTE // len(line)))
    for daemon, server in both_ways[0]:
        to = rcpt()
        daemon.send(sent, [to])
        assert_arrived(sent, server.one_to(to, timeout=60).data)


@pytest.mark.parametrize("wire, arrives", [
    (b"a\nb\r\n", b"a\r\nb\r\n"), (b"a\rb\r\n", b"a\r\nb\r\n"), (b"a\r\r\nb\r\n", b"a\r\n\r\nb\r\n"),
    (b"a\n\r\nb\r\n", b"a\r\n\r\nb\r\n"), (b"a\n..b\r\n", b"a\r\n.b\r\n")])
def test_bare_line_ends_are_repaired(both_ways, rcpt, wire, arrives):
    for daemon, server in both_ways[0]:
        to = rcpt()
        with daemon.raw() as client:
            client.hello()
            client.send(f"MAIL FROM:<a@corp.example>\r\nRCPT TO:<{to}>\r\nDATA\r\n")
            assert [r.code for r in client.replies(3)] == [250, 250, 354]
            client.send(complete(wire) + b".\r\n")
            assert client.reply().code == 250
        assert_arrived(complete(arrives), server.one_to(to).data)


# --- the header's repairs


def test_received_line(submitd, shared_sandbox, rcpt):
    daemon, to = submitd(shared_sandbox), rcpt()
    daemon.send(complete(), [to])
    kept = shared_sandbox.one_to(to)
    received = field_values(kept.data, "Received")
    assert len(received) == 1
    trace, _, date = received[0].rpartition(";")
    assert trace.startswith("from client.example ([127.0.0.1])") and " by " in trace and "with ESMTP" in trace
    assert f"id {daemon.wait_event('message')['id']}" in trace
    assert abs(email.utils.parsedate_to_datetime(date.strip()).timestamp() - time.time()) < 60


def test_date_and_message_id_are_added_when_missing(submitd, shared_sandbox, rcpt):
    daemon, to = submitd(shared_sandbox), rcpt()
    sent = b"From: a@corp.example\r\nSubject: bare\r\n\r\nbody\r\n"
    daemon.send(sent, [to])
    kept = shared_sandbox.one_to(to)
    assert_arrived(sent, kept.data, added=("Date", "Message-ID"))
    assert abs(email.utils.parsedate_to_datetime(field_values(kept.data, "Date")[0]).timestamp() - time.time()) < 60
    message_id = field_values(kept.data, "Message-ID")[0]
    assert message_id.startswith("<") and message_id.endswith(">") and "@" in message_id


def test_bcc_is_removed(submitd, shared_sandbox, rcpt):
    daemon, to = submitd(shared_sandbox), rcpt()
    daemon.send(complete(extra=b"Bcc: hidden@example.test,\r\n more@example.test\r\nX-Last: 1\r\n"), [to])
    assert_arrived(complete(extra=b"X-Last: 1\r\n"), shared_sandbox.one_to(to).data)


@pytest.mark.parametrize("sent", [b"\r\n", b"\r\nonly a body\r\n", b"Subject: only a header\r\n", b""],
                         ids=["empty line", "no header", "no body", "nothing"])
def test_smallest_messages(submitd, shared_sandbox, rcpt, sent):
    daemon, to = submitd(shared_sandbox), rcpt()
    with daemon.raw() as client:
        client.hello()
        client.send(f"MAIL FROM:<a@corp.example>\r\nRCPT TO:<{to}>\r\nDATA\r\n")
        client.replies(3)
        client.send(sent + b".\r\n")
        assert client.reply().code == 250
    kept = shared_sandbox.one_to(to)
    fields, rest = header_fields(kept.data)
    names = [f.partition(b":")[0].lower() for f in fields]
    assert names[0] == b"received" and {b"date", b"message-id"} <= set(names)
    if sent.startswith(b"\r\n"):
        assert rest == sent
    else:
        assert rest in (b"", b"\r\n") and b"".join(fields).endswith(sent)


def test_mail_loop_is_refused(submitd, shared_sandbox, rcpt):
    daemon = submitd(shared_sandbox)
    hops = b"".join(b"Received: from h%d by h%d; Sat, 21 Nov 2026 22:06:22 +0000\r\n" % (i, i + 1) for i in range(30))
    with pytest.raises(smtplib.SMTPDataError) as refused:
        daemon.send(hops + complete(), [rcpt()])
    assert refused.value.smtp_code == 554 and b"5.4.6" in refused.value.smtp_error


# --- envelopes


def test_some_recipients_are_refused(submitd, postfix_dovecot, rcpt):
    daemon, good, bad = submitd(postfix_dovecot), [rcpt(), rcpt()], rcpt("refused-")
    refused = daemon.send(complete(), [good[0], bad, good[1]])
    assert list(refused) == [bad] and refused[bad][0] == 550
    assert refused[bad][1].startswith(b"5.1.1"), "the upstream's own words"
    assert set(postfix_dovecot.one_to(good[0]).recipients) == set(good)


def test_all_recipients_are_refused(submitd, shared_sandbox, sandbox):
    server = sandbox("--reject-rcpt", "no-*@*")
    daemon = submitd(server)
    with daemon.raw() as client:
        client.hello()
        client.send(b"MAIL FROM:<a@corp.example>\r\nRCPT TO:<no-1@example.test>\r\n"
                    b"RCPT TO:<no-2@example.test>\r\nDATA\r\n")
        replies = client.replies(4)
        assert [r.code for r in replies[:3]] == [250, 550, 550] and replies[3].code in (503, 554), replies
        # the session goes on
        client.send(b"RSET\r\nMAIL FROM:<a@corp.example>\r\nRCPT TO:<yes@example.test>\r\nDATA\r\n")
        assert [r.code for r in client.replies(4)] == [250, 250, 250, 354]
        client.send(complete() + b".\r\n")
        assert client.reply().code == 250


def test_deferred_recipient_keeps_the_upstreams_words(submitd, sandbox):
    server = sandbox("--defer-rcpt", "later@*")
    with submitd(server).raw() as client:
        client.hello()
        client.cmd("MAIL FROM:<a@corp.example>")
        reply = client.cmd("RCPT TO:<later@example.test>")
        assert reply.code == 451 and reply.text.startswith("4.3.0")


def test_sender_refused_after_the_dot_keeps_the_upstreams_words(submitd, sandbox, rcpt):
    """Exchange refuses a sender without the SendAs right only after the message."""
    server = sandbox("--send-as")
    daemon = submitd(server)
    with pytest.raises(smtplib.SMTPDataError) as refused:
        daemon.send(complete(), [rcpt()], sender="boss@corp.example")
    assert refused.value.smtp_code == 550 and refused.value.smtp_error.startswith(b"5.7.60")
    daemon.send(complete(), [rcpt()], sender="user@corp.example")


def test_recipient_limit_of_the_upstream(submitd, sandbox, rcpt):
    server = sandbox("--recipients", "2")
    refused = submitd(server).send(complete(), [rcpt(), rcpt(), "third@example.test"])
    assert refused["third@example.test"][0] == 452 and refused["third@example.test"][1].startswith(b"4.5.3")


def test_null_sender(submitd, shared_sandbox, rcpt):
    daemon, to = submitd(shared_sandbox), rcpt()
    daemon.send(complete(), [to], sender="")
    assert shared_sandbox.one_to(to).sender == ""


def test_parameters_reach_the_upstream(submitd, shared_sandbox, rcpt):
    daemon, to = submitd(shared_sandbox), rcpt()
    daemon.wait_event("upstream_ready")
    with daemon.raw() as client:
        offers = client.hello().text.split("\n")
        assert {"PIPELINING", "8BITMIME", "DSN", "SMTPUTF8", "ENHANCEDSTATUSCODES"} <= set(offers)
        assert client.cmd("MAIL FROM:<a@corp.example> BODY=8BITMIME RET=HDRS ENVID=QQ314159").code == 250
        assert client.cmd(f"RCPT TO:<{to}> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;{to}").code == 250
        assert client.cmd("DATA").code == 354
        client.send(complete() + b".\r\n")
        assert client.reply().code == 250
    facts = shared_sandbox.one_to(to).extra
    params = facts["mail_params"]
    assert (params["BODY"], params["RET"], params["ENVID"]) == ("8BITMIME", "HDRS", "QQ314159")
    assert facts["recipients"][0]["NOTIFY"] == "SUCCESS,DELAY"
    assert facts["recipients"][0]["ORCPT"] == f"rfc822;{to}"


def test_international_addresses(submitd, shared_sandbox, rcpt):
    daemon = submitd(shared_sandbox)
    daemon.wait_event("upstream_ready")
    to = rcpt("zoë-")
    with daemon.raw() as client:
        client.hello()
        assert client.cmd("MAIL FROM:<jürgen@corp.example> SMTPUTF8 BODY=8BITMIME").code == 250
        assert client.cmd(f"RCPT TO:<{to}>").code == 250
        client.cmd("DATA")
        client.send(complete(extra="X-Name: Jürgen\r\n".encode()) + b".\r\n")
        assert client.reply().code == 250
    kept = shared_sandbox.one_to(to)
    assert kept.sender == "jürgen@corp.example" and kept.extra["mail_params"]["SMTPUTF8"]
    assert "with UTF8SMTP" in field_values(kept.data, "Received")[0]


def test_extensions_follow_the_upstream(submitd, sandbox):
    """What the upstream does not have is not offered, and not accepted."""
    server = sandbox("--no-dsn", "--no-8bitmime", "--no-chunking")
    daemon = submitd(server)
    daemon.wait_event("upstream_ready")
    with daemon.raw() as client:
        offers = {line.split(" ")[0] for line in client.hello().text.split("\n")}
        assert not offers & {"DSN", "8BITMIME", "SMTPUTF8", "STARTTLS", "AUTH"}
        assert client.cmd("MAIL FROM:<jürgen@corp.example> SMTPUTF8").code in (550, 555)


def test_size_is_the_smaller_one(submitd, sandbox):
    server = sandbox("--size", "5000")
    daemon = submitd(server)
    daemon.wait_event("upstream_ready")
    with daemon.raw() as client:
        assert "SIZE 5000" in client.hello().text.split("\n")
        reply = client.cmd("MAIL FROM:<a@corp.example> SIZE=5001")
        assert reply.code == 552 and reply.text.startswith("5.3.4")
    ours = submitd(server, {"listener": {"max_message_size": 4000}})
    ours.wait_event("upstream_ready")
    with ours.raw() as client:
        assert "SIZE 4000" in client.hello().text.split("\n")
        reply = client.cmd("MAIL FROM:<a@corp.example> SIZE=4001")
        assert reply.code == 552 and reply.text.startswith("5.3.4")


@pytest.mark.parametrize("theirs, ours", [([], {"max_message_size": 4000}), (["--size", "4000"], {})],
                         ids=["our limit", "the upstream's"])
def test_size_is_enforced_at_the_dot(submitd, sandbox, rcpt, theirs, ours):
    server, to = sandbox(*theirs), rcpt()
    daemon = submitd(server, {"listener": ours})
    daemon.wait_event("upstream_ready")
    with daemon.raw() as client:
        client.hello()
        client.send(f"MAIL FROM:<a@corp.example>\r\nRCPT TO:<{to}>\r\nDATA\r\n")
        client.replies(3)
        client.send(complete(b"x" * 70 + b"\r\n") + b"y" * 5000 + b"\r\n.\r\n")
        reply = client.reply()
        assert reply.code == 552 and reply.text.startswith("5.3.4")
        client.send(f"MAIL FROM:<a@corp.example>\r\nRCPT TO:<{to}>\r\nDATA\r\n")
        assert [r.code for r in client.replies(3)] == [250, 250, 354], "the session goes on"
        client.send(complete() + b".\r\n")
        assert client.reply().code == 250
    assert_arrived(complete(), server.one_to(to).data)
    assert "max_message_size, or than the upstream takes" in daemon.wait_event("message_refused")["reason"]


def test_upstream_size_refusal_at_the_dot_is_passed_on(submitd, sandbox, rcpt):
    server = sandbox("--size", "4000", "--no-size")
    with pytest.raises(smtplib.SMTPDataError) as refused:
        submitd(server).send(complete(b"y" * 70 + b"\r\n") + b"z\r\n" * 3000, [rcpt()])
    assert refused.value.smtp_code == 552 and refused.value.smtp_error.startswith(b"5.3.4")


# --- pipelining, sessions


def test_pipelined_input_stays_pipelined(submitd, rogue):
    """The client's commands reach the upstream before it has answered the first of them."""
    def wait_for_the_others(session):
        while b"RCPT TO:<c@example.test>" not in session.buffer:
            session.read_more()
    server = rogue(replies={"MAIL": wait_for_the_others})
    daemon = submitd(server)
    with daemon.raw() as client:
        client.hello()
        client.send(b"MAIL FROM:<a@corp.example>\r\nRCPT TO:<b@example.test>\r\nRCPT TO:<c@example.test>\r\nDATA\r\n")
        assert [r.code for r in client.replies(4)] == [250, 250, 250, 354]
        client.send(complete() + b".\r\n")
        assert client.reply().code == 250


def test_two_messages_share_a_session(submitd, sandbox, rcpt):
    server = sandbox()
    daemon, first, second = submitd(server), rcpt(), rcpt()
    daemon.send(complete(), [first])
    daemon.send(complete(), [second])
    assert server.one_to(first).extra["session"] == server.one_to(second).extra["session"]
    assert len(daemon.events("upstream_ready")) == 1


def test_several_messages_on_one_client_connection(submitd, sandbox, rcpt):
    server = sandbox()
    daemon, recipients = submitd(server), [rcpt() for _ in range(20)]
    with daemon.smtp() as client:
        for to in recipients:
            client.sendmail("a@corp.example", [to], complete(to.encode() + b"\r\n"))
    for to in recipients:
        assert_arrived(complete(to.encode() + b"\r\n"), server.one_to(to).data)
    assert len({m.extra["session"] for m in server.messages()}) == 1


def test_sessions_work_in_parallel(submitd, sandbox, rcpt):
    """Eight clients at once, four sessions: all arrive, and no more sessions are used."""
    server = sandbox("--latency", "20")
    daemon = submitd(server, {"upstream": {"max_sessions": 4}})
    recipients = [rcpt() for _ in range(8)]
    clients = [daemon.raw() for _ in recipients]
    for client in clients:
        client.hello()
    for client, to in zip(clients, recipients):
        client.send(f"MAIL FROM:<a@corp.example>\r\nRCPT TO:<{to}>\r\nDATA\r\n")
    for client in clients:
        assert [r.code for r in client.replies(3)] == [250, 250, 354]
        client.send(complete() + b".\r\n")
        assert client.reply().code == 250
        client.close()
    for to in recipients:
        server.one_to(to)
    assert len({m.extra["session"] for m in server.messages()}) <= 4


def test_session_that_died_while_idle_is_replaced(submitd, rogue):
    server = rogue()
    daemon = submitd(server)
    daemon.send(complete(), ["b@example.test"])
    server.drop_all()
    daemon.send(complete(), ["b@example.test"])
    assert len(server.messages) == 2 and len(server.sessions) == 2


@pytest.mark.parametrize("last_words", ["421 4.4.1 Connection timed out", None])
def test_session_that_dies_under_mail_is_replaced(submitd, rogue, last_words):
    """The server closes the idle session at the very moment we use it: the client must not notice."""
    from harness.rogue import DROP
    server = rogue(replies={"MAIL": [None, last_words or DROP, None]})
    daemon = submitd(server)
    daemon.send(complete(), ["b@example.test"])
    daemon.send(complete(), ["b@example.test"])
    assert len(server.messages) == 2 and len(server.sessions) == 2


def test_idle_session_is_closed_in_time(submitd, rogue):
    server = rogue()
    daemon = submitd(server, {"upstream": {"idle_close": "1s"}})
    daemon.send(complete(), ["b@example.test"])
    until(lambda: server.sessions[0].is_over, 5, "the idle session closed")
    assert server.sessions[0].lines[-1] == "QUIT"


# --- accounts


@pytest.fixture
def two_accounts(submitd, sandbox):
    server = sandbox("--send-as")
    payroll = {"username": "CORP\\payroll", "password": "Payroll-Pass2"}

    def start(**match):
        return submitd(server, {"account payroll": {**payroll, **match}}), server
    return start


def test_account_by_sender(two_accounts, rcpt):
    daemon, server = two_accounts(match_sender="payroll@corp.example, payroll@*.hr.corp.example")
    for sender, user in (("payroll@corp.example", "CORP\\payroll"), ("PayRoll@Corp.Example", "CORP\\payroll"),
                         ("payroll@x.hr.corp.example", "CORP\\payroll"), ("user@corp.example", "CORP\\user")):
        to = rcpt()
        daemon.send(complete(), [to], sender=sender)
        assert server.one_to(to).user == user, sender
        assert daemon.events("message")[-1]["account"] == ("payroll" if "payroll" in user else "default")


def test_account_by_client(two_accounts, rcpt):
    daemon, server = two_accounts(match_client="127.0.0.9/32", force_sender="payroll@corp.example")
    for source, user in (("127.0.0.9", "CORP\\payroll"), ("127.0.0.1", "CORP\\user")):
        to = rcpt()
        with daemon.raw(source=source) as client:
            client.hello()
            client.send(f"MAIL FROM:<user@corp.example>\r\nRCPT TO:<{to}>\r\nDATA\r\n")
            client.replies(3)
            client.send(complete() + b".\r\n")
            assert client.reply().code == 250
        assert server.one_to(to).user == user


def test_force_sender(submitd, sandbox, rcpt):
    server, to = sandbox("--send-as"), rcpt()
    daemon = submitd(server, {"account": {"force_sender": "user@corp.example"}})
    daemon.send(complete(), [to], sender="printer@branch.example")
    kept = server.one_to(to)
    assert kept.sender == "user@corp.example"
    assert "user@corp.example" in field_values(kept.data, "From")[0]
    assert field_values(kept.data, "Reply-To") == ["a@corp.example"], "the original From"


def test_force_sender_leaves_a_reply_to(submitd, sandbox, rcpt):
    server, to = sandbox(), rcpt()
    daemon = submitd(server, {"account": {"force_sender": "user@corp.example"}})
    daemon.send(complete(extra=b"Reply-To: desk@corp.example\r\n"), [to])
    assert field_values(server.one_to(to).data, "Reply-To") == ["desk@corp.example"]


def test_no_account_matches(submitd, shared_sandbox):
    daemon = submitd(shared_sandbox, {"account": None, "account payroll": {
        "username": "CORP\\payroll", "password": "Payroll-Pass2", "match_sender": "payroll@corp.example"}})
    with daemon.raw() as client:
        client.hello()
        reply = client.cmd("MAIL FROM:<other@corp.example>")
        assert isinstance(reply, Reply) and 400 <= reply.code < 600 and "account" in reply.text
