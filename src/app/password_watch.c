#include "app/password_watch.h"
#include "net/file_watch.h"

#include <stdlib.h>

struct password_watch {
    struct loop *loop;
    loop_fn *fn;
    void *user;
    struct timer *settle;
    struct file_watch **files; /* one for each account, NULL for those without a file */
    size_t count;
};

static void on_settled(void *user)
{
    struct password_watch *w = user;
    w->fn(w->user);
}

static void on_changed(void *user)
{
    struct password_watch *w = user;
    timer_set(w->settle, loop_now_ms(w->loop) + PASSWORD_WATCH_SETTLE_MS);
}

struct password_watch *password_watch_new(struct loop *loop, loop_fn *fn, void *user)
{
    struct password_watch *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->loop = loop;
    w->fn = fn;
    w->user = user;
    w->settle = timer_new(loop, on_settled, w);
    if (w->settle)
        return w;
    free(w);
    return NULL;
}

static void stop_watching(struct password_watch *w)
{
    for (size_t i = 0; i < w->count; i++)
        file_watch_free(w->files[i]);
    free(w->files);
    w->files = NULL;
    w->count = 0;
}

void password_watch_set(struct password_watch *w, const struct config *c)
{
    stop_watching(w);
    w->files = calloc(c->account_count + 1, sizeof(struct file_watch *));
    w->count = w->files ? c->account_count : 0;
    for (size_t i = 0; i < w->count; i++) {
        const char *path = c->accounts[i].password_path;
        w->files[i] = path ? file_watch_new(w->loop, path, on_changed, w) : NULL;
    }
}

void password_watch_free(struct password_watch *w)
{
    if (!w)
        return;
    stop_watching(w);
    timer_free(w->settle);
    free(w);
}
