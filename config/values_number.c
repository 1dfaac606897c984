#include "config/values.h"
#include "config/config.h"
#include "config/options.h"

struct unit {
    const char *name;
    uint64_t factor;
};

/* Largest first, so that a value is printed in the largest unit that shows it exactly. */
static const struct unit size_units[] = { { "G", UINT64_C(1) << 30 }, { "M", 1 << 20 },
    { "K", 1 << 10 }, { "", 1 } };
static const struct unit time_units[] = { { "d", 86400000 }, { "h", 3600000 }, { "m", 60000 },
    { "s", 1000 }, { "ms", 1 } };

static bool add_in_units(const struct unit *unit, uint64_t n, struct buf *out)
{
    while (unit->factor > 1 && (n == 0 || n % unit->factor != 0))
        unit++;
    return buf_addf(out, "%llu%s", (unsigned long long)(n / unit->factor), n > 0 ? unit->name : "");
}

/* A number with a unit's name, or 0; false when it is none or too large to be true. */
static bool parse_in_units(
    const struct unit *units, size_t count, struct slice text, uint64_t *ret_n)
{
    size_t digits = 0;
    while (digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9')
        digits++;
    unsigned long long n = 0;
    if (!slice_to_u64(slice_of(text.p, digits), &n))
        return false;
    struct slice name = slice_skip(text, digits);
    for (size_t i = 0; i < count; i++) {
        bool is_it = slice_eq_nocase(name, slice_str(units[i].name)) || (n == 0 && name.n == 0);
        if (is_it && n <= UINT64_MAX / units[i].factor) {
            *ret_n = n * units[i].factor;
            return true;
        }
    }
    return false;
}

static bool is_in_bounds(const struct option *o, uint64_t n)
{
    return n >= o->min && n <= o->max;
}

static bool parse_port(const struct option *o, struct slice text, void *field, struct err *e)
{
    unsigned long long n = 0;
    if (!slice_to_u64(text, &n) || n < 1 || n > UINT16_MAX)
        return value_refuse(o, e);
    *(uint16_t *)field = (uint16_t)n;
    return true;
}

static bool parse_count(const struct option *o, struct slice text, void *field, struct err *e)
{
    unsigned long long n = 0;
    if (!slice_to_u64(text, &n) || !is_in_bounds(o, n))
        return value_refuse(o, e);
    *(unsigned *)field = (unsigned)n;
    return true;
}

static bool parse_size(const struct option *o, struct slice text, void *field, struct err *e)
{
    uint64_t n = 0;
    if (!parse_in_units(size_units, ARRAY_LEN(size_units), text, &n) || !is_in_bounds(o, n))
        return value_refuse(o, e);
    *(uint64_t *)field = n;
    return true;
}

static bool parse_time(const struct option *o, struct slice text, void *field, struct err *e)
{
    uint64_t n = 0;
    unsigned long long plain = 0;
    if (slice_to_u64(text, &plain) && plain > 0)
        return err_set(e, ERR_CONFIG, "the unit is missing; write 250ms, 30s, 5m, 2h or 3d");
    if (!parse_in_units(time_units, ARRAY_LEN(time_units), text, &n) || !is_in_bounds(o, n))
        return value_refuse(o, e);
    *(uint64_t *)field = n;
    return true;
}

static const struct unit rate_units[] = { { "/h", 3600000 }, { "/min", 60000 }, { "/s", 1000 } };

static bool parse_rate(const struct option *o, struct slice text, void *field, struct err *e)
{
    struct config_rate *rate = field;
    unsigned long long n = 0;
    *rate = (struct config_rate){ 0 };
    if (text.n == 0)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(rate_units); i++) {
        struct slice name = slice_str(rate_units[i].name);
        bool is_it = text.n > name.n && slice_eq_nocase(slice_skip(text, text.n - name.n), name);
        if (!is_it)
            continue;
        if (!slice_to_u64(slice_of(text.p, text.n - name.n), &n) || n < 1 || n > o->max)
            break;
        *rate = (struct config_rate){ .count = (unsigned)n, .window_ms = rate_units[i].factor };
        return true;
    }
    return value_refuse(o, e);
}

static bool print_rate(const struct option *o, const void *field, struct buf *out)
{
    (void)o;
    const struct config_rate *rate = field;
    for (size_t i = 0; i < ARRAY_LEN(rate_units); i++) {
        if (rate->count > 0 && rate->window_ms == rate_units[i].factor)
            return buf_addf(out, "%u%s", rate->count, rate_units[i].name);
    }
    return true;
}

static bool allowed_rate(const struct option *o, struct buf *out)
{
    return buf_addf(out, "messages in a time, such as 5/min, 100/h or 2/s, up to %llu",
        (unsigned long long)o->max);
}

static bool print_port(const struct option *o, const void *field, struct buf *out)
{
    (void)o;
    return buf_addf(out, "%u", (unsigned)*(const uint16_t *)field);
}

static bool print_count(const struct option *o, const void *field, struct buf *out)
{
    (void)o;
    return buf_addf(out, "%u", *(const unsigned *)field);
}

static bool print_size(const struct option *o, const void *field, struct buf *out)
{
    (void)o;
    return add_in_units(size_units, *(const uint64_t *)field, out);
}

static bool print_time(const struct option *o, const void *field, struct buf *out)
{
    (void)o;
    return add_in_units(time_units, *(const uint64_t *)field, out);
}

static bool allowed_port(const struct option *o, struct buf *out)
{
    (void)o;
    return buf_add_str(out, "1 to 65535");
}

static bool allowed_count(const struct option *o, struct buf *out)
{
    return buf_addf(out, "%llu to %llu", (unsigned long long)o->min, (unsigned long long)o->max);
}

static bool allowed_size(const struct option *o, struct buf *out)
{
    return buf_add_str(out, "a size from ") && add_in_units(size_units, o->min, out) &&
           buf_add_str(out, " to ") && add_in_units(size_units, o->max, out) &&
           buf_add_str(out, ", such as 150M");
}

static bool allowed_time(const struct option *o, struct buf *out)
{
    return buf_add_str(out, "a time from ") && add_in_units(time_units, o->min, out) &&
           buf_add_str(out, " to ") && add_in_units(time_units, o->max, out);
}

const struct value_kind value_port = {
    .parse = parse_port,
    .print = print_port,
    .allowed = allowed_port,
};
const struct value_kind value_count = {
    .parse = parse_count,
    .print = print_count,
    .allowed = allowed_count,
};
const struct value_kind value_size = {
    .parse = parse_size,
    .print = print_size,
    .allowed = allowed_size,
};
const struct value_kind value_time = {
    .parse = parse_time,
    .print = print_time,
    .allowed = allowed_time,
};

const struct value_kind value_rate = {
    .parse = parse_rate,
    .print = print_rate,
    .allowed = allowed_rate,
};

static bool parse_address(const struct option *o, struct slice text, void *field, struct err *e)
{
    return ip_parse(text, field) || value_refuse(o, e);
}

static bool print_address(const struct option *o, const void *field, struct buf *out)
{
    (void)o;
    char text[IP_TEXT_MAX];
    ip_format(field, text);
    return buf_add_str(out, text);
}

static bool allowed_address(const struct option *o, struct buf *out)
{
    (void)o;
    return buf_add_str(out, "an IP address");
}

const struct value_kind value_address = {
    .parse = parse_address,
    .print = print_address,
    .allowed = allowed_address,
};
