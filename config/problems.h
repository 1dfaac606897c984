/*
 * The list of what is wrong with a configuration: one line each, "FILE:LINE: what", into the
 * caller's buffer. The struct lives in the loader; the buffer stays the caller's. It never gets a
 * secret: whoever complains about a secret option leaves the value out.
 */
#ifndef SUBMITD_CONFIG_PROBLEMS_H
#define SUBMITD_CONFIG_PROBLEMS_H

#include "base/buf.h"

struct problems {
    const char *file; /* as the operator wrote it */
    struct buf *out;
    unsigned errors; /* counted even when `out` is full */
};

/* `line` 0: the file as a whole. The arguments must be printable already. */
void problems_add(struct problems *p, unsigned line, const char *fmt, ...) FORMAT_LIKE_PRINTF(3, 4);
/* Not counted: the configuration is used all the same. */
void problems_warn(struct problems *p, unsigned line, const char *fmt, ...)
    FORMAT_LIKE_PRINTF(3, 4);

#endif
