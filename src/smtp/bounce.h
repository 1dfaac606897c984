/*
 * A delivery status notification (RFC 3464, in the multipart/report of RFC 6522): the message that
 * tells a sender who did not get his. A pure function from facts to a whole message; the slices
 * stay the caller's. It never decides who gets a report, reads no clock, and whatever the facts
 * hold, nothing in them can add a line to a header.
 *
 * The report goes out with the null sender. It is 7-bit text whatever the message was, and holds
 * the original's header, never its body: RET=FULL (RFC 3461 4.3) is taken for RET=HDRS.
 */
#ifndef SUBMITD_SMTP_BOUNCE_H
#define SUBMITD_SMTP_BOUNCE_H

#include "base/buf.h"

#include <stdint.h>

enum {
    SMTP_BOUNCE_HEADER_MAX = 64 * 1024, /* octets of the original's header that are shown */
    /* Octets that one report may have: SMTP_BOUNCE_MAX + recipients * SMTP_BOUNCE_RCPT_MAX. */
    SMTP_BOUNCE_MAX = 1024 * 1024,
    SMTP_BOUNCE_RCPT_MAX = 8 * 1024,
};

struct smtp_bounce_rcpt {
    struct slice mailbox;
    struct slice orcpt; /* ORCPT= as the client gave it; empty: none */
    /* The last word on this recipient, one line: the server's reply ("550 5.1.1 User unknown"), or
     * a sentence of ours when no server answered; may be empty. */
    struct slice reply;
    bool is_expired; /* not refused: given up after the last of many tries */
};

struct smtp_bounce {
    struct slice hostname;    /* ours: the reporting MTA */
    struct slice id;          /* of the report: its Message-ID and boundary are made of it */
    struct slice from;        /* mailbox for From; empty: MAILER-DAEMON@hostname */
    struct slice to;          /* mailbox that gets the report; never empty */
    struct slice original_id; /* the failed message's id in our log */
    struct slice sender;      /* the failed message's envelope sender */
    struct slice envid;       /* ENVID= as the client gave it; empty: none */
    struct slice remote_mta;  /* the server that the replies are from; empty: not known */
    int64_t arrived, now;     /* seconds since 1970 */
    const struct smtp_bounce_rcpt *rcpts;
    size_t rcpt_count;
    /* The original's text from its first byte: its header is taken up to the empty line, what
     * follows is not looked at. The first chunk of a stored message will do. */
    struct slice original;
};

/* RFC 3461 4.1: whether a recipient with this NOTIFY= (as given; empty: none) wants to be told of a
 * failure. */
bool smtp_bounce_wants(struct slice notify);
/* Appends the report, header and body, as canonical text (every line ends in CRLF). False when it
 * does not fit or memory ran out. */
bool smtp_bounce_add(const struct smtp_bounce *b, struct buf *out);
/* True when the report must be sent with SMTPUTF8 (RFC 6531): an address in its header needs it. */
bool smtp_bounce_needs_smtputf8(const struct smtp_bounce *b);

#endif
