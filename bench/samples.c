#include "bench/samples.h"

#include <stdlib.h>

enum { FIRST_ROOM = 4096 };

bool samples_add(struct samples *s, uint64_t value)
{
    if (s->count == s->room) {
        size_t room = s->room > 0 ? 2 * s->room : FIRST_ROOM;
        uint64_t *values = realloc(s->values, room * sizeof *values);
        if (!values)
            return false;
        s->values = values;
        s->room = room;
    }
    s->values[s->count++] = value;
    return true;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void samples_sort(struct samples *s)
{
    if (s->count > 0)
        qsort(s->values, s->count, sizeof *s->values, compare);
}

double samples_quantile(const struct samples *s, double q)
{
    if (s->count == 0)
        return 0;
    size_t at = (size_t)(q * (double)s->count);
    return (double)s->values[at < s->count ? at : s->count - 1];
}

void samples_fini(struct samples *s)
{
    free(s->values);
    *s = (struct samples){ 0 };
}
