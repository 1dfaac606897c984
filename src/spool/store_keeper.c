/* What the writer's thread does between transactions: removed bodies, free space, the log. */
#include "spool/disk.h"
#include "spool/store_internal.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    IDLE_MS = 200,            /* nothing came for so long: tidy up */
    RETRY_MS = 5000,          /* after a failure */
    FLOOR_CHECK_MS = 10,      /* how old an answer about free space may be */
    LOG_PAGES = 4000,         /* of 4 KB: the log is moved into the file */
    LOG_PAGES_MAX = 40000,    /* readers are waited for */
    SWEEP_CHUNKS = 256,       /* deleted in one transaction */
    SHRINK_PAGES = 1024,      /* given back in one transaction when idle */
    SHRINK_PAGES_BUSY = 64,   /* and between two groups */
    SPARE_PAGES = 256,        /* kept for the next messages when idle */
    SPARE_PAGES_BUSY = 16384, /* and while messages come and go */
};

/* What is in the journal will be in the file as well before the journal shrinks. */
static void look_for_room(struct store *s)
{
    uint64_t journal = disk_journal_size(s->path), room = disk_free(s->path);
    s->free_octets = room > journal ? room - journal : 0;
}

bool keeper_has_room(struct store *s, struct err *e)
{
    if (s->min_free == 0)
        return true;
    uint64_t now = disk_now_ms();
    if (s->floor_checked_ms == 0 || now - s->floor_checked_ms >= FLOOR_CHECK_MS) {
        look_for_room(s);
        s->floor_checked_ms = now;
    }
    if (s->free_octets < s->min_free && scratch_make_room(s))
        look_for_room(s);
    if (s->free_octets >= s->min_free)
        return true;
    return err_set(e, ERR_LIMIT,
        "spool '%s': only %llu MB are free on its file system and %llu MB must stay free; make "
        "room there",
        s->path, (unsigned long long)(s->free_octets >> 20),
        (unsigned long long)(s->min_free >> 20));
}

/* --- removed messages --- */

/* Of one message; *ret_deleted chunks are gone, and the row with the last of them. */
static bool sweep_message(
    struct sql *c, uint64_t number, int limit, int *ret_deleted, struct err *e)
{
    struct query q = query_new(c, SQL_DELETE_SOME_CHUNKS);
    query_int(&q, row_chunk_at(number, 0));
    query_int(&q, row_chunk_at(number, CHUNKS_MAX - 1));
    query_int(&q, limit);
    if (!query_run(&q, e))
        return false;
    *ret_deleted = sqlite3_changes(c->db);
    if (*ret_deleted == limit)
        return true;
    q = query_new(c, SQL_DELETE_MESSAGE);
    query_int(&q, (int64_t)number);
    return query_run(&q, e);
}

/* 0: none. */
static bool find_gone(struct sql *c, uint64_t *ret_number, struct err *e)
{
    struct query q = query_new(c, SQL_SELECT_GONE);
    *ret_number = query_step(&q) ? (uint64_t)query_take_int(&q) : 0;
    return query_end(&q, e);
}

static bool sweep_some(struct sql *c, uint64_t number, struct err *e)
{
    for (int budget = SWEEP_CHUNKS; budget > 0 && number != 0;) {
        int deleted;
        if (!sweep_message(c, number, budget, &deleted, e) || !find_gone(c, &number, e))
            return false;
        budget -= deleted > 0 ? deleted : 1;
    }
    return true;
}

bool keeper_sweep(struct sql *c, bool *ret_found, struct err *e)
{
    uint64_t number;
    *ret_found = false;
    if (!find_gone(c, &number, e))
        return false;
    if (number == 0)
        return true;
    if (!sql_run(c, SQL_BEGIN, e))
        return false;
    *ret_found = true;
    if (sweep_some(c, number, e) && sql_run(c, SQL_COMMIT, e))
        return true;
    if (sql_is_in_transaction(c))
        sql_run(c, SQL_ROLLBACK, NULL);
    return false;
}

