/*
 * The durable spool: messages that submitd has answered for, in one SQLite file (WAL, synchronous =
 * FULL). The application opens one; one writer thread of its own commits everything that waits in
 * one transaction and then tells all who waited (group commit). Bodies are kept in chunks and never
 * sit in memory whole. It never decides when or where to send; it never says "done" before the
 * commit returned.
 *
 * Threads: every function is for the loop's thread. `wake` is called from the writer thread when
 * completions wait; the owner then calls store_poll on the loop, which runs the callbacks. Times
 * are seconds since 1970.
 */
#ifndef SUBMITD_SPOOL_STORE_H
#define SUBMITD_SPOOL_STORE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/ip.h"

#include <stdint.h>

struct store;

enum {
    STORE_CHUNK_SIZE = 65536, /* octets of a message body per row */
    STORE_HIGH_WATER =
        512 * 1024, /* octets of one message waiting in memory: hold the client back */
    STORE_LOW_WATER = 256 * 1024, /* on_drain comes below this */
};

struct store_params {
    const char *path;  /* of the database file; its folder must exist */
    uint64_t min_free; /* octets that must stay free on the disk, else ERR_LIMIT; 0: no floor */
    void (*wake)(void *user); /* any thread; must only make the loop call store_poll */
    void *wake_user;          /* valid until store_close has returned */
};

/*
 * Makes or migrates the schema, asserts the PRAGMAs that durability rests on, removes what
 * unfinished writers of an earlier life left, takes the lock. Blocks. A second daemon is refused:
 * "spool 'FILE' is in use by process 1234". ERR_LIMIT: the disk is full.
 */
bool store_open(const struct store_params *params, struct store **ret_store, struct err *e);
/* For `submitd queue`: reads and changes while a daemon may run; takes no daemon lock. Until
 * store_close root acts as the owner of the file (spool/disk.h). */
bool store_open_shared(const char *path, struct store **ret_store, struct err *e);
/* Finishes what waits, runs no more callbacks; every store_writer must be committed or discarded
 * before. NULL is fine. */
void store_close(struct store *s);
/* Runs the callbacks of finished operations, in the order in which they were asked for (those that
 * change and those that read each in their own; on_drain of a copy in none). They may call anything
 * here but store_close. */
void store_poll(struct store *s);

/* --- what is kept --- */

enum store_state {
    STORE_QUEUED, /* to be sent at next_try */
    STORE_HELD,   /* by a person or by on_uncertain = hold */
    STORE_FAILED, /* bounced; kept for keep_failed */
};

struct store_rcpt {
    char *mailbox, *notify, *orcpt; /* "" when not given */
    bool is_done;                   /* delivered, or refused for good: not sent again */
    bool is_refused;
    char *reply; /* the last word on this recipient, one line; "" before the first */
};

struct store_message {
    uint64_t number; /* ascending in order of arrival (long bodies: of its first chunk); never 0 */
    char *id;        /* submitd's message id */
    char *account;   /* name of the account that it was routed to last */
    struct ip_addr client;
    char *helo;
    char *sender; /* envelope sender as given; "" is the null one */
    bool is_8bit, is_smtputf8;
    char *ret, *envid; /* "" when not given */
    bool is_bounce;    /* our own report: never bounced again */
    bool is_uncertain; /* an attempt ended between the final dot and the reply */
    enum store_state state;
    unsigned attempts;
    int64_t arrived, next_try, expires; /* seconds since 1970 */
    uint64_t size;                      /* octets of the body */
    char *last_reply;                   /* of the last attempt, one line */
    struct store_rcpt *rcpts;
    size_t rcpt_count;
};

/* Frees the message and what it owns; NULL is fine. */
void store_message_free(struct store_message *m);

/* --- taking a message in --- */

/* `why` is NULL when it worked. It comes from store_poll; only where there is no memory even for
 * the request does it come at once. */
typedef void store_done_fn(void *user, const struct err *why);

/* One body on its way in. Up to STORE_CHUNK_SIZE octets stay in memory until commit, of a copy up
 * to four times as much; longer ones go to disk as they come, invisible until the commit. */
struct store_writer;

/* NULL when out of memory. */
struct store_writer *store_writer_new(struct store *s);
/* The same for a body that will hardly ever be committed: what does not fit into memory goes into a
 * scratch file, and into the spool with the commit. */
struct store_writer *store_copy_new(struct store *s);
/* `text` is copied. After a failure it does nothing; the commit will tell. */
void store_writer_add(struct store_writer *w, struct slice text);
/* True above STORE_HIGH_WATER until below STORE_LOW_WATER; on_drain then comes from store_poll. */
bool store_writer_is_congested(const struct store_writer *w);
void store_writer_on_drain(struct store_writer *w, void (*fn)(void *user), void *user);
uint64_t store_writer_size(const struct store_writer *w);
/* Takes `w`. Copies of `m`'s fields are stored (number and size are set by the store, a NULL text
 * is
 * ""; `m` may go when this returns). done(NULL)
 * comes after the commit returned: from then on submitd answers for the message. Errors: ERR_LIMIT
 * (disk full, floor), ERR_IO. */
void store_writer_commit(
    struct store_writer *w, const struct store_message *m, store_done_fn *done, void *user);
/* Takes `w` (NULL is fine); nothing of it stays, what is on disk goes in steps. */
void store_writer_discard(struct store_writer *w);

/* --- sending --- */

