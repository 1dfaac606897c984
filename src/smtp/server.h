/*
 * The server side of an SMTP session as a machine without I/O (RFC 5321, 2920, 1870, 6152, 3461,
 * 6531, and for the sandbox 3207, 4954, 3030). It is given bytes and the time, returns events, and
 * holds the replies until its owner takes them. The owner (a client connection) creates and frees
 * it. It never decides about senders, recipients or messages: each such event has a ticket, and the
 * owner answers it with one reply, at once or later.
 *
 * Only MAIL and RCPT can be open several at a time (RFC 2920: they may stand anywhere in a group);
 * every other command is taken up when all earlier ones are answered. Replies leave in the order of
 * commands, whatever the order of the answers.
 *
 * Input that comes before its turn (before the banner; behind EHLO, HELO, DATA, VRFY, EXPN, NOOP,
 * QUIT, STARTTLS or AUTH before that reply was taken by smtp_server_output; behind anything when
 * the client said HELO or PIPELINING was not announced) ends the session: 554 5.5.0. Tickets that
 * are open then still want their answers, because a verdict on a message must be true whatever the
 * client sent too early.
 *
 * EHLO or HELO is needed before MAIL (RFC 5321 4.1.4; Exchange insists on it, too). Command lines
 * may end in a bare LF; the end of a message never does.
 */
#ifndef SUBMITD_SMTP_SERVER_H
#define SUBMITD_SMTP_SERVER_H

#include "smtp/caps.h"
#include "smtp/command.h"
#include "smtp/reply.h"

struct smtp_server;

enum {
    SMTP_COMMAND_LINE_MAX = 2048, /* octets with CRLF: 512 (RFC 5321) and what extensions add */
    SMTP_AUTH_LINE_MAX = 12288,   /* octets with CRLF, RFC 4954 4 */
    SMTP_OPEN_COMMANDS_MAX = 128, /* MAIL and RCPT waiting for an answer; then input waits */
    SMTP_BODY_EVENT_MAX = 65536,  /* octets of text in one SMTP_EV_BODY */
};

struct smtp_server_params {
    const char *hostname;    /* for the banner and EHLO; borrowed for the machine's life */
    const char *software;    /* behind "ESMTP " in the banner; borrowed; NULL: nothing */
    unsigned recipients_max; /* per message; the surplus gets 452 4.5.3; 0: no limit */
    /*
     * Commands that the machine refused and logins that failed since the last accepted message,
     * then 421 4.7.0; 0: no limit. The owner's verdicts do not count: dead addresses must not end a
     * session.
     */
    unsigned errors_max;
    uint64_t size_max;         /* octets of one message; 0: no limit */
    uint64_t idle_timeout_ms;  /* waiting for the client; RFC 5321 4.5.3.2.7: 5 minutes */
    uint64_t total_timeout_ms; /* life of the session, checked between transactions; 0: none */
    bool require_tls;          /* sandbox: 530 5.7.0 to MAIL before STARTTLS */
    bool require_auth;         /* sandbox: 530 5.7.57 to MAIL before AUTH */
};

enum smtp_event_kind {
    SMTP_EV_HELLO,    /* ticket: answer with smtp_server_hello */
    SMTP_EV_MAIL,     /* ticket: 250 opens the transaction */
    SMTP_EV_RCPT,     /* ticket */
    SMTP_EV_DATA,     /* ticket: 354 lets the message come. BDAT: no event of this kind */
    SMTP_EV_BODY,     /* `text`: canonical message text, valid until the next step */
    SMTP_EV_BODY_END, /* ticket: the verdict on the message; `text_size` is its size */
    SMTP_EV_RESET,    /* no ticket: RSET, EHLO or STARTTLS ended the transaction, or the MAIL behind
                       * one whose recipients were all refused */
    SMTP_EV_STARTTLS, /* 220 is in the output; when it is sent run TLS, then smtp_server_secured */
    SMTP_EV_AUTH, /* ticket: `text`, `response`; answer 334 by smtp_server_challenge, or reply */
    SMTP_EV_AUTH_DATA, /* ticket: `response`, base64 as sent. "*" is answered 501, no event */
    /* The last event: send the output, then close. `why` is static, for the log. A transaction that
     * is open is over, without another event. */
    SMTP_EV_CLOSE,
};

