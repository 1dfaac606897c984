/*
 * The server's half of an NTLM login, verified by the system's GSSAPI with gss-ntlmssp.
 * main makes one acceptor for the process; each AUTH NTLM makes a context from it and frees it.
 * It never logs a token, and never accepts NTLMv1, an anonymous client, or (when bindings are
 * required) a client whose response is not bound to this TLS channel: gss-ntlmssp refuses a wrong
 * binding and accepts a missing one.
 */
#ifndef SUBMITD_SANDBOX_NTLM_ACCEPTOR_H
#define SUBMITD_SANDBOX_NTLM_ACCEPTOR_H

#include "base/buf.h"
#include "base/err.h"

struct ntlm_acceptor;
struct ntlm_context;

enum { NTLM_TOKEN_MAX = 16384, NTLM_NAME_MAX = 512 };

/* `users_file` in the form of NTLM_USER_FILE; `domain` is what the Type 2 names. Both go into the
 * environment: gss-ntlmssp reads them there. */
bool ntlm_acceptor_new(
    const char *users_file, const char *domain, struct ntlm_acceptor **ret_acceptor, struct err *e);
void ntlm_acceptor_free(struct ntlm_acceptor *acceptor);

enum ntlm_status {
    NTLM_CONTINUE, /* send `out` */
    NTLM_ACCEPTED,
    NTLM_REFUSED, /* `e` says why, for the trace; the client learns nothing */
};

/* `binding` as tls_channel_binding gives it, copied; empty: none is required. */
struct ntlm_context *ntlm_context_new(struct ntlm_acceptor *acceptor, struct slice binding);
void ntlm_context_free(struct ntlm_context *context);
enum ntlm_status ntlm_context_step(
    struct ntlm_context *context, struct slice token, struct buf *out, struct err *e);
/* DOMAIN\user after NTLM_ACCEPTED. */
const char *ntlm_context_name(const struct ntlm_context *context);
/* The client's Type 3 carried a channel binding. Verified only when one was required. */
bool ntlm_context_has_binding(const struct ntlm_context *context);

#endif
