"""The Windows service: its life, its orders, what the event log has of it, what a reload or an end leaves undone."""
import smtplib
import socket
import threading

import pytest
from harness.message import complete
from harness.net import Raw, free_port
from harness.wait import until
from machine import INI, PROGRAM, SPOOL

SERVICES = r"HKLM\SYSTEM\CurrentControlSet\Services"
SOURCE = SERVICES + r"\EventLog\Application\submitd"


def send(port, recipient, body=b"Hello.\r\n"):
    with smtplib.SMTP("127.0.0.1", port, "client.example", timeout=30) as client:
        client.sendmail("a@corp.example", [recipient], complete(body))


# --- installing


def test_install_makes_service_event_source_folder_and_ini(windows, service):
    registry = windows.registry(SERVICES + r"\submitd")
    assert registry["ImagePath"] == f'"{PROGRAM}" service run --config "{INI}"'
    assert registry["ObjectName"] == r"NT AUTHORITY\LocalService" and registry["Start"] == "0x2"
    assert "Exchange" in registry["Description"] and int(registry["PreshutdownTimeout"], 16) >= 60000
    assert windows.registry(SOURCE) == {"EventMessageFile": PROGRAM, "TypesSupported": "0x7"}
    assert windows.path(SPOOL).parent.is_dir()
    assert b"\r\nhost = mail.corp.example\r\n" in windows.read(INI)
    status = windows.submitd("service", "status", status=1).stdout
    assert "state     stopped" in status and "by itself" in status and PROGRAM in status
    assert service.port


def test_installing_again_keeps_an_edited_ini(windows, service):
    mine = "; mine\n[upstream]\nhost = theirs.test\n[account]\nusername = CORP\\svc-mail\n"
    service.machine.write(INI, mine)
    windows.submitd("service", "install", "--host", "other.test")
    assert windows.read(INI).decode() == mine
    windows.submitd("service", "install", "--username", r"CORP\new")
    assert windows.read(INI).decode() == mine.replace("svc-mail", "new"), "only what was never filled in"


def test_installing_again_keeps_an_ini_that_lies_elsewhere(windows, service, exchange):
    """As the MSI of a newer version does it, which does not know of that file."""
    other = r"C:\mail of ours\submitd.ini"
    service.configure(exchange)
    windows.write(other, windows.read(INI))
    windows.write(INI, "[upstream]\nport = 70000\n")
    windows.submitd("service", "install", "--config", other)
    said = windows.submitd("service", "install", "--host", "", "--username", "").stdout
    assert f"configuration: {other} (there already)" in said
    assert windows.registry(SERVICES + r"\submitd")["ImagePath"].endswith(f'--config "{other}"')
    seen = len(windows.events("started"))
    service.start()  # looks at that file, too
    assert windows.wait_event("started", seen).fields["config"] == other
    assert f"kept: {other}" in windows.submitd("service", "uninstall").stdout
    windows.remove_folder(other)


def test_uninstall_keeps_an_edited_ini_and_nothing_else(windows):
    windows.submitd("service", "install")
    windows.submitd("service", "uninstall")
    assert windows.state() is None and windows.registry(SOURCE) is None
    assert not windows.path(INI).parent.exists(), "an INI file that nobody touched is no reason to stay"
    windows.submitd("service", "install", "--host", "mail.here.test", "--username", "-")
    text = windows.read(INI).decode()
    assert "\r\nhost = mail.here.test\r\n" in text and "\r\nusername =\r\n" in text
    said = windows.submitd("service", "uninstall").stdout
    assert windows.read(INI).decode() == text and f"kept: {INI}" in said
    windows.path(INI).unlink()
    windows.submitd("service", "uninstall")  # there is none any more, which is fine
    assert not windows.path(INI).parent.exists()


@pytest.mark.parametrize("arguments, sentence", [
    (("--host", "mail corp"), "host = mail corp: must be a host name or an IP address"),
    (("--config", "submitd.ini"), "--config must be a full path"),
])
def test_install_refuses_what_cannot_work(windows, arguments, sentence):
    run = windows.submitd("service", "install", *arguments, status=2)
    assert sentence in run.stderr and windows.state() is None


@pytest.mark.parametrize("word", ["start", "stop", "reload", "status"])
def test_without_a_service_each_command_says_how_to_get_one(windows, service, exchange, word):
    service.configure(exchange)
    windows.submitd("service", "uninstall")
    run = windows.submitd("service", word, status=1)
    assert "there is no service submitd; run: submitd service install" in run.stderr


def test_service_run_in_a_console_says_what_to_type(windows, service, exchange):
    service.configure(exchange)
    run = windows.submitd("service", "run", status=2)
    assert "in a console it is: submitd run" in run.stderr


