#include "relay/pool.h"
#include "base/list.h"
#include "ops/log.h"

#include <stdlib.h>

struct pool_wait {
    struct list link;
    struct pool *pool;
    pool_fn *fn;
    void *user;
    uint64_t deadline;
};

struct pool {
    struct loop *loop;
    struct setup *setup; /* the owner */
    size_t account;
    const struct config_upstream *config;
    struct list idle;       /* most recently used first */
    struct list connecting; /* not logged in yet */
    struct list settling;   /* given back with open replies */
    struct list waiting;    /* struct pool_wait, in order of arrival */
    unsigned connecting_count, busy_count, total;
    struct timer *timer;
    uint64_t failed_at;    /* the last attempt that failed; 0: none since the last that worked */
    unsigned refusals;     /* refused logins since the last that worked */
    bool is_proven;        /* the last login worked */
    uint64_t paused_until; /* no logins before; 0: none pause */
    struct err last_err;
    bool has_caps;
    struct smtp_caps caps;
};

static void set_timer(struct pool *p);
static void grow(struct pool *p);
static const struct outbound_events connecting_events, idle_events, settling_events;

static const char *account_name(const struct pool *p)
{
    const char *name = pool_account(p)->name;
    return name[0] ? name : "default";
}

const struct config_account *pool_account(const struct pool *p)
{
    return p->setup->nameless ? p->setup->nameless : &p->setup->config->accounts[p->account];
}

/* --- waiting --- */

static void end_wait(struct pool_wait *w, struct outbound *o, const struct err *why)
{
    pool_fn *fn = w->fn;
    void *user = w->user;
    list_remove(&w->link);
    free(w);
    fn(user, o, why);
}

static struct pool_wait *first_waiting(struct pool *p)
{
    struct list *link = list_first(&p->waiting);
    return link ? LIST_ENTRY(link, struct pool_wait, link) : NULL;
}

/* Those who come to wait while this runs are not failed by it: a client may try again at once. */
static void fail_waiting(struct pool *p, const struct err *why)
{
    struct list failed;
    list_init(&failed);
    while (!list_is_empty(&p->waiting)) {
        struct list *link = list_first(&p->waiting);
        list_remove(link);
        list_add_tail(&failed, link);
    }
    while (!list_is_empty(&failed))
        end_wait(LIST_ENTRY(list_first(&failed), struct pool_wait, link), NULL, why);
}

struct pool_wait *pool_wait_start(struct pool *p, pool_fn *fn, void *user)
{
    struct pool_wait *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->pool = p;
    w->fn = fn;
    w->user = user;
    w->deadline = loop_now_ms(p->loop) + p->config->wait_timeout_ms;
    list_add_tail(&p->waiting, &w->link);
    grow(p);
    set_timer(p);
    return w;
}

void pool_wait_cancel(struct pool_wait *w)
{
    if (!w)
        return;
    list_remove(&w->link);
    free(w);
}

/* --- handing out --- */

static bool is_worn_out(const struct pool *p, const struct outbound *o)
{
    return loop_now_ms(p->loop) - outbound_began_ms(o) >= p->config->session_age_ms;
}

/* A ready session with no owner goes to who waits longest, else it rests. */
static void offer(struct pool *p, struct outbound *o)
{
    struct pool_wait *w = first_waiting(p);
    if (w) {
        p->busy_count++;
        outbound_count_use(o);
        end_wait(w, o, NULL);
        return;
    }
    outbound_set_owner(o, &idle_events, p);
    outbound_set_idle_since(o, loop_now_ms(p->loop));
    list_add_head(&p->idle, outbound_link(o));
    set_timer(p);
}

static void discard(struct pool *p, struct outbound *o, bool is_abort)
{
    list_remove(outbound_link(o));
    p->total--;
    if (is_abort)
        outbound_abort(o);
    else
        outbound_free(o);
}

struct outbound *pool_take_idle(struct pool *p, const struct outbound_events *events, void *user)
{
    if (!list_is_empty(&p->waiting))
        return NULL;
    struct list *link;
    while ((link = list_first(&p->idle))) {
        struct outbound *o = outbound_of_link(link);
        if (is_worn_out(p, o)) {
            discard(p, o, false);
            continue;
        }
        list_remove(link);
        p->busy_count++;
        outbound_count_use(o);
        outbound_set_owner(o, events, user);
        return o;
    }
    return NULL;
}

