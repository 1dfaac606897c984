/*
 * One TCP connection, with TLS when asked for, with back-pressure in both directions and one
 * deadline. Made by a listener or a dialer, then owned by whoever took it; conn_close or conn_abort
 * ends the ownership and no callback comes afterwards. It never interprets what it carries.
 */
#ifndef SUBMITD_NET_CONN_H
#define SUBMITD_NET_CONN_H

#include "base/buf.h"
#include "base/err.h"
#include "base/ip.h"
#include "net/loop.h"
#include "tls/tls.h"

struct conn;

enum {
    CONN_READ_SIZE = 65536,       /* octets read at once; one buffer for the whole loop */
    CONN_HIGH_WATER = 256 * 1024, /* octets waiting to be sent: the owner should stop writing */
    CONN_LOW_WATER = 64 * 1024,   /* on_drain comes when less than this waits again */
};

/* All are called with the owner's `user`. A callback may close its own connection. */
struct conn_events {
    /* Bytes came (decrypted). The owner takes them off the front of *in; what it leaves is kept,
     * reading stops, and it is offered again after conn_resume, together with what came since. An
     * owner that calls conn_resume in here and leaves something is called again from the loop: at
     * once when it took a part, when more has come if it took nothing (up to CONN_READ_SIZE may
     * wait so). */
    void (*on_input)(void *user, struct slice *in);
    /* conn_pending fell below CONN_LOW_WATER after it was above CONN_HIGH_WATER. May be NULL. */
    void (*on_drain)(void *user);
    /* The TLS handshake that conn_start_tls began is done. May be NULL when TLS is not used. */
    void (*on_secured)(void *user);
    /* The time set by conn_set_deadline is here. May be NULL when it is never set. */
    void (*on_deadline)(void *user);
    /* The peer closed (kind ERR_LOST), TLS failed (ERR_TLS) or the system did (ERR_IO). No more
     * input will come; the owner must still call conn_close or conn_abort. Unread input was offered
     * before: a peer's end is not seen while the owner takes nothing. Only a failed write is told
     * to a paused owner, too. After the peer's end (its half of the connection), conn_write and
     * conn_close still send. */
    void (*on_end)(void *user, const struct err *why);
};

void conn_set_owner(struct conn *c, const struct conn_events *events, void *user);
struct loop *conn_loop(struct conn *c);
const struct ip_addr *conn_peer(const struct conn *c);
uint16_t conn_peer_port(const struct conn *c);

/* Starts reading; nothing is read before the first call. Also: offers again what was left. The
 * callback comes from the loop, never from inside this call. During a TLS handshake it is
 * remembered. */
void conn_resume(struct conn *c);
/* Stops reading from the peer until conn_resume. */
void conn_pause(struct conn *c);

/* Queues bytes (encrypts them first when TLS is up, or keeps them until it is). Copied; all that is
 * written in one turn of the loop leaves together. Failures come as on_end, later. */
void conn_write(struct conn *c, struct slice bytes);
/* Octets queued and not yet given to the system. */
size_t conn_pending(const struct conn *c);

/* Takes `t`, whatever happens; once per connection. Plain bytes that wait in conn, or are left in
 * *in when it is called within on_input, count as the peer's handshake. Output queued before leaves
 * in plain text first. */
void conn_start_tls(struct conn *c, struct tls *t);
/* NULL without TLS. */
struct tls *conn_tls(struct conn *c);

/* At most one deadline, in loop_now_ms's clock; 0: none. */
void conn_set_deadline(struct conn *c, uint64_t at_ms);

/* Sends what is queued, says goodbye in TLS, waits for the peer's end so that no reset takes the
 * last words away from it, closes, frees: all within 5 seconds. */
void conn_close(struct conn *c);
/* Closes at once with a reset; for a message that must not be taken as complete. */
void conn_abort(struct conn *c);

#endif
