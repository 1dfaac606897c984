#include "ops/log_line.h"
#include "base/str.h"

#include <jansson.h>
#include <stdlib.h>
#include <time.h>

static const char *const level_names[] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARNING] = "warning",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}

static bool add_stamp(struct buf *out, struct log_stamp at)
{
    struct tm tm;
    time_t when = (time_t)at.wall_s;
    gmtime_r(&when, &tm);
    const struct {
        unsigned number, digits;
        char before;
    } parts[] = { { (unsigned)tm.tm_mon + 1, 2, '-' }, { (unsigned)tm.tm_mday, 2, '-' },
        { (unsigned)tm.tm_hour, 2, 'T' }, { (unsigned)tm.tm_min, 2, ':' },
        { (unsigned)tm.tm_sec, 2, ':' }, { at.ms, 3, '.' } };
    bool fits = str_add_number(out, (uint64_t)tm.tm_year + 1900, 4);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        fits = fits && buf_add_char(out, parts[i].before) &&
               str_add_number(out, parts[i].number, parts[i].digits);
    return fits && buf_add_char(out, 'Z');
}

/* The value with everything that could break a line shown as <...>, cut at LOG_VALUE_MAX. */
static void make_printable(struct buf *value, struct slice text)
{
    bool is_cut = text.n > LOG_VALUE_MAX;
    if (is_cut)
        text.n = LOG_VALUE_MAX;
    /* A multi-byte character may have been cut in two. */
    while (is_cut && text.n > 0 && ((unsigned char)text.p[text.n] & 0xc0) == 0x80)
        text.n--;
    str_add_printable(value, text);
    if (is_cut)
        buf_add_str(value, "...");
}

static bool needs_quotes(struct slice value)
{
    for (size_t i = 0; i < value.n; i++) {
        if (strchr(" \"\\=", value.p[i]))
            return true;
    }
    return value.n == 0;
}

static bool add_quoted(struct buf *out, struct slice value)
{
    bool fits = buf_add_char(out, '"');
    size_t done = 0;
    for (size_t i = 0; fits && i < value.n; i++) {
        if (value.p[i] != '"' && value.p[i] != '\\')
            continue;
        fits = buf_add(out, value.p + done, i - done) && buf_add_char(out, '\\');
        done = i;
    }
    return fits && buf_add(out, value.p + done, value.n - done) && buf_add_char(out, '"');
}

static bool add_key(struct buf *out, const char *key)
{
    return buf_add_char(out, ' ') && buf_add_str(out, key) && buf_add_char(out, '=');
}

/* A name, an address, an id: nothing in it must be changed or quoted. */
static bool is_plain(struct slice value)
{
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] <= ' ' || value.p[i] > '~' || strchr("\"\\=", value.p[i]))
            return false;
    }
    return value.n > 0 && value.n <= LOG_VALUE_MAX;
}

static bool add_text_field(struct buf *out, const struct log_field *field)
{
    bool fits = add_key(out, field->key);
    if (is_plain(field->text))
        return fits && buf_add_slice(out, field->text);
    struct buf value;
    buf_init(&value, LOG_LINE_MAX);
    make_printable(&value, field->text);
    if (fits && needs_quotes(buf_slice(&value)))
        fits = add_quoted(out, buf_slice(&value));
    else if (fits)
        fits = buf_add_slice(out, buf_slice(&value));
    buf_fini(&value);
    return fits;
}

static bool add_number(struct buf *out, int64_t number)
{
    bool fits = number >= 0 || buf_add_char(out, '-');
    return fits && str_add_number(out, number < 0 ? 0 - (uint64_t)number : (uint64_t)number, 1);
}

bool log_line_add_text(struct buf *out, struct log_stamp at, enum log_level level,
    const char *event, const struct log_field *fields)
{
    bool fits = add_stamp(out, at) && buf_addf(out, " %s %s", log_level_name(level), event);
    for (; fits && fields->kind != LOG_FIELD_END; fields++) {
        if (fields->kind == LOG_FIELD_NUMBER)
            fits = add_key(out, fields->key) && add_number(out, fields->number);
        else if (fields->text.p)
            fits = add_text_field(out, fields);
    }
    return fits;
}

bool log_line_add_page(struct buf *out, const char *event, const struct log_field *fields)
{
    bool fits = buf_addf(out, "%s\r\n", event);
    for (; fits && fields->kind != LOG_FIELD_END; fields++) {
        if (fields->kind == LOG_FIELD_NUMBER) {
            fits = buf_addf(out, "\r\n%s: %lld", fields->key, (long long)fields->number);
        } else if (fields->text.p) {
            struct buf value;
            buf_init(&value, LOG_LINE_MAX);
            make_printable(&value, fields->text);
            fits = buf_addf(out, "\r\n%s: ", fields->key) && buf_add_slice(out, buf_slice(&value));
            buf_fini(&value);
        }
    }
    return fits;
}

static json_t *json_value(const struct log_field *field)
{
    if (field->kind == LOG_FIELD_NUMBER)
        return json_integer(field->number);
    struct buf value;
    buf_init(&value, LOG_LINE_MAX);
    make_printable(&value, field->text);
    struct slice text = buf_slice(&value);
    json_t *json = json_stringn(text.p ? text.p : "", text.n);
    buf_fini(&value);
    return json;
}

bool log_line_add_json(struct buf *out, struct log_stamp at, enum log_level level,
    const char *event, const struct log_field *fields)
{
    struct buf stamp;
    buf_init(&stamp, 64);
    add_stamp(&stamp, at);
    json_t *object = json_object();
    json_object_set_new(object, "time", json_string(buf_cstr(&stamp)));
    json_object_set_new(object, "level", json_string(log_level_name(level)));
    json_object_set_new(object, "event", json_string(event));
    for (; fields->kind != LOG_FIELD_END; fields++) {
        if (fields->kind == LOG_FIELD_NUMBER || fields->text.p)
            json_object_set_new(object, fields->key, json_value(fields));
    }
    char *text = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER);
    bool fits = text && buf_add_str(out, text);
    free(text);
    json_decref(object);
    buf_fini(&stamp);
    return fits;
}
