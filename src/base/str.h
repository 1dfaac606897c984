/*
 * Small helpers for C strings and text that came from outside.
 * Results belong to the caller where the comment says "heap".
 */
#ifndef SUBMITD_BASE_STR_H
#define SUBMITD_BASE_STR_H

#include "base/buf.h"

#include <stdint.h>

/* Heap; NULL when `s` is NULL or memory ran out. */
char *str_dup(const char *s);
/* Heap, printf-like; NULL when memory ran out. */
char *str_format(const char *fmt, ...) FORMAT_LIKE_PRINTF(1, 2);
/* Appends a decimal number, with zeros in front up to `digits_min` (at most 20). */
bool str_add_number(struct buf *out, uint64_t number, unsigned digits_min);
/* ASCII case-insensitive match of `text` against a pattern with `*` (any run) and `?` (one byte).
 */
bool str_glob_nocase(const char *pattern, struct slice text);
/* The edit distance, capped at `limit` + 1; for "did you mean". */
unsigned str_distance(const char *a, const char *b, unsigned limit);
/* True when the bytes are well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool str_is_utf8(struct slice s);
/* Appends `s` with control bytes and malformed UTF-8 shown as <CR>, <LF>, <TAB> or <0xHH>. */
bool str_add_printable(struct buf *out, struct slice s);

#endif
