#include "relay/pacing.h"

void pacing_init(struct pacing *p, unsigned limit, uint64_t window_ms)
{
    p->configured = limit;
    p->configured_ms = window_ms;
    p->learned = 0;
    p->paused_until = 0;
    p->recover_at = 0;
    p->count = 0;
    p->head = 0;
}

unsigned pacing_learned(const struct pacing *p)
{
    return p->learned;
}

/* The nth last of those that went; n from 1 to count. */
static uint64_t nth_last(const struct pacing *p, unsigned n)
{
    return p->times[(p->head + p->count - n) % PACING_MAX];
}

/* A learned limit may have been too low, or the server's was raised: it grows until it says
 * nothing. */
static void recover(struct pacing *p, uint64_t now_ms)
{
    while (p->learned > 0 && now_ms >= p->recover_at) {
        p->learned += p->learned / 4 + 1;
        p->recover_at += PACING_RECOVER_MS;
        if (p->learned > PACING_MAX)
            p->learned = 0;
    }
}

/* When the window has room for `ahead` and one more; in the past: it has. */
static uint64_t has_room_at(
    const struct pacing *p, unsigned limit, uint64_t window_ms, unsigned ahead)
{
    if (limit == 0 || p->count + ahead < limit)
        return 0;
    /* Those behind this one and those ahead of us fill it. With more ahead than the window holds
     * the answer is a first time to ask again. */
    unsigned n = ahead < limit ? limit - ahead : 1;
    return n <= p->count ? nth_last(p, n) + window_ms : 0;
}

uint64_t pacing_next(struct pacing *p, uint64_t now_ms, unsigned ahead)
{
    if (p->paused_until > now_ms)
        return p->paused_until;
    p->paused_until = 0;
    recover(p, now_ms);
    uint64_t one = has_room_at(p, p->configured, p->configured_ms, ahead);
    uint64_t other = has_room_at(p, p->learned, PACING_WINDOW_MS, ahead);
    uint64_t later = one > other ? one : other;
    return later > now_ms ? later : 0;
}

void pacing_count(struct pacing *p, uint64_t now_ms)
{
    if (p->count == PACING_MAX) {
        p->head = (p->head + 1) % PACING_MAX;
        p->count--;
    }
    p->times[(p->head + p->count) % PACING_MAX] = now_ms;
    p->count++;
}

static unsigned count_in_window(const struct pacing *p, uint64_t now_ms)
{
    unsigned n = 0;
    while (n < p->count && now_ms - nth_last(p, n + 1) < PACING_WINDOW_MS)
        n++;
    return n;
}

bool pacing_throttled(struct pacing *p, uint64_t now_ms)
{
    bool is_news = p->paused_until <= now_ms;
    if (is_news) {
        p->learned = count_in_window(p, now_ms);
        if (p->learned > PACING_MAX - 1)
            p->learned = PACING_MAX - 1;
        p->paused_until = now_ms + PACING_PAUSE_MS;
        p->recover_at = p->paused_until + PACING_RECOVER_MS;
    }
    /* The refused one was counted, too: the others are what the server takes. */
    p->learned = p->learned > 1 ? p->learned - 1 : 1;
    return is_news;
}

void pacing_forget(struct pacing *p)
{
    p->learned = 0;
    p->paused_until = 0;
}

void pacing_inherit(struct pacing *p, const struct pacing *old)
{
    unsigned configured = p->configured;
    uint64_t configured_ms = p->configured_ms;
    *p = *old;
    p->configured = configured;
    p->configured_ms = configured_ms;
}
