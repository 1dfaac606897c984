/*
 * The option tables: every section and every option of the INI file is a row here.
 * The rows are constants; the loader, the printer and the reference page read them and hold no
 * second list. Defaults are text that is parsed like the operator's own, so a wrong default fails
 * the first test.
 */
#ifndef SUBMITD_CONFIG_OPTIONS_H
#define SUBMITD_CONFIG_OPTIONS_H

#include "config/config.h"
#include "config/values.h"

struct option {
    const char *name;
    const struct value_kind *kind;
    size_t offset;              /* of the field in the section's struct */
    const char *preset;         /* the default; NULL: the option is mandatory */
    const char *preset_windows; /* the default there, %NAME% replaced; NULL: the same */
    uint64_t min, max;          /* of numbers, sizes and times */
    const char *const *words;   /* NULL-terminated, of words and choices */
    bool is_secret;             /* never shown */
    const char *help;           /* one sentence for the reference page */
};

enum section_id {
    SECTION_LISTENER,
    SECTION_UPSTREAM,
    SECTION_ACCOUNT,
    SECTION_DELIVERY,
    SECTION_LOG,
    SECTION_SERVICE,
};
enum { SECTION_COUNT = SECTION_SERVICE + 1, SECTION_OPTIONS_MAX = 24 };

struct section {
    const char *name;
    const char *help;
    const struct option *options;
    size_t count;
    size_t size;   /* of the struct that one such section fills */
    size_t offset; /* in struct config: of that struct, or of the pointer to the first of many */
    bool is_many;  /* [NAME title] may be there as well; the struct's first member is char *name */
    size_t count_offset; /* in struct config: how many there are */
};

extern const struct section sections[SECTION_COUNT];

/* The `i`th struct of a section; there is exactly one unless is_many. */
void *section_at(const struct section *s, const struct config *c, size_t i);
size_t section_count(const struct section *s, const struct config *c);
/* Room for `n` zeroed structs, only for is_many; false when out of memory. */
bool section_reserve(const struct section *s, struct config *c, size_t n);

const struct option *option_find(const struct section *s, const char *name);
void *option_field(const struct option *o, void *base);
/* Replaces the value, or adds to a list when `is_more`. `e` says what is allowed, never the value.
 */
bool option_set(const struct option *o, void *base, struct slice text, bool is_more, struct err *e);
void option_fini(const struct option *o, void *base);

#endif
