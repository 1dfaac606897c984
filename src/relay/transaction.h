/*
 * One message on its way: takes the client's MAIL, RCPT and text, carries them over an upstream
 * session, and gives the upstream's own replies back as verdicts. MAIL it answers by itself, at
 * once (RFC 5321 3.3); what the upstream says to the sender is the answer to the recipients. Every
 * ticket it is given is answered exactly once, sooner or later, through its events. A client
 * connection makes it and lets go of it with transaction_abandon; once the whole message is at the
 * upstream, or at the spool, it lives on by itself until the verdict is logged. It never answers a
 * local problem with 5xx, and never lets a half message look whole.
 */
#ifndef SUBMITD_RELAY_TRANSACTION_H
#define SUBMITD_RELAY_TRANSACTION_H

#include "relay/pool.h"
#include "smtp/command.h"

struct delivery;
struct transaction;

enum {
    TRANSACTION_ID_SIZE = 17,
    TRANSACTION_REFUSED_MAX = 1000, /* recipients of one message; each refused one takes memory */
};

struct transaction_events {
    void (*on_reply)(
        void *user, uint32_t ticket, unsigned code, const char *status, const char *text);
    void (*on_reply_as)(void *user, uint32_t ticket, const struct smtp_reply *reply);
    /* transaction_is_congested turned false. */
    void (*on_drain)(void *user);
};

/* Who sends; copied. */
struct transaction_client {
    const struct ip_addr *addr;
    const char *helo;     /* EHLO argument */
    const char *protocol; /* "ESMTP" */
};

/* Takes a reference to `setup`. `delivery` NULL: no spool. NULL when out of memory. */
struct transaction *transaction_new(struct loop *loop, struct setup *setup,
    struct delivery *delivery, const struct transaction_client *client,
    const struct smtp_mail *mail, uint32_t ticket, const struct transaction_events *events,
    void *user);
/* MAIL's ticket is answered before this returns: 250, or why there is no account for it. No session
 * is taken before the first RCPT. */
void transaction_start(struct transaction *t);
/* No event comes afterwards; whatever can be taken back is. */
void transaction_abandon(struct transaction *t, const char *why);
/*
 * The client ended its half of the connection, or is gone: nobody knows. True: the whole message is
 * under way, and the verdict still comes. If there is none the message is not kept, because a
 * client that heard nothing sends it again. False: there is nothing to wait for.
 */
bool transaction_client_left(struct transaction *t);
/* submitd ends: as abandon, but nothing lives on. The store must run no more callbacks. */
void transaction_cut(struct transaction *t, const char *why);

/* False: out of memory, the ticket was not taken. */
bool transaction_rcpt(struct transaction *t, const struct smtp_rcpt *rcpt, uint32_t ticket);
void transaction_data(struct transaction *t, uint32_t ticket);
void transaction_body(struct transaction *t, struct slice text);
/* The text is complete: `text_size` octets came from the client; the verdict answers `ticket`. */
void transaction_end(struct transaction *t, uint32_t ticket, uint64_t text_size, bool is_repaired);
/* The text was too big and the client has its 552 already. */
void transaction_refuse_size(struct transaction *t, uint64_t text_size);

/* When transaction_tick wants to be called although nothing happens; 0: never. It changes with
 * every call and event. */
uint64_t transaction_deadline(struct transaction *t);
/* A client that is silent between commands gives its session back and gets another when it goes on;
 * within the text it does so when others wait, and the spool takes the rest. */
void transaction_tick(struct transaction *t);

/* True: hold the text back until on_drain. */
bool transaction_is_congested(const struct transaction *t);
/* Nothing is under way any more: the verdict is given, or the upstream refused MAIL and with it
 * every RCPT. Who asks later hears the same. */
bool transaction_is_over(const struct transaction *t);
const char *transaction_id(const struct transaction *t);

#endif
