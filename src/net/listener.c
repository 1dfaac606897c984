#include "net/listener.h"
#include "net/conn_uv.h"
#include "platform/platform.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    BACKLOG = 1024,
    RETRY_MS = 100, /* after accepting failed for want of memory */
};

struct listener {
    uv_tcp_t tcp;
    uv_timer_t retry;
    struct loop *loop;
    listener_fn *fn;
    void *user;
    unsigned handles;
    bool is_paused;
    bool is_waiting; /* libuv holds a connection; it takes no other until this one was accepted */
    bool is_closed;
};

static void on_closed(uv_handle_t *handle)
{
    struct listener *l = handle->data;
    if (--l->handles == 0)
        free(l);
}

void listener_free(struct listener *l)
{
    if (!l || l->is_closed)
        return;
    l->is_closed = true;
    uv_close((uv_handle_t *)&l->tcp, on_closed);
    uv_close((uv_handle_t *)&l->retry, on_closed);
}

static void accept_waiting(struct listener *l);

static void on_retry(uv_timer_t *timer)
{
    struct listener *l = timer->data;
    if (!l->is_paused && l->is_waiting)
        accept_waiting(l);
}

static void accept_waiting(struct listener *l)
{
    struct conn *c = conn_new(l->loop);
    if (!c) {
        uv_timer_start(&l->retry, on_retry, RETRY_MS, 0);
        return;
    }
    l->is_waiting = false;
    if (uv_accept((uv_stream_t *)&l->tcp, (uv_stream_t *)&c->tcp) != 0) {
        conn_destroy(c);
        return;
    }
    conn_opened(c);
    l->fn(l->user, c);
}

/* A status below zero means that the process is out of file descriptors: libuv has then closed the
 * connections that waited, with a descriptor it keeps for this, so that it is not woken in a
 * circle. */
static void on_connection(uv_stream_t *stream, int status)
{
    struct listener *l = stream->data;
    if (status != 0)
        return;
    l->is_waiting = true;
    if (!l->is_paused)
        accept_waiting(l);
}

void listener_pause(struct listener *l)
{
    l->is_paused = true;
}

void listener_resume(struct listener *l)
{
    l->is_paused = false;
    if (l->is_waiting)
        uv_timer_start(&l->retry, on_retry, 0, 0);
}

static void set_sockaddr(
    const struct ip_addr *addr, uint16_t port, struct sockaddr_storage *ret_name)
{
    char text[IP_TEXT_MAX];
    ip_format(addr, text);
    if (addr->len == 4)
        uv_ip4_addr(text, port, (struct sockaddr_in *)ret_name);
    else
        uv_ip6_addr(text, port, (struct sockaddr_in6 *)ret_name);
}

static bool explain(const struct ip_addr *addr, uint16_t port, int status, struct err *e)
{
    char ip[IP_TEXT_MAX], where[IP_TEXT_MAX + 16], hint[64];
    ip_format(addr, ip);
    snprintf(where, sizeof where, addr->len == 16 ? "[%s]:%u" : "%s:%u", ip, (unsigned)port);
    switch (status) {
    case UV_EACCES:
        return err_set(e, ERR_CONFIG, "cannot listen on %s: %s", where, platform_port_forbidden);
    case UV_EADDRINUSE:
        platform_hint(PLATFORM_WHO_LISTENS, port, hint, sizeof hint);
        return err_set(e, ERR_CONFIG,
            "cannot listen on %s: something else listens there; find it with: %s", where, hint);
    case UV_EADDRNOTAVAIL:
        platform_hint(PLATFORM_OWN_ADDRESSES, port, hint, sizeof hint);
        return err_set(e, ERR_CONFIG,
            "cannot listen on %s: this machine has no such address; list them with: %s", where,
            hint);
    case UV_EAFNOSUPPORT:
        return err_set(e, ERR_CONFIG, "cannot listen on %s: this machine has no %s", where,
            addr->len == 16 ? "IPv6" : "IPv4");
    default: /* not an enum: any other error number */
        return err_set(e, ERR_IO, "cannot listen on %s: %s", where, uv_strerror(status));
    }
}

/* Without a socket yet. */
static struct listener *make(struct loop *loop, listener_fn *fn, void *user)
{
    struct listener *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->loop = loop;
    l->fn = fn;
    l->user = user;
    l->handles = 2;
    uv_tcp_init(&loop->uv, &l->tcp);
    uv_timer_init(&loop->uv, &l->retry);
    l->tcp.data = l;
    l->retry.data = l;
    return l;
}

bool listener_new(struct loop *loop, const struct ip_addr *addr, uint16_t port, listener_fn *fn,
    void *user, struct listener **ret_listener, struct err *e)
{
    struct listener *l = make(loop, fn, user);
    if (!l)
        return err_set(e, ERR_MEMORY, "out of memory");
    struct sockaddr_storage name = { .ss_family = 0 };
    set_sockaddr(addr, port, &name);
    int status =
        uv_tcp_bind(&l->tcp, (const struct sockaddr *)&name, addr->len == 16 ? UV_TCP_IPV6ONLY : 0);
    if (status == 0)
        status = uv_listen((uv_stream_t *)&l->tcp, BACKLOG, on_connection);
    if (status != 0) {
        listener_free(l);
        return explain(addr, port, status, e);
    }
    *ret_listener = l;
    return true;
}

bool listener_adopt(struct loop *loop, int fd, listener_fn *fn, void *user,
    struct listener **ret_listener, struct err *e)
{
    struct listener *l = make(loop, fn, user);
    int status = l ? uv_tcp_open(&l->tcp, (uv_os_sock_t)fd) : UV_ENOMEM;
    if (status != 0) {
        uv_fs_t request;
        uv_fs_close(NULL, &request, fd, NULL);
    }
    if (status == 0)
        status = uv_listen((uv_stream_t *)&l->tcp, BACKLOG, on_connection);
    if (status != 0) {
        listener_free(l);
        return err_set(
            e, ERR_IO, "the socket that was handed over cannot be used: %s", uv_strerror(status));
    }
    *ret_listener = l;
    return true;
}

uint16_t listener_port(const struct listener *l)
{
    struct sockaddr_storage name;
    int size = sizeof name;
    if (uv_tcp_getsockname(&l->tcp, (struct sockaddr *)&name, &size) != 0)
        return 0;
    return ntohs(name.ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)&name)->sin6_port
                                            : ((const struct sockaddr_in *)&name)->sin_port);
}
