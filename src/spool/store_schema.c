/* The tables, as steps from an empty file to what this version needs. */
#include "spool/store_internal.h"

#include <stdio.h>

/* Step n leads from user_version n to n + 1. A step that was released is never changed again. */
static const char *const steps[] = {
    /* next_try, number: the order of sending. The state of incoming rows and of those that are gone
     * keeps them out of every index but their own, and of every reader. There is no index on id:
     * people wait for a scan of 100,000 rows, messages would pay for it at random places. */
    "CREATE TABLE message ("
    "    number INTEGER PRIMARY KEY,"
    "    id TEXT NOT NULL,"
    "    account TEXT NOT NULL,"
    "    client BLOB NOT NULL,"
    "    helo TEXT NOT NULL,"
    "    sender TEXT NOT NULL,"
    "    is_8bit INTEGER NOT NULL,"
    "    is_smtputf8 INTEGER NOT NULL,"
    "    ret TEXT NOT NULL,"
    "    envid TEXT NOT NULL,"
    "    is_bounce INTEGER NOT NULL,"
    "    is_uncertain INTEGER NOT NULL,"
    "    state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 4),"
    "    attempts INTEGER NOT NULL,"
    "    arrived INTEGER NOT NULL,"
    "    next_try INTEGER NOT NULL,"
    "    expires INTEGER NOT NULL,"
    "    size INTEGER NOT NULL,"
    "    last_reply TEXT NOT NULL"
    ") STRICT;"
    "CREATE INDEX message_due ON message (account, next_try) WHERE state = 0;"
    "CREATE INDEX message_expires ON message (expires) WHERE state = 0;"
    "CREATE INDEX message_failed ON message (arrived) WHERE state = 2;"
    "CREATE INDEX message_gone ON message (state) WHERE state >= 3;"
    "CREATE TABLE rcpt ("
    "    message INTEGER NOT NULL REFERENCES message (number) ON DELETE CASCADE,"
    "    position INTEGER NOT NULL,"
    "    mailbox TEXT NOT NULL,"
    "    notify TEXT NOT NULL,"
    "    orcpt TEXT NOT NULL,"
    "    is_done INTEGER NOT NULL,"
    "    is_refused INTEGER NOT NULL,"
    "    reply TEXT NOT NULL,"
    "    PRIMARY KEY (message, position)"
    ") STRICT, WITHOUT ROWID;"
    /* at = number << 20 | chunk: one b-tree that grows at its end, and no index. */
    "CREATE TABLE chunk (at INTEGER PRIMARY KEY, text BLOB NOT NULL) STRICT;"
    "CREATE TABLE people (changes INTEGER NOT NULL) STRICT;"
    "INSERT INTO people VALUES (0);",
    /* What people should know of an account while its mail waits. */
    "CREATE TABLE notice ("
    "    account TEXT PRIMARY KEY,"
    "    login TEXT NOT NULL,"
    "    until INTEGER NOT NULL,"
    "    text TEXT NOT NULL"
    ") STRICT, WITHOUT ROWID;",
    /* Of the files that the refused credential came from: with the same mark it is the same one. */
    "ALTER TABLE notice ADD COLUMN mark INTEGER NOT NULL DEFAULT 0;",
};

static bool read_version(struct sql *c, int64_t *ret_version, struct err *e)
{
    if (!sql_ask(c, "PRAGMA user_version", ret_version, e))
        return false;
    if (*ret_version <= (int64_t)ARRAY_LEN(steps))
        return true;
    return err_set(e, ERR_CONFIG,
        "spool '%s' was written by a newer submitd (its schema is %lld, this one knows %zu)",
        c->path, (long long)*ret_version, ARRAY_LEN(steps));
}

/* The version is read again inside: another process may have been quicker. */
static bool migrate_step(struct sql *c, int64_t *ret_version, struct err *e)
{
    char mark[100];
    if (!sql_run(c, SQL_BEGIN, e))
        return false;
    bool is_fine = read_version(c, ret_version, e);
    if (is_fine && *ret_version < (int64_t)ARRAY_LEN(steps)) {
        snprintf(mark, sizeof mark, "PRAGMA user_version = %lld; PRAGMA application_id = %d",
            (long long)*ret_version + 1, SQL_APPLICATION_ID);
        is_fine = sql_exec(c, steps[*ret_version], e) && sql_exec(c, mark, e);
        ++*ret_version;
    }
    if (is_fine && sql_run(c, SQL_COMMIT, e))
        return true;
    if (sql_is_in_transaction(c))
        sql_run(c, SQL_ROLLBACK, NULL);
    return false;
}

bool schema_migrate(struct sql *c, struct err *e)
{
    int64_t version, vacuum;
    if (!read_version(c, &version, e))
        return false;
    while (version < (int64_t)ARRAY_LEN(steps)) {
        if (!migrate_step(c, &version, e))
            return false;
    }
    if (!sql_ask(c, "PRAGMA auto_vacuum", &vacuum, e))
        return false;
    enum { INCREMENTAL = 2 };
    if (vacuum == INCREMENTAL)
        return true;
    return err_set(e, ERR_IO, "spool '%s' cannot give space back (auto_vacuum is %lld)", c->path,
        (long long)vacuum);
}

bool schema_check(struct sql *c, struct err *e)
{
    int64_t version;
    if (!read_version(c, &version, e))
        return false;
    if (version == (int64_t)ARRAY_LEN(steps))
        return true;
    return err_set(e, ERR_CONFIG,
        "spool '%s' has the schema of an older submitd (%lld, now %zu); start submitd once",
        c->path, (long long)version, ARRAY_LEN(steps));
}
