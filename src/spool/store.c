#include "spool/store.h"
#include "spool/disk.h"
#include "spool/store_internal.h"

#include "base/str.h"

#include <stdlib.h>

/* The memory for pages of each connection: small, the system's page cache does the work. */
enum { WRITER_CACHE_KB = 2048, READER_CACHE_KB = 1024, OWN_CACHE_KB = 256 };
/* How long a lock of another process is waited for; the loop's thread must not wait. */
enum { WRITER_PATIENCE_MS = 20000, READER_PATIENCE_MS = 5000, LOOP_PATIENCE_MS = 50 };

/* --- opening --- */

static struct store *store_new(const char *path, struct err *e)
{
    struct store *s = calloc(1, sizeof *s);
    if (s)
        s->path = str_dup(path);
    if (!s || !s->path || pthread_mutex_init(&s->mutex, NULL) != 0) {
        err_set(e, ERR_MEMORY, "spool '%s': out of memory", path);
        if (s)
            free(s->path);
        free(s);
        return NULL;
    }
    s->lock = -1;
    list_init(&s->finished);
    list_init(&s->orphans);
    scratch_init(s);
    if (store_lane_init(&s->writer, s) && store_lane_init(&s->reader, s))
        return s;
    err_set(e, ERR_MEMORY, "spool '%s': out of memory", path);
    store_close(s);
    return NULL;
}

static int on_commit(void *user, sqlite3 *db, const char *name, int pages)
{
    (void)db;
    (void)name;
    struct store *s = user;
    s->wal_pages = (unsigned)pages;
    return SQLITE_OK;
}

/* Bodies that an earlier life did not finish are gone; numbers go on behind the last one. */
static bool tidy(struct store *s, struct err *e)
{
    struct sql *c = &s->writer.sql;
    struct query q = query_new(c, SQL_SELECT_LAST);
    if (query_step(&q))
        s->last_number = (uint64_t)query_take_int(&q);
    return query_end(&q, e) && sql_run(c, SQL_DOOM_ALL_INCOMING, e);
}

static bool open_writer(struct store *s, struct err *e)
{
    struct sql *c = &s->writer.sql;
    if (!sql_open(c, s->path, WRITER_CACHE_KB, WRITER_PATIENCE_MS, e))
        return false;
    sqlite3_wal_hook(c->db, on_commit, s); /* the keeper says when the log is moved, not SQLite */
    return schema_migrate(c, e) && tidy(s, e);
}

static bool open_daemon(struct store *s, struct err *e)
{
    s->may_shrink = true;
    s->writer.serve = writer_serve;
    s->writer.rest = keeper_rest;
    s->reader.serve = reader_serve;
    return disk_lock(s->path, &s->lock, e) && disk_make_private(s->path, e) && open_writer(s, e) &&
           sql_open(&s->reader.sql, s->path, READER_CACHE_KB, READER_PATIENCE_MS, e) &&
           sql_open(&s->own, s->path, OWN_CACHE_KB, LOOP_PATIENCE_MS, e) &&
           store_lane_start(&s->writer, e) && store_lane_start(&s->reader, e);
}

bool store_open(const struct store_params *params, struct store **ret_store, struct err *e)
{
    struct store *s = store_new(params->path, e);
    if (!s)
        return false;
    s->min_free = params->min_free;
    s->wake = params->wake;
    s->wake_user = params->wake_user;
    if (!open_daemon(s, e)) {
        store_close(s);
        return false;
    }
    *ret_store = s;
    return true;
}

bool store_open_shared(const char *path, struct store **ret_store, struct err *e)
{
    struct store *s = store_new(path, e);
    if (!s)
        return false;
    disk_act_as_owner(path, &s->self);
    if (!sql_open(&s->own, s->path, OWN_CACHE_KB, WRITER_PATIENCE_MS, e) ||
        !schema_check(&s->own, e)) {
        store_close(s);
        return false;
    }
    *ret_store = s;
    return true;
}

/* --- closing --- */

static void finish_all(struct store *s, struct list *done, bool tells)
{
    for (struct list *link; (link = list_first(done));) {
        struct op *op = LIST_ENTRY(link, struct op, link);
        list_remove(link);
        op->kind->finish(s, op, tells);
    }
}

static void take_finished(struct store *s, struct list *ret_done)
{
    list_init(ret_done);
    pthread_mutex_lock(&s->mutex);
    for (struct list *link; (link = list_first(&s->finished));) {
        list_remove(link);
        list_add_tail(ret_done, link);
    }
    pthread_mutex_unlock(&s->mutex);
}

void store_poll(struct store *s)
{
    struct list done;
    take_finished(s, &done);
    finish_all(s, &done, true);
}

void store_close(struct store *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->mutex);
    s->is_closing = true;
    pthread_mutex_unlock(&s->mutex);
    sql_close(&s->own);
    store_lane_stop(&s->reader);
    store_lane_stop(&s->writer); /* the last connection: SQLite moves the log into the file */
    scratch_close_spares(s);
    struct list done;
    take_finished(s, &done);
    finish_all(s, &done, false);
    for (struct list *link; (link = list_first(&s->orphans));) {
        list_remove(link);
        free(LIST_ENTRY(link, struct orphan, link));
    }
    disk_unlock(s->lock);
    disk_act_as_self(&s->self);
    pthread_mutex_destroy(&s->mutex);
    free(s->path);
    free(s);
}
