/*
 * One run of the loader, and what its steps share: the document, the configuration in the making,
 * the problems. It lives on config_load's stack; the configuration is handed out when no problem
 * was found. It reads files and runs commands only when it was allowed to.
 */
#ifndef SUBMITD_CONFIG_LOAD_H
#define SUBMITD_CONFIG_LOAD_H

#include "config/document.h"
#include "config/options.h"
#include "config/problems.h"

struct load {
    struct config *config;
    struct document document;
    struct problems problems;
    /* For each section: the document's part of its `i`th struct; a single section that is not there
     * is NULL. */
    const struct document_section **origins[SECTION_COUNT];
    bool is_broken; /* memory ran out: the configuration has holes that nobody may look into */
    bool is_pure;   /* no file is read and no command run: passwords from there are left empty */
};

/* What a complaint is about, as the operator wrote it. */
struct spot {
    unsigned line;
    const char *kind, *name; /* of the section */
    const char *key;         /* NULL: the section as a whole */
    struct slice value;      /* p == NULL: not given, or not to be shown */
};

/* Where an option of the `i`th such section was set; `key` NULL is the section itself. */
struct spot load_spot(const struct load *l, enum section_id id, size_t i, const char *key);
struct spot load_spot_of_entry(const struct load *l, const struct document_section *origin,
    const struct option *o, const struct document_entry *entry);
/* True when the operator wrote the line, even with nothing behind the =. */
bool load_is_written(const struct load *l, enum section_id id, size_t i, const char *key);
/* True when the operator wrote a value, rightly or not. */
bool load_is_given(const struct load *l, enum section_id id, size_t i, const char *key);
/* "FILE:14: [upstream] port = 70000: " and the sentence, which must be printable and hold no
 * secret. */
void load_complain(struct load *l, struct spot at, const char *fmt, ...) FORMAT_LIKE_PRINTF(3, 4);
void load_warn(struct load *l, struct spot at, const char *fmt, ...) FORMAT_LIKE_PRINTF(3, 4);

/* unknown.c: names that no table knows, with the nearest one that is. */
void load_complain_option(struct load *l, const struct section *s,
    const struct document_section *origin, const struct document_entry *entry);
void load_complain_section(struct load *l, const struct document_section *origin);

/* All of a file that holds secrets; false when it is longer than `out` may be. `e` does not name
 * the file. */
bool load_read_file(const char *path, struct buf *out, struct err *e);
/* The file `path` is meant to be: a relative one begins at the INI file's folder. Heap. */
char *load_resolve(const struct load *l, const char *path);

/* checks.c: what no single option can know. */
void load_check(struct load *l);
/* passwords.c: true when `username =` is written with nothing behind it, and no password at all. */
bool load_has_own_identity(const struct load *l, size_t account);
/* passwords.c: gets each account's password. */
void load_passwords(struct load *l);

/* Loads from memory, for tests: `name` stands for the file in complaints. Touches no file and runs
 * nothing. */
/* One reference, nothing in it but the file's name; config.c. */
struct config *config_new(const char *file);
struct config *config_load_text(const char *name, struct slice text, struct buf *problems);

#endif
