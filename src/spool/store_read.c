/* What delivery reads, on a thread and a connection of their own: commits do not wait for it. */
#include "spool/store_internal.h"

#include <stdio.h>
#include <stdlib.h>

struct read {
    struct op op;
    char *account; /* due */
    int64_t now;
    size_t limit;
    uint64_t *busy; /* sorted */
    size_t busy_count;
    uint64_t number, chunk; /* chunk */
    void *user;
    union {
        store_list_fn *list;
        store_times_fn *times;
        store_chunk_fn *chunk;
    } done;

    /* The result. */
    struct store_message **messages;
    struct store_due_time *times;
    size_t count, room;
    struct buf text;
};

static void read_free(struct read *r)
{
    for (size_t i = 0; r->messages && i < r->count; i++)
        store_message_free(r->messages[i]);
    free(r->messages);
    free(r->times);
    buf_fini(&r->text);
    free(r->account);
    free(r->busy);
    free(r);
}

/* False when out of memory. `*array` is an array of `size`d elements with room for r->room. */
static bool make_room(struct read *r, void **array, size_t size)
{
    if (r->count < r->room)
        return true;
    size_t room = r->room ? r->room * 2 : 16;
    void *more = realloc(*array, room * size);
    if (!more)
        return false;
    *array = more;
    r->room = room;
    return true;
}

/* --- lists of messages --- */

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static bool is_busy(const struct read *r, uint64_t number)
{
    return r->busy_count > 0 &&
           bsearch(&number, r->busy, r->busy_count, sizeof number, by_number) != NULL;
}

static bool keep(struct read *r, struct store_message *m, struct query *q)
{
    void *array = r->messages;
    bool fits = make_room(r, &array, sizeof *r->messages);
    r->messages = array;
    if (fits) {
        r->messages[r->count++] = m;
        return true;
    }
    store_message_free(m);
    q->code = SQLITE_NOMEM;
    return false;
}

static bool read_list(struct sql *c, struct read *r, struct query *q, struct err *e)
{
    struct store_message *m;
    while (r->count < r->limit && (m = row_next(q))) {
        if (is_busy(r, m->number))
            store_message_free(m);
        else if (!keep(r, m, q))
            break;
    }
    if (!query_end(q, e))
        return false;
    for (size_t i = 0; i < r->count; i++) {
        if (!row_read_rcpts(c, r->messages[i], e))
            return false;
    }
    return true;
}

static bool run_due(struct store *s, struct op *op, struct err *e)
{
    struct read *r = (struct read *)op;
    struct query q = query_new(&s->reader.sql, SQL_SELECT_DUE);
    query_text(&q, r->account);
    query_int(&q, r->now);
    return read_list(&s->reader.sql, r, &q, e);
}

static bool run_overdue(struct store *s, struct op *op, struct err *e)
{
    struct read *r = (struct read *)op;
    struct query q = query_new(&s->reader.sql, SQL_SELECT_OVERDUE);
    query_int(&q, r->now);
    return read_list(&s->reader.sql, r, &q, e);
}

static void finish_list(struct store *s, struct op *op, bool tells)
{
    (void)s;
    struct read *r = (struct read *)op;
    if (tells && op->has_failed) {
        r->done.list(r->user, NULL, 0, &op->why);
    } else if (tells) {
        struct store_message **messages = r->messages;
        size_t count = r->count;
        if (count == 0)
            free(messages);
        r->messages = NULL;
        r->done.list(r->user, count > 0 ? messages : NULL, count, NULL);
    }
    read_free(r);
}

static const struct op_kind due_kind = { .run = run_due, .finish = finish_list };
static const struct op_kind overdue_kind = { .run = run_overdue, .finish = finish_list };

static struct read *read_new(const struct op_kind *kind, void *user)
{
    struct read *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->op.kind = kind;
    r->user = user;
    buf_init(&r->text, STORE_CHUNK_SIZE);
    return r;
}

/* Takes `r`, or tells at once that there is no memory even for the request. */
static void ask_list(struct store *s, struct read *r, size_t limit, const uint64_t *busy,
    size_t busy_count, store_list_fn *done, void *user)
{
    struct err why;
    if (!r) {
        err_set(&why, ERR_MEMORY, "spool '%s': out of memory", s->path);
        done(user, NULL, 0, &why);
        return;
    }
    r->limit = limit;
    r->done.list = done;
    r->busy = busy_count > 0 ? malloc(busy_count * sizeof *busy) : NULL;
    if ((busy_count > 0 && !r->busy) || (r->op.kind == &due_kind && !r->account)) {
        store_post_failed(s, &r->op, ERR_MEMORY, "out of memory");
        return;
    }
    if (busy_count > 0) {
        memcpy(r->busy, busy, busy_count * sizeof *busy);
        qsort(r->busy, busy_count, sizeof *busy, by_number);
    }
    r->busy_count = busy_count;
    store_lane_add(&s->reader, &r->op);
}

