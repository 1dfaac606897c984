#include "config/options.h"
#include "config/values.h"
#include "base/str.h"

#include <stdlib.h>

/* Of a value that is printed with blanks behind its commas: a line has at most 198 bytes, and what
 * was written tightly must be read again. */
enum { LOOSE_SIZE_MAX = 180, PORT_SIZE = 8 };

static bool parse_port(struct slice text, uint16_t *ret_port)
{
    unsigned long port = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9' || i == 5)
            return false;
        port = 10 * port + (unsigned long)(text.p[i] - '0');
    }
    *ret_port = (uint16_t)port;
    return port > 0 && port <= UINT16_MAX;
}

/* "name", "name:587", "192.0.2.1:587", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:587" */
static bool split(struct slice item, struct slice *ret_name, uint16_t *ret_port)
{
    struct ip_addr addr;
    *ret_port = 0;
    *ret_name = item;
    const char *end = item.n > 0 && item.p[0] == '[' ? memchr(item.p, ']', item.n) : NULL;
    if (end) {
        *ret_name = slice_of(item.p + 1, (size_t)(end - item.p) - 1);
        struct slice rest = slice_skip(item, ret_name->n + 2);
        bool has_port = rest.n > 0;
        return ip_parse(*ret_name, &addr) && addr.len == 16 &&
               (!has_port || (rest.p[0] == ':' && parse_port(slice_skip(rest, 1), ret_port)));
    }
    const char *colon = item.n > 0 ? memchr(item.p, ':', item.n) : NULL;
    if (!colon || ip_parse(item, &addr))
        return item.n > 0 && value_is_host(item);
    *ret_name = slice_of(item.p, (size_t)(colon - item.p));
    return ret_name->n > 0 && value_is_host(*ret_name) &&
           parse_port(slice_skip(item, ret_name->n + 1), ret_port);
}

static bool is_there(const struct config_hosts *hosts, struct slice name, uint16_t port)
{
    for (size_t i = 0; i < hosts->count; i++) {
        if (hosts->items[i].port == port && slice_eq_nocase(slice_str(hosts->items[i].name), name))
            return true;
    }
    return false;
}

static bool add(
    const struct option *o, struct config_hosts *hosts, struct slice item, struct err *e)
{
    struct slice name;
    uint16_t port;
    if (!split(item, &name, &port))
        return value_refuse(o, e);
    if (is_there(hosts, name, port))
        return err_set(e, ERR_CONFIG, "has the same host twice");
    if (hosts->count == CONFIG_HOSTS_MAX)
        return err_set(e, ERR_CONFIG, "has more than %d hosts", (int)CONFIG_HOSTS_MAX);
    char *copy = slice_dup(name);
    if (!copy)
        return value_out_of_memory(e);
    hosts->items[hosts->count++] = (struct config_host){ .name = copy, .port = port };
    return true;
}

/* Nothing at all is taken, for the option that is missing; a comma with nothing beside it is not.
 */
static bool parse_hosts(const struct option *o, struct slice text, void *field, struct err *e)
{
    struct config_hosts *hosts = field;
    if (text.n == 0)
        return true;
    hosts->items = calloc(CONFIG_HOSTS_MAX, sizeof *hosts->items);
    if (!hosts->items)
        return value_out_of_memory(e);
    for (bool is_last = false; !is_last;) {
        const char *comma = text.n > 0 ? memchr(text.p, ',', text.n) : NULL;
        size_t n = comma ? (size_t)(comma - text.p) : text.n;
        if (!add(o, hosts, slice_trim(slice_of(text.p, n)), e))
            return false;
        is_last = !comma;
        text = slice_skip(text, is_last ? n : n + 1);
    }
    return true;
}

static bool print_joined(const struct config_hosts *hosts, const char *joint, struct buf *out)
{
    bool fits = true;
    for (size_t i = 0; fits && i < hosts->count; i++) {
        const struct config_host *host = &hosts->items[i];
        bool has_brackets = host->port != 0 && strchr(host->name, ':');
        fits = buf_addf(out, has_brackets ? "%s[%s]" : "%s%s", i > 0 ? joint : "", host->name) &&
               (host->port == 0 || buf_addf(out, ":%u", (unsigned)host->port));
    }
    return fits;
}

static bool print_hosts(const struct option *o, const void *field, struct buf *out)
{
    (void)o;
    const struct config_hosts *hosts = field;
    size_t size = 0;
    for (size_t i = 0; i < hosts->count; i++)
        size += strlen(", []") + strlen(hosts->items[i].name) + PORT_SIZE;
    return print_joined(hosts, size <= LOOSE_SIZE_MAX ? ", " : ",", out);
}

static bool allowed_hosts(const struct option *o, struct buf *out)
{
    (void)o;
    return buf_add_str(out, "a host name or an IP address, or several with commas between them");
}

static void fini_hosts(void *field)
{
    struct config_hosts *hosts = field;
    for (size_t i = 0; i < hosts->count; i++)
        free(hosts->items[i].name);
    free(hosts->items);
    *hosts = (struct config_hosts){ .count = 0 };
}

const struct value_kind value_hosts = {
    .parse = parse_hosts,
    .print = print_hosts,
    .allowed = allowed_hosts,
    .fini = fini_hosts,
};

uint16_t config_host_port(const struct config_upstream *up, const struct config_host *host)
{
    return host->port != 0 ? host->port : up->port;
}
