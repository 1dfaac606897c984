"""Every sentence of submitd that a test insists on, in one place.

Left: a name. Right: a regular expression. When a sentence changes in the program, it changes here.
"""

NOT_NOW = r"not delivered now: "

# What is wrong with the upstream: the client's reply (code, enhanced code, sentence) and the log's reason.
# The reply is the first refusal the client hears: at MAIL unless the test says otherwise.
REFUSALS = {
    "starttls not offered": (r"451 4\.7\.\d+ " + NOT_NOW + r".*STARTTLS", r"STARTTLS"),
    "starttls 454": (r"451 4\.\d\.\d+ " + NOT_NOW + r".*STARTTLS.*454 4\.7\.0 TLS not available", r"454 4\.7\.0 TLS"),
    "starttls 999": (r"451 4\.[57]\.\d+ " + NOT_NOW + r".*", r"999"),
    "starttls 220 with plaintext behind": (r"451 4\.7\.5 " + NOT_NOW + r".*injects replies", r"injects replies"),
    "expired": (r"451 4\.7\.5 " + NOT_NOW + r".*expired", r"expired"),
    "wrong name": (r"451 4\.7\.5 " + NOT_NOW + r".*mail\.elsewhere\.example.*", r"localhost"),
    "unknown ca": (r"451 4\.7\.5 " + NOT_NOW + r".*(CA|authority|issuer|trust).*", r"certificate"),
    "self signed": (r"451 4\.7\.5 " + NOT_NOW + r".*certificate.*", r"certificate"),
    "wrong pin": (r"451 4\.7\.5 " + NOT_NOW + r".*pin.*", r"pin"),
    "wrong password": (
        r"451 4\.7\.8 " + NOT_NOW + r"localhost refused the login as 'CORP\\user' with NTLM: 535 5\.7\.3 "
        r"Authentication unsuccessful", r"535 5\.7\.3"),
    "login 454": (r"451 4\.7\.\d+ " + NOT_NOW + r".*454 4\.7\.0 Temporary", r"454 4\.7\.0"),
    "no common mechanism": (r"451 4\.7\.8 " + NOT_NOW + r".*the server offers .*GSSAPI", r"GSSAPI"),
    "no mechanism at all": (r"451 4\.7\.8 " + NOT_NOW + r".*the server offers no way to log in", r"no AUTH in its EHLO"),
    "configured mechanism missing": (r"451 4\.7\.8 " + NOT_NOW + r".*auth = cram-md5 .* offers only NTLM LOGIN",
                                     r"offers only"),
    "connection refused": (r"451 4\.4\.1 " + NOT_NOW + r".*connection refused", r"connection refused"),
    "dns": (r"451 4\.4\.3 " + NOT_NOW + r".*cannot resolve 'nosuch\.invalid'", r"cannot resolve 'nosuch\.invalid'"),
    "hangs before the banner": (r"451 4\.4\.2 " + NOT_NOW + r".* within 1 s", r"within 1 s"),
    "hangs at ehlo": (r"451 4\.4\.2 " + NOT_NOW + r".* within 1 s", r"within 1 s"),
    "hangs at auth": (r"451 4\.4\.2 " + NOT_NOW + r".* within 1 s", r"within 1 s"),
    "hangs at mail": (r"451 4\.4\.2 " + NOT_NOW + r".*MAIL within 1 s", r"MAIL within 1 s"),
    "hangs at rcpt": (r"451 4\.4\.2 " + NOT_NOW + r".*RCPT within 1 s", r"RCPT within 1 s"),
    "hangs at data": (r"451 4\.4\.2 " + NOT_NOW + r".*DATA within 1 s", r"DATA within 1 s"),
    "hangs at dot": (r"451 4\.4\.2 " + NOT_NOW + r".*final dot within 1 s", r"final dot within 1 s"),
    "banner 421": (r"451 4\.\d\.\d+ " + NOT_NOW + r".*421 4\.3\.2 Service not available", r"421 4\.3\.2"),
    "banner 554": (r"451 4\.\d\.\d+ " + NOT_NOW + r".*554 5\.7\.1 go away", r"554 5\.7\.1"),
    "banner is no smtp": (r"451 4\.5\.0 " + NOT_NOW + r".*", r"HTTP/1\.1"),
    "ehlo and helo refused": (r"451 4\.\d\.\d+ " + NOT_NOW + r".*502 5\.5\.1 no", r"502 5\.5\.1"),
    "dies at banner": (r"451 4\.4\.2 " + NOT_NOW + r".*closed", r"closed"),
    "dies at starttls": (r"451 4\.4\.2 " + NOT_NOW + r".*closed", r"closed"),
    "dies at auth": (r"451 4\.4\.2 " + NOT_NOW + r".*closed", r"closed"),
    "dies at mail": (r"451 4\.4\.2 " + NOT_NOW + r".*closed", r"closed"),
    "dies at rcpt": (r"451 4\.4\.2 " + NOT_NOW + r".*closed", r"closed"),
    "dies at data": (r"451 4\.4\.2 " + NOT_NOW + r".*closed", r"closed"),
    "dies in the body": (r"451 4\.4\.2 " + NOT_NOW + r".*(closed|reset)", r"closed|reset"),
    "dies after the dot": (r"451 4\.4\.2 " + NOT_NOW + r".*(closed|reset)", r"closed|reset"),
    "421 at mail": (r"451 4\.4\.2 " + NOT_NOW + r".*421 4\.4\.2 Message submission rate", r"421 4\.4\.2"),
    "421 at rcpt": (r"451 4\.4\.2 " + NOT_NOW + r".*421 4\.4\.2 Message submission rate", r"421 4\.4\.2"),
    "421 at dot": (r"451 4\.4\.2 " + NOT_NOW + r".*421 4\.4\.2 Message submission rate", r"421 4\.4\.2"),
    "530 at mail": (r"451 4\.7\.0 " + NOT_NOW + r".*530 5\.7\.57", r"530 5\.7\.57"),
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
