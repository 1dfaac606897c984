/*
 * Empties the spool: takes due messages, account by account in order, sends each through the
 * account's pool, writes down a verdict per recipient, bounces what was refused. The application
 * makes one when a spool is configured. It owns the store's callbacks, not the store; routes and
 * credentials are those of the setup in force when a message is sent.
 */
#ifndef SUBMITD_RELAY_DELIVERY_H
#define SUBMITD_RELAY_DELIVERY_H

#include "relay/setup.h"
#include "spool/store.h"

struct delivery;

enum {
    DELIVERY_FIRST_RETRY_S = 60,  /* back-off begins here and doubles */
    DELIVERY_LAST_RETRY_S = 3600, /* and ends here */
    DELIVERY_BATCH = 64,          /* messages of an account looked up at once */
};

struct delivery *delivery_new(struct loop *loop, struct store *store);
/* Takes a reference; messages that wait are routed again. */
void delivery_use_setup(struct delivery *d, struct setup *setup);
/* Name of the account that this mail goes through now; `otherwise` when none matches. */
const char *delivery_account(const struct delivery *d, const struct ip_addr *client,
    const char *sender, const char *otherwise);
/* A message was committed for this account ("" is the default one). `is_later`: not due now, only
 * look again. */
void delivery_kick(struct delivery *d, const char *account, bool is_later);
/* A login of this account worked: what waits for the upstream goes at once. */
void delivery_upstream_works(struct delivery *d, const char *account);
/* A login was refused, which has stopped this account's for `ms` (0: not yet): `queue list` and
 * `doctor` show it, and the next life of submitd knows. */
void delivery_login_refused(struct delivery *d, const struct setup *setup, size_t account,
    uint64_t ms, const struct err *why);
struct store *delivery_store(struct delivery *d);
/* Begins nothing new; `done` once what is under way has ended, or at `deadline_ms`. */
void delivery_drain(struct delivery *d, uint64_t deadline_ms, loop_fn *done, void *user);
/* Ends what the drain did not wait for and writes down what became of it, before the store is
 * closed; until then no callback of the store may come. */
void delivery_cut(struct delivery *d);
/* After the store was closed. */
void delivery_free(struct delivery *d);

#endif
