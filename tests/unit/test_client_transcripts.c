/*
 * Runs tests/transcripts/client against smtp/client, and each file once more for every allocation
 * that can fail. Directives:
 *
 *   given tls=starttls|implicit|plain chunking=yes|no feed=whole command=MS data=MS final=MS
 *   S: LINE            the server sends LINE CRLF
 *   S> TEXT            the server sends TEXT as it is
 *   C: LINE            the next line that we sent
 *   octets N           the next N octets that we sent are anything
 *   silent             nothing more was sent
 *   do ACTION ...      the owner acts, see the table `actions`
 *   wait MS            time passes and the owner steps
 *   deadline MS|none   what is left until the deadline
 *   event ...          the next event: its kind and what matters of it
 *   trace LINE         the trace has this line ("C: ..." or "S: ...")
 *   never TEXT         is in no trace line, no error and no reply that the owner saw
 *
 * feed=whole: the lines must arrive together, the other ways of feeding are left out.
 */
#include "transcript.h"

#include "smtp/client.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- allocations that fail: the linker sends malloc and calloc here ---- */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);

static long allocations_left = -1; /* -1: none fails; counted only inside the machine */
static bool is_inside, has_failed;

static bool must_fail(void)
{
    if (!is_inside || allocations_left < 0)
        return false;
    if (allocations_left-- > 0)
        return false;
    has_failed = true;
    return true;
}

void *__wrap_malloc(size_t n)
{
    return must_fail() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return must_fail() ? NULL : __real_calloc(n, size);
}

/* ---- the run of one file ---- */

struct run {
    const struct transcript *file;
    const struct transcript_line *line;
    enum transcript_mode mode;
    bool is_starved; /* an allocation fails: the file's claims do not hold */
    struct smtp_client *client;
    struct smtp_client_params params;
    uint64_t now;
    bool holds;       /* the owner takes no output */
    bool is_finished; /* FAILED came */
    bool is_skipped;
    bool is_wrong;     /* a fault was told; the rest of the file is left out */
    struct buf input;  /* from the server, not given yet */
    struct buf wire;   /* what we sent */
    size_t wire_total; /* octets that we ever sent */
    struct buf events; /* one line each */
    struct buf seen;   /* trace, errors, replies */
};

static void fault(struct run *r, const char *what, struct slice wanted, struct slice got)
{
    if (r->is_wrong || r->is_starved)
        return;
    r->is_wrong = true;
    struct buf text;
    buf_init(&text, TRANSCRIPT_TEXT_MAX);
    buf_addf(&text, "%s: wanted '", what);
    transcript_encode(wanted, &text);
    buf_add_str(&text, "', got '");
    transcript_encode(got, &text);
    transcript_fail(r->file, r->line, r->mode, "%s'", buf_cstr(&text));
    buf_fini(&text);
}

static void on_trace(void *user, bool is_sent, struct slice line)
{
    struct run *r = user;
    bool was_inside = is_inside;
    is_inside = false;
    buf_addf(&r->seen, "%s %.*s\n", is_sent ? "C:" : "S:", SLICE_ARG(line));
    is_inside = was_inside;
}

static const char *const command_names[] = {
#define X(name) [SMTP_CLIENT_##name] = #name,
    SMTP_CLIENT_COMMANDS(X)
#undef X
};

static void add_reply(struct buf *out, const struct smtp_reply *reply)
{
    buf_add_char(out, ' ');
    smtp_reply_add_oneline(reply, out);
}

