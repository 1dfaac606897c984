/*
 * How many messages an account may send in a time: as configured, or as learned from the server's
 * refusals. Owned by the account's pool. Pure: it is told the time and what happened, and answers
 * when the next message may go; it never waits and never sends.
 *
 * A window slides over the times of the last messages, so that no stretch of its length ever holds
 * more than the limit. (A bucket that refills evenly would let through up to twice the limit in its
 * first minute, and Exchange counts.) Exchange's MessageRateLimit is 5 a minute and user on port
 * 587 by default; its refusal is "421 4.4.2 Message submission rate for this client has exceeded
 * the configured limit".
 */
#ifndef SUBMITD_RELAY_PACING_H
#define SUBMITD_RELAY_PACING_H

#include <stdbool.h>
#include <stdint.h>

enum {
    PACING_MAX = 1200, /* messages in a window; above this nothing is paced */
    PACING_WINDOW_MS = 60 * 1000,
    PACING_PAUSE_MS = 60 * 1000,       /* after a refusal: the server's own window must pass */
    PACING_RECOVER_MS = 5 * 60 * 1000, /* without a refusal: the learned limit rises by a quarter */
};

struct pacing {
    unsigned configured; /* messages per configured_ms; 0: no limit */
    uint64_t configured_ms;
    unsigned learned;           /* messages per PACING_WINDOW_MS; 0: no limit */
    uint64_t paused_until;      /* 0: not paused */
    uint64_t recover_at;        /* when `learned` rises next */
    unsigned count, head;       /* of `times`, a ring */
    uint64_t times[PACING_MAX]; /* when the last messages went, oldest at head */
};

/* `limit` up to PACING_MAX messages in each `window_ms`; 0: none. */
void pacing_init(struct pacing *p, unsigned limit, uint64_t window_ms);
/* 0: a message may go now, even when `ahead` others go before it; else the time to ask again. */
uint64_t pacing_next(struct pacing *p, uint64_t now_ms, unsigned ahead);
/* A message goes. */
void pacing_count(struct pacing *p, uint64_t now_ms);
/* The server refused one for going too fast. True when this is news: the first since the last
 * pause. */
bool pacing_throttled(struct pacing *p, uint64_t now_ms);
/* A person says that the server may be tried: what was learned is learned again, if need be. */
void pacing_forget(struct pacing *p);
/* What was learned, for a person: messages a minute; 0: nothing. */
unsigned pacing_learned(const struct pacing *p);
/* What went and what was learned stays so over a reload; the configured limit is the new one. */
void pacing_inherit(struct pacing *p, const struct pacing *old);

#endif
