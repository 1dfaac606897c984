#include "relay/pool_internal.h"

#include <stdlib.h>

static const struct outbound_events idle_events;

const struct config_account *pool_account(const struct pool *p)
{
    return p->setup->nameless ? p->setup->nameless : &p->setup->config->accounts[p->account];
}

const char *pool_account_name(const struct pool *p)
{
    const char *name = pool_account(p)->name;
    return name[0] ? name : "default";
}

uint64_t pool_now(const struct pool *p)
{
    return loop_now_ms(p->loop);
}

struct breaker *pool_breaker(const struct pool *p)
{
    return p->setup->breakers[p->account];
}

/* --- pacing --- */

uint64_t pool_paced_until(struct pool *p)
{
    return pacing_next(&p->pacing, pool_now(p), p->waiting_count);
}

void pool_explain_pace(struct pool *p, struct err *ret_why)
{
    uint64_t now = pool_now(p), at = pool_paced_until(p);
    unsigned learned = pacing_learned(&p->pacing);
    unsigned long long s = at > now ? (at - now + 999) / 1000 : 0;
    if (learned > 0)
        err_set(ret_why, ERR_LIMIT,
            "the server takes %u messages a minute from account '%s' (its MessageRateLimit); the "
            "next may go in %llu s",
            learned, pool_account_name(p), s);
    else
        err_set(ret_why, ERR_LIMIT,
            "account '%s' has sent as many messages as its rate allows; the next may go in %llu s",
            pool_account_name(p), s);
}

void pool_forget_pace(struct pool *p)
{
    pacing_forget(&p->pacing);
    timer_set(p->timer, pool_now(p) + 1); /* who waits for the pace beside an idle session may go */
}

/* --- waiting --- */

static void unlink_wait(struct pool_wait *w)
{
    struct pool *p = w->pool;
    list_remove(&w->link);
    if (--p->waiting_count == 0)
        p->trouble.kind = ERR_NONE; /* it was theirs */
}

static void tell(struct pool_wait *w, struct outbound *o, const struct err *why)
{
    pool_fn *fn = w->fn;
    void *user = w->user;
    free(w);
    fn(user, o, why);
}

static void end_wait(struct pool_wait *w, struct outbound *o, const struct err *why)
{
    unlink_wait(w);
    tell(w, o, why);
}

struct pool_wait *pool_first_waiting(const struct pool *p)
{
    struct list *link = p->waiting.next;
    return link != &p->waiting ? LIST_ENTRY(link, struct pool_wait, link) : NULL;
}

/* A client may try again at once, so those who are failed are counted before the first is told. */
void pool_fail_waiting(struct pool *p, const struct err *why)
{
    for (unsigned n = p->waiting_count; n > 0 && p->waiting_count > 0; n--)
        end_wait(pool_first_waiting(p), NULL, why);
}

struct pool_wait *pool_wait_start(struct pool *p, pool_fn *fn, void *user)
{
    struct pool_wait *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->pool = p;
    w->fn = fn;
    w->user = user;
    w->began_ms = pool_now(p);
    w->deadline = w->began_ms + p->config->wait_timeout_ms;
    list_add_tail(&p->waiting, &w->link);
    p->waiting_count++;
    pool_grow(p);
    pool_set_timer(p);
    return w;
}

uint64_t pool_waits_since(const struct pool *p)
{
    const struct pool_wait *w = pool_first_waiting(p);
    return w ? w->began_ms : 0;
}

void pool_wait_cancel(struct pool_wait *w)
{
    if (!w)
        return;
    unlink_wait(w);
    free(w);
}

/* --- handing out --- */

bool pool_is_first_due(struct pool *p)
{
    return p->waiting_count > 0 && pacing_next(&p->pacing, pool_now(p), 0) == 0;
}

static void hand_to_first(struct pool *p, struct outbound *o)
{
    p->busy_count++;
    outbound_count_use(o);
    pacing_count(&p->pacing, pool_now(p));
    end_wait(pool_first_waiting(p), o, NULL);
}

