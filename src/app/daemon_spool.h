/*
 * The daemon's spool: the store, its doorbell, and the delivery that empties it. cmd_run makes one
 * when the configuration wants a spool. A full disk is no reason not to start, because relaying
 * needs no room: then it is opened as soon as there is some. It never answers clients.
 */
#ifndef SUBMITD_APP_DAEMON_SPOOL_H
#define SUBMITD_APP_DAEMON_SPOOL_H

#include "relay/delivery.h"

struct daemon_spool;

/* The spool is open, later than at the start. */
typedef void daemon_spool_fn(void *user, struct delivery *delivery);

/* Blocks. False when the spool cannot be used for any other reason than a full disk. */
bool daemon_spool_new(struct loop *loop, const struct config_delivery *config,
    daemon_spool_fn *opened, void *user, struct daemon_spool **ret_spool, struct err *e);
/* NULL: it is not open yet. Also for `s` NULL: there is no spool. */
struct delivery *daemon_spool_delivery(const struct daemon_spool *s);
/* True when it is the one that this configuration names. */
bool daemon_spool_fits(const struct daemon_spool *s, const struct config_delivery *config);
/* After the gateway; NULL is fine. What is under way is cut off and written down. */
void daemon_spool_free(struct daemon_spool *s);

#endif
