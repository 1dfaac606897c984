#include "relay/inbound.h"
#include "ops/log.h"
#include "relay/reason.h"
#include "relay/transaction.h"
#include "smtp/server.h"

#include <stdlib.h>

struct inbound {
    struct list link;
    struct loop *loop;
    struct setup *setup;
    const struct config_listener *listener;
    struct delivery *delivery;
    inbound_gone_fn *gone;
    void *user;
    struct conn *conn;
    struct smtp_server *server;
    struct transaction *transaction; /* NULL between messages */
    struct ip_addr peer;
    unsigned number;   /* of this connection, for the log */
    unsigned messages; /* that were given a verdict */
    uint64_t began_ms;
    uint64_t held_since; /* 0: the client is not held back */
    uint64_t held_ms;    /* how long it was, all in all */
    bool is_pumping;     /* replies given now are flushed by the loop in progress */
    bool is_over;        /* the machine or the peer ended it */
    bool is_peer_gone;   /* at least its half of the connection; a verdict is still awaited */
    bool is_draining;
    bool has_left_input; /* the connection holds bytes that were not taken */
};

static unsigned connections_begun;
static const struct transaction_events transaction_events;

/* --- output --- */

/* False: there was nothing to send. */
static bool flush(struct inbound *in)
{
    struct slice out = smtp_server_output(in->server);
    if (out.n == 0)
        return false;
    conn_write(in->conn, out);
    smtp_server_sent(in->server, out.n);
    return true;
}

static void drop_transaction(struct inbound *in, const char *why)
{
    struct transaction *t = in->transaction;
    in->transaction = NULL;
    if (t)
        transaction_abandon(t, why);
}

/* The connection closes by itself once its output has left. */
static void end(struct inbound *in, const char *why)
{
    /* After messages that have their lines, and a QUIT, nobody wants to know. */
    bool is_usual = in->messages > 0 && smtp_server_errors(in->server) == 0;
    log_event(is_usual ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, "disconnect",
        LOG_INT("connection", in->number), LOG_STR("reason", why),
        LOG_INT("messages", in->messages), LOG_INT("errors", smtp_server_errors(in->server)),
        LOG_INT("ms", loop_now_ms(in->loop) - in->began_ms));
    drop_transaction(in, why);
    conn_close(in->conn);
    in->conn = NULL;
    in->gone(in->user, in);
}

/* --- events of the machine --- */

/* What we announce: our own, and of the upstream's what was seen at its last login. */
static void on_hello(struct inbound *in, const struct smtp_event *ev)
{
    struct smtp_caps caps = { .size = in->listener->max_message_size };
    caps.set = SMTP_CAP_PIPELINING | SMTP_CAP_SIZE | SMTP_CAP_ENHANCEDSTATUSCODES;
    struct pool *pool = setup_default_pool(in->setup);
    const struct smtp_caps *upstream = pool ? pool_caps(pool) : NULL;
    if (!upstream) {
        /* Nothing is known before the first login. Exchange has both by default, and a program that
         * uses one unasked must not get a 555 because the upstream is down. */
        caps.set |= SMTP_CAP_8BITMIME | SMTP_CAP_DSN;
    } else {
        caps.set |= upstream->set & (SMTP_CAP_8BITMIME | SMTP_CAP_SMTPUTF8 | SMTP_CAP_DSN);
        if (upstream->size != 0 && (caps.size == 0 || upstream->size < caps.size))
            caps.size = upstream->size;
    }
    smtp_server_hello(in->server, ev->ticket, &caps);
}

static void answer_no_memory(struct inbound *in, uint32_t ticket)
{
    smtp_server_reply(in->server, ticket, 451, "4.3.0", "not delivered now: out of memory");
}

static void on_mail(struct inbound *in, const struct smtp_event *ev)
{
    drop_transaction(in, "a new MAIL");
    struct transaction_client client = {
        .addr = &in->peer,
        .helo = smtp_server_helo(in->server),
        .protocol = smtp_server_protocol(in->server),
    };
    in->transaction = transaction_new(
        in->loop, in->setup, in->delivery, &client, ev->mail, ev->ticket, &transaction_events, in);
    if (in->transaction)
        transaction_start(in->transaction);
    else
        answer_no_memory(in, ev->ticket);
}

static void on_rcpt(struct inbound *in, const struct smtp_event *ev)
{
    if (!in->transaction || !transaction_rcpt(in->transaction, ev->rcpt, ev->ticket))
        answer_no_memory(in, ev->ticket);
}

static void on_data(struct inbound *in, const struct smtp_event *ev)
{
    if (in->transaction)
        transaction_data(in->transaction, ev->ticket);
    else
        answer_no_memory(in, ev->ticket);
}

static void on_body(struct inbound *in, const struct smtp_event *ev)
{
    if (in->transaction)
        transaction_body(in->transaction, ev->text);
}