void pool_offer(struct pool *p, struct outbound *o)
{
    bool is_wanted = pool_is_first_due(p);
    /* Two accounts that gave up what they have not used yet would both log in for ever. */
    bool is_made_for_first = is_wanted && outbound_uses(o) == 0;
    if (!is_made_for_first && setup_must_yield(p->setup, p)) {
        pool_discard(p, o, false); /* another account has none, and there is no room for more */
        return;
    }
    if (is_wanted) {
        hand_to_first(p, o);
        return;
    }
    if (p->is_retired) {
        pool_discard(p, o, false);
        return;
    }
    outbound_set_owner(o, &idle_events, p);
    outbound_set_idle_since(o, pool_now(p));
    list_add_head(&p->idle, outbound_link(o));
}

/* The first idle one that is good for another message; NULL when there is none. */
static struct outbound *take_idle(struct pool *p)
{
    struct list *link;
    while ((link = list_first(&p->idle))) {
        struct outbound *o = outbound_of_link(link);
        if (!pool_is_worn_out(p, o)) {
            list_remove(link);
            return o;
        }
        pool_discard(p, o, false);
    }
    return NULL;
}

/* Those whom pacing made wait beside idle sessions. */
static void serve_waiting(struct pool *p)
{
    struct outbound *o;
    while (pool_is_first_due(p) && (o = take_idle(p)))
        hand_to_first(p, o);
}

struct outbound *pool_take_idle(struct pool *p, const struct outbound_events *events, void *user)
{
    if (p->waiting_count > 0 || pool_paced_until(p) != 0)
        return NULL;
    struct outbound *o = take_idle(p);
    if (!o)
        return NULL;
    p->busy_count++;
    outbound_count_use(o);
    pacing_count(&p->pacing, pool_now(p));
    outbound_set_owner(o, events, user);
    return o;
}

void pool_put(struct pool *p, struct outbound *o)
{
    p->busy_count--;
    pool_settle(p, o);
}

void pool_drop(struct pool *p, struct outbound *o)
{
    p->busy_count--;
    pool_discard(p, o, true);
    pool_grow(p);
    pool_set_timer(p);
}

void pool_lose_idle(struct pool *p, struct outbound *o, const struct err *why)
{
    log_event(LOG_LEVEL_DEBUG, "upstream_idle_closed", LOG_STR("account", pool_account_name(p)),
        LOG_STR("reason", why->text));
    pool_discard(p, o, false);
    pool_grow(p);
    pool_set_timer(p);
}

static void on_idle_lost(
    void *user, struct outbound *o, const struct err *why, const struct smtp_reply *reply)
{
    (void)reply;
    pool_lose_idle(user, o, why);
}

static const struct outbound_events idle_events = { .on_lost = on_idle_lost };

/* --- time --- */

/* Whom pacing would make wait for longer than anybody may. */
static bool is_hopeless(struct pool *p, const struct pool_wait *w)
{
    return pacing_next(&p->pacing, pool_now(p), 0) > w->deadline;
}

static bool is_only_connecting(const struct pool *p)
{
    return p->connecting_count > 0 && p->total == p->connecting_count;
}

static void explain_wait(struct pool *p, struct err *ret_why)
{
    unsigned long long seconds = p->config->wait_timeout_ms / 1000;
    if (pacing_next(&p->pacing, pool_now(p), 0) != 0)
        pool_explain_pace(p, ret_why);
    else if (is_only_connecting(p))
        *ret_why = p->trouble;
    else if (p->total == 0 && !quota_has_room(p->setup->quota, pool_now(p)))
        err_set(ret_why, ERR_LIMIT,
            "account '%s' got no session for %llu s: others held all %u that may be open "
            "(max_sessions_total)",
            pool_account_name(p), seconds, p->setup->quota->allowed);
    else if (p->total == 0)
        err_set(ret_why, ERR_LIMIT,
            "account '%s' got no session for %llu s: logins of this user name were under way",
            pool_account_name(p), seconds);
    else
        err_set(ret_why, ERR_LIMIT, "all %u sessions of account '%s' were busy for %llu s",
            p->total, pool_account_name(p), seconds);
}

