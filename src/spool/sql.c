#include "spool/sql.h"
#include "spool/disk.h"

#include <assert.h>
#include <stdio.h>

static const char *const texts[] = {
#define X(name, text) [SQL_##name] = text,
    SQL_STATEMENTS(X)
#undef X
};
static_assert(ARRAY_LEN(texts) == SQL_COUNT, "every statement has a text");

/* --- failures --- */

static const struct {
    int code;
    enum err_kind kind;
    const char *advice;
} failures[] = {
    { SQLITE_FULL, ERR_LIMIT, "the disk is full; make room on its file system" },
    { SQLITE_READONLY, ERR_IO,
        "it is read-only for submitd; check the owner of the file and of its folder, and that the "
        "file system is mounted read-write" },
    { SQLITE_CORRUPT, ERR_IO,
        "the file is damaged; stop submitd, keep a copy, and rebuild it with: sqlite3 FILE "
        ".recover" },
    { SQLITE_NOTADB, ERR_IO, "the file is not a spool; move it away or name another file" },
    { SQLITE_CANTOPEN, ERR_IO,
        "it cannot be opened; its folder must exist and be writable by submitd" },
    { SQLITE_PERM, ERR_IO,
        "this user may not open it; run as the user that submitd runs as, or as root" },
    { SQLITE_NOTFOUND, ERR_CONFIG, "there is no such file" },
    { SQLITE_BUSY, ERR_IO, "another process keeps it locked; see who has it open with: lsof FILE" },
    { SQLITE_NOMEM, ERR_MEMORY, "out of memory" },
    { SQLITE_TOOBIG, ERR_LIMIT, "a text is longer than the database can keep" },
};

static int errno_of(sqlite3_file *file)
{
    int why = 0;
    if (file && file->pMethods)
        file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &why);
    return why;
}

/* SQLite asks for the system's reason when a statement fails, not when its commit does; but its
 * files remember. The log comes first: that is where commits fail. */
static int last_errno(sqlite3 *db)
{
    static const int files[] = { SQLITE_FCNTL_JOURNAL_POINTER, SQLITE_FCNTL_FILE_POINTER };
    for (size_t i = 0; db && i < ARRAY_LEN(files); i++) {
        sqlite3_file *file = NULL;
        sqlite3_file_control(db, "main", files[i], &file);
        int why = errno_of(file);
        if (why != 0)
            return why;
    }
    return db ? sqlite3_system_errno(db) : 0;
}

/* SQLite reports a full disk in some calls (truncate, shared memory, quota) as an I/O error. */
static bool fail_io(struct sql *c, int code, struct err *e)
{
    int why = last_errno(c->db);
    char text[DISK_CODE_TEXT_MAX];
    bool is_read = code == SQLITE_IOERR_READ || code == SQLITE_IOERR_SHORT_READ;
    if (disk_trouble(why) == DISK_FULL && !is_read)
        return sql_fail(c, SQLITE_FULL, e);
    if (disk_trouble(why) == DISK_READ_ONLY && !is_read)
        return sql_fail(c, SQLITE_READONLY, e);
    return err_set(e, ERR_IO,
        "spool '%s': reading or writing failed (%s, SQLite code %d); check the disk and the "
        "kernel's log",
        c->path, why ? disk_code_text(why, text) : "no reason given", code);
}

/* The file is there or not, and ours or not: SQLite has one code for it all. */
static int why_not_open(struct sql *c)
{
    int why = c->db ? sqlite3_system_errno(c->db) : 0;
    if (disk_trouble(why) == DISK_FORBIDDEN)
        return SQLITE_PERM;
    return disk_trouble(why) == DISK_MISSING ? SQLITE_NOTFOUND : SQLITE_CANTOPEN;
}

