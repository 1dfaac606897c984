/*
 * Runs tests/transcripts/server against smtp/server. Directives:
 *   given KEY=VALUE...     parameters, before anything else
 *   caps KEYWORD; ...      what the next HELLO is answered with
 *   C: TEXT  C~ TEXT       the client sends TEXT with, without CRLF
 *   S: TEXT                the next reply line; output is taken here (and at `silence`), nowhere
 * else silence                no reply is there event KIND ...         the next event; HELLO, MAIL,
 * RCPT, DATA, AUTH and AUTH_DATA may go unmentioned body TEXT              the text of the last
 * message answer KIND CODE [STATUS] TEXT    for the next event of that kind that has no answer yet
 * ("as CODE a|b": by reply_as; 334 is a challenge, 235 also tells that the client is authenticated)
 *   later KIND             the next event of that kind is not answered
 *   reply KIND[#N] CODE [STATUS] TEXT the oldest (or Nth) ticket of that kind that is still open
 *   wait MS                time passes
 *   secured                TLS is up
 *   shut_down STATUS TEXT
 *   check KEY=VALUE...     helo, protocol, errors, in_transaction, deadline (ms from now, or none),
 * input (octets not taken) never TEXT             at the end: the trace does not hold TEXT trace
 * TEXT             at the end: the trace holds TEXT
 */
#include "transcript.h"

#include "smtp/server.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define KINDS(X)                                                                                   \
    X(HELLO)                                                                                       \
    X(MAIL) X(RCPT) X(DATA) X(BODY) X(BODY_END) X(RESET) X(STARTTLS) X(AUTH) X(AUTH_DATA) X(CLOSE)

static const char *const kind_names[] = {
#define X(name) [SMTP_EV_##name] = #name,
    KINDS(X)
#undef X
};
enum { KIND_COUNT = SMTP_EV_CLOSE + 1 };

/* What happens to an event of a kind when nothing else was said. "" answers nothing. */
static const char *const default_answers[KIND_COUNT] = {
    [SMTP_EV_HELLO] = "hello",
    [SMTP_EV_MAIL] = "250 2.1.0 sender ok",
    [SMTP_EV_RCPT] = "250 2.1.5 recipient ok",
    [SMTP_EV_DATA] = "354 go ahead",
    [SMTP_EV_BODY_END] = "250 2.0.0 queued",
    [SMTP_EV_AUTH] = "334 ",
    [SMTP_EV_AUTH_DATA] = "235 2.7.0 welcome",
};

enum { ANSWERS_MAX = 256, EVENTS_MAX = 1024, TICKETS_MAX = 256, NEVER_MAX = 16, WORD_MAX = 512 };

struct open_ticket {
    uint32_t ticket;
    enum smtp_event_kind kind;
};

struct runner {
    const struct transcript *t;
    const struct transcript_line *line;
    enum transcript_mode mode;
    struct smtp_server_params params;
    char hostname[64], software[64];
    struct smtp_server *server;
    struct smtp_caps caps;
    uint64_t now_ms;
    struct buf group;    /* GROUPS: input that is not fed yet */
    struct buf pending;  /* input that the machine has not taken */
    struct buf received; /* its output */
    struct buf body;     /* the message so far, or the last one */
    bool is_body_over;
    struct buf trace;
    struct {
        enum smtp_event_kind kind;
        const char *text; /* the directive's; NULL: answered later */
    } answers[ANSWERS_MAX];
    size_t answers_n;
    struct open_ticket open[TICKETS_MAX];
    size_t open_n;
    struct {
        enum smtp_event_kind kind;
        char *text;
    } events[EVENTS_MAX];
    size_t events_n, events_seen;
    struct {
        const char *text;
        bool is_wanted;
    } trace_claims[NEVER_MAX];
    size_t trace_claims_n;
    bool failed;
};

#define FAIL(r, ...)                                                                               \
    do {                                                                                           \
        (r)->failed = true;                                                                        \
        transcript_fail((r)->t, (r)->line, (r)->mode, __VA_ARGS__);                                \
    } while (0)

static bool find_kind(const char *name, size_t n, enum smtp_event_kind *ret_kind)
{
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        if (strlen(kind_names[kind]) == n && strncmp(kind_names[kind], name, n) == 0) {
            *ret_kind = (enum smtp_event_kind)kind;
            return true;
        }
    }
    return false;
}