static void on_body_end(struct inbound *in, const struct smtp_event *ev)
{
    in->messages++;
    if (!in->transaction)
        answer_no_memory(in, ev->ticket);
    else if (ev->is_too_big)
        transaction_refuse_size(in->transaction, ev->text_size);
    else
        transaction_end(in->transaction, ev->ticket, ev->text_size, ev->is_repaired);
}

static void on_reset(struct inbound *in, const struct smtp_event *ev)
{
    (void)ev;
    drop_transaction(in, "RSET");
}

/* Neither is announced, so the machine never lets them through to here. */
static void on_not_offered(struct inbound *in, const struct smtp_event *ev)
{
    smtp_server_reply(in->server, ev->ticket, 502, "5.5.1", "not offered here");
}

static void on_close(struct inbound *in, const struct smtp_event *ev)
{
    in->is_over = true;
    flush(in);
    end(in, ev->why);
}

typedef void server_event_fn(struct inbound *in, const struct smtp_event *ev);

static server_event_fn *const handlers[] = {
    [SMTP_EV_HELLO] = on_hello,
    [SMTP_EV_MAIL] = on_mail,
    [SMTP_EV_RCPT] = on_rcpt,
    [SMTP_EV_DATA] = on_data,
    [SMTP_EV_BODY] = on_body,
    [SMTP_EV_BODY_END] = on_body_end,
    [SMTP_EV_RESET] = on_reset,
    [SMTP_EV_STARTTLS] = on_not_offered,
    [SMTP_EV_AUTH] = on_not_offered,
    [SMTP_EV_AUTH_DATA] = on_not_offered,
    [SMTP_EV_CLOSE] = on_close,
};

/* --- the pump --- */

static bool is_congested(const struct inbound *in)
{
    return in->transaction && transaction_is_congested(in->transaction);
}

/* The machine's clock stands still while we hold the client back: that is not its silence. */
static uint64_t machine_now(const struct inbound *in)
{
    return loop_now_ms(in->loop) - in->held_ms;
}

static void count_held_time(struct inbound *in)
{
    uint64_t now = loop_now_ms(in->loop);
    if (in->held_since != 0)
        in->held_ms += now - in->held_since;
    in->held_since = is_congested(in) ? now : 0;
}

static void update_deadline(struct inbound *in)
{
    uint64_t at = is_congested(in) ? 0 : smtp_server_deadline(in->server);
    at = at == 0 ? 0 : at + in->held_ms;
    uint64_t tick = in->transaction ? transaction_deadline(in->transaction) : 0;
    conn_set_deadline(in->conn, at == 0 || (tick != 0 && tick < at) ? tick : at);
}

/* False: the session has ended, the connection is gone. */
static bool run_machine(struct inbound *in, struct slice *input)
{
    struct smtp_event ev;
    while (!is_congested(in) &&
           smtp_server_step(in->server, input, &ev, machine_now(in)) == SMTP_SERVER_EVENT) {
        bool is_last = ev.kind == SMTP_EV_CLOSE;
        handlers[ev.kind](in, &ev);
        if (is_last)
            return false;
    }
    return true;
}

/* The machine takes no command while many replies wait in it, so it runs again when they were
 * taken. They are taken in any case, but a client that does not read them is not listened to. */
static bool run_and_flush(struct inbound *in, struct slice *input)
{
    struct slice nothing = SLICE_NONE;
    bool has_room, was_flushed;
    do {
        has_room = conn_pending(in->conn) <= CONN_HIGH_WATER;
        if (!run_machine(in, has_room ? input : &nothing))
            return false;
        was_flushed = flush(in);
    } while (was_flushed && has_room && input->n > 0);
    return true;
}

/* Lets the machine take bytes and make events until it can do no more. The connection may be gone
 * afterwards. */
static void pump(struct inbound *in, struct slice *input)
{
    count_held_time(in);
    in->is_pumping = true;
    if (!run_and_flush(in, input))
        return;
    in->is_pumping = false;
    if (input->p)
        in->has_left_input = input->n > 0;
    bool is_between = !smtp_server_in_transaction(in->server);
    /* Behind a refused DATA the client may still ask something of it. */
    if (is_between && in->transaction && transaction_is_over(in->transaction))
        drop_transaction(in, "over");
    count_held_time(in);
    update_deadline(in);
    if (in->is_peer_gone && is_between)
        end(in, "the client closed the connection before it had the verdict");
    else if (in->is_draining && is_between)
        inbound_drain(in);
}

/* After an answer from elsewhere: first what waits inside the machine, then what waits in the
 * connection. */
static void wake(struct inbound *in)
{
    if (in->is_pumping || in->is_over)
        return;
    if (in->has_left_input) {
        flush(in);
        conn_resume(in->conn);
        return;
    }
    struct slice nothing = SLICE_NONE;
    pump(in, &nothing);
}

