/*
 * Text of ours as roff, the language of manual pages. The caller owns the buffer.
 * It knows one piece of markup: `words` between backticks become bold.
 */
#ifndef SUBMITD_BASE_ROFF_H
#define SUBMITD_BASE_ROFF_H

#include "base/buf.h"

/* One paragraph and a line end; what roff would take for a command or a hyphen is escaped. */
bool roff_add(struct buf *out, const char *text);
/* The same without the line end, for a line that goes on. */
bool roff_add_part(struct buf *out, const char *text);

#endif
