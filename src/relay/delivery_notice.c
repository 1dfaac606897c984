/* Notices of paused logins: in the spool, where people and the next life of submitd find them. */
#include "relay/delivery_internal.h"

static void on_noted(void *user, const struct err *why)
{
    (void)user;
    if (why) /* no message depends on it */
        log_event(LOG_LEVEL_WARNING, "notice_not_stored", LOG_STR("reason", why->text));
}

void delivery_logins_paused(
    struct delivery *d, const struct config_account *account, uint64_t ms, const struct err *why)
{
    struct store_notice notice = {
        .account = account->name,
        .login = account->username,
        .until = loop_wall_s(d->loop) + (int64_t)(ms / 1000),
        .text = why->text,
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

/* It may be that the password was corrected: one login finds out. */
static void recall(void *user, const struct store_notice *notice)
{
    const struct recall *r = user;
    const struct config *c = r->setup->config;
    r->delivery->has_notices = true;
    for (size_t i = 0; i < c->account_count; i++) {
        if (strcmp(c->accounts[i].name, notice->account) == 0 &&
            strcmp(c->accounts[i].username, notice->login) == 0)
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
