/*
 * SASL client mechanisms (RFC 4422): PLAIN (4616), LOGIN (draft-murchison), CRAM-MD5 (2195), NTLM
 * (MS-SMTPNTLM). A struct sasl is one login attempt; its owner makes and frees it. Bytes in, bytes
 * out, no base64 and no SMTP here. A step may block (NTLM), so it runs on a worker; it uses nothing
 * but its own struct and the immutable account it was given. It never gives out a password when the
 * channel is not confidential.
 *
 * To add a mechanism: a file with one step function and one const row, and the row's place in
 * sasl_mechs.
 */
#ifndef SUBMITD_AUTH_SASL_H
#define SUBMITD_AUTH_SASL_H

#include "auth/secctx.h"

struct sasl;

enum { SASL_TOKEN_MAX = 9216 }; /* octets either way: 12288 in base64, RFC 4954 4 */

/*
 * Who logs in: made once per account and configuration load, counted, shared between threads.
 * Making it is cheap and does not block; the first is to be made before other threads run (it may
 * change the environment). The NTLM credential is acquired by the first NTLM step that needs it, on
 * that step's worker, and then kept as long as the account.
 */
struct sasl_account;

/* An empty username and no password: who this process runs as (platform_has_identity, NTLM only).
 */
bool sasl_account_new(const char *username, const struct secret *password,
    struct sasl_account **ret_account, struct err *e);
struct sasl_account *sasl_account_ref(struct sasl_account *a); /* any thread, as is unref */
void sasl_account_unref(struct sasl_account *a);
const char *sasl_account_username(const struct sasl_account *a);

struct sasl_channel {
    const char *host;     /* the server's name */
    bool is_confidential; /* TLS is up and verified, or loopback was allowed in plain text */
    struct slice binding; /* tls-server-end-point data, empty: none; copied */
};

enum sasl_status {
    SASL_SEND,   /* send `out` and wait for the server */
    SASL_FAILED, /* give up: cancel with "*"; `e` says why */
};

/* A mechanism. */
struct sasl_mech {
    const char *name;  /* as in EHLO's AUTH line */
    bool client_first; /* the first step takes no challenge and its bytes are an initial response */
    bool sends_password; /* in a form that the wire could read: never without TLS */
    unsigned answers;    /* how many the exchange has; a server that asks for more is refused */
    size_t size;         /* of the mechanism's struct, which begins with a struct sasl */
    /* False when this system lacks what the mechanism needs, `e` tells the remedy; NULL: never
     * lacks. */
    bool (*is_available)(struct err *e);
    /* False: give up, `e` says why. */
    bool (*step)(struct sasl *s, struct slice challenge, struct buf *out, struct err *e);
    void (*fini)(struct sasl *s); /* NULL: nothing but the struct sasl to free */
};

/* Strongest first; NULL ends the table. */
extern const struct sasl_mech *const sasl_mechs[];

/* The row of that name in any case, NULL when there is none. */
const struct sasl_mech *sasl_mech_find(const char *name);

/*
 * Picks for `wanted` ("auto" or a mechanism's name) out of what the server `offers` ("NTLM LOGIN").
 * auto: the strongest that is offered and can be used here. On failure `e` names what is offered
 * and what was wanted.
 */
bool sasl_choose(const char *wanted, const char *offers, bool is_confidential,
    const struct sasl_mech **ret_mech, struct err *e);
/*
 * True when the server offers a stronger mechanism than `chosen` that cannot be used here:
 * `ret_why` says which and how to mend it. Worth a warning after sasl_choose("auto").
 */
bool sasl_passed_over(
    const char *offers, bool is_confidential, const struct sasl_mech *chosen, struct err *ret_why);

bool sasl_new(const struct sasl_mech *mech, struct sasl_account *account,
    const struct sasl_channel *channel, struct sasl **ret_sasl, struct err *e);
void sasl_free(struct sasl *s);
/*
 * One step. For a client_first mechanism the first call has no challenge and gives the initial
 * response; for the others the first call has the server's first challenge. NTLM ignores the text
 * of its first 334. `out` is emptied first and becomes a buffer for secrets: what it holds, a Type
 * 3 above all, is as good as a password. The last answer tells nothing about success: the server's
 * 235 or 535 does.
 */
enum sasl_status sasl_step(struct sasl *s, struct slice challenge, struct buf *out, struct err *e);
const struct sasl_mech *sasl_mech(const struct sasl *s);
/* True when the bytes sent tie this login to its TLS channel. Only NTLM can. */
bool sasl_used_binding(const struct sasl *s);
/* True when NTLM had to leave the channel bindings out because the server sent no target
 * information. */
bool sasl_dropped_binding(const struct sasl *s);

#endif