static void show_event(const struct smtp_client_event *ev, struct buf *out)
{
    switch (ev->kind) {
    case SMTP_CL_BANNER:
        buf_add_str(out, "banner");
        add_reply(out, ev->reply);
        break;
    case SMTP_CL_HELLO:
        buf_addf(out, "hello%s", ev->is_final ? " final" : "");
        break;
    case SMTP_CL_START_TLS:
        buf_add_str(out, "start_tls");
        break;
    case SMTP_CL_CHALLENGE:
        buf_addf(out, "challenge%s%.*s", ev->text.n > 0 ? " " : "", SLICE_ARG(ev->text));
        break;
    case SMTP_CL_REPLY:
        buf_addf(out, "reply %s", command_names[ev->command]);
        add_reply(out, ev->reply);
        break;
    case SMTP_CL_FAILED:
        buf_addf(out, "failed %s %s%s", err_kind_name(ev->err->kind), ev->err->text,
            ev->reply ? " (reply)" : "");
        break;
    }
}

static void record(struct run *r, const struct smtp_client_event *ev)
{
    struct buf line;
    buf_init(&line, 65536);
    show_event(ev, &line);
    if (r->is_finished)
        fault(r, "event behind FAILED", SLICE_NONE, buf_slice(&line));
    buf_add_slice(&r->events, buf_slice(&line));
    buf_add_char(&r->events, '\n');
    if (ev->kind != SMTP_CL_CHALLENGE) /* the server's, and the owner does not log it */
        buf_addf(&r->seen, "event %s\n", buf_cstr(&line));
    r->is_finished = r->is_finished || ev->kind == SMTP_CL_FAILED;
    buf_fini(&line);
}

static void take_output(struct run *r, size_t most)
{
    struct slice out = smtp_client_output(r->client);
    size_t n = out.n < most ? out.n : most;
    buf_add(&r->wire, out.p, n);
    r->wire_total += n;
    is_inside = true;
    smtp_client_sent(r->client, n);
    is_inside = false;
}

static void step(struct run *r, struct slice in)
{
    struct smtp_client_event ev;
    for (;;) {
        is_inside = true;
        enum smtp_client_status status = smtp_client_step(r->client, &in, &ev, r->now);
        is_inside = false;
        if (status == SMTP_CLIENT_MORE)
            break;
        record(r, &ev);
    }
    if (in.n > 0)
        fault(r, "input left", SLICE_NONE, in);
    if (!r->holds)
        take_output(r, SIZE_MAX);
}

/* Gives what the server said. */
static void flush_input(struct run *r)
{
    struct slice in = buf_slice(&r->input);
    if (r->mode != TRANSCRIPT_BYTES && in.n > 0)
        step(r, in);
    for (size_t i = 0; r->mode == TRANSCRIPT_BYTES && i < in.n; i++)
        step(r, slice_of(in.p + i, 1));
    buf_clear(&r->input);
}

/* ---- words of a line ---- */

/* The decoded value of "key=VALUE" among the words of `s`; p is NULL when it is not there. The
 * bytes are kept in `keep`, behind one byte, so that an empty value is not NULL. */
static struct slice value(const char *s, const char *key, struct buf *keep)
{
    char w[1024];
    while (transcript_word(&s, w, sizeof w)) {
        const char *text;
        transcript_pair(w, &text);
        if (strcmp(w, key) != 0)
            continue;
        buf_clear(keep);
        buf_add_char(keep, '=');
        transcript_decode(text, keep);
        return slice_skip(buf_slice(keep), 1);
    }
    return SLICE_NONE;
}

static unsigned long long number(struct slice s)
{
    unsigned long long n = 0;
    slice_to_u64(s, &n);
    return n;
}

/* ---- what the owner does ---- */

enum { VALUES_MAX = 5 };

static void do_mail(struct run *r, const char *rest, struct buf keep[VALUES_MAX])
{
    struct slice body = value(rest, "body", &keep[0]);
    struct smtp_mail mail = {
        .size = number(value(rest, "size", &keep[1])),
        .smtputf8 = value(rest, "utf8", &keep[2]).n > 0,
        .body = body.n == 0                         ? SMTP_BODY_UNSAID
                : slice_eq(body, SLICE_LIT("7bit")) ? SMTP_BODY_7BIT
                                                    : SMTP_BODY_8BITMIME,
    };
    mail.ret = value(rest, "ret", &keep[1]);
    mail.envid = value(rest, "envid", &keep[2]);
    mail.auth = value(rest, "auth", &keep[3]);
    mail.from.mailbox = value(rest, "from", &keep[4]);
    is_inside = true;
    smtp_client_mail(r->client, &mail, r->now);
}

