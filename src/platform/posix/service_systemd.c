/* systemd's side of platform.h. Without systemd its variables are not set, and nothing happens. */
#include "platform/platform.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

enum { STATUS_MAX = 512 };

/* One line: a line end in it would begin another assignment. */
static void copy_status(char copy[STATUS_MAX], const char *status)
{
    snprintf(copy, STATUS_MAX, "%s", status);
    for (char *p = copy; *p; p++) {
        if ((unsigned char)*p < ' ')
            *p = ' ';
    }
}

/* systemd compares it with its own clock, so that an old READY=1 does not end a new reload. */
static uint64_t monotonic_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void platform_tell_service(enum platform_service_state state, const char *status)
{
    static const char *const words[] = {
        [PLATFORM_SERVICE_READY] = "READY=1",
        [PLATFORM_SERVICE_RELOADING] = "RELOADING=1",
        [PLATFORM_SERVICE_STOPPING] = "STOPPING=1",
    };
    char copy[STATUS_MAX];
    copy_status(copy, status);
    sd_notifyf(0, "%s\nMONOTONIC_USEC=%" PRIu64 "\nSTATUS=%s", words[state], monotonic_us(), copy);
}

void platform_tell_status(const char *status)
{
    char copy[STATUS_MAX];
    copy_status(copy, status);
    sd_notifyf(0, "STATUS=%s", copy);
}

uint64_t platform_watchdog_ms(void)
{
    uint64_t interval_us = 0;
    if (sd_watchdog_enabled(0, &interval_us) <= 0)
        return 0;
    return interval_us > 1000 ? interval_us / 1000 : 1;
}

void platform_tell_alive(void)
{
    sd_notify(0, "WATCHDOG=1");
}

/* --- sockets --- */

static bool look_at_socket(int fd, struct platform_socket *s, struct err *e)
{
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
    } name;
    socklen_t size = sizeof name;
    memset(&name, 0, sizeof name);
    if (sd_is_socket_inet(fd, AF_UNSPEC, SOCK_STREAM, 1, 0) <= 0 ||
        getsockname(fd, &name.any, &size) != 0)
        return err_set(e, ERR_CONFIG,
            "the socket '%s' that systemd handed over is no listening TCP socket; give its unit "
            "ListenStream=ADDRESS:PORT and Accept=no",
            s->name);
    bool is_six = name.any.sa_family == AF_INET6;
    s->fd = fd;
    s->port = ntohs(is_six ? name.six.sin6_port : name.four.sin_port);
    s->address.len = is_six ? 16 : 4;
    if (is_six)
        memcpy(s->address.bytes, &name.six.sin6_addr, 16);
    else
        memcpy(s->address.bytes, &name.four.sin_addr, 4);
    return true;
}

bool platform_take_sockets(
    struct platform_socket sockets[PLATFORM_SOCKETS_MAX], size_t *ret_count, struct err *e)
{
    char **names = NULL;
    int n = sd_listen_fds_with_names(1, &names);
    bool is_fine = true;
    if (n < 0)
        is_fine =
            err_set(e, ERR_CONFIG, "systemd's $LISTEN_FDS cannot be understood: %s", strerror(-n));
    else if (n > PLATFORM_SOCKETS_MAX)
        is_fine = err_set(
            e, ERR_CONFIG, "systemd handed over %d sockets, more than %d", n, PLATFORM_SOCKETS_MAX);
    for (int i = 0; is_fine && i < n; i++) {
        sockets[i] = (struct platform_socket){ .fd = -1 };
        snprintf(sockets[i].name, sizeof sockets[i].name, "%s", names[i]);
        is_fine = look_at_socket(SD_LISTEN_FDS_START + i, &sockets[i], e);
    }
    for (int i = 0; names && i < n; i++)
        free(names[i]);
    free(names);
    if (is_fine)
        *ret_count = (size_t)n;
    return is_fine;
}
