#include "relay/failover.h"
#include "relay/outbound_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { RELEASE_AT = CONN_HIGH_WATER / 2 }; /* octets: who was held back may go on */
static_assert(
    (int)SMTP_CLIENT_CHUNK_SIZE <= (int)RELEASE_AT, "or text that waits for more holds it back");

static const char *const step_names[] = {
#define X(name, text) [OUTBOUND_##name] = text,
    OUTBOUND_STEPS(X)
#undef X
};

static const struct outbound_events no_events;
static unsigned sessions_begun;

const char *outbound_step_name(enum outbound_step step)
{
    return step_names[step];
}

/* The only writer of `state`. */
void out_set_state(struct outbound *o, enum outbound_state state)
{
    o->state = state;
}

void out_enter(struct outbound *o)
{
    o->depth++;
}

static void destroy(struct outbound *o)
{
    login_free(o->login);
    smtp_client_free(o->client);
    free(o);
}

void out_leave(struct outbound *o)
{
    if (--o->depth == 0 && o->is_freed)
        destroy(o);
}

void out_tell_step(struct outbound *o, enum outbound_step step, const char *detail)
{
    log_event(LOG_LEVEL_DEBUG, "upstream_step", LOG_INT("session", o->number),
        LOG_STR("step", step_names[step]), LOG_STR("detail", detail));
    if (o->events->on_step)
        o->events->on_step(o->user, o, step, detail);
}

/* `why` gets the upstream's name in front, so that a sentence in a client's hands says whom it is
 * about. */
void out_fail(struct outbound *o, const struct err *why, const struct smtp_reply *reply)
{
    if (o->state == OVER || o->is_freed)
        return;
    out_set_state(o, OVER);
    if (o->conn)
        conn_set_deadline(o->conn, 0);
    struct err full = *why;
    if (!strstr(full.text, o->host->name))
        err_prefix(&full, "%s", o->host->name);
    if (o->events->on_lost)
        o->events->on_lost(o->user, o, &full, reply);
}

static void out_fail_text(struct outbound *o, enum err_kind kind, const char *text)
{
    struct err why;
    err_set(&why, kind, "%s", text);
    out_fail(o, &why, NULL);
}

/* --- output and deadlines --- */

static void out_update_deadline(struct outbound *o)
{
    if (!o->conn || o->state == OVER || o->is_freed)
        return;
    uint64_t at = o->client ? smtp_client_deadline(o->client) : 0;
    if (o->state != READY && (at == 0 || o->setup_deadline < at))
        at = o->setup_deadline;
    conn_set_deadline(o->conn, at);
}

void outbound_flush(struct outbound *o)
{
    if (!o->client || !o->conn || o->state == OVER)
        return;
    /* What a stuck server does not take stays in the machine, whose deadline for it then runs. */
    struct slice out = smtp_client_output(o->client);
    if (out.n > 0 && conn_pending(o->conn) <= CONN_HIGH_WATER) {
        conn_write(o->conn, out);
        smtp_client_sent(o->client, out.n);
    }
    out_update_deadline(o);
}

/* Octets of ours on this side of the system: BDAT also holds text back until earlier chunks are
 * answered. */
static size_t pending(const struct outbound *o)
{
    return (o->conn ? conn_pending(o->conn) : 0) + (o->client ? smtp_client_pending(o->client) : 0);
}

bool outbound_is_congested(struct outbound *o)
{
    if (pending(o) > CONN_HIGH_WATER)
        o->is_held_back = true;
    return o->is_held_back;
}

void out_release_if_drained(struct outbound *o)
{
    if (!o->is_held_back || o->is_freed || pending(o) > RELEASE_AT)
        return;
    o->is_held_back = false;
    if (o->events->on_drain)
        o->events->on_drain(o->user, o);
}

/* --- the connection's events --- */

static void trace(void *user, bool is_sent, struct slice line)
{
    const struct outbound *o = user;
    log_event(LOG_LEVEL_DEBUG, "upstream_smtp", LOG_INT("session", o->number),
        LOG_STR("dir", is_sent ? "sent" : "received"), LOG_SLICE("line", line));
}

