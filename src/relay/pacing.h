/*
 * How many messages an account may send in a minute: as configured, or as learned from the server's
 * refusals. Owned by the account's pool. Pure: it is told the time and what happened, and answers
 * when the next message may go; it never waits and never sends.
 *
 * A window of one minute slides over the times of the last messages, so that no 60 seconds ever
 * hold more than the limit. (A bucket that refills evenly would let through up to twice the limit
 * in its first minute, and Exchange counts.) Exchange's MessageRateLimit is 5 a minute and user on
 * port 587 by default; its refusal is "421 4.4.2 Message submission rate for this client has
 * exceeded the configured limit".
 */
#ifndef SUBMITD_RELAY_PACING_H
#define SUBMITD_RELAY_PACING_H

#include <stdbool.h>
#include <stdint.h>

enum {
    PACING_MAX = 1200, /* messages per minute; above this nothing is paced */
    PACING_WINDOW_MS = 60 * 1000,
    PACING_PAUSE_MS = 60 * 1000,       /* after a refusal: the server's own window must pass */
    PACING_RECOVER_MS = 5 * 60 * 1000, /* without a refusal: the learned limit rises by a quarter */
};

struct pacing {
    unsigned configured;        /* per minute; 0: none */
    unsigned learned;           /* per minute; 0: none */
    uint64_t paused_until;      /* 0: not paused */
    uint64_t recover_at;        /* when `learned` rises next */
    unsigned count, head;       /* of `times`, a ring */
    uint64_t times[PACING_MAX]; /* when the last messages went, oldest at head */
};

void pacing_init(struct pacing *p, unsigned configured);
/* 0: a message may go now; else the time to ask again. */
uint64_t pacing_next(struct pacing *p, uint64_t now_ms);
/* A message goes. */
void pacing_count(struct pacing *p, uint64_t now_ms);
/* The server refused one for going too fast. True when this is news: the first since the last
 * pause. */
bool pacing_throttled(struct pacing *p, uint64_t now_ms);
/* The limit in force, per minute; 0: none. */
unsigned pacing_limit(const struct pacing *p);

#endif
