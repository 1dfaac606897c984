/*
 * The seam to the system's security provider: NTLM by GSSAPI (gss-ntlmssp) or SSPI.
 * A credential is acquired once per account and configuration load, counted and shared between
 * threads (acquiring costs ten times an exchange, and gss-ntlmssp leaks 7.7 kB each time). A
 * context is one login. Every call here may block: it runs on a worker. It never speaks SMTP.
 */
#ifndef SUBMITD_AUTH_SECCTX_H
#define SUBMITD_AUTH_SECCTX_H

#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"

struct secctx_cred;
struct secctx;

/* Settles what the provider reads from the environment. Any number of calls; the first one should
 * come before other threads run, because it may change the environment. */
void secctx_prepare(void);
/* False when the system has no NTLM provider; `e` tells which package to install. Does not block.
 */
bool secctx_has_ntlm(struct err *e);

/*
 * NTLM credential; an empty username and password: of the account that the process runs as, which
 * only SSPI has. An error tells the remedy ("install gss-ntlmssp"). The secret may be freed
 * afterwards. Domain and user as the server sees them: DOMAIN\user and user@DOMAIN are split;
 * user@dns.domain is a user principal name and goes whole into the user field, as Windows sends it,
 * because its suffix need not be the name of a domain; dns.domain\user is split in any case; user
 * has no domain.
 */
bool secctx_cred_new_ntlm(const char *username, const struct secret *password,
    struct secctx_cred **ret_cred, struct err *e);
struct secctx_cred *secctx_cred_ref(struct secctx_cred *cred); /* any thread */
void secctx_cred_unref(struct secctx_cred *cred);

enum secctx_status {
    SECCTX_CONTINUE,     /* send `out`, wait for the next token */
    SECCTX_DONE,         /* send `out` (it may be empty); the peer has the last word */
    SECCTX_BAD_BINDINGS, /* the server's challenge has no target information to carry the bindings
                          */
    SECCTX_FAILED,
};

/* `host` is the server's name (target smtp@host). `binding` as tls_channel_binding gives it,
 * copied; empty: none. */
bool secctx_new_ntlm(struct secctx_cred *cred, const char *host, struct slice binding,
    struct secctx **ret_ctx, struct err *e);
/* The first step takes no token. After anything but CONTINUE the context is only to be freed. A
 * wrong password is DONE, too: only the server can tell. `out` should be a buffer for secrets. */
enum secctx_status secctx_step(struct secctx *ctx, struct slice in, struct buf *out, struct err *e);
void secctx_free(struct secctx *ctx);

#endif
