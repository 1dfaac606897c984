#include "net/loop.h"
#include "net/loop_uv.h"

#include <stdlib.h>

struct work {
    uv_work_t uv;
    loop_fn *work;
    loop_fn *done;
    void *arg;
};

static void on_work(uv_work_t *uv)
{
    struct work *w = uv->data;
    w->work(w->arg);
}

static void on_done(uv_work_t *uv, int status)
{
    (void)status; /* it is never cancelled */
    struct work *w = uv->data;
    loop_fn *done = w->done;
    void *arg = w->arg;
    free(w);
    done(arg);
}

bool loop_work(struct loop *loop, loop_fn *work, loop_fn *done, void *arg)
{
    struct work *w = malloc(sizeof *w);
    if (!w)
        return false;
    *w = (struct work){ .work = work, .done = done, .arg = arg };
    w->uv.data = w;
    if (uv_queue_work(&loop->uv, &w->uv, on_work, on_done) == 0)
        return true;
    free(w);
    return false;
}
