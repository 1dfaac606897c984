#include "config/load.h"
#include "base/str.h"

#include <stdatomic.h>
#include <stdlib.h>

struct counted {
    struct config config; /* first: a pointer to it is a pointer to the whole */
    atomic_uint references;
};

struct config *config_new(const char *file)
{
    struct counted *all = calloc(1, sizeof *all);
    if (!all)
        return NULL;
    atomic_init(&all->references, 1);
    all->config.file = str_dup(file);
    if (!all->config.file) {
        config_unref(&all->config);
        return NULL;
    }
    return &all->config;
}

struct config *config_ref(struct config *c)
{
    struct counted *all = (struct counted *)c;
    atomic_fetch_add_explicit(&all->references, 1, memory_order_relaxed);
    return c;
}

static void fini_section(const struct section *s, struct config *c)
{
    for (size_t i = 0; i < section_count(s, c); i++) {
        void *base = section_at(s, c, i);
        for (size_t row = 0; row < s->count; row++)
            option_fini(&s->options[row], base);
        if (s->is_many)
            free(*(char **)base);
    }
}

void config_unref(struct config *c)
{
    struct counted *all = (struct counted *)c;
    if (!c || atomic_fetch_sub_explicit(&all->references, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < c->account_count; i++) {
        free(c->accounts[i].password_path);
        free(c->accounts[i].password_source);
    }
    for (size_t i = 0; i < SECTION_COUNT; i++)
        fini_section(&sections[i], c);
    free(c->listeners);
    free(c->accounts);
    free(c->file);
    free(all);
}
