"""A private Postfix that keeps whatever comes, or relays it: the other side of the comparison. Needs root.

Everything that could slow its acknowledging down and is not the storing itself is off: no chroot, no name
lookups, no anvil for this machine's own clients, no flow control. What makes a message safe stays as it is
packaged: cleanup(8) writes and fsyncs a queue file before it answers.
"""
import os
import shutil
import subprocess
from pathlib import Path

from harness.net import free_port

PROCESSES = 100

MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {home}/spool
data_directory = {home}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file_prefixes = {home}
maillog_file = {home}/postfix.log
myhostname = postfix.bench.example
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
local_transport = error:none
biff = no
notify_classes =
in_flow_delay = 0
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_end_of_data_restrictions =
message_size_limit = 100000000
mailbox_size_limit = 0
default_process_limit = {processes}
local_header_rewrite_clients =
"""

KEEP_CF = """\
smtpd_client_restrictions = static:{HOLD}
"""

# Sessions are kept for the next message (tlsproxy and scache); LOGIN, because Cyrus' NTLM is version 1.
RELAY_CF = """\
relayhost = [127.0.0.1]:{port}
smtp_tls_security_level = verify
smtp_tls_verify_cert_match = localhost
smtp_tls_CAfile = {ca}
smtp_tls_connection_reuse = yes
smtp_sasl_auth_enable = yes
smtp_sasl_mechanism_filter = login
smtp_sasl_security_options = noanonymous
smtp_sasl_password_maps = inline:{{ {{[127.0.0.1]:{port} = {user}:{password}}} }}
"""

MASTER_CF = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
verify    unix - - n - 1 verify
flush     unix n - n 1000? 0 flush
proxymap  unix - - n - - proxymap
smtp      unix - - n - - smtp
tlsproxy  unix - - n - 0 tlsproxy
scache    unix - - n - 1 scache
tlsmgr    unix - - n 1000? 1 tlsmgr
error     unix - - n - - error
retry     unix - - n - - error
anvil     unix - - n - 1 anvil
postlog   unix-dgram n - n - 1 postlogd
"""


def is_available():
    return os.geteuid() == 0 and shutil.which("postfix", path="/usr/sbin") is not None


def relay_cf(upstream):
    """What to add to the configuration, so that messages go on to this server (harness.upstream)."""
    return RELAY_CF.format(port=upstream.port, ca=upstream.ca, user=upstream.username, password=upstream.password)


class Postfix:
    """Listens on `port` from start() to stop()."""

    def __init__(self, directory, more_cf=KEEP_CF):
        self.home, self.port = Path(directory), free_port()
        self.config = self.home / "etc"
        for name in ("etc", "spool", "data"):
            (self.home / name).mkdir(parents=True)
        shutil.chown(self.home / "data", "postfix")
        facts = {"home": self.home, "port": self.port, "processes": PROCESSES}
        (self.config / "main.cf").write_text(MAIN_CF.format(**facts) + more_cf, encoding="ascii")
        (self.config / "master.cf").write_text(MASTER_CF.format(**facts), encoding="ascii")

    def command(self, *words, enter=None):
        result = subprocess.run(words, capture_output=True, text=True, check=False, preexec_fn=enter)
        log = self.home / "postfix.log"
        assert result.returncode == 0, f"{' '.join(words)}: {result.stderr}{log.read_text() if log.exists() else ''}"
        return result.stdout

    def start(self, enter=None):
        """`enter` is called in the process that becomes Postfix."""
        self.command("/usr/sbin/postfix", "-c", str(self.config), "start", enter=enter)
        return self

    def stop(self):
        self.command("/usr/sbin/postfix", "-c", str(self.config), "stop")

    def version(self):
        return self.command("/usr/sbin/postconf", "-c", str(self.config), "-h", "mail_version").strip()

    def kept(self):
        return sum(1 for f in (self.home / "spool" / "hold").rglob("*") if f.is_file())

    def clear(self):
        self.command("/usr/sbin/postsuper", "-c", str(self.config), "-d", "ALL", "hold")
