/*
 * Inside of relay/outbound: the struct and what its files call in each other. outbound.c has its
 * life and its connection, outbound_protocol.c the protocol machine's events, outbound_login.c
 * AUTH. Nobody else includes this.
 */
#ifndef SUBMITD_RELAY_OUTBOUND_INTERNAL_H
#define SUBMITD_RELAY_OUTBOUND_INTERNAL_H

#include "base/list.h"
#include "net/conn.h"
#include "net/dialer.h"
#include "ops/log.h"
#include "relay/login.h"
#include "relay/outbound.h"

enum outbound_state {
    WANT_CONNECTION, /* the dialer works */
    WANT_TLS,        /* implicit TLS: handshake before the banner */
    WANT_HELLO,      /* the protocol machine: banner, EHLO, STARTTLS */
    WANT_LOGIN,      /* AUTH is under way */
    READY,           /* messages */
    OVER,            /* on_lost was given */
};

enum { PEER_TEXT_MAX = IP_TEXT_MAX + 10 };

struct outbound {
    struct list link;
    struct loop *loop;
    struct setup *setup; /* borrowed: the pool's or doctor's setup outlives its sessions */
    const struct config_upstream *config;
    const struct config_host *host;
    size_t host_index;
    const struct config_account *account;
    struct sasl_account *login_account; /* borrowed from the setup */
    const struct outbound_events *events;
    void *user;
    enum outbound_state state;
    unsigned depth; /* calls of ours on the stack: freeing waits for them */
    bool is_pumping;
    bool is_held_back; /* the owner was told to wait for on_drain */
    bool is_freed;
    bool login_was_refused;
    bool was_ready;
    bool used_binding, dropped_binding; /* channel bindings of the login */
    unsigned number;                    /* of this session, for the log */
    unsigned uses;
    uint64_t began_ms, setup_deadline, idle_since;
    struct dialer *dialer;
    struct conn *conn;
    struct smtp_client *client;
    const struct sasl_mech *mech;
    struct login *login;
    struct err login_err; /* why AUTH was cancelled; kind ERR_NONE: it was not */
    char peer[PEER_TEXT_MAX];
    char tls_version[16];
};

enum { OUTBOUND_DETAIL_MAX = 1024 }; /* octets of a step's sentence */

/* The only writer of `state`. */
void out_set_state(struct outbound *o, enum outbound_state state);
/* Around everything that may call the owner: a session that is freed meanwhile goes at the last
 * leave. */
void out_enter(struct outbound *o);
void out_leave(struct outbound *o);
void out_tell_step(struct outbound *o, enum outbound_step step, const char *detail);
/* `why` gets the upstream's name in front, so that a sentence in a client's hands says whom it is
 * about. */
void out_fail(struct outbound *o, const struct err *why, const struct smtp_reply *reply);
/* Lets the protocol machine take bytes and make events until it can do no more. */
void out_pump(struct outbound *o, struct slice *in);
bool out_start_tls(struct outbound *o, struct err *e);
bool out_begin_login(struct outbound *o, struct err *e);
/* The reply that ends AUTH. */
void out_on_login_reply(struct outbound *o, const struct smtp_reply *reply);
/* Messages may be sent. */
void out_be_ready(struct outbound *o);
void out_release_if_drained(struct outbound *o);

#endif
