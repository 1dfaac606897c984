/*
 * Inside of relay/delivery: delivery.c has the clock and the outside, delivery_lane.c claims and
 * lanes, delivery_result.c what follows an attempt, delivery_notice.c what people should know.
 * Nobody else includes this.
 */
#ifndef SUBMITD_RELAY_DELIVERY_INTERNAL_H
#define SUBMITD_RELAY_DELIVERY_INTERNAL_H

#include "base/list.h"
#include "ops/log.h"
#include "relay/delivery.h"
#include "relay/errand.h"

/* One account of one setup. Retired lanes begin nothing and go when their last claim ends. */
struct lane {
    struct list link;
    struct delivery *delivery;
    struct setup *setup; /* a reference: its pool must outlive the lane's errands */
    struct pool *pool;
    const char *account; /* of the setup's configuration; "" is the default one */
    struct list ready;   /* claims that were looked up and wait for their turn */
    unsigned active, claims;
    unsigned active_max;
    bool is_fetching, is_retired;
    bool is_dry;             /* the last look found nothing due */
    uint64_t retry_at;       /* loop time: the upstream does not work before; 0: it does */
    unsigned backoff_s;      /* the last pause; 0: none, or a message went through since */
    uint64_t login_helps_at; /* loop time: from then on a login that works ends the pause */
    struct timer *timer;
};

/* A message that delivery works on: no look-up returns it meanwhile. */
struct claim {
    struct list link;  /* in delivery's `claims` */
    struct list turn;  /* in its lane's `ready`, later in delivery's `unwritten` */
    struct lane *lane; /* NULL: expiry, which needs no session */
    struct delivery *delivery;
    struct store_message *message;
    struct errand *errand; /* while it is sent */
    bool *was_done;        /* per recipient, before this attempt */
    bool is_expired;
    const char *host;  /* where the attempt was; NULL: nowhere */
    bool is_unwritten; /* what follows from the attempt could not be stored yet */
    uint64_t began_ms;
};

struct delivery {
    struct loop *loop;
    struct store *store;
    struct setup *setup; /* in force */
    struct list lanes;   /* retired ones, too */
    struct list claims;
    struct list reroutings;
    unsigned claim_count;
    struct list unwritten;    /* claims whose result is to be written again */
    unsigned unwritten_count; /* those being written again, too; nothing is sent meanwhile */
    uint64_t write_again_at;  /* loop time */
    struct timer *tick;
    uint64_t data_version;
    bool is_asking;              /* store_due_times is under way */
    unsigned answers_to_warning; /* of store_due_times, until stranded mail is told of; 0: it was */
    int64_t next_sweep; /* wall time of the next look for overdue and old failed messages */
    bool is_draining;
    uint64_t drain_deadline;
    loop_fn *drained;
    void *drained_user;
};

struct claim *delivery_claim(struct delivery *d, struct lane *lane, struct store_message *m);
/* Forgets it; its lane goes on. */
void delivery_unclaim(struct claim *c);
/* Writes down what an attempt brought, bounces if that is due, and ends the claim. */
void delivery_settle(struct claim *c, const struct errand_result *result);
/* The result could not be stored: the claim stays, so that the message is not sent again. */
void delivery_keep_unwritten(struct claim *c);
/* Stores the result of an attempt, a report with it if one is due, and ends the claim. */
void delivery_write_down(struct claim *c);
/* The message's time is over. */
void delivery_expire(struct claim *c);
/* What failed to be stored is tried again, or at the end of submitd given up. */
void delivery_write_again(struct delivery *d);
void delivery_give_up_unwritten(struct delivery *d);
/* Frees a claim that nothing works on; its lane is told nothing. */
void delivery_claim_free(struct claim *c);
/* Heap; the numbers that no look-up may return. */
uint64_t *delivery_list_busy(const struct delivery *d, size_t *ret_count);
bool delivery_has_claimed(const struct delivery *d, const struct store_message *m);

/* A lane for one account of `setup`. False when out of memory. */
bool lane_open(struct delivery *d, struct setup *setup, size_t account);
/* The open lane of this account, NULL when there is none. */
struct lane *lane_find(struct delivery *d, const char *account);
/* Starts what may be started and looks up more. */
void lane_run(struct lane *lane);
/* What was only looked up is given back, so that a new look sees what people changed. */
void lane_drop_ready(struct lane *lane);
/* It begins nothing more, and goes with its last claim. */
void lane_retire(struct lane *lane);
void lane_free(struct lane *lane);
/* delivery_notice.c: a login of this account worked; the notices of its user name go. */
void delivery_clear_notices(struct delivery *d, const char *account);
/* When the spool is there: accounts whose logins were refused stay paused, or get a single try.
 * Blocks. */
void delivery_recall_notices(struct delivery *d, const struct setup *setup);
/* Every lane looks and runs again. */
void delivery_look_again(struct delivery *d);
/* Seconds until attempt number `attempts` + 1, with jitter. */
unsigned delivery_backoff_s(unsigned attempts);

#endif
