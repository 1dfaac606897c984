#include "net/doorbell.h"
#include "net/loop_uv.h"

#include <stdlib.h>

struct doorbell {
    uv_async_t uv;
    loop_fn *fn;
    void *user;
};

static void on_ring(uv_async_t *uv)
{
    struct doorbell *b = uv->data;
    b->fn(b->user);
}

struct doorbell *doorbell_new(struct loop *loop, loop_fn *fn, void *user)
{
    struct doorbell *b = calloc(1, sizeof *b);
    if (!b || uv_async_init(&loop->uv, &b->uv, on_ring) != 0) {
        free(b);
        return NULL;
    }
    b->uv.data = b;
    b->fn = fn;
    b->user = user;
    uv_unref((uv_handle_t *)&b->uv);
    return b;
}

void doorbell_ring(struct doorbell *b)
{
    uv_async_send(&b->uv);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void doorbell_free(struct doorbell *b)
{
    if (b)
        uv_close((uv_handle_t *)&b->uv, on_closed);
}
