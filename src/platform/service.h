/*
 * The system's manager of services, as `submitd service` needs it: Windows' Service Control
 * Manager. On POSIX systems every call fails with the sentence that names the systemctl line for
 * it. There is one service, "submitd"; the manager owns it, nothing is kept here between two calls.
 */
#ifndef SUBMITD_PLATFORM_SERVICE_H
#define SUBMITD_PLATFORM_SERVICE_H

#include "base/buf.h"
#include "base/err.h"

/* False, with the sentence that says what does it here, when there is no such manager. */
bool service_has_manager(struct err *e);

/* --- from the outside: needs an administrator --- */

/* Makes the service, or brings one that is there up to date: its program and its recovery are set
 * again; its account and how it starts stay as an administrator left them. `config` is the INI
 * file's full path, service_config() for the one that it has. Also makes the event source, and the
 * folder of the default configuration that only administrators and the service can look into. */
bool service_install(const char *config, struct err *e);
/* Stops and removes it and the event source; fine when there is none. The files stay. */
bool service_uninstall(struct err *e);
/* Both wait for the end of it; fine when it is so already. */
bool service_start(struct err *e);
bool service_stop(struct err *e);
/* Has it load its configuration again; what became of that stands in its log. */
bool service_reload(struct err *e);
/* Appends a line for each thing to know. False with *ret_is_running false: it is not there. */
bool service_describe(struct buf *out, bool *ret_is_running, struct err *e);

/* heap: the INI file that the manager starts it with; NULL: there is no service, or none of ours.
 */
char *service_config(void);
/* The commented INI file for a new installation, in the program for as long as it runs. */
struct slice service_sample(void);
/* The file's whole new content, by a second file that takes its place. Blocks. */
bool service_write_file(const char *path, struct slice text, struct err *e);
bool service_file_exists(const char *path);
/* Removes the file unless it is NULL, and the folders that service_install made as far as they are
 * empty. */
void service_remove(const char *path);

/* --- from the inside --- */

enum service_order { SERVICE_ORDER_STOP, SERVICE_ORDER_RELOAD };

struct service_life {
    int (*run)(void *user); /* the whole life, on a thread of its own; returns an exit status */
    void (*on_order)(
        void *user, enum service_order order); /* any thread, once it is PLATFORM_SERVICE_READY */
    void *user;
};

/* True when this process was started as the service. */
bool service_is_this(void);
/* Returns when `run` has, with its status; false when the manager did not start this process. */
bool service_be(const struct service_life *life, int *ret_status, struct err *e);

#endif
