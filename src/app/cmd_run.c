/* submitd run: builds the object graph, relays until a signal, takes it down again. */
#include "app/app.h"
#include "app/daemon_spool.h"
#include "app/password_watch.h"
#include "base/str.h"
#include "net/doorbell.h"
#include "ops/log.h"
#include "platform/platform.h"
#include "platform/service.h"
#include "relay/gateway.h"
#include "relay/handed.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PROBLEMS_MAX = 256 * 1024, STATUS_MAX = 400 };

struct daemon {
    const char *config_file;
    struct loop *loop;
    struct daemon_spool *spool; /* NULL: the configuration wants none */
    struct gateway *gateway;
    struct password_watch *passwords;
    struct timer *heart; /* tells the service manager's watchdog that the loop turns; NULL: none */
    char *user;          /* that we were to become at the start */
    bool is_reloading;   /* a worker has the three below */
    bool must_reload_again; /* SIGHUP came meanwhile */
    struct setup *loaded;
    struct buf problems;
    bool is_stopping;
    struct doorbell *order_bell; /* Windows' service manager rings it; NULL for no service */
    atomic_uint orders;          /* bits 1 << enum service_order that were not heard yet */
};

static bool open_log(const struct config *c, struct err *e)
{
    static const enum log_level levels[] = {
        [CONFIG_LOG_ERROR] = LOG_LEVEL_ERROR,
        [CONFIG_LOG_WARNING] = LOG_LEVEL_WARNING,
        [CONFIG_LOG_INFO] = LOG_LEVEL_INFO,
        [CONFIG_LOG_DEBUG] = LOG_LEVEL_DEBUG,
    };
    /* A Windows service has no standard error. */
    bool is_nowhere = service_is_this() && strcmp(c->log.target, "stderr") == 0;
    struct log_params params = {
        .target = is_nowhere ? platform_syslog_name() : c->log.target,
        .format = c->log.format == CONFIG_LOG_JSON ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT,
        .level = levels[c->log.level],
    };
    return log_open(&params, e);
}

static bool needs_spool(const struct config_delivery *c)
{
    return strcmp(c->mode, "queue") == 0 || strcmp(c->on_failure, "spool") == 0;
}

/* --- reload --- */

static void log_problems(const struct buf *problems)
{
    struct slice rest = buf_slice(problems);
    while (rest.n > 0) {
        const char *end = memchr(rest.p, '\n', rest.n);
        size_t n = end ? (size_t)(end - rest.p) : rest.n;
        log_event(LOG_LEVEL_ERROR, "config_problem", LOG_SLICE("reason", slice_of(rest.p, n)));
        rest = slice_skip(rest, end ? n + 1 : n);
    }
}

static void load_again(void *arg)
{
    struct daemon *d = arg;
    d->loaded = setup_load(d->config_file, &d->problems);
}

static void start_reload(struct daemon *d);

/* The spool is opened at the start, before any client is let in. */
static bool spool_fits(const struct daemon *d, struct err *e)
{
    const struct config_delivery *c = &d->loaded->config->delivery;
    if (!needs_spool(c) || daemon_spool_fits(d->spool, c))
        return true;
    return err_set(e, ERR_CONFIG,
        "the spool was switched on or moved to '%s', which takes a restart", c->spool);
}

static void tell_ready(const struct config *c)
{
    char status[STATUS_MAX];
    const struct config_host *first = &c->upstream.host.items[0];
    snprintf(status, sizeof status, "Relays to %.255s:%u", first->name,
        (unsigned)config_host_port(&c->upstream, first));
    platform_tell_service(PLATFORM_SERVICE_READY, status);
}

static void warn_of_user(const struct daemon *d)
{
    if (strcmp(d->loaded->config->service.user, d->user) != 0)
        log_event(LOG_LEVEL_WARNING, "user_not_changed",
            LOG_STR("user", d->loaded->config->service.user),
            LOG_STR("remedy", "[service] user takes a restart"));
}

