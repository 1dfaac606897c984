/*
 * Turns our own trouble, and the upstream's words that are about us, into what a client may hear.
 * Pure functions. They never give a 5xx for a local problem (promise 1).
 */
#ifndef SUBMITD_RELAY_REASON_H
#define SUBMITD_RELAY_REASON_H

#include "base/err.h"
#include "smtp/reply.h"

enum { REASON_TEXT_MAX = 480 }; /* octets: a reply line stays below RFC 5321's 512 */

struct reason {
    unsigned code;      /* 451 */
    const char *status; /* "4.7.5"; static */
    char text[REASON_TEXT_MAX];
};

/* "451 4.7.5 not delivered now: WHY". */
void reason_of_err(const struct err *why, struct reason *ret_reason);
/*
 * True when the reply is not a verdict on this message but on us: 421 (the channel closes, but not
 * the client's), 432, 454, 530, 535, 538. *ret_reason is the 451 to give instead, quoting it.
 */
bool reason_of_reply(const struct smtp_reply *reply, struct reason *ret_reason);

#endif
