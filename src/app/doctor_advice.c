#include "app/doctor_advice.h"
#include "base/slice.h"
#include "base/str.h"

/* First match wins: `pattern` against the sentence, NONE for any kind. The facts are those of
 * Microsoft's pages on Set-ReceiveConnector, message rate limits and receive connectors. */
static const struct {
    enum err_kind kind;
    const char *pattern, *advice;
} rows[] = {
    { ERR_NONE, "*5.7.60*",
        "the account may not send as this address. Exchange: Add-ADPermission -Identity MAILBOX "
        "-User ACCOUNT "
        "-ExtendedRights \"Send As\". Or set force_sender to the account's own address" },
    { ERR_NONE, "*5.7.57*",
        "the session counts as anonymous. Exchange: Set-ReceiveConnector CONNECTOR "
        "-PermissionGroups ExchangeUsers; "
        "here: auth must not be none" },
    { ERR_NONE, "*submission rate*",
        "the account sends faster than the connector's limit (5 a minute by default on port 587). "
        "Exchange: "
        "Set-ReceiveConnector CONNECTOR -MessageRateLimit 100 (or unlimited)" },
    { ERR_NONE, "*MessageRateLimit*",
        "mail comes faster than the connector's limit (5 a minute by default on port 587); it goes "
        "at that rate. Exchange: Set-ReceiveConnector CONNECTOR -MessageRateLimit 100 (or "
        "unlimited)" },
    { ERR_NONE, "*as its rate allows*",
        "mail comes faster than [upstream] rate; raise it if Exchange allows more" },
    { ERR_NONE, "*per-source limit*",
        "too many sessions from this machine (20 by default). Here: lower max_sessions. Exchange: "
        "Set-ReceiveConnector CONNECTOR -MaxInboundConnectionPerSource 100" },
    { ERR_NONE, "*4.5.3*",
        "more recipients than a message may have (200 by default). Exchange: Set-ReceiveConnector "
        "CONNECTOR "
        "-MaxRecipientsPerMessage 500" },
    { ERR_NONE, "*5.3.4*",
        "the message is larger than the connector takes. Exchange: Set-ReceiveConnector CONNECTOR "
        "-MaxMessageSize 50MB, "
        "and the organisation's limit: Set-TransportConfig -MaxSendSize 50MB" },
    { ERR_DNS, "*",
        "this machine cannot find the name. Check [upstream] host, and the DNS server with: getent "
        "hosts NAME" },
    { ERR_CONNECT, "*",
        "nothing answers there. Check host and port, a firewall on the way, and on Exchange: "
        "Get-ReceiveConnector | "
        "Format-List Name,Bindings,Enabled (port 587 is the connector 'Client Frontend')" },
    { ERR_TLS, "*STARTTLS*",
        "Exchange offers STARTTLS when its connector has a certificate: Enable-ExchangeCertificate "
        "-Thumbprint T "
        "-Services SMTP, and Set-ReceiveConnector CONNECTOR -AuthMechanism "
        "Tls,Integrated,BasicAuth,BasicAuthRequireTLS. "
        "If it does offer it, a firewall or virus scanner on the way strips it" },
    { ERR_TLS, "*",
        "the certificate is not the one expected. For a company's own CA set tls_ca_file, for "
        "another name "
        "tls_verify_name, for one certain key tls_pin; or give Exchange a certificate for this "
        "name: "
        "Enable-ExchangeCertificate -Thumbprint T -Services SMTP" },
    { ERR_AUTH, "not tried*",
        "one more refusal could lock the account. Correct username or password first; `submitd "
        "doctor --login` tries one login all the same" },
    { ERR_AUTH, "*535*",
        "Exchange gives one answer for a wrong name or password, an account that is disabled, "
        "expired or locked, a "
        "password that must be changed, and clocks that differ by more than 36 hours. Check with: "
        "Get-ADUser NAME "
        "-Properties LockedOut,Enabled,PasswordExpired. Each try counts towards a lockout" },
    { ERR_AUTH, "*offers*",
        "no mechanism in common. Exchange offers NTLM with: Set-ReceiveConnector CONNECTOR "
        "-AuthMechanism "
        "Tls,Integrated,BasicAuth,BasicAuthRequireTLS (Integrated is NTLM, BasicAuth is LOGIN)" },
    { ERR_AUTH, "*", "check username, password and auth of this account" },
    { ERR_TIMEOUT, "*",
        "the server is too slow or a firewall swallows the connection; connect_timeout and "
        "command_timeout can be raised" },
    { ERR_CONFIG, "*", "correct the configuration" },
    { ERR_NONE, "*", "ask the administrator of the server with these words" },
};

const char *doctor_advice(enum err_kind kind, const char *text)
{
    size_t i = 0;
    while ((rows[i].kind != ERR_NONE && rows[i].kind != kind) ||
           !str_glob_nocase(rows[i].pattern, slice_str(text)))
        i++; /* the last row matches everything */
    return rows[i].advice;
}

const char *doctor_advice_on_words(const char *text)
{
    for (size_t i = 0; i + 1 < ARRAY_LEN(rows); i++) {
        if (rows[i].kind == ERR_NONE && str_glob_nocase(rows[i].pattern, slice_str(text)))
            return rows[i].advice;
    }
    return NULL;
}
