/* Bodies on their way in, and their commit. */
#include "spool/disk.h"
#include "spool/store_internal.h"

#include <assert.h>
#include <stdlib.h>

enum {
    CHUNKS_PER_STEP = 64, /* 4 MB: others' commits do not wait longer for one that is long */
    CHUNKS_PER_WAKE = 4,  /* waking the thread costs as much as writing a chunk */
};
static_assert((CHUNKS_PER_WAKE - 1) * STORE_CHUNK_SIZE < STORE_LOW_WATER,
    "who waits for on_drain does not wait for chunks that nobody was woken for");

/* --- a chunk on its way to disk ahead of the commit --- */

struct spill {
    struct op op;
    struct store_writer *writer; /* lives until its last operation, which comes behind this one */
    uint64_t chunk;
    struct buf text;
};

static bool add_chunk(
    struct store *s, struct store_writer *w, uint64_t chunk, struct slice text, struct err *e)
{
    static const struct store_message nothing = { .number = 0 };
    struct sql *c = &s->writer.sql;
    if (chunk == 0 && !row_insert(c, w->number, &nothing, STATE_INCOMING, 0, e))
        return false;
    return row_insert_chunk(c, w->number, chunk, text, e);
}

/* Without a scratch file (too many are open) chunks become rows. */
static bool has_scratch(struct store *s, struct store_writer *w, uint64_t chunk)
{
    if (w->is_copy && chunk == 0 && w->scratch < 0)
        w->scratch = scratch_take(s);
    return w->scratch >= 0;
}

static bool may_spill(struct store *s, const struct store_writer *w, struct err *e)
{
    if (!w->has_lost)
        return keeper_has_room(s, e);
    *e = w->loss;
    return false;
}

static bool spill_beside(struct store *s, struct op *op)
{
    struct spill *p = (struct spill *)op;
    struct store_writer *w = p->writer;
    struct err why;
    if (!has_scratch(s, w, p->chunk))
        return false;
    if (!may_spill(s, w, &why) ||
        !scratch_write(s, w->scratch, p->chunk * STORE_CHUNK_SIZE, buf_slice(&p->text), &why))
        op_fail(op, &why);
    return true;
}

static bool run_spill(struct store *s, struct op *op, struct err *e)
{
    struct spill *p = (struct spill *)op;
    return may_spill(s, p->writer, e) && add_chunk(s, p->writer, p->chunk, buf_slice(&p->text), e);
}

static void lose_spill(struct op *op)
{
    struct store_writer *w = ((struct spill *)op)->writer;
    if (!w->has_lost)
        w->loss = op->why;
    w->has_lost = true;
}

static void tell_drained(struct store_writer *w)
{
    if (!w->is_congested || w->pending >= STORE_LOW_WATER)
        return;
    w->is_congested = false;
    if (w->drain)
        w->drain(w->drain_user);
}

static void finish_spill(struct store *s, struct op *op, bool tells)
{
    (void)s;
    struct spill *p = (struct spill *)op;
    struct store_writer *w = p->writer;
    w->pending -= p->text.len;
    w->is_broken = w->is_broken || op->has_failed;
    buf_fini(&p->text);
    free(p);
    if (tells)
        tell_drained(w);
}

static const struct op_kind spill_kind = {
    .run = run_spill,
    .run_beside = spill_beside,
    .lost = lose_spill,
    .finish = finish_spill,
};

/* Hands the filled chunk to the writer's thread, with its memory. */
static void spill(struct store_writer *w)
{
    struct spill *p = calloc(1, sizeof *p);
    if (!p) {
        w->is_broken = w->lacks_memory = true;
        return;
    }
    p->op.kind = &spill_kind;
    p->writer = w;
    p->chunk = w->chunks++;
    p->text = w->text;
    buf_init(&w->text, STORE_CHUNK_SIZE);
    if (w->number == 0)
        w->number = ++w->store->last_number;
    w->pending += p->text.len;
    if (w->chunks % CHUNKS_PER_WAKE == 0)
        store_lane_add(&w->store->writer, &p->op);
    else
        store_lane_add_quietly(&w->store->writer, &p->op);
}

/* --- a body --- */

struct store_writer *store_writer_new(struct store *s)
{
    struct store_writer *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->store = s;
    w->scratch = -1;
    buf_init(&w->text, STORE_CHUNK_SIZE);
    return w;
}

struct store_writer *store_copy_new(struct store *s)
{
    struct store_writer *w = store_writer_new(s);
    if (w)
        w->is_copy = true;
    return w;
}

void store_writer_add(struct store_writer *w, struct slice text)
{
    while (text.n > 0 && !w->is_broken) {
        if (w->text.len == STORE_CHUNK_SIZE)
            spill(w);
        size_t room = STORE_CHUNK_SIZE - w->text.len;
        size_t n = text.n < room ? text.n : room;
        if (!w->is_broken && !buf_add(&w->text, text.p, n))
            w->is_broken = w->lacks_memory = true;
        w->size += n;
        text = slice_skip(text, n);
    }
    w->is_congested = w->is_congested || w->pending > STORE_HIGH_WATER;
}

bool store_writer_is_congested(const struct store_writer *w)
{
    return w->is_congested;
}

void store_writer_on_drain(struct store_writer *w, void (*fn)(void *user), void *user)
{
    w->drain = fn;
    w->drain_user = user;
}

uint64_t store_writer_size(const struct store_writer *w)
{
    return w->size;
}

/* --- the commit, alone or with the message that bounced --- */

/* Of a copy in the scratch file, a step's chunks become rows. *ret_more is false when none are left
 * to move. */