static bool make_client(struct outbound *o)
{
    static const enum smtp_client_tls tls_modes[] = {
        [CONFIG_TLS_STARTTLS] = SMTP_CLIENT_STARTTLS,
        [CONFIG_TLS_IMPLICIT] = SMTP_CLIENT_IMPLICIT,
        [CONFIG_TLS_OFF] = SMTP_CLIENT_PLAIN,
    };
    struct smtp_client_params params = {
        .hostname = o->setup->hostname,
        .tls = tls_modes[o->config->tls],
        .use_chunking = o->config->chunking == CONFIG_CHUNKING_AUTO,
        .command_timeout_ms = o->config->command_timeout_ms,
        .data_timeout_ms = o->config->data_timeout_ms,
        .final_timeout_ms = o->config->final_timeout_ms,
    };
    o->client = smtp_client_new(&params, loop_now_ms(o->loop));
    if (!o->client)
        return false;
    if (log_wants(LOG_LEVEL_DEBUG))
        smtp_client_trace(o->client, trace, o);
    out_set_state(o, WANT_HELLO);
    return true;
}

static void on_conn_input(void *user, struct slice *in)
{
    struct outbound *o = user;
    out_pump(o, in);
}

static void on_conn_drain(void *user)
{
    struct outbound *o = user;
    out_enter(o);
    outbound_flush(o);
    out_release_if_drained(o);
    out_leave(o);
}

static void tell_secured(struct outbound *o)
{
    struct tls_facts facts;
    tls_facts(conn_tls(o->conn), &facts);
    snprintf(o->tls_version, sizeof o->tls_version, "%s", facts.version);
    char detail[OUTBOUND_DETAIL_MAX];
    snprintf(detail, sizeof detail, "%s %s, certificate of %s for %s", facts.version, facts.cipher,
        facts.subject, facts.names);
    out_tell_step(o, OUTBOUND_SECURED, detail);
}

static void on_conn_secured(void *user)
{
    struct outbound *o = user;
    out_enter(o);
    tell_secured(o);
    if (!o->is_freed && o->client)
        smtp_client_secured(o->client, loop_now_ms(o->loop));
    else if (!o->is_freed && !make_client(o))
        out_fail_text(o, ERR_MEMORY, "out of memory for a session");
    struct slice nothing = SLICE_NONE;
    out_pump(o, &nothing);
    out_leave(o);
}

static void on_conn_deadline(void *user)
{
    struct outbound *o = user;
    if (o->state != READY && loop_now_ms(o->loop) >= o->setup_deadline) {
        struct err why;
        err_set(&why, ERR_TIMEOUT, "%s did not get through TLS and login within %llu s",
            o->host->name, (unsigned long long)(o->config->connect_timeout_ms / 1000));
        out_enter(o);
        out_fail(o, &why, NULL);
        out_leave(o);
        return;
    }
    struct slice nothing = SLICE_NONE;
    out_pump(o, &nothing);
}

static void on_conn_end(void *user, const struct err *why)
{
    struct outbound *o = user;
    out_enter(o);
    out_fail(o, why, NULL);
    out_leave(o);
}

static const struct conn_events conn_events = {
    .on_input = on_conn_input,
    .on_drain = on_conn_drain,
    .on_secured = on_conn_secured,
    .on_deadline = on_conn_deadline,
    .on_end = on_conn_end,
};

static void take_conn(struct outbound *o, struct conn *c)
{
    o->conn = c;
    conn_set_owner(c, &conn_events, o);
    char ip[IP_TEXT_MAX];
    ip_format(conn_peer(c), ip);
    bool is_six = conn_peer(c)->len == 16;
    snprintf(o->peer, sizeof o->peer, is_six ? "[%s]:%u" : "%s:%u", ip, conn_peer_port(c));
}

static bool begin_session(struct outbound *o, struct err *e)
{
    if (o->config->tls == CONFIG_TLS_OFF && !ip_is_loopback(conn_peer(o->conn)))
        return err_set(e, ERR_CONFIG,
            "tls = off is for loopback only, and %s is not: set tls = starttls", o->peer);
    if (o->config->tls == CONFIG_TLS_IMPLICIT) {
        out_set_state(o, WANT_TLS);
        return out_start_tls(o, e);
    }
    return make_client(o) || err_set(e, ERR_MEMORY, "out of memory for a session");
}

static void on_dialed(void *user, struct conn *c, const struct err *why)
{
    struct outbound *o = user;
    o->dialer = NULL;
    out_enter(o);
    struct err local;
    if (!c) {
        out_fail(o, why, NULL);
    } else {
        take_conn(o, c);
        out_tell_step(o, OUTBOUND_CONNECTED, o->peer);
        if (!o->is_freed && !begin_session(o, &local))
            out_fail(o, &local, NULL);
        if (!o->is_freed && o->state != OVER) {
            out_update_deadline(o);
            conn_resume(c);
        }
    }
    out_leave(o);
}

