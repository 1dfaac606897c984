/*
 * One login on an upstream session: carries a SASL mechanism's steps to a worker and back.
 * The session owns it; login_free may come at any time, also while a worker is busy with it.
 * It never sends anything: the session does.
 */
#ifndef SUBMITD_RELAY_LOGIN_H
#define SUBMITD_RELAY_LOGIN_H

#include "auth/sasl.h"
#include "net/loop.h"

struct login;

/* `out` are the raw bytes to send, valid during the call; on SASL_FAILED `why` is set. */
typedef void login_fn(void *user, enum sasl_status status, struct slice out, const struct err *why);

bool login_new(struct loop *loop, const struct sasl_mech *mech, struct sasl_account *account,
    const struct sasl_channel *channel, login_fn *fn, void *user, struct login **ret_login,
    struct err *e);
void login_free(struct login *l);
/* Runs one step; `challenge` is base64 as it came (what is no base64 counts as empty: Exchange's
 * "334 NTLM supported"). False when it could not be started. */
bool login_step(struct login *l, struct slice challenge, struct err *e);
/* After the last step: whether channel bindings went along, or had to be left out. */
bool login_used_binding(const struct login *l);
bool login_dropped_binding(const struct login *l);

#endif