/* Bodies whose writer was discarded after some chunks: from now on they are gone. */
static bool doom_orphans(struct store *s)
{
    for (struct list *link; (link = list_first(&s->orphans));) {
        struct orphan *orphan = LIST_ENTRY(link, struct orphan, link);
        struct query q = query_new(&s->writer.sql, SQL_DOOM_INCOMING);
        query_int(&q, (int64_t)orphan->number);
        if (!query_run(&q, NULL))
            return false;
        list_remove(link);
        free(orphan);
    }
    return true;
}

/* --- space --- */

static bool ask(struct sql *c, enum sql_id id, int64_t *ret_value)
{
    struct query q = query_new(c, id);
    bool has_row = query_step(&q);
    if (has_row)
        *ret_value = query_take_int(&q);
    return query_end(&q, NULL) && has_row;
}

/* While messages come and go only a file that is mostly empty is made smaller, and slowly: its
 * free pages will be wanted again. */
bool keeper_shrink(struct sql *c, bool is_idle, bool *ret_more)
{
    int64_t unused, pages;
    if (!ask(c, SQL_FREE_PAGES, &unused) || !ask(c, SQL_PAGES, &pages))
        return false;
    *ret_more = is_idle ? unused > SPARE_PAGES : unused > SPARE_PAGES_BUSY && unused > pages / 2;
    char text[64];
    snprintf(text, sizeof text, "PRAGMA incremental_vacuum(%d)",
        is_idle ? SHRINK_PAGES : SHRINK_PAGES_BUSY);
    return !*ret_more || sql_exec(c, text, NULL);
}

/* True when the whole log is in the file. */
static bool checkpoint(struct store *s, int mode)
{
    int pages = 0, moved = 0;
    int code = sqlite3_wal_checkpoint_v2(s->writer.sql.db, NULL, mode, &pages, &moved);
    bool is_done = code == SQLITE_OK && moved == pages;
    if (is_done)
        s->wal_pages = 0;
    return is_done;
}

bool keeper_checkpoint(struct store *s)
{
    return checkpoint(s, SQLITE_CHECKPOINT_PASSIVE);
}

/* --- in between --- */

/* A failure here endangers no message: it is tried again. */
static bool sweep(struct store *s, bool *ret_found)
{
    if (!doom_orphans(s) || !keeper_sweep(&s->writer.sql, ret_found, NULL))
        return false;
    s->may_shrink = s->may_shrink || *ret_found;
    return true;
}

static unsigned rest_idle(struct store *s)
{
    enum { SOON_MS = 1 };
    bool more = false;
    if (!sweep(s, &more))
        return RETRY_MS;
    if (more)
        return SOON_MS;
    if (s->may_shrink) {
        bool is_fine = keeper_shrink(&s->writer.sql, true, &more);
        s->may_shrink = !is_fine || more;
        return is_fine ? SOON_MS : RETRY_MS;
    }
    return s->wal_pages == 0 || keeper_checkpoint(s) ? 0 : RETRY_MS;
}

static unsigned rest_busy(struct store *s)
{
    bool more = false;
    if (!s->has_written && s->wal_pages < LOG_PAGES)
        return IDLE_MS;
    if (s->wal_pages >= LOG_PAGES_MAX)
        checkpoint(s, SQLITE_CHECKPOINT_RESTART);
    else if (s->wal_pages >= LOG_PAGES)
        keeper_checkpoint(s);
    s->has_written = !sweep(s, &more) || more;
    if (s->may_shrink && (!keeper_shrink(&s->writer.sql, false, &more) || more))
        s->has_written = true;
    return IDLE_MS;
}

unsigned keeper_rest(struct store_lane *lane, bool is_idle)
{
    unsigned wait_ms = is_idle ? rest_idle(lane->store) : rest_busy(lane->store);
    unsigned scratch_ms = scratch_rest(lane->store);
    bool is_sooner = scratch_ms > 0 && (wait_ms == 0 || scratch_ms < wait_ms);
    return is_sooner ? scratch_ms : wait_ms;
}
