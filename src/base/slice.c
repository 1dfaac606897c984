#include "base/slice.h"

#include <stdlib.h>

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

bool slice_eq_nocase(struct slice a, struct slice b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++) {
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    }
    return true;
}

bool slice_starts_nocase(struct slice s, struct slice prefix)
{
    return s.n >= prefix.n && slice_eq_nocase(slice_of(s.p, prefix.n), prefix);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

const char *slice_find(struct slice s, struct slice part)
{
    while (s.n >= part.n) {
        const char *found = memchr(s.p, part.p[0], s.n - part.n + 1);
        if (!found || memcmp(found, part.p, part.n) == 0)
            return found;
        s = slice_skip(s, (size_t)(found - s.p) + 1);
    }
    return NULL;
}

struct slice slice_trim(struct slice s)
{
    while (s.n > 0 && is_blank(s.p[0]))
        s = slice_skip(s, 1);
    while (s.n > 0 && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

bool slice_to_u64(struct slice s, unsigned long long *ret_n)
{
    enum { DIGITS_MAX = 18 }; /* always fits into 64 bits */
    if (s.n == 0 || s.n > DIGITS_MAX)
        return false;
    unsigned long long n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        n = n * 10 + (unsigned)(s.p[i] - '0');
    }
    *ret_n = n;
    return true;
}

uint64_t slice_hash(struct slice s, uint64_t seed)
{
    uint64_t hash = seed ^ 0xcbf29ce484222325u;
    for (size_t i = 0; i < s.n; i++)
        hash = (hash ^ (unsigned char)s.p[i]) * 0x100000001b3u;
    return hash;
}

char *slice_dup(struct slice s)
{
    char *copy = malloc(s.n + 1);
    if (!copy)
        return NULL;
    if (s.n > 0)
        memcpy(copy, s.p, s.n);
    copy[s.n] = '\0';
    return copy;
}
