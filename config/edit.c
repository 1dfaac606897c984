#include "config/edit.h"
#include "config/options.h"

/* "name = value" without a comment behind it; false for every other line. */
static bool split(struct slice line, struct slice *ret_name, struct slice *ret_value)
{
    const char *equals = line.n > 0 ? memchr(line.p, '=', line.n) : NULL;
    if (!equals)
        return false;
    size_t n = (size_t)(equals - line.p);
    *ret_name = slice_trim(slice_of(line.p, n));
    *ret_value = slice_trim(slice_skip(line, n + 1));
    return true;
}

static struct slice next_line(struct slice *rest)
{
    const char *lf = memchr(rest->p, '\n', rest->n);
    struct slice line = slice_of(rest->p, lf ? (size_t)(lf - rest->p) + 1 : rest->n);
    *rest = slice_skip(*rest, line.n);
    return line;
}

static bool is_title(struct slice trimmed, const char *section)
{
    size_t n = strlen(section);
    return trimmed.n == n + 2 && trimmed.p[0] == '[' && trimmed.p[n + 1] == ']' &&
           slice_eq_nocase(slice_of(trimmed.p + 1, n), slice_str(section));
}

bool config_edit(struct slice text, const struct config_edit *edit, struct buf *out)
{
    bool fits = true, is_there = false;
    while (fits && text.n > 0) {
        struct slice name, value, line = next_line(&text);
        struct slice trimmed = slice_trim(line);
        if (trimmed.n > 0 && trimmed.p[0] == '[')
            is_there = is_title(trimmed, edit->section);
        bool is_it = is_there && split(line, &name, &value) &&
                     slice_eq_nocase(name, slice_str(edit->key)) &&
                     slice_eq(value, slice_str(edit->old));
        const char *end = line.n > 1 && line.p[line.n - 2] == '\r' ? "\r\n" : "\n";
        fits = is_it ? buf_addf(out, "%s =%s%s%s", edit->key, edit->value[0] ? " " : "",
                           edit->value, end)
                     : buf_add_slice(out, line);
    }
    return fits;
}

/* What the reader of the file would not take, or not wholly: document.c has its rules. */
static bool fits_a_line(const char *key, const char *value, struct err *e)
{
    enum { LINE_SIZE_MAX = 198 };
    for (const char *p = value; *p; p++) {
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            return err_set(e, ERR_CONFIG, "%s must not hold control characters", key);
    }
    if (strstr(value, " ;"))
        return err_set(e, ERR_CONFIG, "%s must not hold a blank and a ; behind it", key);
    return strlen(key) + strlen(" = ") + strlen(value) <= LINE_SIZE_MAX ||
           err_set(e, ERR_CONFIG, "%s is too long for one line; write it into the file", key);
}

bool config_allows(const char *section, const char *key, const char *value, struct err *e)
{
    const struct option *o = NULL;
    for (size_t i = 0; !o && i < SECTION_COUNT; i++) {
        if (strcmp(sections[i].name, section) == 0)
            o = option_find(&sections[i], key);
    }
    if (!o)
        return err_set(e, ERR_CONFIG, "[%s] has no option %s", section, key);
    if (!fits_a_line(key, value, e))
        return false;
    union {
        uint64_t number;
        void *pointer;
        unsigned char room[sizeof(struct config)];
    } field = { .room = { 0 } };
    bool is_fine = o->kind->parse(o, slice_str(value), &field, e);
    if (o->kind->fini)
        o->kind->fini(&field);
    return is_fine || err_prefix(e, "%s = %s", key, value);
}
