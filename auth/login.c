#include "auth/sasl_internal.h"

/* draft-murchison-sasl-login 2: the prompts are for people, their wording differs from server to
 * server and means nothing; the order is fixed. */
static bool login_step(struct sasl *s, struct slice challenge, struct buf *out, struct err *e)
{
    (void)challenge;
    (void)e;
    if (s->step == 1)
        buf_add_str(out, sasl_account_username(s->account));
    else
        buf_add_slice(out, secret_reveal(sasl_account_password(s->account)));
    return true;
}

const struct sasl_mech sasl_login = {
    .name = "LOGIN",
    .sends_password = true,
    .answers = 2,
    .size = sizeof(struct sasl),
    .step = login_step,
};