/* --- events of the transaction --- */

static void on_reply(
    void *user, uint32_t ticket, unsigned code, const char *status, const char *text)
{
    struct inbound *in = user;
    smtp_server_reply(in->server, ticket, code, status, text);
    wake(in);
}

static void on_reply_as(void *user, uint32_t ticket, const struct smtp_reply *reply)
{
    struct inbound *in = user;
    smtp_server_reply_as(in->server, ticket, reply);
    wake(in);
}

static void on_drain(void *user)
{
    wake(user);
}

static const struct transaction_events transaction_events = {
    .on_reply = on_reply,
    .on_reply_as = on_reply_as,
    .on_drain = on_drain,
};

/* --- events of the connection --- */

static void on_conn_input(void *user, struct slice *input)
{
    struct inbound *in = user;
    pump(in, input);
}

static void on_conn_drain(void *user)
{
    wake(user);
}

static void on_conn_deadline(void *user)
{
    struct inbound *in = user;
    struct slice nothing = SLICE_NONE;
    in->is_pumping = true; /* whom the tick wakes is run here, once: it may end us */
    if (in->transaction)
        transaction_tick(in->transaction);
    pump(in, &nothing);
}

static void on_conn_end(void *user, const struct err *why)
{
    struct inbound *in = user;
    /* It may have ended its half only; and whether a whole message went through must be known. */
    if (in->transaction && transaction_client_left(in->transaction)) {
        in->is_peer_gone = true;
        in->has_left_input = false; /* it cannot be offered again, and nobody may wait for that */
        return;
    }
    in->is_over = true;
    end(in, why->text);
}

static const struct conn_events conn_events = {
    .on_input = on_conn_input,
    .on_drain = on_conn_drain,
    .on_deadline = on_conn_deadline,
    .on_end = on_conn_end,
};

/* --- life --- */

static void trace(void *user, bool is_sent, struct slice line)
{
    const struct inbound *in = user;
    log_event(LOG_LEVEL_DEBUG, "client_smtp", LOG_INT("connection", in->number),
        LOG_STR("dir", is_sent ? "sent" : "received"), LOG_SLICE("line", line));
}

static struct smtp_server *make_server(const struct inbound *in)
{
    struct smtp_server_params params = {
        .hostname = in->setup->hostname,
        .software = "submitd",
        .recipients_max = in->listener->max_recipients,
        .errors_max = in->listener->max_errors,
        .size_max = in->listener->max_message_size,
        .idle_timeout_ms = in->listener->idle_timeout_ms,
        .total_timeout_ms = in->listener->session_timeout_ms,
    };
    return smtp_server_new(&params, loop_now_ms(in->loop));
}

struct inbound *inbound_new(const struct inbound_params *params, struct conn *c)
{
    struct inbound *in = calloc(1, sizeof *in);
    if (!in) {
        conn_abort(c);
        return NULL;
    }
    list_init(&in->link);
    in->loop = params->loop;
    in->setup = setup_ref(params->setup);
    in->listener = params->listener;
    in->delivery = params->delivery;
    in->gone = params->gone;
    in->user = params->user;
    in->conn = c;
    in->peer = *conn_peer(c);
    in->number = ++connections_begun;
    in->began_ms = loop_now_ms(in->loop);
    in->server = make_server(in);
    if (!in->server) {
        inbound_free(in);
        return NULL;
    }
    if (log_wants(LOG_LEVEL_DEBUG))
        smtp_server_trace(in->server, trace, in);
    conn_set_owner(c, &conn_events, in);
    flush(in);
    conn_set_deadline(c, smtp_server_deadline(in->server));
    conn_resume(c);
    return in;
}

void inbound_drain(struct inbound *in)
{
    in->is_draining = true;
    if (in->is_over || smtp_server_in_transaction(in->server))
        return;
    in->is_draining = false;
    smtp_server_shut_down(in->server, "4.3.2", "submitd is shutting down, try again later");
    struct slice nothing = SLICE_NONE;
    pump(in, &nothing);
}

void inbound_free(struct inbound *in)
{
    if (!in)
        return;
    if (in->transaction)
        transaction_cut(in->transaction, "shutdown");
    if (in->conn)
        conn_abort(in->conn);
    smtp_server_free(in->server);
    setup_unref(in->setup);
    free(in);
}

struct list *inbound_link(struct inbound *in)
{
    return &in->link;
}

struct inbound *inbound_of_link(struct list *link)
{
    return LIST_ENTRY(link, struct inbound, link);
}

const struct ip_addr *inbound_peer(const struct inbound *in)
{
    return &in->peer;
}

const char *inbound_listener(const struct inbound *in)
{
    return in->listener->name;
}
