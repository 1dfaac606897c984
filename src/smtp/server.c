/*
 * The server machine: its life, its clock, and the loop that turns input into events.
 */
#include "smtp/server_internal.h"

#include <stdlib.h>

/* Replies to SMTP_OPEN_COMMANDS_MAX commands, each as long as another server may make it. */
enum { OUT_MAX = 4 * 1024 * 1024 };

struct smtp_server *smtp_server_new(const struct smtp_server_params *params, uint64_t now_ms)
{
    struct smtp_server *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->params = *params;
    s->size_limit = params->size_max;
    s->born_ms = s->active_ms = s->now_ms = now_ms;
    s->is_alone = true; /* nothing may come before the banner */
    buf_init_secret(&s->line, SMTP_AUTH_LINE_MAX);
    buf_init(&s->text, SMTP_BODY_EVENT_MAX);
    buf_init(&s->deferral, SERVER_REPLY_MAX);
    buf_init(&s->out, OUT_MAX);
    buf_init(&s->ending.farewell, SMTP_REPLY_MAX);
    const char *software = params->software;
    if (!buf_addf(&s->out, "220 %s ESMTP%s%s\r\n", params->hostname, software ? " " : "",
            software ? software : "")) {
        smtp_server_free(s);
        return NULL;
    }
    return s;
}

void smtp_server_free(struct smtp_server *s)
{
    if (!s)
        return;
    server_free_slots(s);
    buf_fini(&s->line);
    buf_fini(&s->text);
    buf_fini(&s->deferral);
    buf_fini(&s->out);
    buf_fini(&s->ending.farewell);
    free(s->helo);
    free(s);
}

void server_set_state(struct smtp_server *s, enum server_state state)
{
    s->state = state;
}

void server_queue_event(struct smtp_server *s, struct smtp_event ev)
{
    s->queued = ev;
    s->has_queued = true;
}

void server_forget_transaction(struct smtp_server *s)
{
    s->recipients = 0;
    s->has_refused = false;
    buf_release_memory(&s->deferral);
    s->is_utf8 = false;
    server_set_state(s, WANT_MAIL);
}

/* ---- the end --------------------------------------------------------------------------------- */

void server_end(struct smtp_server *s, const struct refusal *farewell, const char *why)
{
    if (s->ending.why && !s->ending.is_patient)
        return;
    s->ending.why = why;
    s->ending.is_patient = false;
    buf_clear(&s->ending.farewell);
    if (farewell &&
        !server_add_line(&s->ending.farewell, farewell->code, farewell->status, farewell->text))
        s->is_out_of_memory = true;
}

void smtp_server_shut_down(struct smtp_server *s, const char *status, const char *text)
{
    if (s->ending.why)
        return;
    server_end(s, &(struct refusal){ .code = 421, .status = status, .text = text }, "shut down");
    s->ending.is_patient = true;
}

/* A message that is coming in gets its verdict; a TLS handshake must not meet plain text. */
static bool must_not_interrupt(const struct smtp_server *s)
{
    return s->state == WANT_BODY || s->state == WANT_OCTETS || s->state == WANT_TLS;
}

static bool is_ending(const struct smtp_server *s)
{
    return s->ending.why && !(s->ending.is_patient && must_not_interrupt(s));
}

static enum progress close_session(struct smtp_server *s, struct smtp_event *ev, const char *why)
{
    if (!s->is_out_of_memory)
        server_say_farewell(s);
    server_set_state(s, CLOSED);
    server_free_slots(s);
    buf_release_memory(&s->line);
    buf_release_memory(&s->text);
    s->has_queued = false;
    *ev = (struct smtp_event){ .kind = SMTP_EV_CLOSE, .why = why };
    return HAVE_EVENT;
}

/* ---- the clock ------------------------------------------------------------------------------- */

static bool is_between_transactions(const struct smtp_server *s)
{
    return s->state == WANT_HELLO || s->state == WANT_MAIL || s->state == WANT_AUTH;
}

uint64_t smtp_server_deadline(const struct smtp_server *s)
{
    if (s->state == CLOSED || s->open.count > 0)
        return 0;
    if (is_ending(s) || s->is_out_of_memory)
        return s->now_ms > 0 ? s->now_ms : 1; /* the step that closes is due */
    uint64_t idle = s->params.idle_timeout_ms, total = s->params.total_timeout_ms;
    uint64_t at = idle > 0 ? s->active_ms + idle : 0;
    if (total > 0 && is_between_transactions(s) && (at == 0 || s->born_ms + total < at))
        at = s->born_ms + total;
    return at;
}

static void end_idle_session(struct smtp_server *s)
{
    static const struct refusal idle = { 421, "4.4.2", "idle timeout, closing" };
    static const struct refusal no_end = { 421, "4.4.2",
        "the end of the message never came: \".\" must stand between CR LF, not bare LF" };
    if (s->state == WANT_TLS)
        server_end(s, NULL, "idle timeout in the TLS handshake");
    else if (s->state == WANT_BODY && s->body.data.saw_bare_end)
        server_end(s, &no_end,
            "idle timeout (the client ended its message with a \".\" line between bare LF; only "
            "CR LF \".\" CR LF ends it)");
    else
        server_end(s, &idle, "idle timeout");
}

