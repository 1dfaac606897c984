#include "config/load.h"
#include "base/str.h"
#include "platform/platform.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* Of the INI file; a thousand accounts are a tenth of that. */
enum { FILE_SIZE_MAX = 1 << 20 };

/* One section being applied to its struct. */
struct target {
    const struct section *section;
    const struct document_section *origin; /* NULL: not in the file, all defaults */
    void *base;
    const struct option *last;           /* what an indented line would go on with */
    unsigned lines[SECTION_OPTIONS_MAX]; /* where each option was first given, 0: nowhere */
    bool is_done[SECTION_OPTIONS_MAX];   /* it holds a value of the operator's */
};

/* ---- options ---- */

static bool is_quoted(struct slice text)
{
    char first = text.n >= 2 ? text.p[0] : '\0';
    return (first == '"' || first == '\'') && text.p[text.n - 1] == first;
}

/* What is wrong with how a value was written down; true when it can be read. */
static bool is_well_written(struct load *l, const struct target *t, const struct option *o,
    const struct document_entry *entry)
{
    struct spot at = load_spot_of_entry(l, t->origin, o, entry);
    struct slice value = document_value(&l->document, entry);
    at.value = entry->is_more ? SLICE_NONE : at.value;
    if (entry->is_more && !o->kind->is_list)
        load_complain(
            l, at, "only a list goes on in an indented line; let the line begin at the left edge");
    else if (entry->has_comment && o->kind->takes_whole_line)
        load_complain(l, at, "what stands behind \" ;\" would be lost as a comment; use %s",
            o->is_secret ? "password_file" : "a script");
    else if (value.n == 0 && (!o->preset || o->is_secret))
        load_complain(l, at, "needs a value");
    else
        return true;
    return false;
}

static void set_option(
    struct load *l, struct target *t, const struct option *o, const struct document_entry *entry)
{
    struct err e;
    struct slice value = document_value(&l->document, entry);
    struct spot at = load_spot_of_entry(l, t->origin, o, entry);
    size_t row = (size_t)(o - t->section->options);
    if (!is_well_written(l, t, o, entry))
        return;
    t->is_done[row] = option_set(o, t->base, value, entry->is_more, &e);
    if (!t->is_done[row])
        load_complain(l, at, "%s", e.text);
    else if (o->is_secret && is_quoted(value))
        load_warn(l, at, "the quotes are taken as part of the password");
}

static void apply_entry(struct load *l, struct target *t, const struct document_entry *entry)
{
    if (!entry->is_more)
        t->last = option_find(t->section, entry->name);
    const struct option *o = t->last;
    if (!o) {
        if (!entry->is_more)
            load_complain_option(l, t->section, t->origin, entry);
        return;
    }
    unsigned *first = &t->lines[o - t->section->options];
    if (!entry->is_more && *first > 0) {
        struct spot at = load_spot_of_entry(l, t->origin, o, entry);
        at.value = SLICE_NONE;
        load_complain(l, at, "given twice, first in line %u", *first);
        t->last = NULL;
        return;
    }
    if (*first == 0)
        *first = entry->line;
    set_option(l, t, o, entry);
}

/*
 * Gives every option that was not set its default. One whose value was refused stays zero, which no
 * good port or address is, so that checks can leave it alone; strings are never NULL.
 */
static void apply_preset(struct load *l, const struct target *t, size_t row)
{
    const struct option *o = &t->section->options[row];
    struct err e;
    if (t->is_done[row] || (t->lines[row] > 0 && !o->kind->fini))
        return;
    if (!o->preset && t->lines[row] == 0) {
        struct spot at = {
            .line = t->origin ? t->origin->line : 0,
            .kind = t->section->name,
            .name = "",
            .key = o->name,
        };
        load_complain(l, at, "is missing and has no default");
    }
    const char *usual = o->preset ? o->preset : "";
    char *preset = o->preset_windows ? platform_pick(usual, o->preset_windows) : str_dup(usual);
    bool is_set = preset && option_set(o, t->base, slice_str(preset), false, &e);
    if (!preset)
        value_out_of_memory(&e);
    free(preset);
    if (is_set)
        return;
    problems_add(&l->problems, 0, "the default of %s cannot be set: %s", o->name, e.text);
    l->is_broken = true;
}

static void apply_section(
    struct load *l, enum section_id id, size_t i, const struct document_section *origin)
{
    struct target t = { .section = &sections[id], .origin = origin };
    t.base = section_at(t.section, l->config, i);
    for (size_t k = 0; origin && k < origin->count; k++)
        apply_entry(l, &t, &origin->entries[k]);
    for (size_t row = 0; row < t.section->count; row++)
        apply_preset(l, &t, row);
    if (t.section->is_many) {
        char **name = t.base;
        *name = str_dup(origin ? origin->name : "");
        l->is_broken = l->is_broken || !*name;
    }
}

/* ---- sections ---- */

static bool is_section(const struct document_section *origin, enum section_id id)
{
    return slice_eq_nocase(slice_str(origin->kind), slice_str(sections[id].name));
}

static bool is_known(const struct document_section *origin)
{
    for (unsigned id = 0; id < SECTION_COUNT; id++) {
        if (is_section(origin, id))
            return true;
    }
    return false;
}

