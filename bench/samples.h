/* The times of many messages, and what lies at a given part of them. Owned by whoever declares it.
 */
#ifndef SUBMITD_BENCH_SAMPLES_H
#define SUBMITD_BENCH_SAMPLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero is empty. */
struct samples {
    uint64_t *values;
    size_t count, room;
};

/* False when out of memory. */
bool samples_add(struct samples *s, uint64_t value);
void samples_sort(struct samples *s);
/* Of sorted samples, the smallest that a part `q` (0 to 1) of them does not exceed; 0 of none. */
double samples_quantile(const struct samples *s, double q);
void samples_fini(struct samples *s);

#endif
