#include "sandbox/session_internal.h"

#include "base/str.h"
#include "tls/tls.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    IDLE_BACKSTOP_MS = 1000, /* the machine's own clock runs this much behind ours */
    TRACE_LINE_MAX = 16384,
};

void session_trace(const struct session *s, const char *text)
{
    if (s->box->options->trace)
        fprintf(stderr, "[%" PRIu64 "] -- %s\n", s->id, text);
}

static void session_free(struct session *s)
{
    limits_session_end(s->box->limits, conn_peer(s->conn));
    conn_close(s->conn);
    list_remove(&s->link);
    session_drop_message(s);
    login_fini(&s->login);
    smtp_server_free(s->server);
    free(s);
}

/* --- the machine and the connection -------------------------------------------------------- */

/* The plain output has left. False: the session is gone. */
static bool start_tls(struct session *s)
{
    struct tls *tls;
    struct err e;
    s->wants_tls = false;
    if (!tls_server_new(s->box->identity, &tls, &e)) {
        session_trace(s, e.text);
        session_free(s);
        return false;
    }
    s->is_securing = true;
    conn_start_tls(s->conn, tls);
    return true;
}

/* Gives the machine's output to the connection, unless --latency holds it. True: something went. */
static bool send_output(struct session *s)
{
    struct slice out = smtp_server_output(s->server);
    if (out.n == 0 || s->is_securing)
        return false;
    uint64_t latency = s->box->options->latency;
    if (latency > 0 && s->release_ms == 0)
        s->release_ms = session_now_ms(s) + latency;
    if (s->release_ms > session_now_ms(s))
        return false;
    s->release_ms = 0;
    conn_write(s->conn, out);
    smtp_server_sent(s->server, out.n);
    return true;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    if (a == 0 || b == 0)
        return a + b;
    return a < b ? a : b;
}

static uint64_t after(uint64_t at_ms, uint64_t limit_ms)
{
    return limit_ms > 0 ? at_ms + limit_ms : 0;
}

/* A deadline that comes too early does no harm, and the timer is not moved with every command. */
static void arm(struct session *s)
{
    const struct options *o = s->box->options;
    uint64_t at = earlier(smtp_server_deadline(s->server), s->release_ms);
    at = earlier(at, s->verdict_ms);
    at = earlier(at, after(s->heard_ms, o->die_idle));
    if (!s->is_timed_out)
        at = earlier(at, after(s->heard_ms, o->idle));
    if (!s->is_timed_out && !smtp_server_in_transaction(s->server))
        at = earlier(at, after(s->begun_ms, o->session_age));
    if (at == s->armed_ms || (s->armed_ms > session_now_ms(s) && at > s->armed_ms))
        return;
    s->armed_ms = at;
    conn_set_deadline(s->conn, at);
}

/* Feeds the machine and does what its events ask for; the session may be gone afterwards. */
static void pump(struct session *s, struct slice *in)
{
    while (!s->is_leaving && !s->is_securing && !s->wants_tls &&
           conn_pending(s->conn) <= CONN_HIGH_WATER) {
        struct smtp_event ev;
        enum smtp_server_status status = smtp_server_step(s->server, in, &ev, session_now_ms(s));
        if (status == SMTP_SERVER_EVENT)
            session_answer(s, &ev);
        if (status == SMTP_SERVER_MORE || (status == SMTP_SERVER_WAIT && !send_output(s)))
            break;
    }
    send_output(s);
    bool has_left = smtp_server_output(s->server).n == 0;
    if (s->is_leaving && has_left) {
        session_free(s);
        return;
    }
    if (s->wants_tls && has_left && !start_tls(s))
        return;
    arm(s);
}

static void on_input(void *user, struct slice *in)
{
    struct session *s = user;
    s->heard_ms = session_now_ms(s);
    pump(s, in);
}

static void on_drain(void *user)
{
    struct session *s = user;
    conn_resume(s->conn);
}

static void on_secured(void *user)
{
    struct session *s = user;
    s->is_securing = false;
    s->account = NULL;
    s->heard_ms = session_now_ms(s);
    if (s->box->options->tls == OPTION_TLS_STARTTLS)
        smtp_server_secured(s->server);
    struct slice none = SLICE_NONE;
    pump(s, &none);
}

static bool is_past(uint64_t at_ms, const struct session *s)
{
    return at_ms > 0 && at_ms <= session_now_ms(s);
}

