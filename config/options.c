#include "config/options.h"
#include "platform/platform.h"

#include <assert.h>

/* A choice is stored as the index into its words: their order is the enum's. */
static_assert(sizeof(enum config_tls) == sizeof(unsigned), "value_choice writes an unsigned");
static_assert(CONFIG_TLS_IMPLICIT == 1 && CONFIG_TLS_OFF == 2, "order of tls_words");
static_assert(CONFIG_CHUNKING_NO == 1, "order of chunking_words");
static_assert(CONFIG_LOG_JSON == 1, "order of format_words");
static_assert(CONFIG_LOG_WARNING == 1 && CONFIG_LOG_INFO == 2 && CONFIG_LOG_DEBUG == 3,
    "order of level_words");
static_assert(offsetof(struct config_listener, name) == 0, "is_many: the name comes first");
static_assert(offsetof(struct config_account, name) == 0, "is_many: the name comes first");

static const char *const tls_words[] = { "starttls", "implicit", "off", NULL };
static const char *const auth_words[] = { "auto", "ntlm", "cram-md5", "login", "plain", "none",
    NULL };
static const char *const chunking_words[] = { "auto", "no", NULL };
static const char *const mode_words[] = { "relay", "queue", NULL };
static const char *const on_failure_words[] = { "spool", "defer", NULL };
static const char *const on_uncertain_words[] = { "retry", "hold", NULL };
static const char *const format_words[] = { "text", "json", NULL };
static const char *const level_words[] = { "error", "warning", "info", "debug", NULL };

#define SECONDS(n) ((n)*UINT64_C(1000))
#define MINUTES(n) SECONDS((n)*UINT64_C(60))
#define HOURS(n)   MINUTES((n)*UINT64_C(60))
#define DAYS(n)    HOURS((n)*UINT64_C(24))
#define GIGA(n)    ((n) * (UINT64_C(1) << 30))

#define FIELD(member) offsetof(struct config_listener, member)
static const struct option listener_options[] = {
    { .name = "address",
        .kind = &value_address,
        .offset = FIELD(address),
        .preset = "127.0.0.1",
        .help = "Where clients connect to: an address of this machine, 0.0.0.0 (all IPv4) or :: "
                "(all IPv6)." },
    { .name = "port",
        .kind = &value_port,
        .offset = FIELD(port),
        .preset = "25",
        .help = "The TCP port." },
    { .name = "allow",
        .kind = &value_nets,
        .offset = FIELD(allow),
        .preset = "",
        .help = "Clients that may send; others are refused with 554 before they said anything. "
                "Empty means this "
                "machine only (127.0.0.0/8, ::1); required when the address is not a loopback "
                "address." },
    { .name = "max_message_size",
        .kind = &value_size,
        .offset = FIELD(max_message_size),
        .preset = "150M",
        .max = GIGA(64),
        .help = "Larger messages are refused with 552; the smaller of this and the upstream's own "
                "limit is "
                "offered to clients. 0 is no limit of our own." },
    { .name = "max_recipients",
        .kind = &value_count,
        .offset = FIELD(max_recipients),
        .preset = "1000",
        .min = 1,
        .max = 50000,
        .help =
            "Recipients of one message; the upstream's own, often lower limit applies as well." },
    { .name = "max_clients",
        .kind = &value_count,
        .offset = FIELD(max_clients),
        .preset = "1000",
        .min = 1,
        .max = 50000,
        .help = "Connections to this listener at the same time; more are refused with 421." },
    { .name = "max_clients_per_address",
        .kind = &value_count,
        .offset = FIELD(max_clients_per_address),
        .preset = "500",
        .max = 50000,
        .help = "The same for one client address, so that one runaway program leaves room for "
                "others. 0 is no "
                "limit." },
    { .name = "max_errors",
        .kind = &value_count,
        .offset = FIELD(max_errors),
        .preset = "20",
        .min = 1,
        .max = 1000,
        .help = "After so many refused commands a connection is closed." },
    { .name = "idle_timeout",
        .kind = &value_time,
        .offset = FIELD(idle_timeout_ms),
        .preset = "5m",
        .min = SECONDS(1),
        .max = HOURS(24),
        .help = "A client that sends nothing for so long is disconnected (RFC 5321 asks for 5 "
                "minutes)." },
    { .name = "session_timeout",
        .kind = &value_time,
        .offset = FIELD(session_timeout_ms),
        .preset = "24h",
        .max = DAYS(30),
        .help = "A connection is closed when it is so old, busy or not. 0 is no limit." },
};
#undef FIELD

