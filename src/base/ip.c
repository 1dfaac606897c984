#include "base/ip.h"

#include <stdio.h>
#ifdef _WIN32
#include <winsock2.h>
#include <ws2tcpip.h>
#else
#include <arpa/inet.h>
#endif

static const uint8_t mapped_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

bool ip_parse(struct slice text, struct ip_addr *ret_addr)
{
    char copy[IP_TEXT_MAX];
    if (text.n == 0 || text.n >= sizeof copy || memchr(text.p, '\0', text.n))
        return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    struct ip_addr addr = { .len = 4 };
    if (inet_pton(AF_INET, copy, addr.bytes) == 1) {
        *ret_addr = addr;
        return true;
    }
    if (inet_pton(AF_INET6, copy, addr.bytes) != 1)
        return false;
    addr.len = 16;
    if (memcmp(addr.bytes, mapped_prefix, sizeof mapped_prefix) == 0) {
        addr.len = 4;
        memmove(addr.bytes, addr.bytes + 12, 4);
        memset(addr.bytes + 4, 0, 12);
    }
    *ret_addr = addr;
    return true;
}

/* True when the bits behind `prefix` are all zero. */
static bool host_bits_are_clear(const struct ip_addr *addr, unsigned prefix)
{
    for (unsigned bit = prefix; bit < addr->len * 8U; bit++) {
        if (addr->bytes[bit / 8] & 0x80 >> bit % 8)
            return false;
    }
    return true;
}

bool ip_net_parse(struct slice text, struct ip_net *ret_net)
{
    const char *slash = text.n > 0 ? memchr(text.p, '/', text.n) : NULL;
    struct slice host = slash ? slice_of(text.p, (size_t)(slash - text.p)) : text;
    struct ip_net net;
    if (!ip_parse(host, &net.addr))
        return false;
    unsigned long long prefix = net.addr.len * 8U;
    if (slash && !slice_to_u64(slice_skip(text, host.n + 1), &prefix))
        return false;
    if (prefix > net.addr.len * 8U || !host_bits_are_clear(&net.addr, (unsigned)prefix))
        return false;
    net.prefix = (uint8_t)prefix;
    *ret_net = net;
    return true;
}

bool ip_net_contains(const struct ip_net *net, const struct ip_addr *addr)
{
    if (addr->len != net->addr.len)
        return false;
    unsigned whole = net->prefix / 8, rest = net->prefix % 8;
    if (memcmp(addr->bytes, net->addr.bytes, whole) != 0)
        return false;
    if (rest == 0)
        return true;
    unsigned mask = 0xffU << (8 - rest) & 0xff;
    return (addr->bytes[whole] & mask) == (net->addr.bytes[whole] & mask);
}

bool ip_is_loopback(const struct ip_addr *addr)
{
    static const uint8_t six[16] = { [15] = 1 };
    return addr->len == 4 ? addr->bytes[0] == 127
                          : addr->len == 16 && memcmp(addr->bytes, six, sizeof six) == 0;
}

void ip_format(const struct ip_addr *addr, char text[IP_TEXT_MAX])
{
    int family = addr->len == 4 ? AF_INET : AF_INET6;
    if (addr->len == 0 || !inet_ntop(family, addr->bytes, text, IP_TEXT_MAX))
        snprintf(text, IP_TEXT_MAX, "none");
}
