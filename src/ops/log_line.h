/*
 * One log event as a line of text or JSON, or as a page. Pure: the time is an argument, nothing is
 * written anywhere. Values are made printable: no control bytes, no malformed UTF-8, so that a line
 * stays a line.
 */
#ifndef SUBMITD_OPS_LOG_LINE_H
#define SUBMITD_OPS_LOG_LINE_H

#include "base/buf.h"
#include "ops/log.h"

enum {
    LOG_VALUE_MAX = 4096, /* octets of one value; the rest is cut and marked with "..." */
    LOG_LINE_MAX = 65536,
};

struct log_stamp {
    int64_t wall_s; /* seconds since 1970, UTC */
    unsigned ms;
};

/* Appends the line without its end. */
bool log_line_add_text(struct buf *out, struct log_stamp at, enum log_level level,
    const char *event, const struct log_field *fields);
bool log_line_add_json(struct buf *out, struct log_stamp at, enum log_level level,
    const char *event, const struct log_field *fields);
/* For Windows' Event Viewer, which shows the time and the level beside it: the event, an empty
 * line, and "key: value" lines that end in CRLF. */
bool log_line_add_page(struct buf *out, const char *event, const struct log_field *fields);
const char *log_level_name(enum log_level level);

#endif
