/*
 * Inside of relay/transaction: the struct and what its files call in each other. transaction.c has
 * its life and the client's side, transaction_upstream.c the session's side, transaction_rest.c
 * what a client's silence leads to, transaction_verdict.c answers, log lines and ends,
 * transaction_keep.c the way into the spool. Nobody else includes this.
 */
#ifndef SUBMITD_RELAY_TRANSACTION_INTERNAL_H
#define SUBMITD_RELAY_TRANSACTION_INTERNAL_H

#include "ops/log.h"
#include "relay/reason.h"
#include "relay/transaction.h"
#include "smtp/header.h"
#include "spool/store.h"

enum transaction_phase {
    WANT_SESSION,  /* the pool looks for one: there is a RCPT, or DATA after a rest */
    WANT_VERDICTS, /* MAIL and the RCPTs so far went out together */
    RESTING, /* no session is held: before the first RCPT, and when a client is silent behind it */
    WANT_GO_AHEAD, /* DATA's 354 */
    WANT_TEXT,     /* the client sends */
    WANT_FINAL,    /* everything was sent, the upstream has the word */
    KEEP_ENVELOPE, /* without the upstream: we accept for the spool */
    KEEP_TEXT,     /* the client sends, for the spool only */
    WANT_COMMIT,   /* the spool has the word */
    FAILED,        /* our trouble: every ticket gets `reason` */
    FINISHED,      /* the verdict was given; or nothing was left to send */
};

struct recipient {
    char *mailbox, *notify, *orcpt;
    uint32_t ticket; /* 0 once answered */
    bool is_accepted;
};

struct transaction {
    struct loop *loop;
    struct setup *setup;
    struct pool *pool;
    struct pool_wait *wait;
    struct outbound *session;
    bool was_reused;    /* the session had carried messages before */
    bool is_said_again; /* the envelope, after a rest: part of it was answered before */
    bool has_answers;   /* the upstream answered something of this message */
    const struct transaction_events *events; /* NULL: abandoned */
    void *user;
    bool is_client_gone; /* perhaps: transaction_client_left */
    enum transaction_phase phase;
    unsigned depth; /* calls of ours on the stack: freeing waits for them */
    char id[TRANSACTION_ID_SIZE];
    uint64_t began_ms;
    uint64_t touched_ms; /* when the client or the upstream last did something for it */
    struct ip_addr client;
    char client_literal[IP_TEXT_MAX + 8];
    char *helo;
    const char *protocol; /* static */
    char *sender;         /* as the client gave it */
    char *envelope_from;  /* what the upstream gets: force_sender or the sender */
    char *ret, *envid;
    struct smtp_mail mail; /* its slices point into the strings above */
    uint32_t mail_ticket;
    struct smtp_reply mail_refusal; /* the upstream's, code 0: none; what every RCPT hears then */
    struct recipient *rcpts;
    size_t rcpt_count, rcpt_room, rcpts_sent, rcpts_answered, rcpts_accepted;
    uint32_t data_ticket, end_ticket;
    bool has_filter;
    struct smtp_header_filter filter;
    bool is_text_dropped; /* a verdict came early, or we refuse: the client's text goes nowhere */
    struct buf text;
    uint64_t text_size;
    bool is_repaired;
    struct smtp_reply early; /* a verdict that came before the client had sent all */
    struct reason reason;    /* FAILED, or our own refusal of the text */
    bool has_reason;
    struct delivery *delivery;   /* NULL: there is no spool */
    struct store_writer *writer; /* a copy of the text, for the spool; NULL without */
    char kept_why[ERR_TEXT_MAX]; /* why the upstream could not have it; "" in queue mode */
    bool is_uncertain;
    char empty[1];
};

/* Around everything that may call out: a transaction that is let go of meanwhile is freed at the
 * last leave. */
void tx_enter(struct transaction *t);
void tx_leave(struct transaction *t);
/* The only writer of `phase`. */
void tx_set_phase(struct transaction *t, enum transaction_phase phase);
uint64_t tx_now(const struct transaction *t);

/* Each answers *ticket, if it is still open, and marks it answered. */
void tx_answer(
    struct transaction *t, uint32_t *ticket, unsigned code, const char *status, const char *text);
void tx_answer_reason(struct transaction *t, uint32_t *ticket);
/* The upstream's own words, unless they are about our session and not about the message. */
void tx_answer_as(struct transaction *t, uint32_t *ticket, const struct smtp_reply *reply);
void tx_tell_drained(struct transaction *t);

/* One line per message. `reply` is what the upstream said, or what we said in its place. */
void tx_log_message(const struct transaction *t, enum log_level level, const char *event,
    const char *reply, const char *reason);
void tx_log_reply(const struct transaction *t, enum log_level level, const char *event,
    const struct smtp_reply *reply);
void tx_log_refused(const struct transaction *t, const char *command, const char *mailbox,
    const struct smtp_reply *reply);

void tx_set_reason(struct transaction *t, unsigned code, const char *status, const char *text);
void tx_give_session_back(struct transaction *t, bool is_abort);
/* The verdict is known; commands that still come hear that it is over. */
void tx_finish(struct transaction *t);
/* Our own trouble: whoever waits hears the reason, and whoever asks later does, too. */
void tx_fail(struct transaction *t, const struct err *why);
/* We refuse the text ourselves; the client hears it at the end of its text. */
void tx_refuse_text(struct transaction *t, unsigned code, const char *status, const char *text);

/* transaction_keep.c: the way into the spool. */
bool tx_is_queue_mode(const struct transaction *t);
/* True when our trouble need not be the client's. */
bool tx_can_keep(const struct transaction *t);
/* Goes on without the upstream. `why` NULL: queue mode. */
void tx_keep(struct transaction *t, const struct err *why, bool is_uncertain);
/* True when the reply is about our session and the message is kept instead. */
bool tx_keep_if_about_us(struct transaction *t, const struct smtp_reply *reply);
void tx_keep_rcpt(struct transaction *t, struct recipient *r);
void tx_keep_data(struct transaction *t);
void tx_commit(struct transaction *t);
/* False when out of memory; true, too, when no copy is wanted. */
bool tx_open_writer(struct transaction *t);
void tx_discard_text(struct transaction *t);

/* A session is there again after a rest, and the envelope said once more has its answers. */
void tx_go_on_with_data(struct transaction *t);
/* What the client was told is not true any more: the upstream refuses what it had accepted. */
void tx_take_word_back(struct transaction *t, const struct smtp_reply *reply);
size_t tx_count_accepted(const struct transaction *t);

/* The filter is set up, the text may come; `phase` is WANT_TEXT or KEEP_TEXT. */
void tx_begin_text(struct transaction *t, enum transaction_phase phase);
/* An idle session, or the pool's next one. */
void tx_take_session(struct transaction *t);
void tx_send_rcpts(struct transaction *t);

#endif
