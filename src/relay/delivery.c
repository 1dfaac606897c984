#include "relay/delivery_internal.h"
#include "relay/pool.h"

#include <stdlib.h>

enum {
    TICK_MS = 1000, /* how soon a change by `submitd queue` and a due time are noticed */
    SWEEP_S = 60,   /* between looks for overdue and old failed messages */
};

/* --- the clock --- */

static void say_drained(struct delivery *d)
{
    loop_fn *drained = d->drained;
    d->drained = NULL;
    if (drained)
        drained(d->drained_user);
}

/* Mail of an account that is no more waits until there is a route again, so somebody must know. */
static void warn_of_stranded(const struct store_due_time *mail)
{
    log_event(LOG_LEVEL_ERROR, "stranded", LOG_STR("account", mail->account),
        LOG_STR("reason", "messages wait, and no [account] matches their client and sender"),
        LOG_STR("remedy", "add a default [account] and reload, or see: submitd queue list"));
}

static void on_times(
    void *user, const struct store_due_time *times, size_t count, const struct err *why)
{
    struct delivery *d = user;
    d->is_asking = false;
    if (why)
        return;
    bool must_warn = d->answers_to_warning > 0 && --d->answers_to_warning == 0;
    for (size_t i = 0; i < count; i++) {
        struct lane *lane = lane_find(d, times[i].account);
        if (!lane && must_warn)
            warn_of_stranded(&times[i]);
        if (lane && times[i].next_try <= loop_wall_s(d->loop)) {
            lane->is_dry = false;
            lane_run(lane);
        }
    }
}

static void on_overdue(
    void *user, struct store_message **messages, size_t count, const struct err *why)
{
    struct delivery *d = user;
    if (why)
        log_event(LOG_LEVEL_ERROR, "spool_unreadable", LOG_STR("reason", why->text));
    for (size_t i = 0; i < count; i++) {
        if (delivery_has_claimed(d, messages[i])) {
            store_message_free(messages[i]);
            continue;
        }
        struct claim *c = delivery_claim(d, NULL, messages[i]);
        if (c)
            delivery_expire(c);
    }
    free(messages);
    if (count == DELIVERY_BATCH)
        d->next_sweep = 0; /* there may be more of them */
}

static void on_swept(void *user, const struct err *why)
{
    (void)user;
    if (why)
        log_event(LOG_LEVEL_ERROR, "spool_failed", LOG_STR("reason", why->text));
}

static void sweep(struct delivery *d)
{
    int64_t now = loop_wall_s(d->loop);
    if (now < d->next_sweep)
        return;
    d->next_sweep = now + SWEEP_S;
    size_t busy_count;
    uint64_t *busy = delivery_list_busy(d, &busy_count);
    store_overdue(d->store, now, DELIVERY_BATCH, busy, busy_count, on_overdue, d);
    free(busy);
    int64_t keep_s = (int64_t)(d->setup->config->delivery.keep_failed_ms / 1000);
    store_expire_failed(d->store, now - keep_s, on_swept, d);
}

/* `submitd queue` changed something: what was looked up is old, and a pause is over. */
static void heed_people(struct delivery *d)
{
    for (struct list *l = d->lanes.next; l != &d->lanes; l = l->next) {
        struct lane *lane = LIST_ENTRY(l, struct lane, link);
        lane_drop_ready(lane);
        lane->retry_at = 0;
        lane->login_helps_at = 0;
        timer_set(lane->timer, 0);
        pool_forget_pace(lane->pool);
    }
    delivery_look_again(d);
}

static void on_tick(void *user)
{
    struct delivery *d = user;
    uint64_t now = loop_now_ms(d->loop);
    if (d->is_draining) {
        if (d->claim_count == 0 || now >= d->drain_deadline)
            say_drained(d);
        else
            timer_set(d->tick, d->drain_deadline);
        return;
    }
    timer_set(d->tick, now + TICK_MS);
    delivery_write_again(d);
    uint64_t version = store_data_version(d->store);
    if (version != d->data_version) {
        d->data_version = version;
        heed_people(d);
    }
    if (!d->is_asking) {
        d->is_asking = true;
        store_due_times(d->store, on_times, d);
    }
    sweep(d);
}

/* --- for others --- */

