#include "smtp/quoted.h"

#include <stdint.h>

enum {
    LINE_MAX_7BIT = 998, /* octets without CRLF, RFC 5322 2.1.1 */
    LINE_MAX_QUOTED = 76 /* octets with the "=" of a soft line break, RFC 2045 6.7 (5) */
};

/* Takes a line off the front of *text; *ret_end is the length of its line end: 0, 1 or 2. */
static struct slice take_line(struct slice *text, size_t *ret_end)
{
    const char *lf = memchr(text->p, '\n', text->n);
    size_t n = lf ? (size_t)(lf - text->p) : text->n;
    *ret_end = lf ? 1 : 0;
    struct slice line = slice_of(text->p, n);
    *text = slice_skip(*text, n + *ret_end);
    if (lf && line.n > 0 && line.p[line.n - 1] == '\r') {
        line.n--;
        *ret_end = 2;
    }
    return line;
}

static bool is_plain(char c)
{
    return (c >= ' ' && c < 0x7f) || c == '\t';
}

bool smtp_quoted_is_needed(struct slice text)
{
    while (text.n > 0) {
        size_t end;
        struct slice line = take_line(&text, &end);
        if (end == 1 || line.n > LINE_MAX_7BIT || slice_starts_nocase(line, SLICE_LIT("--")))
            return true;
        for (size_t i = 0; i < line.n; i++) {
            if (!is_plain(line.p[i]))
                return true;
        }
    }
    return false;
}

/* The byte at `i` as it is, or as =HH. */
static size_t encode_byte(struct slice line, size_t i, char piece[3])
{
    static const char hex[] = "0123456789ABCDEF";
    char c = line.p[i];
    bool is_blank_at_end = (c == ' ' || c == '\t') && i + 1 == line.n;
    if (is_plain(c) && c != '=' && !is_blank_at_end) {
        piece[0] = c;
        return 1;
    }
    piece[0] = '=';
    piece[1] = hex[(uint8_t)c >> 4];
    piece[2] = hex[(uint8_t)c & 15];
    return 3;
}

static bool add_line(struct buf *out, struct slice line)
{
    bool fits = true;
    size_t column = 0;
    for (size_t i = 0; fits && i < line.n; i++) {
        char piece[3];
        size_t n = encode_byte(line, i, piece);
        if (column + n > LINE_MAX_QUOTED - 1) {
            fits = buf_add_str(out, "=\r\n");
            column = 0;
        }
        /* A dash in front could begin a boundary. */
        bool is_dash = column == 0 && piece[0] == '-';
        fits = fits && (is_dash ? buf_add_str(out, "=2D") : buf_add(out, piece, n));
        column += is_dash ? 3 : n;
    }
    return fits;
}

bool smtp_quoted_add(struct buf *out, struct slice text)
{
    bool fits = true;
    while (fits && text.n > 0) {
        size_t end;
        struct slice line = take_line(&text, &end);
        fits = add_line(out, line) && (end == 0 || buf_add_str(out, "\r\n"));
    }
    return fits;
}
