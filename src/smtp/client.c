#include "smtp/client_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* Who takes a reply in which state. NULL: no SMTP may come, see take_unreadable. */
static const struct state_row {
    bool is_lockstep; /* the reply can come only when all output has left */
    smtpc_reply_fn *on_reply;
} states[] = {
    [SMTPC_EXPECT_BANNER].on_reply = smtpc_on_banner,
    [SMTPC_EXPECT_EHLO].on_reply = smtpc_on_ehlo,
    [SMTPC_EXPECT_EHLO].is_lockstep = true,
    [SMTPC_EXPECT_HELO].on_reply = smtpc_on_helo,
    [SMTPC_EXPECT_HELO].is_lockstep = true,
    [SMTPC_EXPECT_STARTTLS].on_reply = smtpc_on_starttls,
    [SMTPC_EXPECT_STARTTLS].is_lockstep = true,
    [SMTPC_READY].on_reply = smtpc_on_reply,
    [SMTPC_EXPECT_AUTH].on_reply = smtpc_on_auth,
    [SMTPC_EXPECT_AUTH].is_lockstep = true,
    [SMTPC_WANT_AUTH_ANSWER].on_reply = smtpc_on_early_auth,
    [SMTPC_WANT_BODY].on_reply = smtpc_on_reply_during_body,
    [SMTPC_OVER].on_reply = NULL,
};
static_assert(ARRAY_LEN(states) == SMTPC_STATE_COUNT, "every state has a row");

void smtpc_set_state(struct smtp_client *c, enum smtpc_state state)
{
    c->state = state;
}

static bool is_host_word(const char *s)
{
    struct slice name = slice_str(s);
    for (size_t i = 0; i < name.n; i++) {
        if ((unsigned char)name.p[i] <= ' ' || name.p[i] == 0x7f)
            return false;
    }
    return name.n > 0;
}

struct smtp_client *smtp_client_new(const struct smtp_client_params *params, uint64_t now_ms)
{
    struct smtp_client *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->params = *params;
    c->needs_tls = params->tls == SMTP_CLIENT_STARTTLS;
    c->now_ms = c->since_ms = now_ms;
    list_init(&c->queue);
    smtp_reply_parser_init(&c->parser);
    smtp_reply_init(&c->local_reply);
    buf_init(&c->out, SMTPC_OUTPUT_MAX);
    buf_init(&c->body.text, SMTPC_OUTPUT_MAX);
    buf_init_secret(&c->login, SMTPC_LOGIN_MAX);
    smtpc_set_state(c, SMTPC_EXPECT_BANNER);
    if (!is_host_word(params->hostname))
        smtpc_fail(
            c, ERR_CONFIG, "the name to say in EHLO is empty or has a blank or control byte");
    return c;
}

static void drop_queue(struct smtp_client *c)
{
    for (struct smtpc_command *cmd; (cmd = smtpc_head(c)) != NULL;)
        smtpc_command_drop(cmd);
}

void smtp_client_free(struct smtp_client *c)
{
    if (!c)
        return;
    drop_queue(c);
    smtp_reply_parser_fini(&c->parser);
    smtp_reply_fini(&c->local_reply);
    buf_fini(&c->out);
    buf_fini(&c->body.text);
    buf_fini(&c->login);
    free(c);
}

void smtp_client_trace(struct smtp_client *c, smtp_trace_fn *fn, void *user)
{
    c->trace = fn;
    c->trace_user = user;
}

void smtpc_trace_line(struct smtp_client *c, bool is_sent, struct slice line)
{
    if (c->trace)
        c->trace(c->trace_user, is_sent, line);
}

/* A challenge of NTLM helps to crack what is sent next, so it is no more shown than the answer. */
static void trace_reply(struct smtp_client *c)
{
    if (!c->trace)
        return;
    const struct smtp_reply *reply = &c->parser.reply;
    struct slice rest = reply->code == 334 ? SLICE_LIT("[redacted]") : buf_slice(&reply->text);
    struct buf line;
    buf_init(&line, SMTP_REPLY_MAX + sizeof "250-");
    for (bool is_last = false; !is_last;) {
        const char *end = rest.n > 0 ? memchr(rest.p, '\n', rest.n) : NULL;
        size_t n = end ? (size_t)(end - rest.p) : rest.n;
        is_last = !end;
        buf_clear(&line);
        buf_addf(&line, "%u%c", reply->code, is_last ? ' ' : '-');
        buf_add(&line, rest.p, n);
        smtpc_trace_line(c, false, buf_slice(&line));
        rest = slice_skip(rest, is_last ? n : n + 1);
    }
    buf_fini(&line);
}

static void set_failure(struct smtp_client *c)
{
    c->has_failure = true;
    smtpc_set_state(c, SMTPC_OVER);
    drop_queue(c);
    buf_release_memory(&c->out); /* nothing, and above all no login, leaves after this */
    buf_release_memory(&c->body.text);
    buf_release_memory(&c->login);
}

