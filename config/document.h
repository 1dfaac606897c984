/*
 * An INI text as it stands, before anyone asked what it means: sections, and the lines in them.
 * The caller owns it; values are kept in one buffer that is wiped, because any of them may be a
 * password. It never interprets a value, and its complaints show neither values nor lines that it
 * could not read.
 */
#ifndef SUBMITD_CONFIG_DOCUMENT_H
#define SUBMITD_CONFIG_DOCUMENT_H

#include "config/problems.h"

struct document_entry {
    char *name;
    size_t value_at, value_size; /* in document.values */
    unsigned line;
    bool is_more;     /* an indented line: it goes on with the entry before it */
    bool has_comment; /* a comment behind the value was cut off */
};

struct document_section {
    char *kind; /* "account" */
    char *name; /* "payroll"; "" when the header has none */
    unsigned line;
    struct document_entry *entries;
    size_t count;
};

struct document {
    struct document_section *sections;
    size_t count;
    struct buf values;
    bool is_out_of_memory;
};

/* Reads all of `text`; what cannot be read is complained about and left out. */
void document_init(struct document *d, struct slice text, struct problems *problems);
void document_fini(struct document *d);
struct slice document_value(const struct document *d, const struct document_entry *entry);

#endif