static void do_rcpt(struct run *r, const char *rest, struct buf keep[VALUES_MAX])
{
    struct smtp_rcpt rcpt = {
        .to.mailbox = value(rest, "to", &keep[0]),
        .notify = value(rest, "notify", &keep[1]),
        .orcpt = value(rest, "orcpt", &keep[2]),
    };
    is_inside = true;
    smtp_client_rcpt(r->client, &rcpt, r->now);
}

static void do_auth(struct run *r, const char *rest, struct buf keep[VALUES_MAX])
{
    struct slice mech = value(rest, "mech", &keep[0]);
    struct slice initial = value(rest, "initial", &keep[1]);
    (void)mech;
    is_inside = true;
    smtp_client_auth(r->client, buf_cstr(&keep[0]) + 1, initial, r->now);
}

static void do_answer(struct run *r, const char *rest, struct buf keep[VALUES_MAX])
{
    transcript_decode(rest, &keep[0]);
    is_inside = true;
    smtp_client_auth_answer(r->client, buf_slice(&keep[0]), r->now);
}

static void do_body(struct run *r, const char *rest, struct buf keep[VALUES_MAX])
{
    transcript_decode(rest, &keep[0]);
    struct slice text = buf_slice(&keep[0]);
    size_t piece = r->mode == TRANSCRIPT_BYTES && text.n < 4096 ? 1 : 65536;
    is_inside = true;
    while (text.n > 0) {
        size_t n = text.n < piece ? text.n : piece;
        smtp_client_body(r->client, slice_of(text.p, n), r->now);
        text = slice_skip(text, n);
    }
}

static void do_abort(struct run *r, const char *rest, struct buf keep[VALUES_MAX])
{
    (void)keep;
    is_inside = true;
    bool is_good = smtp_client_body_abort(r->client, r->now);
    is_inside = false;
    if (is_good != (strcmp(rest, "good") == 0))
        fault(r, "abort", slice_str(rest), is_good ? SLICE_LIT("good") : SLICE_LIT("lost"));
}

static void do_take(struct run *r, const char *rest, struct buf keep[VALUES_MAX])
{
    (void)keep;
    if (strcmp(rest, "none") == 0)
        r->holds = true;
    else if (strcmp(rest, "all") == 0)
        r->holds = false;
    else
        take_output(r, (size_t)number(slice_str(rest)));
}

static void do_check(struct run *r, const char *rest, struct buf keep[VALUES_MAX])
{
    struct slice open = value(rest, "open", &keep[0]), spoiled = value(rest, "spoiled", &keep[1]);
    char text[32];
    snprintf(text, sizeof text, "%u", smtp_client_open_commands(r->client));
    if (open.p && !slice_eq(open, slice_str(text)))
        fault(r, "open commands", open, slice_str(text));
    const char *is_spoiled = smtp_client_is_spoiled(r->client) ? "yes" : "no";
    if (spoiled.p && !slice_eq(spoiled, slice_str(is_spoiled)))
        fault(r, "spoiled", spoiled, slice_str(is_spoiled));
    struct slice auth = value(rest, "mechs", &keep[2]);
    if (auth.p && !slice_eq(auth, slice_str(smtp_client_caps(r->client)->auth)))
        fault(r, "mechanisms", auth, slice_str(smtp_client_caps(r->client)->auth));
    struct slice before = value(rest, "mechs_before_tls", &keep[3]);
    const char *got = smtp_client_caps_before_tls(r->client)->auth;
    if (before.p && !slice_eq(before, slice_str(got)))
        fault(r, "mechanisms before TLS", before, slice_str(got));
}

