/*
 * One client connection: its bytes to the SMTP server machine, the machine's events to a
 * transaction, the replies back. Owned by the gateway, which it tells when it is gone. It never
 * parses SMTP and never decides about a message.
 */
#ifndef SUBMITD_RELAY_INBOUND_H
#define SUBMITD_RELAY_INBOUND_H

#include "base/list.h"
#include "net/conn.h"
#include "relay/setup.h"

struct delivery;
struct inbound;

/* `in` is gone when this returns; its address must not be used afterwards. */
typedef void inbound_gone_fn(void *user, struct inbound *in);

struct inbound_params {
    struct loop *loop;
    struct setup *setup;                    /* a reference is taken */
    const struct config_listener *listener; /* of that setup's configuration */
    struct delivery *delivery;              /* NULL: there is no spool */
    inbound_gone_fn *gone;
    void *user;
};

/* Takes `c`, whatever happens. NULL when out of memory. */
struct inbound *inbound_new(const struct inbound_params *params, struct conn *c);
/* The transaction in progress may end, then 421 and close. */
void inbound_drain(struct inbound *in);
/* Closes at once; the gateway is not told. */
void inbound_free(struct inbound *in);

struct list *inbound_link(struct inbound *in);
struct inbound *inbound_of_link(struct list *link);
const struct ip_addr *inbound_peer(const struct inbound *in);
/* Its listener's name in the configuration. */
const char *inbound_listener(const struct inbound *in);

#endif
