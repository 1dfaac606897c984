/*
 * What the files of the client machine share: its struct, the queue of commands, the way from one
 * state to the next. client.c owns the struct and decides the order; client_session.c,
 * client_mail.c and client_body.c do the work of their part of the dialogue. Nobody outside
 * src/smtp/client*.c includes this.
 */
#ifndef SUBMITD_SMTP_CLIENT_INTERNAL_H
#define SUBMITD_SMTP_CLIENT_INTERNAL_H

#include "base/list.h"
#include "smtp/body.h"
#include "smtp/client.h"

enum {
    /* The owner stops at a few hundred KB; what comes near this limit is a fault of ours. */
    SMTPC_OUTPUT_MAX = 16 * 1024 * 1024,
    SMTPC_CHUNKS_MAX = 8, /* BDATs without a reply; 1 MB under way fills any line to an Exchange */
    SMTPC_LOGIN_MAX = 65536, /* octets of one base64 login line that we remember */
};

/* What is awaited, and the words for a timeout. */
#define SMTPC_STATES(X)                                                                            \
    X(EXPECT_BANNER, "no banner")                                                                  \
    X(EXPECT_EHLO, "no reply to EHLO")                                                             \
    X(EXPECT_HELO, "no reply to HELO")                                                             \
    X(EXPECT_STARTTLS, "no reply to STARTTLS")                                                     \
    X(TLS_HANDSHAKE, "no end of the TLS handshake")                                                \
    X(READY, "no reply") /* to the oldest command in the queue, if there is one */                 \
    X(EXPECT_AUTH, "no reply to AUTH")                                                             \
    X(WANT_AUTH_ANSWER, "no answer to the challenge")      /* the owner computes it */             \
    X(WANT_BODY, "the server took no more of the message") /* the owner brings the message */      \
    X(SPOILED, "no end of the session") /* DATA was answered early: not one more byte may go */    \
    X(OVER, "no end of the session")    /* after QUIT or FAILED */

enum smtpc_state {
#define X(name, awaits) SMTPC_##name,
    SMTPC_STATES(X)
#undef X
};
enum { SMTPC_STATE_COUNT = SMTPC_OVER + 1 };

/* A command from the moment the owner asked for it until its reply. */
struct smtpc_command {
    struct list link;
    enum smtp_client_command kind;
    bool is_chunk;          /* a BDAT before the last; it stands in front of its MESSAGE */
    bool is_hidden;         /* our own, or of a message that has its verdict: brings no event */
    bool is_sent;           /* is in the output or was */
    bool is_alone;          /* nothing may be sent behind it before its reply */
    unsigned local_code;    /* not 0: never sent, answered by ourselves with this... */
    const char *local_text; /* ...and this; static */
    uint64_t end;    /* the value of `sent_total` at which the server can have seen all of it */
    struct buf line; /* with CRLF; a login is in it; given back when sent */
    size_t shown;    /* octets of `line` that a trace may show */
};

enum smtpc_body_mode {
    SMTPC_BODY_NONE,   /* no message, or its verdict is known: text of the owner is dropped */
    SMTPC_BODY_DOTS,   /* DATA */
    SMTPC_BODY_CHUNKS, /* BDAT */
};

struct smtpc_body {
    enum smtpc_body_mode mode;
    bool is_ended; /* smtp_client_body_end was called */
    struct smtp_body_encoder encoder;
    struct buf text;      /* BDAT: what is in no chunk yet */
    unsigned chunks_open; /* BDATs before the last one whose replies have not come */
};

struct smtp_client {
    struct smtp_client_params params;
    enum smtpc_state state; /* written by smtpc_set_state only */
    bool needs_tls;         /* STARTTLS is mandatory and has not happened yet */

    struct smtp_reply_parser parser;
    struct smtp_reply local_reply; /* the reply of an event that the server did not send */
    struct smtp_caps caps, caps_before_tls;

    struct list queue; /* struct smtpc_command, oldest first; the ones sent stand in front */
    struct smtpc_body body;
    struct buf login; /* the last login line, to find it in a reply that repeats it */

    struct buf out;
    uint64_t sent_total; /* octets that the owner took, ever */

