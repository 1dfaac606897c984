#include "net/conn_uv.h"

#include <assert.h>

void conn_give_back(struct buf *b)
{
    if (b->len == 0 && b->cap > CONN_KEEP_MEMORY)
        buf_release_memory(b);
}

/* --- the end -----------------------------------------------------------------------------------
 */

void conn_end(struct conn *c, enum err_kind kind, const char *text)
{
    if (!conn_is_open(c))
        return;
    err_set(&c->why, kind, "%s", text);
    c->was_ended = true;
    list_remove(&c->todo);
    conn_update_reading(c);
    c->events->on_end(c->user, &c->why);
}

void conn_end_later(struct conn *c, enum err_kind kind, const char *text)
{
    if (!conn_is_open(c) || c->is_doomed)
        return;
    err_set(&c->why, kind, "%s", text);
    c->is_doomed = true;
    conn_update_reading(c);
    conn_add_todo(c);
}

static const struct {
    int status;
    const char *text;
} losses[] = {
    { UV_ECONNRESET, "the peer reset the connection" },
    { UV_EPIPE, "the peer reset the connection" },
    { UV_ECONNABORTED, "the connection was aborted" },
    { UV_ETIMEDOUT, "the peer does not acknowledge what is sent" },
};

/* NULL when `status` is not the peer's or the network's doing. */
static const char *loss_text(int status)
{
    for (size_t i = 0; i < ARRAY_LEN(losses); i++) {
        if (losses[i].status == status)
            return losses[i].text;
    }
    return NULL;
}

static void set_why(struct conn *c, const char *verb, int status)
{
    const char *loss = loss_text(status);
    if (loss)
        err_set(&c->why, ERR_LOST, "%s", loss);
    else
        err_set(&c->why, ERR_IO, "%s failed: %s", verb, uv_strerror(status));
}

static void read_failed(struct conn *c, int status)
{
    if (status != UV_EOF) {
        c->is_broken = true;
        set_why(c, "reading", status);
        conn_end(c, c->why.kind, c->why.text);
        return;
    }
    c->is_eof = true;
    const char *text = "the peer closed the connection";
    if (c->is_securing)
        text = "the peer closed the connection within the TLS handshake";
    else if (c->is_secure)
        text = "the peer closed the connection without ending TLS, something may be missing";
    conn_end(c, ERR_LOST, text);
}

/* --- input ---------------------------------------------------------------------------------------
 */

void conn_add_todo(struct conn *c)
{
    if (!list_is_empty(&c->todo))
        return;
    list_add_tail(&c->loop->todo, &c->todo);
    loop_wake(c->loop);
}

void conn_run_todo(struct conn *c)
{
    if (!conn_is_open(c))
        return;
    if (c->is_doomed) {
        conn_end(c, c->why.kind, c->why.text);
        return;
    }
    if (c->is_wanted && !c->is_hungry && c->in.len > 0)
        conn_offer(c, SLICE_NONE);
    if (conn_is_open(c) && c->tls)
        conn_tls_input(c, SLICE_NONE);
    if (conn_is_open(c))
        conn_update_reading(c);
}

bool conn_can_take(const struct conn *c)
{
    return conn_is_open(c) && c->is_wanted && (c->in.len == 0 || c->is_hungry) &&
           c->in.len <= CONN_READ_SIZE;
}

/* Keeps what the owner left of `all`; false when memory ran out. */
static bool keep_rest(struct conn *c, struct slice all, struct slice rest)
{
    assert(rest.n <= all.n);
    if (c->in.len == 0)
        return buf_add_slice(&c->in, rest);
    buf_consume(&c->in, all.n - rest.n);
    conn_give_back(&c->in);
    return true;
}

void conn_offer(struct conn *c, struct slice fresh)
{
    if (c->in.len > 0 && !buf_add_slice(&c->in, fresh)) {
        conn_end(c, ERR_MEMORY, "out of memory");
        return;
    }
    struct slice all = c->in.len > 0 ? buf_slice(&c->in) : fresh;
    struct slice rest = all;
    c->was_resumed = false;
    c->is_hungry = false;
    c->is_offering = true;
    c->events->on_input(c->user, &rest);
    c->is_offering = false;
    if (!conn_is_open(c))
        return;
    if (!keep_rest(c, all, rest)) {
        conn_end(c, ERR_MEMORY, "out of memory");
        return;
    }
    if (c->is_securing) {
        conn_tls_take_left(c);
        return;
    }
    bool is_left = rest.n > 0;
    if (is_left && !c->was_resumed)
        c->is_wanted = false;
    else if (is_left && rest.n < all.n)
        conn_add_todo(c);
    else if (is_left)
        c->is_hungry = true;
    conn_update_reading(c);
}

static void on_alloc(uv_handle_t *handle, size_t hint, uv_buf_t *ret_buf)
{
    (void)hint;
    const struct conn *c = handle->data;
    *ret_buf = uv_buf_init(c->loop->read_buf, CONN_READ_SIZE);
}

/* The owner is gone and so is the interest: only the end counts. */
static void discard(struct conn *c, ssize_t n)
{
    c->is_eof = c->is_eof || n == UV_EOF;
    c->is_reading = c->is_reading && n >= 0;
    if (n < 0 && (n != UV_EOF || c->state == CONN_LINGERING))
        conn_destroy(c);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *bytes)
{
    struct conn *c = stream->data;
    if (n == 0)
        return;
    if (c->state != CONN_OPEN)
        discard(c, n);
    else if (n < 0)
        read_failed(c, (int)n);
    else if (c->tls)
        conn_tls_input(c, slice_of(bytes->base, (size_t)n));
    else
        conn_offer(c, slice_of(bytes->base, (size_t)n));
}

