"""Mail that the upstream cannot take now is kept, answered for and delivered later, once and unchanged."""
import email
import email.policy
import itertools
import re
import subprocess
import threading
import time
from collections import Counter

import pytest

from harness.message import assert_arrived, complete, field_values, header_fields, without_repairs
from harness.net import Raw
from harness.rogue import DROP
from harness.wait import until
from spoollib import (exchange, keeper, kill, listed, number_of, numbered, numbers_at, queue_fine, queued_id,
                      restart, retry, retry_until_empty, send_queued, small_disk, spool_sql, states, stop, try_sending,
                      wait_empty, wait_tried)  # exchange, keeper and small_disk are fixtures

TO = "b@example.test"
RATE = "421 4.4.2 Message submission rate for this client has exceeded the configured limit"
WRONG = "535 5.7.3 Authentication unsuccessful"
BODY = b"first\r\n..\r\n.dots\r\n\tlast\r\n" * 50

__all__ = ["exchange", "keeper", "small_disk"]

pipelined_or_not = pytest.mark.parametrize("pipelined", [False, True], ids=["one-by-one", "pipelined"])


def unstuffed(message):
    return re.sub(rb"(?m)^\.", b"", message)


# --- on_failure = spool: the upstream fails once, at every step


FAULTS = {
    "421 at connect": {"BANNER": "421 4.3.2 Service not available"},
    "554 at connect": {"BANNER": "554 5.7.1 go away"},
    "dies at connect": {"BANNER": DROP},
    "no EHLO": {"EHLO": "421 4.3.2 The maximum number of concurrent connections has exceeded a limit"},
    "STARTTLS refused": {"STARTTLS": "454 4.7.0 TLS not available"},
    "dies at STARTTLS": {"STARTTLS": DROP},
    "login not now": {"AUTH": "454 4.7.0 Temporary authentication failure"},
    "login refused": {"AUTH": WRONG},
    "421 at login": {"AUTH": "421 4.4.2 too many"},
    "dies at login": {"AUTH": DROP},
    "421 at MAIL": {"MAIL": RATE},
    "432 at MAIL": {"MAIL": "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded"},
    "530 at MAIL": {"MAIL": "530 5.7.57 Client not authenticated to send mail"},
    "dies at MAIL": {"MAIL": DROP},
    "421 at RCPT": {"RCPT": RATE},
    "dies at RCPT": {"RCPT": DROP},
    "421 at DATA": {"DATA": RATE},
    "dies at DATA": {"DATA": DROP},
    "dies in the text": {"BODY": DROP},
    "421 at the dot": {"DOT": RATE},
}


@pytest.mark.parametrize("fault, pipelined", [
    (fault, pipelined) for fault in FAULTS for pipelined in (False, True)
    if not pipelined or FAULTS[fault].keys() & {"MAIL", "RCPT", "DATA", "BODY"}])  # before MAIL it is the same
def test_kept_and_delivered_once(keeper, rogue, fault, pipelined):
    server = rogue()
    daemon = keeper(server)
    daemon.wait_event("upstream_ready")
    server.script.replies.update({step: [answer, None] for step, answer in FAULTS[fault].items()})
    server.drop_all()
    sent = complete(BODY)
    message_id = send_queued(daemon, sent, [TO, "c@example.test"], pipelined=pipelined)
    assert daemon.wait_event("queued", id=message_id)["reason"]
    retry_until_empty(daemon)
    taken = server.messages[1:] if fault == "421 at the dot" else server.messages
    assert len(taken) == 1
    assert_arrived(sent, unstuffed(taken[0]))
    assert daemon.wait_event("message", id=message_id, rcpts=2)["spooled"] == "yes"


