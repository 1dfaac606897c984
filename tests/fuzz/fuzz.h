/*
 * What the fuzz targets share. A claim that does not hold aborts, which libFuzzer reports.
 * It is used by programs of one file each and owns nothing.
 */
#ifndef SUBMITD_FUZZ_H
#define SUBMITD_FUZZ_H

#include "base/slice.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Not assert(): it must hold in every build. */
#define CLAIM(that)                                                                                \
    do {                                                                                           \
        if (!(that)) {                                                                             \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #that);              \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* The input without the first byte, which drives the test itself. */
static inline struct slice fuzz_text(const uint8_t *data, size_t size)
{
    return slice_of((const char *)data + 1, size - 1);
}

static inline bool fuzz_is_inside(struct slice part, struct slice whole)
{
    return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

/* No byte that ends a line or drives a terminal. */
static inline bool fuzz_is_clean(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

#endif
