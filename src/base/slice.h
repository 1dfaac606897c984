/*
 * A slice is a borrowed view of bytes: a pointer and a length, never NUL-terminated by promise.
 * Whoever made the bytes owns them; a slice is valid as long as its maker says.
 * It never allocates and never frees.
 */
#ifndef SUBMITD_BASE_SLICE_H
#define SUBMITD_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const char *p;
    size_t n;
};

#define SLICE_LIT(s) ((struct slice){ .p = (s), .n = sizeof(s) - 1 })
#define SLICE_NONE   ((struct slice){ .p = NULL, .n = 0 })
/* For printf: printf("%.*s", SLICE_ARG(s)). Only for bytes that were checked to be printable. */
#define SLICE_ARG(s) (int)(s).n, (s).p ? (s).p : ""
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static inline struct slice slice_of(const char *p, size_t n)
{
    return (struct slice){ .p = p, .n = n };
}

/* The bytes of a C string without its NUL; NULL gives the empty slice. */
static inline struct slice slice_str(const char *s)
{
    return s ? (struct slice){ .p = s, .n = strlen(s) } : SLICE_NONE;
}

/* Drops the first `n` bytes; `n` must not exceed the length. */
static inline struct slice slice_skip(struct slice s, size_t n)
{
    return (struct slice){ .p = n ? s.p + n : s.p, .n = s.n - n };
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* FNV-1a, going on from `seed`: to tell apart, not to protect. */
uint64_t slice_hash(struct slice s, uint64_t seed);
/* ASCII case-insensitive; other bytes are compared as they are (RFC 5321 2.4: verbs, keywords). */
bool slice_eq_nocase(struct slice a, struct slice b);
bool slice_starts_nocase(struct slice s, struct slice prefix);
/* Where `part`, which must not be empty, first stands in `s`; NULL when nowhere. */
const char *slice_find(struct slice s, struct slice part);
/* Without the blanks (space, tab, CR, LF) at both ends. */
struct slice slice_trim(struct slice s);
/* A decimal number of at most 18 digits and nothing else; *ret_n is set only on success. */
bool slice_to_u64(struct slice s, unsigned long long *ret_n);
/* A NUL-terminated heap copy; NULL when out of memory. Embedded NULs are kept. */
char *slice_dup(struct slice s);

#endif
