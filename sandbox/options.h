/*
 * What submitd-sandbox was asked to do: the command line as one struct, made from a table of rows.
 * main owns it; everyone else reads it. The strings are borrowed from argv or static.
 * It opens no file and knows no default that is not in the table.
 */
#ifndef SUBMITD_SANDBOX_OPTIONS_H
#define SUBMITD_SANDBOX_OPTIONS_H

#include "base/err.h"

#include <stdint.h>

enum option_tls { OPTION_TLS_STARTTLS, OPTION_TLS_IMPLICIT, OPTION_TLS_OFF };
enum option_send_as { OPTION_SEND_AS_OFF, OPTION_SEND_AS_DOT, OPTION_SEND_AS_MAIL };

enum { OPTION_TEXTS_MAX = 32 };

/* An option that may be given several times. */
struct option_texts {
    const char *text[OPTION_TEXTS_MAX];
    unsigned count;
};

/* Times are in milliseconds, sizes in octets; 0 switches a limit off. One row of the table each. */
struct options {
    const char *listen;
    const char *dir;
    const char *names;
    const char *cert;
    const char *key;
    const char *auth;
    const char *users;
    const char *hostname;
    struct option_texts mailbox;
    struct option_texts reject_rcpt;
    struct option_texts defer_rcpt;
    unsigned tls;     /* enum option_tls */
    unsigned send_as; /* enum option_send_as */
    bool any;
    bool expired;
    bool no_auth;
    bool require_tls;
    bool epa;
    bool smtputf8;
    bool no_chunking;
    bool no_pipelining;
    bool no_8bitmime;
    bool no_dsn;
    bool no_size;
    bool keep_dropped;
    bool discard;
    bool trace;
    bool help;
    uint64_t tarpit;
    uint64_t logon_failures;
    uint64_t rate;
    uint64_t rate_window;
    uint64_t sessions;
    uint64_t recipients;
    uint64_t size;
    uint64_t latency;
    uint64_t idle;
    uint64_t die_idle;
    uint64_t session_age;
    uint64_t drop_after_dot;
};

/* `e` names the option, the value and what is allowed. */
bool options_parse(int argc, char **argv, struct options *ret_options, struct err *e);
void options_print_help(void);

#endif
