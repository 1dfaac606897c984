/*
 * submitd-delay: a TCP proxy on 127.0.0.1 that hands every byte on a fixed time after it came, in
 * both directions: a line with a round trip of twice that time and no limit of speed. It prints
 * PORT=N when it listens.
 */
#include "base/list.h"
#include "net/dialer.h"
#include "net/listener.h"
#include "net/loop.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    HELD_MAX =
        64 * 1024 * 1024, /* octets on the line in one direction; then the sender is slowed down */
    CONNECT_MS = 10000,
    EXIT_USAGE = 2,
};

static struct {
    struct loop *loop;
    uint16_t to;
    uint64_t delay_ms;
} line;

/* Some bytes, or the end, on their way. */
struct piece {
    struct list link;
    uint64_t due_ms;
    size_t n; /* 0: the end */
    char bytes[];
};

struct pair;

/* One of the two connections, and what it has read. */
struct side {
    struct pair *pair;
    struct conn *conn; /* NULL: ended */
    struct side *other;
    struct list held;
    size_t held_size;
    struct timer *timer;
};

struct pair {
    struct side client, server;
    struct dialer *dialer;
};

static void free_side(struct side *s)
{
    while (!list_is_empty(&s->held)) {
        struct piece *p = LIST_ENTRY(list_first(&s->held), struct piece, link);
        list_remove(&p->link);
        free(p);
    }
    timer_free(s->timer);
    if (s->conn)
        conn_close(s->conn);
}

static void free_pair(struct pair *pair)
{
    if (pair->dialer)
        dialer_cancel(pair->dialer);
    free_side(&pair->client);
    free_side(&pair->server);
    free(pair);
}

static void hold(struct side *s, struct slice bytes)
{
    struct piece *p = malloc(sizeof *p + bytes.n);
    if (!p)
        abort();
    *p = (struct piece){ .due_ms = loop_now_ms(line.loop) + line.delay_ms, .n = bytes.n };
    if (bytes.n > 0)
        memcpy(p->bytes, bytes.p, bytes.n);
    if (list_is_empty(&s->held))
        timer_set(s->timer, p->due_ms);
    list_add_tail(&s->held, &p->link);
    s->held_size += bytes.n;
}

static void on_due(void *user)
{
    struct side *s = user;
    struct conn *to = s->other->conn;
    while (!list_is_empty(&s->held)) {
        struct piece *p = LIST_ENTRY(list_first(&s->held), struct piece, link);
        if (p->due_ms > loop_now_ms(line.loop)) {
            timer_set(s->timer, p->due_ms);
            return;
        }
        bool is_end = p->n == 0;
        if (to)
            conn_write(to, slice_of(p->bytes, p->n));
        s->held_size -= p->n;
        list_remove(&p->link);
        free(p);
        if (is_end) {
            free_pair(s->pair);
            return;
        }
    }
    if (s->conn)
        conn_resume(s->conn);
}

static void on_input(void *user, struct slice *in)
{
    struct side *s = user;
    hold(s, *in);
    *in = slice_skip(*in, in->n);
    if (s->held_size > HELD_MAX)
        conn_pause(s->conn);
}

static void on_end(void *user, const struct err *why)
{
    (void)why;
    struct side *s = user;
    conn_close(s->conn);
    s->conn = NULL;
    hold(s, SLICE_NONE);
}

static const struct conn_events conn_events = { .on_input = on_input, .on_end = on_end };

static void begin_side(struct side *s, struct conn *c)
{
    s->conn = c;
    conn_set_owner(c, &conn_events, s);
    conn_resume(c);
}

static void on_dialed(void *user, struct conn *c, const struct err *why)
{
    struct pair *pair = user;
    pair->dialer = NULL;
    if (!c) {
        fprintf(stderr, "submitd-delay: %s\n", why->text);
        free_pair(pair);
        return;
    }
    begin_side(&pair->server, c);
    if (pair->client.conn)
        begin_side(&pair->client, pair->client.conn);
}

static bool init_side(struct side *s, struct pair *pair, struct side *other)
{
    s->pair = pair;
    s->other = other;
    list_init(&s->held);
    s->timer = timer_new(line.loop, on_due, s);
    return s->timer != NULL;
}

static const struct conn_events waiting_events = { .on_end = on_end };

static void on_accept(void *user, struct conn *c)
{
    (void)user;
    struct pair *pair = calloc(1, sizeof *pair);
    if (!pair || !init_side(&pair->client, pair, &pair->server) ||
        !init_side(&pair->server, pair, &pair->client))
        abort();
    pair->client.conn = c;
    conn_set_owner(c, &waiting_events, &pair->client);
    pair->dialer = dialer_start(line.loop, "127.0.0.1", line.to, CONNECT_MS, on_dialed, NULL, pair);
    if (!pair->dialer)
        abort();
}

static void on_stop(void *user, int signum)
{
    (void)user;
    (void)signum;
    exit(EXIT_SUCCESS);
}

int main(int argc, char **argv)
{
    unsigned long long port, delay_ms;
    if (argc != 3 || !slice_to_u64(slice_str(argv[1]), &port) || port > UINT16_MAX ||
        !slice_to_u64(slice_str(argv[2]), &delay_ms)) {
        fprintf(stderr, "usage: submitd-delay PORT MILLISECONDS\n");
        return EXIT_USAGE;
    }
    line.to = (uint16_t)port;
    line.delay_ms = delay_ms;
    struct ip_addr here = { .len = 4, .bytes = { 127, 0, 0, 1 } };
    struct listener *listener;
    struct err e;
    if (!loop_new(&line.loop, &e) || !loop_on_signal(line.loop, SIGTERM, on_stop, NULL, &e) ||
        !listener_new(line.loop, &here, 0, on_accept, NULL, &listener, &e)) {
        fprintf(stderr, "submitd-delay: %s\n", e.text);
        return EXIT_FAILURE;
    }
    printf("PORT=%u\n", (unsigned)listener_port(listener));
    fflush(stdout);
    loop_run(line.loop);
    return EXIT_SUCCESS;
}