static void settle(struct pool *p, struct outbound *o)
{
    bool is_spoiled = smtp_client_is_spoiled(outbound_client(o));
    if (!outbound_is_ready(o) || is_spoiled || is_worn_out(p, o))
        discard(p, o, is_spoiled);
    else if (smtp_client_open_commands(outbound_client(o)) == 0)
        offer(p, o);
    else {
        outbound_set_owner(o, &settling_events, p);
        list_add_tail(&p->settling, outbound_link(o));
        return;
    }
    grow(p);
    set_timer(p);
}

void pool_put(struct pool *p, struct outbound *o)
{
    p->busy_count--;
    settle(p, o);
}

void pool_drop(struct pool *p, struct outbound *o)
{
    p->busy_count--;
    discard(p, o, true);
    grow(p);
    set_timer(p);
}

/* --- sessions that nobody holds --- */

static void log_failure(const struct pool *p, const struct err *why)
{
    log_event(LOG_LEVEL_ERROR, "upstream_failed", LOG_STR("host", p->config->host),
        LOG_STR("account", account_name(p)), LOG_STR("kind", err_kind_name(why->kind)),
        LOG_STR("reason", why->text));
}

/* Active Directory counts every refused login and locks the account; we stop before it does. */
static void count_refusal(struct pool *p)
{
    p->is_proven = false;
    if (++p->refusals < POOL_REFUSALS_MAX)
        return;
    p->refusals = 0;
    p->paused_until = loop_now_ms(p->loop) + POOL_COOLDOWN_MS;
    log_event(LOG_LEVEL_ERROR, "logins_paused", LOG_STR("account", account_name(p)),
        LOG_INT("minutes", POOL_COOLDOWN_MS / 60000),
        LOG_STR("reason", "two refused logins; a third could lock the account in Active Directory"),
        LOG_STR("remedy", "correct username or password, then reload or restart submitd"));
}

static void on_connecting_lost(
    void *user, struct outbound *o, const struct err *why, const struct smtp_reply *reply)
{
    (void)reply;
    struct pool *p = user;
    struct err copy = *why;
    log_failure(p, &copy);
    p->last_err = copy;
    p->failed_at = loop_now_ms(p->loop);
    p->connecting_count--;
    if (outbound_login_was_refused(o))
        count_refusal(p);
    discard(p, o, false);
    /* While a session works, its end will serve those who wait; without one nothing would. */
    if (p->total == 0)
        fail_waiting(p, &copy);
    grow(p);
    set_timer(p);
}

static void on_connected(void *user, struct outbound *o)
{
    struct pool *p = user;
    p->connecting_count--;
    p->failed_at = 0;
    p->refusals = 0;
    p->paused_until = 0;
    p->is_proven = true;
    p->has_caps = true;
    p->caps = *smtp_client_caps(outbound_client(o));
    list_remove(outbound_link(o));
    offer(p, o);
    if (p->setup->on_login)
        p->setup->on_login(p->setup->on_login_user, pool_account(p)->name);
    grow(p);
}

static const struct outbound_events connecting_events = {
    .on_ready = on_connected,
    .on_lost = on_connecting_lost,
};

static void on_idle_lost(
    void *user, struct outbound *o, const struct err *why, const struct smtp_reply *reply)
{
    (void)reply;
    struct pool *p = user;
    log_event(LOG_LEVEL_DEBUG, "upstream_idle_closed", LOG_STR("account", account_name(p)),
        LOG_STR("reason", why->text));
    discard(p, o, false);
    grow(p);
    set_timer(p);
}

static const struct outbound_events idle_events = { .on_lost = on_idle_lost };

static void on_settling_reply(void *user, struct outbound *o, enum smtp_client_command command,
    const struct smtp_reply *reply)
{
    (void)command;
    (void)reply;
    struct pool *p = user;
    if (smtp_client_open_commands(outbound_client(o)) > 0)
        return;
    list_remove(outbound_link(o));
    settle(p, o);
}

static const struct outbound_events settling_events = {
    .on_reply = on_settling_reply,
    .on_lost = on_idle_lost,
};

/* --- growing and shrinking --- */

static bool is_paused(const struct pool *p)
{
    return p->paused_until > loop_now_ms(p->loop);
}

/* A failure while others work is no reason to hammer the server. */
static bool must_hold_back(const struct pool *p)
{
    return p->failed_at != 0 && p->total > 0 && loop_now_ms(p->loop) < p->failed_at + POOL_RETRY_MS;
}

