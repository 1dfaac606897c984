/*
 * The counts behind Exchange's throttling: connections per source address, messages per user and
 * minute. main makes one for the process. It is told the time and refuses; the words of the refusal
 * are the session's.
 */
#ifndef SUBMITD_SANDBOX_LIMITS_H
#define SUBMITD_SANDBOX_LIMITS_H

#include "base/err.h"
#include "base/ip.h"

struct limits;

struct limits_params {
    uint64_t sessions_max; /* connections per source; 0: no limit */
    uint64_t rate;         /* messages per user and window; 0: no limit */
    uint64_t rate_window_ms;
    unsigned users; /* who is counted: 0 .. users - 1 */
};

/* NULL when out of memory. */
struct limits *limits_new(const struct limits_params *params);
void limits_free(struct limits *limits);

/* True: the connection is counted until limits_session_end. */
bool limits_session_begin(struct limits *limits, const struct ip_addr *source);
void limits_session_end(struct limits *limits, const struct ip_addr *source);
/* True: one more message of this user was counted. */
bool limits_take_message(struct limits *limits, unsigned user, uint64_t now_ms);

#endif
