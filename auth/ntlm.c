#include "auth/ntlm_challenge.h"
#include "auth/sasl_internal.h"

/*
 * MS-SMTPNTLM: AUTH NTLM, 334 with any text, Type 1, 334 Type 2, Type 3. The client could send its
 * Type 1 with the AUTH command; we take two steps as Outlook does, because every server knows that.
 */
struct ntlm {
    struct sasl base;
    struct secctx_cred *cred;
    struct secctx *ctx;
};

static struct ntlm *ntlm_of(struct sasl *s)
{
    return (struct ntlm *)(void *)s; /* base is the first member */
}

/* Starts a context, with or without channel bindings, and gets its Type 1. */
static bool begin(struct ntlm *n, struct slice binding, struct buf *out, struct err *e)
{
    secctx_free(n->ctx);
    n->ctx = NULL;
    if (!secctx_new_ntlm(n->cred, n->base.host, binding, &n->ctx, e))
        return false;
    switch (secctx_step(n->ctx, SLICE_NONE, out, e)) {
    case SECCTX_CONTINUE:
        n->base.used_binding = binding.n > 0;
        return true;
    case SECCTX_DONE:
    case SECCTX_BAD_BINDINGS:
        return err_set(e, ERR_AUTH, "the NTLM provider ended before the server's challenge");
    case SECCTX_FAILED:
        break;
    }
    return false;
}

/*
 * The server's challenge has no place for channel bindings (old servers, Cyrus SASL; never Exchange
 * with Extended Protection). A new context without them takes the same challenge: its own Type 1 is
 * thrown away, the server has seen an identical one. This does not weaken a server that wants
 * bindings: it refuses a Type 3 without.
 */
static enum secctx_status answer_unbound(
    struct ntlm *n, struct slice challenge, struct buf *out, struct err *e)
{
    n->base.dropped_binding = true;
    if (!begin(n, SLICE_NONE, out, e))
        return SECCTX_FAILED;
    buf_clear(out);
    return secctx_step(n->ctx, challenge, out, e);
}

static bool answer(struct ntlm *n, struct slice challenge, struct buf *out, struct err *e)
{
    if (!ntlm_challenge_check(challenge, e))
        return false;
    enum secctx_status status = secctx_step(n->ctx, challenge, out, e);
    if (status == SECCTX_BAD_BINDINGS && n->base.used_binding) {
        buf_clear(out);
        status = answer_unbound(n, challenge, out, e);
    }
    switch (status) {
    case SECCTX_DONE:
        return true;
    case SECCTX_CONTINUE:
        return err_set(e, ERR_AUTH, "the NTLM provider wants a third message, NTLM has none");
    case SECCTX_BAD_BINDINGS:
    case SECCTX_FAILED:
        break;
    }
    return false;
}

static bool ntlm_step(struct sasl *s, struct slice challenge, struct buf *out, struct err *e)
{
    struct ntlm *n = ntlm_of(s);
    if (s->step == 1) {
        if (!sasl_account_ntlm_cred(s->account, &n->cred, e))
            return false;
        return begin(n, buf_slice(&s->binding), out, e);
    }
    return answer(n, challenge, out, e);
}

static void ntlm_fini(struct sasl *s)
{
    struct ntlm *n = ntlm_of(s);
    secctx_free(n->ctx);
    secctx_cred_unref(n->cred);
}

const struct sasl_mech sasl_ntlm = {
    .name = "NTLM",
    .answers = 2,
    .size = sizeof(struct ntlm),
    .is_available = secctx_has_ntlm,
    .step = ntlm_step,
    .fini = ntlm_fini,
};