struct delivery *delivery_new(struct loop *loop, struct store *store)
{
    struct delivery *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->loop = loop;
    d->store = store;
    list_init(&d->lanes);
    list_init(&d->claims);
    list_init(&d->unwritten);
    list_init(&d->reroutings);
    d->tick = timer_new(loop, on_tick, d);
    if (!d->tick) {
        free(d);
        return NULL;
    }
    return d;
}

/* On the store's writer thread: it reads what never changes. */
static const char *route(void *user, const struct ip_addr *client, const char *sender)
{
    const struct setup *s = user;
    if (s->nameless)
        return "";
    const struct config_account *a = config_route(s->config, client, slice_str(sender));
    return a ? a->name : NULL;
}

struct rerouting {
    struct list link;
    struct delivery *delivery;
    struct setup *setup;
};

static void rerouting_free(struct rerouting *r)
{
    list_remove(&r->link);
    setup_unref(r->setup);
    free(r);
}

static void on_rerouted(void *user, const struct err *why)
{
    struct rerouting *r = user;
    if (why)
        log_event(LOG_LEVEL_ERROR, "spool_failed", LOG_STR("reason", why->text));
    r->delivery->answers_to_warning = 2; /* the first may have been asked before the routing */
    delivery_look_again(r->delivery);
    rerouting_free(r);
}

void delivery_use_setup(struct delivery *d, struct setup *setup)
{
    for (struct list *l = d->lanes.next, *next; l != &d->lanes; l = next) {
        next = l->next;
        lane_retire(LIST_ENTRY(l, struct lane, link));
    }
    if (!d->setup)
        delivery_recall_notices(d, setup);
    setup_unref(d->setup);
    d->setup = setup_ref(setup);
    for (size_t i = 0; i < setup->account_count; i++)
        lane_open(d, setup, i);
    struct rerouting *r = calloc(1, sizeof *r);
    if (r) {
        *r = (struct rerouting){ .delivery = d, .setup = setup_ref(setup) };
        list_add_tail(&d->reroutings, &r->link);
        store_reroute(d->store, route, setup, on_rerouted, r);
    }
    timer_set(d->tick, loop_now_ms(d->loop) + 1);
}

void delivery_kick(struct delivery *d, const char *account, bool is_later)
{
    struct lane *lane = lane_find(d, account);
    if (!lane || is_later)
        return;
    lane->is_dry = false;
    lane_run(lane);
}

void delivery_upstream_works(struct delivery *d, const char *account)
{
    delivery_clear_notices(d, account);
    struct lane *lane = lane_find(d, account);
    if (!lane || lane->backoff_s == 0 || lane->login_helps_at > loop_now_ms(d->loop))
        return;
    lane->retry_at = 0;
    lane->is_dry = false;
    lane_run(lane);
}

const char *delivery_account(const struct delivery *d, const struct ip_addr *client,
    const char *sender, const char *otherwise)
{
    const char *name = route(d->setup, client, sender);
    return name ? name : otherwise;
}

struct store *delivery_store(struct delivery *d)
{
    return d->store;
}

void delivery_drain(struct delivery *d, uint64_t deadline_ms, loop_fn *done, void *user)
{
    for (struct list *l = d->lanes.next; l != &d->lanes; l = l->next)
        lane_drop_ready(LIST_ENTRY(l, struct lane, link));
    d->is_draining = true;
    delivery_give_up_unwritten(d);
    d->drain_deadline = deadline_ms;
    d->drained = done;
    d->drained_user = user;
    timer_set(d->tick, loop_now_ms(d->loop) + 1);
}

void delivery_cut(struct delivery *d)
{
    if (!d)
        return;
    d->is_draining = true;
    for (struct list *l = d->claims.next; l != &d->claims; l = l->next) {
        struct claim *c = LIST_ENTRY(l, struct claim, link);
        if (c->errand)
            errand_cut(c->errand); /* the claim stays until its update is written: for ever */
    }
}

/* What still waited for the closed store will never hear of it. */
void delivery_free(struct delivery *d)
{
    if (!d)
        return;
    while (!list_is_empty(&d->claims))
        delivery_claim_free(LIST_ENTRY(list_first(&d->claims), struct claim, link));
    while (!list_is_empty(&d->lanes))
        lane_free(LIST_ENTRY(list_first(&d->lanes), struct lane, link));
    while (!list_is_empty(&d->reroutings))
        rerouting_free(LIST_ENTRY(list_first(&d->reroutings), struct rerouting, link));
    timer_free(d->tick);
    setup_unref(d->setup);
    free(d);
}