/* ---- answers --------------------------------------------------------------------------------- */

static void answer_as(struct runner *r, uint32_t ticket, const char *text)
{
    char code[8];
    transcript_word(&text, code, sizeof code);
    char *lines = slice_dup(slice_str(text + 1));
    for (char *p = lines; *p; p++)
        *p = *p == '|' ? '\n' : *p;
    struct smtp_reply reply;
    smtp_reply_init(&reply);
    cr_assert(smtp_reply_set(&reply, (unsigned)atoi(code), lines));
    smtp_server_reply_as(r->server, ticket, &reply);
    smtp_reply_fini(&reply);
    free(lines);
}

static bool is_status(const char *word)
{
    return strlen(word) >= 5 && strspn(word, "0123456789.") == strlen(word) && word[1] == '.';
}

static void answer(struct runner *r, uint32_t ticket, const char *text)
{
    if (strcmp(text, "hello") == 0) {
        smtp_server_hello(r->server, ticket, &r->caps);
        return;
    }
    if (strncmp(text, "as ", 3) == 0) {
        answer_as(r, ticket, text + 3);
        return;
    }
    char code[8], status[WORD_MAX];
    transcript_word(&text, code, sizeof code);
    if (strcmp(code, "334") == 0) {
        struct buf challenge;
        buf_init(&challenge, TRANSCRIPT_TEXT_MAX);
        transcript_decode(text + (*text == ' '), &challenge);
        smtp_server_challenge(r->server, ticket, buf_slice(&challenge));
        buf_fini(&challenge);
        return;
    }
    if (strcmp(code, "235") == 0)
        smtp_server_authenticated(r->server);
    const char *behind = text;
    transcript_word(&behind, status, sizeof status);
    bool has_status = is_status(status);
    text = has_status ? behind : text;
    smtp_server_reply(
        r->server, ticket, (unsigned)atoi(code), has_status ? status : NULL, text + (*text == ' '));
}

/* The answer that was prepared for this kind, or the usual one. */
static void answer_event(struct runner *r, enum smtp_event_kind kind, uint32_t ticket)
{
    const char *text = default_answers[kind];
    for (size_t i = 0; i < r->answers_n; i++) {
        if (r->answers[i].kind != kind)
            continue;
        text = r->answers[i].text;
        r->answers_n--;
        memmove(&r->answers[i], &r->answers[i + 1], (r->answers_n - i) * sizeof r->answers[0]);
        break;
    }
    if (text) {
        answer(r, ticket, text);
        return;
    }
    cr_assert_lt(r->open_n, TICKETS_MAX);
    r->open[r->open_n++] = (struct open_ticket){ .ticket = ticket, .kind = kind };
}

/* ---- events ---------------------------------------------------------------------------------- */

static void add_field(struct buf *out, const char *name, struct slice value)
{
    if (value.n > 0) {
        buf_addf(out, " %s=", name);
        transcript_encode(value, out);
    }
}

static void describe_mail(const struct smtp_mail *mail, struct buf *out)
{
    static const char *const bodies[] = { [SMTP_BODY_UNSAID] = "",
        [SMTP_BODY_7BIT] = " body=7BIT",
        [SMTP_BODY_8BITMIME] = " body=8BITMIME" };
    buf_add_str(out, " from=<");
    transcript_encode(mail->from.mailbox, out);
    buf_add_char(out, '>');
    if (mail->size > 0)
        buf_addf(out, " size=%llu", (unsigned long long)mail->size);
    buf_add_str(out, bodies[mail->body]);
    buf_add_str(out, mail->smtputf8 ? " smtputf8" : "");
    add_field(out, "ret", mail->ret);
    add_field(out, "envid", mail->envid);
    add_field(out, "auth", mail->auth);
}