#define PLAIN_ACTION(name, call)                                                                   \
    static void do_##name(struct run *r, const char *rest, struct buf keep[VALUES_MAX])            \
    {                                                                                              \
        (void)rest, (void)keep;                                                                    \
        is_inside = true;                                                                          \
        call(r->client, r->now);                                                                   \
    }
PLAIN_ACTION(secured, smtp_client_secured)
PLAIN_ACTION(cancel, smtp_client_auth_cancel)
PLAIN_ACTION(data, smtp_client_data)
PLAIN_ACTION(body_end, smtp_client_body_end)
PLAIN_ACTION(rset, smtp_client_rset)
PLAIN_ACTION(noop, smtp_client_noop)
PLAIN_ACTION(quit, smtp_client_quit)

static const struct {
    const char *name;
    void (*run)(struct run *r, const char *rest, struct buf keep[VALUES_MAX]);
} actions[] = {
    { "secured", do_secured }, /* the handshake is over */
    { "auth", do_auth },       /* mech=M [initial=RAW] */
    { "answer", do_answer },   /* RAW */
    { "cancel", do_cancel },
    { "mail", do_mail }, /* from= size= body=7bit|8bit utf8=yes ret= envid= auth= */
    { "rcpt", do_rcpt }, /* to= notify= orcpt= */
    { "data", do_data }, { "body", do_body },           /* TEXT */
    { "body_end", do_body_end }, { "abort", do_abort }, /* good|lost: what it must return */
    { "rset", do_rset }, { "noop", do_noop }, { "quit", do_quit },
    { "take", do_take },   /* none|all|N: how much output the owner takes */
    { "check", do_check }, /* open=N spoiled=yes|no mechs= mechs_before_tls= */
};

static void run_action(struct run *r, const char *rest)
{
    char name[32] = "";
    transcript_word(&rest, name, sizeof name);
    rest += *rest == ' ';
    struct buf keep[VALUES_MAX];
    for (size_t i = 0; i < VALUES_MAX; i++)
        buf_init(&keep[i], TRANSCRIPT_TEXT_MAX);
    size_t i = 0;
    while (i < ARRAY_LEN(actions) && strcmp(name, actions[i].name) != 0)
        i++;
    if (i == ARRAY_LEN(actions))
        fault(r, "action", SLICE_LIT("one of the table"), slice_str(name));
    else
        actions[i].run(r, rest, keep);
    is_inside = false;
    for (size_t k = 0; k < VALUES_MAX; k++)
        buf_fini(&keep[k]);
    step(r, SLICE_NONE);
}

/* ---- what a file claims ---- */

/* Takes one line off the front of `b` into `out`. False: there is none. */
static bool take_line(struct buf *b, const char *end_of_line, struct buf *out)
{
    struct slice all = buf_slice(b);
    size_t k = strlen(end_of_line);
    const char *end = slice_find(all, slice_of(end_of_line, k));
    if (!end)
        return false;
    size_t n = (size_t)(end - all.p);
    buf_add(out, all.p, n);
    buf_consume(b, n + k);
    return true;
}

static void expect_line(
    struct run *r, struct buf *from, const char *eol, const char *what, const char *wanted)
{
    struct buf got, text;
    buf_init(&got, 1 << 22);
    buf_init(&text, 1 << 22);
    transcript_decode(wanted, &text);
    if (!take_line(from, eol, &got))
        fault(r, what, buf_slice(&text), SLICE_LIT("(nothing)"));
    else if (!slice_eq(buf_slice(&got), buf_slice(&text)))
        fault(r, what, buf_slice(&text), buf_slice(&got));
    buf_fini(&got);
    buf_fini(&text);
}

static void begin(struct run *r)
{
    is_inside = true;
    r->client = smtp_client_new(&r->params, r->now);
    is_inside = false;
    if (r->client) {
        smtp_client_trace(r->client, on_trace, r);
        step(r, SLICE_NONE);
    }
}

