/*
 * What the files of posix/ share. Nothing of this is for another folder.
 */
#ifndef SUBMITD_PLATFORM_POSIX_POSIX_H
#define SUBMITD_PLATFORM_POSIX_POSIX_H

#include "base/buf.h"
#include "base/err.h"

#include <stdint.h>

/* Of two files one is built: forbid_tracing.c, or allow_tracing.c for a sanitized build. */
void posix_set_tracing(void);

enum posix_stderr { POSIX_STDERR_NOWHERE, POSIX_STDERR_OURS };

/* platform_run_command with an `input` (a descriptor that stays the caller's; -1: /dev/null) and a
 * choice of where its complaints go. */
bool posix_run_command(const char *command, int input, enum posix_stderr complaints,
    uint64_t timeout_ms, struct buf *out, struct err *e);

#endif
