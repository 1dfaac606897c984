/*
 * One session with the upstream: connect, TLS, EHLO, login, then messages, one after the other.
 * Made by the pool (or by `doctor`); whoever uses it now is its owner and gets its events.
 * It never decides whether to try again and never logs a reply's meaning: its owner does.
 */
#ifndef SUBMITD_RELAY_OUTBOUND_H
#define SUBMITD_RELAY_OUTBOUND_H

#include "relay/setup.h"
#include "smtp/client.h"

struct outbound;

/* What a session goes through, for `doctor` and the debug log. */
#define OUTBOUND_STEPS(X)                                                                          \
    X(RESOLVED, "dns")                                                                             \
    X(CONNECTED, "tcp")                                                                            \
    X(BANNER, "banner")                                                                            \
    X(HELLO, "ehlo")                                                                               \
    X(SECURED, "tls")                                                                              \
    X(HELLO_SECURED, "ehlo_tls")                                                                   \
    X(MECHANISM, "mechanism")                                                                      \
    X(LOGIN, "login")

enum outbound_step {
#define X(name, text) OUTBOUND_##name,
    OUTBOUND_STEPS(X)
#undef X
};

struct outbound_events {
    /* Logged in; messages may be sent. */
    void (*on_ready)(void *user, struct outbound *o);
    /* Reply to a command of smtp/client.h that the owner gave. May be NULL for an idle session. */
    void (*on_reply)(void *user, struct outbound *o, enum smtp_client_command command,
        const struct smtp_reply *reply);
    /* Output that was congested (outbound_is_congested) has room again. May be NULL. */
    void (*on_drain)(void *user, struct outbound *o);
    /* The session is over; the owner must let go of it (pool_put or outbound_free). `reply` is the
     * server's last word when there was one, else NULL. */
    void (*on_lost)(
        void *user, struct outbound *o, const struct err *why, const struct smtp_reply *reply);
    /* A step was done; `detail` is a printable sentence. May be NULL. */
    void (*on_step)(void *user, struct outbound *o, enum outbound_step step, const char *detail);
};

/* Begins to connect to that host of the upstream. Never calls back from inside. NULL when out of
 * memory. */
struct outbound *outbound_new(struct loop *loop, struct setup *setup, size_t host, size_t account,
    const struct outbound_events *events, void *user);
void outbound_set_owner(struct outbound *o, const struct outbound_events *events, void *user);
/* Says QUIT when that is possible, closes, frees. No event comes afterwards. */
void outbound_free(struct outbound *o);
/* Closes at once; for a message that must not be taken as complete. */
void outbound_abort(struct outbound *o);

/* The protocol machine; call outbound_flush after giving it commands. */
struct smtp_client *outbound_client(struct outbound *o);
void outbound_flush(struct outbound *o);
/* As flush, and events that need no new input (BDAT's go-ahead) come now. */
void outbound_poll(struct outbound *o);
/* True: more text should wait for on_drain. */
bool outbound_is_congested(struct outbound *o);
/* True from on_ready to on_lost. */
bool outbound_is_ready(const struct outbound *o);
/* True when the last failure was a refusal of the credential (535 and its like). */
bool outbound_login_was_refused(const struct outbound *o);

const char *outbound_mech(const struct outbound *o);        /* "NTLM", "none" */
const char *outbound_tls_version(const struct outbound *o); /* "TLS1.3", "none" */
const char *outbound_peer(
    const struct outbound *o); /* "192.0.2.1:587", "" before it is connected */
const char *outbound_account_name(const struct outbound *o);
const char *outbound_host(const struct outbound *o); /* its name; the setup's */
size_t outbound_host_index(const struct outbound *o);
uint64_t outbound_began_ms(const struct outbound *o);
/* NULL without TLS or connection. */
struct tls *outbound_tls(struct outbound *o);
/* True when NTLM had to leave the channel bindings out. */
bool outbound_dropped_binding(const struct outbound *o);
/* Messages begun on it so far; the pool counts. */
unsigned outbound_uses(const struct outbound *o);
void outbound_count_use(struct outbound *o);

const char *outbound_step_name(enum outbound_step step);

/* The pool's link and stamp; nobody else touches them. */
struct list *outbound_link(struct outbound *o);
struct outbound *outbound_of_link(struct list *link);
uint64_t outbound_idle_since(const struct outbound *o);
void outbound_set_idle_since(struct outbound *o, uint64_t at_ms);

#endif
