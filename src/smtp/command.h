/*
 * One command line of a client, taken apart (RFC 5321 4.1.1, RFC 4954, 3030, 3207, 3461, 6531).
 * The result's slices point into the line. It keeps no state: order is the server machine's
 * business.
 */
#ifndef SUBMITD_SMTP_COMMAND_H
#define SUBMITD_SMTP_COMMAND_H

#include "smtp/address.h"

#include <stdint.h>

#define SMTP_VERBS(X)                                                                              \
    X(EHLO)                                                                                        \
    X(HELO)                                                                                        \
    X(MAIL)                                                                                        \
    X(RCPT) X(DATA) X(BDAT) X(RSET) X(NOOP) X(VRFY) X(EXPN) X(HELP) X(QUIT) X(STARTTLS) X(AUTH)

enum smtp_verb {
#define X(name) SMTP_VERB_##name,
    SMTP_VERBS(X)
#undef X
};
enum { SMTP_VERB_COUNT = SMTP_VERB_AUTH + 1 };

enum smtp_body { SMTP_BODY_UNSAID, SMTP_BODY_7BIT, SMTP_BODY_8BITMIME };

/* The arguments of MAIL. Empty slices were not given. */
struct smtp_mail {
    struct smtp_path from;
    uint64_t size; /* SIZE=, octets; 0: not said */
    enum smtp_body body;
    bool smtputf8;
    struct slice ret;   /* RET=FULL or HDRS */
    struct slice envid; /* ENVID=, xtext as written */
    struct slice auth;  /* AUTH=, xtext as written; RFC 4954 5 */
};

/* The arguments of RCPT. */
struct smtp_rcpt {
    struct smtp_path to;
    struct slice notify; /* NOTIFY= */
    struct slice orcpt;  /* ORCPT= */
};

struct smtp_command {
    enum smtp_verb verb;
    struct slice arg;     /* what follows the verb, trimmed: EHLO's name, AUTH's mechanism, ... */
    struct slice initial; /* AUTH: the initial response, "=" included; empty: none was sent */
    struct smtp_mail mail;
    struct smtp_rcpt rcpt;
    uint64_t chunk; /* BDAT: octets that follow */
    bool is_last;   /* BDAT ... LAST */
};

/* Why a line is no command, with the reply that RFC 5321 and RFC 2034 want. */
struct smtp_syntax_error {
    unsigned code;      /* 500, 501, 550, 553, 555 */
    const char *status; /* "5.5.2" */
    const char *text;   /* static sentence */
};

/*
 * `line` is without its line end. `caps` are the SMTP_CAP_ bits announced to this client: a
 * parameter of an extension that was not announced is 555 5.5.4. *ret_error is set only on failure.
 * For the machine to check, which knows what came before: verbs of extensions that were not
 * announced (STARTTLS, AUTH, BDAT), and to.is_utf8 of RCPT when MAIL had no SMTPUTF8 (553 5.6.7).
 */
bool smtp_command_parse(struct slice line, uint32_t caps, struct smtp_command *ret_command,
    struct smtp_syntax_error *ret_error);
const char *smtp_verb_name(enum smtp_verb verb);

#endif
