#include "relay/hosts.h"

#include <stdlib.h>

struct host {
    bool is_skipped;
    uint64_t skip_ms;   /* the last time; 0: a login worked since */
    uint64_t probe_at;  /* while it is skipped */
    uint64_t chosen_at; /* a count of choices, no time */
    unsigned sessions;
};

struct hosts {
    size_t count;
    uint64_t choices;
    struct host items[];
};

struct hosts *hosts_new(size_t count)
{
    struct hosts *h = calloc(1, sizeof *h + count * sizeof h->items[0]);
    if (h)
        h->count = count;
    return h;
}

void hosts_free(struct hosts *h)
{
    free(h);
}

/* The count of hosts when all are skipped. */
static size_t first_that_is_not_skipped(const struct hosts *h)
{
    size_t i = 0;
    while (i < h->count && h->items[i].is_skipped)
        i++;
    return i;
}

static size_t chosen_longest_ago(const struct hosts *h)
{
    size_t found = 0;
    for (size_t i = 1; i < h->count; i++) {
        if (h->items[i].chosen_at < h->items[found].chosen_at)
            found = i;
    }
    return found;
}

size_t hosts_choose(struct hosts *h)
{
    size_t i = first_that_is_not_skipped(h);
    if (i == h->count)
        i = chosen_longest_ago(h);
    h->items[i].chosen_at = ++h->choices;
    return i;
}

static void skip(struct host *host, uint64_t now_ms)
{
    uint64_t ms = host->skip_ms == 0 ? HOSTS_FIRST_SKIP_MS : 2 * host->skip_ms;
    host->skip_ms = ms < HOSTS_LAST_SKIP_MS ? ms : HOSTS_LAST_SKIP_MS;
    host->is_skipped = true;
    host->probe_at = now_ms + host->skip_ms;
}

/* Several sessions that fail together are one failure. */
bool hosts_failed(struct hosts *h, size_t host, uint64_t now_ms)
{
    if (!h->items[host].is_skipped)
        skip(&h->items[host], now_ms);
    return first_that_is_not_skipped(h) < h->count;
}

void hosts_session_ready(struct hosts *h, size_t host)
{
    h->items[host].is_skipped = false;
    h->items[host].skip_ms = 0;
    h->items[host].sessions++;
}

void hosts_session_over(struct hosts *h, size_t host)
{
    h->items[host].sessions--;
}

unsigned hosts_sessions(const struct hosts *h, size_t host)
{
    return h->items[host].sessions;
}

bool hosts_is_skipped(const struct hosts *h, size_t host)
{
    return h->items[host].is_skipped;
}

uint64_t hosts_skip_ms(const struct hosts *h, size_t host)
{
    return h->items[host].skip_ms;
}

uint64_t hosts_next_probe(const struct hosts *h, size_t *ret_host)
{
    uint64_t at = 0;
    for (size_t i = 0; h->count > 1 && i < h->count; i++) {
        const struct host *host = &h->items[i];
        if (!host->is_skipped || (at != 0 && at <= host->probe_at))
            continue;
        at = host->probe_at;
        *ret_host = i;
    }
    return at;
}

void hosts_probed(struct hosts *h, size_t host, bool is_reached, uint64_t now_ms)
{
    if (is_reached)
        h->items[host].is_skipped = false;
    else if (h->items[host].is_skipped) /* else a login worked meanwhile */
        skip(&h->items[host], now_ms);
}