# --- starting


def test_a_service_that_runs_listens(windows, service, exchange):
    service.configure(exchange)
    seen = len(windows.events("started"))
    service.start()
    with socket.create_connection(("127.0.0.1", service.port), 5):
        pass
    assert windows.state()["STATE"].split()[0] == "4"
    assert windows.wait_event("started", seen).fields["config"] == INI
    send(service.port, "one@example.test")
    kept = exchange.one_to("one@example.test")
    assert (kept.method, kept.user) == ("NTLM", r"CORP\user")
    assert "state     running" in windows.submitd("service", "status").stdout
    service.start()  # runs already, which is fine
    service.stop()
    assert windows.state()["STATE"].split()[0] == "1" and not windows.processes()
    service.stop()


def test_wrong_configuration_is_in_the_event_log_and_the_exit_code(windows, service, exchange):
    service.configure(exchange, {"upstream": {"port": "70000"}})
    seen = len(windows.events("config_problem")), len(windows.events("start_failed"))
    run = windows.submitd("service", "start", status=2)
    assert "port = 70000: must be 1 to 65535" in run.stderr and "not started" in run.stderr
    assert len(windows.events("config_problem")) == seen[0], "the manager was not asked"
    windows.wine("net", "start", "submitd")
    problem = windows.wait_event("config_problem", seen[0])
    assert problem.level == "error" and f"{INI}:6: [upstream] port = 70000: must be" in problem.fields["reason"]
    assert "submitd check" in windows.wait_event("start_failed", seen[1]).fields["remedy"]
    assert windows.state()["WIN32_EXIT_CODE"].split()[0] == "1066", windows.state()
    assert windows.state()["SERVICE_EXIT_CODE"].split()[0] == "2", windows.state()


def test_a_port_that_is_taken_is_in_the_event_log(windows, service, exchange):
    service.configure(exchange)
    seen = len(windows.events("start_failed"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", service.port))
        taken.listen()
        run = windows.submitd("service", "start", status=2)
    assert "could not start (exit status 1" in run.stderr and "event log" in run.stderr
    event = windows.wait_event("start_failed", seen)
    assert event.level == "error" and f"127.0.0.1:{service.port}" in event.fields["reason"], event


# --- orders


class Load:
    """Four clients that send message after message until stop(); what was answered with 250 is in `accepted`."""

    def __init__(self, port):
        self.port, self.accepted, self.refused = port, [], []
        self.is_over = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(number,)) for number in range(4)]
        for thread in self.threads:
            thread.start()

    def _run(self, number):
        count = 0
        while not self.is_over.is_set():
            count += 1
            recipient = f"load{number}-{count}@example.test"
            try:
                send(self.port, recipient, b"x" * 2000 + b"\r\n")
                self.accepted.append(recipient)
            except (smtplib.SMTPException, OSError) as why:
                self.refused.append(why)
                self.is_over.wait(0.05)

    def stop(self):
        self.is_over.set()
        for thread in self.threads:
            thread.join(60)
        return self.accepted


def recipients(upstream):
    return [recipient for message in upstream.messages() for recipient in message.recipients]


def test_reload_under_load_loses_and_refuses_nothing(windows, service, exchange):
    service.configure(exchange)
    service.start()
    load = Load(service.port)
    try:
        for size in ("10M", "20M", "30M"):
            seen = len(windows.events("reloaded"))
            service.configure(exchange, {"listener": {"max_message_size": size}})
            windows.submitd("service", "reload")
            windows.wait_event("reloaded", seen)
            with Raw(service.port) as client:
                assert f"SIZE {int(size[:-1]) << 20}" in client.hello().text
    finally:
        accepted = load.stop()
    assert len(accepted) > 20 and not load.refused, load.refused
    for recipient in accepted:
        exchange.one_to(recipient)
    assert len(recipients(exchange)) == len(accepted)


def test_a_reload_with_mistakes_keeps_the_old_configuration(windows, service, exchange):
    service.configure(exchange)
    service.start()
    service.configure(exchange, {"upstream": {"port": "70000"}})
    run = windows.submitd("service", "reload", status=2)
    assert "must be 1 to 65535" in run.stderr
    seen = len(windows.events("reload_failed"))
    good = r"C:\good.ini"  # past our own check: the service has its own file
    windows.write(good, "[upstream]\nhost = x.test\nauth = none\n")
    windows.submitd("service", "reload", "--config", good)
    assert "old configuration stays" in windows.wait_event("reload_failed", seen).fields["remedy"]
    send(service.port, "still@example.test")
    exchange.one_to("still@example.test")