static bool put_in_force(struct daemon *d)
{
    struct err why;
    if (!spool_fits(d, &why) || !gateway_reload(d->gateway, d->loaded, &why)) {
        log_event(LOG_LEVEL_ERROR, "reload_failed", LOG_STR("reason", why.text),
            LOG_STR("remedy", "the old configuration stays in force"));
        setup_unref(d->loaded);
        return false;
    }
    if (!open_log(d->loaded->config, &why))
        log_event(LOG_LEVEL_ERROR, "log_not_opened", LOG_STR("reason", why.text),
            LOG_STR("remedy", "the old log stays in use"));
    password_watch_set(d->passwords, d->loaded->config);
    warn_of_user(d);
    log_event(LOG_LEVEL_INFO, "reloaded", LOG_STR("config", d->config_file));
    return true;
}

static void end_reload(struct daemon *d, bool is_in_force)
{
    if (is_in_force)
        tell_ready(d->loaded->config);
    else
        platform_tell_service(PLATFORM_SERVICE_READY,
            "The new configuration could not be used, the old one stays in force; see the log");
}

static void loaded_again(void *arg)
{
    struct daemon *d = arg;
    log_problems(&d->problems);
    if (d->is_stopping) /* the gateway may be gone */
        setup_unref(d->loaded);
    else if (d->loaded)
        end_reload(d, put_in_force(d));
    else {
        log_event(LOG_LEVEL_ERROR, "reload_failed",
            LOG_STR("reason", "the configuration has errors"),
            LOG_STR("remedy", "the old configuration stays in force; see: submitd check"));
        end_reload(d, false);
    }
    d->loaded = NULL;
    buf_fini(&d->problems);
    d->is_reloading = false;
    if (d->must_reload_again && !d->is_stopping)
        start_reload(d);
}

static void start_reload(struct daemon *d)
{
    d->must_reload_again = d->is_reloading;
    if (d->is_reloading)
        return;
    buf_init(&d->problems, PROBLEMS_MAX);
    d->is_reloading = loop_work(d->loop, load_again, loaded_again, d);
    if (d->is_reloading)
        platform_tell_service(PLATFORM_SERVICE_RELOADING, "Loads the configuration again");
}

/* --- signals --- */

static void on_delivered(void *user)
{
    struct daemon *d = user;
    loop_stop(d->loop);
}

/* Clients are gone; what is on its way from the spool may end, too. */
static void on_drained(void *user)
{
    struct daemon *d = user;
    struct delivery *delivery = daemon_spool_delivery(d->spool);
    if (delivery)
        delivery_drain(delivery, loop_now_ms(d->loop) + GATEWAY_DRAIN_MS, on_delivered, d);
    else
        loop_stop(d->loop);
}

static void on_stop(void *user, int signum)
{
    struct daemon *d = user;
    if (d->is_stopping) /* asked twice: at once, then */
        loop_stop(d->loop);
    if (d->is_stopping)
        return;
    d->is_stopping = true;
    log_event(LOG_LEVEL_INFO, "stopping", LOG_INT("signal", signum),
        LOG_INT("clients", gateway_clients(d->gateway)));
    platform_tell_service(PLATFORM_SERVICE_STOPPING, "Stops when what is under way has ended");
    gateway_drain(d->gateway, on_drained, d);
}

static void on_reopen(void *user, int signum)
{
    (void)user;
    (void)signum;
    struct err why;
    if (!log_reopen(&why))
        log_event(LOG_LEVEL_ERROR, "log_not_reopened", LOG_STR("reason", why.text));
}

static void on_hangup(void *user, int signum)
{
    struct daemon *d = user;
    on_reopen(user, signum);
    if (!d->is_stopping)
        start_reload(d);
}

