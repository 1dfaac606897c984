/*
 * Inside of smtp/bounce: what its files call in each other. bounce.c puts the message together,
 * bounce_status.c writes the part for programs, bounce_words.c the part for people.
 */
#ifndef SUBMITD_SMTP_BOUNCE_INTERNAL_H
#define SUBMITD_SMTP_BOUNCE_INTERNAL_H

#include "smtp/bounce.h"

enum {
    BOUNCE_STATUS_SIZE = 12,  /* "5.255.255" and more */
    BOUNCE_REPLY_MAX = 1000,  /* octets of a reply that are repeated */
    BOUNCE_FOLD_COLUMN = 78,  /* RFC 5322 2.1.1 */
    BOUNCE_ADDRESS_MAX = 256, /* octets of a mailbox or a name, RFC 5321 4.5.3.1 */
};

/* `s`, cut to at most `max` octets between two UTF-8 characters. */
struct slice bounce_cut(struct slice s, size_t max);
/* The words of `text` (runs of blanks and line ends become one blank), in lines of at most
 * BOUNCE_FOLD_COLUMN; `first` and `next` begin the lines. Ends in CRLF. */
void bounce_add_folded(struct buf *out, const char *first, const char *next, struct slice text);

/* True when the last word on this recipient is a server's: it begins with a code of 4 or 5. */
bool bounce_has_reply(const struct smtp_bounce_rcpt *r);
/* The RFC 3463 code for this recipient. */
void bounce_status(const struct smtp_bounce_rcpt *r, char status[BOUNCE_STATUS_SIZE]);
/* The content of message/delivery-status (RFC 3464 2.1). */
void bounce_add_status(const struct smtp_bounce *b, struct buf *out);
/* The text that a person reads, UTF-8. */
void bounce_add_words(const struct smtp_bounce *b, struct buf *out);

#endif
