#include "base/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool base64_encode(struct slice bytes, struct buf *out)
{
    size_t n = (bytes.n + 2) / 3 * 4;
    char *to = buf_reserve(out, n);
    if (!to)
        return false;
    const unsigned char *in = (const unsigned char *)bytes.p;
    for (size_t i = 0; i < bytes.n; i += 3, to += 4) {
        size_t left = bytes.n - i;
        unsigned v = (unsigned)in[i] << 16;
        v |= left > 1 ? (unsigned)in[i + 1] << 8 : 0;
        v |= left > 2 ? in[i + 2] : 0;
        to[0] = alphabet[v >> 18];
        to[1] = alphabet[v >> 12 & 63];
        to[2] = left > 1 ? alphabet[v >> 6 & 63] : '=';
        to[3] = left > 2 ? alphabet[v & 63] : '=';
    }
    buf_commit(out, n);
    return true;
}

/* The value of one character, -1 when it is not of the alphabet. */
static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Decodes four characters, of which the last `padding` are "="; false when they are not canonical.
 */
static bool decode_group(const char *in, unsigned padding, unsigned char *to)
{
    unsigned v = 0;
    for (unsigned i = 0; i < 4; i++) {
        int d = i < 4 - padding ? value_of(in[i]) : 0;
        if (d < 0)
            return false;
        v = v << 6 | (unsigned)d;
    }
    unsigned stray = padding == 0 ? 0 : v & (padding == 1 ? 0xff : 0xffff);
    if (stray != 0)
        return false;
    to[0] = (unsigned char)(v >> 16);
    if (padding < 2)
        to[1] = (unsigned char)(v >> 8);
    if (padding < 1)
        to[2] = (unsigned char)v;
    return true;
}

bool base64_decode(struct slice text, struct buf *out)
{
    if (text.n % 4 != 0)
        return false;
    if (text.n == 0)
        return true;
    unsigned padding = text.p[text.n - 1] != '=' ? 0 : text.p[text.n - 2] != '=' ? 1 : 2;
    size_t n = text.n / 4 * 3 - padding;
    char *to = buf_reserve(out, n);
    if (!to)
        return false;
    for (size_t i = 0; i < text.n; i += 4, to += 3) {
        bool is_last = i + 4 == text.n;
        if (!decode_group(text.p + i, is_last ? padding : 0, (unsigned char *)to))
            return false;
    }
    buf_commit(out, n);
    return true;
}
