/*
 * Lets another thread call a function on the loop. The owner makes and frees it on the loop's
 * thread and makes sure that nobody rings afterwards. Several rings before the loop hears them are
 * one.
 */
#ifndef SUBMITD_NET_DOORBELL_H
#define SUBMITD_NET_DOORBELL_H

#include "net/loop.h"

struct doorbell;

/* NULL when out of memory or handles. It does not keep the loop running. */
struct doorbell *doorbell_new(struct loop *loop, loop_fn *fn, void *user);
/* Any thread. */
void doorbell_ring(struct doorbell *b);
void doorbell_free(struct doorbell *b);

#endif
