#include "sandbox/options.h"

#include "base/slice.h"

#include <assert.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

enum option_kind {
    OPTION_FLAG,
    OPTION_NUMBER,
    OPTION_TEXT,
    OPTION_TEXTS,
    OPTION_CHOICE, /* the value's place in `choices` */
};

struct option_row {
    const char *name;
    enum option_kind kind;
    size_t at;            /* offset in struct options */
    const char *arg;      /* what help calls the value; NULL: none */
    const char *fallback; /* read like a value from the command line; NULL: nothing, no, 0 */
    const char *alone;    /* what the option means without "=VALUE"; NULL: the value is mandatory */
    const char *const *choices; /* ends in NULL */
    const char *help;
};

static const char *const tls_choices[] = { "starttls", "implicit", "off", NULL };
static const char *const send_as_choices[] = { "off", "dot", "mail", NULL };

#define AT(field) offsetof(struct options, field)
#define FLAG(n, f, h)                                                                              \
    {                                                                                              \
        .name = (n), .kind = OPTION_FLAG, .at = AT(f), .help = (h)                                 \
    }
#define TEXT(n, f, a, d, h)                                                                        \
    {                                                                                              \
        .name = (n), .kind = OPTION_TEXT, .at = AT(f), .arg = (a), .fallback = (d), .help = (h)    \
    }
#define TEXTS(n, f, a, h)                                                                          \
    {                                                                                              \
        .name = (n), .kind = OPTION_TEXTS, .at = AT(f), .arg = (a), .help = (h)                    \
    }
#define NUMBER(n, f, a, d, h)                                                                      \
    {                                                                                              \
        .name = (n), .kind = OPTION_NUMBER, .at = AT(f), .arg = (a), .fallback = (d), .help = (h)  \
    }
#define CHOICE(n, f, c, d, o, h)                                                                   \
    {                                                                                              \
        .name = (n), .kind = OPTION_CHOICE, .at = AT(f), .arg = "WHICH", .fallback = (d),          \
        .alone = (o), .choices = (c), .help = (h)                                                  \
    }

/* clang-format off */
static const struct option_row rows[] = {
    TEXT("listen", listen, "ADDR:PORT", "127.0.0.1:2587", "Where to listen; port 0 takes a free one; IPv6 as [::1]:PORT."),
    FLAG("any", any, "Allow addresses other than loopback."),
    TEXT("dir", dir, "DIR", NULL, "Where ca.pem, users and mail/ go; made when missing; default: a new one under /tmp."),
    TEXT("hostname", hostname, "NAME", "localhost", "The name in the banner and in EHLO's reply."),
    CHOICE("tls", tls, tls_choices, "starttls", NULL, "starttls, implicit (TLS from the first byte) or off."),
    TEXT("names", names, "LIST", "localhost,127.0.0.1,::1", "DNS names and addresses in the certificate it makes."),
    TEXT("cert", cert, "FILE", NULL, "A certificate (PEM) instead of one made at start; needs --key."),
    TEXT("key", key, "FILE", NULL, "The private key (PEM) of --cert."),
    FLAG("expired", expired, "Make a certificate that expired yesterday."),
    TEXT("auth", auth, "LIST", "NTLM LOGIN", "Mechanisms offered under TLS, with blanks or commas between: NTLM, LOGIN, PLAIN. Before STARTTLS only NTLM is offered."),
    FLAG("no-auth", no_auth, "Offer no AUTH and take mail from anyone."),
    FLAG("require-tls", require_tls, "530 5.7.0 to MAIL before STARTTLS."),
    TEXT("users", users, "FILE", NULL, "Accounts, lines of DOMAIN:user:password; default: DIR/users with one account."),
    FLAG("epa", epa, "Extended Protection: NTLM only with the right channel binding."),
    NUMBER("tarpit", tarpit, "MS", "0", "Delay of 535 (Exchange: 5000)."),
    NUMBER("logon-failures", logon_failures, "N", "3", "Refused logins on one connection, then 421."),
    CHOICE("send-as", send_as, send_as_choices, "off", "dot", "550 5.7.60 when MAIL FROM is not the account's own address: after the final dot (default) or, with =mail, at MAIL."),
    TEXTS("mailbox", mailbox, "DOMAIN\\user=PATTERN", "An address that this account may send as; may be repeated; default user@*."),
    NUMBER("rate", rate, "N", "0", "Messages per minute and user, then 421 4.4.2 (Exchange: 5)."),
    NUMBER("rate-window", rate_window, "MS", "60000", "What --rate takes for a minute."),
    NUMBER("sessions", sessions, "N", "0", "Connections per source address, then 421 4.3.2 (Exchange: 20)."),
    NUMBER("recipients", recipients, "N", "200", "Recipients per message, then 452 4.5.3."),
    NUMBER("size", size, "OCTETS", "37748736", "Largest message, then 552 5.3.4."),
    TEXTS("reject-rcpt", reject_rcpt, "PATTERN", "550 5.1.1 to these recipients; may be repeated."),
    TEXTS("defer-rcpt", defer_rcpt, "PATTERN", "451 4.3.0 to these recipients; may be repeated."),
    NUMBER("latency", latency, "MS", "0", "Delay of every reply."),
    NUMBER("idle", idle, "MS", "300000", "Silence, then 421 4.4.1."),
    NUMBER("die-idle", die_idle, "MS", "0", "Silence, then the connection is closed without a word."),
    NUMBER("session-age", session_age, "MS", "600000", "Life of a connection, then 421 4.4.1 between messages."),
    NUMBER("drop-after-dot", drop_after_dot, "N", "0", "Close instead of answering the end of every Nth message."),
    FLAG("keep-dropped", keep_dropped, "Keep the messages that --drop-after-dot leaves unanswered."),
    FLAG("smtputf8", smtputf8, "Offer SMTPUTF8."),
    FLAG("no-chunking", no_chunking, "Do not offer CHUNKING."),
    FLAG("no-pipelining", no_pipelining, "Do not offer PIPELINING."),
    FLAG("no-8bitmime", no_8bitmime, "Do not offer 8BITMIME."),
    FLAG("no-dsn", no_dsn, "Do not offer DSN."),
    FLAG("no-size", no_size, "Do not offer SIZE; the limit stays."),
    FLAG("discard", discard, "Count messages instead of keeping them."),
    FLAG("trace", trace, "Show the dialogue on standard error, logins left out."),
    FLAG("help", help, "Show this."),
};
/* clang-format on */

