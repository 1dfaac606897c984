#include "relay/quota.h"

void quota_init(struct quota *q, unsigned max)
{
    *q = (struct quota){ .max = max, .allowed = max };
}

void quota_set_max(struct quota *q, unsigned max)
{
    bool was_full = q->allowed == q->max;
    q->max = max;
    if (was_full || q->allowed > max)
        q->allowed = max;
}

static void regrow(struct quota *q, uint64_t now_ms)
{
    while (q->allowed < q->max && now_ms >= q->grows_at) {
        q->allowed++;
        q->grows_at += QUOTA_REGROW_MS;
    }
}

bool quota_has_room(struct quota *q, uint64_t now_ms)
{
    regrow(q, now_ms);
    return q->open < q->allowed;
}

void quota_take(struct quota *q)
{
    q->open++;
}

void quota_give_back(struct quota *q)
{
    q->open--;
}

bool quota_refused(struct quota *q, uint64_t now_ms)
{
    regrow(q, now_ms);
    /* The refused one is not among those that the server lets us have. */
    unsigned had = q->open > 1 ? q->open - 1 : 1;
    bool is_less = had < q->allowed;
    if (is_less)
        q->allowed = had;
    q->grows_at = now_ms + QUOTA_REGROW_MS;
    return is_less;
}
