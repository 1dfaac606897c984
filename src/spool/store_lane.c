/* Threads, what waits for them, and the group commit. */
#include "platform/platform.h"
#include "spool/disk.h"
#include "spool/store_internal.h"

#include <stdlib.h>

const struct err *op_why(const struct op *op)
{
    return op->has_failed ? &op->why : NULL;
}

/* --- from and to the loop's thread --- */

static void add(struct store_lane *lane, struct op *op, bool must_wake)
{
    struct store *s = lane->store;
    pthread_mutex_lock(&s->mutex);
    list_add_tail(&lane->waiting, &op->link);
    if (must_wake)
        pthread_cond_signal(&lane->is_needed);
    pthread_mutex_unlock(&s->mutex);
}

void store_lane_add(struct store_lane *lane, struct op *op)
{
    add(lane, op, true);
}

void store_lane_add_quietly(struct store_lane *lane, struct op *op)
{
    add(lane, op, false);
}

static void move_all(struct list *to, struct list *from)
{
    for (struct list *link; (link = list_first(from));) {
        list_remove(link);
        list_add_tail(to, link);
    }
}

/* One wake is enough until store_poll has taken the list. */
static bool is_first(const struct store *s)
{
    return list_is_empty(&s->finished) && !s->is_closing && s->wake;
}

static void post_all(struct store *s, struct list *done)
{
    if (list_is_empty(done))
        return;
    pthread_mutex_lock(&s->mutex);
    bool must_wake = is_first(s);
    move_all(&s->finished, done);
    pthread_mutex_unlock(&s->mutex);
    if (must_wake)
        s->wake(s->wake_user);
}

static void post_one(struct store *s, struct op *op)
{
    pthread_mutex_lock(&s->mutex);
    bool must_wake = is_first(s);
    list_add_tail(&s->finished, &op->link);
    pthread_mutex_unlock(&s->mutex);
    if (must_wake)
        s->wake(s->wake_user);
}

void store_post_failed(struct store *s, struct op *op, enum err_kind kind, const char *what)
{
    op->has_failed = true;
    err_set(&op->why, kind, "spool '%s': %s", s->path, what);
    post_one(s, op);
}

/* --- a lane's life --- */

/* With the mutex; for ever when `wait_ms` is 0. */
static void wait_for_work(struct store_lane *lane, unsigned wait_ms)
{
    struct store *s = lane->store;
    if (wait_ms == 0)
        pthread_cond_wait(&lane->is_needed, &s->mutex);
    else
        platform_cond_wait_for(&lane->is_needed, &s->mutex, wait_ms);
}

/* False when the store closes and nothing waits any more. */
static bool take_batch(struct store_lane *lane, struct list *batch, unsigned wait_ms)
{
    struct store *s = lane->store;
    pthread_mutex_lock(&s->mutex);
    if (list_is_empty(&lane->waiting) && !s->is_closing)
        wait_for_work(lane, wait_ms);
    bool goes_on = !list_is_empty(&lane->waiting) || !s->is_closing;
    move_all(batch, &lane->waiting);
    pthread_mutex_unlock(&s->mutex);
    return goes_on;
}

static void *run_lane(void *arg)
{
    struct store_lane *lane = arg;
    struct list batch;
    list_init(&batch);
    unsigned wait_ms = lane->rest ? lane->rest(lane, true) : 0;
    while (take_batch(lane, &batch, wait_ms)) {
        bool is_idle = list_is_empty(&batch);
        if (!is_idle)
            lane->serve(lane, &batch);
        if (lane->rest)
            wait_ms = lane->rest(lane, is_idle);
    }
    return NULL;
}

bool store_lane_init(struct store_lane *lane, struct store *s)
{
    lane->store = s;
    list_init(&lane->waiting);
    return platform_cond_init(&lane->is_needed);
}

bool store_lane_start(struct store_lane *lane, struct err *e)
{
    int why = platform_start_thread(&lane->thread, run_lane, lane);
    lane->is_running = why == 0;
    return why == 0 || err_set(e, ERR_MEMORY, "spool '%s': cannot start a thread: %s",
                           lane->store->path, strerror(why));
}

void store_lane_stop(struct store_lane *lane)
{
    if (lane->is_running) {
        pthread_mutex_lock(&lane->store->mutex);
        pthread_cond_signal(&lane->is_needed);
        pthread_mutex_unlock(&lane->store->mutex);
        pthread_join(lane->thread, NULL);
    }
    lane->is_running = false;
    sql_close(&lane->sql);
    pthread_cond_destroy(&lane->is_needed);
}

