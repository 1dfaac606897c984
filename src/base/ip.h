/*
 * An IP address (IPv4 or IPv6, no port) and a network in CIDR notation, as values.
 * IPv4-mapped IPv6 addresses (::ffff:192.0.2.1) are turned into IPv4 when they are parsed.
 * Nothing here resolves names.
 */
#ifndef SUBMITD_BASE_IP_H
#define SUBMITD_BASE_IP_H

#include "base/slice.h"

#include <stdint.h>

struct ip_addr {
    uint8_t len;       /* 4 or 16; 0: none */
    uint8_t bytes[16]; /* network order */
};

struct ip_net {
    struct ip_addr addr;
    uint8_t prefix; /* bits; 0..32 or 0..128 */
};

enum { IP_TEXT_MAX = 46 }; /* INET6_ADDRSTRLEN */

bool ip_parse(struct slice text, struct ip_addr *ret_addr);
/* "10.1.3.0/24", or an address alone. Host bits that are set are refused ("10.1.3.7/24"). */
bool ip_net_parse(struct slice text, struct ip_net *ret_net);
bool ip_net_contains(const struct ip_net *net, const struct ip_addr *addr);
bool ip_is_loopback(const struct ip_addr *addr);
void ip_format(const struct ip_addr *addr, char text[IP_TEXT_MAX]);

#endif
