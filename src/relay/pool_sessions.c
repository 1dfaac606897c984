/* Sessions that nobody holds: being made, settling, at rest. */
#include "relay/failover.h"
#include "relay/pool_internal.h"
#include "relay/reason.h"

static const struct outbound_events connecting_events, settling_events;

void pool_discard(struct pool *p, struct outbound *o, bool is_abort)
{
    list_remove(outbound_link(o));
    p->total--;
    quota_give_back(p->setup->quota);
    if (is_abort)
        outbound_abort(o);
    else
        outbound_free(o);
    setup_has_room(p->setup, p);
}

bool pool_is_worn_out(const struct pool *p, const struct outbound *o)
{
    return p->is_retired || pool_now(p) - outbound_began_ms(o) >= p->config->session_age_ms;
}

/* --- being made --- */

/* With another host to go on with nobody need act. */
static void log_failure(
    const struct pool *p, const struct outbound *o, bool goes_on, const struct err *why)
{
    log_event(goes_on ? LOG_LEVEL_WARNING : LOG_LEVEL_ERROR, "upstream_failed",
        LOG_STR("host", outbound_host(o)), LOG_STR("account", pool_account_name(p)),
        LOG_STR("kind", err_kind_name(why->kind)), LOG_STR("reason", why->text));
}

static void tell_opened(const struct pool *p)
{
    uint64_t ms = p->config->breaker_cooldown_ms;
    log_event(LOG_LEVEL_ERROR, "logins_paused", LOG_STR("account", pool_account_name(p)),
        LOG_INT("seconds", ms / 1000),
        LOG_STR("reason", "refused logins; another could lock the account in Active Directory"),
        LOG_STR("remedy", BREAKER_REMEDY));
}

/* What the server's last word means for the limits. */
static void heed_refusal(
    struct pool *p, struct outbound *o, const struct err *why, const struct smtp_reply *reply)
{
    const struct setup *s = p->setup;
    bool was_refused = outbound_login_was_refused(o);
    bool has_opened = breaker_end(
        pool_breaker(p), was_refused ? BREAKER_REFUSED : BREAKER_UNKNOWN, pool_now(p), why);
    if (was_refused && s->on_refused)
        s->on_refused(
            s->on_login_user, s, p->account, has_opened ? p->config->breaker_cooldown_ms : 0, why);
    if (has_opened)
        tell_opened(p);
    if (reply)
        pool_heed(p, reply);
}

static void on_connecting_lost(
    void *user, struct outbound *o, const struct err *why, const struct smtp_reply *reply)
{
    struct pool *p = user;
    struct err copy = *why;
    bool goes_on = failover_lost(p->setup->failover, o, why, reply);
    log_failure(p, o, goes_on, &copy);
    p->failed_at = goes_on ? 0 : pool_now(p);
    bool is_trouble = goes_on && p->waiting_count > 0;
    if (is_trouble && p->trouble.kind == ERR_NONE)
        p->trouble_since = pool_now(p);
    p->trouble = is_trouble ? copy : (struct err){ .kind = ERR_NONE };
    p->connecting_count--;
    /* What a broken host says of its limits is not the next one's. */
    heed_refusal(p, o, &copy, goes_on ? NULL : reply);
    pool_discard(p, o, false);
    /* While a session works, its end will serve those who wait; without one nothing would. */
    if (p->total == 0 && goes_on)
        pool_warm(p);
    else if (p->total == 0)
        pool_fail_waiting(p, &copy);
    pool_grow(p);
    pool_set_timer(p);
}

static void on_connected(void *user, struct outbound *o)
{
    struct pool *p = user;
    p->connecting_count--;
    p->failed_at = 0;
    p->trouble.kind = ERR_NONE;
    breaker_end(pool_breaker(p), BREAKER_WORKED, pool_now(p), NULL);
    p->has_caps = true;
    p->caps = *smtp_client_caps(outbound_client(o));
    list_remove(outbound_link(o));
    pool_offer(p, o);
    if (p->setup->on_login)
        p->setup->on_login(p->setup->on_login_user, pool_account(p)->name);
    pool_grow(p);
    pool_set_timer(p);
}

static const struct outbound_events connecting_events = {
    .on_ready = on_connected,
    .on_lost = on_connecting_lost,
};

/* --- given back --- */

static void on_settling_lost(
    void *user, struct outbound *o, const struct err *why, const struct smtp_reply *reply)
{
    (void)reply;
    pool_lose_idle(user, o, why);
}

static void on_settling_reply(void *user, struct outbound *o, enum smtp_client_command command,
    const struct smtp_reply *reply)
{
    (void)command;
    (void)reply;
    struct pool *p = user;
    if (smtp_client_open_commands(outbound_client(o)) > 0)
        return;
    list_remove(outbound_link(o));
    pool_settle(p, o);
}

static const struct outbound_events settling_events = {
    .on_reply = on_settling_reply,
    .on_lost = on_settling_lost,
};

void pool_settle(struct pool *p, struct outbound *o)
{
    bool is_spoiled = smtp_client_is_spoiled(outbound_client(o));
    if (!outbound_is_ready(o) || is_spoiled || pool_is_worn_out(p, o))
        pool_discard(p, o, is_spoiled);
    else if (smtp_client_open_commands(outbound_client(o)) == 0)
        pool_offer(p, o);
    else {
        outbound_set_owner(o, &settling_events, p);
        list_add_tail(&p->settling, outbound_link(o));
        return;
    }
    pool_grow(p);
    pool_set_timer(p);
}