static void on_given(struct run *r, const char *rest)
{
    struct buf keep;
    buf_init(&keep, 4096);
    struct slice tls = value(rest, "tls", &keep);
    r->params.tls = slice_eq(tls, SLICE_LIT("implicit")) ? SMTP_CLIENT_IMPLICIT
                    : slice_eq(tls, SLICE_LIT("plain"))  ? SMTP_CLIENT_PLAIN
                                                         : SMTP_CLIENT_STARTTLS;
    r->params.use_chunking = slice_eq(value(rest, "chunking", &keep), SLICE_LIT("yes"));
    bool is_whole = slice_eq(value(rest, "feed", &keep), SLICE_LIT("whole"));
    r->is_skipped = is_whole && r->mode != TRANSCRIPT_GROUPS;
    r->params.command_timeout_ms = number(value(rest, "command", &keep));
    r->params.data_timeout_ms = number(value(rest, "data", &keep));
    r->params.final_timeout_ms = number(value(rest, "final", &keep));
    buf_fini(&keep);
    begin(r);
}

static void on_server_line(struct run *r, const char *rest)
{
    transcript_decode(rest, &r->input);
    buf_add_str(&r->input, "\r\n");
}

static void on_server_text(struct run *r, const char *rest)
{
    transcript_decode(rest, &r->input);
}

static void on_client_line(struct run *r, const char *rest)
{
    expect_line(r, &r->wire, "\r\n", "sent", rest);
}

static void on_octets(struct run *r, const char *rest)
{
    size_t n = (size_t)number(slice_str(rest));
    if (n > r->wire.len)
        fault(r, "octets", slice_str(rest), buf_slice(&r->wire));
    buf_consume(&r->wire, n < r->wire.len ? n : r->wire.len);
}

static void on_silent(struct run *r, const char *rest)
{
    (void)rest;
    if (r->wire.len > 0)
        fault(r, "silence", SLICE_NONE, buf_slice(&r->wire));
}

static void on_wait(struct run *r, const char *rest)
{
    r->now += number(slice_str(rest));
    step(r, SLICE_NONE);
}

static void on_deadline(struct run *r, const char *rest)
{
    uint64_t at = smtp_client_deadline(r->client);
    char text[32] = "none";
    if (at > 0)
        snprintf(text, sizeof text, "%lld", (long long)(at - r->now));
    if (strcmp(rest, text) != 0)
        fault(r, "deadline", slice_str(rest), slice_str(text));
}

static void on_event_line(struct run *r, const char *rest)
{
    expect_line(r, &r->events, "\n", "event", rest);
}

static bool has_seen(const struct run *r, const char *wanted, const char *after)
{
    struct buf text;
    buf_init(&text, TRANSCRIPT_TEXT_MAX);
    transcript_decode(wanted, &text);
    buf_add_str(&text, after);
    struct slice seen = buf_slice(&r->seen), needle = buf_slice(&text);
    bool is_there = slice_find(seen, needle) != NULL;
    buf_fini(&text);
    return is_there;
}

static void on_trace_line(struct run *r, const char *rest)
{
    if (!has_seen(r, rest, "\n"))
        fault(r, "trace", slice_str(rest), buf_slice(&r->seen));
}

static void on_never(struct run *r, const char *rest)
{
    if (has_seen(r, rest, ""))
        fault(r, "never", slice_str(rest), buf_slice(&r->seen));
}

static const struct directive {
    const char *name;
    bool keeps_input; /* S: lines before it are not given yet */
    void (*run)(struct run *r, const char *rest);
} directives[] = {
    { "given", false, on_given },
    { "S:", true, on_server_line },
    { "S>", true, on_server_text },
    { "C:", false, on_client_line },
    { "octets", false, on_octets },
    { "silent", false, on_silent },
    { "do", false, run_action },
    { "wait", false, on_wait },
    { "deadline", false, on_deadline },
    { "event", false, on_event_line },
    { "trace", false, on_trace_line },
    { "never", false, on_never },
};

