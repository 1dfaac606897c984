#include "relay/login.h"
#include "base/base64.h"

#include <stdlib.h>

enum { LOGIN_TOKEN_MAX = 16384 }; /* octets; RFC 4954 4 allows lines of 12288 */

struct login {
    struct loop *loop;
    struct sasl *sasl;
    login_fn *fn;
    void *user;
    bool is_busy;  /* a worker has it */
    bool is_freed; /* the owner is gone; freed when the worker is done */
    bool used_binding, dropped_binding;
    struct buf challenge; /* the worker's while is_busy, as are the three below */
    struct buf out;
    enum sasl_status status;
    struct err err;
};

bool login_new(struct loop *loop, const struct sasl_mech *mech, struct sasl_account *account,
    const struct sasl_channel *channel, login_fn *fn, void *user, struct login **ret_login,
    struct err *e)
{
    struct login *l = calloc(1, sizeof *l);
    if (!l)
        return err_set(e, ERR_MEMORY, "out of memory for a login");
    l->loop = loop;
    l->fn = fn;
    l->user = user;
    buf_init_secret(&l->challenge, LOGIN_TOKEN_MAX);
    buf_init_secret(&l->out, LOGIN_TOKEN_MAX);
    if (!sasl_new(mech, account, channel, &l->sasl, e)) {
        login_free(l);
        return false;
    }
    *ret_login = l;
    return true;
}

void login_free(struct login *l)
{
    if (!l)
        return;
    l->is_freed = true;
    if (l->is_busy)
        return;
    sasl_free(l->sasl);
    buf_fini(&l->challenge);
    buf_fini(&l->out);
    free(l);
}

static void run_step(void *arg)
{
    struct login *l = arg;
    l->status = sasl_step(l->sasl, buf_slice(&l->challenge), &l->out, &l->err);
}

static void step_is_done(void *arg)
{
    struct login *l = arg;
    l->is_busy = false;
    if (l->is_freed) {
        login_free(l);
        return;
    }
    l->used_binding = sasl_used_binding(l->sasl);
    l->dropped_binding = sasl_dropped_binding(l->sasl);
    l->fn(l->user, l->status, buf_slice(&l->out), &l->err);
}

bool login_step(struct login *l, struct slice challenge, struct err *e)
{
    buf_clear(&l->challenge);
    buf_clear(&l->out);
    if (!base64_decode(challenge, &l->challenge))
        buf_clear(&l->challenge);
    l->is_busy = loop_work(l->loop, run_step, step_is_done, l);
    return l->is_busy || err_set(e, ERR_MEMORY, "the login could not be started");
}

bool login_used_binding(const struct login *l)
{
    return l->used_binding;
}

bool login_dropped_binding(const struct login *l)
{
    return l->dropped_binding;
}
