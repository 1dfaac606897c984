#include "config/options.h"

#include <stdlib.h>

/* The one place where const is dropped: a section's struct is as changeable as its caller's config
 * is. */
static void *member(const struct config *c, size_t offset)
{
    return (void *)((uintptr_t)c + offset);
}

void *section_at(const struct section *s, const struct config *c, size_t i)
{
    void *first = member(c, s->offset);
    return s->is_many ? *(char **)first + i * s->size : first;
}

size_t section_count(const struct section *s, const struct config *c)
{
    return s->is_many ? *(const size_t *)member(c, s->count_offset) : 1;
}

bool section_reserve(const struct section *s, struct config *c, size_t n)
{
    void *all = calloc(n > 0 ? n : 1, s->size);
    *(void **)member(c, s->offset) = all;
    *(size_t *)member(c, s->count_offset) = all ? n : 0;
    return all != NULL;
}

const struct option *option_find(const struct section *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++) {
        if (slice_eq_nocase(slice_str(s->options[i].name), slice_str(name)))
            return &s->options[i];
    }
    return NULL;
}

void *option_field(const struct option *o, void *base)
{
    return (char *)base + o->offset;
}

bool option_set(const struct option *o, void *base, struct slice text, bool is_more, struct err *e)
{
    if (!is_more)
        option_fini(o, base);
    return o->kind->parse(o, text, option_field(o, base), e);
}

void option_fini(const struct option *o, void *base)
{
    if (o->kind->fini)
        o->kind->fini(option_field(o, base));
}
