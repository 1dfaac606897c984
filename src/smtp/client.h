/*
 * The client side of an SMTP session as a machine without I/O (RFC 5321, 3207, 4954, 2920, 3030).
 * It is given the server's bytes and the time, returns events, and holds what is to be sent until
 * its owner (an upstream session) takes it. It greets, says EHLO (HELO when EHLO is refused),
 * upgrades with STARTTLS and says EHLO again; then the owner logs in and sends messages through it.
 * It never sends a credential unless the owner said that TLS is up or that plain text is allowed.
 *
 * Commands queue inside: with PIPELINING they go out at once, without it one at a time. Every
 * queued command brings exactly one SMTP_CL_REPLY, in order, or the session ends with
 * SMTP_CL_FAILED. A reply of 421 brings both: the command's REPLY, then FAILED. Behind FAILED and
 * the reply to QUIT nothing is taken any more and no event comes.
 */
#ifndef SUBMITD_SMTP_CLIENT_H
#define SUBMITD_SMTP_CLIENT_H

#include "smtp/caps.h"
#include "smtp/command.h"
#include "smtp/reply.h"
#include "smtp/server.h" /* smtp_trace_fn */

struct smtp_client;

/* Octets of one BDAT. As much text may wait in the machine until there is more of it or its end: an
 * owner that waits for smtp_client_pending to fall must not wait for less. */
enum { SMTP_CLIENT_CHUNK_SIZE = 131072 };

enum smtp_client_tls {
    SMTP_CLIENT_STARTTLS, /* mandatory: no STARTTLS, no session */
    SMTP_CLIENT_IMPLICIT, /* the owner ran TLS before the first byte */
    SMTP_CLIENT_PLAIN,    /* no TLS; the owner makes sure that the peer is on loopback */
};

struct smtp_client_params {
    const char *hostname; /* EHLO argument; borrowed for the machine's life */
    enum smtp_client_tls tls;
    bool use_chunking; /* BDAT when it is announced */
    /* Longest waits in ms, RFC 5321 4.5.3.2; 0: the RFC's value. */
    uint64_t command_timeout_ms; /* banner, EHLO, MAIL, RCPT, AUTH: 5 minutes */
    uint64_t data_timeout_ms;    /* between body blocks: 3 minutes */
    uint64_t final_timeout_ms;   /* the reply to the end of data: 10 minutes */
};

#define SMTP_CLIENT_COMMANDS(X) X(AUTH) X(MAIL) X(RCPT) X(DATA) X(MESSAGE) X(RSET) X(NOOP) X(QUIT)

enum smtp_client_command {
#define X(name) SMTP_CLIENT_##name,
    SMTP_CLIENT_COMMANDS(X)
#undef X
};

enum smtp_client_event_kind {
    SMTP_CL_BANNER,    /* `reply`: the 220 */
    SMTP_CL_HELLO,     /* EHLO accepted, caps are valid: before TLS (is_final false) and for good */
    SMTP_CL_START_TLS, /* 220 to STARTTLS and nothing behind it: handshake now, then _secured */
    SMTP_CL_CHALLENGE, /* `text`: behind "334 ", as sent, may be no base64 ("NTLM supported") */
    SMTP_CL_REPLY,     /* `command`, `reply`. DATA: 354 also when BDAT needs no reply */
    SMTP_CL_FAILED,    /* last event: `err` says why; close the connection */
};

struct smtp_client_event {
    enum smtp_client_event_kind kind;
    enum smtp_client_command command;
    bool is_final; /* HELLO: no STARTTLS follows, the session can be used */
    struct slice text;
    /* Valid until the next step. FAILED: the refusal, NULL when the server said none. */
    const struct smtp_reply *reply;
    const struct err *err;
};

enum smtp_client_status { SMTP_CLIENT_MORE, SMTP_CLIENT_EVENT };

struct smtp_client *smtp_client_new(const struct smtp_client_params *params, uint64_t now_ms);
void smtp_client_free(struct smtp_client *c);

