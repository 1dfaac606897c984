/*
 * The upstream sessions of one account: idle ones are reused, new ones are made on demand up to
 * max_sessions, and who finds none waits, first come, first served. Owned by its setup. It asks the
 * setup's breaker before each login (promise 4), the setup's quota before each session, and its own
 * pacing before each message (promise 5).
 * It never touches a message: whoever took a session owns it until pool_put or pool_drop.
 */
#ifndef SUBMITD_RELAY_POOL_H
#define SUBMITD_RELAY_POOL_H

#include "relay/outbound.h"
#include "relay/pacing.h"

struct pool;
struct pool_wait;

enum {
    POOL_RETRY_MS = 1000,     /* between attempts while other sessions still work */
    POOL_NEXT_HOST_MS = 3000, /* that a client waits for the next host, in any case */
};

struct pool *pool_new(struct loop *loop, struct setup *setup, size_t account);
/* Idle and connecting sessions are closed; nobody may hold or wait for one. */
void pool_free(struct pool *p);

/* An idle session that is good for another message, NULL when there is none, when others wait
 * already, or when pacing says later. The caller owns it and sends one message. */
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

/* 0: another message may go now, behind those who wait; else when to ask again. */
uint64_t pool_paced_until(struct pool *p);
/* 0: messages can be carried, or a login may be tried; else when one may be tried again. */
uint64_t pool_logins_paused_until(const struct pool *p);
/* Why pacing makes it wait, as a sentence for the client and the log. */
void pool_explain_pace(struct pool *p, struct err *ret_why);
/* A person wants the server to be tried: a limit that was learned no longer holds. */
void pool_forget_pace(struct pool *p);
/* Whoever holds a session tells every reply that may be about us (reason_of_reply): "too fast"
 * slows the account down, "too many sessions" shrinks the quota. */
void pool_heed(struct pool *p, const struct smtp_reply *reply);

/* After a reload, for the same credential: what `old` knows of the upstream, and its pace. */
void pool_inherit(struct pool *p, const struct pool *old);
/* Its setup is no longer in force: idle sessions are closed, and those given back, too. */
void pool_retire(struct pool *p);

/* Opens a session ahead of need, so that the upstream's extensions are known and a fault shows at
 * start. */
void pool_warm(struct pool *p);
/* What the upstream announced at the last login; NULL: nothing known yet. */
const struct smtp_caps *pool_caps(const struct pool *p);
const struct config_account *pool_account(const struct pool *p);

/* --- for the setup, which shares the quota among its pools --- */

/* Someone waits, and not for the pace; no session is there or under way; a login may be tried. */
bool pool_is_starving(struct pool *p);
/* Since when the first in its line waits; 0: nobody does. */
uint64_t pool_waits_since(const struct pool *p);
/* Closes the session that rested longest; false when none rests. */
bool pool_close_one(struct pool *p);
/* There may be room now: makes sessions for those who wait. */
void pool_run(struct pool *p);

#endif