/* --- the writer: one transaction for all who wait --- */

void op_fail(struct op *op, const struct err *why)
{
    op->has_failed = true;
    op->why = *why;
    if (op->kind->lost)
        op->kind->lost(op);
}

/* False when the transaction is lost (SQLite ends it by itself on some failures); else the
 * operation's own failure stays its own. */
static bool run_op(struct store *s, struct op *op, struct err *e)
{
    struct sql *c = &s->writer.sql;
    op->has_failed = false;
    op->is_unfinished = false;
    if (!sql_run(c, SQL_SAVEPOINT, e))
        return false;
    if (op->kind->run(s, op, e))
        return sql_run(c, SQL_RELEASE, e);
    op_fail(op, e);
    return sql_is_in_transaction(c) && sql_run(c, SQL_ROLLBACK_TO, e) && sql_run(c, SQL_RELEASE, e);
}

/* All of them, or none and `e`. */
static bool run_transaction(struct store *s, struct list *group, struct err *e)
{
    struct sql *c = &s->writer.sql;
    if (!sql_run(c, SQL_BEGIN, e))
        return false;
    bool is_fine = true;
    for (struct list *l = group->next; is_fine && l != group; l = l->next)
        is_fine = run_op(s, LIST_ENTRY(l, struct op, link), e);
    if (is_fine && sql_run(c, SQL_COMMIT, e))
        return true;
    if (sql_is_in_transaction(c))
        sql_run(c, SQL_ROLLBACK, NULL);
    return false;
}

/* On a full disk the small ones may still fit, above all those that make room. */
static void run_one_by_one(struct store *s, struct list *group)
{
    scratch_make_room(s);
    keeper_checkpoint(s);
    for (struct list *l = group->next, *next; l != group; l = next) {
        struct op *op = LIST_ENTRY(l, struct op, link);
        struct list alone;
        struct err why;
        next = l->next;
        list_init(&alone);
        list_remove(l);
        list_add_tail(&alone, l);
        if (!run_transaction(s, &alone, &why))
            op_fail(op, &why);
        list_remove(l);
        list_add_tail(next, l);
    }
}

static void fail_all(struct list *group, const struct err *why)
{
    for (struct list *l = group->next; l != group; l = l->next)
        op_fail(LIST_ENTRY(l, struct op, link), why);
}

/* Those with more steps to go wait again, behind what came meanwhile. */
static void requeue_unfinished(struct store_lane *lane, struct list *group)
{
    for (struct list *l = group->next, *next; l != group; l = next) {
        struct op *op = LIST_ENTRY(l, struct op, link);
        next = l->next;
        if (op->has_failed || !op->is_unfinished)
            continue;
        op->steps++;
        list_remove(l);
        store_lane_add(lane, op);
    }
}

/* What needs no database does not wait for those that do. */
static void run_beside(struct store *s, struct list *batch)
{
    struct list done;
    list_init(&done);
    for (struct list *l = batch->next, *next; l != batch; l = next) {
        struct op *op = LIST_ENTRY(l, struct op, link);
        next = l->next;
        op->has_failed = false;
        if (!op->kind->run_beside || !op->kind->run_beside(s, op))
            continue;
        list_remove(l);
        list_add_tail(&done, l);
    }
    post_all(s, &done);
}

/* Nothing is posted before the commit has returned: a client's 250 hangs on it. */
void writer_serve(struct store_lane *lane, struct list *batch)
{
    struct store *s = lane->store;
    struct err why;
    run_beside(s, batch);
    if (list_is_empty(batch))
        return;
    s->has_written = true;
    if (!run_transaction(s, batch, &why)) {
        if (why.kind == ERR_LIMIT)
            run_one_by_one(s, batch);
        else
            fail_all(batch, &why);
    }
    requeue_unfinished(lane, batch);
    post_all(s, batch);
}

/* --- the reader --- */

/* One snapshot for a message and its recipients. */
static bool run_read(struct store *s, struct op *op, struct err *e)
{
    struct sql *c = &s->reader.sql;
    if (!sql_run(c, SQL_BEGIN_READ, e))
        return false;
    bool is_fine = op->kind->run(s, op, e);
    if (sql_is_in_transaction(c))
        sql_run(c, SQL_ROLLBACK, NULL);
    return is_fine;
}

void reader_serve(struct store_lane *lane, struct list *batch)
{
    for (struct list *link; (link = list_first(batch));) {
        struct op *op = LIST_ENTRY(link, struct op, link);
        op->has_failed = !run_read(lane->store, op, &op->why);
        list_remove(link);
        post_one(lane->store, op);
    }
}