static bool move_chunks(struct store *s, struct store_writer *w, bool *ret_more, struct err *e)
{
    uint64_t first = (uint64_t)w->op.steps * CHUNKS_PER_STEP;
    scratch_keep_out(s, w->scratch);
    *ret_more = w->scratch >= 0 && first < w->chunks;
    if (!*ret_more)
        return true;
    char *text = malloc(STORE_CHUNK_SIZE);
    bool is_fine = text || err_set(e, ERR_MEMORY, "spool '%s': out of memory", s->path);
    for (uint64_t i = first; is_fine && i < w->chunks && i < first + CHUNKS_PER_STEP; i++)
        is_fine = disk_scratch_read(
                      w->scratch, i * STORE_CHUNK_SIZE, text, STORE_CHUNK_SIZE, s->path, e) &&
                  add_chunk(s, w, i, slice_of(text, STORE_CHUNK_SIZE), e);
    free(text);
    return is_fine;
}

/* Every chunk that was handed over is there; then the incoming row makes place for the real one. */
static bool take_chunks(struct sql *c, const struct store_writer *w, struct err *e)
{
    uint64_t count;
    if (w->chunks == 0)
        return true;
    if (!row_count_chunks(c, w->number, &count, e))
        return false;
    if (count != w->chunks)
        return err_set(e, ERR_IO, "spool '%s': a part of the message did not get to disk", c->path);
    struct query q = query_new(c, SQL_DELETE_MESSAGE);
    query_int(&q, (int64_t)w->number);
    return query_run(&q, e);
}

/* A bounce may use the room below the floor: it is small, and what follows it makes room. */
static bool may_commit(struct store *s, const struct store_writer *w, struct err *e)
{
    if (w->lacks_memory)
        return err_set(e, ERR_MEMORY, "spool '%s': out of memory", s->path);
    if (w->has_lost) {
        *e = w->loss;
        return false;
    }
    return w->original || keeper_has_room(s, e);
}

static bool run_commit(struct store *s, struct op *op, struct err *e)
{
    struct store_writer *w = (struct store_writer *)op;
    struct sql *c = &s->writer.sql;
    if (!may_commit(s, w, e) || !move_chunks(s, w, &op->is_unfinished, e))
        return false;
    if (op->is_unfinished)
        return true;
    return take_chunks(c, w, e) &&
           row_insert(c, w->number, w->message, (int64_t)w->message->state, w->size, e) &&
           (w->text.len == 0 ||
               row_insert_chunk(c, w->number, w->chunks, buf_slice(&w->text), e)) &&
           (!w->original || row_update(c, w->original, e));
}

static void free_writer(struct store_writer *w)
{
    disk_scratch_close(w->scratch);
    store_message_free(w->message);
    store_message_free(w->original);
    buf_fini(&w->text);
    free(w->orphan);
    free(w);
}

/* What is on disk of a failed one is removed. */
static void finish_commit(struct store *s, struct op *op, bool tells)
{
    (void)s;
    struct store_writer *w = (struct store_writer *)op;
    store_done_fn *done = w->done;
    void *user = w->user;
    bool has_failed = op->has_failed;
    struct err why = op->why;
    if (has_failed && tells)
        store_writer_discard(w);
    else
        free_writer(w);
    if (tells)
        done(user, has_failed ? &why : NULL);
}

static const struct op_kind commit_kind = { .run = run_commit, .finish = finish_commit };

/* Failures go the same way as the rest: behind the chunks that are still under way. */
void writer_commit(struct store_writer *w, const struct store_message *message,
    const struct store_message *original, store_done_fn *done, void *user)
{
    struct store *s = w->store;
    w->op.kind = &commit_kind;
    w->done = done;
    w->user = user;
    w->drain = NULL;
    w->message = message_dup(message);
    w->original = original ? message_dup(original) : NULL;
    w->lacks_memory = w->lacks_memory || !w->message || (original && !w->original);
    if (w->number == 0)
        w->number = ++s->last_number;
    store_lane_add(&s->writer, &w->op);
}

void store_writer_commit(
    struct store_writer *w, const struct store_message *m, store_done_fn *done, void *user)
{
    writer_commit(w, m, NULL, done, user);
}

/* --- the discard --- */

/* Nothing of it got into the database. */
static bool discard_beside(struct store *s, struct op *op)
{
    struct store_writer *w = (struct store_writer *)op;
    if (w->scratch < 0 || op->steps > 0)
        return false;
    scratch_give_back(s, w->scratch, w->chunks * STORE_CHUNK_SIZE);
    w->scratch = -1;
    return true;
}

/* Changes nothing itself: the keeper does, as often as it takes. */
static bool run_discard(struct store *s, struct op *op, struct err *e)
{
    (void)e;
    struct store_writer *w = (struct store_writer *)op;
    if (w->orphan) {
        list_add_tail(&s->orphans, &w->orphan->link);
        w->orphan = NULL;
    }
    scratch_keep_out(s, w->scratch);
    disk_scratch_close(w->scratch); /* here, because it takes its time */
    w->scratch = -1;
    return true;
}

static void finish_discard(struct store *s, struct op *op, bool tells)
{
    (void)s;
    (void)tells;
    free_writer((struct store_writer *)op);
}

static const struct op_kind discard_kind = {
    .run = run_discard,
    .run_beside = discard_beside,
    .finish = finish_discard,
};

/* Without memory for the orphan its rows stay until the next store_open. */
void store_writer_discard(struct store_writer *w)
{
    if (!w)
        return;
    if (w->chunks == 0) {
        free_writer(w);
        return;
    }
    w->op.kind = &discard_kind;
    w->drain = NULL;
    w->orphan = malloc(sizeof *w->orphan);
    if (w->orphan)
        w->orphan->number = w->number;
    store_lane_add(&w->store->writer, &w->op);
}
