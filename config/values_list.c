#include "config/values.h"
#include "config/options.h"
#include "base/str.h"

#include <stdlib.h>

/* The next item of a list that is not empty; false at its end. */
static bool next_item(struct slice *rest, struct slice *ret_item)
{
    while (rest->n > 0) {
        const char *comma = memchr(rest->p, ',', rest->n);
        size_t n = comma ? (size_t)(comma - rest->p) : rest->n;
        struct slice item = slice_trim(slice_of(rest->p, n));
        *rest = slice_skip(*rest, n + (comma ? 1 : 0));
        if (item.n > 0) {
            *ret_item = item;
            return true;
        }
    }
    return false;
}

static size_t count_items(struct slice text)
{
    struct slice item;
    size_t n = 0;
    while (next_item(&text, &item))
        n++;
    return n;
}

/* Which of several items is meant. */
static bool refuse_item(const struct option *o, struct slice item, struct err *e)
{
    enum { SHOWN_MAX = 60 };
    struct buf shown;
    buf_init(&shown, ERR_TEXT_MAX);
    str_add_printable(&shown, slice_of(item.p, item.n < SHOWN_MAX ? item.n : SHOWN_MAX));
    value_refuse(o, e);
    err_prefix(e, "\"%s\"", buf_cstr(&shown));
    buf_fini(&shown);
    return false;
}

static bool parse_nets(const struct option *o, struct slice text, void *field, struct err *e)
{
    struct config_nets *nets = field;
    size_t added = count_items(text);
    if (added == 0)
        return true;
    struct ip_net *items = realloc(nets->items, (nets->count + added) * sizeof *items);
    if (!items)
        return value_out_of_memory(e);
    nets->items = items;
    struct slice item;
    while (next_item(&text, &item)) {
        if (!ip_net_parse(item, &items[nets->count]))
            return refuse_item(o, item, e);
        nets->count++;
    }
    return true;
}

static bool print_nets(const struct option *o, const void *field, struct buf *out)
{
    (void)o;
    const struct config_nets *nets = field;
    bool fits = true;
    for (size_t i = 0; fits && i < nets->count; i++) {
        const struct ip_net *net = &nets->items[i];
        char text[IP_TEXT_MAX];
        ip_format(&net->addr, text);
        bool is_one = net->prefix == net->addr.len * 8;
        fits = buf_addf(out, "%s%s", i > 0 ? ",\n    " : "", text) &&
               (is_one || buf_addf(out, "/%u", (unsigned)net->prefix));
    }
    return fits;
}

static bool allowed_nets(const struct option *o, struct buf *out)
{
    (void)o;
    return buf_add_str(out,
        "addresses or networks, such as 10.1.3.7, 10.1.3.0/24 (the bits behind the prefix are 0)");
}

static void fini_nets(void *field)
{
    struct config_nets *nets = field;
    free(nets->items);
    *nets = (struct config_nets){ .count = 0 };
}

/* A pattern that could match an address, and that stays one item when it is printed on a line of
 * its own. */
static bool is_glob(struct slice item)
{
    if (slice_eq(item, SLICE_LIT("<>")))
        return true;
    bool has_at = memchr(item.p, '@', item.n) || memchr(item.p, '*', item.n);
    for (size_t i = 0; i < item.n; i++) {
        if (item.p[i] <= ' ' ? (unsigned char)item.p[i] < 0x80
                             : strchr("<>();:\"[]", item.p[i]) != NULL)
            return false;
    }
    return has_at && item.p[0] != '@' && item.p[0] != '#';
}

static bool parse_globs(const struct option *o, struct slice text, void *field, struct err *e)
{
    struct config_globs *globs = field;
    size_t added = count_items(text);
    if (added == 0)
        return true;
    char **items = realloc(globs->items, (globs->count + added) * sizeof *items);
    if (!items)
        return value_out_of_memory(e);
    globs->items = items;
    struct slice item;
    while (next_item(&text, &item)) {
        if (!is_glob(item))
            return refuse_item(o, item, e);
        items[globs->count] = slice_dup(item);
        if (!items[globs->count])
            return value_out_of_memory(e);
        globs->count++;
    }
    return true;
}

static bool print_globs(const struct option *o, const void *field, struct buf *out)
{
    (void)o;
    const struct config_globs *globs = field;
    bool fits = true;
    for (size_t i = 0; fits && i < globs->count; i++)
        fits = buf_addf(out, "%s%s", i > 0 ? ",\n    " : "", globs->items[i]);
    return fits;
}

static bool allowed_globs(const struct option *o, struct buf *out)
{
    (void)o;
    return buf_add_str(out, "address patterns, such as payroll@corp.example, *@hr.corp.example");
}

static void fini_globs(void *field)
{
    struct config_globs *globs = field;
    for (size_t i = 0; i < globs->count; i++)
        free(globs->items[i]);
    free(globs->items);
    *globs = (struct config_globs){ .count = 0 };
}

const struct value_kind value_nets = {
    .parse = parse_nets,
    .print = print_nets,
    .allowed = allowed_nets,
    .fini = fini_nets,
    .is_list = true,
};
const struct value_kind value_globs = {
    .parse = parse_globs,
    .print = print_globs,
    .allowed = allowed_globs,
    .fini = fini_globs,
    .is_list = true,
};
