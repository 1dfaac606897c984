/*
 * How many sessions the upstream may have from this machine, all accounts together. Exchange counts
 * them per source address (MaxInboundConnectionPerSource, 20 by default) and refuses the next with
 * "421 4.3.2 ... per-source limit"; then the quota shrinks below what was open and grows back one
 * by one. Owned by the setup. Pure: it is told the time and what happened.
 */
#ifndef SUBMITD_RELAY_QUOTA_H
#define SUBMITD_RELAY_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

enum { QUOTA_REGROW_MS = 60 * 1000 }; /* one more session after so long without a refusal */

struct quota {
    unsigned refs;     /* setups that share it: a reload does not give us more sessions */
    unsigned max;      /* as configured */
    unsigned allowed;  /* now; 1 to max */
    unsigned open;     /* sessions, those being made, too */
    uint64_t grows_at; /* when `allowed` rises next, while it is below max */
};

void quota_init(struct quota *q, unsigned max);
/* Another limit was configured. */
void quota_set_max(struct quota *q, unsigned max);
bool quota_has_room(struct quota *q, uint64_t now_ms);
void quota_take(struct quota *q);
void quota_give_back(struct quota *q);
/* The server refused a session because there are too many; that session is still counted. True:
 * the quota is smaller now. */
bool quota_refused(struct quota *q, uint64_t now_ms);

#endif
