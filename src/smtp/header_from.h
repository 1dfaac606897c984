/*
 * The mailbox in a From field, as legacy programs write it (RFC 5322 3.4), and its name under
 * another address, for force_sender. The slices point into the field's value. It never guesses:
 * what it does not understand is none.
 */
#ifndef SUBMITD_SMTP_HEADER_FROM_H
#define SUBMITD_SMTP_HEADER_FROM_H

#include "smtp/header_line.h"

struct smtp_from {
    struct slice address; /* as written, not checked; never empty */
    struct slice
        display; /* atoms, encoded words and quoted strings; empty: none that can be kept */
    struct slice comment; /* "root@host (Cron Daemon)": the name when there is no display name */
};

/* False for several mailboxes, a group, or anything else that is not one mailbox. */
bool smtp_from_parse(struct slice value, struct smtp_from *ret_from);
/* Writes the name, if one can be kept, where an address in < > is to follow. */
void smtp_from_add_name(const struct smtp_from *from, struct smtp_header_line *line);

#endif
