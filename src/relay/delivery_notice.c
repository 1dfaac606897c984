/* Notices of paused logins: in the spool, where people and the next life of submitd find them. */
#include "relay/delivery_internal.h"

static void on_noted(void *user, const struct err *why)
{
    (void)user;
    if (why) /* no message depends on it */
        log_event(LOG_LEVEL_WARNING, "notice_not_stored", LOG_STR("reason", why->text));
}

void delivery_logins_paused(struct delivery *d, const struct setup *setup, size_t account,
    uint64_t ms, const struct err *why)
{
    struct store_notice notice = {
        .account = setup->config->accounts[account].name,
        .login = setup->config->accounts[account].username,
        .until = loop_wall_s(d->loop) + (int64_t)(ms / 1000),
        .text = why->text,
        .loaded = setup->loaded_s,
    };
    d->has_notices = true;
    store_notice_set(d->store, &notice, on_noted, d);
}

void delivery_clear_notice(struct delivery *d, const char *account)
{
    if (d->has_notices)
        store_notice_clear(d->store, account, on_noted, d);
}

struct recall {
    struct delivery *delivery;
    const struct setup *setup;
};

static void stay_paused(
    const struct recall *r, size_t account, int64_t left_s, const struct store_notice *notice)
{
    struct breaker *b = r->setup->breakers[account];
    uint64_t now = loop_now_ms(r->delivery->loop);
    breaker_resume(b, now, (uint64_t)left_s * 1000, notice->text);
    log_event(LOG_LEVEL_ERROR, "logins_paused",
        LOG_STR("account", notice->account[0] ? notice->account : "default"),
        LOG_INT("seconds", (b->open_until - now) / 1000),
        LOG_STR("reason", "refused logins before the restart, with this username and password"),
        LOG_STR("remedy", BREAKER_REMEDY));
}

/* A restart mends nothing by itself. If the credential may be another one, one login finds out. */
static void recall(void *user, const struct store_notice *notice)
{
    const struct recall *r = user;
    const struct config *c = r->setup->config;
    int64_t left_s = notice->until - loop_wall_s(r->delivery->loop);
    r->delivery->has_notices = true;
    for (size_t i = 0; i < c->account_count; i++) {
        if (strcmp(c->accounts[i].name, notice->account) != 0 ||
            strcmp(c->accounts[i].username, notice->login) != 0)
            continue;
        if (left_s > 0 && !setup_may_have_new_login(r->setup, i, notice->loaded))
            stay_paused(r, i, left_s, notice);
        else
            breaker_suspect(r->setup->breakers[i]);
    }
}

void delivery_recall_notices(struct delivery *d, const struct setup *setup)
{
    struct recall r = { .delivery = d, .setup = setup };
    struct err why;
    if (!store_notice_each(d->store, recall, &r, &why))
        log_event(LOG_LEVEL_WARNING, "notices_unreadable", LOG_STR("reason", why.text));
}
