"""Every sentence of submitd that a test insists on, in one place.

Left: a name. Right: a regular expression. When a sentence changes in the program, it changes here.
"""

NOT_NOW = r"not delivered now: "

# What is wrong with the upstream: the enhanced code and the sentence. The client hears
# "451 CODE not delivered now: SENTENCE", the log has the sentence as reason.
REFUSALS = {
    "starttls not offered": (
        "4.7.5", r"localhost: the server does not offer STARTTLS: it has no certificate for this port, or "
        r"someone on the way strips the offer"),
    "starttls 454": ("4.7.5", r"localhost: the server refused STARTTLS: 454 4\.7\.0 TLS not available"),
    "starttls 999": ("4.5.0", r"localhost: the server sent what is no SMTP reply: '999 what'"),
    "starttls 220 with plaintext behind": (
        "4.7.5", r"localhost: bytes behind the reply to STARTTLS: someone injects "
        r"replies"),
    "expired": (
        "4.7.5", r"localhost: the certificate of 'CN=expired' expired on \d{4}-\d\d-\d\d: renew it on the "
        r"server \(today is \d{4}-\d\d-\d\d here\)"),
    "wrong name": (
        "4.7.5", r"the certificate is for mail\.elsewhere\.example, not localhost: set tls_verify_name or "
        r"get a certificate with that name"),
    "unknown ca": (
        "4.7.5", r"localhost: the certificate is signed by 'CN=other_ca', which is not in \S+/ca\.pem: set "
        r"tls_ca_file to a PEM file with that authority"),
    "self signed": (
        "4.7.5", r"localhost: the certificate is self-signed and not in \S+/ca\.pem: set tls_ca_file to a "
        r"copy of it, or tls_pin = sha256:\S{44}"),
    "wrong password": (
        "4.7.8", r"localhost refused the login as 'CORP\\user' with NTLM: 535 5\.7\.3 Authentication "
        r"unsuccessful"),
    "login 454": (
        "4.7.8", r"localhost refused the login as 'CORP\\user' with NTLM: 454 4\.7\.0 Temporary "
        r"authentication failure"),
    "no common mechanism": (
        "4.7.8", r"localhost: the server offers GSSAPI and none of ntlm, cram-md5, login, "
        r"plain"),
    "no mechanism at all": ("4.7.8", r"localhost: the server offers no way to log in \(no AUTH in its EHLO reply\)"),
    "configured mechanism missing": (
        "4.7.8", r"localhost: auth = cram-md5 is configured, but the server offers only NTLM, "
        r"LOGIN"),
    "hangs before the banner": ("4.4.2", r"localhost did not get through TLS and login within 1 s"),
    "hangs at ehlo": ("4.4.2", r"localhost did not get through TLS and login within 1 s"),
    "hangs at auth": ("4.4.2", r"localhost did not get through TLS and login within 1 s"),
    "hangs at mail": ("4.4.2", r"localhost: no reply to MAIL within 1 s"),
    "hangs at rcpt": ("4.4.2", r"localhost: no reply to RCPT within 1 s"),
    "hangs at data": ("4.4.2", r"localhost: no reply to DATA within 1 s"),
    "hangs at dot": ("4.4.2", r"localhost: no reply to the final dot within 1 s"),
    "banner 421": ("4.4.0", r"localhost: the server refused the session: 421 4\.3\.2 Service not available"),
    "banner 554": ("4.4.0", r"localhost: the server refused the session: 554 5\.7\.1 go away"),
    "banner is no smtp": ("4.5.0", r"localhost: the server sent what is no SMTP reply: 'HTTP/1\.1 400 Bad Request'"),
    "ehlo and helo refused": (
        "4.7.5", r"localhost: STARTTLS is not offered, the server refused EHLO: 502 5\.5\.1 "
        r"no"),
    "dies at banner": ("4.4.2", r"localhost: the peer closed the connection"),
    "dies at starttls": ("4.4.2", r"localhost: the peer closed the connection"),
    "dies at auth": (
        "4.4.2", r"localhost: the peer closed the connection without ending TLS, something may be "
        r"missing"),
    "dies at mail": (
        "4.4.2", r"localhost: the peer closed the connection without ending TLS, something may be "
        r"missing"),
    "dies at rcpt": (
        "4.4.2", r"localhost: the peer closed the connection without ending TLS, something may be "
        r"missing"),
    "dies at data": (
        "4.4.2", r"localhost: the peer closed the connection without ending TLS, something may be "
        r"missing"),
    "dies in the body": (
        "4.4.2", r"localhost: the peer closed the connection without ending TLS, something may be "
        r"missing"),
    "dies after the dot": (
        "4.4.2", r"localhost: the peer closed the connection without ending TLS, something may be "
        r"missing"),
    "421 at mail": (
        "4.4.2", r"the upstream said: 421 4\.4\.2 Message submission rate for this client has exceeded the "
        r"configured limit"),
    "421 at rcpt": (
        "4.4.2", r"the upstream said: 421 4\.4\.2 Message submission rate for this client has exceeded the "
        r"configured limit"),
    "421 at dot": (
        "4.4.2", r"the upstream said: 421 4\.4\.2 Message submission rate for this client has exceeded the "
        r"configured limit"),
    "530 at mail": ("4.7.0", r"the upstream said: 530 5\.7\.57 Client not authenticated to send mail"),
    "wrong pin": ("4.7.5", r".*tls_pin.*"),
    "connection refused": ("4.4.1", r"cannot connect to 'localhost': .*127\.0\.0\.1:\d+ connection refused"),
    "dns": ("4.4.3", r"cannot resolve 'nosuch\.invalid': .+"),
}

LOGINS_PAUSED = r"451 4\.7\.8 " + NOT_NOW + r"logins of account 'default' are paused for \d+ more minutes"

# The listener's own replies.
NOT_ALLOWED = r"554 5\.7\.1 127\.0\.0\.\d may not use this server: .*allow.*"
TOO_MANY_CLIENTS = r"421 4\.3\.2 too many connections, try again later"
TOO_MANY_FROM_ADDRESS = r"421 4\.7\.0 too many connections from 127\.0\.0\.1, try again later"
TOO_MANY_ERRORS = r"421 4\.7\.0 .*"
IDLE_TIMEOUT = r"421 4\.4\.2 .*"
SHUTTING_DOWN = r"421 4\.3\.2 submitd is shutting down, try again later"
OUT_OF_TURN = r"554 5\.5\.0 .*"
LINE_TOO_LONG = r"500 5\.5\.\d .*"

# Log events by name.
EVENT_MESSAGE = "message"
EVENT_DEFERRED = "deferred"
EVENT_UNCERTAIN = "uncertain"
EVENT_UPSTREAM_FAILED = "upstream_failed"
EVENT_RELOADED = "reloaded"
EVENT_RELOAD_FAILED = "reload_failed"
EVENT_DENIED = "client_refused"
EVENT_DISCONNECT = "disconnect"
