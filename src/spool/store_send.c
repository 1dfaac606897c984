/* What delivery and the clock change: verdicts, removals, bounces, routes. */
#include "spool/store_internal.h"

#include <stdlib.h>

enum {
    EXPIRED_AT_ONCE = 200, /* failed messages removed in one transaction */
    ROUTED_AT_ONCE = 1000, /* messages looked at in one transaction */
};

struct change {
    struct op op;
    store_done_fn *done;
    void *user;
    struct store_message *message; /* update */
    uint64_t number;               /* remove */
    int64_t before;                /* expire */
    store_route_fn *route;
    void *route_user;
    uint64_t after, last; /* reroute: the step begins behind one number and ended with another */
    unsigned step;        /* that these are of */
};

static void finish_change(struct store *s, struct op *op, bool tells)
{
    (void)s;
    struct change *change = (struct change *)op;
    if (tells)
        change->done(change->user, op_why(op));
    store_message_free(change->message);
    free(change);
}

/* Without memory even for the request the answer comes at once. */
static struct change *change_new(
    struct store *s, const struct op_kind *kind, store_done_fn *done, void *user)
{
    struct change *change = calloc(1, sizeof *change);
    if (!change) {
        struct err why;
        err_set(&why, ERR_MEMORY, "spool '%s': out of memory", s->path);
        done(user, &why);
        return NULL;
    }
    change->op.kind = kind;
    change->done = done;
    change->user = user;
    return change;
}

/* --- a verdict --- */

static bool run_update(struct store *s, struct op *op, struct err *e)
{
    return row_update(&s->writer.sql, ((struct change *)op)->message, e);
}

static const struct op_kind update_kind = { .run = run_update, .finish = finish_change };

void store_update(struct store *s, const struct store_message *m, store_done_fn *done, void *user)
{
    struct change *change = change_new(s, &update_kind, done, user);
    if (!change)
        return;
    change->message = message_dup(m);
    if (change->message)
        store_lane_add(&s->writer, &change->op);
    else
        store_post_failed(s, &change->op, ERR_MEMORY, "out of memory");
}

static bool run_remove(struct store *s, struct op *op, struct err *e)
{
    s->may_shrink = true;
    return row_remove(&s->writer.sql, ((struct change *)op)->number, e);
}

static const struct op_kind remove_kind = { .run = run_remove, .finish = finish_change };

void store_remove(struct store *s, uint64_t number, store_done_fn *done, void *user)
{
    struct change *change = change_new(s, &remove_kind, done, user);
    if (!change)
        return;
    change->number = number;
    store_lane_add(&s->writer, &change->op);
}

void store_bounce(struct store *s, struct store_writer *w, const struct store_message *bounce,
    const struct store_message *original, store_done_fn *done, void *user)
{
    (void)s;
    writer_commit(w, bounce, original, done, user);
}

/* --- many at once, in steps --- */

/* Numbers come first: a statement should not walk an index that another one changes. */
static bool select_failed(struct sql *c, int64_t before, uint64_t numbers[EXPIRED_AT_ONCE],
    size_t *ret_count, struct err *e)
{
    struct query q = query_new(c, SQL_SELECT_FAILED);
    query_int(&q, before);
    query_int(&q, EXPIRED_AT_ONCE);
    size_t count = 0;
    while (count < EXPIRED_AT_ONCE && query_step(&q))
        numbers[count++] = (uint64_t)query_take_int(&q);
    *ret_count = count;
    return query_end(&q, e);
}

static bool run_expire(struct store *s, struct op *op, struct err *e)
{
    struct sql *c = &s->writer.sql;
    uint64_t numbers[EXPIRED_AT_ONCE];
    size_t count;
    if (!select_failed(c, ((struct change *)op)->before, numbers, &count, e))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!row_remove(c, numbers[i], e))
            return false;
    }
    s->may_shrink = s->may_shrink || count > 0;
    op->is_unfinished = count == EXPIRED_AT_ONCE;
    return true;
}

static const struct op_kind expire_kind = { .run = run_expire, .finish = finish_change };

void store_expire_failed(struct store *s, int64_t before, store_done_fn *done, void *user)
{
    struct change *change = change_new(s, &expire_kind, done, user);
    if (!change)
        return;
    change->before = before;
    store_lane_add(&s->writer, &change->op);
}

static bool set_account(struct sql *c, uint64_t number, const char *account, struct err *e)
{
    struct query q = query_new(c, SQL_UPDATE_ACCOUNT);
    query_int(&q, (int64_t)number);
    query_text(&q, account);
    return query_run(&q, e);
}

static bool route_to(struct sql *c, const struct change *change, const struct ip_addr *client,
    const char *sender, const char *account, struct err *e)
{
    if (!sender || !account)
        return sql_fail(c, SQLITE_NOMEM, e);
    const char *route = change->route(change->route_user, client, sender);
    return !route || strcmp(route, account) == 0 || set_account(c, change->last, route, e);
}

/* `q` is at a row of SELECT_ROUTES. It walks the table by number, which no update changes. */
static bool route_row(struct sql *c, struct change *change, struct query *q, struct err *e)
{
    change->last = (uint64_t)query_take_int(q);
    struct ip_addr client = row_addr(query_take_blob(q));
    char *sender = query_take_text(q), *account = query_take_text(q);
    bool is_fine = route_to(c, change, &client, sender, account, e);
    free(sender);
    free(account);
    return is_fine;
}

static bool run_reroute(struct store *s, struct op *op, struct err *e)
{
    struct change *change = (struct change *)op;
    if (change->step != op->steps)
        change->after = change->last;
    change->step = op->steps;
    struct query q = query_new(&s->writer.sql, SQL_SELECT_ROUTES);
    query_int(&q, (int64_t)change->after);
    query_int(&q, ROUTED_AT_ONCE);
    unsigned count = 0;
    bool is_fine = true;
    while (is_fine && query_step(&q)) {
        is_fine = route_row(&s->writer.sql, change, &q, e);
        count++;
    }
    if (!query_end(&q, is_fine ? e : NULL) || !is_fine)
        return false;
    op->is_unfinished = count == ROUTED_AT_ONCE;
    return true;
}

static const struct op_kind reroute_kind = { .run = run_reroute, .finish = finish_change };

void store_reroute(
    struct store *s, store_route_fn *route, void *route_user, store_done_fn *done, void *user)
{
    struct change *change = change_new(s, &reroute_kind, done, user);
    if (!change)
        return;
    change->route = route;
    change->route_user = route_user;
    store_lane_add(&s->writer, &change->op);
}
