#include "net/conn.h"
#include "net/conn_uv.h"

#include <assert.h>
#include <stdlib.h>

enum {
    DIRECT_SIZE = 4096,     /* writes from here on are encrypted at once instead of collected */
    COLLECTED_SIZE = 16384, /* a full TLS record of small writes is not kept waiting */
};

struct conn *conn_new(struct loop *loop)
{
    struct conn *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->loop = loop;
    list_init(&c->todo);
    list_init(&c->dirty);
    buf_init(&c->in, CONN_IN_MAX);
    buf_init(&c->out, CONN_OUT_MAX);
    buf_init_secret(&c->text, CONN_OUT_MAX); /* logins pass here */
    buf_init(&c->flight, CONN_OUT_MAX);
    uv_tcp_init(&loop->uv, &c->tcp);
    uv_timer_init(&loop->uv, &c->timer);
    c->handles = 2;
    c->tcp.data = c;
    c->timer.data = c;
    return c;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct conn *c = handle->data;
    if (--c->handles > 0)
        return;
    tls_free(c->tls);
    buf_fini(&c->in);
    buf_fini(&c->out);
    buf_fini(&c->text);
    buf_fini(&c->flight);
    free(c);
}

static void disown(struct conn *c)
{
    c->events = NULL;
    c->user = NULL;
    list_remove(&c->todo);
}

static void close_handles(struct conn *c, bool with_reset)
{
    if (c->state == CONN_CLOSED)
        return;
    c->state = CONN_CLOSED;
    disown(c);
    list_remove(&c->dirty);
    uv_close((uv_handle_t *)&c->timer, on_handle_closed);
    if (!with_reset || uv_tcp_close_reset(&c->tcp, on_handle_closed) != 0)
        uv_close((uv_handle_t *)&c->tcp, on_handle_closed);
}

void conn_destroy(struct conn *c)
{
    close_handles(c, false);
}

void conn_abort(struct conn *c)
{
    close_handles(c, true);
}

static void set_peer(struct conn *c)
{
    struct sockaddr_storage name;
    int size = sizeof name;
    if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&name, &size) != 0)
        return; /* it is gone already; the first read tells */
    if (name.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&name;
        c->peer.len = 4;
        memcpy(c->peer.bytes, &in->sin_addr, 4);
        c->peer_port = ntohs(in->sin_port);
    } else if (name.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&name;
        c->peer.len = 16;
        memcpy(c->peer.bytes, &in6->sin6_addr, 16);
        c->peer_port = ntohs(in6->sin6_port);
    }
}

void conn_opened(struct conn *c)
{
    uv_tcp_nodelay(&c->tcp, 1); /* writes are collected per turn of the loop already */
    set_peer(c);
    /* A peer on this machine cannot vanish without a word. */
    if (!ip_is_loopback(&c->peer))
        uv_tcp_keepalive(&c->tcp, 1, CONN_KEEPALIVE_S);
}

void conn_set_owner(struct conn *c, const struct conn_events *events, void *user)
{
    c->events = events;
    c->user = user;
}

struct loop *conn_loop(struct conn *c)
{
    return c->loop;
}

const struct ip_addr *conn_peer(const struct conn *c)
{
    return &c->peer;
}

uint16_t conn_peer_port(const struct conn *c)
{
    return c->peer_port;
}

struct tls *conn_tls(struct conn *c)
{
    return c->tls;
}

void conn_resume(struct conn *c)
{
    if (!conn_is_open(c))
        return;
    c->is_wanted = true;
    c->was_resumed = true;
    if (c->is_offering)
        return; /* conn_offer looks at was_resumed */
    c->is_hungry = false;
    if (c->in.len > 0 || (c->is_secure && tls_has_input(c->tls)))
        conn_add_todo(c);
    conn_update_reading(c);
}

void conn_pause(struct conn *c)
{
    c->is_wanted = false;
    c->was_resumed = false;
    if (conn_is_open(c))
        conn_update_reading(c);
}

/* Small writes are collected, so that they share a record. */
static bool write_tls(struct conn *c, struct slice bytes, struct err *e)
{
    bool is_full = bytes.n >= DIRECT_SIZE || c->text.len + bytes.n > COLLECTED_SIZE;
    if (c->is_secure && is_full && !conn_tls_encrypt(c, e))
        return false;
    if (c->is_secure && bytes.n >= DIRECT_SIZE)
        return tls_write(c->tls, bytes, e);
    return buf_add_slice(&c->text, bytes);
}

void conn_write(struct conn *c, struct slice bytes)
{
    if (c->state != CONN_OPEN || c->is_broken || bytes.n == 0)
        return;
    struct err e = { .kind = ERR_LIMIT, .text = "too much is waiting to be sent" };
    if (!(c->tls ? write_tls(c, bytes, &e) : buf_add_slice(&c->out, bytes))) {
        c->is_broken = true;
        conn_end_later(c, e.kind, e.text);
        return;
    }
    c->was_high = c->was_high || conn_pending(c) > CONN_HIGH_WATER;
    conn_mark_dirty(c);
}

size_t conn_pending(const struct conn *c)
{
    size_t n = c->out.len + c->text.len;
    if (c->tls)
        n += tls_output(c->tls)->len;
    return n + uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp);
}

void conn_start_tls(struct conn *c, struct tls *t)
{
    assert(!c->tls);
    c->tls = t; /* freed with the connection */
    if (!conn_is_open(c))
        return;
    c->is_securing = true;
    if (!c->is_offering)
        conn_tls_take_left(c);
    conn_add_todo(c);
    conn_update_reading(c);
}

/* A deadline that moves away, as it does with every command, leaves the timer alone: it fires early
 * and looks again. */
static void on_time(uv_timer_t *timer)
{
    struct conn *c = timer->data;
    uint64_t now = loop_now_ms(c->loop);
    if (c->state != CONN_OPEN) {
        conn_destroy(c);
    } else if (c->deadline > now) {
        c->armed_for = c->deadline;
        uv_timer_start(&c->timer, on_time, c->deadline - now, 0);
    } else if (c->deadline > 0) {
        c->deadline = 0;
        if (c->events->on_deadline)
            c->events->on_deadline(c->user);
    }
}

void conn_set_deadline(struct conn *c, uint64_t at_ms)
{
    if (c->state != CONN_OPEN)
        return;
    c->deadline = at_ms;
    bool is_armed = uv_is_active((const uv_handle_t *)&c->timer);
    if (at_ms == 0) {
        uv_timer_stop(&c->timer);
    } else if (!is_armed || c->armed_for > at_ms) {
        uint64_t now = loop_now_ms(c->loop);
        c->armed_for = at_ms;
        uv_timer_start(&c->timer, on_time, at_ms > now ? at_ms - now : 0, 0);
    }
}

void conn_close(struct conn *c)
{
    if (c->state != CONN_OPEN)
        return;
    disown(c);
    if (c->is_broken) {
        conn_destroy(c);
        return;
    }
    if (c->is_secure && conn_tls_encrypt(c, NULL))
        tls_bye(c->tls);
    c->state = CONN_FLUSHING;
    list_add_tail(&c->loop->closing, &c->todo);
    uv_timer_start(&c->timer, on_time, CONN_CLOSE_MS, 0);
    conn_update_reading(c);
    conn_mark_dirty(c);
}

void conn_end_lingering(struct loop *loop)
{
    struct list *next = NULL;
    for (struct list *link = loop->closing.next; link != &loop->closing; link = next) {
        next = link->next;
        struct conn *c = LIST_ENTRY(link, struct conn, todo);
        if (c->state == CONN_LINGERING)
            conn_destroy(c);
    }
}
