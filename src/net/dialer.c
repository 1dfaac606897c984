#include "net/dialer.h"
#include "base/str.h"
#include "net/conn_uv.h"

#include <stdlib.h>

enum {
    ADDRESSES_MAX = 16,
    NEXT_MS = 250, /* RFC 8305 5: the recommended Connection Attempt Delay */
    RESOLVED_MAX = 1024,
};

struct dial_attempt {
    struct dialer *dialer;
    struct sockaddr_storage addr;
    struct conn *conn; /* while it is connecting */
    int status;        /* how it failed; 0 while it has not */
};

struct dialer {
    struct loop *loop;
    uv_getaddrinfo_t resolve;
    uv_timer_t limit; /* of the whole */
    uv_timer_t next;  /* starts the next attempt */
    unsigned pending; /* handles and requests that libuv has not finished; the last one frees */
    char *host;
    uint16_t port;
    uint64_t timeout_ms;
    dialer_fn *fn;
    dialer_resolved_fn *resolved;
    void *user;
    int resolve_status;
    bool is_resolving;
    bool is_done; /* the callback was called or is not wanted */
    size_t count, started, failed;
    struct dial_attempt attempts[ADDRESSES_MAX];
};

static void release(struct dialer *d)
{
    if (--d->pending > 0)
        return;
    free(d->host);
    free(d);
}

static void on_timer_closed(uv_handle_t *handle)
{
    release(handle->data);
}

/* Everything but the memory ends here. */
static void finish(struct dialer *d)
{
    d->is_done = true;
    for (size_t i = 0; i < d->started; i++) {
        if (d->attempts[i].conn)
            conn_destroy(d->attempts[i].conn);
        d->attempts[i].conn = NULL;
    }
    if (d->is_resolving)
        uv_cancel((uv_req_t *)&d->resolve); /* or its callback comes later and finds is_done */
    uv_close((uv_handle_t *)&d->limit, on_timer_closed);
    uv_close((uv_handle_t *)&d->next, on_timer_closed);
}

void dialer_cancel(struct dialer *d)
{
    if (d && !d->is_done)
        finish(d);
}

/* --- the sentences -------------------------------------------------------------------------------
 */

static void format_address(const struct sockaddr_storage *addr, char text[IP_TEXT_MAX])
{
    if (addr->ss_family == AF_INET6)
        uv_ip6_name((const struct sockaddr_in6 *)addr, text, IP_TEXT_MAX);
    else
        uv_ip4_name((const struct sockaddr_in *)addr, text, IP_TEXT_MAX);
}

/* "192.0.2.1:587 connection refused; [2001:db8::1]:587 timed out" */
static void explain_attempts(const struct dialer *d, struct err *e)
{
    struct buf text;
    buf_init(&text, sizeof e->text);
    for (size_t i = 0; i < d->started; i++) {
        const struct dial_attempt *a = &d->attempts[i];
        char ip[IP_TEXT_MAX];
        format_address(&a->addr, ip);
        buf_addf(&text, a->addr.ss_family == AF_INET6 ? "%s[%s]:%u %s" : "%s%s:%u %s",
            i > 0 ? "; " : "", ip, (unsigned)d->port,
            a->status != 0 ? uv_strerror(a->status) : "timed out");
    }
    err_set(e, ERR_CONNECT, "cannot connect to '%s': %s", d->host, buf_cstr(&text));
    buf_fini(&text);
}

static void fail(struct dialer *d)
{
    struct err why = { .kind = ERR_NONE };
    if (d->count > 0)
        explain_attempts(d, &why);
    else if (d->is_resolving)
        err_set(&why, ERR_DNS, "cannot resolve '%s': no answer within %llu s", d->host,
            (unsigned long long)(d->timeout_ms + 999) / 1000);
    else
        err_set(&why, ERR_DNS, "cannot resolve '%s': %s", d->host,
            d->resolve_status != 0 ? uv_strerror(d->resolve_status) : "it has no address");
    dialer_fn *fn = d->fn;
    void *user = d->user;
    finish(d);
    fn(user, NULL, &why);
}

static void on_limit(uv_timer_t *timer)
{
    fail(timer->data);
}

/* --- connecting
 * ------------------------------------------------------------------------------------ */

static void start_next(struct dialer *d);

static void on_next(uv_timer_t *timer)
{
    start_next(timer->data);
}

static void attempt_failed(struct dial_attempt *a, int status)
{
    struct dialer *d = a->dialer;
    a->status = status;
    d->failed++;
    if (d->started < d->count)
        uv_timer_start(&d->next, on_next, 0, 0); /* RFC 8305 5: a failure starts the next at once */
    else if (d->failed == d->count)
        uv_timer_start(&d->limit, on_limit, 0, 0);
}

static void on_connected(uv_connect_t *req, int status)
{
    struct conn *c = req->handle->data;
    struct dial_attempt *a = c->attempt;
    if (c->state == CONN_CLOSED)
        return; /* another was first, or the dialer was cancelled */
    struct dialer *d = a->dialer;
    a->conn = NULL;
    c->attempt = NULL;
    if (status != 0) {
        conn_destroy(c);
        attempt_failed(a, status);
        return;
    }
    conn_opened(c);
    dialer_fn *fn = d->fn;
    void *user = d->user;
    finish(d);
    fn(user, c, NULL);
}