def test_stop_under_load_keeps_every_promise(windows, service, exchange):
    service.configure(exchange)
    service.start()
    load = Load(service.port)
    try:
        while len(load.accepted) < 10:
            assert not load.refused, load.refused
        service.stop()
    finally:
        accepted = load.stop()
    assert not windows.processes()
    service.start()  # what was left in the spool, if anything
    for recipient in accepted:
        exchange.one_to(recipient)
    assert len(recipients(exchange)) == len(set(recipients(exchange))), "nothing twice"


def test_a_message_under_way_may_end_before_the_service_does(windows, service, exchange):
    service.configure(exchange)
    service.start()
    client = Raw(service.port)
    client.hello()
    for line in ("MAIL FROM:<a@corp.example>", "RCPT TO:<slow@example.test>"):
        assert client.cmd(line).code == 250
    assert client.cmd("DATA").code == 354
    stopper = threading.Thread(target=service.stop)
    seen = len(windows.events("stopping"))
    stopper.start()
    windows.wait_event("stopping", seen)
    assert windows.state()["STATE"].split()[0] == "3", "stopping, and says so"
    client.send(complete(b"late\r\n") + b".\r\n")
    assert client.reply().code == 250
    stopper.join(60)
    exchange.one_to("slow@example.test")
    assert windows.state()["STATE"].split()[0] == "1"


def test_stop_waits_for_a_start_that_is_under_way(windows, service, exchange):
    """A removal by the MSI does: a service that was left there would start without its program."""
    service.configure(exchange, {"account": {"password": None, "password_command": "ping -n 6 127.0.0.1 >nul & echo x"}})
    starter = threading.Thread(target=windows.wine, args=("net", "start", "submitd"))
    starter.start()
    until(lambda: windows.state()["STATE"].split()[0] == "2", 20, "starting")
    service.stop()
    assert windows.state()["STATE"].split()[0] == "1" and not windows.processes()
    starter.join()


# --- the spool


def test_the_spool_survives_a_killed_service(windows, service, exchange):
    port, exchange.port = exchange.port, free_port()  # nobody is there yet
    service.configure(exchange)
    service.start()
    for number in range(5):
        send(service.port, f"kept{number}@example.test")
    assert "5 messages" in windows.submitd("queue", "list").stdout
    service.kill()
    assert "5 messages" in windows.submitd("queue", "list").stdout
    exchange.port = port
    service.configure(exchange)
    service.start()
    for number in range(5):
        exchange.one_to(f"kept{number}@example.test")
    assert windows.path(SPOOL).exists()


# --- the event log


def test_levels_and_text_of_events(windows, service, exchange):
    service.configure(exchange)
    seen = {name: len(windows.events(name)) for name in ("message", "upstream_failed", "started", "deferred")}
    service.start()
    send(service.port, "good@example.test")
    message = windows.wait_event("message", seen["message"])
    assert message.level == "info" and message.fields["to"] == "good@example.test"
    assert message.text.startswith("message\r\n\r\nid: "), "the time and the level are Event Viewer's"
    with smtplib.SMTP("127.0.0.1", service.port, "client.example") as client:
        client.sendmail('"100%1"@corp.example', ["percent@example.test"], complete())
    percent = windows.wait_event("message", seen["message"] + 1)
    assert percent.fields["from"] == '"100% 1"@corp.example', "no place to fill in for Event Viewer"
    exchange.port = free_port()
    service.configure(exchange, {"delivery": {"on_failure": "defer"}})
    windows.submitd("service", "reload")
    with pytest.raises(smtplib.SMTPRecipientsRefused, match="not delivered now"):
        send(service.port, "later@example.test")
    assert windows.wait_event("upstream_failed", seen["upstream_failed"]).level == "error"
    assert windows.wait_event("deferred", seen["deferred"]).level == "warning"
    secret = exchange.password
    assert not any(secret in event.text for event in windows.events())


def test_the_log_may_be_a_file_or_the_event_log_but_not_syslog(windows, service, exchange):
    log = r"C:\ProgramData\submitd\data\submitd.log"
    service.configure(exchange, {"log": {"target": log, "level": "debug"}})
    seen = len(windows.events())
    service.start()
    send(service.port, "file@example.test")
    service.stop()
    assert b" info message id=" in windows.read(log) and len(windows.events()) == seen
    service.configure(exchange, {"log": {"target": "syslog"}})
    run = windows.submitd("check", status=2)
    assert "[log] target = syslog: is not there on this system; write eventlog" in run.stderr
    service.configure(exchange, {"log": {"target": "eventlog"}})
    seen = len(windows.events("started"))
    service.start()
    windows.wait_event("started", seen)
