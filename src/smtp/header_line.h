/*
 * One header field while it is written, folded where it gets long (RFC 5322 2.1.1, 2.2.3).
 * It appends to a buffer of the caller's, whose `failed` flag tells when something did not fit.
 * It never writes a line end but its own, whatever bytes it is given.
 */
#ifndef SUBMITD_SMTP_HEADER_LINE_H
#define SUBMITD_SMTP_HEADER_LINE_H

#include "base/buf.h"

enum { SMTP_HEADER_TOKEN_MAX = 255 }; /* octets of one name or id; a domain at most */

struct smtp_header_line {
    struct buf *out;
    size_t column;
};

/* `name` with its colon. */
struct smtp_header_line smtp_header_line_open(struct buf *out, const char *name);
/* A piece that stays together, with a blank or a fold before it. Control bytes become "?". */
void smtp_header_line_add(
    struct smtp_header_line *line, const char *before, struct slice s, const char *after);
/* The same for a name or an id: it also loses what has a meaning in a header, and has a maximum. */
void smtp_header_line_add_token(
    struct smtp_header_line *line, const char *before, struct slice s, const char *after);
void smtp_header_line_close(struct smtp_header_line *line);

/* The bytes that _add_token would write. */
bool smtp_header_add_token(struct buf *out, struct slice s);

#endif