static bool catch_signals(struct daemon *d, struct err *e)
{
    static loop_signal_fn *const handlers[] = {
        [PLATFORM_STOP] = on_stop,
        [PLATFORM_RELOAD] = on_hangup,
        [PLATFORM_REOPEN_LOG] = on_reopen,
    };
    bool is_fine = true;
    for (const struct platform_signal *s = platform_signals; is_fine && s->number != 0; s++)
        is_fine = loop_on_signal(d->loop, s->number, handlers[s->wish], d, e);
    return is_fine;
}

/* --- orders of Windows' service manager --- */

/* On the manager's thread. */
static void on_order(void *user, enum service_order order)
{
    struct daemon *d = user;
    atomic_fetch_or(&d->orders, 1u << order);
    doorbell_ring(d->order_bell);
}

static void on_order_ring(void *user)
{
    struct daemon *d = user;
    unsigned orders = atomic_exchange(&d->orders, 0);
    if (orders & 1u << SERVICE_ORDER_RELOAD)
        on_hangup(d, 0);
    if (orders & 1u << SERVICE_ORDER_STOP)
        on_stop(d, 0);
}

static bool take_orders(struct daemon *d, struct err *e)
{
    if (!service_is_this())
        return true;
    d->order_bell = doorbell_new(d->loop, on_order_ring, d);
    return d->order_bell || err_set(e, ERR_MEMORY, "out of memory");
}

/* --- life --- */

static void on_new_password(void *user)
{
    struct daemon *d = user;
    log_event(LOG_LEVEL_INFO, "password_file_changed", LOG_STR("config", d->config_file));
    if (!d->is_stopping)
        start_reload(d);
}

static bool watch_passwords(struct daemon *d, const struct config *c, struct err *e)
{
    d->passwords = password_watch_new(d->loop, on_new_password, d);
    if (!d->passwords)
        return err_set(e, ERR_MEMORY, "out of memory");
    password_watch_set(d->passwords, c);
    return true;
}

static void on_spool_opened(void *user, struct delivery *delivery)
{
    struct daemon *d = user;
    if (!d->is_stopping)
        gateway_use_delivery(d->gateway, delivery);
}

static bool build_spool(struct daemon *d, const struct config_delivery *config, struct err *e)
{
    return !needs_spool(config) ||
           daemon_spool_new(d->loop, config, on_spool_opened, d, &d->spool, e);
}

/* Twice within the time that the watchdog allows. It comes from the loop: one that hangs is silent.
 */
static void beat(void *user)
{
    struct daemon *d = user;
    platform_tell_alive();
    timer_set(d->heart, loop_now_ms(d->loop) + platform_watchdog_ms() / 2);
}

static bool build_heart(struct daemon *d, struct err *e)
{
    if (platform_watchdog_ms() == 0)
        return true;
    d->heart = timer_new(d->loop, beat, d);
    if (!d->heart)
        return err_set(e, ERR_MEMORY, "out of memory");
    beat(d);
    return true;
}

/* What only root may do, when we are root: ports below 1024. */
static bool build_gateway(
    struct daemon *d, struct setup *setup, struct handed *handed, struct err *e)
{
    return platform_take_sockets(handed->sockets, &handed->count, e) && loop_new(&d->loop, e) &&
           gateway_new(d->loop, setup, handed, &d->gateway, e);
}

static bool build_rest(struct daemon *d, const struct config *c, struct err *e)
{
    return catch_signals(d, e) && take_orders(d, e) && build_heart(d, e) &&
           build_spool(d, &c->delivery, e) && watch_passwords(d, c, e);
}

static void log_started(const struct daemon *d, const struct config *c)
{
    enum { HOSTS_TEXT_MAX = 4096 };
    struct buf hosts;
    buf_init(&hosts, HOSTS_TEXT_MAX);
    for (size_t i = 0; i < c->upstream.host.count; i++)
        buf_addf(&hosts, "%s%s", i > 0 ? "," : "", c->upstream.host.items[i].name);
    log_event(LOG_LEVEL_INFO, "started", LOG_STR("version", SUBMITD_VERSION),
        LOG_INT("pid", getpid()), LOG_STR("config", d->config_file),
        LOG_SLICE("upstream", buf_slice(&hosts)),
        LOG_INT("port", config_host_port(&c->upstream, c->upstream.host.items)));
    buf_fini(&hosts);
}

