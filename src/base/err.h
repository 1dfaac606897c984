/*
 * An error value: a kind for the machine, one sentence for the human, without a full stop.
 * The caller owns the struct; a function that fails fills it in, one that succeeds leaves it alone.
 * It never allocates, never logs, and its text never holds a secret.
 */
#ifndef SUBMITD_BASE_ERR_H
#define SUBMITD_BASE_ERR_H

#include "base/format.h"

#include <stdbool.h>

/* name, what went wrong, enhanced status (RFC 3463) for a client whose message it stops. */
#define ERR_KINDS(X)                                                                               \
    X(NONE, "no error", "4.3.0")                                                                   \
    X(CONFIG, "the operator's configuration", "4.3.5")                                             \
    X(MEMORY, "out of memory", "4.3.0")                                                            \
    X(LIMIT, "a limit of ours", "4.3.2")                                                           \
    X(DNS, "name resolution", "4.4.3")                                                             \
    X(CONNECT, "no connection", "4.4.1")                                                           \
    X(LOST, "the connection ended", "4.4.2")                                                       \
    X(TIMEOUT, "no answer in time", "4.4.2")                                                       \
    X(PROTO, "the peer broke the protocol", "4.5.0")                                               \
    X(REFUSED, "the peer said no", "4.4.0")                                                        \
    X(TLS, "TLS or the certificate", "4.7.5")                                                      \
    X(AUTH, "the login", "4.7.8")                                                                  \
    X(IO, "an operating system call", "4.3.0")

enum err_kind {
#define X(name, what, status) ERR_##name,
    ERR_KINDS(X)
#undef X
};

enum { ERR_TEXT_MAX = 400 };

struct err {
    enum err_kind kind;
    char text[ERR_TEXT_MAX];
};

/* Always returns false, so that a failing function can return it in one line. NULL `e` is fine. */
bool err_set(struct err *e, enum err_kind kind, const char *fmt, ...) FORMAT_LIKE_PRINTF(3, 4);
/* Puts "prefix: " before the text that is there already. Always returns false. */
bool err_prefix(struct err *e, const char *fmt, ...) FORMAT_LIKE_PRINTF(2, 3);

const char *err_kind_name(enum err_kind kind);
/* The RFC 3463 code, always 4.x.x: our own trouble is never permanent. */
const char *err_kind_status(enum err_kind kind);

#endif
