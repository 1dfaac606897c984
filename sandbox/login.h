/*
 * One AUTH exchange from the server's side: mechanism, challenges, verdict (RFC 4954).
 * It lives inside a session. It decodes base64, asks the accounts or the NTLM acceptor, and says
 * what to answer; the reply's words, its delay and the count of failures are the session's.
 */
#ifndef SUBMITD_SANDBOX_LOGIN_H
#define SUBMITD_SANDBOX_LOGIN_H

#include "sandbox/accounts.h"
#include "sandbox/ntlm_acceptor.h"

struct login_mech;

/* Whom it asks; made once per process. */
struct login_judges {
    const struct accounts *accounts;
    struct ntlm_acceptor *ntlm; /* NULL: NTLM is not available */
};

struct login {
    const struct login_judges *judges;
    const struct login_mech *mech; /* NULL: none is under way */
    struct ntlm_context *ntlm;
    struct buf user;               /* LOGIN: the first answer */
    struct buf binding;            /* what NTLM must be bound to; empty: nothing */
    unsigned step;                 /* answers taken */
    bool has_binding;              /* NTLM: the client sent a channel binding */
    const struct account *account; /* after LOGIN_ACCEPTED */
};

enum login_status {
    LOGIN_CHALLENGE, /* send `out` behind "334 " as it is */
    LOGIN_ACCEPTED,
    LOGIN_REFUSED,
    LOGIN_MALFORMED, /* no base64, or too long */
    LOGIN_UNKNOWN,   /* no such mechanism */
};

void login_init(struct login *login, const struct login_judges *judges);
void login_fini(struct login *login);
/* True for the mechanisms that there are: what --auth may name. */
bool login_mech_exists(struct slice mech);
/* The name of the mechanism of the last exchange, "" before. */
const char *login_mech_name(const struct login *login);

/* `initial`: the initial response as sent ("=" is the empty one); p == NULL: none. `binding` is
 * copied. `e` says why a login was refused, for the trace. */
enum login_status login_begin(struct login *login, struct slice mech, struct slice initial,
    struct slice binding, struct buf *out, struct err *e);
/* The client's answer to the last challenge, base64. */
enum login_status login_answer(
    struct login *login, struct slice base64, struct buf *out, struct err *e);

#endif