/* The log and the spool are the service's own: as root we would leave files that it cannot write.
 */
static bool build(struct daemon *d, struct setup *setup, struct err *e)
{
    struct handed handed = { .count = 0 };
    struct err no_gateway;
    bool has_gateway = build_gateway(d, setup, &handed, &no_gateway);
    const struct config *c = setup->config;
    d->user = str_dup(c->service.user);
    if (!platform_become_user(c->service.user, e) || !open_log(c, e))
        return false;
    if (!has_gateway) { /* only now, because the log tells it */
        *e = no_gateway;
        return false;
    }
    if (!d->user)
        return err_set(e, ERR_MEMORY, "out of memory");
    handed_close_rest(&handed);
    if (!build_rest(d, c, e))
        return false;
    gateway_start(d->gateway, daemon_spool_delivery(d->spool));
    return true;
}

static int fail_to_start(const char *why, const struct setup *setup)
{
    char status[STATUS_MAX];
    snprintf(status, sizeof status, "Cannot start: %.300s", why);
    platform_tell_status(status);
    log_event(LOG_LEVEL_ERROR, "start_failed", LOG_STR("reason", why));
    if (strcmp(setup->config->log.target, "stderr") != 0)
        fprintf(stderr, "submitd: %s\n", why);
    return APP_NOT_FINE;
}

/* The configuration for the service: nobody sees its standard error. */
static struct setup *load_silently(const char *file)
{
    const struct log_params params = { .target = platform_syslog_name(), .level = LOG_LEVEL_INFO };
    struct err why;
    struct buf problems;
    log_open(&params, &why);
    buf_init(&problems, PROBLEMS_MAX);
    struct setup *setup = setup_load(file, &problems);
    log_problems(&problems);
    if (!setup)
        log_event(LOG_LEVEL_ERROR, "start_failed",
            LOG_STR("reason", "the configuration has errors"),
            LOG_STR("remedy", "submitd check shows them; then: submitd service start"));
    buf_fini(&problems);
    return setup;
}

static void take_down(struct daemon *d)
{
    password_watch_free(d->passwords);
    gateway_free(d->gateway);
    daemon_spool_free(d->spool);
    timer_free(d->heart);
    doorbell_free(d->order_bell);
    free(d->user);
    loop_free(d->loop);
    log_close();
}

static int live(void *user)
{
    struct daemon *d = user;
    struct setup *setup =
        service_is_this() ? load_silently(d->config_file) : app_load(d->config_file);
    if (!setup) {
        platform_tell_status("The configuration has errors; see: submitd check");
        return APP_USAGE;
    }
    platform_raise_file_limit();
    platform_keep_memory();
    struct err why;
    if (!build(d, setup, &why))
        return fail_to_start(why.text, setup);
    log_started(d, setup->config);
    tell_ready(setup->config);
    loop_run(d->loop);
    log_event(LOG_LEVEL_INFO, "stopped", LOG_INT("pid", getpid()));
    take_down(d);
    return APP_FINE;
}

int app_run(const struct app_options *options)
{
    struct daemon d = { .config_file = options->config };
    return live(&d);
}

int app_run_service(const struct app_options *options)
{
    struct daemon d = { .config_file = options->config };
    const struct service_life life = { .run = live, .on_order = on_order, .user = &d };
    struct err why;
    int status = APP_NOT_FINE;
    if (service_be(&life, &status, &why))
        return status;
    fprintf(stderr, "submitd service: %s\n", why.text);
    return APP_USAGE;
}
