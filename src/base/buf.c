#include "base/buf.h"
#include "base/secret.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { BUF_FIRST_SIZE = 128 };

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){ .max = max };
}

void buf_init_secret(struct buf *b, size_t max)
{
    *b = (struct buf){ .max = max, .wipe = true };
}

void buf_fini(struct buf *b)
{
    buf_release_memory(b);
}

void buf_clear(struct buf *b)
{
    if (b->wipe && b->data)
        secret_wipe(b->data, b->cap);
    b->off = 0;
    b->len = 0;
    b->failed = false;
}

void buf_release_memory(struct buf *b)
{
    buf_clear(b);
    free(b->data);
    b->data = NULL;
    b->cap = 0;
}

/* A larger home for the content, at the front of new memory. */
static bool move_to(struct buf *b, size_t cap)
{
    char *data = malloc(cap);
    if (!data)
        return false;
    if (b->len > 0)
        memcpy(data, b->data + b->off, b->len);
    if (b->wipe && b->data)
        secret_wipe(b->data, b->cap);
    free(b->data);
    b->data = data;
    b->off = 0;
    b->cap = cap;
    return true;
}

/* One byte more than asked is kept free for buf_cstr's NUL. */
static bool make_room(struct buf *b, size_t n)
{
    assert(b->data || (b->cap == 0 && b->off == 0 && b->len == 0));
    if (n > b->max || b->len > b->max - n)
        return false;
    size_t need = b->len + n + 1;
    if (b->off + need <= b->cap)
        return true;
    if (need <= b->cap && b->off >= b->cap / 2) {
        memmove(b->data, b->data + b->off, b->len);
        if (b->wipe)
            secret_wipe(b->data + b->len, b->off);
        b->off = 0;
        return true;
    }
    size_t cap = b->cap > 0 ? b->cap : BUF_FIRST_SIZE;
    while (cap < need)
        cap *= 2;
    if (cap > b->max + 1)
        cap = b->max + 1;
    return move_to(b, cap);
}

char *buf_reserve(struct buf *b, size_t n)
{
    if (!make_room(b, n)) {
        b->failed = true;
        return NULL;
    }
    return b->data + b->off + b->len;
}

void buf_commit(struct buf *b, size_t n)
{
    b->len += n;
}

bool buf_add(struct buf *b, const void *p, size_t n)
{
    if (n == 0)
        return true;
    char *to = buf_reserve(b, n);
    if (!to)
        return false;
    memcpy(to, p, n);
    b->len += n;
    return true;
}

bool buf_add_slice(struct buf *b, struct slice s)
{
    return buf_add(b, s.p, s.n);
}

bool buf_add_str(struct buf *b, const char *s)
{
    return buf_add(b, s, strlen(s));
}

bool buf_add_char(struct buf *b, char c)
{
    return buf_add(b, &c, 1);
}

bool buf_vaddf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    size_t room = b->cap - b->off - b->len; /* most of what is added fits already */
    int n = vsnprintf(room > 0 ? b->data + b->off + b->len : NULL, room, fmt, ap);
    char *to = n < 0 ? NULL : buf_reserve(b, (size_t)n); /* make_room keeps a byte for the NUL */
    if (to && (size_t)n >= room)
        vsnprintf(to, (size_t)n + 1, fmt, again);
    if (to)
        b->len += (size_t)n;
    va_end(again);
    b->failed = b->failed || !to;
    return to != NULL;
}

bool buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    bool done = buf_vaddf(b, fmt, ap);
    va_end(ap);
    return done;
}

void buf_consume(struct buf *b, size_t n)
{
    if (b->wipe && n > 0)
        secret_wipe(b->data + b->off, n);
    b->off += n;
    b->len -= n;
    if (b->len == 0)
        b->off = 0;
}

struct slice buf_slice(const struct buf *b)
{
    return (struct slice){ .p = b->data ? b->data + b->off : NULL, .n = b->len };
}

const char *buf_cstr(struct buf *b)
{
    if (!b->data && !make_room(b, 0))
        return "";
    b->data[b->off + b->len] = '\0';
    return b->data + b->off;
}
