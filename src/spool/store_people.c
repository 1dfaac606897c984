/* For `submitd queue`: blocking calls on a connection of their own. */
#include "spool/store_internal.h"

#include <stdlib.h>

enum { LISTED_AT_ONCE = 64 };

/* --- looking --- */

/* The messages behind number `after`, in an array of LISTED_AT_ONCE. No read transaction is open
 * while people look at them: one that stays open keeps the log from being emptied. */
static bool read_page(
    struct sql *c, uint64_t after, struct store_message **page, size_t *ret_count, struct err *e)
{
    struct query q = query_new(c, SQL_SELECT_FROM);
    query_int(&q, (int64_t)after);
    query_int(&q, LISTED_AT_ONCE);
    size_t count = 0;
    struct store_message *m;
    while (count < LISTED_AT_ONCE && (m = row_next(&q)))
        page[count++] = m;
    bool is_fine = query_end(&q, e);
    for (size_t i = 0; is_fine && i < count; i++)
        is_fine = row_read_rcpts(c, page[i], e);
    *ret_count = count;
    return is_fine;
}

bool store_each(struct store *s, store_each_fn *fn, void *user, struct err *e)
{
    struct store_message *page[LISTED_AT_ONCE];
    uint64_t last = 0;
    bool goes_on = true;
    while (goes_on) {
        size_t count = 0;
        bool is_fine = read_page(&s->own, last, page, &count, e);
        goes_on = is_fine && count == LISTED_AT_ONCE;
        bool is_wanted = is_fine;
        for (size_t i = 0; i < count; i++) {
            is_wanted = is_wanted && fn(user, page[i]);
            last = page[i]->number;
            store_message_free(page[i]);
        }
        if (!is_fine)
            return false;
        goes_on = goes_on && is_wanted;
    }
    return true;
}

bool store_find(struct store *s, const char *id, struct store_message **ret_message, struct err *e)
{
    struct query q = query_new(&s->own, SQL_SELECT_BY_ID);
    query_text(&q, id);
    struct store_message *m = row_next(&q);
    if (!query_end(&q, e) || (m && !row_read_rcpts(&s->own, m, e))) {
        store_message_free(m);
        return false;
    }
    if (!m)
        return err_set(e, ERR_NONE, "there is no message '%s' in the spool", id);
    *ret_message = m;
    return true;
}

bool store_body_each(struct store *s, uint64_t number, bool (*fn)(void *user, struct slice text),
    void *user, struct err *e)
{
    struct buf text;
    buf_init(&text, STORE_CHUNK_SIZE);
    bool is_fine = true, goes_on = true;
    for (uint64_t chunk = 0; goes_on; chunk++) {
        buf_clear(&text);
        is_fine = row_read_chunk(&s->own, number, chunk, &text, e);
        goes_on = is_fine && text.len > 0 && fn(user, buf_slice(&text));
    }
    buf_fini(&text);
    return is_fine;
}

/* --- changing --- */

/* One message, or all. */
struct choice {
    int64_t first, last;
};

/* False with ERR_NONE when there is none of this id. */
static bool choose(struct store *s, const char *id, struct choice *ret_choice, struct err *e)
{
    struct store_message *m = NULL;
    *ret_choice = (struct choice){ .first = 0, .last = INT64_MAX };
    if (!id)
        return true;
    if (!store_find(s, id, &m, e) || !m)
        return false;
    ret_choice->first = ret_choice->last = (int64_t)m->number;
    store_message_free(m);
    return true;
}

struct change {
    enum sql_id first, then; /* `then` is counted */
    bool has_first, has_time;
};

static bool run_statement(
    struct sql *c, enum sql_id id, const struct choice *choice, const int64_t *now, struct err *e)
{
    struct query q = query_new(c, id);
    query_int(&q, choice->first);
    query_int(&q, choice->last);
    if (now)
        query_int(&q, *now);
    return query_run(&q, e);
}

/* The daemon notices by the count of changes. */
static bool run_change(struct sql *c, const struct change *change, const struct choice *choice,
    int64_t now, size_t *ret_count, struct err *e)
{
    if (change->has_first && !run_statement(c, change->first, choice, NULL, e))
        return false;
    if (!run_statement(c, change->then, choice, change->has_time ? &now : NULL, e))
        return false;
    *ret_count = (size_t)sqlite3_changes(c->db);
    return *ret_count == 0 || sql_run(c, SQL_COUNT_CHANGE, e);
}

static bool apply(struct store *s, const struct change *change, const char *id, int64_t now,
    size_t *ret_count, struct err *e)
{
    struct sql *c = &s->own;
    struct err why = { .kind = ERR_NONE };
    struct choice choice;
    *ret_count = 0;
    if (!choose(s, id, &choice, &why)) {
        if (why.kind == ERR_NONE)
            return true;
        if (e)
            *e = why;
        return false;
    }
    if (!sql_run(c, SQL_BEGIN, e))
        return false;
    if (run_change(c, change, &choice, now, ret_count, e) && sql_run(c, SQL_COMMIT, e))
        return true;
    if (sql_is_in_transaction(c))
        sql_run(c, SQL_ROLLBACK, NULL);
    *ret_count = 0;
    return false;
}

bool store_retry(struct store *s, const char *id, int64_t now, size_t *ret_count, struct err *e)
{
    static const struct change retry = {
        .first = SQL_RETRY_RCPTS, .has_first = true, .then = SQL_RETRY, .has_time = true
    };
    return apply(s, &retry, id, now, ret_count, e);
}

bool store_hold(struct store *s, const char *id, size_t *ret_count, struct err *e)
{
    static const struct change hold = { .then = SQL_HOLD };
    return apply(s, &hold, id, 0, ret_count, e);
}

bool store_release(struct store *s, const char *id, int64_t now, size_t *ret_count, struct err *e)
{
    static const struct change release = { .then = SQL_RELEASE_HELD, .has_time = true };
    return apply(s, &release, id, now, ret_count, e);
}

/* In steps, so that a daemon can commit in between. What fails here the daemon repeats. */
static void give_space_back(struct sql *c)
{
    bool more = true;
    while (more && keeper_sweep(c, &more, NULL)) {
    }
    while (keeper_shrink(c, true, &more) && more) {
    }
    sqlite3_wal_checkpoint_v2(c->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

/* The messages are gone at once, their bodies follow. */
bool store_cancel(struct store *s, const char *id, size_t *ret_count, struct err *e)
{
    static const struct change cancel = { .then = SQL_CANCEL };
    if (!apply(s, &cancel, id, 0, ret_count, e))
        return false;
    if (*ret_count > 0)
        give_space_back(&s->own);
    return true;
}

/* Our own commits change SQLite's version, too; people's changes are counted in a row. On a failure
 * it is the old one: whoever polls sees the change later. */
uint64_t store_data_version(struct store *s)
{
    struct query q = query_new(&s->own, SQL_DATA_VERSION);
    int64_t version = query_step(&q) ? query_take_int(&q) : s->data_version;
    if (!query_end(&q, NULL) || version == s->data_version)
        return s->changes;
    q = query_new(&s->own, SQL_SELECT_CHANGES);
    uint64_t changes = query_step(&q) ? (uint64_t)query_take_int(&q) : s->changes;
    if (query_end(&q, NULL)) {
        s->changes = changes;
        s->data_version = version;
    }
    return s->changes;
}
