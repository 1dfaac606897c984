/* Notices of paused logins: in the spool, where people and the next life of submitd find them. */
#include "relay/delivery_internal.h"

static void on_noted(void *user, const struct err *why)
{
    (void)user;
    if (why) /* no message depends on it */
        log_event(LOG_LEVEL_WARNING, "notice_not_stored", LOG_STR("reason", why->text));
}

void delivery_login_refused(struct delivery *d, const struct setup *setup, size_t account,
    uint64_t ms, const struct err *why)
{
    struct store_notice notice = {
        .account = setup->config->accounts[account].name,
        .login = setup->config->accounts[account].username,
        .until = loop_wall_s(d->loop) + (int64_t)(ms / 1000),
        .text = why->text,
        .mark = (int64_t)setup->marks[account],
    };
    store_notice_set(d->store, &notice, on_noted, d);
}

void delivery_clear_notices(struct delivery *d, const char *account)
{
    const struct config *c = d->setup->config;
    for (size_t i = 0; i < c->account_count; i++) {
        if (strcmp(c->accounts[i].name, account) == 0)
            store_notice_clear(d->store, c->accounts[i].username, on_noted, d);
    }
}

struct recall {
    struct delivery *delivery;
    const struct setup *setup;
};

static void stay_paused(
    const struct recall *r, struct breaker *b, int64_t left_s, const struct store_notice *notice)
{
    uint64_t now = loop_now_ms(r->delivery->loop);
    breaker_resume(b, now, (uint64_t)left_s * 1000, notice->text);
    log_event(LOG_LEVEL_ERROR, "logins_paused",
        LOG_STR("account", notice->account[0] ? notice->account : "default"),
        LOG_INT("seconds", (b->open_until - now) / 1000),
        LOG_STR("reason", "refused logins before the restart, with this username and password"),
        LOG_STR("remedy", BREAKER_REMEDY));
}

/* The spool may be opened long after the start, when this life knows better than the one before. A
 * restart mends nothing by itself; if the credential may be another one, one login finds out. */
static void recall(void *user, const struct store_notice *notice)
{
    const struct recall *r = user;
    size_t i = 0;
    while (i < r->setup->config->account_count && !setup_is_login(r->setup, i, notice->login))
        i++;
    if (i == r->setup->config->account_count)
        return;
    struct breaker *b = r->setup->breakers[i]; /* one for all with this login */
    int64_t left_s = notice->until - loop_wall_s(r->delivery->loop);
    bool is_same = setup_has_login_of(r->setup, notice->login, (uint64_t)notice->mark);
    if (b->is_proven)
        store_notice_clear(r->delivery->store, notice->login, on_noted, r->delivery);
    else if (is_same && breaker_pause_counts(left_s, b->cooldown_ms) && b->why.kind == ERR_NONE &&
             b->under_way == 0)
        stay_paused(r, b, left_s, notice);
    else if (b->refusals == 0)
        breaker_suspect(b);
}

void delivery_recall_notices(struct delivery *d, const struct setup *setup)
{
    struct recall r = { .delivery = d, .setup = setup };
    struct err why;
    if (!store_notice_each(d->store, recall, &r, &why))
        log_event(LOG_LEVEL_WARNING, "notices_unreadable", LOG_STR("reason", why.text));
}
