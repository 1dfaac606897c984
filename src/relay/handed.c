#include "relay/handed.h"
#include "ops/log.h"

#include <stdio.h>
#include <unistd.h>

enum { PLACE_MAX = IP_TEXT_MAX + 16 };

static bool is_at(const struct platform_socket *s, const struct config_listener *listener)
{
    return s->port == listener->port && s->address.len == listener->address.len &&
           memcmp(s->address.bytes, listener->address.bytes, s->address.len) == 0;
}

/* Without FileDescriptorName= a socket is named after its unit, or "unknown". */
static bool is_made_up(const char *name)
{
    static const char suffix[] = ".socket";
    size_t n = strlen(name);
    bool has_suffix = n > sizeof suffix - 1 && strcmp(name + n - (sizeof suffix - 1), suffix) == 0;
    return has_suffix || strcmp(name, "unknown") == 0 || strcmp(name, "default") == 0;
}

static bool is_meant_for(const struct platform_socket *s, const struct config_listener *listener)
{
    return listener->name[0] != '\0' ? strcmp(s->name, listener->name) == 0 : is_made_up(s->name);
}

static void format_place(const struct ip_addr *address, uint16_t port, char text[PLACE_MAX])
{
    char ip[IP_TEXT_MAX];
    ip_format(address, ip);
    snprintf(text, PLACE_MAX, address->len == 16 ? "[%s]:%u" : "%s:%u", ip, (unsigned)port);
}

static bool refuse(
    const struct platform_socket *s, const struct config_listener *listener, struct err *e)
{
    char there[PLACE_MAX], here[PLACE_MAX];
    format_place(&s->address, s->port, there);
    format_place(&listener->address, listener->port, here);
    return err_set(e, ERR_CONFIG,
        "the socket '%s' that the service manager handed over listens on %s, but address and port "
        "are %s; make ListenStream= of the socket's unit and the two options the same",
        s->name, there, here);
}

bool handed_take(
    struct handed *h, const struct config_listener *listener, int *ret_fd, struct err *e)
{
    const struct platform_socket *stray = NULL;
    for (size_t i = 0; i < h->count; i++) {
        if (is_at(&h->sockets[i], listener)) {
            *ret_fd = h->sockets[i].fd;
            h->sockets[i] = h->sockets[--h->count];
            return true;
        }
        stray = is_meant_for(&h->sockets[i], listener) ? &h->sockets[i] : stray;
    }
    if (stray)
        return refuse(stray, listener, e);
    *ret_fd = -1;
    return true;
}

void handed_close_rest(struct handed *h)
{
    for (size_t i = 0; i < h->count; i++) {
        char place[PLACE_MAX];
        format_place(&h->sockets[i].address, h->sockets[i].port, place);
        log_event(LOG_LEVEL_WARNING, "socket_unused", LOG_STR("socket", h->sockets[i].name),
            LOG_STR("address", place),
            LOG_STR("reason", "the service manager handed it over, but no listener is there"));
        close(h->sockets[i].fd);
    }
    h->count = 0;
}
