/*
 * One connection to the spool's database, with its statements prepared once. A thread (or a process
 * of `submitd queue`) owns it and nobody else uses it. It turns SQLite's result codes into
 * sentences that say what to do; it never decides what a failure means for a message.
 */
#ifndef SUBMITD_SPOOL_SQL_H
#define SUBMITD_SPOOL_SQL_H

#include "base/err.h"
#include "base/slice.h"
#include "spool/statements.h"

#include <sqlite3.h>
#include <stdint.h>

enum sql_id {
#define X(name, text) SQL_##name,
    SQL_STATEMENTS(X)
#undef X
};

#define X(name, text) +1
enum { SQL_COUNT = SQL_STATEMENTS(X) };
#undef X

struct sql {
    sqlite3 *db;      /* NULL: not open */
    const char *path; /* the store's */
    sqlite3_stmt *statements[SQL_COUNT];
};

enum {
    SQL_APPLICATION_ID = 0x736d7464, /* "smtd", for file(1) and for us */
    SQL_PAGE_SIZE = 4096,
};

/* Sets and then reads back what durability rests on. `cache_kb` bounds the memory for pages. */
bool sql_open(
    struct sql *c, const char *path, unsigned cache_kb, unsigned patience_ms, struct err *e);
/* One that is not open is fine. */
void sql_close(struct sql *c);
/* One or more statements without rows. */
bool sql_exec(struct sql *c, const char *text, struct err *e);
/* The first column of the first row of a statement that is run once. */
bool sql_ask(struct sql *c, const char *text, int64_t *ret_value, struct err *e);
/* Says what `code` means for the operator. Always false. */
bool sql_fail(struct sql *c, int code, struct err *e);
/* False when a failure ended the transaction already. */
bool sql_is_in_transaction(const struct sql *c);

/* A statement under way: bind from left to right, step, read from left to right, end. */
struct query {
    struct sql *sql;
    sqlite3_stmt *statement; /* NULL: it could not be prepared */
    int code;                /* the first failure */
    int next;                /* parameter or column */
};

struct query query_new(struct sql *c, enum sql_id id);
void query_int(struct query *q, int64_t value);
/* The bytes must stay until query_end; NULL is "". */
void query_text(struct query *q, const char *text);
void query_blob(struct query *q, struct slice bytes);
/* True when there is a row to read. */
bool query_step(struct query *q);
int64_t query_take_int(struct query *q);
/* Heap; NULL (and the query fails) when out of memory. */
char *query_take_text(struct query *q);
/* Valid until the next step. */
struct slice query_take_blob(struct query *q);
/* Ready for reuse; false when anything since query_new failed. */
bool query_end(struct query *q, struct err *e);
/* Steps to the end, then query_end. */
bool query_run(struct query *q, struct err *e);
bool sql_run(struct sql *c, enum sql_id id, struct err *e);

#endif
