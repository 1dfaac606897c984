#include "smtp/header_line.h"

enum { FOLD_COLUMN = 78 }; /* RFC 5322 2.1.1 */

struct smtp_header_line smtp_header_line_open(struct buf *out, const char *name)
{
    buf_add_str(out, name);
    return (struct smtp_header_line){ .out = out, .column = strlen(name) };
}

static bool is_control(char c)
{
    return (unsigned char)c < ' ' || c == 0x7f;
}

static bool is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr(".-_:[]", c));
}

static bool add_clean(struct buf *out, struct slice s, bool is_token)
{
    char *to = buf_reserve(out, s.n);
    if (!to)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        bool is_fit = is_token ? is_token_char(s.p[i]) : !is_control(s.p[i]);
        to[i] = is_fit ? s.p[i] : '?';
    }
    buf_commit(out, s.n);
    return true;
}

static void add(struct smtp_header_line *line, const char *before, struct slice s,
    const char *after, bool is_token)
{
    size_t n = strlen(before) + s.n + strlen(after);
    bool is_over = line->column + 1 + n > FOLD_COLUMN;
    buf_add_str(line->out, is_over ? "\r\n " : " ");
    line->column = (is_over ? 0 : line->column) + 1 + n;
    buf_add_str(line->out, before);
    add_clean(line->out, s, is_token);
    buf_add_str(line->out, after);
}

void smtp_header_line_add(
    struct smtp_header_line *line, const char *before, struct slice s, const char *after)
{
    add(line, before, s, after, false);
}

static struct slice cut_token(struct slice s)
{
    return slice_of(s.p, s.n < SMTP_HEADER_TOKEN_MAX ? s.n : SMTP_HEADER_TOKEN_MAX);
}

void smtp_header_line_add_token(
    struct smtp_header_line *line, const char *before, struct slice s, const char *after)
{
    add(line, before, s.n > 0 ? cut_token(s) : SLICE_LIT("unknown"), after, true);
}

void smtp_header_line_close(struct smtp_header_line *line)
{
    buf_add_str(line->out, "\r\n");
}

bool smtp_header_add_token(struct buf *out, struct slice s)
{
    return add_clean(out, cut_token(s), true);
}
