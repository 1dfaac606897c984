/*
 * Fills in a line of an INI text, for an installer that knows the server's name. Pure: text in,
 * text out, everything else stays as it is, comments included. It never changes what an operator
 * wrote.
 */
#ifndef SUBMITD_CONFIG_EDIT_H
#define SUBMITD_CONFIG_EDIT_H

#include "base/buf.h"
#include "base/err.h"

struct config_edit {
    const char *section, *key;
    const char *old;   /* the value of a file that nobody has edited; another one stays */
    const char *value; /* the new one, without control characters */
};

/* Appends the text with the line changed, or as it was when that line is not there. */
bool config_edit(struct slice text, const struct config_edit *edit, struct buf *out);
/* Whether an option takes this value; `e` says what is allowed. */
bool config_allows(const char *section, const char *key, const char *value, struct err *e);

#endif
