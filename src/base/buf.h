/*
 * A growable byte buffer with a maximum that is given when it is made, consumed from the front.
 * The struct lives in its owner; the bytes are on the heap and are freed by buf_fini or
 * buf_release_memory. It never grows past its maximum: adding more sets the sticky `failed` flag,
 * to be checked once.
 */
#ifndef SUBMITD_BASE_BUF_H
#define SUBMITD_BASE_BUF_H

#include "base/format.h"
#include "base/slice.h"

#include <stdarg.h>

struct buf {
    char *data;  /* heap, NULL while nothing was ever added */
    size_t off;  /* the first byte that is not consumed */
    size_t len;  /* bytes held, counted from `off` */
    size_t cap;  /* bytes allocated */
    size_t max;  /* bytes it may hold */
    bool wipe;   /* memory is overwritten before it is given back */
    bool failed; /* an add did not fit or memory ran out; nothing of that add was kept */
};

void buf_init(struct buf *b, size_t max);
/* For secrets: every byte is overwritten when it is consumed, moved or freed. */
void buf_init_secret(struct buf *b, size_t max);
void buf_fini(struct buf *b);
/* Empty and ready for reuse; keeps the memory and clears `failed`. */
void buf_clear(struct buf *b);
/* Empty, and gives the memory back; keeps `max`. */
void buf_release_memory(struct buf *b);

/* Each returns false, and sets `failed`, when the bytes do not fit; nothing is added then. */
bool buf_add(struct buf *b, const void *p, size_t n);
bool buf_add_slice(struct buf *b, struct slice s);
bool buf_add_str(struct buf *b, const char *s);
bool buf_add_char(struct buf *b, char c);
bool buf_addf(struct buf *b, const char *fmt, ...) FORMAT_LIKE_PRINTF(2, 3);
bool buf_vaddf(struct buf *b, const char *fmt, va_list ap) FORMAT_LIKE_PRINTF(2, 0);

/* Room for `n` more bytes at the returned address, NULL when they do not fit; then buf_commit. */
char *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);

/* Drops `n` bytes from the front; `n` must not exceed the length. */
void buf_consume(struct buf *b, size_t n);
/* Valid until the next call that changes the buffer. */
struct slice buf_slice(const struct buf *b);
/* NUL-terminated view of the content (the NUL is not counted); "" when out of memory. */
const char *buf_cstr(struct buf *b);

#endif
