/*
 * The upstream sessions of one account: idle ones are reused, new ones are made on demand up to
 * max_sessions, and who finds none waits, first come, first served. Owned by its setup. It guards
 * the credential: two refused logins in a row stop further logins (promise 4), and until one login
 * has worked only one is tried at a time.
 * It never touches a message: whoever took a session owns it until pool_put or pool_drop.
 */
#ifndef SUBMITD_RELAY_POOL_H
#define SUBMITD_RELAY_POOL_H

#include "relay/outbound.h"

struct pool;
struct pool_wait;

enum {
    POOL_REFUSALS_MAX = 2,             /* refused logins that stop the account */
    POOL_COOLDOWN_MS = 30 * 60 * 1000, /* AD's usual lockout window is shorter */
    POOL_LOGINS_MAX = 2,  /* at the same time, once one has worked; never above REFUSALS_MAX */
    POOL_RETRY_MS = 1000, /* between attempts while other sessions still work */
};

struct pool *pool_new(struct loop *loop, struct setup *setup, size_t account);
/* Idle and connecting sessions are closed; nobody may hold or wait for one. */
void pool_free(struct pool *p);

/* An idle session that is good for another message, NULL when there is none or others wait already.
 * The caller owns it. */
struct outbound *pool_take_idle(struct pool *p, const struct outbound_events *events, void *user);

/* `o` is ready and the caller's (its owner must be set at once), or NULL and `why` says what is
 * wrong. */
typedef void pool_fn(void *user, struct outbound *o, const struct err *why);
/* Never calls back from inside. NULL when out of memory. */
struct pool_wait *pool_wait_start(struct pool *p, pool_fn *fn, void *user);
void pool_wait_cancel(struct pool_wait *w);

/* Gives a session back after its message, good or lost; open replies are awaited before it is used
 * again. */
void pool_put(struct pool *p, struct outbound *o);
/* Gives one back that must not say another word. */
void pool_drop(struct pool *p, struct outbound *o);

/*
 * After a reload, for the same credential: what `old` knows of the upstream, and its refusals. The
 * reload is a person's word that something was mended, so one login may be tried; a refusal pauses
 * again at once.
 */
void pool_inherit(struct pool *p, const struct pool *old);

/* Opens a session ahead of need, so that the upstream's extensions are known and a fault shows at
 * start. */
void pool_warm(struct pool *p);
/* What the upstream announced at the last login; NULL: nothing known yet. */
const struct smtp_caps *pool_caps(const struct pool *p);
const struct config_account *pool_account(const struct pool *p);

#endif
