/*
 * The whole relay: listening sockets, client connections, the configuration in force. The
 * application makes one. It owns everything below it. It never reads a file: it is given loaded
 * setups.
 */
#ifndef SUBMITD_RELAY_GATEWAY_H
#define SUBMITD_RELAY_GATEWAY_H

#include "relay/setup.h"

struct delivery;
struct handed;
struct gateway;

enum {
    GATEWAY_LISTENERS_MAX = 64,
    GATEWAY_DRAIN_MS = 30 * 1000, /* a message in flight may take so long after SIGTERM */
};

/* Binds every listener or none, which is all that root may be needed for; `e` names the one that
 * failed. A listener uses the socket of `handed` that is meant for it (NULL: there are none). Takes
 * the reference to `setup` when it succeeds. Clients wait in the kernel until gateway_start. */
bool gateway_new(struct loop *loop, struct setup *setup, struct handed *handed,
    struct gateway **ret_gateway, struct err *e);
/* Serves from the loop's next turn on. `delivery` NULL: no spool, or not yet; it follows each
 * reload, and outlives the gateway. Before the loop runs. */
void gateway_start(struct gateway *g, struct delivery *delivery);
/* The spool is there now: for clients that connect from now on. */
void gateway_use_delivery(struct gateway *g, struct delivery *delivery);
/* Listeners that stay in the configuration keep their sockets; sessions in flight keep their setup.
 * On failure everything is as it was. Takes the reference to `setup` when it succeeds. */
bool gateway_reload(struct gateway *g, struct setup *setup, struct err *e);
/* No new clients; those in a transaction may end it; then `done`, once, later. */
void gateway_drain(struct gateway *g, loop_fn *done, void *user);
void gateway_free(struct gateway *g);
unsigned gateway_clients(const struct gateway *g);

#endif
