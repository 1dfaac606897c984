/*
 * What the files of the store share: its threads ("lanes"), the operations that wait for them, and
 * the rows. Operations are made and finished on the loop's thread and run on a lane in between;
 * `mutex` guards the lists, everything else has one owner, named at the field.
 */
#ifndef SUBMITD_SPOOL_STORE_INTERNAL_H
#define SUBMITD_SPOOL_STORE_INTERNAL_H

#include "base/list.h"
#include "spool/disk.h"
#include "spool/sql.h"
#include "spool/store.h"

#include <pthread.h>

/* Behind enum store_state: rows that no reader may see. statements.h has them as numbers. */
enum {
    STATE_INCOMING = 3, /* a body on its way in */
    STATE_GONE = 4,     /* removed; its chunks are deleted in steps */
};

/* A chunk's key: the message's number, then the chunk's. 2^43 messages of at most 64 GB. */
enum { CHUNK_BITS = 20, CHUNKS_MAX = 1 << CHUNK_BITS };

/* --- operations --- */

struct op;

struct op_kind {
    /* On the lane, in its transaction. After false nothing of it stays in the database; it may be
     * run again then, so it changes nothing but the database and what `op` calls its result. */
    bool (*run)(struct store *s, struct op *op, struct err *e);
    /* On the lane, before its transaction: true when nothing is left for run(), be it done or
     * failed (op_fail). NULL: it needs the database. */
    bool (*run_beside)(struct store *s, struct op *op);
    /* On the lane, each time it has failed; may be NULL. */
    void (*lost)(struct op *op);
    /* On the loop's thread: tells the result unless the store is closing, and frees `op`. */
    void (*finish)(struct store *s, struct op *op, bool tells);
};

struct op {
    struct list link;
    const struct op_kind *kind;
    bool has_failed;
    bool is_unfinished; /* run() did a step: commit it, then run the next one */
    unsigned steps;     /* that were committed */
    struct err why;
};

/* What the done callback gets. */
const struct err *op_why(const struct op *op);
void op_fail(struct op *op, const struct err *why);

/* --- lanes --- */

/* A thread, its connection, and what waits for it. */
struct store_lane {
    struct store *store;
    struct sql sql;
    struct list waiting; /* under the mutex */
    pthread_cond_t is_needed;
    pthread_t thread;
    bool is_running;
    /* Runs every operation of `batch`, posting them when they are through. */
    void (*serve)(struct store_lane *lane, struct list *batch);
    /* Does a step of what can wait; in how many milliseconds the next one is wanted, 0: none. */
    unsigned (*rest)(struct store_lane *lane, bool is_idle);
};

struct store {
    char *path;
    uint64_t min_free;
    void (*wake)(void *user);
    void *wake_user;
    int lock;
    struct disk_self self; /* store_open_shared */

    pthread_mutex_t mutex;
    struct list finished; /* under the mutex, as is the next one */
    bool is_closing;
    struct store_lane writer, reader;

    /* The loop's thread only. */
    struct sql own;       /* for people, and to notice them */
    uint64_t last_number; /* of a message; numbers come from here, never twice in a life */
    int64_t data_version; /* SQLite's, when `changes` was read */
    uint64_t changes;     /* that people made */

    /* The writer's thread only. */
    struct list orphans;       /* struct orphan */
    unsigned wal_pages;        /* in the log behind the last commit */
    bool has_written;          /* a transaction ran since the keeper last looked */
    bool may_shrink;           /* something was removed since the file was last made smaller */
    uint64_t floor_checked_ms; /* 0: never */
    uint64_t free_octets;
    struct scratch {
        int file; /* -1: none */
        bool is_used;
        uint64_t used, length; /* octets: that its present user wrote; that it takes on the disk */
        uint64_t spared_ms;    /* when it was given back */
    } scratches[4];            /* files that are used again; there may be more that are not */
};

bool store_lane_init(struct store_lane *lane, struct store *s);
bool store_lane_start(struct store_lane *lane, struct err *e);
/* Lets it finish what waits (is_closing must be set), joins it, closes its connection. */
void store_lane_stop(struct store_lane *lane);
/* From the loop's thread: `op` is the lane's until it is finished. */
void store_lane_add(struct store_lane *lane, struct op *op);
/* The same without a wake: it is taken with the next one that is added. */
void store_lane_add_quietly(struct store_lane *lane, struct op *op);
/* Without a lane: `op` failed before it began. */
void store_post_failed(struct store *s, struct op *op, enum err_kind kind, const char *what);

void writer_serve(struct store_lane *lane, struct list *batch);
void reader_serve(struct store_lane *lane, struct list *batch);
unsigned keeper_rest(struct store_lane *lane, bool is_idle);

