/*
 * Every SQL statement that is prepared once and run often: a name and its text. sql.c makes the
 * enum's table of it. States are those of enum store_state; 3 and 4 are ours (store_internal.h):
 * rows that no reader may see.
 */
#ifndef SUBMITD_SPOOL_STATEMENTS_H
#define SUBMITD_SPOOL_STATEMENTS_H

#define MESSAGE_COLUMNS                                                                            \
    "number, id, account, client, helo, sender, is_8bit, is_smtputf8, ret, envid, is_bounce, "     \
    "is_uncertain, state, attempts, arrived, next_try, expires, size, last_reply"

/* Numbers ?1 to ?2: one message or all, and an index range either way. */
#define CHOSEN "number BETWEEN ?1 AND ?2"

#define SQL_STATEMENTS(X)                                                                          \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                    \
    X(BEGIN_READ, "BEGIN")                                                                         \
    X(COMMIT, "COMMIT")                                                                            \
    X(ROLLBACK, "ROLLBACK")                                                                        \
    X(SAVEPOINT, "SAVEPOINT operation")                                                            \
    X(RELEASE, "RELEASE operation")                                                                \
    X(ROLLBACK_TO, "ROLLBACK TO operation")                                                        \
    /* store_rows.c */                                                                             \
    X(INSERT_MESSAGE, "INSERT INTO message (" MESSAGE_COLUMNS ") "                                 \
                      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")          \
    X(INSERT_RCPT, "INSERT INTO rcpt (message, position, mailbox, notify, orcpt, is_done, "        \
                   "is_refused, reply) "                                                           \
                   "VALUES (?, ?, ?, ?, ?, ?, ?, ?)")                                              \
    X(SELECT_RCPTS, "SELECT mailbox, notify, orcpt, is_done, is_refused, reply FROM rcpt "         \
                    "WHERE message = ? ORDER BY position")                                         \
    X(INSERT_CHUNK, "INSERT INTO chunk (at, text) VALUES (?, ?)")                                  \
    X(SELECT_CHUNK, "SELECT size, text FROM message LEFT JOIN chunk ON at = ?2 "                   \
                    "WHERE number = ?1 AND state < 3")                                             \
    X(COUNT_CHUNKS, "SELECT count(*) FROM chunk WHERE at BETWEEN ? AND ?")                         \
    X(DELETE_CHUNKS, "DELETE FROM chunk WHERE at BETWEEN ? AND ?")                                 \
    X(DELETE_MESSAGE, "DELETE FROM message WHERE number = ?")                                      \
    X(SELECT_SIZE, "SELECT size FROM message WHERE number = ? AND state < 3")                      \
    X(DOOM_MESSAGE, "UPDATE message SET state = 4 WHERE number = ?")                               \
    /* store_send.c: a person's hold stays, unless the message has failed for good */              \
    X(UPDATE_MESSAGE,                                                                              \
        "UPDATE message SET state = CASE WHEN state = 1 AND ?2 = 0 THEN 1 ELSE ?2 END, "           \
        "attempts = ?3, next_try = ?4, is_uncertain = ?5, last_reply = ?6, account = ?7 "          \
        "WHERE number = ?1 AND state < 3")                                                         \
    X(UPDATE_RCPT, "UPDATE rcpt SET is_done = ?3, is_refused = ?4, reply = ?5 "                    \
                   "WHERE message = ?1 AND position = ?2")                                         \
    X(SELECT_FAILED, "SELECT number FROM message INDEXED BY message_failed "                       \
                     "WHERE state = 2 AND arrived < ? LIMIT ?")                                    \
    X(SELECT_ROUTES, "SELECT number, client, sender, account FROM message "                        \
                     "WHERE number > ? AND state < 2 ORDER BY number LIMIT ?")                     \
    X(UPDATE_ACCOUNT, "UPDATE message SET account = ?2 WHERE number = ?1")                         \
    /* store_notice.c */                                                                           \
    X(SET_NOTICE, "INSERT OR REPLACE INTO notice (account, login, until, text, mark) "             \
                  "VALUES (?, ?, ?, ?, ?)")                                                        \
    X(CLEAR_NOTICES, "DELETE FROM notice WHERE login = ? COLLATE NOCASE")                          \
    X(SELECT_NOTICES, "SELECT account, login, until, text, mark FROM notice ORDER BY account")     \
    /* store_read.c */                                                                             \
    X(SELECT_DUE, "SELECT " MESSAGE_COLUMNS " FROM message INDEXED BY message_due "                \
                  "WHERE state = 0 AND account = ? AND next_try <= ? ORDER BY next_try, number")   \
    X(SELECT_OVERDUE, "SELECT " MESSAGE_COLUMNS " FROM message INDEXED BY message_expires "        \
                      "WHERE state = 0 AND expires <= ? ORDER BY expires, number")                 \
    /* from one account to the next: not all of the queue is walked */                             \
    X(SELECT_NEXT_ACCOUNT, "SELECT account, next_try FROM message INDEXED BY message_due "         \
                           "WHERE state = 0 AND account > ? ORDER BY account, next_try LIMIT 1")   \
    X(SELECT_FIRST_ACCOUNT, "SELECT account, next_try FROM message INDEXED BY message_due "        \
                            "WHERE state = 0 ORDER BY account, next_try LIMIT 1")                  \
    /* store_keeper.c */                                                                           \
    X(SELECT_GONE, "SELECT number FROM message INDEXED BY message_gone "                           \
                   "WHERE state >= 3 AND state = 4 LIMIT 1")                                       \
    X(DOOM_ALL_INCOMING, "UPDATE message SET state = 4 WHERE state >= 3 AND state = 3")            \
    X(SELECT_LAST, "SELECT coalesce(max(number), 0) FROM message")                                 \
    X(DELETE_SOME_CHUNKS, "DELETE FROM chunk WHERE at IN "                                         \
                          "(SELECT at FROM chunk WHERE at BETWEEN ? AND ? ORDER BY at LIMIT ?)")   \
    X(DOOM_INCOMING, "UPDATE message SET state = 4 WHERE number = ? AND state = 3")                \
    X(FREE_PAGES, "PRAGMA freelist_count")                                                         \
    X(PAGES, "PRAGMA page_count")                                                                  \
    /* store_people.c */                                                                           \
    X(SELECT_FROM, "SELECT " MESSAGE_COLUMNS " FROM message WHERE number > ? AND state < 3 "       \
                   "ORDER BY number LIMIT ?")                                                      \
    X(SELECT_BY_ID, "SELECT " MESSAGE_COLUMNS                                                      \
                    " FROM message WHERE id = ? AND state < 3 ORDER BY number LIMIT 1")            \
    X(RETRY_RCPTS,                                                                                 \
        "UPDATE rcpt SET is_done = 0, is_refused = 0 WHERE is_refused = 1 AND message IN "         \
        "(SELECT number FROM message WHERE " CHOSEN " AND state = 2 AND ?1 = ?2)")                 \
    X(RETRY, "UPDATE message SET state = 0, next_try = ?3, "                                       \
             "expires = CASE WHEN expires <= ?3 THEN ?3 + expires - arrived ELSE expires END "     \
             "WHERE " CHOSEN " AND (state < 2 OR (state = 2 AND ?1 = ?2))")                        \
    X(HOLD, "UPDATE message SET state = 1 WHERE " CHOSEN " AND state = 0")                         \
    X(RELEASE_HELD,                                                                                \
        "UPDATE message SET state = 0, next_try = ?3, "                                            \
        "expires = CASE WHEN expires <= ?3 THEN ?3 + expires - arrived ELSE expires END "          \
        "WHERE " CHOSEN " AND state = 1")                                                          \
    X(CANCEL, "UPDATE message SET state = 4 WHERE " CHOSEN " AND state < 3")                       \
    X(COUNT_CHANGE, "UPDATE people SET changes = changes + 1")                                     \
    X(DATA_VERSION, "PRAGMA data_version")                                                         \
    X(SELECT_CHANGES, "SELECT changes FROM people")

#endif
