/* Log lines: one event is one line, whatever the peer sent. */
#include "ops/log_line.h"

#include <criterion/criterion.h>

static const struct log_stamp at = { .wall_s = 1795301187, .ms = 7 };

static const char *text_of(struct buf *out, const struct log_field *fields)
{
    buf_clear(out);
    cr_assert(log_line_add_text(out, at, LOG_LEVEL_INFO, "message", fields));
    return buf_cstr(out);
}

static const char *json_of(struct buf *out, const struct log_field *fields)
{
    buf_clear(out);
    cr_assert(log_line_add_json(out, at, LOG_LEVEL_ERROR, "message", fields));
    return buf_cstr(out);
}

#define FIELDS(...) ((const struct log_field[]){ __VA_ARGS__, { .kind = LOG_FIELD_END } })

Test(log_line, shows_time_level_event_and_fields)
{
    struct buf out;
    buf_init(&out, LOG_LINE_MAX);
    cr_assert_str_eq(text_of(&out, FIELDS(LOG_STR("id", "ab12"), LOG_INT("size", -3))),
        "2026-11-21T22:46:27.007Z info message id=ab12 size=-3");
    cr_assert_str_eq(json_of(&out, FIELDS(LOG_STR("id", "ab12"), LOG_INT("size", -3))),
        "{\"time\":\"2026-11-21T22:46:27.007Z\",\"level\":\"error\",\"event\":\"message\",\"id\":"
        "\"ab12\",\"size\":-3}");
    buf_fini(&out);
}

Test(log_line, quotes_what_has_blanks_quotes_or_nothing)
{
    struct buf out;
    buf_init(&out, LOG_LINE_MAX);
    const struct {
        const char *value, *want;
    } rows[] = {
        { "a b", "k=\"a b\"" },
        { "", "k=\"\"" },
        { "say \"hi\"", "k=\"say \\\"hi\\\"\"" },
        { "CORP\\svc", "k=\"CORP\\\\svc\"" },
        { "x=y", "k=\"x=y\"" },
        { "plain", "k=plain" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *line = text_of(&out, FIELDS(LOG_STR("k", rows[i].value)));
        cr_assert_str_eq(line + strlen("2026-11-21T22:46:27.007Z info message "), rows[i].want);
    }
    buf_fini(&out);
}

Test(log_line, page_has_a_line_for_each_field_and_no_other)
{
    struct buf out;
    buf_init(&out, LOG_LINE_MAX);
    cr_assert(log_line_add_page(&out, "message",
        FIELDS(LOG_STR("id", "ab12"), LOG_STR("none", NULL), LOG_INT("size", -3),
            LOG_STR("reply", "250 a\r\nid: b"))));
    cr_assert_str_eq(
        buf_cstr(&out), "message\r\n\r\nid: ab12\r\nsize: -3\r\nreply: 250 a<CR><LF>id: b");
    buf_fini(&out);
}

Test(log_line, leaves_out_fields_without_bytes)
{
    struct buf out;
    buf_init(&out, LOG_LINE_MAX);
    cr_assert_str_eq(text_of(&out, FIELDS(LOG_STR("a", NULL), LOG_STR("b", "1"))),
        "2026-11-21T22:46:27.007Z info message b=1");
    buf_fini(&out);
}

Test(log_line, stays_one_line_whatever_a_peer_sent)
{
    struct buf out;
    buf_init(&out, LOG_LINE_MAX);
    struct slice hostile = SLICE_LIT("a\r\n2026 error forged\n\x1b[2J\x00\xff\xc3");
    const char *text = text_of(&out, FIELDS(LOG_SLICE("k", hostile)));
    cr_assert_null(strpbrk(text, "\r\n\x1b"));
    cr_assert_not_null(strstr(text, "a<CR><LF>2026 error forged<LF><0x1B>[2J<0x00><0xFF><0xC3>"));
    const char *json = json_of(&out, FIELDS(LOG_SLICE("k", hostile)));
    cr_assert_null(strpbrk(json, "\r\n\x1b"));
    cr_assert_not_null(strstr(json, "<CR><LF>"));
    buf_fini(&out);
}

Test(log_line, cuts_long_values_between_characters)
{
    struct buf out, value;
    buf_init(&out, LOG_LINE_MAX);
    buf_init(&value, 3 * LOG_VALUE_MAX);
    buf_add_char(&value, 'x'); /* so that the cut falls into a two-byte character */
    for (size_t i = 0; i < LOG_VALUE_MAX; i++)
        buf_add_str(&value, "\xc3\xa4");
    const char *text = text_of(&out, FIELDS(LOG_SLICE("k", buf_slice(&value))));
    size_t n = strlen(text);
    cr_assert_str_eq(text + n - 5, "\xc3\xa4...");
    cr_assert_lt(n, LOG_VALUE_MAX + 64);
    buf_fini(&out);
    buf_fini(&value);
}
