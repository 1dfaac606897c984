/*
 * Listening sockets that the service manager opened, on their way to the listeners of the
 * configuration. The application takes them before anything else and gives them to the gateway,
 * which asks for each listener's. It never opens or configures a socket.
 */
#ifndef SUBMITD_RELAY_HANDED_H
#define SUBMITD_RELAY_HANDED_H

#include "config/config.h"
#include "platform/platform.h"

struct handed {
    struct platform_socket sockets[PLATFORM_SOCKETS_MAX];
    size_t count; /* of those that nobody took yet */
};

/*
 * The socket at this listener's address and port, which is the caller's from then on; -1: none.
 * Fails when one carries the listener's name but is somewhere else. A name that systemd made up
 * ("submitd.socket"), and "default", mean [listener].
 */
bool handed_take(
    struct handed *h, const struct config_listener *listener, int *ret_fd, struct err *e);
/* Logs and closes those that belong to no listener. */
void handed_close_rest(struct handed *h);

#endif