#define FIELD(member) offsetof(struct config_upstream, member)
static const struct option upstream_options[] = {
    { .name = "host",
        .kind = &value_hosts,
        .offset = FIELD(host),
        .help = "The server that takes our mail: its name as in its certificate, or an address. Of "
                "several, up to 8, the first that works is used; one that cannot be reached is "
                "skipped until it can be again. A name may carry its own port: "
                "mail2.corp.example:2525." },
    { .name = "port",
        .kind = &value_port,
        .offset = FIELD(port),
        .preset = "587",
        .help =
            "The TCP port of every host that has none of its own: 587 is usual for starttls, 465 "
            "for implicit." },
    { .name = "tls",
        .kind = &value_choice,
        .offset = FIELD(tls),
        .preset = "starttls",
        .words = tls_words,
        .help = "starttls turns TLS on after the greeting and refuses to go on without; implicit "
                "begins with TLS; "
                "off is allowed only when host is this machine." },
    { .name = "tls_ca_file",
        .kind = &value_path,
        .offset = FIELD(tls_ca_file),
        .preset = "",
        .help = "A PEM file with the certificates to trust, instead of the system's store. A "
                "relative path begins "
                "at the folder of this INI file." },
    { .name = "tls_verify_name",
        .kind = &value_host,
        .offset = FIELD(tls_verify_name),
        .preset = "",
        .help = "The name that the certificates of all hosts must carry, when it is not the host's "
                "own." },
    { .name = "tls_pin",
        .kind = &value_pin,
        .offset = FIELD(tls_pin),
        .preset = "",
        .help =
            "The hash of the server's public key, the same for all hosts. It replaces the check of "
            "chain, name and "
            "dates, for servers "
            "with a self-signed certificate; `submitd doctor` shows it." },
    { .name = "tls_priority",
        .kind = &value_text,
        .offset = FIELD(tls_priority),
        .preset = "",
        .help =
            "A GnuTLS priority string. Empty is TLS 1.2 or newer with the library's safe choice." },
    { .name = "auth",
        .kind = &value_word,
        .offset = FIELD(auth),
        .preset = "auto",
        .words = auth_words,
        .help = "How to log in: auto takes the strongest that the server offers, none sends "
                "without a login." },
    { .name = "chunking",
        .kind = &value_choice,
        .offset = FIELD(chunking),
        .preset = "auto",
        .words = chunking_words,
        .help =
            "auto sends with BDAT when the server offers CHUNKING, no always sends with DATA." },
    { .name = "max_sessions",
        .kind = &value_count,
        .offset = FIELD(max_sessions),
        .preset = "8",
        .min = 1,
        .max = 1000,
        .help = "Connections to the server at the same time for each account." },
    { .name = "max_sessions_total",
        .kind = &value_count,
        .offset = FIELD(max_sessions_total),
        .preset = "16",
        .min = 1,
        .max = 1000,
        .help = "The same for all accounts together; Exchange allows 20 from one address." },
    { .name = "rate",
        .kind = &value_rate,
        .offset = FIELD(rate),
        .preset = "",
        .max = 1200,
        .help = "Messages that one account may send in a time; more wait in the spool. Exchange "
                "takes 5/min from a user on port 587 unless its MessageRateLimit was raised. Empty "
                "is no limit of our own: when the server refuses one for being too fast, its limit "
                "is learned." },
    { .name = "breaker_cooldown",
        .kind = &value_time,
        .offset = FIELD(breaker_cooldown_ms),
        .preset = "30m",
        .min = SECONDS(1),
        .max = HOURS(24),
        .help = "After two refused logins an account tries none for so long, then one at a time, "
                "so that the directory does not lock it: longer than the time after which the "
                "directory forgets refused logins." },
    { .name = "connect_timeout",
        .kind = &value_time,
        .offset = FIELD(connect_timeout_ms),
        .preset = "30s",
        .min = 100,
        .max = MINUTES(10),
        .help = "The longest time to reach one host, set up TLS and log in, together. With several "
                "hosts a message waits so long for the first that does not answer; that one is "
                "skipped then, and the next ones are waited for until wait_timeout is over." },
    { .name = "command_timeout",
        .kind = &value_time,
        .offset = FIELD(command_timeout_ms),
        .preset = "5m",
        .min = 100,
        .max = HOURS(1),
        .help = "The longest wait for the reply to a command." },
    { .name = "data_timeout",
        .kind = &value_time,
        .offset = FIELD(data_timeout_ms),
        .preset = "3m",
        .min = 100,
        .max = HOURS(1),
        .help = "The longest pause between two blocks of a message." },
    { .name = "final_timeout",
        .kind = &value_time,
        .offset = FIELD(final_timeout_ms),
        .preset = "10m",
        .min = 100,
        .max = HOURS(1),
        .help = "The longest wait for the verdict on a message; RFC 5321 asks for 10 minutes, and "
                "giving up "
                "early makes duplicates." },
    { .name = "wait_timeout",
        .kind = &value_time,
        .offset = FIELD(wait_timeout_ms),
        .preset = "30s",
        .max = MINUTES(10),
        .help =
            "How long a message waits for a session when max_sessions are busy, or when one host "
            "has failed and the next is tried, before on_failure is done." },
    { .name = "idle_close",
        .kind = &value_time,
        .offset = FIELD(idle_close_ms),
        .preset = "200s",
        .min = SECONDS(1),
        .max = MINUTES(4),
        .help = "A session that had nothing to do for so long is closed by us; it must stay below "
                "the 5 minutes "
                "after which Exchange closes it." },
    { .name = "session_age",
        .kind = &value_time,
        .offset = FIELD(session_age_ms),
        .preset = "8m",
        .min = SECONDS(1),
        .max = HOURS(24),
        .help = "A session takes no new message when it is so old; Exchange ends sessions after 10 "
                "minutes." },
    { .name = "hostname",
        .kind = &value_host,
        .offset = FIELD(hostname),
        .preset = "",
        .help = "Our name in EHLO and in Received. Empty is this machine's full name." },
};
#undef FIELD

