/*
 * Watches the password files of the configuration in force, so that a new password works without a
 * reload by hand. Owned by the daemon, on the loop's thread. It never reads the files.
 */
#ifndef SUBMITD_APP_PASSWORD_WATCH_H
#define SUBMITD_APP_PASSWORD_WATCH_H

#include "config/config.h"
#include "net/loop.h"

struct password_watch;

enum { PASSWORD_WATCH_SETTLE_MS = 1000 }; /* whoever writes a file may not be done at once */

/* `fn` comes when a file has changed and then been left alone. NULL when out of memory. */
struct password_watch *password_watch_new(struct loop *loop, loop_fn *fn, void *user);
/* From now on this configuration's files; what cannot be watched for lack of memory is not. */
void password_watch_set(struct password_watch *w, const struct config *c);
void password_watch_free(struct password_watch *w);

#endif
