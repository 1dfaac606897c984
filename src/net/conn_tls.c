#include "net/conn_uv.h"

void conn_tls_take_left(struct conn *c)
{
    if (!tls_put_input(c->tls, buf_slice(&c->in)))
        conn_end_later(c, ERR_MEMORY, "out of memory");
    buf_release_memory(&c->in);
}

bool conn_tls_encrypt(struct conn *c, struct err *e)
{
    if (c->text.len == 0)
        return true;
    bool done = tls_write(c->tls, buf_slice(&c->text), e);
    buf_clear(&c->text);
    conn_give_back(&c->text);
    return done;
}

/* The alert that tells the peer is sent before the owner learns of it. */
static void tls_failed(struct conn *c, const struct err *why)
{
    c->is_securing = false;
    c->is_secure = false;
    conn_flush(c);
    conn_end(c, why->kind, why->text);
}

/* True when the session may be read. */
static bool shake_hands(struct conn *c)
{
    struct err e = { .kind = ERR_NONE };
    switch (tls_handshake(c->tls, &e)) {
    case TLS_AGAIN:
        return false;
    case TLS_CLOSED:
    case TLS_FAILED:
        tls_failed(c, &e);
        return false;
    case TLS_DONE:
        break;
    }
    c->is_securing = false;
    c->is_secure = true;
    conn_mark_dirty(c);
    if (c->events->on_secured)
        c->events->on_secured(c->user);
    return conn_is_open(c);
}

/* Decrypts as long as the owner takes. */
static void decrypt(struct conn *c)
{
    struct buf *plain = &c->loop->plain;
    while (conn_can_take(c)) {
        struct err e = { .kind = ERR_NONE };
        buf_clear(plain);
        switch (tls_read(c->tls, plain, &e)) {
        case TLS_DONE:
            conn_offer(c, buf_slice(plain));
            if (!conn_is_open(c) || !tls_has_input(c->tls))
                return;
            break;
        case TLS_AGAIN:
            return;
        case TLS_CLOSED:
            conn_end(c, ERR_LOST, "the peer closed the connection");
            return;
        case TLS_FAILED:
            tls_failed(c, &e);
            return;
        }
    }
}

void conn_tls_input(struct conn *c, struct slice bytes)
{
    if (bytes.n > 0 && !tls_put_input(c->tls, bytes)) {
        conn_end(c, ERR_MEMORY, "out of memory");
        return;
    }
    bool is_ready = c->is_secure || (c->is_securing && shake_hands(c));
    if (is_ready)
        decrypt(c);
    if (!conn_is_open(c))
        return;
    if (tls_output(c->tls)->len > 0)
        conn_mark_dirty(c);
    conn_update_reading(c);
}
