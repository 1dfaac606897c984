/*
 * SMTP replies: the parser for what a server sends, the writer for what we answer (RFC 5321 4.2).
 * A struct smtp_reply owns its text; smtp_reply_fini frees it. The parser is fed any pieces.
 * It never interprets a code: the machines do.
 */
#ifndef SUBMITD_SMTP_REPLY_H
#define SUBMITD_SMTP_REPLY_H

#include "base/buf.h"
#include "base/err.h"

enum {
    /* Octets. RFC 5321 4.5.3.1.5 says 512, Exchange's are longer, a challenge (334) has up to
       12288. */
    SMTP_REPLY_LINE_MAX = 12288,
    SMTP_REPLY_MAX = 16384, /* octets of one whole multi-line reply */
};

struct smtp_reply {
    unsigned code;   /* 200..599; 0: empty */
    struct buf text; /* the lines behind "250-" and "250 ", joined by \n; at most SMTP_REPLY_MAX */
};

void smtp_reply_init(struct smtp_reply *r);
void smtp_reply_fini(struct smtp_reply *r);
void smtp_reply_clear(struct smtp_reply *r);
/* Makes `to` a copy; false when out of memory. */
bool smtp_reply_copy(struct smtp_reply *to, const struct smtp_reply *from);
bool smtp_reply_set(struct smtp_reply *r, unsigned code, const char *text);
/* 2, 3, 4, 5, or 0 when empty. */
unsigned smtp_reply_class(const struct smtp_reply *r);
/* "4.7.0" when the first line starts with an RFC 3463 code of the same class, else empty. */
struct slice smtp_reply_status(const struct smtp_reply *r);
/* One line "550 5.7.60 SMTP; Client does not ...", lines joined by " / ", safe to log and show. */
bool smtp_reply_add_oneline(const struct smtp_reply *r, struct buf *out);
/* The reply in wire form, every line with CRLF. */
bool smtp_reply_add_wire(const struct smtp_reply *r, struct buf *out);

enum smtp_reply_feed { SMTP_REPLY_MORE, SMTP_REPLY_DONE, SMTP_REPLY_BAD };

struct smtp_reply_parser {
    struct buf line;         /* the line so far */
    struct smtp_reply reply; /* complete after SMTP_REPLY_DONE, valid until the next feed */
    bool is_complete;
};

void smtp_reply_parser_init(struct smtp_reply_parser *p);
void smtp_reply_parser_fini(struct smtp_reply_parser *p);
/*
 * Takes bytes off the front of *in until one reply is complete, MORE when there is none yet.
 * A bare LF ends a line too; control bytes other than TAB become "?". BAD: not a reply, `e` shows
 * the offending line made printable; the connection is of no more use. After DONE the next call
 * starts a new reply.
 */
enum smtp_reply_feed smtp_reply_parser_feed(
    struct smtp_reply_parser *p, struct slice *in, struct err *e);

#endif