/* False: the session is gone. */
static bool check_clocks(struct session *s)
{
    const struct options *o = s->box->options;
    bool is_silent = is_past(after(s->heard_ms, o->idle), s);
    if (is_past(after(s->heard_ms, o->die_idle), s) || (is_silent && s->is_securing)) {
        session_free(s);
        return false;
    }
    bool is_old =
        is_past(after(s->begun_ms, o->session_age), s) && !smtp_server_in_transaction(s->server);
    if ((is_old || is_silent) && !s->is_timed_out) {
        s->is_timed_out = true;
        smtp_server_shut_down(s->server, "4.4.1", "Connection timed out");
    }
    return true;
}

static void on_deadline(void *user)
{
    struct session *s = user;
    s->armed_ms = 0;
    if (!check_clocks(s))
        return;
    if (is_past(s->verdict_ms, s))
        session_give_verdict(s);
    conn_resume(s->conn);
    struct slice none = SLICE_NONE;
    pump(s, &none);
}

static void on_end(void *user, const struct err *why)
{
    struct session *s = user;
    session_trace(s, why->text);
    session_free(s);
}

static void show_line(void *user, bool is_sent, struct slice line)
{
    const struct session *s = user;
    struct buf text;
    buf_init(&text, TRACE_LINE_MAX);
    str_add_printable(&text, line);
    fprintf(stderr, "[%" PRIu64 "] %s %s\n", s->id, is_sent ? "S:" : "C:", buf_cstr(&text));
    buf_fini(&text);
}

/* --- the session's life -------------------------------------------------------------------- */

static const struct conn_events events = {
    .on_input = on_input,
    .on_drain = on_drain,
    .on_secured = on_secured,
    .on_deadline = on_deadline,
    .on_end = on_end,
};

static struct smtp_server *make_machine(const struct options *o, uint64_t now)
{
    return smtp_server_new(
        &(struct smtp_server_params){
            .hostname = o->hostname,
            .software = "submitd-sandbox",
            .recipients_max = o->recipients > UINT32_MAX ? 0 : (unsigned)o->recipients,
            .size_max = o->size,
            .idle_timeout_ms = o->idle > 0 ? o->idle + IDLE_BACKSTOP_MS : 0,
            .require_tls = o->require_tls && o->tls == OPTION_TLS_STARTTLS,
            .require_auth = !o->no_auth,
        },
        now);
}

/* NULL when out of memory; the connection is the caller's then. */
static struct session *session_new(struct sandbox *box, struct conn *conn)
{
    struct session *s = calloc(1, sizeof *s);
    uint64_t now = loop_now_ms(box->loop);
    struct smtp_server *server = s ? make_machine(box->options, now) : NULL;
    if (!server) {
        free(s);
        return NULL;
    }
    s->box = box;
    s->conn = conn;
    s->server = server;
    s->id = store_counters(box->store)->sessions;
    s->begun_ms = s->heard_ms = now;
    login_init(&s->login, &box->judges);
    list_add_tail(&box->sessions, &s->link);
    if (box->options->trace)
        smtp_server_trace(server, show_line, s);
    return s;
}

void session_start(struct sandbox *box, struct conn *conn)
{
    store_counters(box->store)->sessions++;
    struct ip_addr source = *conn_peer(conn);
    if (!limits_session_begin(box->limits, &source)) {
        conn_write(
            conn, SLICE_LIT("421 4.3.2 The maximum number of concurrent server connections has "
                            "exceeded a per-source limit, closing transmission channel\r\n"));
        conn_close(conn);
        return;
    }
    struct session *s = session_new(box, conn);
    if (!s) {
        limits_session_end(box->limits, &source);
        conn_close(conn);
        return;
    }
    conn_set_owner(conn, &events, s);
    s->wants_tls = box->options->tls == OPTION_TLS_IMPLICIT;
    if (s->wants_tls && !start_tls(s))
        return;
    conn_resume(conn);
    struct slice none = SLICE_NONE;
    pump(s, &none);
}

void sessions_close(struct sandbox *box)
{
    struct list *next;
    for (struct list *link = box->sessions.next; link != &box->sessions; link = next) {
        next = link->next;
        struct session *s = LIST_ENTRY(link, struct session, link);
        if (!s->is_securing && !smtp_server_in_transaction(s->server))
            conn_write(s->conn, SLICE_LIT("421 4.3.2 The service is being stopped\r\n"));
        session_free(s);
    }
}
