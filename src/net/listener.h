/*
 * A listening TCP socket. The application owns it; accepted connections belong to the accept
 * callback. It never looks at who connects: the owner does.
 */
#ifndef SUBMITD_NET_LISTENER_H
#define SUBMITD_NET_LISTENER_H

#include "net/conn.h"

struct listener;

/* The callback owns `c` from then on: conn_set_owner and conn_resume, or conn_close. */
typedef void listener_fn(void *user, struct conn *c);

/* Binds and listens at once. `e` tells address, port and the remedy (in use, no permission for a
 * port below 1024). Port 0 takes a free one. IPv6 sockets are IPv6 only. */
bool listener_new(struct loop *loop, const struct ip_addr *addr, uint16_t port, listener_fn *fn,
    void *user, struct listener **ret_listener, struct err *e);
/* The same for a listening TCP socket that somebody else has bound; takes `fd`. */
bool listener_adopt(struct loop *loop, int fd, listener_fn *fn, void *user,
    struct listener **ret_listener, struct err *e);
uint16_t listener_port(const struct listener *l);
void listener_free(struct listener *l);
/* Stops and resumes accepting; connections wait in the kernel meanwhile. When the process is out of
 * file descriptors, those that wait are closed. */
void listener_pause(struct listener *l);
void listener_resume(struct listener *l);

#endif
