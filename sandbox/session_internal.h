/*
 * What the files of a session share: its state. session.c owns it, runs the machine, the clocks and
 * the connection; dialogue.c answers the machine's events as Exchange would. Nobody else includes
 * this.
 */
#ifndef SUBMITD_SANDBOX_SESSION_INTERNAL_H
#define SUBMITD_SANDBOX_SESSION_INTERNAL_H

#include "sandbox/session.h"
#include "smtp/server.h"

struct session {
    struct list link;
    struct sandbox *box;
    struct conn *conn;
    struct smtp_server *server;
    struct smtp_caps caps; /* announced last */
    struct login login;
    const struct account *account; /* NULL: nobody logged in */
    struct message *message;       /* NULL outside of a transaction */
    uint64_t id;
    uint64_t begun_ms;
    uint64_t heard_ms;   /* when the client last said something */
    uint64_t release_ms; /* --latency: when the output may go; 0: nothing is held */
    uint64_t verdict_ms; /* --tarpit: when the 535 is due; 0: none */
    uint32_t verdict_ticket;
    uint64_t armed_ms; /* the deadline that conn knows; may be earlier than needed */
    uint64_t failures; /* refused logins */
    bool has_data;     /* the transaction came by DATA, not BDAT */
    bool is_impostor;  /* --send-as=dot: to be refused at the end */
    bool wants_tls;    /* behind the 220 that is in the output */
    bool is_securing;  /* the handshake is under way */
    bool is_timed_out; /* the machine was told to end */
    bool is_leaving;   /* close when the output has left */
};

static inline uint64_t session_now_ms(const struct session *s)
{
    return loop_now_ms(s->box->loop);
}

/* session.c: one line on standard error with --trace. */
void session_trace(const struct session *s, const char *text);

/* dialogue.c */
void session_answer(struct session *s, const struct smtp_event *ev);
/* The 535 that --tarpit held back is due. */
void session_give_verdict(struct session *s);
void session_drop_message(struct session *s);

#endif
