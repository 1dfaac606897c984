/*
 * Counts connections per client address, for the per-address limit.
 * Owned by the gateway. An address without connections takes no memory.
 */
#ifndef SUBMITD_RELAY_CENSUS_H
#define SUBMITD_RELAY_CENSUS_H

#include "base/ip.h"

struct census;

struct census *census_new(void);
void census_free(struct census *c);
/* Counts one more and returns the new count; 0 when out of memory (nothing was counted). */
unsigned census_enter(struct census *c, const struct ip_addr *addr);
void census_leave(struct census *c, const struct ip_addr *addr);
unsigned census_count(const struct census *c, const struct ip_addr *addr);

#endif
