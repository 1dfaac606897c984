/*
 * A disk that fails on command, under SQLite: a VFS over the system's own that refuses the nth
 * write, sync or truncation, is full, or loses its power. The tests install it before the first
 * store is opened. It never changes what a write that it lets through does.
 */
#ifndef SUBMITD_TESTS_FAULTY_DISK_H
#define SUBMITD_TESTS_FAULTY_DISK_H

#include <stdbool.h>

enum disk_call { DISK_WRITE, DISK_SYNC, DISK_TRUNCATE };
enum { DISK_CALLS = DISK_TRUNCATE + 1 };

/* Becomes SQLite's default. */
void disk_install(void);
/* The nth call of this kind from now on (1: the next) fails, and all behind it when `stays`; a
 * write is then done by half. `code` is an SQLite result, `why` the errno that goes with it. */
void disk_break(enum disk_call call, unsigned nth, bool stays, int code, int why);
/* Files cannot grow any more; octets that they have can be written again. */
void disk_fill(void);
void disk_repair(void);
/* True when a fault was met since it was set. */
bool disk_has_failed(void);
/* Files cannot be shared between connections, as on a network file system: no WAL. */
void disk_forbid_sharing(void);
/* Writes what a power loss now could leave of the files in `from` into the folder `to`: all that
 * was synced, and any of the writes behind that, some by half. */
void disk_lose_power(const char *from, const char *to, unsigned seed);

#endif
