#include "platform/platform.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

/* True when EHLO can carry it (RFC 5321 4.1.2 Domain; the underscore is out there, too). */
static bool is_domain(const char *name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    return name[0] != '\0' && name[0] != '.' && name[strspn(name, allowed)] == '\0';
}

/* The resolver's full name for `name`, copied when it is one and fits. */
static bool canonical_name(const char *name, char *ret_name, size_t size)
{
    const struct addrinfo hints = { .ai_flags = AI_CANONNAME, .ai_socktype = SOCK_STREAM };
    struct addrinfo *list = NULL;
    if (getaddrinfo(name, NULL, &hints, &list) != 0)
        return false;
    const char *full = list->ai_canonname;
    bool is_full = full && strchr(full, '.') && is_domain(full) && strlen(full) < size;
    if (is_full)
        snprintf(ret_name, size, "%s", full);
    freeaddrinfo(list);
    return is_full;
}

void platform_hostname(char *name, size_t size)
{
    char own[256] = "";
    if (gethostname(own, sizeof own - 1) != 0 || !is_domain(own) || strlen(own) >= size) {
        snprintf(name, size, "localhost");
        return;
    }
    if (strchr(own, '.') || !canonical_name(own, name, size))
        snprintf(name, size, "%s", own);
}

static void ask_kernel(unsigned char *to, size_t n)
{
    while (n > 0) {
        ssize_t got = getrandom(to, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            abort(); /* a kernel without getrandom: ids would repeat, and nothing else can be done
                        here */
        to += got;
        n -= (size_t)got;
    }
}

/* A message's id takes a few bytes: many are asked for at once. */
void platform_random(void *p, size_t n)
{
    static unsigned char store[512];
    static size_t left;
    if (n > sizeof store) {
        ask_kernel(p, n);
        return;
    }
    if (n > left) {
        ask_kernel(store, sizeof store);
        left = sizeof store;
    }
    left -= n;
    memcpy(p, store + left, n);
}

bool platform_has_identity(void)
{
    return false;
}

void platform_hint(enum platform_hint what, uint16_t port, char *text, size_t size)
{
    switch (what) {
    case PLATFORM_WHO_LISTENS:
        snprintf(text, size, "ss -ltnp 'sport = :%u'", (unsigned)port);
        break;
    case PLATFORM_OWN_ADDRESSES:
        snprintf(text, size, "ip address");
        break;
    }
}

const char platform_port_forbidden[] =
    "no permission for a port below 1024; start (or restart, when it was a reload) as root, give "
    "CAP_NET_BIND_SERVICE, or use a port above 1023";

static void open_syslog(void)
{
    openlog("submitd", LOG_PID, LOG_MAIL);
}

void platform_syslog(int severity, const char *line)
{
    static const int priorities[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG };
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, open_syslog);
    bool is_known = severity >= 0 && (size_t)severity < ARRAY_LEN(priorities);
    syslog(is_known ? priorities[severity] : LOG_DEBUG, "%s", line);
}

const char *platform_syslog_name(void)
{
    return "syslog";
}