#define FIELD(member) offsetof(struct config_account, member)
static const struct option account_options[] = {
    { .name = "match_sender",
        .kind = &value_globs,
        .offset = FIELD(match_sender),
        .preset = "",
        .help = "Envelope senders that use this account; * stands for anything, ? for one "
                "character, <> for the "
                "empty sender of bounces." },
    { .name = "match_client",
        .kind = &value_nets,
        .offset = FIELD(match_client),
        .preset = "",
        .help = "Clients that use this account. With match_sender as well, both must match." },
    { .name = "username",
        .kind = &value_text,
        .offset = FIELD(username),
        .preset = "",
        .help = "The login: DOMAIN\\user, user@domain or user. Required unless auth = none. On "
                "Windows, `username =` with nothing behind it logs in by NTLM as the account that "
                "submitd runs as, without a password." },
    { .name = "password",
        .kind = &value_secret,
        .offset = FIELD(password),
        .preset = "",
        .is_secret = true,
        .help =
            "The password itself. The INI file must then be closed to other users (chmod 640)." },
    { .name = "password_file",
        .kind = &value_path,
        .offset = FIELD(password_file),
        .preset = "",
        .help = "A file whose first line is the password, closed to other users. A relative path "
                "begins at "
                "systemd's $CREDENTIALS_DIRECTORY when that is set, else at the folder of this INI "
                "file." },
    { .name = "password_command",
        .kind = &value_command,
        .offset = FIELD(password_command),
        .preset = "",
        .help = "A shell command whose first line of output is the password; it has 30 seconds. "
                "The command "
                "itself is no secret: `submitd check` shows it." },
    { .name = "password_protected",
        .kind = &value_protected,
        .offset = FIELD(password_protected),
        .preset = "",
        .is_secret = true,
        .help =
            "Windows only: what `submitd secret protect` makes of a password, with its indented "
            "lines; it works on the machine where it was made. The INI file must be closed to "
            "other users all the same." },
    { .name = "force_sender",
        .kind = &value_mailbox,
        .offset = FIELD(force_sender),
        .preset = "",
        .help = "Replaces the sender in the envelope and in From; the old From is kept in Reply-To "
                "when there is "
                "none." },
};
#undef FIELD

