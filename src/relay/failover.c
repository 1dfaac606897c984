#include "relay/failover.h"
#include "ops/log.h"
#include "relay/hosts.h"

#include <stdlib.h>

struct failover {
    struct loop *loop;
    struct setup *setup; /* the owner */
    struct hosts *hosts;
    struct timer *timer;    /* the next probe */
    struct outbound *probe; /* under way; NULL: none */
};

static const char *host_name(const struct failover *f, size_t host)
{
    return f->setup->config->upstream.host.items[host].name;
}

static bool has_choice(const struct failover *f)
{
    return f->setup->config->upstream.host.count > 1;
}

static void set_timer(struct failover *f)
{
    size_t host;
    timer_set(f->timer, f->probe ? 0 : hosts_next_probe(f->hosts, &host));
}

static void log_skipped(
    const struct failover *f, enum log_level level, size_t host, const struct err *why)
{
    log_event(level, "host_skipped", LOG_STR("host", host_name(f, host)),
        LOG_INT("seconds", hosts_skip_ms(f->hosts, host) / 1000), LOG_STR("reason", why->text));
}

static void log_works(const struct failover *f, size_t host)
{
    log_event(LOG_LEVEL_INFO, "host_works", LOG_STR("host", host_name(f, host)));
}

/* --- probes --- */

static void end_probe(struct failover *f, bool is_reached)
{
    size_t host = outbound_host_index(f->probe);
    bool was_skipped = hosts_is_skipped(f->hosts, host);
    outbound_free(f->probe);
    f->probe = NULL;
    hosts_probed(f->hosts, host, is_reached, loop_now_ms(f->loop));
    if (is_reached && was_skipped)
        log_works(f, host);
    set_timer(f);
}

/* EHLO was answered where a login would follow. */
static void on_probe_step(
    void *user, struct outbound *o, enum outbound_step step, const char *detail)
{
    (void)o;
    (void)detail;
    struct failover *f = user;
    bool is_plain = f->setup->config->upstream.tls == CONFIG_TLS_OFF;
    if (step == (is_plain ? OUTBOUND_HELLO : OUTBOUND_HELLO_SECURED))
        end_probe(f, true);
}

static void on_probe_lost(
    void *user, struct outbound *o, const struct err *why, const struct smtp_reply *reply)
{
    (void)reply;
    struct failover *f = user;
    struct err copy = *why;
    size_t host = outbound_host_index(o);
    end_probe(f, false);
    if (hosts_is_skipped(f->hosts, host))
        log_skipped(f, LOG_LEVEL_INFO, host, &copy);
}

static const struct outbound_events probe_events = {
    .on_step = on_probe_step,
    .on_lost = on_probe_lost,
};

static void on_timer(void *user)
{
    struct failover *f = user;
    size_t host = 0;
    uint64_t at = hosts_next_probe(f->hosts, &host);
    if (at == 0 || f->probe)
        return;
    if (at > loop_now_ms(f->loop)) {
        set_timer(f);
        return;
    }
    f->probe = outbound_new(f->loop, f->setup, host, 0, &probe_events, f);
    if (!f->probe) {
        hosts_probed(f->hosts, host, false, loop_now_ms(f->loop));
        set_timer(f);
    }
}

/* --- what sessions found out --- */

size_t failover_choose(struct failover *f)
{
    return hosts_choose(f->hosts);
}

/* Another host would do better: this one is not there, broken, or cannot verify logins now. */
static bool is_fault_of_host(
    const struct outbound *o, const struct err *why, const struct smtp_reply *reply)
{
    switch (why->kind) {
    case ERR_DNS:
    case ERR_CONNECT:
    case ERR_TLS:
    case ERR_LOST:
    case ERR_TIMEOUT:
    case ERR_PROTO:
    case ERR_REFUSED:
    case ERR_IO:
        return true;
    case ERR_AUTH: /* RFC 4954 6: 454, a temporary failure, is about the server */
        return !outbound_login_was_refused(o) && reply && smtp_reply_class(reply) == 4;
    case ERR_NONE:
    case ERR_CONFIG:
    case ERR_MEMORY:
    case ERR_LIMIT:
        break;
    }
    return false;
}

bool failover_lost(struct failover *f, const struct outbound *o, const struct err *why,
    const struct smtp_reply *reply)
{
    size_t host = outbound_host_index(o);
    /* Exchange's 421 for one session too many: the others work. */
    bool is_full = reply && reply->code == 421 && hosts_sessions(f->hosts, host) > 0;
    if (is_full || !is_fault_of_host(o, why, reply))
        return false;
    bool was_skipped = hosts_is_skipped(f->hosts, host);
    bool has_another = hosts_failed(f->hosts, host, loop_now_ms(f->loop));
    if (has_choice(f) && !was_skipped)
        log_skipped(f, LOG_LEVEL_WARNING, host, why);
    set_timer(f);
    return has_another;
}

void failover_session_ready(struct failover *f, size_t host)
{
    if (!f)
        return;
    if (has_choice(f) && hosts_is_skipped(f->hosts, host))
        log_works(f, host);
    hosts_session_ready(f->hosts, host);
    set_timer(f);
}

void failover_session_over(struct failover *f, size_t host)
{
    if (f)
        hosts_session_over(f->hosts, host);
}

/* --- life --- */

struct failover *failover_new(struct loop *loop, struct setup *setup)
{
    struct failover *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->loop = loop;
    f->setup = setup;
    f->hosts = hosts_new(setup->config->upstream.host.count);
    f->timer = timer_new(loop, on_timer, f);
    if (!f->hosts || !f->timer) {
        failover_free(f);
        return NULL;
    }
    return f;
}

void failover_free(struct failover *f)
{
    if (!f)
        return;
    outbound_free(f->probe);
    timer_free(f->timer);
    hosts_free(f->hosts);
    free(f);
}