static void start_next(struct dialer *d)
{
    struct dial_attempt *a = &d->attempts[d->started++];
    struct conn *c = conn_new(d->loop);
    if (!c) {
        attempt_failed(a, UV_ENOMEM);
        return;
    }
    c->attempt = a;
    a->conn = c;
    if (d->started < d->count)
        uv_timer_start(&d->next, on_next, NEXT_MS, 0);
    int status =
        uv_tcp_connect(&c->req.connect, &c->tcp, (const struct sockaddr *)&a->addr, on_connected);
    if (status != 0) {
        a->conn = NULL;
        conn_destroy(c);
        attempt_failed(a, status);
    }
}

/* --- resolving
 * ------------------------------------------------------------------------------------- */

static bool is_known(const struct dialer *d, const struct sockaddr_storage *addr)
{
    for (size_t i = 0; i < d->count; i++) {
        if (memcmp(&d->attempts[i].addr, addr, sizeof *addr) == 0)
            return true;
    }
    return false;
}

static void add_address(struct dialer *d, const struct sockaddr *addr)
{
    if (d->count == ADDRESSES_MAX)
        return;
    struct sockaddr_storage copy = { .ss_family = 0 };
    if (addr->sa_family == AF_INET6) {
        memcpy(&copy, addr, sizeof(struct sockaddr_in6));
        ((struct sockaddr_in6 *)&copy)->sin6_port = htons(d->port);
    } else {
        memcpy(&copy, addr, sizeof(struct sockaddr_in));
        ((struct sockaddr_in *)&copy)->sin_port = htons(d->port);
    }
    if (is_known(d, &copy))
        return;
    d->attempts[d->count++] = (struct dial_attempt){ .dialer = d, .addr = copy };
}

/* The next entry of `family` from `list` on, NULL when there is none. */
static const struct addrinfo *next_of(const struct addrinfo *list, int family)
{
    while (list && list->ai_family != family)
        list = list->ai_next;
    return list;
}

/* RFC 8305 4: the resolver's order (RFC 6724) within a family, families alternate, IPv6 first. */
static void add_alternating(struct dialer *d, const struct addrinfo *list)
{
    const struct addrinfo *six = next_of(list, AF_INET6), *four = next_of(list, AF_INET);
    while (six || four) {
        if (six) {
            add_address(d, six->ai_addr);
            six = next_of(six->ai_next, AF_INET6);
        }
        if (four) {
            add_address(d, four->ai_addr);
            four = next_of(four->ai_next, AF_INET);
        }
    }
}

static void tell_resolved(struct dialer *d)
{
    if (!d->resolved || d->count == 0)
        return;
    struct buf text;
    buf_init(&text, RESOLVED_MAX);
    for (size_t i = 0; i < d->count; i++) {
        char ip[IP_TEXT_MAX];
        format_address(&d->attempts[i].addr, ip);
        buf_addf(&text, "%s%s", i > 0 ? ", " : "", ip);
    }
    d->resolved(d->user, buf_cstr(&text));
    buf_fini(&text);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct dialer *d = req->data;
    d->is_resolving = false;
    d->resolve_status = status;
    if (!d->is_done) {
        if (status == 0)
            add_alternating(d, list);
        tell_resolved(d); /* may cancel */
    }
    if (list)
        uv_freeaddrinfo(list);
    if (!d->is_done && d->count > 0)
        start_next(d);
    else if (!d->is_done)
        fail(d);
    release(d);
}

/* The first turn of the loop: so that no callback comes from inside dialer_start. */
static void on_start(uv_timer_t *timer)
{
    struct dialer *d = timer->data;
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    struct sockaddr_storage literal = { .ss_family = 0 };
    if (uv_ip4_addr(d->host, 0, (struct sockaddr_in *)&literal) == 0 ||
        uv_ip6_addr(d->host, 0, (struct sockaddr_in6 *)&literal) == 0) {
        add_address(d, (const struct sockaddr *)&literal);
        tell_resolved(d);
        if (!d->is_done)
            start_next(d);
        return;
    }
    d->resolve.data = d;
    d->resolve_status =
        uv_getaddrinfo(&d->loop->uv, &d->resolve, on_resolved, d->host, NULL, &hints);
    if (d->resolve_status != 0) {
        fail(d);
        return;
    }
    d->is_resolving = true;
    d->pending++;
}

struct dialer *dialer_start(struct loop *loop, const char *host, uint16_t port, uint64_t timeout_ms,
    dialer_fn *fn, dialer_resolved_fn *resolved, void *user)
{
    struct dialer *d = calloc(1, sizeof *d);
    char *copy = str_dup(host);
    if (!d || !copy) {
        free(d);
        free(copy);
        return NULL;
    }
    d->loop = loop;
    d->host = copy;
    d->port = port;
    d->timeout_ms = timeout_ms;
    d->fn = fn;
    d->resolved = resolved;
    d->user = user;
    d->pending = 2;
    uv_timer_init(&loop->uv, &d->limit);
    uv_timer_init(&loop->uv, &d->next);
    d->limit.data = d;
    d->next.data = d;
    uv_timer_start(&d->limit, on_limit, timeout_ms, 0);
    uv_timer_start(&d->next, on_start, 0, 0);
    return d;
}
