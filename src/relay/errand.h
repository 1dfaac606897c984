/*
 * One attempt to send one stored message over one session: envelope, text in chunks from the store,
 * verdicts. Made by delivery, which it tells how it ended; it changes the message's recipients and
 * nothing else. It never writes to the store and never decides when to try again.
 */
#ifndef SUBMITD_RELAY_ERRAND_H
#define SUBMITD_RELAY_ERRAND_H

#include "relay/pool.h"
#include "spool/store.h"

struct errand;

enum errand_end {
    ERRAND_ANSWERED,    /* the upstream said what is to be said: see the recipients */
    ERRAND_NO_UPSTREAM, /* unreachable, login refused, or the session was lost before the final dot
                         */
    ERRAND_BUSY,        /* all sessions are in use: nothing was tried */
    ERRAND_THROTTLED,   /* 421, 432 and their like: the account is too fast */
    ERRAND_UNCERTAIN,   /* lost between the final dot and the reply */
    ERRAND_NO_TEXT,     /* the store could not be read */
    ERRAND_CANCELLED,   /* a person removed it, and what was sent of it was taken back */
};

struct errand_result {
    enum errand_end end;
    char reply[512];                      /* the upstream's last word, or the reason; one line */
    bool has_session;                     /* one was had, whatever became of it */
    const char *mech;                     /* of the session; static, NULL without one */
    char tls[16];                         /* "TLS1.3" */
    const char *host;                     /* it was with; the setup's, NULL without one */
    unsigned accepted, deferred, refused; /* recipients of this attempt */
    bool has_surplus; /* 452 4.5.3: the deferred ones may go in another transaction at once */
};

/* The errand is gone after the callback; `m` is the callback's again. */
typedef void errand_fn(void *user, struct store_message *m, const struct errand_result *result);

/* Takes `m` until the callback, which never comes from inside. NULL when out of memory (`m` stays
 * the caller's). */
struct errand *errand_start(struct loop *loop, struct store *store, struct pool *pool,
    struct store_message *m, errand_fn *fn, void *user);
/* submitd ends: so does the attempt, with the callback from inside. The store must run no more
 * callbacks. */
void errand_cut(struct errand *e);

#endif
