#include "relay/pacing.h"

void pacing_init(struct pacing *p, unsigned configured)
{
    p->configured = configured;
    p->learned = 0;
    p->paused_until = 0;
    p->recover_at = 0;
    p->count = 0;
    p->head = 0;
}

unsigned pacing_limit(const struct pacing *p)
{
    if (p->configured == 0 || p->learned == 0)
        return p->configured + p->learned;
    return p->configured < p->learned ? p->configured : p->learned;
}

static void forget_before(struct pacing *p, uint64_t now_ms)
{
    while (p->count > 0 && now_ms - p->times[p->head] >= PACING_WINDOW_MS) {
        p->head = (p->head + 1) % PACING_MAX;
        p->count--;
    }
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

uint64_t pacing_next(struct pacing *p, uint64_t now_ms)
{
    if (p->paused_until > now_ms)
        return p->paused_until;
    p->paused_until = 0;
    recover(p, now_ms);
    forget_before(p, now_ms);
    unsigned limit = pacing_limit(p);
    if (limit == 0 || p->count < limit)
        return 0;
    /* When so many have left the window that one more fits. */
    unsigned last = (p->head + p->count - limit) % PACING_MAX;
    return p->times[last] + PACING_WINDOW_MS;
}

void pacing_count(struct pacing *p, uint64_t now_ms)
{
    forget_before(p, now_ms);
    if (p->count == PACING_MAX) {
        p->head = (p->head + 1) % PACING_MAX;
        p->count--;
    }
    p->times[(p->head + p->count) % PACING_MAX] = now_ms;
    p->count++;
}

bool pacing_throttled(struct pacing *p, uint64_t now_ms)
{
    if (p->paused_until > now_ms)
        return false;
    forget_before(p, now_ms);
    /* The refused one was counted, too: what went before it is what the server takes. */
    p->learned = p->count > 1 ? p->count - 1 : 1;
    if (p->learned >= PACING_MAX)
        p->learned = PACING_MAX - 1;
    p->paused_until = now_ms + PACING_PAUSE_MS;
    p->recover_at = p->paused_until + PACING_RECOVER_MS;
    return true;
}