ANSWERS = {
    "MAIL 550": {"MAIL": "550 5.7.60 SMTP; Client does not have permissions to send as this sender"},
    "MAIL 451": {"MAIL": "451 4.7.0 Temporary server error. Please try again later. PRX2"},
    "RCPT 550": {"RCPT": "550 5.1.1 User unknown"},
    "RCPT 450": {"RCPT": "450 4.2.1 mailbox is busy"},
    "RCPT 452": {"RCPT": "452 4.5.3 Too many recipients"},
    "DATA 554": {"DATA": "554 5.5.1 no valid recipients"},
    "DATA 452": {"DATA": "452 4.3.1 Insufficient system resources"},
    "dot 554": {"DOT": "554 5.6.0 Corrupt message content"},
    "dot 552": {"DOT": "552 5.3.4 Message size exceeds fixed maximum message size"},
    "dot 451": {"DOT": "451 4.3.0 Mail server temporarily rejected message"},
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_about_the_message_stays_the_upstreams(keeper, rogue, answer):
    (text,) = ANSWERS[answer].values()
    after = {"RCPT": "503 5.5.1 no sender"} if "MAIL" in ANSWERS[answer] else {}
    daemon = keeper(rogue(replies={**ANSWERS[answer], **after}))
    replies = try_sending(daemon, complete(), [TO], pipelined=True)
    at = {"MAIL": 1, "RCPT": 1, "DATA": 2, "dot": 3}[answer.split()[0]]  # to MAIL it comes with the recipient
    assert str(replies[at]) == text and all(r.code < 400 for r in replies[:at]), replies
    assert not [r for r in replies[at + 1:] if r.code < 400], replies
    assert not listed(daemon) and not daemon.events("queued")


@pipelined_or_not
@pytest.mark.parametrize("fault", ["dies at DATA", "dies in the text", "421 at the dot"])
def test_refused_recipients_do_not_come_into_the_spool(keeper, rogue, fault, pipelined):
    server = rogue(replies={"RCPT": ["550 5.1.1 User unknown", None, "451 4.2.0 later", None]})
    daemon = keeper(server)
    server.script.replies.update({step: [answer, None] for step, answer in FAULTS[fault].items()})
    daemon.wait_event("upstream_ready")
    replies = try_sending(daemon, complete(), ["bad@x.test", "good@x.test", "later@x.test", "fine@x.test"],
                          pipelined=pipelined)
    assert [r.code for r in replies] == [250, 550, 250, 451, 250, 354, 250]
    queued_id(replies[-1])
    retry_until_empty(daemon)
    envelope = [line for line in server.sessions[-1].lines if line.startswith(("MAIL", "RCPT"))]
    assert [line.split(">")[0] + ">" for line in envelope[-3:]] == [
        "MAIL FROM:<a@corp.example>", "RCPT TO:<good@x.test>", "RCPT TO:<fine@x.test>"]


@pytest.mark.parametrize("answer, to_data", [("550 5.1.1 User unknown", 554), ("451 4.2.0 later", 451)])
def test_without_an_accepted_recipient_nothing_is_kept(keeper, rogue, answer, to_data):
    server = rogue(replies={"RCPT": [answer, DROP]})
    daemon = keeper(server)
    daemon.wait_event("upstream_ready")
    with daemon.raw() as client:
        client.hello()
        client.send("MAIL FROM:<a@corp.example>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n")
        replies = client.replies(3)
        assert str(replies[1]) == answer and replies[2].code == to_data, replies
    assert not listed(daemon)


def test_recipients_that_come_after_the_fall_back_are_kept_with_it(keeper, rogue):
    server = rogue()
    daemon = keeper(server)
    daemon.wait_event("upstream_ready")
    with daemon.raw() as client:
        client.hello()
        assert client.cmd("MAIL FROM:<a@corp.example>").code == 250
        assert client.cmd("RCPT TO:<one@x.test>").code == 250
        server.drop_all()
        time.sleep(0.2)
        assert client.cmd("RCPT TO:<two@x.test>").code == 250
        assert client.cmd("DATA").code == 354
        client.send(complete() + b".\r\n")
        queued_id(client.reply())
    retry_until_empty(daemon)
    (message,) = server.messages
    assert_arrived(complete(), message)
    last = [line.split(">")[0] for line in server.sessions[-1].lines if line.startswith("RCPT")]
    assert last == ["RCPT TO:<one@x.test", "RCPT TO:<two@x.test"]


# --- on_failure = spool: the upstream stays away


@pipelined_or_not
def test_down_and_up_again(keeper, exchange, pipelined):
    """What was kept arrives as what was relayed does, but for id and time."""
    daemon = keeper(exchange.up())
    sent = b"From: a@corp.example\r\nBcc: secret@x.test\r\nSubject: no id\r\n\r\n" + BODY
    assert try_sending(daemon, sent, ["relayed@x.test"])[-1].text.startswith("2.6.0")
    exchange.down()
    message_id = send_queued(daemon, sent, ["kept@x.test"], pipelined=pipelined)
    wait_tried(daemon)
    exchange.up()
    retry(daemon)
    wait_empty(daemon)
    relayed, kept = (exchange.one_to(to).data for to in ("relayed@x.test", "kept@x.test"))

    def shape(data):
        fields, rest = header_fields(data)
        return [re.sub(rb"\d\d:\d\d:\d\d|[0-9a-z]{16}|relayed|kept", b"", f) for f in fields], rest
    assert shape(kept) == shape(relayed)
    assert_arrived(sent.replace(b"Bcc: secret@x.test\r\n", b""), kept, added=("Date", "Message-ID"))
    assert message_id in field_values(kept, "Message-ID")[0] and message_id in field_values(kept, "Received")[0]


def test_a_login_that_works_again_delivers_at_once(keeper, exchange):
    """No wait for the pause to end: the next live message shows that the upstream works."""
    daemon = keeper(exchange)
    for n in range(3):
        send_queued(daemon, numbered(n), [TO])
    daemon.wait_event("delivery_paused")
    exchange.up()
    assert try_sending(daemon, numbered(9), [TO])[-1].text.startswith("2.6.0")
    wait_empty(daemon, 5)
    assert sorted(numbers_at(exchange)) == [0, 1, 2, 9]


def test_certificate_not_trusted(keeper, exchange, certs):
    daemon = keeper(exchange.up(), {"upstream": {"tls_ca_file": certs.path("self_signed")}})
    send_queued(daemon, complete(), [TO])
    assert "certificate" in wait_tried(daemon)[0]["last_reply"]
    daemon.reload({"upstream": {"tls_ca_file": certs.ca}})
    wait_empty(daemon)
    assert_arrived(complete(), exchange.one_to(TO).data)


def test_wrong_password(keeper, rogue):
    """Two refused logins, not one more; the right password with SIGHUP delivers everything in order."""
    server = rogue(replies={"AUTH": WRONG})
    daemon = keeper(server, {"upstream": {"max_sessions": 2}})
    for n in range(6):
        send_queued(daemon, numbered(n), [TO])
    daemon.wait_event("logins_paused")
    retry(daemon)
    wait_tried(daemon, 0)
    send_queued(daemon, numbered(6), [TO])
    time.sleep(0.5)
    assert len(server.logins) == 2
    assert [m["attempts"] for m in listed(daemon)][1:] == [0] * 6, "one message finds out, the others wait"
    server.script.replies.clear()
    daemon.reload({"account": {"password": "Right-Pass2"}})
    wait_empty(daemon)
    assert [field_values(m, "Message-ID")[0] for m in server.messages] == [
        f"<kept-{n}@corp.example>" for n in range(7)]
    assert len(server.logins) == 3


def test_rate_limit(keeper, exchange):
    """Beyond the rate the mail waits; each minute brings the next portion."""
    daemon = keeper(exchange.up("--rate", "2", "--rate-window", "1000"))
    replies = [try_sending(daemon, numbered(n), [TO])[-1] for n in range(5)]
    assert [r.code for r in replies] == [250] * 5
    assert len([r for r in replies if "queued as" in r.text]) >= 2
    assert "421 4.4.2" in until(lambda: daemon.events("queued"))[0]["reason"]
    retry_until_empty(daemon)
    assert sorted(numbers_at(exchange)) == list(range(5))


def test_the_upstream_is_not_hammered_when_it_throttles(keeper, exchange):
    """Each new login works; that must not end the pause."""
    daemon = keeper(exchange, mode="queue")
    for n in range(8):
        send_queued(daemon, numbered(n), [TO])
    exchange.up("--rate", "1")
    retry(daemon)
    exchange.to(TO)
    time.sleep(1.5)
    assert len(daemon.events("delivery_paused", seconds=60)) <= 3, "while it was down and now"
    assert exchange.counters()["logins"] <= 8 and len(exchange.messages()) == 1


@pytest.mark.parametrize("step", ["MAIL", "DATA", "BODY"])
def test_the_upstream_is_not_hammered_when_it_loses_every_session(keeper, rogue, step):
    server = rogue(replies={step: DROP})
    daemon = keeper(server, mode="queue")
    for n in range(8):
        send_queued(daemon, numbered(n), [TO])
    time.sleep(1.5)
    assert len(server.logins) <= 8, "it begins with what max_sessions allows"
    server.script.replies.clear()
    retry(daemon)
    wait_empty(daemon)
    assert len(server.messages) == 8


def test_session_limit_of_the_upstream(keeper, exchange):
    exchange.up("--sessions", "1")
    with Raw(exchange.port) as other:
        assert other.reply().code == 220
        daemon = keeper(exchange)
        send_queued(daemon, complete(), [TO])
        assert "421" in wait_tried(daemon)[0]["last_reply"]
    retry_until_empty(daemon)
    assert_arrived(complete(), exchange.one_to(TO).data)


def test_no_session_free_in_time(keeper, exchange):
    daemon = keeper(exchange.up(), {"upstream": {"max_sessions": 1, "wait_timeout": "200ms"}})
    with daemon.raw() as slow:
        slow.hello()
        slow.send("MAIL FROM:<a@corp.example>\r\nRCPT TO:<slow@x.test>\r\nDATA\r\n")
        assert [r.code for r in slow.replies(3)] == [250, 250, 354]
        send_queued(daemon, complete(), [TO])
        assert "all 1 sessions" in daemon.wait_event("queued")["reason"]
        slow.send(complete() + b".\r\n")
        assert slow.reply().text.startswith("2.6.0")
    retry_until_empty(daemon)
    assert_arrived(complete(), exchange.one_to(TO).data)


def test_a_client_that_leaves_before_its_answer_left_nothing(keeper, exchange):
    daemon = keeper(exchange)
    for end in ("", complete().decode(), complete().decode() + "."):
        with daemon.raw() as client:
            client.hello()
            client.send("MAIL FROM:<a@corp.example>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n")
            assert client.replies(3)[-1].code == 354
            client.send(end)
    until(lambda: len(daemon.events("aborted")) == 3, 5, "three aborted messages")
    assert not listed(daemon)


def test_too_large_and_looping_messages_are_not_kept(keeper, exchange):
    daemon = keeper(exchange, {"listener": {"max_message_size": "100K"}})
    replies = try_sending(daemon, complete(b"x" * 70 + b"\r\n" * 60_000), [TO])
    assert replies[-1].code == 552, replies
    replies = try_sending(daemon, b"Received: from x\r\n" * 40 + complete(), [TO])
    assert replies[-1].code == 554, replies
    assert not listed(daemon)


# --- mode = queue


def test_queue_mode_answers_before_the_upstream_is_there(keeper, exchange):
    """Never reachable at the start, killed, started again: everything arrives, in order."""
    daemon = keeper(exchange, {"upstream": {"max_sessions": 2}}, mode="queue")
    for n in range(12):
        send_queued(daemon, numbered(n, BODY), [TO], pipelined=n % 2 == 1)
    kill(daemon)
    restart(daemon)
    for n in range(12, 20):
        send_queued(daemon, numbered(n, BODY), [TO])
    kill(daemon)
    exchange.up()
    restart(daemon)
    wait_empty(daemon)
    assert numbers_at(exchange) == list(range(20))
    assert_arrived(numbered(7, BODY), exchange.messages()[7].data)


def test_queue_mode_passes_parameters_on(keeper, exchange):
    daemon = keeper(exchange.up("--smtputf8"), mode="queue")
    daemon.wait_event("upstream_ready")  # only then it offers what the upstream offers
    send_queued(daemon, complete("Grüße\r\n".encode()), [TO], mail=" BODY=8BITMIME RET=HDRS ENVID=QQ314+2B",
                rcpt=" NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b+2Bc@example.test")
    send_queued(daemon, complete(), ["jürgen@example.test"], mail=" SMTPUTF8")
    wait_empty(daemon)
    plain, international = exchange.messages()
    assert plain.extra["mail_params"].items() >= {"BODY": "8BITMIME", "RET": "HDRS", "ENVID": "QQ314+2B"}.items()
    assert plain.extra["recipients"] == [
        {"address": TO, "NOTIFY": "SUCCESS,FAILURE", "ORCPT": "rfc822;b+2Bc@example.test"}]
    assert international.extra["mail_params"]["SMTPUTF8"] and international.recipients == ("jürgen@example.test",)


def test_one_broken_account_does_not_hold_up_the_other(keeper, exchange):
    """Nor does it break when its password comes: its own mail follows."""
    daemon = keeper(exchange.up(), {"account payroll": {
        "match_sender": "payroll@*", "username": "CORP\\payroll", "password": "wrong"}}, mode="queue")
    for n in range(6):
        send_queued(daemon, numbered(n), [TO], sender=("payroll" if n % 2 else "a") + "@corp.example")
    until(lambda: len(listed(daemon)) == 3, 10, "the default account's mail sent")
    assert sorted(numbers_at(exchange)) == [0, 2, 4]
    assert {m["account"] for m in listed(daemon)} == {"payroll"}
    daemon.reload({"account payroll": {"match_sender": "payroll@*", "username": "CORP\\payroll",
                                       "password": "Payroll-Pass2"}})
    wait_empty(daemon)
    assert {(number, m.user) for number, m in zip(numbers_at(exchange), exchange.messages())} == {
        (n, "CORP\\payroll" if n % 2 else "CORP\\user") for n in range(6)}


def test_mail_without_an_account_is_put_off(keeper, exchange):
    daemon = keeper(exchange.up(), {"account": None, "account payroll": {
        "match_sender": "payroll@*", "username": "CORP\\payroll", "password": "Payroll-Pass2"}}, mode="queue")
    assert try_sending(daemon, complete(), [TO])[0].code == 451
    assert not listed(daemon)


# --- verdicts


def test_a_verdict_for_each_recipient(keeper, exchange):
    """One refused, one put off, one delivered: none repeats or blocks another."""
    daemon = keeper(exchange.up("--reject-rcpt", "bad@*", "--defer-rcpt", "later@*"), mode="queue")
    message_id = send_queued(daemon, complete(), ["good@x.test", "bad@x.test", "later@x.test", "fine@x.test"])
    event = daemon.wait_event("message", id=message_id)
    assert (event.level, event["rcpts"], event["refused"], event["deferred"]) == ("warning", "2", "1", "1")
    (message,) = until(lambda: [m for m in listed(daemon) if m["id"] == message_id and m["attempts"] == 1])
    assert [r["state"] for r in message["recipients"]] == ["delivered", "refused", "waiting", "delivered"]
    assert [r["reply"][:9] for r in message["recipients"]] == ["250 2.6.0", "550 5.1.1", "451 4.3.0", "250 2.6.0"]
    assert 55 <= message["next_try"] - time.time() <= 73, "a minute and up to a fifth"
    assert exchange.one_to("good@x.test").recipients == ("good@x.test", "fine@x.test")
    assert exchange.one_to("a@corp.example").sender == "", "the report on the refused one"

    retry(daemon, message_id)
    (message,) = until(lambda: [m for m in listed(daemon) if m["attempts"] == 2])
    assert 115 <= message["next_try"] - time.time() <= 145, "it doubles"
    exchange.down().up()
    retry(daemon, message_id)
    assert exchange.one_to("later@x.test").recipients == ("later@x.test",)
    until(lambda: states(daemon) == ["failed"], 5, "nothing to be sent")
    assert len(exchange.messages()) == 3


def test_too_many_recipients_are_split(keeper, exchange):
    daemon = keeper(exchange.up("--recipients", "2"), mode="queue")
    everyone = [f"r{n}@x.test" for n in range(5)]
    send_queued(daemon, complete(), everyone)
    wait_empty(daemon, 5)
    assert [m.recipients for m in exchange.messages()] == [
        ("r0@x.test", "r1@x.test"), ("r2@x.test", "r3@x.test"), ("r4@x.test",)]
    for message in exchange.messages():
        assert_arrived(complete(), message.data)


def test_a_message_put_off_does_not_hold_up_the_next(keeper, exchange):
    daemon = keeper(exchange.up("--defer-rcpt", "later@*"), mode="queue")
    send_queued(daemon, numbered(1), ["later@x.test"])
    send_queued(daemon, numbered(2), ["good@x.test"])
    exchange.one_to("good@x.test")
    (message,) = wait_tried(daemon)
    assert message["recipients"][0]["mailbox"] == "later@x.test"


# --- the end: expiry and reports


def bounce_parts(data):
    report = email.message_from_bytes(data, policy=email.policy.default)
    assert report.get_content_type() == "multipart/report"
    assert report.get_param("report-type") == "delivery-status"
    for part in report.walk():
        assert not part.defects, part.defects
    words, status, header = report.iter_parts()
    whole, *each = status.get_payload()
    return report, words.get_content(), whole, each, header.get_payload(decode=True)


def test_bounce(keeper, exchange):
    """The sender hears which recipient was refused, in Exchange's words; the message stays to be seen."""
    daemon = keeper(exchange.up("--reject-rcpt", "bad@*"), mode="queue")
    daemon.wait_event("upstream_ready")
    sent = complete(b"secret text\r\n", b"X-Job: 4711\r\n")
    message_id = send_queued(daemon, sent, ["good@x.test", "bad@x.test"], mail=" ENVID=job4711",
                             rcpt=" ORCPT=rfc822;printed@x.test")
    kept = exchange.one_to("a@corp.example")
    report, words, whole, each, header = bounce_parts(kept.data)
    assert kept.sender == "" and kept.user == "CORP\\user"
    assert report["To"] == "a@corp.example" and report["Auto-Submitted"] == "auto-replied"
    assert "bad@x.test" in words and "5.1.1" in words and "good@x.test" not in words
    assert whole["Original-Envelope-Id"] == "job4711" and "Arrival-Date" in whole
    (recipient,) = each
    assert recipient["Final-Recipient"] == "rfc822; bad@x.test" and recipient["Action"] == "failed"
    assert recipient["Original-Recipient"] == "rfc822; printed@x.test" and recipient["Status"] == "5.1.1"
    assert recipient["Remote-MTA"] == "dns; localhost" and "550 5.1.1" in recipient["Diagnostic-Code"]
    assert b"X-Job: 4711" in header and b"Message-ID: <kept@corp.example>" in header and b"secret" not in header
    until(lambda: states(daemon) == ["failed"])
    assert message_id in queue_fine(daemon, "list").out
    assert daemon.wait_event("bounced", id=message_id)["to"] == "a@corp.example"


def test_bounce_to(keeper, exchange):
    """Senders whose mailbox nobody reads: the administrator gets the report, also on the null sender's mail."""
    daemon = keeper(exchange.up("--reject-rcpt", "bad@*"), mode="queue", bounce_to="admin@corp.example")
    for sender in ("scanner@corp.example", ""):
        send_queued(daemon, complete(), ["bad@x.test"], sender=sender)
    reports = exchange.to("admin@corp.example", 2)
    assert {m.sender for m in reports} == {""}
    assert all(bounce_parts(m.data)[0]["To"] == "admin@corp.example" for m in reports)
    assert len(exchange.messages()) == 2


def test_no_bounce_of_a_bounce(keeper, exchange):
    """Two failed messages, and no third: the report's own failure is only kept and logged."""
    daemon = keeper(exchange.up("--reject-rcpt", "bad@*", "--reject-rcpt", "a@*"), mode="queue")
    message_id = send_queued(daemon, complete(), ["bad@x.test"])
    until(lambda: states(daemon) == ["failed", "failed"])
    original, bounce = listed(daemon)
    assert (original["id"], original["bounce"], bounce["bounce"], bounce["from"]) == (message_id, False, True, "")
    time.sleep(0.3)
    assert len(listed(daemon)) == 2 and len(daemon.events("bounced")) == 1 and not exchange.messages()


@pytest.mark.parametrize("sender, rcpt", [("", ""), ("a@corp.example", " NOTIFY=NEVER"),
                                          ("a@corp.example", " NOTIFY=SUCCESS,DELAY")])
def test_who_wants_no_bounce_gets_none(keeper, exchange, sender, rcpt):
    daemon = keeper(exchange.up("--reject-rcpt", "bad@*"), mode="queue")
    daemon.wait_event("upstream_ready")
    send_queued(daemon, complete(), ["bad@x.test"], sender=sender, rcpt=rcpt)
    until(lambda: states(daemon) == ["failed"])
    assert not daemon.events("bounced") and not exchange.messages()


@pytest.mark.parametrize("step, answer", [
    ("MAIL", "550 5.7.60 SMTP; Client does not have permissions to send as this sender"),
    ("DATA", "554 5.5.1 not now, not ever"),
    ("DOT", "554 5.6.0 Corrupt message content")])
def test_a_refusal_of_the_whole_message_bounces_for_all(keeper, rogue, step, answer):
    server = rogue(replies={step: [answer, None]})
    daemon = keeper(server, mode="queue")
    send_queued(daemon, complete(), ["one@x.test", "two@x.test"])
    until(lambda: states(daemon) == ["failed"])
    each = bounce_parts(unstuffed(server.messages[-1]))[3]
    assert [r["Final-Recipient"] for r in each] == ["rfc822; one@x.test", "rfc822; two@x.test"]
    assert all(answer[4:30] in r["Diagnostic-Code"] for r in each)


@pytest.mark.parametrize("caps", [("PIPELINING",), ()], ids=["pipelined", "one by one"])
def test_an_answer_to_data_about_the_session_leaves_no_envelope_on_it(keeper, rogue, caps):
    """A server in the middle of a message would answer the next MAIL with 503, and the message would bounce."""
    def nested(session):
        said = [line.split(" ")[0] for line in session.lines[:-1]]
        is_open = said[-1:] != ["RSET"] and "MAIL" in said[len(said) - said[::-1].index("RSET") if "RSET" in said else 0:]
        return "503 5.5.1 sender already specified" if is_open and not session.messages else None
    server = rogue(replies={"DATA": ["454 4.7.0 Temporary authentication failure", None], "MAIL": nested},
                   caps=(*caps, "SIZE 37748736"))
    daemon = keeper(server, mode="queue")
    send_queued(daemon, numbered(1), [TO])
    daemon.wait_event("delivery_paused")
    retry(daemon)
    wait_empty(daemon)
    assert not daemon.events("bounced") and len(server.messages) == 1


def test_expiry(keeper, exchange):
    """A minute is the shortest time that can be configured; here the file is told that it has passed."""
    daemon = keeper(exchange, mode="queue", expire="1m")
    daemon.wait_event("upstream_failed")
    message_id = send_queued(daemon, complete(), ["b@example.test", "c@example.test"])
    assert 50 <= listed(daemon)[0]["expires"] - time.time() <= 60
    wait_tried(daemon)
    stop(daemon)
    spool_sql(daemon, "UPDATE message SET arrived = arrived - 61, expires = expires - 61")
    restart(daemon)
    assert daemon.wait_event("expired", id=message_id).level == "error"
    until(lambda: sorted(states(daemon)) == ["failed", "queued"])
    exchange.up()
    retry(daemon, daemon.wait_event("bounced")["bounce"])
    _, words, _, each, header = bounce_parts(exchange.one_to("a@corp.example").data)
    assert [r["Final-Recipient"] for r in each] == ["rfc822; b@example.test", "rfc822; c@example.test"]
    assert {r["Status"] for r in each} == {"4.4.7"}, "RFC 3463 3.5: delivery time expired"
    assert "b@example.test" in words and b"Subject: complete" in header
    assert len(exchange.messages()) == 1


def test_two_reports_on_one_message_are_two_messages(keeper, exchange):
    """One on the recipient that was refused, one on the other whose time ran out: with one Message-ID Exchange drops one."""
    daemon = keeper(exchange.up("--reject-rcpt", "bad@*", "--defer-rcpt", "later@*"), mode="queue")
    send_queued(daemon, complete(), ["bad@x.test", "later@x.test"])
    until(lambda: len(exchange.messages()) == 1 and states(daemon) == ["queued"])
    stop(daemon)
    spool_sql(daemon, "UPDATE message SET expires = arrived")
    restart(daemon)
    until(lambda: len(exchange.messages()) == 2)
    reports = [m.data for m in exchange.messages()]
    assert len({field_values(r, "Message-ID")[0] for r in reports}) == 2
    assert [bounce_parts(r)[3][0]["Final-Recipient"] for r in reports] == ["rfc822; bad@x.test", "rfc822; later@x.test"]


def test_failed_messages_go_after_keep_failed(keeper, exchange):
    daemon = keeper(exchange.up("--reject-rcpt", "bad@*"), mode="queue", keep_failed="1h")
    send_queued(daemon, numbered(1), ["bad@x.test"], sender="")
    send_queued(daemon, numbered(2), ["bad@x.test"], sender="")
    until(lambda: states(daemon) == ["failed", "failed"])
    stop(daemon)
    spool_sql(daemon, "UPDATE message SET arrived = arrived - 3700 WHERE number = 1")
    restart(daemon)
    until(lambda: len(listed(daemon)) == 1)


def test_a_failed_message_can_be_sent_again(keeper, exchange):
    """Only to those who refused it."""
    daemon = keeper(exchange.up("--reject-rcpt", "bad@*"), mode="queue")
    message_id = send_queued(daemon, complete(), ["good@x.test", "bad@x.test"])
    until(lambda: states(daemon) == ["failed"])
    exchange.down().up()
    retry(daemon, message_id)
    wait_empty(daemon)
    assert exchange.one_to("bad@x.test").recipients == ("bad@x.test",)
    exchange.one_to("good@x.test")


# --- the uncertain outcome


@pytest.mark.parametrize("mode", ["relay", "queue"])
def test_uncertain_is_sent_again_with_the_same_id(keeper, exchange, mode):
    daemon = keeper(exchange.up("--drop-after-dot", "1", "--keep-dropped"), mode=mode)
    sent = b"From: a@corp.example\r\nSubject: no id\r\n\r\nHello.\r\n"
    message_id = send_queued(daemon, sent, [TO])
    (message,) = until(lambda: [m for m in listed(daemon) if m["uncertain"]])
    assert message["state"] == "queued" and 55 <= message["next_try"] - time.time() <= 73
    table = queue_fine(daemon, "list").out
    assert "uncertain" in table and "*" in table
    exchange.to(TO, 1)
    exchange.down().up()
    retry(daemon, message_id)
    wait_empty(daemon)
    first, second = exchange.to(TO, 2)
    assert without_repairs(first.data) == without_repairs(second.data)
    assert message_id in field_values(second.data, "Message-ID")[0]
    assert daemon.events("uncertain", id=message_id) or "reason" in daemon.events("queued")[0].fields


@pytest.mark.parametrize("mode", ["relay", "queue"])
def test_uncertain_is_held_when_so_configured(keeper, exchange, mode):
    daemon = keeper(exchange.up("--drop-after-dot", "1"), mode=mode, on_uncertain="hold")
    message_id = send_queued(daemon, complete(), [TO])
    until(lambda: states(daemon) == ["held"])
    exchange.down().up()
    time.sleep(1.2)
    assert states(daemon) == ["held"] and not exchange.messages()
    queue_fine(daemon, "release", message_id)
    wait_empty(daemon)
    assert_arrived(complete(), exchange.one_to(TO).data)


# --- reload and stop


@pytest.fixture
def renamed():
    """[account payroll] under another name."""
    login = {"match_sender": "payroll@*", "username": "CORP\\payroll", "password": "Payroll-Pass2"}
    return {"account payroll": login}, {"account wages": login, "account payroll": None}


def test_mail_follows_a_renamed_account(keeper, exchange, renamed):
    before, after = renamed
    daemon = keeper(exchange, before, mode="queue")
    send_queued(daemon, numbered(1), [TO], sender="payroll@corp.example")
    send_queued(daemon, numbered(2), [TO])
    until(lambda: [m["account"] for m in listed(daemon)] == ["payroll", ""])
    exchange.up()
    daemon.reload(after)
    wait_empty(daemon)
    assert daemon.wait_event("message", account="wages")["from"] == "payroll@corp.example"
    assert exchange.messages()[numbers_at(exchange).index(1)].user == "CORP\\payroll"


def test_mail_without_a_route_is_told_of_and_goes_when_there_is_one(keeper, exchange, renamed):
    daemon = keeper(exchange, renamed[0], mode="queue")
    send_queued(daemon, complete(), [TO])
    daemon.reload({"account": None})
    assert daemon.wait_event("stranded", account="").level == "error"
    exchange.up()
    daemon.reload()
    wait_empty(daemon)
    assert exchange.one_to(TO).user == "CORP\\user"


def test_mail_follows_a_renamed_account_while_its_client_sends(keeper, exchange, renamed):
    before, after = renamed
    daemon = keeper(exchange.up(), before, mode="queue")
    with daemon.raw() as client:
        client.hello()
        client.send("MAIL FROM:<payroll@corp.example>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n")
        assert client.replies(3)[-1].code == 354
        daemon.reload(after)
        daemon.wait_event("reloaded")
        client.send(complete() + b".\r\n")
        queued_id(client.reply())
    wait_empty(daemon)
    assert exchange.one_to(TO).user == "CORP\\payroll"


def test_mail_follows_a_renamed_account_after_an_attempt_that_began_before(keeper, rogue, renamed):
    before, after = renamed
    reloaded = threading.Event()

    def slow_death(_session):
        reloaded.wait(10)
        return DROP
    server = rogue()
    daemon = keeper(server, before, mode="queue")
    daemon.wait_event("upstream_ready")
    server.script.replies["DATA"] = [slow_death, None]
    send_queued(daemon, complete(), [TO], sender="payroll@corp.example")
    until(lambda: any("RCPT" in line for s in server.sessions for line in s.lines))
    daemon.reload(after)
    daemon.wait_event("reloaded")
    time.sleep(0.2)
    reloaded.set()
    wait_tried(daemon)
    retry(daemon)
    wait_empty(daemon)
    assert len(server.messages) == 1


def test_sighup_while_delivering(keeper, exchange):
    daemon = keeper(exchange, mode="queue")
    for n in range(60):
        send_queued(daemon, numbered(n), [TO])
    exchange.up("--latency", "10")
    retry(daemon)
    for _ in range(5):
        time.sleep(0.1)
        daemon.reload()
    wait_empty(daemon)
    assert sorted(numbers_at(exchange)) == list(range(60))


def test_sigterm_right_behind_a_message(keeper, exchange):
    """What was just being looked up is not waited for: it was, for half a minute, in one stop of a dozen."""
    for number in range(20):
        daemon = keeper(exchange, mode="queue")
        send_queued(daemon, numbered(number), [TO])
        began = time.monotonic()
        stop(daemon)
        assert time.monotonic() - began < 5


def test_sigterm_while_delivering(keeper, exchange):
    """What is under way ends, the rest stays: each message arrives once."""
    daemon = keeper(exchange, mode="queue")
    for n in range(40):
        send_queued(daemon, numbered(n), [TO])
    exchange.up("--latency", "30")
    retry(daemon)
    exchange.to(TO, 1)
    stop(daemon)
    arrived = numbers_at(exchange)
    assert 0 < len(arrived) < 40 and len(listed(daemon)) == 40 - len(arrived)
    restart(daemon)
    wait_empty(daemon)
    assert sorted(numbers_at(exchange)) == list(range(40))


# --- the disk


def accepts(daemon, number):
    """Sends a numbered message; false when there is no room for it."""
    final = try_sending(daemon, numbered(number, b"x" * 70 + b"\r\n" * 30_000), [TO])[-1]
    assert str(final).startswith(("452 4.3.1 not accepted: ", "250 2.0.0 queued as ")), final
    return final.code == 250


@pytest.mark.parametrize("min_free, left", [("40M", 30 << 20), ("0", 0)], ids=["below the floor", "full"])
def test_disk_full(keeper, exchange, small_disk, min_free, left):
    """Others filled it. What is stored stays stored and is delivered once; with room, clients are let in again."""
    disk = small_disk("64M")
    daemon = keeper(exchange, mode="queue", spool=disk.path / "spool.db", min_free=min_free)
    assert all(accepts(daemon, n) for n in range(20))
    disk.fill(left)
    time.sleep(1.1)  # free room is asked for once a second
    taken = list(itertools.takewhile(lambda n: accepts(daemon, n), range(200)))  # what its files had room for
    assert len(taken) < 200
    event = daemon.wait_event("spool_failed")
    assert event.level == "error" and "spool.db" in event["reason"] and "make room" in event["reason"]
    exchange.up()
    daemon.reload()  # new sessions, without a pause
    exchange.to(TO)
    time.sleep(0.5)
    disk.make_room()
    wait_empty(daemon)
    assert Counter(numbers_at(exchange)) == Counter(range(20)) + Counter(taken)
    until(lambda: accepts(daemon, 1000), 5, "room again")
    wait_empty(daemon)
    kill(daemon)
    restart(daemon)
    assert not listed(daemon) and numbers_at(exchange)[-1] == 1000


def says_make_room(daemon):
    """Once, however often it tries again."""
    daemon.wait_event("spool_not_opened")
    [event] = [e for e in daemon.events("spool_not_opened") if e.level == "error"]
    return "spool.db" in event["reason"] and "make room" in event["remedy"]


def test_start_on_a_full_disk(keeper, exchange, small_disk):
    """Relaying needs no room; what would be spooled is put off with 451 until there is some."""
    disk = small_disk("8M")
    disk.fill()
    daemon = keeper(exchange, mode="relay", spool=disk.path / "spool.db", min_free="1M")
    assert says_make_room(daemon)
    assert str(try_sending(daemon, complete(), [TO])[1]).startswith("451 4.4.1 not delivered now: ")
    exchange.up()
    assert str(try_sending(daemon, complete(), [TO])[-1]).startswith("250 2.6.0")
    daemon.reload()
    daemon.wait_event("reloaded")
    exchange.down()
    disk.make_room()
    daemon.wait_event("spool_opened", timeout=20)
    assert says_make_room(daemon)
    send_queued(daemon, numbered(7), [TO])
    exchange.up()
    retry_until_empty(daemon)
    assert 7 in [number_of(m.data) for m in exchange.messages() if b"kept-" in m.data]


def test_start_on_a_disk_that_the_spool_filled(keeper, exchange, small_disk):
    """What is stored stays stored, and goes when there is room."""
    disk = small_disk("8M")
    daemon = keeper(exchange, mode="queue", spool=disk.path / "spool.db", min_free="0")
    assert all(accepts(daemon, n) for n in range(3))
    kill(daemon)
    disk.fill()
    exchange.up()
    for file in disk.path.glob("spool.db-shm"):  # what a computer that was switched off has not
        file.unlink()
    disk.fill()
    restart(daemon)
    assert says_make_room(daemon)
    time.sleep(1)
    assert not exchange.messages()
    disk.make_room()
    wait_empty(daemon, 30)
    assert sorted(numbers_at(exchange)) == [0, 1, 2]


def test_stop_before_there_was_room(keeper, exchange, small_disk):
    disk = small_disk("8M")
    disk.fill()
    daemon = keeper(exchange, mode="relay", spool=disk.path / "spool.db")
    time.sleep(5.1)  # it tries to open the spool again
    stop(daemon)
    assert says_make_room(daemon)


@pytest.mark.parametrize("mode, answer", [("queue", "452 4.3.1"), ("relay", "250 2.6.0")])
def test_floor_above_the_whole_disk(keeper, exchange, mode, answer):
    """Relaying goes on while the upstream takes the mail: it needs no room, not even for large messages."""
    daemon = keeper(exchange.up(), mode=mode, min_free="1000G")
    for size in (1, 60_000):
        assert str(try_sending(daemon, complete(b"x\r\n" * size), [TO])[-1]).startswith(answer)
    assert not listed(daemon)


def test_floor_when_the_upstream_is_away(keeper, exchange):
    daemon = keeper(exchange, min_free="1000G")
    final = try_sending(daemon, complete(), [TO])[-1]
    assert str(final).startswith("452 4.3.1 not accepted: ") and "must stay free; make room there" in str(final), final
    assert "make room" in daemon.wait_event("spool_failed")["reason"]


def test_what_cannot_be_written_down_is_not_sent_again(keeper, exchange, small_disk):
    """The disk gets full while a message is on its way: it stays in the queue, and goes when there is room."""
    disk = small_disk("4M")
    daemon = keeper(exchange, mode="queue", spool=disk.path / "spool.db", min_free="0")
    send_queued(daemon, numbered(1), [TO])
    send_queued(daemon, numbered(2), [TO])
    stop(daemon)  # with it goes the journal, whose room could be used again
    exchange.up("--latency", "100")
    restart(daemon)
    disk.fill()
    assert "nothing is sent" in daemon.wait_event("spool_failed")["remedy"]
    time.sleep(1.5)
    assert len(listed(daemon)) == 2
    disk.make_room()
    wait_empty(daemon)
    assert sorted(numbers_at(exchange)) == [1, 2]


# --- load


def send_many(daemon, count, to=TO):
    """One connection, everything at once."""
    with daemon.raw(timeout=60) as client:
        client.hello()
        for n in range(count):
            client.send(f"MAIL FROM:<a@corp.example>\r\nRCPT TO:<{to}>\r\nDATA\r\n")
            assert [r.code for r in client.replies(3)] == [250, 250, 354]
            client.send(numbered(n) + b".\r\n")
            queued_id(client.reply())


def test_live_mail_does_not_wait_for_a_long_queue(keeper, exchange):
    daemon = keeper(exchange, {"log": {"level": "info"}})
    clients = [threading.Thread(target=send_many, args=(daemon, 500)) for _ in range(4)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert len(listed(daemon)) == 2000
    exchange.up("--latency", "3")
    retry(daemon)
    until(lambda: len(exchange.messages()) > 50)
    longest = 0.0
    for n in range(10):
        began = time.monotonic()
        assert try_sending(daemon, numbered(9000 + n), ["live@x.test"])[-1].text.startswith("2.6.0")
        longest = max(longest, time.monotonic() - began)
    assert listed(daemon), "the queue was still being emptied"
    print(f"the slowest live message took {longest:.3f} s")
    assert longest < 2
    wait_empty(daemon, 60)
    assert len(exchange.messages()) == 2010
    assert Counter(n for n in numbers_at(exchange) if n < 9000) == Counter({n: 4 for n in range(500)})


def test_150_megabytes_through_the_spool(submitd_program, keeper, exchange):
    """In, and out again, in chunks."""
    with open(submitd_program, "rb") as program:
        if b"__asan_init" in program.read():
            pytest.skip("AddressSanitizer keeps freed memory")
    exchange.up("--size", str(200 << 20), "--discard")
    daemon = keeper(exchange, {"listener": {"max_message_size": "160M"}, "log": {"level": "info"}}, mode="queue")
    send_queued(daemon, complete(b"x\r\n" * 100_000), [TO])
    wait_empty(daemon)
    before = daemon.memory_kb()
    block = (b"x" * 62 + b"\r\n") * (1 << 14)
    with daemon.raw(timeout=120) as client:
        client.hello()
        client.send(b"MAIL FROM:<a@corp.example>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n")
        assert client.replies(3)[-1].code == 354
        client.send(complete())
        for _ in range(150):
            client.send(block)
        client.send(b".\r\n")
        queued_id(client.reply())
    wait_empty(daemon, 60)
    assert exchange.counters()["messages"] == 2
    growth = daemon.memory_kb("VmHWM") - before
    print(f"resident {before} kB, grew {growth} kB")
    assert growth < 16 * 1024
