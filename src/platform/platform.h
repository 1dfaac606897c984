/*
 * What differs between systems, behind one header. posix/ and win/ each implement all of it.
 */
#ifndef SUBMITD_PLATFORM_PLATFORM_H
#define SUBMITD_PLATFORM_PLATFORM_H

#include "base/buf.h"
#include "base/err.h"

#include <stdint.h>

/* The machine's full name when it is known, else its short one; "localhost" when there is none. */
void platform_hostname(char *name, size_t size);
/* Keeps secrets out of core dumps and debuggers of other users. Best effort. */
void platform_protect_memory(void);
/* Raises the number of open files to what the system allows. */
void platform_raise_file_limit(void);
/* A run of random bytes for message ids. */
void platform_random(void *p, size_t n);
/* Where the INI file is when --config is not given. */
const char *platform_default_config(void);

/* True when no one but the owner (and root) can read the file, or its group when that is not ours
 * to judge: mode bits for others must be clear. `e` has the chmod to run. */
bool platform_file_is_private(const char *path, struct err *e);
/* Runs a shell command and takes its standard output (a password: `out` should be a secret buffer).
 * Fails when it exits other than 0, writes more than fits, or runs longer than `timeout_ms`.
 * Blocks. */
bool platform_run_command(const char *command, uint64_t timeout_ms, struct buf *out, struct err *e);
/* The system's log: syslog on POSIX, the event log on Windows. `severity` 0 error .. 3 debug. */
void platform_syslog(int severity, const char *line);

#endif
