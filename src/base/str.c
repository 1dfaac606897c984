#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>

char *str_dup(const char *s)
{
    return s ? slice_dup(slice_str(s)) : NULL;
}

char *str_format(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *text = n < 0 ? NULL : malloc((size_t)n + 1);
    if (!text)
        return NULL;
    va_start(ap, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return text;
}

bool str_add_number(struct buf *out, uint64_t number, unsigned digits_min)
{
    char digits[24], *front = digits + sizeof digits, *wanted = front - digits_min;
    do
        *--front = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    while (front > wanted)
        *--front = '0';
    return buf_add(out, front, (size_t)(digits + sizeof digits - front));
}

static char lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

/* Linear: on a mismatch it goes back to the last star only, one byte further. */
bool str_glob_nocase(const char *pattern, struct slice text)
{
    const char *star = NULL;
    size_t i = 0, resume = 0;
    while (i < text.n) {
        if (*pattern == '*') {
            star = ++pattern;
            resume = i;
        } else if (*pattern != '\0' && (*pattern == '?' || lower(*pattern) == lower(text.p[i]))) {
            pattern++;
            i++;
        } else if (star) {
            pattern = star;
            i = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;
    return m < c ? m : c;
}

unsigned str_distance(const char *a, const char *b, unsigned limit)
{
    enum { LENGTH_MAX = 63 };
    size_t an = strlen(a), bn = strlen(b);
    if (an > LENGTH_MAX || bn > LENGTH_MAX)
        return limit + 1;
    unsigned row[LENGTH_MAX + 1];
    for (size_t j = 0; j <= bn; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= an; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= bn; j++) {
            unsigned change = diagonal + (lower(a[i - 1]) != lower(b[j - 1]));
            diagonal = row[j];
            row[j] = min3(change, row[j] + 1, row[j - 1] + 1);
        }
    }
    return row[bn] > limit ? limit + 1 : row[bn];
}

/* Length of the well-formed UTF-8 sequence at the front (RFC 3629 4), 0 when there is none. */
static size_t utf8_length(struct slice s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    if (p[0] < 0x80)
        return 1;
    size_t n = p[0] >= 0xc2 && p[0] <= 0xdf   ? 2
               : p[0] >= 0xe0 && p[0] <= 0xef ? 3
               : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
                                              : 0;
    if (n == 0 || s.n < n)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    bool is_bad = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
                  (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f);
    return is_bad ? 0 : n;
}

bool str_is_utf8(struct slice s)
{
    while (s.n > 0) {
        size_t n = utf8_length(s);
        if (n == 0)
            return false;
        s = slice_skip(s, n);
    }
    return true;
}

static bool add_shown(struct buf *out, unsigned char c)
{
    switch (c) {
    case '\r':
        return buf_add_str(out, "<CR>");
    case '\n':
        return buf_add_str(out, "<LF>");
    case '\t':
        return buf_add_str(out, "<TAB>");
    default:
        return buf_addf(out, "<0x%02X>", c);
    }
}

/* Octets at the front that are shown as they are whatever follows: most of all text. */
static size_t plain_length(struct slice s)
{
    size_t n = 0;
    while (n < s.n && s.p[n] >= ' ' && s.p[n] <= '~')
        n++;
    return n;
}

bool str_add_printable(struct buf *out, struct slice s)
{
    bool fits = true;
    while (fits && s.n > 0) {
        size_t plain = plain_length(s);
        fits = buf_add(out, s.p, plain);
        s = slice_skip(s, plain);
        if (!fits || s.n == 0)
            break;
        size_t n = utf8_length(s);
        unsigned char c = (unsigned char)s.p[0];
        bool is_c1 = n == 2 && c == 0xc2 && (unsigned char)s.p[1] < 0xa0; /* U+0080..U+009F */
        if (n == 0 || c < 0x20 || c == 0x7f || is_c1) {
            fits = add_shown(out, c);
            n = 1;
            if (is_c1) {
                fits = fits && add_shown(out, (unsigned char)s.p[1]);
                n = 2;
            }
        } else {
            fits = buf_add(out, s.p, n);
        }
        s = slice_skip(s, n);
    }
    return fits;
}
