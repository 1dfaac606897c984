/*
 * One configuration load turned into what the relay works with: the configuration, whom to trust,
 * who logs in, and one pool of upstream sessions per account. Counted: a client connection keeps
 * the one it began under, so that a reload leaves sessions in flight as they are. It is never
 * changed after setup_attach; only its pools live.
 */
#ifndef SUBMITD_RELAY_SETUP_H
#define SUBMITD_RELAY_SETUP_H

#include "auth/sasl.h"
#include "config/config.h"
#include "net/loop.h"
#include "tls/tls.h"

struct pool;

enum { SETUP_HOSTNAME_MAX = 256 };

struct setup {
    unsigned refs; /* loop thread only */
    struct config *config;
    struct tls_trust *trust;      /* NULL with tls = off */
    struct sasl_account **logins; /* per account, NULL with auth = none */
    struct pool **pools;          /* per account; made by setup_attach */
    size_t account_count;         /* at least 1: with auth = none and no [account] a nameless one */
    struct config_account *nameless; /* that one, NULL otherwise */
    char hostname[SETUP_HOSTNAME_MAX];
    struct loop *loop;    /* from setup_attach on */
    struct timer *reaper; /* frees the setup in a turn of its own */
    /* A login of this account worked; NULL: nobody wants to know. */
    void (*on_login)(void *user, const char *account);
    void *on_login_user;
};

/* Blocks (files, password_command): on a worker, or before the loop runs. NULL: `problems` says
 * why, a line each. */
struct setup *setup_load(const char *file, struct buf *problems);
/* Makes the pools. False when out of memory; the setup can only be unref'd then. */
bool setup_attach(struct setup *s, struct loop *loop);
/* After setup_attach: pools of credentials that `old` has, too, take over what its pools know. */
void setup_inherit(struct setup *s, const struct setup *old);
struct setup *setup_ref(struct setup *s);
/* The last one closes the pools' idle sessions and frees everything, in the loop's next turn. */
void setup_unref(struct setup *s);

/* The pool for this client and sender; NULL when no account matches. */
struct pool *setup_route(const struct setup *s, const struct ip_addr *client, struct slice sender);
/* The pool of the default account, or of the only one; NULL when there is none: what is known of
 * the upstream before MAIL. */
struct pool *setup_default_pool(const struct setup *s);

#endif
