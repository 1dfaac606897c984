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

enum reason_kind {
    REASON_MESSAGE,  /* a verdict on this message */
    REASON_SESSION,  /* about our session or login */
    REASON_RATE,     /* this account sends too fast */
    REASON_SESSIONS, /* this machine has too many sessions */
};

/* "451 4.7.5 not delivered now: WHY". */
void reason_of_err(const struct err *why, struct reason *ret_reason);
/*
 * True when the reply is not a verdict on this message but on us: 421 (the channel closes, but not
 * the client's), 432, 454, 530, 535, 538. *ret_reason is the 451 to give instead, quoting it.
 */
bool reason_of_reply(const struct smtp_reply *reply, struct reason *ret_reason);
enum reason_kind reason_kind(const struct smtp_reply *reply);

#endif