bool sql_fail(struct sql *c, int code, struct err *e)
{
    int primary = code == SQLITE_CANTOPEN ? why_not_open(c) : code & 0xff;
    if (primary == SQLITE_IOERR && code != SQLITE_IOERR_NOMEM)
        return fail_io(c, code, e);
    for (size_t i = 0; i < ARRAY_LEN(failures); i++) {
        if (failures[i].code == primary)
            return err_set(e, failures[i].kind, "spool '%s': %s", c->path, failures[i].advice);
    }
    return err_set(e, ERR_IO, "spool '%s': %s (SQLite code %d)", c->path,
        c->db ? sqlite3_errmsg(c->db) : sqlite3_errstr(code), code);
}

/* --- open and close --- */

static bool check_setting(
    struct sql *c, const char *pragma, int64_t want, const char *meaning, struct err *e)
{
    int64_t have = -1;
    if (!sql_ask(c, pragma, &have, e))
        return false;
    if (have == want)
        return true;
    return err_set(e, ERR_IO, "spool '%s': %s, but SQLite answers %lld to %s", c->path, meaning,
        (long long)have, pragma);
}

/* WAL needs shared memory beside the file: there is none on network file systems. */
static bool use_wal(struct sql *c, struct err *e)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(c->db, "PRAGMA journal_mode = WAL", -1, &st, NULL);
    char mode[16] = "";
    if (code == SQLITE_OK && (code = sqlite3_step(st)) == SQLITE_ROW)
        snprintf(mode, sizeof mode, "%s", (const char *)sqlite3_column_text(st, 0));
    sqlite3_finalize(st);
    if (code != SQLITE_ROW)
        return sql_fail(c, code, e);
    if (strcmp(mode, "wal") == 0)
        return true;
    return err_set(e, ERR_IO,
        "spool '%s': SQLite cannot keep a write-ahead log here (journal mode is '%s'); put the "
        "spool on a local file system",
        c->path, mode);
}

/* Asked before anything is changed: a database of another program stays as it is. */
static bool is_ours(struct sql *c, bool *ret_is_new, struct err *e)
{
    int64_t application, tables;
    if (!sql_ask(c, "PRAGMA application_id", &application, e) ||
        !sql_ask(c, "SELECT count(*) FROM sqlite_schema", &tables, e))
        return false;
    *ret_is_new = application == 0 && tables == 0;
    if (application == SQL_APPLICATION_ID || *ret_is_new)
        return true;
    return sql_fail(c, SQLITE_NOTADB, e);
}

/* Both count for a new file only, before its first table; an old one would be written to, and
 * `submitd queue list` must work on a full disk. */
static bool shape(struct sql *c, struct err *e)
{
    char text[100];
    snprintf(text, sizeof text, "PRAGMA page_size = %d; PRAGMA auto_vacuum = INCREMENTAL",
        SQL_PAGE_SIZE);
    return sql_exec(c, text, e);
}

static bool configure(struct sql *c, unsigned cache_kb, struct err *e)
{
    bool is_new;
    if (!is_ours(c, &is_new, e) || (is_new && !shape(c, e)))
        return false;
    char text[400];
    /* Freed pages are not overwritten (secure_delete FAST): the file is private, and they would
     * double the writes. */
    snprintf(text, sizeof text,
        "PRAGMA cache_size = -%u; "
        "PRAGMA temp_store = MEMORY; PRAGMA secure_delete = FAST; PRAGMA foreign_keys = ON; "
        "PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 16777216; PRAGMA mmap_size = 0",
        cache_kb);
    return sql_exec(c, text, e) && use_wal(c, e) &&
           check_setting(c, "PRAGMA synchronous", 2, "every commit must reach the disk", e) &&
           check_setting(c, "PRAGMA foreign_keys", 1, "recipients must belong to a message", e);
}

