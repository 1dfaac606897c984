#include "relay/gateway.h"
#include "net/listener.h"
#include "ops/log.h"
#include "relay/census.h"
#include "relay/delivery.h"
#include "relay/handed.h"
#include "relay/inbound.h"
#include "relay/pool.h"

#include <stdio.h>
#include <stdlib.h>

/* One listening socket; `config` changes with each reload. */
struct door {
    struct gateway *gateway;
    const struct config_listener *config; /* of the gateway's present setup */
    struct listener *listener;
    bool is_announced; /* in the log */
};

struct gateway {
    struct loop *loop;
    struct setup *setup;
    struct delivery *delivery;
    struct door *doors[GATEWAY_LISTENERS_MAX];
    size_t door_count;
    struct list clients;
    unsigned client_count;
    struct census *census;
    struct timer *drain_timer;
    loop_fn *drained; /* NULL: not draining */
    void *drained_user;
};

/* --- clients --- */

static unsigned count_clients_of(const struct gateway *g, const char *listener)
{
    unsigned n = 0;
    for (struct list *l = g->clients.next; l != &g->clients; l = l->next)
        n += strcmp(inbound_listener(inbound_of_link(l)), listener) == 0;
    return n;
}

static void turn_away(struct conn *c, const char *event, const char *reply, const char *why)
{
    char ip[IP_TEXT_MAX];
    ip_format(conn_peer(c), ip);
    log_event(LOG_LEVEL_WARNING, event, LOG_STR("client", ip), LOG_STR("reason", why),
        LOG_STR("reply", reply));
    conn_write(c, slice_str(reply));
    conn_write(c, SLICE_LIT("\r\n"));
    conn_close(c);
}

/* RFC 5321 3.1: 554 for a client that is never served, 421 for one that may come again later. */
static bool admit(struct door *d, struct conn *c)
{
    struct gateway *g = d->gateway;
    char ip[IP_TEXT_MAX], reply[256], why[256];
    ip_format(conn_peer(c), ip);
    if (!config_client_is_allowed(d->config, conn_peer(c))) {
        snprintf(
            reply, sizeof reply, "554 5.7.1 %s may not use this server: it is not in 'allow'", ip);
        snprintf(why, sizeof why, "not in 'allow' of [listener%s%s]", d->config->name[0] ? " " : "",
            d->config->name);
        turn_away(c, "client_refused", reply, why);
        return false;
    }
    unsigned per_address = d->config->max_clients_per_address;
    if (per_address != 0 && census_count(g->census, conn_peer(c)) >= per_address) {
        snprintf(
            reply, sizeof reply, "421 4.7.0 too many connections from %s, try again later", ip);
        snprintf(why, sizeof why, "max_clients_per_address = %u", per_address);
        turn_away(c, "client_refused", reply, why);
        return false;
    }
    if (g->client_count >= d->config->max_clients &&
        count_clients_of(g, d->config->name) >= d->config->max_clients) {
        snprintf(why, sizeof why, "max_clients = %u", d->config->max_clients);
        turn_away(c, "client_refused", "421 4.3.2 too many connections, try again later", why);
        return false;
    }
    return true;
}

static void say_drained(struct gateway *g)
{
    loop_fn *drained = g->drained;
    g->drained = NULL;
    if (drained)
        drained(g->drained_user);
}

static void on_gone(void *user, struct inbound *in)
{
    struct gateway *g = user;
    census_leave(g->census, inbound_peer(in));
    list_remove(inbound_link(in));
    g->client_count--;
    inbound_free(in);
    /* Said from the timer, because connections further up the stack may be in use. */
    if (g->drained && g->client_count == 0)
        timer_set(g->drain_timer, loop_now_ms(g->loop) + 1);
}

