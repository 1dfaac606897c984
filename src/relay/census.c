#include "relay/census.h"

#include <stdlib.h>

enum { BUCKETS = 1024 };

struct entry {
    struct entry *next;
    struct ip_addr addr;
    unsigned count;
};

struct census {
    struct entry *buckets[BUCKETS];
};

struct census *census_new(void)
{
    return calloc(1, sizeof(struct census));
}

void census_free(struct census *c)
{
    for (size_t i = 0; c && i < BUCKETS; i++) {
        while (c->buckets[i]) {
            struct entry *next = c->buckets[i]->next;
            free(c->buckets[i]);
            c->buckets[i] = next;
        }
    }
    free(c);
}

/* FNV-1a. Clients come from allowed networks, so nobody gains by choosing collisions. */
static size_t bucket_of(const struct ip_addr *addr)
{
    uint32_t h = 2166136261U;
    for (size_t i = 0; i < addr->len; i++)
        h = (h ^ addr->bytes[i]) * 16777619U;
    return h % BUCKETS;
}

static bool is_same(const struct ip_addr *a, const struct ip_addr *b)
{
    return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

/* The place that points to the address's entry, or to NULL at the end of its bucket. */
static struct entry **find(struct census *c, const struct ip_addr *addr)
{
    struct entry **at = &c->buckets[bucket_of(addr)];
    while (*at && !is_same(&(*at)->addr, addr))
        at = &(*at)->next;
    return at;
}

unsigned census_enter(struct census *c, const struct ip_addr *addr)
{
    struct entry **at = find(c, addr);
    if (!*at) {
        struct entry *new_entry = calloc(1, sizeof *new_entry);
        if (!new_entry)
            return 0;
        new_entry->addr = *addr;
        *at = new_entry;
    }
    return ++(*at)->count;
}

void census_leave(struct census *c, const struct ip_addr *addr)
{
    struct entry **at = find(c, addr);
    if (!*at || --(*at)->count > 0)
        return;
    struct entry *gone = *at;
    *at = gone->next;
    free(gone);
}

unsigned census_count(const struct census *c, const struct ip_addr *addr)
{
    const struct entry *e = c->buckets[bucket_of(addr)];
    while (e && !is_same(&e->addr, addr))
        e = e->next;
    return e ? e->count : 0;
}