static void describe(const struct smtp_event *ev, struct buf *out)
{
    buf_add_str(out, kind_names[ev->kind]);
    switch (ev->kind) {
    case SMTP_EV_HELLO:
        buf_add_str(out, ev->is_ehlo ? " ehlo" : " helo");
        add_field(out, "name", ev->text);
        break;
    case SMTP_EV_MAIL:
        describe_mail(ev->mail, out);
        break;
    case SMTP_EV_RCPT:
        buf_add_str(out, " to=<");
        transcript_encode(ev->rcpt->to.mailbox, out);
        buf_add_char(out, '>');
        add_field(out, "notify", ev->rcpt->notify);
        add_field(out, "orcpt", ev->rcpt->orcpt);
        break;
    case SMTP_EV_BODY_END:
        buf_addf(out, " size=%llu", (unsigned long long)ev->text_size);
        buf_add_str(out, ev->is_repaired ? " repaired" : "");
        buf_add_str(out, ev->is_too_big ? " too_big" : "");
        break;
    case SMTP_EV_AUTH:
        add_field(out, "mech", ev->text);
        add_field(out, "response", ev->response);
        break;
    case SMTP_EV_AUTH_DATA:
        add_field(out, "response", ev->response);
        break;
    case SMTP_EV_CLOSE:
        buf_addf(out, " %s", ev->why);
        break;
    case SMTP_EV_BODY:
    case SMTP_EV_DATA:
    case SMTP_EV_RESET:
    case SMTP_EV_STARTTLS:
        break;
    }
}

static void on_event(struct runner *r, const struct smtp_event *ev)
{
    if (ev->kind == SMTP_EV_BODY) {
        if (r->is_body_over)
            buf_clear(&r->body);
        r->is_body_over = false;
        buf_add_slice(&r->body, ev->text);
        return;
    }
    if (ev->kind == SMTP_EV_BODY_END && r->is_body_over)
        buf_clear(&r->body);
    r->is_body_over = r->is_body_over || ev->kind == SMTP_EV_BODY_END;
    struct buf text;
    buf_init(&text, TRANSCRIPT_TEXT_MAX);
    describe(ev, &text);
    cr_assert_lt(r->events_n, EVENTS_MAX);
    r->events[r->events_n].kind = ev->kind;
    r->events[r->events_n++].text = slice_dup(buf_slice(&text));
    buf_fini(&text);
    if (ev->ticket != 0)
        answer_event(r, ev->kind, ev->ticket);
}

/* ---- the machine ----------------------------------------------------------------------------- */

static void on_trace(void *user, bool is_sent, struct slice line)
{
    struct runner *r = user;
    buf_add_str(&r->trace, is_sent ? "S: " : "C: ");
    buf_add_slice(&r->trace, line);
    buf_add_char(&r->trace, '\n');
}

static void pump(struct runner *r)
{
    struct smtp_event ev;
    for (;;) {
        /* The input lies in memory that is gone when the event is looked at: it must not be used.
         */
        size_t n = r->pending.len;
        char *copy = malloc(n + 1);
        memcpy(copy, buf_cstr(&r->pending), n);
        struct slice in = slice_of(copy, n);
        enum smtp_server_status status = smtp_server_step(r->server, &in, &ev, r->now_ms);
        buf_consume(&r->pending, n - in.n);
        free(copy);
        if (status == SMTP_SERVER_MORE && in.n > 0)
            FAIL(r, "MORE was returned with %zu octets not taken", in.n);
        if (status != SMTP_SERVER_EVENT)
            return;
        on_event(r, &ev);
    }
}

static void feed(struct runner *r, struct slice bytes)
{
    size_t step = r->mode == TRANSCRIPT_BYTES ? 1 : bytes.n;
    for (size_t i = 0; i < bytes.n; i += step) {
        buf_add(&r->pending, bytes.p + i, step);
        pump(r);
    }
}

static void feed_group(struct runner *r)
{
    if (r->group.len > 0)
        feed(r, buf_slice(&r->group));
    buf_clear(&r->group);
}

static void take_output(struct runner *r)
{
    struct slice out = smtp_server_output(r->server);
    buf_add_slice(&r->received, out);
    smtp_server_sent(r->server, out.n);
    pump(r);
}

static void start(struct runner *r)
{
    if (r->server)
        return;
    r->params.hostname = r->hostname;
    r->params.software = r->software[0] ? r->software : NULL;
    r->server = smtp_server_new(&r->params, r->now_ms);
    smtp_server_trace(r->server, on_trace, r);
}

/* ---- directives ------------------------------------------------------------------------------ */

#define PARAM(field)      offsetof(struct smtp_server_params, field)
#define PARAM_SIZE(field) sizeof(((struct smtp_server_params *)0)->field)

