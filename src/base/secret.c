#include "base/secret.h"

#include <stdlib.h>

struct secret {
    size_t n;
    char bytes[]; /* n bytes and a NUL */
};

/* The barrier makes the compiler believe that somebody reads the zeros. */
void secret_wipe(void *p, size_t n)
{
    if (n > 0)
        memset(p, 0, n);
    __asm__ volatile("" : : "r"(p) : "memory");
}

struct secret *secret_new(const void *bytes, size_t n)
{
    struct secret *s = malloc(sizeof *s + n + 1);
    if (!s)
        return NULL;
    s->n = n;
    if (n > 0)
        memcpy(s->bytes, bytes, n);
    s->bytes[n] = '\0';
    return s;
}

struct secret *secret_dup(const struct secret *s)
{
    return s ? secret_new(s->bytes, s->n) : NULL;
}

void secret_free(struct secret *s)
{
    if (!s)
        return;
    secret_wipe(s->bytes, s->n);
    free(s);
}

struct slice secret_reveal(const struct secret *s)
{
    return s ? slice_of(s->bytes, s->n) : SLICE_NONE;
}

bool secret_is_empty(const struct secret *s)
{
    return !s || s->n == 0;
}

bool secret_eq(const struct secret *a, const struct secret *b)
{
    size_t an = a ? a->n : 0, bn = b ? b->n : 0;
    if (an != bn)
        return false;
    unsigned char diff = 0;
    for (size_t i = 0; i < an; i++)
        diff |= (unsigned char)(a->bytes[i] ^ b->bytes[i]);
    return diff == 0;
}