bool smtpc_fail(struct smtp_client *c, enum err_kind kind, const char *fmt, ...)
{
    if (c->state == SMTPC_OVER)
        return false; /* the first cause is the one to tell */
    char text[ERR_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    err_set(&c->failure, kind, "%s", text);
    set_failure(c);
    return false;
}

bool smtpc_fail_reply(struct smtp_client *c, enum err_kind kind, const char *what)
{
    struct buf words;
    buf_init(&words, 4 * SMTP_REPLY_MAX);
    smtp_reply_add_oneline(&c->parser.reply, &words);
    c->failure_has_reply = c->state != SMTPC_OVER || c->failure_has_reply;
    smtpc_fail(c, kind, "%s: %s", what, buf_cstr(&words));
    buf_fini(&words);
    return false;
}

bool smtpc_fail_memory(struct smtp_client *c)
{
    return smtpc_fail(c, ERR_MEMORY, "no memory for the session with the server");
}

void smtpc_end_if_closing(struct smtp_client *c)
{
    if (c->parser.reply.code == 421)
        smtpc_fail_reply(c, ERR_LOST, "the server ended the session");
}

bool smtpc_event_reply(
    struct smtp_client *c, enum smtp_client_command command, struct smtp_client_event *ev)
{
    *ev = (struct smtp_client_event){
        .kind = SMTP_CL_REPLY, .command = command, .reply = &c->parser.reply
    };
    return true;
}

void smtpc_send_line(struct smtp_client *c, const char *line)
{
    buf_add_str(&c->out, line);
    buf_add(&c->out, "\r\n", 2);
    smtpc_trace_line(c, true, slice_str(line));
}

static bool event_failed(struct smtp_client *c, struct smtp_client_event *ev)
{
    c->has_failure = false;
    *ev = (struct smtp_client_event){
        .kind = SMTP_CL_FAILED,
        .err = &c->failure,
        .reply = c->failure_has_reply ? &c->parser.reply : NULL,
    };
    return true;
}

/* Events that need no input. */
static bool take_pending(struct smtp_client *c, struct smtp_client_event *ev)
{
    if (c->out.failed)
        smtpc_fail_memory(c);
    if (c->state == SMTPC_SPOILED && !list_is_empty(&c->queue))
        smtpc_fail(c, ERR_LOST, "the session cannot be used after an early reply to the message");
    if (c->has_failure)
        return event_failed(c, ev);
    return smtpc_answer_locally(c, ev);
}

bool smtpc_has_pending(const struct smtp_client *c)
{
    return c->has_failure || c->out.failed ||
           (c->state == SMTPC_SPOILED && !list_is_empty(&c->queue)) || smtpc_has_local_answer(c);
}

/* Bytes where no SMTP may come. True: *ev is set. */
static bool take_unreadable(struct smtp_client *c, struct slice *in)
{
    bool is_injected = c->state == SMTPC_TLS_HANDSHAKE && in->n > 0;
    *in = slice_skip(*in, in->n);
    /* RFC 3207 4.2 (CVE-2011-0411): plain text behind the 220 must never count as said under TLS.
     */
    if (is_injected)
        smtpc_fail(c, ERR_TLS, "bytes behind the reply to STARTTLS: someone injects replies");
    return is_injected;
}

static bool is_login_under_way(const struct smtp_client *c)
{
    return c->state == SMTPC_EXPECT_AUTH || c->state == SMTPC_WANT_AUTH_ANSWER;
}

static void fail_no_reply(struct smtp_client *c, const struct err *why)
{
    /* The line may repeat the login: it is not shown. */
    if (is_login_under_way(c))
        smtpc_fail(c, ERR_PROTO, "the answer to AUTH is no SMTP reply");
    else
        smtpc_fail(c, why->kind, "%s", why->text);
}

/* Reads one reply. True: it is complete and was handed on. */
static bool take_reply(
    struct smtp_client *c, struct slice *in, struct smtp_client_event *ev, bool *ret_event)
{
    struct err why = { 0 };
    switch (smtp_reply_parser_feed(&c->parser, in, &why)) {
    case SMTP_REPLY_MORE:
        return false;
    case SMTP_REPLY_BAD:
        fail_no_reply(c, &why);
        return true;
    case SMTP_REPLY_DONE:
        break;
    }
    c->since_ms = c->now_ms;
    smtpc_hide_login(c);
    trace_reply(c);
    const struct state_row *row = &states[c->state];
    if (row->is_lockstep && c->out.len > 0)
        smtpc_unsolicited(c);
    else
        *ret_event = row->on_reply(c, *in, ev);
    return true;
}

enum smtp_client_status smtp_client_step(
    struct smtp_client *c, struct slice *in, struct smtp_client_event *ev, uint64_t now_ms)
{
    smtpc_tick(c, now_ms);
    *ev = (struct smtp_client_event){ 0 };
    for (;;) {
        if (take_pending(c, ev))
            return SMTP_CLIENT_EVENT;
        bool is_event = false;
        if (states[c->state].on_reply ? take_reply(c, in, ev, &is_event) : take_unreadable(c, in)) {
            if (is_event)
                return SMTP_CLIENT_EVENT;
            continue;
        }
        smtpc_check_deadline(c);
        if (!c->has_failure)
            return SMTP_CLIENT_MORE;
    }
}

const struct smtp_caps *smtp_client_caps(const struct smtp_client *c)
{
    return &c->caps;
}

const struct smtp_caps *smtp_client_caps_before_tls(const struct smtp_client *c)
{
    return &c->caps_before_tls;
}

struct slice smtp_client_output(const struct smtp_client *c)
{
    /* What did not fit into memory left a hole: chunks would be taken for commands. */
    return c->out.failed ? SLICE_NONE : buf_slice(&c->out);
}

size_t smtp_client_pending(const struct smtp_client *c)
{
    return c->out.len + c->body.text.len;
}

bool smtp_client_is_spoiled(const struct smtp_client *c)
{
    return c->state == SMTPC_SPOILED;
}
