/*
 * The upstream's hosts, in the order of the configuration, and which of them are skipped because
 * they could not be used. Owned by the setup's failover, so all accounts share what one of them
 * found out. It is told what happened and what time it is; it never connects, logs or waits.
 *
 * A host that failed is skipped at once and probed after 30 s; each probe that fails doubles the
 * time to the next, up to 10 min. A probe that gets through ends the skipping, and a login that
 * works makes the host as good as new; until then its next failure goes on with the doubling.
 */
#ifndef SUBMITD_RELAY_HOSTS_H
#define SUBMITD_RELAY_HOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hosts;

enum {
    HOSTS_FIRST_SKIP_MS = 30 * 1000,
    HOSTS_LAST_SKIP_MS = 10 * 60 * 1000,
};

/* `count` is at least 1. NULL when out of memory. */
struct hosts *hosts_new(size_t count);
void hosts_free(struct hosts *h);

/* The host for a new session: the first that is not skipped. When all are, the one that was chosen
 * longest ago: somebody waits, and nothing better is known. */
size_t hosts_choose(struct hosts *h);
/* A session could not be made for a reason that is the host's. True: one that is not skipped can be
 * tried at once. */
bool hosts_failed(struct hosts *h, size_t host, uint64_t now_ms);
/* A login worked, or auth = none got so far: the session counts until hosts_session_over. */
void hosts_session_ready(struct hosts *h, size_t host);
void hosts_session_over(struct hosts *h, size_t host);
/* Of all accounts, on this host. */
unsigned hosts_sessions(const struct hosts *h, size_t host);
bool hosts_is_skipped(const struct hosts *h, size_t host);
/* How long the host is, or was last, skipped until its next probe. */
uint64_t hosts_skip_ms(const struct hosts *h, size_t host);

/* When and where the next probe is due; 0: nowhere. A lone host is never probed: it is chosen
 * anyway. */
uint64_t hosts_next_probe(const struct hosts *h, size_t *ret_host);
void hosts_probed(struct hosts *h, size_t host, bool is_reached, uint64_t now_ms);

#endif