/* --- growing and shrinking --- */

bool pool_must_hold_back(const struct pool *p)
{
    return p->failed_at != 0 && p->total > 0 && pool_now(p) < p->failed_at + POOL_RETRY_MS;
}

static bool connect_one(struct pool *p)
{
    size_t host = failover_choose(p->setup->failover);
    struct outbound *o = outbound_new(p->loop, p->setup, host, p->account, &connecting_events, p);
    if (!o)
        return false;
    list_add_tail(&p->connecting, outbound_link(o));
    p->connecting_count++;
    p->total++;
    quota_take(p->setup->quota);
    breaker_begin(pool_breaker(p));
    return true;
}

void pool_fail_paused(struct pool *p)
{
    struct err why;
    uint64_t left = pool_breaker(p)->open_until - pool_now(p);
    err_set(&why, ERR_AUTH,
        "logins of account '%s' are paused for %llu more minutes, so that it is not locked: %s",
        pool_account_name(p), (unsigned long long)(left / 60000 + 1), pool_breaker(p)->why.text);
    pool_fail_waiting(p, &why);
}

uint64_t pool_logins_paused_until(const struct pool *p)
{
    bool is_stuck = p->total == 0 && breaker_is_open(pool_breaker(p), pool_now(p));
    return is_stuck ? pool_breaker(p)->open_until : 0;
}

/* Sessions that will be free in a moment: a new login would come later than they do. */
static unsigned count_coming(const struct pool *p)
{
    unsigned n = p->connecting_count;
    for (const struct list *l = p->settling.next; l != &p->settling; l = l->next)
        n++;
    return n;
}

/* One more session would be of use, and neither pacing nor a failure speaks against it. */
static bool wants_one(struct pool *p)
{
    return pool_is_first_due(p) && p->waiting_count > count_coming(p) && list_is_empty(&p->idle) &&
           p->total < p->config->max_sessions && !pool_must_hold_back(p);
}

void pool_grow(struct pool *p)
{
    while (wants_one(p) && setup_may_grow(p->setup, p) &&
           breaker_may_begin(pool_breaker(p), pool_now(p))) {
        bool has_room =
            quota_has_room(p->setup->quota, pool_now(p)) || setup_make_room(p->setup, p);
        if (!has_room || !connect_one(p))
            return;
    }
}

void pool_warm(struct pool *p)
{
    uint64_t now = pool_now(p);
    if (p->total == 0 && breaker_may_begin(pool_breaker(p), now) &&
        quota_has_room(p->setup->quota, now))
        connect_one(p);
}

bool pool_is_starving(struct pool *p)
{
    return pool_is_first_due(p) && p->total == 0 && breaker_may_begin(pool_breaker(p), pool_now(p));
}

/* The one that rested longest. */
bool pool_close_one(struct pool *p)
{
    if (list_is_empty(&p->idle))
        return false;
    pool_discard(p, outbound_of_link(p->idle.prev), false);
    return true;
}

void pool_close_rested(struct pool *p)
{
    uint64_t now = pool_now(p);
    struct list *link = p->idle.prev; /* longest idle first */
    while (link != &p->idle) {
        struct outbound *o = outbound_of_link(link);
        link = link->prev;
        if (now - outbound_idle_since(o) >= p->config->idle_close_ms || pool_is_worn_out(p, o))
            pool_discard(p, o, false);
    }
}

void pool_retire(struct pool *p)
{
    p->is_retired = true;
    pool_close_rested(p);
}

/* --- the server's words about us --- */

static void log_throttled(const struct pool *p)
{
    log_event(LOG_LEVEL_WARNING, "throttled", LOG_STR("account", pool_account_name(p)),
        LOG_INT("per_minute", pacing_learned(&p->pacing)),
        LOG_INT("pause_s", PACING_PAUSE_MS / 1000),
        LOG_STR("reason", "the server takes no more messages a minute from this account"),
        LOG_STR("remedy",
            "Exchange: Set-ReceiveConnector CONNECTOR -MessageRateLimit 100; until then messages "
            "go at this rate, and 'rate' can say it from the start"));
}

static void log_shrunk(const struct pool *p)
{
    log_event(LOG_LEVEL_WARNING, "sessions_limited", LOG_INT("sessions", p->setup->quota->allowed),
        LOG_STR("reason", "the server takes no more sessions from this machine"),
        LOG_STR("remedy", "lower max_sessions_total, or on Exchange: Set-ReceiveConnector "
                          "CONNECTOR -MaxInboundConnectionPerSource 100"));
}

void pool_heed(struct pool *p, const struct smtp_reply *reply)
{
    switch (reason_kind(reply)) {
    case REASON_RATE:
        if (pacing_throttled(&p->pacing, pool_now(p)))
            log_throttled(p);
        break;
    case REASON_SESSIONS:
        if (quota_refused(p->setup->quota, pool_now(p)))
            log_shrunk(p);
        break;
    case REASON_MESSAGE:
    case REASON_SESSION:
        break;
    }
}