/* A number or, one octet wide, a claim that stands alone. */
static const struct param {
    const char *name;
    size_t offset, size;
} given_params[] = {
    { "recipients_max", PARAM(recipients_max), PARAM_SIZE(recipients_max) },
    { "errors_max", PARAM(errors_max), PARAM_SIZE(errors_max) },
    { "size_max", PARAM(size_max), PARAM_SIZE(size_max) },
    { "idle_timeout_ms", PARAM(idle_timeout_ms), PARAM_SIZE(idle_timeout_ms) },
    { "total_timeout_ms", PARAM(total_timeout_ms), PARAM_SIZE(total_timeout_ms) },
    { "require_tls", PARAM(require_tls), PARAM_SIZE(require_tls) },
    { "require_auth", PARAM(require_auth), PARAM_SIZE(require_auth) },
};

static bool set_param(struct runner *r, const char *name, const char *value)
{
    for (size_t i = 0; i < ARRAY_LEN(given_params); i++) {
        const struct param *p = &given_params[i];
        if (strcmp(p->name, name) != 0)
            continue;
        char *at = (char *)&r->params + p->offset;
        uint64_t n = strtoull(value, NULL, 10);
        if (p->size == sizeof(bool))
            *(bool *)at = true;
        else if (p->size == sizeof(unsigned))
            *(unsigned *)(void *)at = (unsigned)n;
        else
            *(uint64_t *)(void *)at = n;
        return true;
    }
    return false;
}

static void do_given(struct runner *r, const char *rest)
{
    char word[WORD_MAX];
    while (transcript_word(&rest, word, sizeof word)) {
        const char *value;
        transcript_pair(word, &value);
        if (strcmp(word, "hostname") == 0)
            snprintf(r->hostname, sizeof r->hostname, "%s", value);
        else if (strcmp(word, "software") == 0)
            snprintf(r->software, sizeof r->software, "%s", value);
        else if (!set_param(r, word, value))
            FAIL(r, "unknown parameter '%s'", word);
    }
}

static void do_caps(struct runner *r, const char *rest)
{
    r->caps = (struct smtp_caps){ .set = 0 };
    while (*rest) {
        size_t n = strcspn(rest, ";");
        smtp_caps_learn(&r->caps, slice_trim(slice_of(rest, n)));
        rest += n + (rest[n] == ';');
    }
}

static void send_text(struct runner *r, const char *rest, bool has_end)
{
    if (r->received.len > 0)
        FAIL(r, "a reply was not expected: %s", buf_cstr(&r->received));
    buf_clear(&r->received);
    transcript_decode(rest, &r->group);
    if (has_end)
        buf_add_str(&r->group, "\r\n");
    if (r->mode != TRANSCRIPT_GROUPS)
        feed_group(r);
}

static void do_client(struct runner *r, const char *rest)
{
    send_text(r, rest, true);
}

static void do_client_part(struct runner *r, const char *rest)
{
    send_text(r, rest, false);
}

static void do_server(struct runner *r, const char *rest)
{
    struct buf got, want;
    buf_init(&got, TRANSCRIPT_TEXT_MAX);
    buf_init(&want, TRANSCRIPT_TEXT_MAX);
    transcript_decode(rest, &want);
    for (int i = 0; i < 2 && !memchr(buf_cstr(&r->received), '\n', r->received.len); i++)
        take_output(r);
    if (!transcript_take_line(&r->received, &got))
        FAIL(r, "no reply, expected \"%s\"", rest);
    else if (!slice_eq(buf_slice(&got), buf_slice(&want)))
        FAIL(r, "got \"%s\", expected \"%s\"", buf_cstr(&got), rest);
    buf_fini(&got);
    buf_fini(&want);
}

static void do_silence(struct runner *r, const char *rest)
{
    (void)rest;
    take_output(r);
    if (r->received.len > 0)
        FAIL(r, "silence expected, got \"%s\"", buf_cstr(&r->received));
}

static bool may_go_unmentioned(enum smtp_event_kind kind)
{
    return default_answers[kind] != NULL && kind != SMTP_EV_BODY_END;
}

static void do_event(struct runner *r, const char *rest)
{
    enum smtp_event_kind kind;
    if (!find_kind(rest, strcspn(rest, " "), &kind)) {
        FAIL(r, "unknown event '%s'", rest);
        return;
    }
    while (r->events_seen < r->events_n && r->events[r->events_seen].kind != kind &&
           may_go_unmentioned(r->events[r->events_seen].kind))
        r->events_seen++;
    const char *got = r->events_seen < r->events_n ? r->events[r->events_seen++].text : "nothing";
    if (strcmp(got, rest) != 0)
        FAIL(r, "got event \"%s\", expected \"%s\"", got, rest);
}