struct smtp_event {
    enum smtp_event_kind kind;
    uint32_t ticket;
    struct slice text;     /* BODY: text; HELLO: the client's name; AUTH: the mechanism as sent */
    struct slice response; /* AUTH: initial response ("=" is the empty one), AUTH_DATA: the line */
    bool is_ehlo;          /* HELLO */
    bool is_too_big;       /* BODY_END: more than size_max came; 552 5.3.4 was answered already, the
                              ticket is 0 and the message must not be sent on */
    bool is_repaired;      /* BODY_END: bare CR or LF were replaced */
    uint64_t text_size;    /* BODY_END: octets of canonical text */
    const struct smtp_mail *mail; /* MAIL; slices valid until the next step */
    const struct smtp_rcpt *rcpt; /* RCPT */
    const char *why;              /* CLOSE: "quit", "idle timeout", "too many errors", ... */
};

enum smtp_server_status {
    SMTP_SERVER_MORE,  /* all input was taken */
    SMTP_SERVER_EVENT, /* *ev is set; call again, also with no input */
    SMTP_SERVER_WAIT,  /* no input until a ticket is answered, the output is taken, or TLS is up */
};

/* The banner is in the output from the start. NULL when out of memory. */
struct smtp_server *smtp_server_new(const struct smtp_server_params *params, uint64_t now_ms);
void smtp_server_free(struct smtp_server *s);

/*
 * Takes bytes off the front of *in. Partial lines are kept inside, whatever else it does not take
 * must be offered again. The owner calls it when bytes arrive, after each answer, and at the
 * deadline.
 */
enum smtp_server_status smtp_server_step(
    struct smtp_server *s, struct slice *in, struct smtp_event *ev, uint64_t now_ms);

/*
 * Answers a ticket. `status` as "2.1.0", NULL for none (354, HELO). `text` one line without CR LF.
 * A 421 ends the session behind it (RFC 5321 3.8). Answers to tickets that are not open are
 * ignored: SMTP_EV_CLOSE may have come meanwhile.
 */
void smtp_server_reply(
    struct smtp_server *s, uint32_t ticket, unsigned code, const char *status, const char *text);
/* Answers with another server's words, code and all lines. */
void smtp_server_reply_as(struct smtp_server *s, uint32_t ticket, const struct smtp_reply *reply);
/* Answers SMTP_EV_HELLO with 250 and what is announced; these bits govern parsing from now on. SIZE
 * lowers the limit when it is below size_max. */
void smtp_server_hello(struct smtp_server *s, uint32_t ticket, const struct smtp_caps *caps);
/* Answers SMTP_EV_AUTH or AUTH_DATA with 334 and base64 text. */
void smtp_server_challenge(struct smtp_server *s, uint32_t ticket, struct slice base64);
/* TLS is up: everything the client said before is forgotten (RFC 3207 4.2). */
void smtp_server_secured(struct smtp_server *s);
/* AUTH ended well; the 235 reply is given as usual. */
void smtp_server_authenticated(struct smtp_server *s);
/* The machine answers 421 (RFC 5321 3.8) when no ticket is open and ends with SMTP_EV_CLOSE; a
 * message that is coming in gets its verdict first. Call step afterwards. */
void smtp_server_shut_down(struct smtp_server *s, const char *status, const char *text);

/* Replies that wait to be sent; valid until the next call. Taking counts as having been sent. */
struct slice smtp_server_output(const struct smtp_server *s);
void smtp_server_sent(struct smtp_server *s, size_t n);

/* When to call step again with nothing new, in the clock of now_ms; 0: no deadline runs. An owner
 * that holds the client's input back itself (its upstream is slow) must not take that for the
 * client's silence. */
uint64_t smtp_server_deadline(const struct smtp_server *s);
/* True between an accepted MAIL and its end. */
bool smtp_server_in_transaction(const struct smtp_server *s);
/* The client's name from EHLO or HELO, "" before; "ESMTP", "SMTP"... for the Received line. */
const char *smtp_server_helo(const struct smtp_server *s);
const char *smtp_server_protocol(const struct smtp_server *s);
/* 5xx replies so far, whoever gave them, for the session's log line. */
unsigned smtp_server_errors(const struct smtp_server *s);

/* Called with each line of the dialogue, without CRLF, message bodies left out and AUTH exchanges
 * replaced; NULL switches it off. */
typedef void smtp_trace_fn(void *user, bool is_sent, struct slice line);
void smtp_server_trace(struct smtp_server *s, smtp_trace_fn *fn, void *user);

#endif