/*
 * Takes bytes off the front of *in; call it until MORE. Failures are events: bytes behind
 * STARTTLS's 220 (response injection), STARTTLS not offered, a reply that is none, one that nobody
 * asked for (a 421 between commands is "the server closes"), a timeout. Call it with no input, too,
 * after commands were given (an event may be there without any), at the deadline, and before output
 * is taken late.
 */
enum smtp_client_status smtp_client_step(
    struct smtp_client *c, struct slice *in, struct smtp_client_event *ev, uint64_t now_ms);
/* TLS is up: what was learned before is forgotten, EHLO is sent again. */
void smtp_client_secured(struct smtp_client *c, uint64_t now_ms);

const struct smtp_caps *smtp_client_caps(const struct smtp_client *c);
/* The capabilities seen before STARTTLS, for `doctor`; empty without STARTTLS. */
const struct smtp_caps *smtp_client_caps_before_tls(const struct smtp_client *c);

/* `initial`: raw bytes for the initial response; p == NULL: none. Not shown in traces. */
void smtp_client_auth(
    struct smtp_client *c, const char *mech, struct slice initial, uint64_t now_ms);
/* The answer to a challenge, raw bytes. */
void smtp_client_auth_answer(struct smtp_client *c, struct slice response, uint64_t now_ms);
/* Sends "*"; the AUTH command's reply still comes. */
void smtp_client_auth_cancel(struct smtp_client *c, uint64_t now_ms);

/*
 * Parameters of extensions that the server has not announced are left out (SMTPUTF8 must be checked
 * by the owner: without it the message cannot go), so give commands after HELLO with is_final.
 * AUTH= is never sent. An argument with a control byte is not sent: its REPLY is a 501 of our own.
 */
void smtp_client_mail(struct smtp_client *c, const struct smtp_mail *mail, uint64_t now_ms);
void smtp_client_rcpt(struct smtp_client *c, const struct smtp_rcpt *rcpt, uint64_t now_ms);
/* True when messages go with BDAT. */
bool smtp_client_uses_bdat(const struct smtp_client *c);
/* Asks to send the message. After the 354 event: body..., then body_end, and the MESSAGE reply
 * comes. Any other reply to DATA brings no MESSAGE; then the owner sends RSET. With BDAT the 354
 * comes from here, once all earlier commands have their replies, and after a refused BDAT the
 * machine sends RSET by itself. */
void smtp_client_data(struct smtp_client *c, uint64_t now_ms);
/* Canonical text, any pieces. It is copied: the owner watches smtp_client_pending. Dropped when the
 * verdict came early. */
void smtp_client_body(struct smtp_client *c, struct slice text, uint64_t now_ms);
void smtp_client_body_end(struct smtp_client *c, uint64_t now_ms);
/*
 * Gives the message up before body_end. True: the session is still good, RSET was queued if the
 * message had begun; neither it nor the message brings an event now. False: DATA cannot be taken
 * back, the owner must close the connection without another byte.
 */
bool smtp_client_body_abort(struct smtp_client *c, uint64_t now_ms);
void smtp_client_rset(struct smtp_client *c, uint64_t now_ms);
void smtp_client_noop(struct smtp_client *c, uint64_t now_ms);
void smtp_client_quit(struct smtp_client *c, uint64_t now_ms);

/* Commands whose replies have not come yet; from the 354 to its verdict a message is one. */
unsigned smtp_client_open_commands(const struct smtp_client *c);
struct slice smtp_client_output(const struct smtp_client *c);
/* Report only what the connection really takes: output that does not shrink is what the timeout
 * between body blocks measures. It counts as sent at the time of the last call that told one. */
void smtp_client_sent(struct smtp_client *c, size_t n);
/* Octets held: the output, and text that waits for replies to earlier chunks. */
size_t smtp_client_pending(const struct smtp_client *c);
uint64_t smtp_client_deadline(const struct smtp_client *c);
/* An answer that the server gives before the end of data is final: MESSAGE comes early and the
 * connection must be closed afterwards when DATA is used. True then. */
bool smtp_client_is_spoiled(const struct smtp_client *c);
/* As in smtp/server.h; AUTH's lines are "AUTH NTLM [redacted]", "334 [redacted]", "[redacted]". */
void smtp_client_trace(struct smtp_client *c, smtp_trace_fn *fn, void *user);

#endif