static void run_line(struct run *r)
{
    for (size_t i = 0; i < ARRAY_LEN(directives); i++) {
        const struct directive *d = &directives[i];
        if (strcmp(r->line->word, d->name) != 0)
            continue;
        bool keeps_input = d->keeps_input && r->mode != TRANSCRIPT_LINES;
        if (!keeps_input && r->client)
            flush_input(r);
        d->run(r, r->line->rest);
        return;
    }
    fault(r, "directive", SLICE_LIT("one of the table"), slice_str(r->line->word));
}

static void run_init(struct run *r, const struct transcript *file, enum transcript_mode mode)
{
    *r = (struct run){ .file = file, .mode = mode, .now = 1000, .params.hostname = "proxy.test" };
    buf_init(&r->input, TRANSCRIPT_TEXT_MAX);
    buf_init(&r->wire, TRANSCRIPT_TEXT_MAX);
    buf_init(&r->events, TRANSCRIPT_TEXT_MAX);
    buf_init(&r->seen, TRANSCRIPT_TEXT_MAX);
}

static void run_fini(struct run *r)
{
    smtp_client_free(r->client);
    buf_fini(&r->input);
    buf_fini(&r->wire);
    buf_fini(&r->events);
    buf_fini(&r->seen);
}

static void run_lines(struct run *r)
{
    for (size_t i = 0; i < r->file->count && !r->is_wrong && !r->is_skipped; i++) {
        r->line = &r->file->lines[i];
        run_line(r);
        if (!r->client && r->is_starved)
            return;
    }
    if (r->is_skipped)
        return;
    flush_input(r);
    if (r->events.len > 0)
        fault(r, "events left", SLICE_NONE, buf_slice(&r->events));
    on_silent(r, "");
}

static void run_file(const struct transcript *file, enum transcript_mode mode)
{
    struct run r;
    run_init(&r, file, mode);
    run_lines(&r);
    run_fini(&r);
}

/* One run with the Nth allocation failing, -1: none. False: there were not so many. */
static bool starve(
    const struct transcript *file, enum transcript_mode mode, long n, size_t *wire_total)
{
    struct run r;
    run_init(&r, file, mode);
    r.is_starved = true;
    allocations_left = n;
    has_failed = false;
    run_lines(&r);
    allocations_left = -1;
    if (n < 0)
        *wire_total = r.wire_total;
    if (r.client && r.is_finished)
        cr_expect_eq(smtp_client_open_commands(r.client), 0, "%s: allocation %ld: open commands",
            file->path, n);
    else if (r.client)
        cr_expect_eq(r.wire_total, *wire_total,
            "%s: allocation %ld: %zu octets sent instead of %zu", file->path, n, r.wire_total,
            *wire_total);
    run_fini(&r);
    return has_failed;
}

/* Whatever allocation fails: the session does all that it does otherwise, or it ends with FAILED.
 */
static void run_starved(const struct transcript *file, enum transcript_mode mode)
{
    size_t wire_total;
    starve(file, mode, -1, &wire_total);
    for (long n = 0; starve(file, mode, n, &wire_total); n++) {
    }
}

#define FOLDER "tests/transcripts/client"

Test(client_transcripts, line_by_line)
{
    transcript_run_folder(FOLDER, TRANSCRIPT_LINES, run_file);
}

Test(client_transcripts, byte_by_byte)
{
    transcript_run_folder(FOLDER, TRANSCRIPT_BYTES, run_file);
}

Test(client_transcripts, whole)
{
    transcript_run_folder(FOLDER, TRANSCRIPT_GROUPS, run_file);
}

Test(client_transcripts, each_allocation_fails_once)
{
    transcript_run_folder(FOLDER, TRANSCRIPT_GROUPS, run_starved);
}
