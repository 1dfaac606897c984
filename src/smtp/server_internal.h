/*
 * What the files of the server machine share: its state and the steps that change it.
 * server.c runs the machine and ends it, server_input.c reads lines and bodies, server_commands.c
 * knows the commands, server_replies.c keeps answers in order, server_trace.c shows the dialogue.
 * Nobody else includes this.
 */
#ifndef SUBMITD_SMTP_SERVER_INTERNAL_H
#define SUBMITD_SMTP_SERVER_INTERNAL_H

#include "smtp/body.h"
#include "smtp/server.h"

/* Named for what the machine awaits. server_set_state is the only writer. */
enum server_state {
    WANT_HELLO,
    WANT_MAIL,     /* between transactions */
    AWAIT_MAIL,    /* MAIL has an open ticket; RCPTs of the same group may be open, too */
    WANT_RCPT,     /* MAIL was accepted: RCPT, DATA or BDAT */
    WANT_BODY,     /* behind 354 */
    WANT_OCTETS,   /* behind a BDAT line */
    WANT_BDAT,     /* some chunks came, LAST did not */
    AWAIT_VERDICT, /* the message is complete, its ticket is open */
    WANT_AUTH,     /* behind 334 */
    WANT_TLS,      /* behind 220 to STARTTLS */
    CLOSED,        /* SMTP_EV_CLOSE was given */
};

enum progress {
    GO_ON,      /* something changed: look again */
    HAVE_EVENT, /* *ev is set */
    NEED_INPUT,
    BLOCKED, /* a ticket must be answered, the output taken, or TLS be up first */
};

/* One open ticket, or a reply of our own that waits behind one. */
struct slot {
    struct buf reply; /* wire form, when the answer came before its turn */
    uint32_t ticket;
    enum smtp_event_kind kind;
    bool is_answered;
};

/* First in, first out: replies leave in the order of commands (RFC 5321 2.1, RFC 2920 3.2). */
struct slot_queue {
    struct slot *ring; /* heap, NULL while nothing was ever open */
    unsigned cap, head, count;
};

struct refusal {
    unsigned code;
    const char *status, *text;
};

enum {
    SERVER_IDLE_BUFFER = 256, /* octets: a larger buffer is given back as soon as it is empty */
    SERVER_REPLY_MAX = 6 * SMTP_REPLY_MAX, /* wire form: up to five octets more for each line */
};

/* How the session is going to end, once nothing is open any more. */
struct ending {
    struct buf farewell; /* the last reply line, with CRLF; empty: nothing more is said */
    const char *why;     /* for SMTP_EV_CLOSE; NULL: the session goes on */
    bool is_patient;     /* a message that is coming in may finish first */
};

struct smtp_server {
    struct smtp_server_params params;
    enum server_state state;
    uint32_t caps;       /* SMTP_CAP_ bits that this client was told about */
    uint64_t size_limit; /* octets, the smaller of size_max and the announced SIZE; 0: none */
    char *helo;          /* heap; NULL before */
    bool is_esmtp, has_tls, is_authenticated;
    bool is_utf8;         /* this transaction's MAIL said SMTPUTF8 */
    bool is_alone;        /* nothing may come behind the last command until its reply has left */
    bool is_trace_hushed; /* behind AUTH: an unknown line may be a password */
    bool is_out_of_memory;

    /* the line reader */
    struct buf line;   /* without its line end once it is complete */
    bool has_line;     /* a complete line waits to be acted on, `command` or `syntax` is set */
    bool is_line_done; /* the line was acted on: clear it in the next step */
    bool is_line_valid;
    bool is_line_too_long; /* the rest of the line is thrown away */
    struct smtp_command command;
    struct smtp_syntax_error syntax;

    /* the transaction */
    unsigned recipients; /* accepted */
    bool has_refused;    /* a recipient was not accepted */
    struct buf deferral; /* the first 4xx to its MAIL or RCPT, in wire form; empty: none */
    struct buf text;     /* of the last SMTP_EV_BODY */
    uint64_t text_size;
    bool is_too_big, is_body_complete;
    union {
        struct smtp_body_decoder data;
        struct smtp_line_normaliser chunks;
    } body;
    uint64_t chunk_left;                 /* octets of the BDAT chunk that have not come */
    const struct refusal *chunk_refusal; /* the answer when they came; NULL: they are wanted */
    enum server_state behind_chunk;      /* the state to go on with */

    struct slot_queue open;
    uint32_t last_ticket;
    struct buf out;
    struct smtp_event queued; /* a second event of the same command */
    bool has_queued;
    struct ending ending;
    unsigned errors; /* 5xx replies in this session */
    unsigned faults; /* the client's own mistakes since its last accepted message */
    uint64_t born_ms, active_ms, now_ms;
    bool was_active; /* answered or sent since the last step: the idle clock starts again */

    smtp_trace_fn *trace;
    void *trace_user;
};

/* server.c */
void server_set_state(struct smtp_server *s, enum server_state state);
/* The session ends when every open ticket was answered; the first reason given stays. */
void server_end(struct smtp_server *s, const struct refusal *farewell, const char *why);
/* Queues behind the event that the caller returns. */
void server_queue_event(struct smtp_server *s, struct smtp_event ev);
/* The transaction is over; nothing of it is kept. */
void server_forget_transaction(struct smtp_server *s);

/* server_replies.c */
uint32_t server_open_ticket(struct smtp_server *s, enum smtp_event_kind kind);
/* Our own reply, in its turn. `status` may be NULL. */
void server_say(struct smtp_server *s, unsigned code, const char *status, const char *text);
/* The same with the reply that is kept in `deferral`. */
void server_say_deferral(struct smtp_server *s);
/* The same, and it counts against errors_max. */
void server_refuse(struct smtp_server *s, const struct refusal *r);
void server_say_farewell(struct smtp_server *s);
bool server_add_line(struct buf *out, unsigned code, const char *status, const char *text);
void server_free_slots(struct smtp_server *s);

/* server_input.c */
enum progress server_take_command(struct smtp_server *s, struct slice *in, struct smtp_event *ev);
enum progress server_take_auth_line(struct smtp_server *s, struct slice *in, struct smtp_event *ev);
enum progress server_take_body(struct smtp_server *s, struct slice *in, struct smtp_event *ev);
enum progress server_take_octets(struct smtp_server *s, struct slice *in, struct smtp_event *ev);
/* True: input came before its turn, and the session is going to end. */
bool server_is_early(struct smtp_server *s, struct slice in);
/* The line that was acted on is forgotten, and wiped: it may have been part of a login. */
void server_drop_line(struct smtp_server *s);
/* The message starts: behind 354, or with the first chunk. */
void server_start_data(struct smtp_server *s);
void server_start_chunks(struct smtp_server *s);

/* server_commands.c */
/* True when the line at hand can be acted on only after earlier commands were answered. */
bool server_line_must_wait(const struct smtp_server *s);
enum progress server_run_line(struct smtp_server *s, struct smtp_event *ev);
/* What the owner's answer to a ticket of that kind means. */
void server_answered(struct smtp_server *s, enum smtp_event_kind kind, unsigned code);
/* A mistake of the client's; the session ends at errors_max of them. */
void server_count_fault(struct smtp_server *s);
bool server_may_pipeline(const struct smtp_server *s);

/* server_trace.c */
void server_trace_command(struct smtp_server *s);
void server_trace_auth_line(struct smtp_server *s);
void server_trace_sent(struct smtp_server *s, size_t from);

#endif
