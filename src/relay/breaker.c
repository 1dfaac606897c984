#include "relay/breaker.h"

void breaker_init(struct breaker *b, uint64_t cooldown_ms)
{
    *b = (struct breaker){ .cooldown_ms = cooldown_ms };
}

bool breaker_is_open(const struct breaker *b, uint64_t now_ms)
{
    return b->open_until > now_ms;
}

bool breaker_may_begin(const struct breaker *b, uint64_t now_ms)
{
    unsigned most = b->is_proven ? BREAKER_LOGINS_MAX : 1;
    return !breaker_is_open(b, now_ms) && b->under_way < most;
}

void breaker_begin(struct breaker *b)
{
    b->under_way++;
}

static bool count_refusal(struct breaker *b, uint64_t now_ms)
{
    b->is_proven = false;
    if (++b->refusals < BREAKER_REFUSALS_MAX)
        return false;
    breaker_suspect(b); /* for the time behind the cool-down */
    b->open_until = now_ms + b->cooldown_ms;
    return true;
}

bool breaker_end(
    struct breaker *b, enum breaker_outcome outcome, uint64_t now_ms, const struct err *why)
{
    b->under_way--;
    switch (outcome) {
    case BREAKER_WORKED:
        b->refusals = 0;
        b->open_until = 0;
        b->is_proven = true;
        return false;
    case BREAKER_REFUSED:
        b->why = *why;
        return count_refusal(b, now_ms);
    case BREAKER_UNKNOWN:
        break;
    }
    return false;
}

void breaker_suspect(struct breaker *b)
{
    b->refusals = BREAKER_REFUSALS_MAX - 1;
}

void breaker_resume(struct breaker *b, uint64_t now_ms, uint64_t left_ms, const char *why)
{
    breaker_suspect(b);
    b->open_until = now_ms + (left_ms < b->cooldown_ms ? left_ms : b->cooldown_ms);
    err_set(&b->why, ERR_AUTH, "%s", why);
}

bool breaker_pause_counts(int64_t left_s, uint64_t cooldown_ms)
{
    return left_s > 0 && (uint64_t)left_s <= cooldown_ms / 1000;
}

void breaker_reloaded(struct breaker *b, uint64_t cooldown_ms)
{
    b->cooldown_ms = cooldown_ms;
    b->open_until = 0;
    if (b->refusals > 0)
        breaker_suspect(b);
}
