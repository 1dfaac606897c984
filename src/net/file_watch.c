#include "net/file_watch.h"
#include "net/loop_uv.h"

#include <stdlib.h>

struct file_watch {
    uv_fs_poll_t uv;
    loop_fn *fn;
    void *user;
};

/* A file that went is no news: it is told when it is there again. */
static void on_change(uv_fs_poll_t *uv, int status, const uv_stat_t *before, const uv_stat_t *after)
{
    (void)before;
    (void)after;
    struct file_watch *w = uv->data;
    if (status == 0)
        w->fn(w->user);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

struct file_watch *file_watch_new(struct loop *loop, const char *path, loop_fn *fn, void *user)
{
    struct file_watch *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    uv_fs_poll_init(&loop->uv, &w->uv);
    w->uv.data = w;
    w->fn = fn;
    w->user = user;
    uv_unref((uv_handle_t *)&w->uv);
    if (uv_fs_poll_start(&w->uv, on_change, path, FILE_WATCH_MS) == 0)
        return w;
    file_watch_free(w);
    return NULL;
}

void file_watch_free(struct file_watch *w)
{
    if (w)
        uv_close((uv_handle_t *)&w->uv, on_closed);
}