static void do_body(struct runner *r, const char *rest)
{
    struct buf want, shown;
    buf_init(&want, TRANSCRIPT_TEXT_MAX);
    buf_init(&shown, TRANSCRIPT_TEXT_MAX);
    transcript_decode(rest, &want);
    if (!slice_eq(buf_slice(&want), buf_slice(&r->body))) {
        transcript_encode(buf_slice(&r->body), &shown);
        FAIL(r, "got body \"%s\", expected \"%s\"", buf_cstr(&shown), rest);
    }
    buf_fini(&want);
    buf_fini(&shown);
}

static void prepare_answer(struct runner *r, const char *rest, bool is_later)
{
    enum smtp_event_kind kind;
    size_t n = strcspn(rest, " ");
    if (!find_kind(rest, n, &kind) || r->answers_n == ANSWERS_MAX) {
        FAIL(r, "no such event '%s'", rest);
        return;
    }
    r->answers[r->answers_n].kind = kind;
    r->answers[r->answers_n++].text = is_later ? NULL : rest + n + (rest[n] == ' ');
}

static void do_answer(struct runner *r, const char *rest)
{
    prepare_answer(r, rest, false);
}

static void do_later(struct runner *r, const char *rest)
{
    prepare_answer(r, rest, true);
}

static void do_reply(struct runner *r, const char *rest)
{
    enum smtp_event_kind kind = SMTP_EV_CLOSE;
    size_t n = strcspn(rest, " #");
    find_kind(rest, n, &kind);
    size_t nth = 1;
    if (rest[n] == '#')
        nth = strtoul(rest + n + 1, NULL, 10);
    for (size_t i = 0; i < r->open_n; i++) {
        if (r->open[i].kind != kind || --nth > 0)
            continue;
        uint32_t ticket = r->open[i].ticket;
        r->open_n--;
        memmove(&r->open[i], &r->open[i + 1], (r->open_n - i) * sizeof r->open[0]);
        const char *text = strchr(rest, ' ');
        answer(r, ticket, text + 1);
        pump(r);
        return;
    }
    FAIL(r, "no open ticket for '%s'", rest);
}

static void do_wait(struct runner *r, const char *rest)
{
    r->now_ms += strtoull(rest, NULL, 10);
    pump(r);
}

static void do_secured(struct runner *r, const char *rest)
{
    (void)rest;
    smtp_server_secured(r->server);
    pump(r);
}

static void do_shut_down(struct runner *r, const char *rest)
{
    char status[WORD_MAX];
    transcript_word(&rest, status, sizeof status);
    smtp_server_shut_down(r->server, status, rest + (*rest == ' '));
    pump(r);
}

static void current_value(struct runner *r, const char *key, struct buf *out)
{
    uint64_t deadline = smtp_server_deadline(r->server);
    if (strcmp(key, "helo") == 0)
        buf_add_str(out, smtp_server_helo(r->server));
    else if (strcmp(key, "protocol") == 0)
        buf_add_str(out, smtp_server_protocol(r->server));
    else if (strcmp(key, "errors") == 0)
        buf_addf(out, "%u", smtp_server_errors(r->server));
    else if (strcmp(key, "in_transaction") == 0)
        buf_add_str(out, smtp_server_in_transaction(r->server) ? "yes" : "no");
    else if (strcmp(key, "input") == 0)
        buf_addf(out, "%zu", r->pending.len);
    else if (strcmp(key, "deadline") == 0 && deadline == 0)
        buf_add_str(out, "none");
    else if (strcmp(key, "deadline") == 0)
        buf_addf(out, "%llu", (unsigned long long)(deadline - r->now_ms));
    else
        buf_add_str(out, "an unknown key");
}

static void do_check(struct runner *r, const char *rest)
{
    char word[WORD_MAX];
    while (transcript_word(&rest, word, sizeof word)) {
        const char *value;
        transcript_pair(word, &value);
        struct buf got;
        buf_init(&got, WORD_MAX);
        current_value(r, word, &got);
        if (strcmp(buf_cstr(&got), value) != 0)
            FAIL(r, "%s is %s, expected %s", word, buf_cstr(&got), value);
        buf_fini(&got);
    }
}

