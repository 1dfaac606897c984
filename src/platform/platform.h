/*
 * What differs between systems, behind one header. posix/ and win/ each implement all of it.
 */
#ifndef SUBMITD_PLATFORM_PLATFORM_H
#define SUBMITD_PLATFORM_PLATFORM_H

#include "base/buf.h"
#include "base/err.h"
#include "base/ip.h"
#include "base/secret.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>

/* --- the process --- */

/* First of all in main: makes the arguments UTF-8 and the standard streams pass bytes unchanged. */
void platform_start(int *argc, char ***argv);
/* --- the machine --- */

/* The machine's full name when it is known, else its short one; "localhost" when there is none. */
void platform_hostname(char *name, size_t size);
/* No core dumps, and no other process of this user may attach or read our memory. Called before the
 * first secret is read, and again by platform_become_user. Best effort. */
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
/* Lets freed memory stay with the process, up to a few MB, instead of going back and forth between
 * it and the system with every message. */
void platform_keep_memory(void);
/* A run of random bytes for message ids; for one thread. */
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

/* Adds to `mark` what tells this file from what it was or could be: which one it is, its size, and
 * when it was last written, replaced or given other rights. Not what is in it. False: it cannot be
 * looked at. */
bool platform_mark_file(const char *path, uint64_t *mark);
/* True when no one but the owner (and root) can read the file, or its group when that is not ours
 * to judge: mode bits for others must be clear, or no large group of users be in its access list.
 * `e` has the command to run. */
bool platform_file_is_private(const char *path, struct err *e);

/* --- others --- */

/* Runs a command by the shell (/bin/sh, cmd.exe) and takes its standard output (a password: `out`
 * should be a secret buffer). Fails when it exits other than 0, writes more than fits, or runs
 * longer than `timeout_ms`. Blocks. */
bool platform_run_command(const char *command, uint64_t timeout_ms, struct buf *out, struct err *e);

/* --- who we are ------------------------------------------------------------------------------- */

/* The user that the service runs as when nothing else is configured. */
#define PLATFORM_SERVICE_USER "submitd"
/*
 * Started as root: takes the user's id, group and groups for good, and verifies that there is no
 * way back; "root" runs on as root. Started as another user: nothing is done, and a `user` that is
 * neither the default nor that user is an error. Before any thread is started. Where the service
 * manager alone decides (Windows) it does nothing.
 */
bool platform_become_user(const char *user, struct err *e);

/* --- the service manager (systemd; on Windows the SCM) ---------------------------------------- */

enum platform_service_state {
    PLATFORM_SERVICE_READY,     /* it serves; also the end of a reload, however it ended */
    PLATFORM_SERVICE_RELOADING, /* the configuration is being loaded again */
    PLATFORM_SERVICE_STOPPING,  /* no new clients; what is under way may end */
};
/* `status` is one sentence for people (`systemctl status`). Without a manager nothing happens. */
void platform_tell_service(enum platform_service_state state, const char *status);
/* Only the sentence: why the start failed, for one. */
void platform_tell_status(const char *status);
/* platform_tell_alive must be called at least this often, else we are taken for hung and are
 * started again; 0: nobody watches. */
uint64_t platform_watchdog_ms(void);
void platform_tell_alive(void);

enum { PLATFORM_SOCKETS_MAX = 64, PLATFORM_SOCKET_NAME_MAX = 128 };

/* A listening TCP socket that the service manager opened for us (socket activation). */
struct platform_socket {
    int fd;                              /* the taker closes it or gives it to a listener */
    char name[PLATFORM_SOCKET_NAME_MAX]; /* FileDescriptorName=, NUL-terminated */
    struct ip_addr address;              /* where it listens */
    uint16_t port;
};
/* The sockets that are handed over, once in a process's life: a second call finds none. Fails when
 * one is no listening TCP socket. None is fine. */
bool platform_take_sockets(
    struct platform_socket sockets[PLATFORM_SOCKETS_MAX], size_t *ret_count, struct err *e);

/* --- passwords -------------------------------------------------------------------------------- */

/* From the terminal, which does not show it and is asked twice, or the first line of standard input
 * when that is no terminal. The line's end is left out; an empty password is an error. Blocks. */
bool platform_read_password(const char *prompt, struct secret **ret_password, struct err *e);
/*
 * Encrypts a password so that the service on this machine can read it and nobody else, and appends
 * to `out` what the operator has to do with the result: whole lines, ready to print, among them the
 * one for [account]. `name` says which account it is for: letters, digits, '.', '-' and '_'
 * (checked by the caller). Blocks.
 */
bool platform_secret_protect(
    const struct secret *password, const char *name, struct buf *out, struct err *e);
/* The password in the value of password_protected, its lines joined. Fails on systems that keep
 * passwords elsewhere, with the sentence that says where. */
bool platform_secret_unprotect(
    const struct secret *text, struct secret **ret_password, struct err *e);

/* What an operator types on this system, for the remedies in errors. */
enum platform_hint {
    PLATFORM_WHO_LISTENS,   /* find out which program has a port */
    PLATFORM_OWN_ADDRESSES, /* list this machine's addresses */
};
/* `port` is for the first of them. */
void platform_hint(enum platform_hint what, uint16_t port, char *text, size_t size);
/* Why a port cannot be listened on without the permission, and what to do. */
extern const char platform_port_forbidden[];

/* The system's log: syslog on POSIX, the event log on Windows. `severity` 0 error .. 3 debug. */
void platform_syslog(int severity, const char *line);
/* What the option target calls it: "syslog" or "eventlog". */
const char *platform_syslog_name(void);

#endif
