#include "auth/sasl_internal.h"

/* RFC 4616 2: authorization identity, NUL, user, NUL, password. The identity stays empty: act as
 * the user that logs in. Neither part has a NUL inside, sasl_account_new saw to that. */
static bool plain_step(struct sasl *s, struct slice challenge, struct buf *out, struct err *e)
{
    (void)challenge;
    (void)e;
    buf_add_char(out, '\0');
    buf_add_str(out, sasl_account_username(s->account));
    buf_add_char(out, '\0');
    buf_add_slice(out, secret_reveal(sasl_account_password(s->account)));
    return true;
}

const struct sasl_mech sasl_plain = {
    .name = "PLAIN",
    .client_first = true,
    .sends_password = true,
    .answers = 1,
    .size = sizeof(struct sasl),
    .step = plain_step,
};
