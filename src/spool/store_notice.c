/* What people should know of an account while its mail waits. */
#include "spool/store_internal.h"

#include "base/str.h"

#include <stdlib.h>

struct notice_op {
    struct op op;
    store_done_fn *done;
    void *user;
    char *account, *login, *text; /* of one that is cleared only `login` */
    int64_t until, mark;
};

static void finish_notice(struct store *s, struct op *op, bool tells)
{
    (void)s;
    struct notice_op *n = (struct notice_op *)op;
    if (tells)
        n->done(n->user, op_why(op));
    free(n->account);
    free(n->login);
    free(n->text);
    free(n);
}

static bool set(struct sql *c, const struct store_notice *n, struct err *e)
{
    struct query q = query_new(c, SQL_SET_NOTICE);
    query_text(&q, n->account);
    query_text(&q, n->login);
    query_int(&q, n->until);
    query_text(&q, n->text);
    query_int(&q, n->mark);
    return query_run(&q, e);
}

static bool run_set(struct store *s, struct op *op, struct err *e)
{
    const struct notice_op *n = (const struct notice_op *)op;
    struct store_notice notice = { n->account, n->login, n->until, n->text, n->mark };
    return set(&s->writer.sql, &notice, e);
}

static bool run_clear(struct store *s, struct op *op, struct err *e)
{
    struct query q = query_new(&s->writer.sql, SQL_CLEAR_NOTICES);
    query_text(&q, ((const struct notice_op *)op)->login);
    return query_run(&q, e);
}

static const struct op_kind set_kind = { .run = run_set, .finish = finish_notice };
static const struct op_kind clear_kind = { .run = run_clear, .finish = finish_notice };

static struct notice_op *notice_new(
    struct store *s, const struct op_kind *kind, const char *login, store_done_fn *done, void *user)
{
    struct notice_op *n = calloc(1, sizeof *n);
    if (!n) {
        struct err why;
        err_set(&why, ERR_MEMORY, "spool '%s': out of memory", s->path);
        done(user, &why);
        return NULL;
    }
    n->op.kind = kind;
    n->done = done;
    n->user = user;
    n->login = str_dup(login);
    return n;
}

static void add(struct store *s, struct notice_op *n, bool is_whole)
{
    if (is_whole)
        store_lane_add(&s->writer, &n->op);
    else
        store_post_failed(s, &n->op, ERR_MEMORY, "out of memory");
}

void store_notice_set(
    struct store *s, const struct store_notice *notice, store_done_fn *done, void *user)
{
    struct notice_op *n = notice_new(s, &set_kind, notice->login, done, user);
    if (!n)
        return;
    n->account = str_dup(notice->account);
    n->text = str_dup(notice->text);
    n->until = notice->until;
    n->mark = notice->mark;
    add(s, n, n->account && n->login && n->text);
}

void store_notice_clear(struct store *s, const char *login, store_done_fn *done, void *user)
{
    struct notice_op *n = notice_new(s, &clear_kind, login, done, user);
    if (n)
        add(s, n, n->login != NULL);
}

bool store_notice_put(struct store *s, const struct store_notice *notice, struct err *e)
{
    return set(&s->own, notice, e);
}

bool store_notice_each(struct store *s, store_notice_fn *fn, void *user, struct err *e)
{
    struct query q = query_new(&s->own, SQL_SELECT_NOTICES);
    while (query_step(&q)) {
        char *account = query_take_text(&q), *login = query_take_text(&q);
        int64_t until = query_take_int(&q);
        char *text = query_take_text(&q);
        int64_t mark = query_take_int(&q);
        if (account && login && text)
            fn(user, &(struct store_notice){ account, login, until, text, mark });
        free(account);
        free(login);
        free(text);
    }
    return query_end(&q, e);
}
