/* Messages, recipients and chunks as rows. */
#include "spool/store_internal.h"

#include <stdlib.h>

/* A message of up to this many chunks is removed in one transaction. */
enum { REMOVED_AT_ONCE = 16 };

int64_t row_chunk_at(uint64_t number, uint64_t chunk)
{
    return (int64_t)(number << CHUNK_BITS | chunk);
}

/* --- in --- */

static bool insert_rcpt(
    struct sql *c, uint64_t number, size_t position, const struct store_rcpt *r, struct err *e)
{
    struct query q = query_new(c, SQL_INSERT_RCPT);
    query_int(&q, (int64_t)number);
    query_int(&q, (int64_t)position);
    query_text(&q, r->mailbox);
    query_text(&q, r->notify);
    query_text(&q, r->orcpt);
    query_int(&q, r->is_done);
    query_int(&q, r->is_refused);
    query_text(&q, r->reply);
    return query_run(&q, e);
}

/* In the order of MESSAGE_COLUMNS; row_next reads the same. */
static bool insert_message(struct sql *c, uint64_t number, const struct store_message *m,
    int64_t state, uint64_t size, struct err *e)
{
    struct query q = query_new(c, SQL_INSERT_MESSAGE);
    query_int(&q, (int64_t)number);
    query_text(&q, m->id);
    query_text(&q, m->account);
    query_blob(&q, slice_of((const char *)m->client.bytes, m->client.len));
    query_text(&q, m->helo);
    query_text(&q, m->sender);
    query_int(&q, m->is_8bit);
    query_int(&q, m->is_smtputf8);
    query_text(&q, m->ret);
    query_text(&q, m->envid);
    query_int(&q, m->is_bounce);
    query_int(&q, m->is_uncertain);
    query_int(&q, state);
    query_int(&q, m->attempts);
    query_int(&q, m->arrived);
    query_int(&q, m->next_try);
    query_int(&q, m->expires);
    query_int(&q, (int64_t)size);
    query_text(&q, m->last_reply);
    return query_run(&q, e);
}

bool row_insert(struct sql *c, uint64_t number, const struct store_message *m, int64_t state,
    uint64_t size, struct err *e)
{
    if (!insert_message(c, number, m, state, size, e))
        return false;
    for (size_t i = 0; i < m->rcpt_count; i++) {
        if (!insert_rcpt(c, number, i, &m->rcpts[i], e))
            return false;
    }
    return true;
}

bool row_insert_chunk(
    struct sql *c, uint64_t number, uint64_t chunk, struct slice text, struct err *e)
{
    if (chunk >= CHUNKS_MAX)
        return err_set(e, ERR_LIMIT, "spool '%s': a message is longer than %d chunks of %d octets",
            c->path, CHUNKS_MAX, STORE_CHUNK_SIZE);
    struct query q = query_new(c, SQL_INSERT_CHUNK);
    query_int(&q, row_chunk_at(number, chunk));
    query_blob(&q, text);
    return query_run(&q, e);
}

/* --- out --- */

struct ip_addr row_addr(struct slice bytes)
{
    struct ip_addr addr = { 0 };
    if (bytes.n == 4 || bytes.n == 16) {
        addr.len = (uint8_t)bytes.n;
        memcpy(addr.bytes, bytes.p, bytes.n);
    }
    return addr;
}

static void read_message(struct query *q, struct store_message *m)
{
    m->number = (uint64_t)query_take_int(q);
    m->id = query_take_text(q);
    m->account = query_take_text(q);
    m->client = row_addr(query_take_blob(q));
    m->helo = query_take_text(q);
    m->sender = query_take_text(q);
    m->is_8bit = query_take_int(q) != 0;
    m->is_smtputf8 = query_take_int(q) != 0;
    m->ret = query_take_text(q);
    m->envid = query_take_text(q);
    m->is_bounce = query_take_int(q) != 0;
    m->is_uncertain = query_take_int(q) != 0;
    m->state = (enum store_state)query_take_int(q);
    m->attempts = (unsigned)query_take_int(q);
    m->arrived = query_take_int(q);
    m->next_try = query_take_int(q);
    m->expires = query_take_int(q);
    m->size = (uint64_t)query_take_int(q);
    m->last_reply = query_take_text(q);
}

struct store_message *row_next(struct query *q)
{
    if (!query_step(q))
        return NULL;
    struct store_message *m = calloc(1, sizeof *m);
    if (!m) {
        q->code = SQLITE_NOMEM;
        return NULL;
    }
    read_message(q, m);
    if (q->code == SQLITE_OK)
        return m;
    store_message_free(m);
    return NULL;
}

static bool grow(struct store_message *m, size_t *room)
{
    if (m->rcpt_count < *room)
        return true;
    size_t more = *room ? *room * 2 : 1;
    struct store_rcpt *rcpts = realloc(m->rcpts, more * sizeof *rcpts);
    if (!rcpts)
        return false;
    m->rcpts = rcpts;
    *room = more;
    return true;
}