bool sql_open(
    struct sql *c, const char *path, unsigned cache_kb, unsigned patience_ms, struct err *e)
{
    *c = (struct sql){ .path = path };
    int code = sqlite3_open_v2(path, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code != SQLITE_OK) {
        sql_fail(c, code, e);
        sql_close(c);
        return false;
    }
    sqlite3_extended_result_codes(c->db, 1);
    sqlite3_busy_timeout(c->db, (int)patience_ms);
    if (configure(c, cache_kb, e))
        return true;
    sql_close(c);
    return false;
}

void sql_close(struct sql *c)
{
    for (size_t i = 0; i < SQL_COUNT; i++) {
        sqlite3_finalize(c->statements[i]);
        c->statements[i] = NULL;
    }
    sqlite3_close(c->db);
    c->db = NULL;
}

bool sql_exec(struct sql *c, const char *text, struct err *e)
{
    int code = sqlite3_exec(c->db, text, NULL, NULL, NULL);
    return code == SQLITE_OK || sql_fail(c, code, e);
}

bool sql_ask(struct sql *c, const char *text, int64_t *ret_value, struct err *e)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(c->db, text, -1, &st, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(st);
    if (code == SQLITE_ROW)
        *ret_value = sqlite3_column_int64(st, 0);
    else
        sql_fail(c, code, e);
    sqlite3_finalize(st);
    return code == SQLITE_ROW;
}

bool sql_is_in_transaction(const struct sql *c)
{
    return !sqlite3_get_autocommit(c->db);
}

/* --- statements --- */

struct query query_new(struct sql *c, enum sql_id id)
{
    struct query q = { .sql = c };
    if (!c->statements[id])
        q.code = sqlite3_prepare_v3(
            c->db, texts[id], -1, SQLITE_PREPARE_PERSISTENT, &c->statements[id], NULL);
    q.statement = c->statements[id];
    return q;
}

static void note(struct query *q, int code)
{
    if (q->code == SQLITE_OK)
        q->code = code;
}

void query_int(struct query *q, int64_t value)
{
    if (q->statement)
        note(q, sqlite3_bind_int64(q->statement, ++q->next, value));
}

void query_text(struct query *q, const char *text)
{
    if (q->statement)
        note(q, sqlite3_bind_text(q->statement, ++q->next, text ? text : "", -1, SQLITE_STATIC));
}

void query_blob(struct query *q, struct slice bytes)
{
    const char *p = bytes.p ? bytes.p : "";
    if (q->statement)
        note(q, sqlite3_bind_blob64(q->statement, ++q->next, p, bytes.n, SQLITE_STATIC));
}

bool query_step(struct query *q)
{
    if (q->code != SQLITE_OK)
        return false;
    q->next = 0;
    int code = sqlite3_step(q->statement);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        note(q, code);
    return code == SQLITE_ROW;
}

int64_t query_take_int(struct query *q)
{
    return sqlite3_column_int64(q->statement, q->next++);
}

char *query_take_text(struct query *q)
{
    int column = q->next++;
    const char *text = (const char *)sqlite3_column_text(q->statement, column);
    size_t n = (size_t)sqlite3_column_bytes(q->statement, column);
    char *copy = text ? slice_dup(slice_of(text, n)) : NULL; /* no column of ours is NULL */
    if (!copy)
        note(q, SQLITE_NOMEM);
    return copy;
}

struct slice query_take_blob(struct query *q)
{
    int column = q->next++;
    const char *bytes = sqlite3_column_blob(q->statement, column);
    return slice_of(bytes, (size_t)sqlite3_column_bytes(q->statement, column));
}

bool query_end(struct query *q, struct err *e)
{
    bool is_fine = q->code == SQLITE_OK || sql_fail(q->sql, q->code, e);
    if (q->statement) {
        sqlite3_reset(q->statement);
        sqlite3_clear_bindings(q->statement);
    }
    return is_fine;
}

bool query_run(struct query *q, struct err *e)
{
    while (query_step(q)) {
    }
    return query_end(q, e);
}

bool sql_run(struct sql *c, enum sql_id id, struct err *e)
{
    struct query q = query_new(c, id);
    return query_run(&q, e);
}
