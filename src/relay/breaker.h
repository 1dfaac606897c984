/*
 * Guards one login name: Active Directory counts every refused login and locks the account, so we
 * stop before it does (promise 4). Two refused logins in a row open the breaker; after the
 * cool-down it is half open: a single login is tried, and its refusal opens it again at once.
 * Shared by all accounts with the same login name, because the directory counts per user, and by
 * the setups of before and after a reload that have the same credential. Pure: it is told the time
 * and what happened; it never logs in and never waits.
 */
#ifndef SUBMITD_RELAY_BREAKER_H
#define SUBMITD_RELAY_BREAKER_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    BREAKER_REFUSALS_MAX = 2, /* refused logins in a row that open it */
    BREAKER_LOGINS_MAX = 2,   /* under way together once one has worked; never above REFUSALS_MAX */
};

/* For the log, `queue list` and `doctor`. */
#define BREAKER_REMEDY                                                                             \
    "correct username or password, then reload or restart submitd; if they are right (the "        \
    "account was unlocked, say), reload it: one login is tried"

enum breaker_outcome {
    BREAKER_WORKED,
    BREAKER_REFUSED, /* the credential: 535 and its like */
    BREAKER_UNKNOWN, /* it did not come to a verdict on the credential */
};

struct breaker {
    unsigned refs; /* accounts of setups that share it */
    uint64_t cooldown_ms;
    uint64_t open_until; /* 0: closed */
    unsigned refusals;   /* in a row */
    unsigned under_way;  /* logins */
    bool is_proven;      /* the last login worked */
    struct err why;      /* of the last refusal */
};

void breaker_init(struct breaker *b, uint64_t cooldown_ms);
bool breaker_is_open(const struct breaker *b, uint64_t now_ms);
/* Another login may be tried now. */
bool breaker_may_begin(const struct breaker *b, uint64_t now_ms);
/* A login begins; breaker_end follows. */
void breaker_begin(struct breaker *b);
/* `why` is for BREAKER_REFUSED only. True: this has opened the breaker. */
bool breaker_end(
    struct breaker *b, enum breaker_outcome outcome, uint64_t now_ms, const struct err *why);
/* Refusals are on record, of an earlier life or of another password: the next one opens it. */
void breaker_suspect(struct breaker *b);
/* After a restart, with the credential that was refused: it stays open for `left_ms`, at most for
 * the cool-down, then it is half open. */
void breaker_resume(struct breaker *b, uint64_t now_ms, uint64_t left_ms, const char *why);
/* Whether a pause that was written down, with so many seconds left, still counts. One that is
 * longer than the cool-down was written by a clock that was ahead. */
bool breaker_pause_counts(int64_t left_s, uint64_t cooldown_ms);
/*
 * After a reload: that is a person's word that something was mended, so with refusals on record one
 * login may be tried; a refusal opens it again at once.
 */
void breaker_reloaded(struct breaker *b, uint64_t cooldown_ms);

#endif