enum { FIRST_VAL = 256, NUMBER_MAX_DIGITS = 12 };

static bool set_number(const struct option_row *row, const char *value, void *at, struct err *e)
{
    unsigned long long n;
    if (strlen(value) > NUMBER_MAX_DIGITS || !slice_to_u64(slice_str(value), &n))
        return err_set(e, ERR_CONFIG, "--%s: '%s' is not a number of at most %d digits", row->name,
            value, NUMBER_MAX_DIGITS);
    *(uint64_t *)at = n;
    return true;
}

static bool set_text(
    const struct option_row *row, const char *value, struct option_texts *texts, struct err *e)
{
    if (texts->count == OPTION_TEXTS_MAX)
        return err_set(
            e, ERR_CONFIG, "--%s: given more than %d times", row->name, OPTION_TEXTS_MAX);
    texts->text[texts->count++] = value;
    return true;
}

static bool set_choice(const struct option_row *row, const char *value, unsigned *at, struct err *e)
{
    for (unsigned i = 0; row->choices[i]; i++) {
        if (strcmp(row->choices[i], value) == 0) {
            *at = i;
            return true;
        }
    }
    return err_set(e, ERR_CONFIG, "--%s: '%s' is none of: %s", row->name, value, row->help);
}

static bool set_value(
    const struct option_row *row, const char *value, struct options *o, struct err *e)
{
    void *at = (char *)o + row->at;
    switch (row->kind) {
    case OPTION_FLAG:
        *(bool *)at = true;
        return true;
    case OPTION_NUMBER:
        return set_number(row, value, at, e);
    case OPTION_TEXT:
        *(const char **)at = value;
        return true;
    case OPTION_TEXTS:
        return set_text(row, value, at, e);
    case OPTION_CHOICE:
        return set_choice(row, value, at, e);
    }
    return false;
}

static void set_defaults(struct options *o)
{
    *o = (struct options){ 0 };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool fits = !rows[i].fallback || set_value(&rows[i], rows[i].fallback, o, NULL);
        assert(fits);
        (void)fits;
    }
}

static int has_arg(const struct option_row *row)
{
    if (!row->arg)
        return no_argument;
    return row->alone ? optional_argument : required_argument;
}

static bool check(const struct options *o, struct err *e)
{
    if (!o->cert != !o->key)
        return err_set(e, ERR_CONFIG, "--cert and --key belong together");
    if (o->cert && o->expired)
        return err_set(e, ERR_CONFIG, "--expired is for the certificate made here, not for --cert");
    if (o->epa && o->tls == OPTION_TLS_OFF)
        return err_set(e, ERR_CONFIG, "--epa needs TLS: there is no channel to bind to");
    if (o->rate > 0 && o->rate_window == 0)
        return err_set(e, ERR_CONFIG, "--rate-window: 0 is no time");
    return true;
}

bool options_parse(int argc, char **argv, struct options *ret_options, struct err *e)
{
    struct option longs[ARRAY_LEN(rows) + 1] = { 0 };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        longs[i] = (struct option){
            .name = rows[i].name, .has_arg = has_arg(&rows[i]), .val = FIRST_VAL + (int)i
        };
    struct options o;
    set_defaults(&o);
    opterr = 0;
    for (int val; (val = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        if (val < FIRST_VAL)
            return err_set(e, ERR_CONFIG,
                "'%s' is no option, or lacks its value or has one too many; "
                "see --help",
                argv[optind - 1]);
        const struct option_row *row = &rows[val - FIRST_VAL];
        if (!set_value(row, optarg ? optarg : row->alone, &o, e))
            return false;
    }
    if (optind < argc)
        return err_set(e, ERR_CONFIG, "'%s' is no option; see --help", argv[optind]);
    if (!check(&o, e))
        return false;
    *ret_options = o;
    return true;
}

void options_print_help(void)
{
    puts("Usage: submitd-sandbox [OPTION...]\n"
         "A submission server that behaves like Exchange, to try submitd and to test against.\n"
         "When it is ready it prints one line of shell assignments: PORT, CA, MAILDIR, USERS.\n");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct option_row *row = &rows[i];
        printf("  --%s%s%s%s\n        %s", row->name,
            row->alone ? "[="
            : row->arg ? "="
                       : "",
            row->arg ? row->arg : "", row->alone ? "]" : "", row->help);
        if (row->fallback && strcmp(row->fallback, "0") != 0)
            printf(" [%s]", row->fallback);
        putchar('\n');
    }
}
