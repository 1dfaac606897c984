#include "config/options.h"

/* document.c refuses longer lines; a value that fitted tightly must be printed tightly. */
enum { LINE_SIZE_MAX = 198 };

/* A password is printed (as ***) only when it was in the INI file: masked twice it would not load.
 */
static bool is_printed(const struct option *o, const void *base)
{
    const struct config_account *account = base;
    return !o->is_secret ||
           (account->password_source && strcmp(account->password_source, o->name) == 0);
}

static bool print_option(const struct option *o, void *base, struct buf *out)
{
    struct buf value;
    buf_init(&value, out->max);
    o->kind->print(o, option_field(o, base), &value);
    size_t loose = strlen(o->name) + strlen(" = ") + value.len;
    bool is_tight = loose > LINE_SIZE_MAX && !o->kind->is_list;
    bool fits = !value.failed && buf_addf(out, "%s%s%s\n", o->name,
                                     is_tight        ? "="
                                     : value.len > 0 ? " = "
                                                     : " =",
                                     buf_cstr(&value));
    buf_fini(&value);
    return fits;
}

static bool print_section(
    const struct section *s, const struct config *c, size_t i, struct buf *out)
{
    void *base = section_at(s, c, i);
    const char *name = s->is_many ? *(char **)base : "";
    bool fits = buf_addf(
        out, "%s[%s%s%s]\n", out->len > 0 ? "\n" : "", s->name, name[0] != '\0' ? " " : "", name);
    for (size_t row = 0; fits && row < s->count; row++) {
        if (is_printed(&s->options[row], base))
            fits = print_option(&s->options[row], base, out);
    }
    return fits;
}

bool config_print(const struct config *c, struct buf *out)
{
    bool fits = true;
    for (size_t id = 0; id < SECTION_COUNT; id++) {
        for (size_t i = 0; fits && i < section_count(&sections[id], c); i++)
            fits = print_section(&sections[id], c, i, out);
    }
    return fits;
}
