/*
 * One configuration load turned into what the relay works with: the configuration, whom to trust,
 * who logs in, and one pool of upstream sessions per account. Counted: a client connection keeps
 * the one it began under, so that a reload leaves sessions in flight as they are. It is never
 * changed after setup_attach; only its pools and its choice of hosts live.
 */
#ifndef SUBMITD_RELAY_SETUP_H
#define SUBMITD_RELAY_SETUP_H

#include "auth/sasl.h"
#include "config/config.h"
#include "net/loop.h"
#include "relay/breaker.h"
#include "relay/quota.h"
#include "tls/tls.h"

struct failover;
struct pool;

enum { SETUP_HOSTNAME_MAX = 256 };

struct setup {
    unsigned refs; /* loop thread only */
    struct config *config;
    struct tls_trust *trust;      /* NULL with tls = off */
    struct sasl_account **logins; /* per account, NULL with auth = none */
    struct pool **pools;          /* per account; made by setup_attach, as are the next three */
    struct breaker **breakers;    /* per account; accounts with one login name share theirs */
    struct quota *quota;          /* of sessions, all accounts together */
    struct failover *failover;    /* the choice among the upstream's hosts */
    struct pool *next;            /* whom a session was given up for; NULL: nobody */
    size_t account_count;         /* at least 1: with auth = none and no [account] a nameless one */
    struct config_account *nameless; /* that one, NULL otherwise */
    char hostname[SETUP_HOSTNAME_MAX];
    uint64_t *marks;      /* per account, of the files its login comes from; 0: they cannot tell */
    struct loop *loop;    /* from setup_attach on */
    struct timer *reaper; /* frees the setup in a turn of its own */
    struct timer *room;   /* tells the pools in a turn of its own that a session ended */
    /* A login of this account worked, or was refused, which stops its logins for `ms` (0: not yet);
     * both NULL: nobody wants to know. */
    void (*on_login)(void *user, const char *account);
    void (*on_refused)(
        void *user, const struct setup *s, size_t account, uint64_t ms, const struct err *why);
    void *on_login_user;
};

/* Blocks (files, password_command): on a worker, or before the loop runs. NULL: `problems` says
 * why, a line each. */
struct setup *setup_load(const char *file, struct buf *problems);
/* Makes the pools. False when out of memory; the setup can only be unref'd then. */
bool setup_attach(struct setup *s, struct loop *loop);
/* After setup_attach: pools of credentials that `old` has, too, take over what its pools
 * know. Which hosts are broken is found out anew: a person may have mended them. */
void setup_inherit(struct setup *s, const struct setup *old);
struct setup *setup_ref(struct setup *s);
/* The last one closes the pools' idle sessions and frees everything, in the loop's next turn. */
void setup_unref(struct setup *s);

/* True when every account with that login comes from files with this mark: then it has the name and
 * password that it had. */
bool setup_has_login_of(const struct setup *s, const char *login, uint64_t mark);
/* Whether the account has that user name, whatever its case: the directory knows only one. */
bool setup_is_login(const struct setup *s, size_t account, const char *login);

/* It is no longer in force: sessions that nobody uses are closed. */
void setup_retire(struct setup *s);

/* --- for the pools, which share the quota --- */

/* A session of `p` has ended: others may make one. */
void setup_has_room(struct setup *s, const struct pool *p);
/* Closes an idle session of another account so that `p` can make one; false when none is idle. */
bool setup_make_room(struct setup *s, const struct pool *p);
/* True when another account than `p`'s has no session, wants one, and the quota is used up: `p`
 * then gives up one, and the place is kept for that account. */
bool setup_must_yield(struct setup *s, const struct pool *p);
/* False while a place is kept for another account. */
bool setup_may_grow(const struct setup *s, const struct pool *p);

/* The pool for this client and sender; NULL when no account matches. */
struct pool *setup_route(const struct setup *s, const struct ip_addr *client, struct slice sender);
/* The pool of the default account, or of the only one; NULL when there is none: what is known of
 * the upstream before MAIL. */
struct pool *setup_default_pool(const struct setup *s);

#endif