/* --- on the writer's thread (store_keeper.c) --- */

/* False with ERR_LIMIT when less than min_free is left. */
bool keeper_has_room(struct store *s, struct err *e);
/* Moves the log's pages into the file as far as readers allow. */
bool keeper_checkpoint(struct store *s);
/* Deletes some chunks of messages that are gone, in a transaction of its own; *ret_found is false
 * when there was nothing to delete. */
bool keeper_sweep(struct sql *c, bool *ret_found, struct err *e);
/* Gives some free pages back to the file system (with the next checkpoint); *ret_more is false when
 * there were too few to bother. */
bool keeper_shrink(struct sql *c, bool is_idle, bool *ret_more);

/* --- scratch files, on the writer's thread (store_scratch.c) --- */

/* On the loop's thread, before the writer's begins. */
void scratch_init(struct store *s);
/* One that may have anything in it; -1: none can be had. */
int scratch_take(struct store *s);
/* Behind what its taker wrote before. On a full disk room is made first. */
bool scratch_write(struct store *s, int file, uint64_t at, struct slice bytes, struct err *e);
/* The taker will close it by itself, on whatever thread. Again is fine. */
void scratch_keep_out(struct store *s, int file);
/* `size` octets of it were used. */
void scratch_give_back(struct store *s, int file, uint64_t size);
/* Closes those that were not wanted for a while; in how many milliseconds there will be another
 * one, 0: there is none. */
unsigned scratch_rest(struct store *s);
/* Gives back what no message needs of them; false: there was nothing. */
bool scratch_make_room(struct store *s);
/* The store closes. */
void scratch_close_spares(struct store *s);

/* --- schema --- */

bool schema_migrate(struct sql *c, struct err *e);
/* For those who do not own the spool: it must be of our version. */
bool schema_check(struct sql *c, struct err *e);

/* --- rows --- */

/* As row_insert wrote it. */
struct ip_addr row_addr(struct slice bytes);
int64_t row_chunk_at(uint64_t number, uint64_t chunk);
bool row_insert(struct sql *c, uint64_t number, const struct store_message *m, int64_t state,
    uint64_t size, struct err *e);
bool row_insert_chunk(
    struct sql *c, uint64_t number, uint64_t chunk, struct slice text, struct err *e);
/* The next row of a SELECT MESSAGE_COLUMNS, without recipients; NULL at its end, and when out of
 * memory: query_end tells. */
struct store_message *row_next(struct query *q);
bool row_read_rcpts(struct sql *c, struct store_message *m, struct err *e);
/* At once when it is small, else in steps. One that is not there is fine. */
bool row_remove(struct sql *c, uint64_t number, struct err *e);
bool row_count_chunks(struct sql *c, uint64_t number, uint64_t *ret_count, struct err *e);
bool row_update(struct sql *c, const struct store_message *m, struct err *e);
/* A chunk as it must be; empty behind the last one. The text is copied into `out`. */
bool row_read_chunk(struct sql *c, uint64_t number, uint64_t chunk, struct buf *out, struct err *e);

/* Heap, with everything it owns; NULL when out of memory. */
struct store_message *message_dup(const struct store_message *m);

/* --- a body on its way in --- */

/* Rows on disk whose writer was discarded. */
struct orphan {
    struct list link;
    uint64_t number;
};

struct store_writer {
    struct op op; /* the commit, a bounce, or the discard */
    struct store *store;
    uint64_t number; /* 0: nothing was handed to the writer's thread yet */
    uint64_t chunks; /* handed over */
    uint64_t size;
    struct buf text; /* the chunk that is being filled */

    /* The loop's thread only. */
    size_t pending; /* octets handed over and not on disk */
    bool is_congested;
    bool is_broken;    /* no use in adding more */
    bool lacks_memory; /* and that is why */
    void (*drain)(void *user);
    void *drain_user;
    struct store_message *message;  /* to commit */
    struct store_message *original; /* of a bounce; else NULL */
    struct orphan *orphan;          /* of a discard, until the writer's thread took it */
    store_done_fn *done;
    void *user;

    bool is_copy; /* store_copy_new; chunks may be in the scratch file */

    /* The writer's thread only. */
    int scratch;   /* the file; -1: chunks are rows */
    bool has_lost; /* a chunk did not get to disk: `loss` says why */
    struct err loss;
};

/* Copies both; `original` is NULL but for a bounce. */
void writer_commit(struct store_writer *w, const struct store_message *message,
    const struct store_message *original, store_done_fn *done, void *user);

#endif
