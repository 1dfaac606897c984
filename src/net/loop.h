/*
 * The event loop: one thread, timers, signals, and a worker pool for what may block. libuv inside.
 * The application makes one; everything in src/net belongs to it and must be closed before
 * loop_free. Callbacks run on the loop's thread only, except the `work` function of loop_work.
 */
#ifndef SUBMITD_NET_LOOP_H
#define SUBMITD_NET_LOOP_H

#include "base/err.h"

#include <stdint.h>

struct loop;

bool loop_new(struct loop **ret_loop, struct err *e);
/* Closes what loop_* made here; connections, listeners and dialers must be gone (conn_close and its
 * like were called). Runs until closed connections have sent the rest, at most 5 seconds, and until
 * work and name look-ups that are under way have ended. */
void loop_free(struct loop *loop);
/* Runs until loop_stop, or until nothing is left to wait for. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* Milliseconds of a monotonic clock, as of this turn of the loop. */
uint64_t loop_now_ms(const struct loop *loop);
/* Seconds since 1970, for Date and Received. */
int64_t loop_wall_s(const struct loop *loop);

typedef void loop_fn(void *user);

/* --- timers: one shot, may be set again; *owner* frees it --- */
struct timer;

struct timer *timer_new(struct loop *loop, loop_fn *fn, void *user);
/* Fires once at `at_ms` in loop_now_ms's clock; 0 stops it. Setting replaces an earlier time. */
void timer_set(struct timer *t, uint64_t at_ms);
void timer_free(struct timer *t);

/* --- signals --- */
/* They live as long as the loop; waiting for them alone does not keep it running. */
typedef void loop_signal_fn(void *user, int signum);
bool loop_on_signal(struct loop *loop, int signum, loop_signal_fn *fn, void *user, struct err *e);

/* --- work that may block --- */
/* Runs work(arg) on a worker thread, then done(arg) on the loop. It cannot be taken back: `arg`
 * must live until done was called. False: it was not started, done is not called. */
bool loop_work(struct loop *loop, loop_fn *work, loop_fn *done, void *arg);

#endif
