/*
 * Resolves a host name and connects to the first of its addresses that answers (RFC 8305: families
 * alternate, the next address is tried 250 ms after the last or at once when it fails; IPv6 first).
 * The owner may cancel it; after the callback it is gone by itself. At most 16 addresses.
 */
#ifndef SUBMITD_NET_DIALER_H
#define SUBMITD_NET_DIALER_H

#include "net/conn.h"

struct dialer;

/* `c` is the callback's to own, NULL when it failed: then `why` names every address tried and its
 * error. */
typedef void dialer_fn(void *user, struct conn *c, const struct err *why);
/* What was resolved, for `doctor` and the debug log: "192.0.2.1, 2001:db8::1". May be NULL. */
typedef void dialer_resolved_fn(void *user, const char *addresses);

/* The callback never comes from inside this call. NULL when out of memory. `timeout_ms` covers it
 * all. */
struct dialer *dialer_start(struct loop *loop, const char *host, uint16_t port, uint64_t timeout_ms,
    dialer_fn *fn, dialer_resolved_fn *resolved, void *user);
/* No callback comes afterwards. */
void dialer_cancel(struct dialer *d);

#endif
