/*
 * Which of the upstream's hosts a new session goes to. Owned by its setup, shared by its pools. It
 * hears how sessions fare, and looks by itself, up to EHLO and without a login, whether a host that
 * is skipped works again: no client ever waits for that. It never begins a session for a message,
 * and a refused login is never a reason to try another host: each refusal counts towards a lockout.
 */
#ifndef SUBMITD_RELAY_FAILOVER_H
#define SUBMITD_RELAY_FAILOVER_H

#include "relay/outbound.h"

struct failover;

/* NULL when out of memory. */
struct failover *failover_new(struct loop *loop, struct setup *setup);
void failover_free(struct failover *f);

/* The index of the host for a new session. */
size_t failover_choose(struct failover *f);
/* The arguments of on_lost, for a session that was never ready. True: another host can be tried at
 * once. */
bool failover_lost(struct failover *f, const struct outbound *o, const struct err *why,
    const struct smtp_reply *reply);
/* The session can carry messages, and: it is gone. `f` NULL: nobody wants to know. */
void failover_session_ready(struct failover *f, size_t host);
void failover_session_over(struct failover *f, size_t host);

#endif
