#include "config/load.h"
#include "base/str.h"

enum { SHOWN_VALUE_MAX = 100 };

static const struct document_entry *find_entry(
    const struct document_section *origin, const char *key)
{
    for (size_t i = 0; origin && key && i < origin->count; i++) {
        const struct document_entry *entry = &origin->entries[i];
        if (!entry->is_more && slice_eq_nocase(slice_str(entry->name), slice_str(key)))
            return entry;
    }
    return NULL;
}

/* A command may carry a secret in its arguments; it is shown where it is asked for, not in a log.
 */
static bool may_be_shown(const struct option *o)
{
    return !o->is_secret && !o->kind->takes_whole_line;
}

struct spot load_spot_of_entry(const struct load *l, const struct document_section *origin,
    const struct option *o, const struct document_entry *entry)
{
    return (struct spot){
        .line = entry->line,
        .kind = origin->kind,
        .name = origin->name,
        .key = o->name,
        .value = may_be_shown(o) ? document_value(&l->document, entry) : SLICE_NONE,
    };
}

struct spot load_spot(const struct load *l, enum section_id id, size_t i, const char *key)
{
    const struct document_section *origin = l->origins[id][i];
    const struct document_entry *entry = find_entry(origin, key);
    const struct option *o = key ? option_find(&sections[id], key) : NULL;
    if (entry && o)
        return load_spot_of_entry(l, origin, o, entry);
    return (struct spot){
        .line = origin ? origin->line : 0,
        .kind = sections[id].name,
        .name = origin ? origin->name : "",
        .key = key,
    };
}

bool load_is_written(const struct load *l, enum section_id id, size_t i, const char *key)
{
    return find_entry(l->origins[id][i], key) != NULL;
}

bool load_is_given(const struct load *l, enum section_id id, size_t i, const char *key)
{
    const struct document_section *origin = l->origins[id][i];
    const struct document_entry *entry = find_entry(origin, key);
    if (!entry)
        return false;
    const struct document_entry *end = origin->entries + origin->count;
    bool has_value = entry->value_size > 0;
    for (entry++; entry < end && entry->is_more; entry++)
        has_value = true;
    return has_value;
}

/* "[account payroll] port = 70000: "; the value's end may be left out. */
static void add_spot(struct buf *out, const struct spot *at)
{
    buf_addf(out, "[%s%s%s]", at->kind, at->name[0] ? " " : "", at->name);
    if (at->key)
        buf_addf(out, " %s", at->key);
    if (at->value.p) {
        bool is_long = at->value.n > SHOWN_VALUE_MAX;
        buf_add_str(out, " = ");
        str_add_printable(out, slice_of(at->value.p, is_long ? SHOWN_VALUE_MAX : at->value.n));
        buf_add_str(out, is_long ? "..." : "");
    }
    buf_add_str(out, ": ");
}

FORMAT_LIKE_PRINTF(4, 0)
static void tell(struct load *l, const struct spot *at, bool is_error, const char *fmt, va_list ap)
{
    enum { LINE_MAX_SIZE = 4096 };
    struct buf text;
    buf_init(&text, LINE_MAX_SIZE);
    add_spot(&text, at);
    buf_vaddf(&text, fmt, ap);
    if (is_error)
        problems_add(&l->problems, at->line, "%s", buf_cstr(&text));
    else
        problems_warn(&l->problems, at->line, "%s", buf_cstr(&text));
    buf_fini(&text);
}

void load_complain(struct load *l, struct spot at, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    tell(l, &at, true, fmt, ap);
    va_end(ap);
}

void load_warn(struct load *l, struct spot at, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    tell(l, &at, false, fmt, ap);
    va_end(ap);
}
