#include "config/load.h"
#include "base/str.h"

enum { TYPO_MAX = 2 }; /* letters, for "did you mean" */

/* True when `known` may have been meant by `name`, and better than by the best so far. */
static bool is_nearer(const char *name, const char *known, unsigned *best)
{
    unsigned distance = str_distance(name, known, TYPO_MAX);
    if (distance >= *best || distance * 2 > strlen(known))
        return false;
    *best = distance;
    return true;
}

static const char *nearest_option(const struct section *s, const char *name)
{
    const char *nearest = NULL;
    unsigned best = TYPO_MAX + 1;
    for (size_t i = 0; i < s->count; i++) {
        if (is_nearer(name, s->options[i].name, &best))
            nearest = s->options[i].name;
    }
    return nearest;
}

/* The section where an option of this name is known. */
static const char *owner_of(const char *name)
{
    for (size_t i = 0; i < SECTION_COUNT; i++) {
        if (option_find(&sections[i], name))
            return sections[i].name;
    }
    return NULL;
}

static void add_known_options(const struct section *s, struct buf *out)
{
    for (size_t i = 0; i < s->count; i++)
        buf_addf(out, "%s%s", i > 0 ? ", " : "", s->options[i].name);
}

/* What does not look like an option's name may be the rest of a password that was broken over two
 * lines. */
static bool looks_like_name(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-";
    enum { NAME_MAX_LENGTH = 32 };
    size_t n = strlen(name);
    return n <= NAME_MAX_LENGTH && strspn(name, allowed) == n;
}

void load_complain_option(struct load *l, const struct section *s,
    const struct document_section *origin, const struct document_entry *entry)
{
    enum { LIST_SIZE_MAX = 1024 };
    struct spot at = { .line = entry->line, .kind = origin->kind, .name = origin->name };
    at.key = looks_like_name(entry->name) ? entry->name : NULL;
    const char *nearest = nearest_option(s, entry->name);
    const char *owner = owner_of(entry->name);
    if (owner) {
        load_complain(l, at, "unknown option here; it belongs to [%s]", owner);
    } else if (nearest) {
        load_complain(l, at, "unknown option; did you mean \"%s\"?", nearest);
    } else {
        struct buf known;
        buf_init(&known, LIST_SIZE_MAX);
        add_known_options(s, &known);
        load_complain(l, at, "unknown option; known here are %s", buf_cstr(&known));
        buf_fini(&known);
    }
}

void load_complain_section(struct load *l, const struct document_section *origin)
{
    const char *nearest = NULL;
    unsigned best = TYPO_MAX + 1;
    for (size_t i = 0; i < SECTION_COUNT; i++) {
        if (is_nearer(origin->kind, sections[i].name, &best))
            nearest = sections[i].name;
    }
    struct spot at = { .line = origin->line, .kind = origin->kind, .name = origin->name };
    if (nearest)
        load_complain(l, at, "unknown section; did you mean [%s]?", nearest);
    else
        load_complain(l, at,
            "unknown section; known are [listener], [upstream], [account], [delivery], [log] and "
            "[service]");
}