void store_due(struct store *s, const char *account, int64_t now, size_t limit,
    const uint64_t *busy, size_t busy_count, store_list_fn *done, void *user)
{
    struct read *r = read_new(&due_kind, user);
    if (r) {
        r->account = slice_dup(slice_str(account));
        r->now = now;
    }
    ask_list(s, r, limit, busy, busy_count, done, user);
}

void store_overdue(struct store *s, int64_t now, size_t limit, const uint64_t *busy,
    size_t busy_count, store_list_fn *done, void *user)
{
    struct read *r = read_new(&overdue_kind, user);
    if (r)
        r->now = now;
    ask_list(s, r, limit, busy, busy_count, done, user);
}

/* --- when to look again --- */

static bool keep_time(struct read *r, struct query *q)
{
    void *array = r->times;
    bool fits = make_room(r, &array, sizeof *r->times);
    r->times = array;
    char *account = fits ? query_take_text(q) : NULL;
    if (!account) {
        q->code = SQLITE_NOMEM;
        return false;
    }
    struct store_due_time *t = &r->times[r->count++];
    snprintf(t->account, sizeof t->account, "%s", account);
    t->next_try = query_take_int(q);
    free(account);
    return true;
}

/* The account behind `after` in the index (NULL: the first), with its earliest message. */
static bool read_time(
    struct sql *c, struct read *r, const char *after, bool *ret_found, struct err *e)
{
    struct query q = query_new(c, after ? SQL_SELECT_NEXT_ACCOUNT : SQL_SELECT_FIRST_ACCOUNT);
    if (after)
        query_text(&q, after);
    *ret_found = query_step(&q) && keep_time(r, &q);
    return query_end(&q, e);
}

static bool run_times(struct store *s, struct op *op, struct err *e)
{
    struct read *r = (struct read *)op;
    bool found = true;
    while (found) {
        char after[sizeof r->times->account] = "";
        if (r->count > 0)
            memcpy(after, r->times[r->count - 1].account, sizeof after);
        if (!read_time(&s->reader.sql, r, r->count > 0 ? after : NULL, &found, e))
            return false;
    }
    return true;
}

static void finish_times(struct store *s, struct op *op, bool tells)
{
    (void)s;
    struct read *r = (struct read *)op;
    if (tells)
        r->done.times(
            r->user, op->has_failed ? NULL : r->times, op->has_failed ? 0 : r->count, op_why(op));
    read_free(r);
}

static const struct op_kind times_kind = { .run = run_times, .finish = finish_times };

void store_due_times(struct store *s, store_times_fn *done, void *user)
{
    struct read *r = read_new(&times_kind, user);
    if (!r) {
        struct err why;
        err_set(&why, ERR_MEMORY, "spool '%s': out of memory", s->path);
        done(user, NULL, 0, &why);
        return;
    }
    r->done.times = done;
    store_lane_add(&s->reader, &r->op);
}

/* --- bodies --- */

static bool run_chunk(struct store *s, struct op *op, struct err *e)
{
    struct read *r = (struct read *)op;
    return row_read_chunk(&s->reader.sql, r->number, r->chunk, &r->text, e);
}

static void finish_chunk(struct store *s, struct op *op, bool tells)
{
    (void)s;
    struct read *r = (struct read *)op;
    if (tells)
        r->done.chunk(r->user, op->has_failed ? SLICE_NONE : buf_slice(&r->text), op_why(op));
    read_free(r);
}

static const struct op_kind chunk_kind = { .run = run_chunk, .finish = finish_chunk };

void store_read_chunk(
    struct store *s, uint64_t number, uint64_t chunk, store_chunk_fn *done, void *user)
{
    struct read *r = read_new(&chunk_kind, user);
    if (!r) {
        struct err why;
        err_set(&why, ERR_MEMORY, "spool '%s': out of memory", s->path);
        done(user, SLICE_NONE, &why);
        return;
    }
    r->number = number;
    r->chunk = chunk;
    r->done.chunk = done;
    store_lane_add(&s->reader, &r->op);
}