static void on_accept(void *user, struct conn *c)
{
    struct door *d = user;
    struct gateway *g = d->gateway;
    if (conn_peer(c)->len == 0) { /* it was gone before we could ask who it is */
        conn_abort(c);
        return;
    }
    if (!admit(d, c))
        return;
    if (census_enter(g->census, conn_peer(c)) == 0) {
        conn_abort(c);
        return;
    }
    char ip[IP_TEXT_MAX];
    ip_format(conn_peer(c), ip);
    struct ip_addr peer = *conn_peer(c);
    log_event(LOG_LEVEL_DEBUG, "connect", LOG_STR("client", ip), LOG_INT("port", conn_peer_port(c)),
        LOG_STR("listener", d->config->name));
    struct inbound_params params = {
        .loop = g->loop,
        .setup = g->setup,
        .listener = d->config,
        .delivery = g->delivery,
        .gone = on_gone,
        .user = g,
    };
    struct inbound *in = inbound_new(&params, c);
    if (!in) {
        census_leave(g->census, &peer);
        return;
    }
    list_add_tail(&g->clients, inbound_link(in));
    g->client_count++;
}

/* --- listeners --- */

static bool is_same_place(const struct config_listener *a, const struct config_listener *b)
{
    return a->port == b->port && a->address.len == b->address.len &&
           memcmp(a->address.bytes, b->address.bytes, a->address.len) == 0;
}

static void close_door(struct door *d)
{
    if (d)
        listener_free(d->listener);
    free(d);
}

/* On the socket that was handed over for it, or else on one of its own. */
static bool listen_at(struct door *d, struct handed *handed, struct err *e)
{
    const struct config_listener *config = d->config;
    int fd = -1;
    if (handed && !handed_take(handed, config, &fd, e))
        return false;
    if (fd >= 0)
        return listener_adopt(d->gateway->loop, fd, on_accept, d, &d->listener, e);
    return listener_new(
        d->gateway->loop, &config->address, config->port, on_accept, d, &d->listener, e);
}

static struct door *open_door(
    struct gateway *g, const struct config_listener *config, struct handed *handed, struct err *e)
{
    struct door *d = calloc(1, sizeof *d);
    if (!d) {
        err_set(e, ERR_MEMORY, "out of memory for a listener");
        return NULL;
    }
    d->gateway = g;
    d->config = config;
    if (!listen_at(d, handed, e)) {
        err_prefix(e, "[listener%s%s]", config->name[0] ? " " : "", config->name);
        close_door(d);
        return NULL;
    }
    return d;
}

static void announce_doors(struct gateway *g)
{
    for (size_t i = 0; i < g->door_count; i++) {
        struct door *d = g->doors[i];
        char ip[IP_TEXT_MAX];
        ip_format(&d->config->address, ip);
        if (!d->is_announced)
            log_event(LOG_LEVEL_INFO, "listening",
                LOG_STR("listener", d->config->name[0] ? d->config->name : "default"),
                LOG_STR("address", ip), LOG_INT("port", listener_port(d->listener)));
        d->is_announced = true;
    }
}

/* The door that is open at this place already and was not taken over yet. */
static size_t find_door(
    const struct gateway *g, const struct config_listener *config, const bool *is_kept)
{
    size_t i = 0;
    while (i < g->door_count && (is_kept[i] || !is_same_place(g->doors[i]->config, config)))
        i++;
    return i;
}

/* Opens what is missing first, so that a failure changes nothing. */
static bool set_doors(
    struct gateway *g, const struct config *config, struct handed *handed, struct err *e)
{
    struct door *doors[GATEWAY_LISTENERS_MAX];
    bool is_new[GATEWAY_LISTENERS_MAX] = { false }, is_kept[GATEWAY_LISTENERS_MAX] = { false };
    if (config->listener_count > GATEWAY_LISTENERS_MAX)
        return err_set(e, ERR_CONFIG, "more than %d listeners", GATEWAY_LISTENERS_MAX);
    for (size_t i = 0; i < config->listener_count; i++) {
        size_t old = find_door(g, &config->listeners[i], is_kept);
        is_new[i] = old == g->door_count;
        doors[i] = is_new[i] ? open_door(g, &config->listeners[i], handed, e) : g->doors[old];
        if (!doors[i]) {
            for (size_t j = 0; j < i; j++)
                close_door(is_new[j] ? doors[j] : NULL);
            return false;
        }
        if (!is_new[i])
            is_kept[old] = true;
    }
    for (size_t i = 0; i < g->door_count; i++)
        close_door(is_kept[i] ? NULL : g->doors[i]);
    for (size_t i = 0; i < config->listener_count; i++) {
        g->doors[i] = doors[i];
        doors[i]->config = &config->listeners[i];
    }
    g->door_count = config->listener_count;
    return true;
}