    uint64_t now_ms;    /* the latest time we were told */
    uint64_t since_ms;  /* the deadline counts from here */
    bool is_now_fresh;  /* no octets left since `now_ms` was told */
    bool made_progress; /* octets left later than that, we do not know when */

    bool has_failure; /* `failure` is still to be told */
    bool failure_has_reply;
    struct err failure;

    smtp_trace_fn *trace;
    void *trace_user;
};

/* A handler of one reply (c->parser.reply). `rest` is the input behind it. True: *ev is set. */
typedef bool smtpc_reply_fn(struct smtp_client *c, struct slice rest, struct smtp_client_event *ev);

/* client.c */
void smtpc_set_state(struct smtp_client *c, enum smtpc_state state);
/* The session ends: output is dropped, FAILED comes with the next step. Always returns false. */
bool smtpc_fail(struct smtp_client *c, enum err_kind kind, const char *fmt, ...)
    FORMAT_LIKE_PRINTF(3, 4);
/* The same with ": " and the server's reply behind `what`; the event shows the reply, too. */
bool smtpc_fail_reply(struct smtp_client *c, enum err_kind kind, const char *what);
bool smtpc_fail_memory(struct smtp_client *c);
/* 421 ends the session after the event of the command it answers (RFC 5321 3.8, 4.2.2). */
void smtpc_end_if_closing(struct smtp_client *c);
/* Sets *ev to a REPLY with the reply that the parser holds. Always returns true. */
bool smtpc_event_reply(
    struct smtp_client *c, enum smtp_client_command command, struct smtp_client_event *ev);
/* Adds a line that holds no secret (without CRLF) to the output and the trace. */
void smtpc_send_line(struct smtp_client *c, const char *line);
void smtpc_trace_line(struct smtp_client *c, bool is_sent, struct slice line);

/* True when the next step has an event without any input. */
bool smtpc_has_pending(const struct smtp_client *c);

/* client_clock.c */
/* Every entrance calls it first: learns the time and sets the start of the wait. */
void smtpc_tick(struct smtp_client *c, uint64_t now_ms);
void smtpc_check_deadline(struct smtp_client *c);

/* client_session.c */
smtpc_reply_fn smtpc_on_banner, smtpc_on_ehlo, smtpc_on_helo, smtpc_on_starttls;
smtpc_reply_fn smtpc_on_auth, smtpc_on_early_auth;
/* Replaces the text of a reply that repeats our login line. */
void smtpc_hide_login(struct smtp_client *c);

/* client_mail.c */
smtpc_reply_fn smtpc_on_reply;
/* An empty command at the end of the queue; NULL when the session is over or memory ran out. */
struct smtpc_command *smtpc_command_add(struct smtp_client *c, enum smtp_client_command kind);
void smtpc_command_drop(struct smtpc_command *cmd);
struct smtpc_command *smtpc_head(const struct smtp_client *c);
/* True when all of `cmd` has left: a reply can be meant for it. */
bool smtpc_has_left(const struct smtp_client *c, const struct smtpc_command *cmd);
/* The command is in the output from now on. */
void smtpc_mark_sent(struct smtp_client *c, struct smtpc_command *cmd);
/* Sends as many commands as the rules of pipelining let go. */
void smtpc_pump(struct smtp_client *c);
/* Answers the oldest command when that is our own business. True: *ev is set. */
bool smtpc_answer_locally(struct smtp_client *c, struct smtp_client_event *ev);
bool smtpc_has_local_answer(const struct smtp_client *c);
/* A reply that belongs to nothing we sent. Always returns false. */
bool smtpc_unsolicited(struct smtp_client *c);

/* client_body.c */
smtpc_reply_fn smtpc_on_reply_during_body;
/* The 354 is here, or none is needed: `cmd` (DATA) becomes its own MESSAGE. */
void smtpc_body_begin(struct smtp_client *c, struct smtpc_command *cmd, enum smtpc_body_mode mode);
/* The reply to a BDAT before the last. */
bool smtpc_on_chunk_reply(struct smtp_client *c, struct smtp_client_event *ev);
/* A refused BDAT leaves a transaction that only RSET clears (RFC 3030 2). */
void smtpc_reset_behind(struct smtp_client *c, struct smtpc_command *message);
/* A refusal before all of the message has left. */
bool smtpc_early_verdict(struct smtp_client *c, struct smtp_client_event *ev);

#endif
