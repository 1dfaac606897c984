#include "app/daemon_spool.h"
#include "base/str.h"
#include "net/doorbell.h"
#include "ops/log.h"

#include <stdlib.h>

enum { OPEN_AGAIN_MS = 5000 };

struct daemon_spool {
    struct loop *loop;
    char *path;
    struct store_params params;
    struct doorbell *doorbell; /* the store's threads ring it */
    struct store *store;       /* NULL until it is open, as is the delivery */
    struct delivery *delivery;
    daemon_spool_fn *opened;
    void *user;
    struct timer *timer; /* the next try to open it */
    bool is_opening;     /* a worker has the two below */
    struct store *found;
    struct err why;
    bool is_freed; /* the worker's end frees it */
};

static void on_ring(void *user)
{
    struct daemon_spool *s = user;
    if (s->store)
        store_poll(s->store);
}

static void ring(void *user)
{
    doorbell_ring(user);
}

static void destroy(struct daemon_spool *s)
{
    delivery_cut(s->delivery);
    store_close(s->store);
    delivery_free(s->delivery);
    timer_free(s->timer);
    doorbell_free(s->doorbell);
    free(s->path);
    free(s);
}

static bool take_store(struct daemon_spool *s, struct store *store, struct err *e)
{
    s->store = store;
    s->delivery = delivery_new(s->loop, store);
    return s->delivery || err_set(e, ERR_MEMORY, "out of memory");
}

/* --- opening it later --- */

static void try_later(struct daemon_spool *s)
{
    timer_set(s->timer, loop_now_ms(s->loop) + OPEN_AGAIN_MS);
}

static void open_store(void *arg)
{
    struct daemon_spool *s = arg;
    s->found = NULL;
    store_open(&s->params, &s->found, &s->why);
}

static void on_tried(void *arg)
{
    struct daemon_spool *s = arg;
    struct err why;
    s->is_opening = false;
    if (s->is_freed) {
        store_close(s->found);
        destroy(s);
    } else if (!s->found) {
        log_event(LOG_LEVEL_DEBUG, "spool_not_opened", LOG_STR("reason", s->why.text));
        try_later(s);
    } else if (!take_store(s, s->found, &why)) {
        log_event(LOG_LEVEL_ERROR, "spool_not_opened", LOG_STR("reason", why.text),
            LOG_STR("remedy", "restart submitd"));
    } else {
        log_event(LOG_LEVEL_INFO, "spool_opened", LOG_STR("file", s->path));
        s->opened(s->user, s->delivery);
    }
}

static void on_timer(void *user)
{
    struct daemon_spool *s = user;
    s->is_opening = loop_work(s->loop, open_store, on_tried, s);
    if (!s->is_opening)
        try_later(s);
}

static void do_without(struct daemon_spool *s, const struct err *why)
{
    log_event(LOG_LEVEL_ERROR, "spool_not_opened", LOG_STR("reason", why->text),
        LOG_STR("remedy",
            "make room: until then messages are relayed, and where they would be spooled "
            "clients hear 451; what is in the spool waits"));
    try_later(s);
}

/* --- life --- */

static bool begin(struct daemon_spool *s, struct err *e)
{
    s->timer = timer_new(s->loop, on_timer, s);
    s->doorbell = doorbell_new(s->loop, on_ring, s);
    if (!s->path || !s->timer || !s->doorbell)
        return err_set(e, ERR_MEMORY, "out of memory");
    s->params.path = s->path;
    s->params.wake = ring;
    s->params.wake_user = s->doorbell;
    struct store *store;
    if (store_open(&s->params, &store, e))
        return take_store(s, store, e);
    if (e->kind != ERR_LIMIT)
        return false;
    do_without(s, e);
    return true;
}

bool daemon_spool_new(struct loop *loop, const struct config_delivery *config,
    daemon_spool_fn *opened, void *user, struct daemon_spool **ret_spool, struct err *e)
{
    struct daemon_spool *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_MEMORY, "out of memory");
    s->loop = loop;
    s->path = str_dup(config->spool);
    s->params.min_free = config->min_free;
    s->opened = opened;
    s->user = user;
    if (!begin(s, e)) {
        destroy(s);
        return false;
    }
    *ret_spool = s;
    return true;
}

struct delivery *daemon_spool_delivery(const struct daemon_spool *s)
{
    return s ? s->delivery : NULL;
}

bool daemon_spool_fits(const struct daemon_spool *s, const struct config_delivery *config)
{
    return s && strcmp(config->spool, s->path) == 0;
}

void daemon_spool_free(struct daemon_spool *s)
{
    if (!s)
        return;
    s->is_freed = true;
    if (!s->is_opening)
        destroy(s);
}