/*
 * Someone whose session is still being made is answered by that attempt's end: it knows the reason
 * best. When one host has failed there is a reason; the next gets a moment, but each of many that
 * hang would take its time. UINT64_MAX: not by the clock.
 */
static uint64_t overdue_at(const struct pool *p, const struct pool_wait *w)
{
    if (!is_only_connecting(p))
        return w->deadline;
    if (p->trouble.kind == ERR_NONE)
        return UINT64_MAX;
    uint64_t at = p->trouble_since + POOL_NEXT_HOST_MS;
    return at > w->deadline ? at : w->deadline;
}

static void fail_overdue(struct pool *p)
{
    struct pool_wait *w;
    while ((w = pool_first_waiting(p))) {
        if (overdue_at(p, w) > pool_now(p) && !is_hopeless(p, w))
            return;
        struct err why;
        explain_wait(p, &why);
        end_wait(w, NULL, &why);
    }
}

static void on_timer(void *user)
{
    struct pool *p = user;
    if (breaker_is_open(pool_breaker(p), pool_now(p)) && p->total == 0)
        pool_fail_paused(p);
    pool_close_rested(p);
    serve_waiting(p);
    fail_overdue(p);
    pool_grow(p);
    pool_set_timer(p);
}

void pool_run(struct pool *p)
{
    pool_grow(p);
    pool_set_timer(p);
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* When the first in the line is to be looked after. */
static uint64_t next_for_waiting(struct pool *p, const struct pool_wait *w)
{
    uint64_t now = pool_now(p);
    if (is_hopeless(p, w) || (breaker_is_open(pool_breaker(p), now) && p->total == 0))
        return now + 1;
    uint64_t overdue = overdue_at(p, w);
    uint64_t at = overdue > now && overdue < UINT64_MAX ? overdue : now + POOL_RETRY_MS;
    if (pool_must_hold_back(p))
        at = sooner(at, p->failed_at + POOL_RETRY_MS);
    if (p->total == 0) /* sessions of others were in the way */
        at = sooner(at, now + POOL_RETRY_MS);
    return sooner(at, pacing_next(&p->pacing, now, 0));
}

/* When the first of those at rest is to be closed; 0: there is none. */
static uint64_t next_for_idle(const struct pool *p)
{
    uint64_t at = 0;
    for (struct list *l = p->idle.next; l != &p->idle; l = l->next) {
        const struct outbound *o = outbound_of_link(l);
        at = sooner(at, outbound_idle_since(o) + p->config->idle_close_ms);
        at = sooner(at, outbound_began_ms(o) + p->config->session_age_ms);
    }
    return at;
}

void pool_set_timer(struct pool *p)
{
    uint64_t at = next_for_idle(p);
    const struct pool_wait *w = pool_first_waiting(p);
    timer_set(p->timer, w ? sooner(at, next_for_waiting(p, w)) : at);
}

/* --- life --- */

struct pool *pool_new(struct loop *loop, struct setup *setup, size_t account)
{
    struct pool *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->loop = loop;
    p->setup = setup;
    p->account = account;
    p->config = &setup->config->upstream;
    pacing_init(&p->pacing, p->config->rate.count, p->config->rate.window_ms);
    list_init(&p->idle);
    list_init(&p->connecting);
    list_init(&p->settling);
    list_init(&p->waiting);
    p->timer = timer_new(loop, on_timer, p);
    if (!p->timer) {
        free(p);
        return NULL;
    }
    return p;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    for (const struct list *l = p->connecting.next; l != &p->connecting; l = l->next)
        breaker_end(pool_breaker(p), BREAKER_UNKNOWN, pool_now(p), NULL);
    struct list *const lists[] = { &p->idle, &p->connecting, &p->settling };
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        while (!list_is_empty(lists[i]))
            pool_discard(p, outbound_of_link(list_first(lists[i])), false);
    }
    timer_free(p->timer);
    free(p);
}

void pool_inherit(struct pool *p, const struct pool *old)
{
    p->has_caps = old->has_caps;
    p->caps = old->caps;
    pacing_inherit(&p->pacing, &old->pacing);
}

const struct smtp_caps *pool_caps(const struct pool *p)
{
    return p->has_caps ? &p->caps : NULL;
}
