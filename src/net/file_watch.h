/*
 * Tells when a file has changed (size, times, or another file of that name): it is looked at every
 * FILE_WATCH_MS, off the loop's thread. It works on every file system, does not need the file to
 * exist, and does not keep the loop running. The owner makes and frees it on the loop's thread.
 * It never opens the file.
 */
#ifndef SUBMITD_NET_FILE_WATCH_H
#define SUBMITD_NET_FILE_WATCH_H

#include "net/loop.h"

struct file_watch;

enum { FILE_WATCH_MS = 2000 };

/* NULL when out of memory. `fn` comes at the second look at the earliest, and once more when a
 * file that could not be seen appears. */
struct file_watch *file_watch_new(struct loop *loop, const char *path, loop_fn *fn, void *user);
void file_watch_free(struct file_watch *w);

#endif