/* --- life --- */

static void on_login(void *user, const char *account)
{
    delivery_upstream_works(user, account);
}

static void on_refused(
    void *user, const struct setup *s, size_t account, uint64_t ms, const struct err *why)
{
    delivery_login_refused(user, s, account, ms, why);
}

static void put_in_force(struct gateway *g, struct setup *setup)
{
    g->setup = setup;
    if (!g->delivery)
        return;
    setup->on_login = on_login;
    setup->on_refused = on_refused;
    setup->on_login_user = g->delivery;
    delivery_use_setup(g->delivery, setup);
}

void gateway_use_delivery(struct gateway *g, struct delivery *delivery)
{
    g->delivery = delivery;
    put_in_force(g, g->setup);
}

/* Clients may still use it, but nobody cares any more whether its logins work. That refused ones
 * have stopped further ones concerns the setups behind it, too. */
static void let_go_of_setup(struct gateway *g)
{
    if (g->setup)
        g->setup->on_login = NULL;
    setup_unref(g->setup);
    g->setup = NULL;
}

static void warm_up(struct gateway *g)
{
    struct pool *pool = setup_default_pool(g->setup);
    if (pool)
        pool_warm(pool);
}

static void on_drain_timer(void *user)
{
    struct gateway *g = user;
    if (g->client_count > 0)
        log_event(LOG_LEVEL_WARNING, "drain_overdue", LOG_INT("clients", g->client_count),
            LOG_STR("reason", "they were still in a transaction and are cut off"));
    say_drained(g);
}

bool gateway_new(struct loop *loop, struct setup *setup, struct handed *handed,
    struct gateway **ret_gateway, struct err *e)
{
    struct gateway *g = calloc(1, sizeof *g);
    if (!g)
        return err_set(e, ERR_MEMORY, "out of memory");
    g->loop = loop;
    list_init(&g->clients);
    g->census = census_new();
    g->drain_timer = timer_new(loop, on_drain_timer, g);
    bool has_all = g->census && g->drain_timer && setup_attach(setup, loop);
    if (!has_all)
        err_set(e, ERR_MEMORY, "out of memory");
    if (!has_all || !set_doors(g, setup->config, handed, e)) {
        gateway_free(g);
        return false;
    }
    g->setup = setup;
    *ret_gateway = g;
    return true;
}

void gateway_start(struct gateway *g, struct delivery *delivery)
{
    g->delivery = delivery;
    announce_doors(g);
    put_in_force(g, g->setup);
    warm_up(g);
}

bool gateway_reload(struct gateway *g, struct setup *setup, struct err *e)
{
    if (g->drained)
        return err_set(e, ERR_LIMIT, "submitd is shutting down");
    if (!setup_attach(setup, g->loop))
        return err_set(e, ERR_MEMORY, "out of memory");
    if (!set_doors(g, setup->config, NULL, e))
        return false;
    announce_doors(g);
    setup_inherit(setup, g->setup);
    setup_retire(g->setup);
    let_go_of_setup(g);
    put_in_force(g, setup);
    warm_up(g);
    return true;
}

void gateway_drain(struct gateway *g, loop_fn *done, void *user)
{
    g->drained = done;
    g->drained_user = user;
    for (size_t i = 0; i < g->door_count; i++)
        close_door(g->doors[i]);
    g->door_count = 0;
    timer_set(g->drain_timer, loop_now_ms(g->loop) + (g->client_count > 0 ? GATEWAY_DRAIN_MS : 1));
    for (struct list *l = g->clients.next, *next; l != &g->clients; l = next) {
        next = l->next;
        inbound_drain(inbound_of_link(l));
    }
}

void gateway_free(struct gateway *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->door_count; i++)
        close_door(g->doors[i]);
    while (!list_is_empty(&g->clients)) {
        struct inbound *in = inbound_of_link(list_first(&g->clients));
        list_remove(inbound_link(in));
        inbound_free(in);
    }
    if (g->setup)
        g->setup->on_refused = NULL;
    let_go_of_setup(g);
    timer_free(g->drain_timer);
    census_free(g->census);
    free(g);
}

unsigned gateway_clients(const struct gateway *g)
{
    return g->client_count;
}