bool row_read_rcpts(struct sql *c, struct store_message *m, struct err *e)
{
    struct query q = query_new(c, SQL_SELECT_RCPTS);
    query_int(&q, (int64_t)m->number);
    size_t room = 0;
    while (query_step(&q)) {
        if (!grow(m, &room)) {
            q.code = SQLITE_NOMEM;
            break;
        }
        struct store_rcpt *r = &m->rcpts[m->rcpt_count++];
        r->mailbox = query_take_text(&q);
        r->notify = query_take_text(&q);
        r->orcpt = query_take_text(&q);
        r->is_done = query_take_int(&q) != 0;
        r->is_refused = query_take_int(&q) != 0;
        r->reply = query_take_text(&q);
    }
    return query_end(&q, e);
}

/* What the message's size says about a chunk's length; more or less is damage. */
static size_t length_of(uint64_t size, uint64_t chunk)
{
    uint64_t before = chunk * STORE_CHUNK_SIZE;
    uint64_t rest = size > before ? size - before : 0;
    return rest > STORE_CHUNK_SIZE ? STORE_CHUNK_SIZE : (size_t)rest;
}

/* A reader must never take a message that vanished under it for one that ended. */
bool row_read_chunk(struct sql *c, uint64_t number, uint64_t chunk, struct buf *out, struct err *e)
{
    struct query q = query_new(c, SQL_SELECT_CHUNK);
    query_int(&q, (int64_t)number);
    query_int(&q, chunk < CHUNKS_MAX ? row_chunk_at(number, chunk) : -1);
    bool is_there = query_step(&q), is_whole = false;
    if (is_there) {
        size_t want = length_of((uint64_t)query_take_int(&q), chunk);
        struct slice text = query_take_blob(&q);
        is_whole = text.n == want;
        if (is_whole && !buf_add_slice(out, text))
            q.code = SQLITE_NOMEM;
    }
    if (!query_end(&q, e))
        return false;
    if (!is_there)
        return err_set(e, ERR_NONE, "spool '%s': message %llu is no longer there", c->path,
            (unsigned long long)number);
    return is_whole || err_set(e, ERR_IO, "spool '%s': a part of message %llu is missing", c->path,
                           (unsigned long long)number);
}

bool row_count_chunks(struct sql *c, uint64_t number, uint64_t *ret_count, struct err *e)
{
    struct query q = query_new(c, SQL_COUNT_CHUNKS);
    query_int(&q, row_chunk_at(number, 0));
    query_int(&q, row_chunk_at(number, CHUNKS_MAX - 1));
    *ret_count = query_step(&q) ? (uint64_t)query_take_int(&q) : 0;
    return query_end(&q, e);
}

/* --- changes --- */

static bool update_rcpt(
    struct sql *c, uint64_t number, size_t position, const struct store_rcpt *r, struct err *e)
{
    struct query q = query_new(c, SQL_UPDATE_RCPT);
    query_int(&q, (int64_t)number);
    query_int(&q, (int64_t)position);
    query_int(&q, r->is_done);
    query_int(&q, r->is_refused);
    query_text(&q, r->reply);
    return query_run(&q, e);
}

bool row_update(struct sql *c, const struct store_message *m, struct err *e)
{
    struct query q = query_new(c, SQL_UPDATE_MESSAGE);
    query_int(&q, (int64_t)m->number);
    query_int(&q, (int64_t)m->state);
    query_int(&q, m->attempts);
    query_int(&q, m->next_try);
    query_int(&q, m->is_uncertain);
    query_text(&q, m->last_reply);
    query_text(&q, m->account);
    if (!query_run(&q, e))
        return false;
    for (size_t i = 0; i < m->rcpt_count; i++) {
        if (!update_rcpt(c, m->number, i, &m->rcpts[i], e))
            return false;
    }
    return true;
}

static bool with_number(struct sql *c, enum sql_id id, uint64_t number, struct err *e)
{
    struct query q = query_new(c, id);
    query_int(&q, (int64_t)number);
    return query_run(&q, e);
}

static bool delete_chunks(struct sql *c, uint64_t number, struct err *e)
{
    struct query q = query_new(c, SQL_DELETE_CHUNKS);
    query_int(&q, row_chunk_at(number, 0));
    query_int(&q, row_chunk_at(number, CHUNKS_MAX - 1));
    return query_run(&q, e);
}

bool row_remove(struct sql *c, uint64_t number, struct err *e)
{
    struct query q = query_new(c, SQL_SELECT_SIZE);
    query_int(&q, (int64_t)number);
    bool is_there = query_step(&q);
    uint64_t size = is_there ? (uint64_t)query_take_int(&q) : 0;
    if (!query_end(&q, e))
        return false;
    if (!is_there)
        return true;
    if (size > (uint64_t)REMOVED_AT_ONCE * STORE_CHUNK_SIZE)
        return with_number(c, SQL_DOOM_MESSAGE, number, e);
    return delete_chunks(c, number, e) && with_number(c, SQL_DELETE_MESSAGE, number, e);
}