/* Checked first in each step: a client that is never idle must not outlive it. */
static void check_total_time(struct smtp_server *s)
{
    static const struct refusal too_long = { 421, "4.4.2", "session lasted too long, closing" };
    uint64_t total = s->params.total_timeout_ms;
    if (total == 0 || s->now_ms < s->born_ms + total || !is_between_transactions(s))
        return;
    server_end(s, &too_long, "session lasted too long");
}

/* Only when there is nothing left to do: input that came late but came is welcome. */
static bool check_idle_time(struct smtp_server *s)
{
    uint64_t idle = s->params.idle_timeout_ms;
    if (idle == 0 || s->open.count > 0 || is_ending(s) || s->state == CLOSED ||
        s->now_ms < s->active_ms + idle)
        return false;
    end_idle_session(s);
    return true;
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* What the last event pointed to is no longer needed. */
static void begin_step(struct smtp_server *s, size_t input, uint64_t now_ms)
{
    s->now_ms = now_ms;
    if (s->was_active)
        s->active_ms = now_ms;
    s->was_active = false;
    if (s->has_queued)
        return;
    server_drop_line(s);
    if (input == 0 && s->text.cap > 0)
        buf_release_memory(&s->text);
}

/* The message or the handshake has the floor: whatever else comes must wait. */
static enum progress wait_with_input(struct smtp_server *s, struct slice in)
{
    if (in.n == 0)
        return NEED_INPUT;
    return server_is_early(s, in) ? GO_ON : BLOCKED;
}

static enum progress take_input(struct smtp_server *s, struct slice *in, struct smtp_event *ev)
{
    switch (s->state) {
    case WANT_HELLO:
    case WANT_MAIL:
    case AWAIT_MAIL:
    case WANT_RCPT:
    case WANT_BDAT:
        return server_take_command(s, in, ev);
    case WANT_BODY:
        return server_take_body(s, in, ev);
    case WANT_OCTETS:
        return server_take_octets(s, in, ev);
    case WANT_AUTH:
        return server_take_auth_line(s, in, ev);
    case AWAIT_VERDICT:
    case WANT_TLS:
        return wait_with_input(s, *in);
    case CLOSED:
        break;
    }
    *in = slice_skip(*in, in->n);
    return NEED_INPUT;
}

static enum progress advance(struct smtp_server *s, struct slice *in, struct smtp_event *ev)
{
    if (s->state == CLOSED)
        return take_input(s, in, ev);
    if (s->is_out_of_memory)
        return close_session(s, ev, "out of memory");
    if (s->has_queued) {
        s->has_queued = false;
        *ev = s->queued;
        return HAVE_EVENT;
    }
    if (is_ending(s))
        return s->open.count > 0 ? BLOCKED : close_session(s, ev, s->ending.why);
    return take_input(s, in, ev);
}

enum smtp_server_status smtp_server_step(
    struct smtp_server *s, struct slice *in, struct smtp_event *ev, uint64_t now_ms)
{
    begin_step(s, in->n, now_ms);
    check_total_time(s);
    for (;;) {
        switch (advance(s, in, ev)) {
        case GO_ON:
            break;
        case HAVE_EVENT:
            return SMTP_SERVER_EVENT;
        case NEED_INPUT:
            if (!check_idle_time(s))
                return SMTP_SERVER_MORE;
            break;
        case BLOCKED:
            if (!check_idle_time(s))
                return SMTP_SERVER_WAIT;
            break;
        }
    }
}

/* ---- what the owner tells and asks ----------------------------------------------------------- */

void smtp_server_secured(struct smtp_server *s)
{
    /* RFC 3207 4.2: what the client said before TLS, an attacker may have said. */
    s->has_tls = true;
    s->caps = 0;
    s->size_limit = s->params.size_max;
    s->is_authenticated = false;
    s->is_esmtp = false;
    s->is_alone = s->out.len > 0; /* the banner, with TLS from the start */
    free(s->helo);
    s->helo = NULL;
    s->was_active = true;
    if (s->state == WANT_TLS)
        server_set_state(s, WANT_HELLO);
}

void smtp_server_authenticated(struct smtp_server *s)
{
    s->is_authenticated = true;
}

bool smtp_server_in_transaction(const struct smtp_server *s)
{
    enum server_state state = s->state == WANT_OCTETS ? s->behind_chunk : s->state;
    return state == WANT_RCPT || state == WANT_BODY || state == WANT_BDAT || state == AWAIT_VERDICT;
}

const char *smtp_server_helo(const struct smtp_server *s)
{
    return s->helo ? s->helo : "";
}

const char *smtp_server_protocol(const struct smtp_server *s)
{
    /* RFC 3848 and RFC 6531 4.3: rows TLS, columns AUTH. */
    static const char *const esmtp[2][2] = { { "ESMTP", "ESMTPA" }, { "ESMTPS", "ESMTPSA" } };
    static const char *const utf8[2][2] = { { "UTF8SMTP", "UTF8SMTPA" },
        { "UTF8SMTPS", "UTF8SMTPSA" } };
    if (!s->is_esmtp)
        return "SMTP";
    return s->is_utf8 ? utf8[s->has_tls][s->is_authenticated]
                      : esmtp[s->has_tls][s->is_authenticated];
}

unsigned smtp_server_errors(const struct smtp_server *s)
{
    return s->errors;
}

void smtp_server_trace(struct smtp_server *s, smtp_trace_fn *fn, void *user)
{
    s->trace = fn;
    s->trace_user = user;
}