static void on_resolved(void *user, const char *addresses)
{
    struct outbound *o = user;
    out_enter(o);
    char detail[OUTBOUND_DETAIL_MAX];
    snprintf(detail, sizeof detail, "%s is %s", o->host->name, addresses);
    out_tell_step(o, OUTBOUND_RESOLVED, detail);
    out_leave(o);
}

/* --- life --- */

struct outbound *outbound_new(struct loop *loop, struct setup *setup, size_t host, size_t account,
    const struct outbound_events *events, void *user)
{
    struct outbound *o = calloc(1, sizeof *o);
    if (!o)
        return NULL;
    list_init(&o->link);
    o->loop = loop;
    o->setup = setup;
    o->config = &setup->config->upstream;
    o->host = &o->config->host.items[host];
    o->host_index = host;
    o->account = setup->nameless ? setup->nameless : &setup->config->accounts[account];
    o->login_account = setup->logins[account];
    o->events = events;
    o->user = user;
    o->number = ++sessions_begun;
    o->began_ms = loop_now_ms(loop);
    o->setup_deadline = o->began_ms + o->config->connect_timeout_ms;
    snprintf(o->tls_version, sizeof o->tls_version, "none");
    o->dialer = dialer_start(loop, o->host->name, config_host_port(o->config, o->host),
        o->config->connect_timeout_ms, on_dialed, on_resolved, o);
    if (!o->dialer) {
        free(o);
        return NULL;
    }
    return o;
}

void outbound_set_owner(struct outbound *o, const struct outbound_events *events, void *user)
{
    o->events = events;
    o->user = user;
}

/* Lets go of everything that could call back; the struct itself waits for the stack to unwind. */
static void dispose(struct outbound *o)
{
    o->events = &no_events;
    o->is_freed = true;
    if (o->was_ready)
        failover_session_over(o->setup->failover, o->host_index);
    if (o->dialer)
        dialer_cancel(o->dialer);
    o->dialer = NULL;
    o->conn = NULL;
    if (o->depth == 0)
        destroy(o);
}

void outbound_free(struct outbound *o)
{
    if (!o)
        return;
    if (o->state == READY && smtp_client_open_commands(o->client) == 0) {
        smtp_client_quit(o->client, loop_now_ms(o->loop));
        outbound_flush(o);
    }
    if (o->conn)
        conn_close(o->conn);
    dispose(o);
}

void outbound_abort(struct outbound *o)
{
    if (o->conn)
        conn_abort(o->conn);
    dispose(o);
}

/* --- what others may know --- */

struct smtp_client *outbound_client(struct outbound *o)
{
    return o->client;
}

bool outbound_is_ready(const struct outbound *o)
{
    return o->state == READY;
}

bool outbound_login_was_refused(const struct outbound *o)
{
    return o->login_was_refused;
}

const char *outbound_mech(const struct outbound *o)
{
    return o->mech ? o->mech->name : "none";
}

const char *outbound_tls_version(const struct outbound *o)
{
    return o->tls_version;
}

const char *outbound_peer(const struct outbound *o)
{
    return o->peer;
}

const char *outbound_account_name(const struct outbound *o)
{
    return o->account->name[0] ? o->account->name : "default";
}

const char *outbound_host(const struct outbound *o)
{
    return o->host->name;
}

size_t outbound_host_index(const struct outbound *o)
{
    return o->host_index;
}

uint64_t outbound_began_ms(const struct outbound *o)
{
    return o->began_ms;
}

struct tls *outbound_tls(struct outbound *o)
{
    return o->conn ? conn_tls(o->conn) : NULL;
}

bool outbound_dropped_binding(const struct outbound *o)
{
    return o->dropped_binding;
}

unsigned outbound_uses(const struct outbound *o)
{
    return o->uses;
}

void outbound_count_use(struct outbound *o)
{
    o->uses++;
}

struct list *outbound_link(struct outbound *o)
{
    return &o->link;
}

struct outbound *outbound_of_link(struct list *link)
{
    return LIST_ENTRY(link, struct outbound, link);
}

uint64_t outbound_idle_since(const struct outbound *o)
{
    return o->idle_since;
}

void outbound_set_idle_since(struct outbound *o, uint64_t at_ms)
{
    o->idle_since = at_ms;
}
