/*
 * What differs between systems, behind one header. posix/ and win/ each implement all of it.
 */
#ifndef SUBMITD_PLATFORM_PLATFORM_H
#define SUBMITD_PLATFORM_PLATFORM_H

#include "base/buf.h"
#include "base/err.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>

/* --- the process --- */

/* First of all in main: makes the arguments UTF-8 and the standard streams pass bytes unchanged. */
void platform_start(int *argc, char ***argv);
/* --- the machine --- */

/* The machine's full name when it is known, else its short one; "localhost" when there is none. */
void platform_hostname(char *name, size_t size);
/* Keeps secrets out of core dumps and debuggers of other users. Best effort. */
void platform_protect_memory(void);
enum platform_wish {
    PLATFORM_STOP,       /* drain, then end */
    PLATFORM_RELOAD,     /* read the configuration again */
    PLATFORM_REOPEN_LOG, /* the log file was moved away */
};

/* What a signal asks of the daemon; number 0 ends the list. */
struct platform_signal {
    int number;
    enum platform_wish wish;
};
extern const struct platform_signal platform_signals[];

/* pthread_create for a thread that takes no signals: those belong to the loop's. */
int platform_start_thread(pthread_t *ret_thread, void *(*run)(void *), void *arg);
/* A condition whose waits do not mind that the wall clock is set. */
bool platform_cond_init(pthread_cond_t *cond);
/* Waits for a signal, at most `ms`; may also end early without one. */
void platform_cond_wait_for(pthread_cond_t *cond, pthread_mutex_t *mutex, unsigned ms);
/* Raises the number of open files to what the system allows. */
void platform_raise_file_limit(void);
/* A run of random bytes for message ids. */
void platform_random(void *p, size_t n);
/* True when a login needs no name and password, because the process has an account of its own. */
bool platform_has_identity(void);

/* --- files; every path is UTF-8 --- */

/* Where the INI file is when --config is not given. */
const char *platform_default_config(void);
/* The one of two defaults that is for this system; heap, NULL when out of memory. A %NAME% of the
 * environment is replaced in `windows`. */
char *platform_pick(const char *posix, const char *windows);
/* fopen for reading bytes; sets errno. */
FILE *platform_open(const char *path);
/* Opens or makes a file that every write goes to the end of, and that may be renamed meanwhile. */
bool platform_open_log(const char *path, int *ret_fd, struct err *e);

/* True when no one but the owner (and root) can read the file, or its group when that is not ours
 * to judge: mode bits for others must be clear, or no large group of users be in its access list.
 * `e` has the command to run. */
bool platform_file_is_private(const char *path, struct err *e);

/* --- others --- */

/* Runs a command by the shell (/bin/sh, cmd.exe) and takes its standard output (a password: `out`
 * should be a secret buffer). Fails when it exits other than 0, writes more than fits, or runs
 * longer than `timeout_ms`. Blocks. */
bool platform_run_command(const char *command, uint64_t timeout_ms, struct buf *out, struct err *e);
/* The system's log: syslog on POSIX, the event log on Windows. `severity` 0 error .. 3 debug. */
void platform_syslog(int severity, const char *line);

#endif
