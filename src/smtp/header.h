/*
 * The repairs that a submission server makes to a message's header (RFC 5321 4.4, RFC 6409 8): one
 * Received line, Date and Message-ID when missing, Bcc removed, and for force_sender a new From
 * with the old one kept as Reply-To. Everything else, the body above all, passes byte for byte. A
 * filter over canonical text: the header is held (bounded) until its end, the body streams through.
 * It takes time, names and the message id as arguments and reads no clock.
 *
 * Text whose first line is no header field has no header at all: our lines and an empty one are put
 * before it, and all of it is body. (An mbox "From " line with a field behind it is dropped: it is
 * no part of the message, and would turn the header into body at the next server.) A line further
 * down that is no field stays where it is, and the header goes on behind it.
 */
#ifndef SUBMITD_SMTP_HEADER_H
#define SUBMITD_SMTP_HEADER_H

#include "base/buf.h"

#include <stdint.h>

enum {
    SMTP_HEADER_MAX =
        512 * 1024, /* octets; Exchange's MaxHeaderSize is 256 KB, so it is the one to say no */
    SMTP_HEADER_ADDED_MAX = 16 * 1024, /* octets that the filter adds at most */
    SMTP_HOPS_MAX = 30,                /* Received lines, RFC 5321 6.3; Exchange's MaxHopCount */
    SMTP_HEADER_LINE_MAX =
        998, /* octets without CRLF, RFC 5322 2.1.1: what we write ourselves keeps to it */
};

/* What the new lines are made of. The slices must stay valid as long as the filter. */
struct smtp_header_params {
    struct slice helo;         /* the client's EHLO argument, checked */
    struct slice client_ip;    /* "192.0.2.7" or "IPv6:2001:db8::1" as in an address literal */
    struct slice hostname;     /* ours */
    struct slice with;         /* "ESMTP", "SMTP", "UTF8SMTP" (RFC 3848, 6531) */
    struct slice id;           /* message id of ours, printable */
    struct slice recipient;    /* the only recipient, empty when there are several */
    int64_t now;               /* seconds since 1970, UTC; written as +0000 */
    struct slice force_sender; /* mailbox; empty: From stays */
};

enum smtp_header_verdict {
    SMTP_HEADER_OK,
    SMTP_HEADER_TOO_LONG, /* 552 5.3.4: over SMTP_HEADER_MAX */
    SMTP_HEADER_LOOP,     /* 554 5.4.6: SMTP_HOPS_MAX Received lines are there already */
};

/* Bits that say what was changed, for the log line. */
enum smtp_header_repair {
    SMTP_REPAIR_DATE = 1,
    SMTP_REPAIR_MESSAGE_ID = 2,
    SMTP_REPAIR_BCC = 4,
    SMTP_REPAIR_FROM = 8,
    SMTP_REPAIR_REPLY_TO = 16,
};

struct smtp_header_filter {
    struct smtp_header_params params;
    struct buf held; /* the header until its end was seen */
    bool in_body;
    unsigned repairs; /* SMTP_REPAIR_... bits, final once in_body */
    enum smtp_header_verdict verdict;
    /* Offsets into `held`: */
    size_t front;    /* the first field; above 0 behind an mbox line */
    size_t scanned;  /* the line that is to be looked at next */
    size_t searched; /* up to here that line has no end */
    size_t junk;     /* the first line that is no field; 0: none */
};

void smtp_header_filter_init(struct smtp_header_filter *f, const struct smtp_header_params *params);
void smtp_header_filter_fini(struct smtp_header_filter *f);
/*
 * Appends what may pass on to `out`, which has room for SMTP_HEADER_MAX + SMTP_HEADER_ADDED_MAX
 * octets and for `text`; out->failed tells when it had not. After another verdict than OK the
 * filter takes nothing more.
 */
enum smtp_header_verdict smtp_header_filter_feed(
    struct smtp_header_filter *f, struct slice text, struct buf *out);
/* True: the header has passed on, and the text that follows may go without the filter. */
bool smtp_header_filter_is_through(const struct smtp_header_filter *f);
/* The message is complete; a message that is all header gets its repairs here. */
enum smtp_header_verdict smtp_header_filter_end(struct smtp_header_filter *f, struct buf *out);

/* "Sat, 21 Nov 2026 22:06:22 +0000" (RFC 5322 3.3). */
bool smtp_date_add(struct buf *out, int64_t now);

#endif
