/*
 * Inside of relay/pool: pool.c has its life, waiting and handing out, pool_sessions.c the sessions
 * that nobody holds, growing and shrinking. Nobody else includes this.
 */
#ifndef SUBMITD_RELAY_POOL_INTERNAL_H
#define SUBMITD_RELAY_POOL_INTERNAL_H

#include "base/list.h"
#include "ops/log.h"
#include "relay/pool.h"

struct pool_wait {
    struct list link;
    struct pool *pool;
    pool_fn *fn;
    void *user;
    uint64_t began_ms, deadline;
};

struct pool {
    struct loop *loop;
    struct setup *setup; /* the owner */
    size_t account;
    const struct config_upstream *config;
    struct pacing pacing;
    struct list idle;       /* most recently used first */
    struct list connecting; /* not logged in yet */
    struct list settling;   /* given back with open replies */
    struct list waiting;    /* struct pool_wait, in order of arrival */
    unsigned connecting_count, busy_count, waiting_count, total;
    struct timer *timer;
    uint64_t failed_at;     /* the last attempt that failed; 0: none since the last that worked */
    struct err trouble;     /* of the last host that failed for those who wait; ERR_NONE: none */
    uint64_t trouble_since; /* the first of them */
    bool is_retired; /* its setup is no longer in force: nothing rests, nothing is made ready */
    bool has_caps;
    struct smtp_caps caps;
};

/* "default" for the account without a name. */
const char *pool_account_name(const struct pool *p);
uint64_t pool_now(const struct pool *p);
/* The setup's: shared by accounts with one login name, and over reloads. */
struct breaker *pool_breaker(const struct pool *p);

/* Answers all who wait now; those who come while this runs are not failed by it. */
void pool_fail_waiting(struct pool *p, const struct err *why);
struct pool_wait *pool_first_waiting(const struct pool *p);
/* Someone waits, and the first in the line may go. */
bool pool_is_first_due(struct pool *p);
/* A ready session with no owner goes to who waits longest, else it rests. */
void pool_offer(struct pool *p, struct outbound *o);
void pool_set_timer(struct pool *p);

/* Makes new sessions for those who wait, as far as limits allow. */
void pool_grow(struct pool *p);
/* It ends; `is_abort`: without another word. */
void pool_discard(struct pool *p, struct outbound *o, bool is_abort);
bool pool_is_worn_out(const struct pool *p, const struct outbound *o);
/* Logins fail for now: those who wait hear why. */
void pool_fail_paused(struct pool *p);
/* A failure while others work is no reason to hammer the server. */
bool pool_must_hold_back(const struct pool *p);
void pool_close_rested(struct pool *p);
/* An idle or settling one was lost. */
void pool_lose_idle(struct pool *p, struct outbound *o, const struct err *why);
/* To settling when replies are open, else to who wants it. */
void pool_settle(struct pool *p, struct outbound *o);

#endif
