#include "net/loop.h"
#include "net/loop_uv.h"

#include <stdlib.h>

struct timer {
    uv_timer_t uv;
    loop_fn *fn;
    void *user;
};

struct timer *timer_new(struct loop *loop, loop_fn *fn, void *user)
{
    struct timer *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    uv_timer_init(&loop->uv, &t->uv);
    t->uv.data = t;
    t->fn = fn;
    t->user = user;
    return t;
}

static void on_time(uv_timer_t *uv)
{
    struct timer *t = uv->data;
    t->fn(t->user);
}

void timer_set(struct timer *t, uint64_t at_ms)
{
    if (at_ms == 0) {
        uv_timer_stop(&t->uv);
        return;
    }
    uint64_t now = uv_now(t->uv.loop);
    uv_timer_start(&t->uv, on_time, at_ms > now ? at_ms - now : 0, 0);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void timer_free(struct timer *t)
{
    if (t)
        uv_close((uv_handle_t *)&t->uv, on_closed);
}