static void claim_trace(struct runner *r, const char *rest, bool is_wanted)
{
    cr_assert_lt(r->trace_claims_n, NEVER_MAX);
    r->trace_claims[r->trace_claims_n].text = rest;
    r->trace_claims[r->trace_claims_n++].is_wanted = is_wanted;
}

static void do_never(struct runner *r, const char *rest)
{
    claim_trace(r, rest, false);
}

static void do_trace(struct runner *r, const char *rest)
{
    claim_trace(r, rest, true);
}

static const struct directive {
    const char *word;
    bool is_client; /* does not end a group of input */
    bool is_setup;  /* before the machine is made */
    void (*run)(struct runner *r, const char *rest);
} directives[] = {
    { "given", .is_setup = true, .run = do_given },
    { "caps", .run = do_caps },
    { "C:", .is_client = true, .run = do_client },
    { "C~", .is_client = true, .run = do_client_part },
    { "S:", .run = do_server },
    { "silence", .run = do_silence },
    { "event", .run = do_event },
    { "body", .run = do_body },
    { "answer", .run = do_answer },
    { "later", .run = do_later },
    { "reply", .run = do_reply },
    { "wait", .run = do_wait },
    { "secured", .run = do_secured },
    { "shut_down", .run = do_shut_down },
    { "check", .run = do_check },
    { "never", .run = do_never },
    { "trace", .run = do_trace },
};

static void run_line(struct runner *r)
{
    for (size_t i = 0; i < ARRAY_LEN(directives); i++) {
        const struct directive *d = &directives[i];
        if (strcmp(r->line->word, d->word) != 0)
            continue;
        if (!d->is_setup)
            start(r);
        if (!d->is_client)
            feed_group(r);
        d->run(r, r->line->rest);
        return;
    }
    FAIL(r, "unknown directive '%s'", r->line->word);
}

/* ---- runs ------------------------------------------------------------------------------------ */

static void check_end(struct runner *r)
{
    feed_group(r);
    take_output(r);
    if (r->received.len > 0)
        FAIL(r, "behind the end: a reply was not expected: %s", buf_cstr(&r->received));
    for (; r->events_seen < r->events_n; r->events_seen++)
        if (!may_go_unmentioned(r->events[r->events_seen].kind))
            FAIL(
                r, "behind the end: an event was not expected: %s", r->events[r->events_seen].text);
    for (size_t i = 0; i < r->trace_claims_n; i++) {
        struct buf text;
        buf_init(&text, TRANSCRIPT_TEXT_MAX);
        transcript_decode(r->trace_claims[i].text, &text);
        bool is_there = slice_find(buf_slice(&r->trace), buf_slice(&text)) != NULL;
        if (is_there != r->trace_claims[i].is_wanted)
            FAIL(r, "the trace %s \"%s\":\n%s", is_there ? "holds" : "does not hold",
                r->trace_claims[i].text, buf_cstr(&r->trace));
        buf_fini(&text);
    }
}

static void run(const struct transcript *t, enum transcript_mode mode)
{
    struct runner *r = calloc(1, sizeof *r);
    r->t = t;
    r->mode = mode;
    r->now_ms = 1000;
    r->params.idle_timeout_ms = 300000;
    r->is_body_over = true;
    snprintf(r->hostname, sizeof r->hostname, "mx.test");
    struct buf *bufs[] = { &r->group, &r->pending, &r->received, &r->body, &r->trace };
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_init(bufs[i], TRANSCRIPT_TEXT_MAX);
    do_caps(r, "PIPELINING; 8BITMIME; ENHANCEDSTATUSCODES");
    for (size_t i = 0; i < t->count && !r->failed; i++) {
        r->line = &t->lines[i];
        run_line(r);
    }
    if (!r->failed)
        check_end(r);
    smtp_server_free(r->server);
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_fini(bufs[i]);
    for (size_t i = 0; i < r->events_n; i++)
        free(r->events[i].text);
    free(r);
}

static const char folder[] = "tests/transcripts/server";

Test(server_transcripts, hold_line_by_line)
{
    transcript_run_folder(folder, TRANSCRIPT_LINES, run);
}

Test(server_transcripts, hold_byte_by_byte)
{
    transcript_run_folder(folder, TRANSCRIPT_BYTES, run);
}

Test(server_transcripts, hold_in_groups)
{
    transcript_run_folder(folder, TRANSCRIPT_GROUPS, run);
}