#define FIELD(member) offsetof(struct config_delivery, member)
static const struct option delivery_options[] = {
    { .name = "mode",
        .kind = &value_word,
        .offset = FIELD(mode),
        .preset = "relay",
        .words = mode_words,
        .help = "relay passes every reply of the server on to the client while it waits; queue "
                "answers as soon as the message is safe in the spool and sends it afterwards." },
    { .name = "on_failure",
        .kind = &value_word,
        .offset = FIELD(on_failure),
        .preset = "spool",
        .words = on_failure_words,
        .help =
            "While the server cannot be used: spool takes the message in, answers 250 and sends "
            "it later; defer answers 451, try again later." },
    { .name = "spool",
        .kind = &value_path,
        .offset = FIELD(spool),
        .preset = "/var/lib/submitd/spool.db",
        .preset_windows = "%ProgramData%\\submitd\\data\\spool.db",
        .help = "The file that messages wait in. Its folder must exist and belong to submitd." },
    { .name = "expire",
        .kind = &value_time,
        .offset = FIELD(expire_ms),
        .preset = "3d",
        .min = 60 * 1000,
        .max = 30ULL * 24 * 3600 * 1000,
        .help = "A spooled message that could not be sent for so long is returned to its sender." },
    { .name = "bounce_to",
        .kind = &value_mailbox,
        .offset = FIELD(bounce_to),
        .preset = "",
        .help = "Who gets the reports on messages that failed. Empty: the sender of the message, "
                "which is right when somebody reads its mailbox." },
    { .name = "keep_failed",
        .kind = &value_time,
        .offset = FIELD(keep_failed_ms),
        .preset = "7d",
        .min = 0,
        .max = 365ULL * 24 * 3600 * 1000,
        .help = "How long a message that failed stays in the spool, where `submitd queue` can show "
                "it and send it again." },
    { .name = "on_uncertain",
        .kind = &value_word,
        .offset = FIELD(on_uncertain),
        .preset = "retry",
        .words = on_uncertain_words,
        .help = "When the connection ends between the last byte of a message and the server's "
                "answer: retry sends it again with the same Message-ID, hold keeps it for a person "
                "to decide." },
    { .name = "min_free",
        .kind = &value_size,
        .offset = FIELD(min_free),
        .preset = "100M",
        .max = GIGA(1024),
        .help = "Room that stays free on the spool's disk: with less, clients get 452." },
};
#undef FIELD

#define FIELD(member) offsetof(struct config_log, member)
static const struct option log_options[] = {
    { .name = "target",
        .kind = &value_target,
        .offset = FIELD(target),
        .preset = "stderr",
        .help =
            "Where the log goes. stderr of the Windows service is the event log; syslog is there "
            "on Linux only, eventlog on Windows only." },
    { .name = "format",
        .kind = &value_choice,
        .offset = FIELD(format),
        .preset = "text",
        .words = format_words,
        .help = "One line of text or one JSON object for each event." },
    { .name = "level",
        .kind = &value_choice,
        .offset = FIELD(level),
        .preset = "info",
        .words = level_words,
        .help = "The least important events to log; debug adds the SMTP dialogue without its "
                "secrets." },
};
#undef FIELD

#define FIELD(member) offsetof(struct config_service, member)
static const struct option service_options[] = {
    { .name = "user",
        .kind = &value_text,
        .offset = FIELD(user),
        .preset = PLATFORM_SERVICE_USER,
        .help = "Started as root, submitd takes this user's rights for good, after it has bound "
                "its listeners and read its passwords; the log and the spool are opened, and a "
                "reload is done, as this user. root: stay root, in a container for one. Without "
                "effect when another user starts submitd, as systemd does, and on Windows." },
};
#undef FIELD

#define ROWS(table) .options = (table), .count = ARRAY_LEN(table)
const struct section sections[SECTION_COUNT] = {
    [SECTION_LISTENER] = { .name = "listener",
        ROWS(listener_options),
        .size = sizeof(struct config_listener),
        .offset = offsetof(struct config, listeners),
        .is_many = true,
        .count_offset = offsetof(struct config, listener_count),
        .help = "Where programs hand in their mail. `[listener NAME]` adds another; with no "
                "listener section at all "
                "there is one with the defaults." },
    [SECTION_UPSTREAM] = { .name = "upstream",
        ROWS(upstream_options),
        .size = sizeof(struct config_upstream),
        .offset = offsetof(struct config, upstream),
        .help = "The mail server that all mail goes to." },
    [SECTION_ACCOUNT] = { .name = "account",
        ROWS(account_options),
        .size = sizeof(struct config_account),
        .offset = offsetof(struct config, accounts),
        .is_many = true,
        .count_offset = offsetof(struct config, account_count),
        .help = "Who logs in at the mail server. The first `[account NAME]` that matches is used, "
                "`[account]` when "
                "none does. Each needs a username and exactly one of password, password_file, "
                "password_command and password_protected; on Windows also none of these (see "
                "username)." },
    [SECTION_DELIVERY] = { .name = "delivery",
        ROWS(delivery_options),
        .size = sizeof(struct config_delivery),
        .offset = offsetof(struct config, delivery),
        .help = "How messages are passed on." },
    [SECTION_LOG] = { .name = "log",
        ROWS(log_options),
        .size = sizeof(struct config_log),
        .offset = offsetof(struct config, log),
        .help = "The log of messages and sessions." },
    [SECTION_SERVICE] = { .name = "service",
        ROWS(service_options),
        .size = sizeof(struct config_service),
        .offset = offsetof(struct config, service),
        .help = "How submitd runs on this machine." },
};
static_assert(ARRAY_LEN(upstream_options) <= SECTION_OPTIONS_MAX, "the loader counts on it");