static const struct document_section *earlier_twin(const struct load *l, size_t i)
{
    const struct document_section *all = l->document.sections;
    for (size_t k = 0; k < i; k++) {
        if (slice_eq_nocase(slice_str(all[k].kind), slice_str(all[i].kind)) &&
            slice_eq_nocase(slice_str(all[k].name), slice_str(all[i].name)))
            return &all[k];
    }
    return NULL;
}

/* Sections that should not be there. One with a bad header has no kind and was complained about. */
static void check_headers(struct load *l)
{
    for (size_t i = 0; i < l->document.count; i++) {
        const struct document_section *origin = &l->document.sections[i];
        struct spot at = { .line = origin->line, .kind = origin->kind, .name = origin->name };
        const struct document_section *twin = earlier_twin(l, i);
        if (origin->kind[0] == '\0')
            continue;
        if (!is_known(origin))
            load_complain_section(l, origin);
        else if (twin)
            load_complain(l, at, "there twice, first in line %u; put all its lines into one place",
                twin->line);
    }
}

/* The file's order, but the account without a name comes last: it takes what no other matches. */
static void collect_origins(struct load *l, enum section_id id)
{
    size_t count = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < l->document.count; i++) {
            const struct document_section *origin = &l->document.sections[i];
            bool is_last = id == SECTION_ACCOUNT && origin->name[0] == '\0';
            if (is_section(origin, id) && is_last == (pass == 1))
                l->origins[id][count++] = origin;
        }
    }
}

static size_t count_origins(const struct load *l, enum section_id id)
{
    size_t count = 0;
    for (size_t i = 0; i < l->document.count; i++)
        count += is_section(&l->document.sections[i], id);
    return count;
}

/* At least one of everything but accounts, from the defaults when it is not in the file. */
static bool apply_sections(struct load *l, enum section_id id)
{
    const struct section *s = &sections[id];
    size_t written = count_origins(l, id);
    size_t count = written == 0 && id != SECTION_ACCOUNT ? 1 : written;
    l->origins[id] = calloc(count + 1, sizeof *l->origins[id]);
    if (!l->origins[id] || (s->is_many && !section_reserve(s, l->config, count)))
        return false;
    collect_origins(l, id);
    for (size_t i = 0; i < count; i++) {
        const struct document_section *origin = l->origins[id][i];
        if (origin && !s->is_many && origin->name[0] != '\0')
            load_complain(l, load_spot(l, id, i, NULL), "this section takes no name");
        apply_section(l, id, s->is_many ? i : 0, origin);
    }
    return true;
}

/* ---- files ---- */

bool load_read_file(const char *path, struct buf *out, struct err *e)
{
    char bytes[4096];
    FILE *f = platform_open(path);
    if (!f)
        return err_set(e, ERR_CONFIG, "cannot be opened: %s%s", strerror(errno),
            errno == EACCES ? "; the user that submitd runs as must be able to read it" : "");
    setvbuf(f, NULL, _IONBF, 0); /* no copy of a secret in stdio's memory */
    bool fits = true;
    size_t n = 1;
    while (fits && n > 0) {
        n = fread(bytes, 1, sizeof bytes, f);
        fits = buf_add(out, bytes, n);
    }
    bool is_read = !ferror(f);
    int why = errno;
    secret_wipe(bytes, sizeof bytes);
    fclose(f);
    if (!is_read)
        return err_set(e, ERR_CONFIG, "cannot be read: %s", strerror(why));
    return fits || err_set(e, ERR_CONFIG, "is larger than %zu bytes", out->max);
}

char *load_resolve(const struct load *l, const char *path)
{
    const char *end = NULL;
    for (const char *p = l->problems.file; *p; p++) {
        if (*p == '/' || *p == '\\')
            end = p + 1;
    }
    if (!end || value_is_full_path(slice_str(path)))
        return str_dup(path);
    return str_format("%.*s%s", (int)(end - l->problems.file), l->problems.file, path);
}

/* ---- all of it ---- */

static void run(struct load *l, struct slice text)
{
    document_init(&l->document, text, &l->problems);
    l->is_broken = l->document.is_out_of_memory;
    if (!l->is_broken)
        check_headers(l);
    for (unsigned id = 0; !l->is_broken && id < SECTION_COUNT; id++)
        l->is_broken = !apply_sections(l, id) || l->is_broken;
    if (l->is_broken) {
        problems_add(&l->problems, 0, "memory ran out");
    } else {
        load_check(l);
        load_passwords(l);
    }
    for (unsigned id = 0; id < SECTION_COUNT; id++)
        free(l->origins[id]);
    document_fini(&l->document);
}

static struct config *load(struct load *l, struct slice text)
{
    l->config = config_new(l->problems.file);
    if (!l->config) {
        problems_add(&l->problems, 0, "memory ran out");
        return NULL;
    }
    run(l, text);
    if (l->problems.errors == 0)
        return l->config;
    config_unref(l->config);
    return NULL;
}

struct config *config_load(const char *file, struct buf *problems)
{
    struct load l = { .problems = { .file = file, .out = problems } };
    struct config *c = NULL;
    struct buf text;
    struct err e;
    buf_init_secret(&text, FILE_SIZE_MAX);
    if (load_read_file(file, &text, &e))
        c = load(&l, buf_slice(&text));
    else
        problems_add(&l.problems, 0, "%s", e.text);
    buf_fini(&text);
    return c;
}

struct config *config_load_text(const char *name, struct slice text, struct buf *problems)
{
    struct load l = { .problems = { .file = name, .out = problems }, .is_pure = true };
    return load(&l, text);
}