static unsigned count_waiting(const struct pool *p, unsigned up_to)
{
    unsigned n = 0;
    for (const struct list *l = p->waiting.next; l != &p->waiting && n < up_to; l = l->next)
        n++;
    return n;
}

static bool connect_one(struct pool *p)
{
    struct outbound *o = outbound_new(p->loop, p->setup, p->account, &connecting_events, p);
    if (!o)
        return false;
    list_add_tail(&p->connecting, outbound_link(o));
    p->connecting_count++;
    p->total++;
    return true;
}

static void fail_paused(struct pool *p)
{
    struct err why;
    uint64_t left = p->paused_until - loop_now_ms(p->loop);
    err_set(&why, ERR_AUTH,
        "logins of account '%s' are paused for %llu more minutes, so that it is not locked: %s",
        account_name(p), (unsigned long long)(left / 60000 + 1), p->last_err.text);
    fail_waiting(p, &why);
}

/* Sessions that will be free in a moment: a new login would come later than they do. */
static unsigned count_coming(const struct pool *p)
{
    unsigned n = p->connecting_count;
    for (const struct list *l = p->settling.next; l != &p->settling; l = l->next)
        n++;
    return n;
}

static void grow(struct pool *p)
{
    unsigned logins_max = p->is_proven ? POOL_LOGINS_MAX : 1;
    while (!is_paused(p) && !must_hold_back(p) && p->total < p->config->max_sessions &&
           p->connecting_count < logins_max &&
           count_waiting(p, count_coming(p) + 1) > count_coming(p)) {
        if (!connect_one(p))
            return;
    }
}

void pool_warm(struct pool *p)
{
    if (p->total == 0 && !is_paused(p))
        connect_one(p);
}

static void close_rested(struct pool *p)
{
    uint64_t now = loop_now_ms(p->loop);
    struct list *link = p->idle.prev; /* longest idle first */
    while (link != &p->idle) {
        struct outbound *o = outbound_of_link(link);
        link = link->prev;
        if (now - outbound_idle_since(o) >= p->config->idle_close_ms || is_worn_out(p, o))
            discard(p, o, false);
    }
}

/* Someone whose session is still being made is answered by that attempt's end. */
static void fail_overdue(struct pool *p)
{
    struct pool_wait *w;
    bool is_in_use = p->busy_count > 0 || !list_is_empty(&p->settling);
    while (is_in_use && (w = first_waiting(p)) && w->deadline <= loop_now_ms(p->loop)) {
        struct err why;
        err_set(&why, ERR_LIMIT, "all %u sessions of account '%s' were busy for %llu s", p->total,
            account_name(p), (unsigned long long)(p->config->wait_timeout_ms / 1000));
        end_wait(w, NULL, &why);
    }
}

static void on_timer(void *user)
{
    struct pool *p = user;
    if (is_paused(p) && p->total == 0)
        fail_paused(p);
    close_rested(p);
    fail_overdue(p);
    grow(p);
    set_timer(p);
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

static void set_timer(struct pool *p)
{
    uint64_t at = 0, now = loop_now_ms(p->loop);
    if (!list_is_empty(&p->idle)) {
        const struct outbound *o = outbound_of_link(p->idle.prev);
        at = outbound_idle_since(o) + p->config->idle_close_ms;
    }
    const struct pool_wait *w = first_waiting(p);
    if (w && is_paused(p) && p->total == 0)
        at = now + 1;
    else if (w && must_hold_back(p))
        at = sooner(at, p->failed_at + POOL_RETRY_MS);
    if (w)
        at = sooner(at, w->deadline > now ? w->deadline : now + POOL_RETRY_MS);
    timer_set(p->timer, at);
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
    struct list *const lists[] = { &p->idle, &p->connecting, &p->settling };
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        while (!list_is_empty(lists[i]))
            discard(p, outbound_of_link(list_first(lists[i])), false);
    }
    timer_free(p->timer);
    free(p);
}

void pool_inherit(struct pool *p, const struct pool *old)
{
    p->has_caps = old->has_caps;
    p->caps = old->caps;
    p->last_err = old->last_err;
    bool was_refused = old->refusals > 0 || old->paused_until != 0;
    p->refusals = was_refused ? POOL_REFUSALS_MAX - 1 : 0;
}

const struct smtp_caps *pool_caps(const struct pool *p)
{
    return p->has_caps ? &p->caps : NULL;
}