static bool should_read(const struct conn *c)
{
    switch (c->state) {
    case CONN_OPEN:
        return !c->is_doomed && !c->was_ended && (c->is_securing || conn_can_take(c));
    case CONN_FLUSHING:
    case CONN_LINGERING:
        return !c->is_eof;
    case CONN_CLOSED:
        break;
    }
    return false;
}

void conn_update_reading(struct conn *c)
{
    if (c->state == CONN_CLOSED)
        return;
    bool should = should_read(c);
    if (should == c->is_reading)
        return;
    int status = should ? uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read)
                        : uv_read_stop((uv_stream_t *)&c->tcp);
    c->is_reading = should && status == 0;
    if (status != 0 && c->state == CONN_OPEN) {
        set_why(c, "reading", status);
        conn_end_later(c, c->why.kind, c->why.text);
    }
    /* What a failed write left to the read side to report cannot wait for it any longer. */
    if (c->is_broken && !c->is_reading)
        conn_end_later(c, c->why.kind, c->why.text);
}

/* --- output --------------------------------------------------------------------------------------
 */

void conn_mark_dirty(struct conn *c)
{
    if (c->is_writing || !list_is_empty(&c->dirty))
        return;
    list_add_tail(&c->loop->dirty, &c->dirty);
    loop_wake(c->loop);
}

static void drop_output(struct conn *c)
{
    buf_release_memory(&c->out);
    buf_release_memory(&c->text);
    if (c->tls)
        buf_release_memory(tls_output(c->tls));
}

/* The last words of a peer that hung up ("421 too busy") may still wait to be read: while the
 * connection is read, the read side reports the loss, behind them. */
static void write_failed(struct conn *c, int status)
{
    c->is_broken = true;
    drop_output(c);
    if (c->state != CONN_OPEN) {
        conn_destroy(c);
        return;
    }
    if (c->was_ended)
        return;
    set_why(c, "writing", status);
    if (!c->is_reading || !loss_text(status))
        conn_end(c, c->why.kind, c->why.text);
}

static void on_written(uv_write_t *req, int status)
{
    struct conn *c = req->handle->data;
    c->is_writing = false;
    buf_clear(&c->flight);
    if (c->state == CONN_CLOSED)
        return;
    if (status != 0)
        write_failed(c, status);
    else
        conn_flush(c);
}

/* Gives all of `b` to libuv, which needs the memory until it is written. */
static void start_write(struct conn *c, struct buf *b)
{
    struct buf empty = c->flight;
    c->flight = *b;
    *b = empty;
    b->max = c->flight.max;
    b->wipe = c->flight.wipe;
    c->is_writing = true;
    uv_buf_t bytes = uv_buf_init(c->flight.data + c->flight.off, (unsigned)c->flight.len);
    int status = uv_write(&c->req.write, (uv_stream_t *)&c->tcp, &bytes, 1, on_written);
    if (status != 0) {
        c->is_writing = false;
        write_failed(c, status);
    }
}

/* True when all of `b` has left. */
static bool send_buf(struct conn *c, struct buf *b)
{
    if (b->len == 0)
        return true;
    uv_buf_t bytes = uv_buf_init(b->data + b->off, (unsigned)b->len);
    int n = uv_try_write((uv_stream_t *)&c->tcp, &bytes, 1);
    if (n < 0 && n != UV_EAGAIN) {
        write_failed(c, n);
        return false;
    }
    if (n > 0)
        buf_consume(b, (size_t)n);
    if (b->len > 0)
        start_write(c, b);
    return b->len == 0 && !c->is_writing && !c->is_broken;
}

static void on_shut_down(uv_shutdown_t *req, int status)
{
    struct conn *c = req->handle->data;
    if (c->state == CONN_LINGERING && (status != 0 || c->is_eof || c->loop->is_ending))
        conn_destroy(c);
}

/* All is sent. Closing now, with unread input, would reset the connection and could take our last
 * reply away from the peer (RFC 1122 4.2.2.13): its end is awaited. */
static void shut_down(struct conn *c)
{
    c->state = CONN_LINGERING;
    if (uv_shutdown(&c->req.shutdown, (uv_stream_t *)&c->tcp, on_shut_down) != 0)
        conn_destroy(c);
}

/* An idle connection holds no buffers. One that is busy, its owner having filled it again, keeps
 * them. */
static void trim(struct conn *c)
{
    if (c->was_high)
        return;
    conn_give_back(&c->out);
    if (c->tls)
        conn_give_back(tls_output(c->tls));
    if (!c->is_writing)
        conn_give_back(&c->flight);
}

void conn_flush(struct conn *c)
{
    if (c->is_writing || c->is_broken || (c->state != CONN_OPEN && c->state != CONN_FLUSHING))
        return;
    struct err e = { .kind = ERR_NONE };
    if (c->state == CONN_OPEN && c->is_secure && !conn_tls_encrypt(c, &e)) {
        conn_end(c, e.kind, e.text);
        return;
    }
    /* Encrypting made it longer; whoever sees more than the mark waits for on_drain. */
    c->was_high = c->was_high || conn_pending(c) > CONN_HIGH_WATER;
    bool is_sent = send_buf(c, &c->out) && (!c->tls || send_buf(c, tls_output(c->tls)));
    if (is_sent && c->state == CONN_FLUSHING) {
        shut_down(c);
    } else if (c->was_high && conn_is_open(c) && conn_pending(c) < CONN_LOW_WATER) {
        c->was_high = false;
        if (c->events->on_drain)
            c->events->on_drain(c->user);
    }
    trim(c);
}