/* The array (free) and its messages (store_message_free) are the callback's; NULL and 0 on failure,
 * with `why`, and when there is nothing. */
typedef void store_list_fn(
    void *user, struct store_message **messages, size_t count, const struct err *why);

/*
 * Up to `limit` queued messages of `account` that are due at `now`, oldest next_try first, then in
 * order of arrival, whose number is not in `busy` (those being sent now). Each comes with its
 * recipients, not with its body.
 */
void store_due(struct store *s, const char *account, int64_t now, size_t limit,
    const uint64_t *busy, size_t busy_count, store_list_fn *done, void *user);
/* Up to `limit` queued messages of any account whose time is over (expires <= now), whatever their
 * next_try, without those in `busy`. */
void store_overdue(struct store *s, int64_t now, size_t limit, const uint64_t *busy,
    size_t busy_count, store_list_fn *done, void *user);
/* The earliest next_try of each account's queued messages. */
struct store_due_time {
    char account[64];
    int64_t next_try;
};
typedef void store_times_fn(
    void *user, const struct store_due_time *times, size_t count, const struct err *why);
void store_due_times(struct store *s, store_times_fn *done, void *user);

/* One chunk of a body, 0-based; `text` is empty behind the last one, and valid during the call. A
 * message that was removed meanwhile is an error (of kind ERR_NONE), never an end. */
typedef void store_chunk_fn(void *user, struct slice text, const struct err *why);
void store_read_chunk(
    struct store *s, uint64_t number, uint64_t chunk, store_chunk_fn *done, void *user);

/* Writes back what an attempt changed: state, attempts, next_try, is_uncertain, last_reply, account
 * and each recipient's is_done, is_refused, reply. What a person did meanwhile wins: a message that
 * was cancelled stays away (done(NULL)), one that was held stays held unless it has failed. */
void store_update(struct store *s, const struct store_message *m, store_done_fn *done, void *user);
/* The message is gone for good (delivered, or failed long enough ago). One that is not there is
 * fine. */
void store_remove(struct store *s, uint64_t number, store_done_fn *done, void *user);
/* Takes `w`. Stores a bounce, below the floor of free space, too, and marks the original failed
 * (state and recipients from `original`) in one transaction. */
void store_bounce(struct store *s, struct store_writer *w, const struct store_message *bounce,
    const struct store_message *original, store_done_fn *done, void *user);
/*
 * An account whose logins were refused, or are paused: `queue list` and `doctor` show it, and after
 * a restart the daemon knows. One for each account, a new one replaces it.
 */
struct store_notice {
    const char *account; /* its name in the configuration; "" is the default one */
    const char *login;   /* the user name */
    int64_t until;       /* they are paused, seconds since 1970; over: they were refused */
    const char *text;    /* why */
    int64_t mark;        /* of the files that the refused credential came from; 0: unknown */
};
/* All texts are copied. */
void store_notice_set(
    struct store *s, const struct store_notice *notice, store_done_fn *done, void *user);
/* The same at once, for `doctor`; blocks. */
bool store_notice_put(struct store *s, const struct store_notice *notice, struct err *e);
/* Of all accounts with that user name, whatever its case: the directory knows only one. None is
 * fine. */
void store_notice_clear(struct store *s, const char *login, store_done_fn *done, void *user);
/* Calls `fn` for each; blocks. */
typedef void store_notice_fn(void *user, const struct store_notice *notice);
bool store_notice_each(struct store *s, store_notice_fn *fn, void *user, struct err *e);

/* All messages whose state is failed and that arrived before `before` are removed. */
void store_expire_failed(struct store *s, int64_t before, store_done_fn *done, void *user);
/* Routes again after a configuration load: `route` gives the account's name for a client and a
 * sender (called on the writer thread: it must be pure), NULL when there is none (the message keeps
 * its account). */
typedef const char *store_route_fn(void *user, const struct ip_addr *client, const char *sender);
void store_reroute(
    struct store *s, store_route_fn *route, void *route_user, store_done_fn *done, void *user);

/* --- for people (submitd queue): these block --- */

/* Calls `fn` for each message in order of arrival until it returns false. */
typedef bool store_each_fn(void *user, const struct store_message *m);
bool store_each(struct store *s, store_each_fn *fn, void *user, struct err *e);
/* False without an error kind (ERR_NONE): there is no such message. */
bool store_find(struct store *s, const char *id, struct store_message **ret_message, struct err *e);
bool store_body_each(struct store *s, uint64_t number, bool (*fn)(void *user, struct slice text),
    void *user, struct err *e);
/* id NULL: all. *ret_count is how many were changed; 0 is no error. Hold: queued ones. Release:
 * held ones, to be sent now. Retry: queued and held ones, to be sent now; a
 * failed one only by its id, because its sender was told already: it goes to those that refused it.
 * Retried and released messages whose time is over get it anew. Cancel: nothing of it stays. */
bool store_retry(struct store *s, const char *id, int64_t now, size_t *ret_count, struct err *e);
bool store_hold(struct store *s, const char *id, size_t *ret_count, struct err *e);
bool store_release(struct store *s, const char *id, int64_t now, size_t *ret_count, struct err *e);
bool store_cancel(struct store *s, const char *id, size_t *ret_count, struct err *e);
/* Counts what people changed by the four above, in whichever process, so that a daemon notices
 * `submitd queue`; its own commits do not count. Cheap. */
uint64_t store_data_version(struct store *s);

#endif
