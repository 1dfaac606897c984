/*
 * The inside of a connection, for the files of src/net: conn.c is its life and the owner's calls,
 * conn_io.c carries bytes between libuv, TLS and the owner, conn_tls.c drives the TLS session. The
 * owner may end it in any callback: after each one, conn_is_open tells whether to go on. The memory
 * stays until libuv has closed both handles, which never happens inside a callback of ours.
 */
#ifndef SUBMITD_NET_CONN_UV_H
#define SUBMITD_NET_CONN_UV_H

#include "base/list.h"
#include "net/conn.h"
#include "net/loop_uv.h"

enum {
    CONN_CLOSE_MS = 5000, /* conn_close: sending the rest, then waiting for the peer's end */
    CONN_OUT_MAX = 256 * 1024 * 1024, /* an owner that never heeds CONN_HIGH_WATER ends here */
    CONN_IN_MAX = 4 * CONN_READ_SIZE, /* what the owner left, one read, and what TLS held */
    CONN_KEEP_MEMORY = 512,           /* an empty buffer larger than this is given back */
    CONN_KEEPALIVE_S = 60,
};

enum conn_state {
    CONN_OPEN,      /* it has, or will get, an owner */
    CONN_FLUSHING,  /* conn_close: the output leaves */
    CONN_LINGERING, /* our side is shut down; the peer's end is awaited so that it can read all */
    CONN_CLOSED,    /* libuv is closing the handles */
};

struct dial_attempt;

struct conn {
    uv_tcp_t tcp;
    uv_timer_t timer; /* the deadline; after conn_close its limit */
    union {
        uv_connect_t connect;
        uv_write_t write;
        uv_shutdown_t shutdown;
    } req; /* one at a time */
    struct loop *loop;
    struct list todo;                 /* in loop->todo, loop->closing or alone */
    struct list dirty;                /* in loop->dirty or alone */
    const struct conn_events *events; /* NULL when nobody owns it */
    void *user;
    struct dial_attempt *attempt; /* while connecting */
    struct ip_addr peer;
    uint16_t peer_port;
    enum conn_state state;
    unsigned handles; /* that libuv has not closed yet */

    struct tls *tls;
    struct buf in;      /* plain text that the owner left */
    struct buf out;     /* to be sent as it is */
    struct buf text;    /* to be encrypted: small writes are collected */
    struct buf flight;  /* libuv is sending this */
    uint64_t deadline;  /* 0: none */
    uint64_t armed_for; /* when the timer fires; may be before the deadline, never behind it */

    bool is_reading;  /* libuv reads */
    bool is_wanted;   /* the owner takes input */
    bool is_offering; /* inside on_input */
    bool was_resumed; /* conn_resume was called since on_input began */
    bool is_hungry;   /* the owner left everything and resumed: more must come first */
    bool is_writing;  /* `flight` is under way */
    bool was_high;    /* CONN_HIGH_WATER was passed, on_drain is due */
    bool is_securing; /* TLS handshake under way */
    bool is_secure;   /* TLS handshake done */
    bool is_eof;      /* the peer's end was read */
    bool is_broken;   /* nothing can be sent any more */
    bool is_doomed;   /* `why` is final, on_end is due */
    bool was_ended;   /* on_end was called */
    struct err why;
};

/* NULL when out of memory. */
struct conn *conn_new(struct loop *loop);
/* TCP is established: options, and who the peer is. */
void conn_opened(struct conn *c);
/* Closes and frees without a word, from any state. */
void conn_destroy(struct conn *c);
/* Ends the waiting for peers of closed connections. */
void conn_end_lingering(struct loop *loop);

static inline bool conn_is_open(const struct conn *c)
{
    return c->state == CONN_OPEN && !c->was_ended;
}

/* --- conn_io.c --- */
void conn_add_todo(struct conn *c);
void conn_run_todo(struct conn *c);
void conn_mark_dirty(struct conn *c);
void conn_flush(struct conn *c);
/* True when the owner would take more than it was offered. */
bool conn_can_take(const struct conn *c);
/* Calls on_input with what was left and `fresh` behind it. */
void conn_offer(struct conn *c, struct slice fresh);
/* Starts or stops reading, whatever the state asks for. */
void conn_update_reading(struct conn *c);
/* Calls on_end, once. */
void conn_end(struct conn *c, enum err_kind kind, const char *text);
/* The same, from the loop: for the owner's own calls. */
void conn_end_later(struct conn *c, enum err_kind kind, const char *text);
void conn_give_back(struct buf *b);

/* --- conn_tls.c --- */
/* Bytes from the network, may be none: goes on with the handshake, decrypts what the owner takes.
 */
void conn_tls_input(struct conn *c, struct slice bytes);
/* What the owner left of the plain text is the peer's handshake. */
void conn_tls_take_left(struct conn *c);
/* Encrypts what waits in c->text; false: `e` says why. */
bool conn_tls_encrypt(struct conn *c, struct err *e);

#endif
