/*
 * How `submitd queue` shows a message of the spool: a row of a table, a page, or a JSON object.
 * Pure functions from a message and the time to text in the caller's buffer.
 * Whatever clients and servers put into the fields, no control byte of it gets out.
 */
#ifndef SUBMITD_APP_QUEUE_PRINT_H
#define SUBMITD_APP_QUEUE_PRINT_H

#include "spool/store.h"

/* A sentence on an account whose logins are paused, with the remedy. */
void queue_add_notice(struct buf *out, const struct store_notice *notice, int64_t now);
/* So many messages wait; the oldest that was tried for so long, and why. */
void queue_add_waiting(struct buf *out, size_t count, int64_t seconds, const char *last_reply);
void queue_add_heading(struct buf *out);
/* One line. "*" behind the state: the message is uncertain. */
void queue_add_row(struct buf *out, const struct store_message *m, int64_t now);
/* Every field and every recipient, a line each. */
void queue_add_page(struct buf *out, const struct store_message *m, int64_t now);
/* One object without a line end. Times are seconds since 1970, UTC. `paused_until`: the account's
 * logins are paused; 0: they are not. */
bool queue_add_json(
    struct buf *out, const struct store_message *m, int64_t now, int64_t paused_until);

const char *queue_state_name(enum store_state state);

#endif
