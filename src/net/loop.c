#include "net/loop.h"
#include "net/conn_uv.h"
#include "net/loop_uv.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>

struct loop_signal {
    uv_signal_t uv;
    struct list link; /* in loop->signals */
    loop_signal_fn *fn;
    void *user;
};

/* Takes everything out of `from`, so that what is added meanwhile waits for the next turn. */
static void take_all(struct list *from, struct list *to)
{
    list_init(to);
    if (list_is_empty(from))
        return;
    *to = *from;
    to->next->prev = to;
    to->prev->next = to;
    list_init(from);
}

static void on_todo(uv_idle_t *idle)
{
    struct loop *loop = idle->data;
    struct list batch;
    take_all(&loop->todo, &batch);
    while (!list_is_empty(&batch)) {
        struct list *link = list_first(&batch);
        list_remove(link);
        conn_run_todo(LIST_ENTRY(link, struct conn, todo));
    }
}

/* Everything that was written within this turn leaves in as few segments as possible. */
static void on_dirty(uv_prepare_t *prepare)
{
    struct loop *loop = prepare->data;
    struct list batch;
    take_all(&loop->dirty, &batch);
    while (!list_is_empty(&batch)) {
        struct list *link = list_first(&batch);
        list_remove(link);
        conn_flush(LIST_ENTRY(link, struct conn, dirty));
    }
    if (list_is_empty(&loop->todo) && list_is_empty(&loop->dirty)) {
        uv_idle_stop(&loop->todo_runner);
        uv_prepare_stop(&loop->dirty_runner);
    }
}

void loop_wake(struct loop *loop)
{
    uv_idle_start(&loop->todo_runner, on_todo);
    uv_prepare_start(&loop->dirty_runner, on_dirty);
}

bool loop_new(struct loop **ret_loop, struct err *e)
{
    struct loop *loop = calloc(1, sizeof *loop);
    char *read_buf = malloc(CONN_READ_SIZE);
    int status = loop && read_buf ? uv_loop_init(&loop->uv) : UV_ENOMEM;
    if (status != 0) {
        free(loop);
        free(read_buf);
        return err_set(e, ERR_IO, "cannot make an event loop: %s", uv_strerror(status));
    }
    loop->read_buf = read_buf;
    buf_init(&loop->plain, CONN_READ_SIZE);
    list_init(&loop->todo);
    list_init(&loop->dirty);
    list_init(&loop->closing);
    list_init(&loop->signals);
    uv_idle_init(&loop->uv, &loop->todo_runner);
    uv_prepare_init(&loop->uv, &loop->dirty_runner);
    loop->todo_runner.data = loop;
    loop->dirty_runner.data = loop;
#ifdef SIGPIPE
    signal(SIGPIPE, SIG_IGN); /* a peer that went away is an error of the write, not our end */
#endif
    *ret_loop = loop;
    return true;
}

static void on_signal_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    while (!list_is_empty(&loop->signals)) {
        struct loop_signal *s = LIST_ENTRY(list_first(&loop->signals), struct loop_signal, link);
        list_remove(&s->link);
        uv_close((uv_handle_t *)&s->uv, on_signal_closed);
    }
    loop->is_ending = true;
    conn_end_lingering(loop);
    /* Closed connections still send what they have, for at most CONN_CLOSE_MS. */
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&loop->todo_runner, NULL);
    uv_close((uv_handle_t *)&loop->dirty_runner, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    int status = uv_loop_close(&loop->uv);
    assert(status == 0 && "everything made on the loop must be closed before it");
    (void)status;
    buf_fini(&loop->plain);
    free(loop->read_buf);
    free(loop);
}

void loop_run(struct loop *loop)
{
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *loop)
{
    uv_stop(&loop->uv);
}

uint64_t loop_now_ms(const struct loop *loop)
{
    return uv_now(&loop->uv);
}

int64_t loop_wall_s(const struct loop *loop)
{
    (void)loop;
    uv_timeval64_t now;
    return uv_gettimeofday(&now) == 0 ? now.tv_sec : 0;
}

static void on_signal(uv_signal_t *uv, int signum)
{
    struct loop_signal *s = uv->data;
    s->fn(s->user, signum);
}

bool loop_on_signal(struct loop *loop, int signum, loop_signal_fn *fn, void *user, struct err *e)
{
    struct loop_signal *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_MEMORY, "out of memory");
    s->fn = fn;
    s->user = user;
    uv_signal_init(&loop->uv, &s->uv);
    s->uv.data = s;
    int status = uv_signal_start(&s->uv, on_signal, signum);
    if (status != 0) {
        uv_close((uv_handle_t *)&s->uv, on_signal_closed);
        return err_set(e, ERR_IO, "cannot catch signal %d: %s", signum, uv_strerror(status));
    }
    uv_unref((uv_handle_t *)&s->uv); /* waiting for a signal alone is no reason to run */
    list_add_tail(&loop->signals, &s->link);
    return true;
}
