/*
 * An owner of the client machine that acts as the input says, and a server that sends what it says.
 * Input: pairs of an action and its argument, see `take_turn`; the server's bytes are part of it.
 * Checked: every command brings one reply in order or the session fails; nothing comes behind
 * FAILED; no message counts as delivered before all of it has left; no secret is in a trace or an
 * error; nothing but EHLO, HELO and STARTTLS leaves before TLS.
 */
#include "base/base64.h"
#include "smtp/client.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char secret[] = "the-secret-answer";
static const char secret_base64[] = "dGhlLXNlY3JldC1hbnN3ZXI=";

enum { OPEN_MAX = 4096, BODY_MAX = 200000 };

struct owner {
    struct smtp_client *client;
    uint64_t now;
    bool needs_tls; /* STARTTLS is mandatory and we did not say _secured */
    bool is_over;   /* FAILED or QUIT's reply came, or an abort told us to close */
    bool has_failed;
    bool is_shaking; /* START_TLS came */
    bool has_ended_body;
    enum smtp_client_command open[OPEN_MAX]; /* what must be answered, in order */
    unsigned first, count;
};

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void no_secret(struct slice s)
{
    must(s.n == 0 || !memmem(s.p, s.n, secret, strlen(secret)));
    must(s.n == 0 || !memmem(s.p, s.n, secret_base64, strlen(secret_base64)));
}

static void on_trace(void *user, bool is_sent, struct slice line)
{
    (void)user;
    if (is_sent) {
        no_secret(line);
        must(line.n == 0 || !memchr(line.p, '\n', line.n));
    }
}

static void push(struct owner *o, enum smtp_client_command command)
{
    if (!o->is_over && !smtp_client_is_spoiled(o->client))
        o->open[o->first + o->count++] = command;
}

static bool has_message(const struct owner *o)
{
    for (unsigned i = 0; i < o->count; i++) {
        enum smtp_client_command command = o->open[o->first + i];
        if (command == SMTP_CLIENT_DATA || command == SMTP_CLIENT_MESSAGE)
            return true;
    }
    return false;
}

static void forget_message(struct owner *o)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < o->count; i++) {
        enum smtp_client_command command = o->open[o->first + i];
        if (command != SMTP_CLIENT_DATA && command != SMTP_CLIENT_MESSAGE)
            o->open[o->first + kept++] = command;
    }
    o->count = kept;
}

static void on_reply(struct owner *o, const struct smtp_client_event *ev)
{
    must(o->count > 0 && o->open[o->first] == ev->command);
    must(ev->reply && ev->reply->code >= 200);
    if (ev->command == SMTP_CLIENT_DATA && ev->reply->code == 354) {
        o->open[o->first] = SMTP_CLIENT_MESSAGE;
        o->has_ended_body = false;
        return;
    }
    bool is_delivered = ev->command == SMTP_CLIENT_MESSAGE && smtp_reply_class(ev->reply) == 2;
    must(!is_delivered || o->has_ended_body);
    o->first++;
    o->count--;
    o->is_over = o->is_over || ev->command == SMTP_CLIENT_QUIT;
    if (ev->command == SMTP_CLIENT_QUIT)
        must(o->count == 0 || smtp_client_deadline(o->client) > 0);
}

static void on_event(struct owner *o, const struct smtp_client_event *ev)
{
    must(!o->has_failed);
    switch (ev->kind) {
    case SMTP_CL_BANNER:
    case SMTP_CL_CHALLENGE:
        must(ev->reply != NULL);
        break;
    case SMTP_CL_HELLO:
        must(!ev->is_final || !o->needs_tls);
        break;
    case SMTP_CL_START_TLS:
        must(o->needs_tls);
        o->is_shaking = true;
        break;
    case SMTP_CL_REPLY:
        on_reply(o, ev);
        break;
    case SMTP_CL_FAILED:
        must(ev->err && ev->err->kind != ERR_NONE && ev->err->text[0]);
        must(smtp_client_output(o->client).n == 0);
        o->has_failed = o->is_over = true;
        o->count = 0;
        break;
    }
}

/* What is left of `line` when a part of it was taken before. */
static bool is_end_of(struct slice s, const char *line)
{
    size_t n = strlen(line);
    return s.n <= n && slice_eq(s, slice_of(line + n - s.n, s.n));
}

/* Before TLS nothing but these lines may leave. */
static void check_output(const struct owner *o, struct slice out)
{
    if (!o->needs_tls)
        return;
    must(is_end_of(out, "EHLO proxy.test\r\n") || is_end_of(out, "STARTTLS\r\n"));
}

static void take_output(struct owner *o, size_t most)
{
    struct slice out = smtp_client_output(o->client);
    check_output(o, out);
    smtp_client_sent(o->client, out.n < most ? out.n : most);
}

static void step(struct owner *o, struct slice in)
{
    struct smtp_client_event ev;
    while (smtp_client_step(o->client, &in, &ev, o->now) == SMTP_CLIENT_EVENT)
        on_event(o, &ev);
    must(in.n == 0);
    must(smtp_client_deadline(o->client) != o->now); /* or the owner would spin */
}

static struct slice take(struct slice *in, size_t n)
{
    struct slice part = slice_of(in->p, n < in->n ? n : in->n);
    *in = slice_skip(*in, part.n);
    return part;
}

static void ask_mail(struct owner *o, unsigned char arg, struct slice *in)
{
    struct smtp_mail mail = { .size = arg, .smtputf8 = arg & 1, .body = arg % 3 };
    mail.from.mailbox = take(in, arg & 15);
    mail.ret = take(in, arg & 3);
    push(o, SMTP_CLIENT_MAIL);
    smtp_client_mail(o->client, &mail, o->now);
}

static void ask_rcpt(struct owner *o, unsigned char arg, struct slice *in)
{
    struct smtp_rcpt rcpt = { .to.mailbox = take(in, arg & 15), .notify = take(in, arg & 3) };
    push(o, SMTP_CLIENT_RCPT);
    smtp_client_rcpt(o->client, &rcpt, o->now);
}

static void ask_body(struct owner *o, unsigned char arg)
{
    static char text[BODY_MAX];
    if (!text[0])
        memset(text, '.', sizeof text);
    size_t n = arg < 200 ? arg : (size_t)(arg - 199) * 3000;
    if (smtp_client_pending(o->client) < 8u * BODY_MAX)
        smtp_client_body(o->client, slice_of(text, n), o->now);
}

static void ask_abort(struct owner *o)
{
    bool had_message = has_message(o);
    if (!smtp_client_body_abort(o->client, o->now)) {
        o->is_over = true;
        o->count = 0;
    } else if (had_message) {
        forget_message(o);
    }
}

static void ask_simple(struct owner *o, enum smtp_client_command command,
    void (*call)(struct smtp_client *c, uint64_t now_ms))
{
    push(o, command);
    call(o->client, o->now);
}

static void take_turn(struct owner *o, unsigned char action, unsigned char arg, struct slice *in)
{
    struct slice answer = slice_of(secret, strlen(secret));
    switch (action & 15) {
    case 0:
        ask_mail(o, arg, in);
        break;
    case 1:
        ask_rcpt(o, arg, in);
        break;
    case 2:
        if (!has_message(o))
            ask_simple(o, SMTP_CLIENT_DATA, smtp_client_data);
        break;
    case 3:
        ask_body(o, arg);
        break;
    case 4:
        o->has_ended_body = o->count > 0 && o->open[o->first] == SMTP_CLIENT_MESSAGE;
        smtp_client_body_end(o->client, o->now);
        break;
    case 5:
        ask_abort(o);
        break;
    case 6:
        ask_simple(o, SMTP_CLIENT_RSET, smtp_client_rset);
        break;
    case 7:
        ask_simple(o, SMTP_CLIENT_NOOP, smtp_client_noop);
        break;
    case 8:
        if (arg == 7)
            ask_simple(o, SMTP_CLIENT_QUIT, smtp_client_quit);
        break;
    case 9:
        push(o, SMTP_CLIENT_AUTH);
        smtp_client_auth(o->client, "NTLM", arg & 1 ? answer : SLICE_NONE, o->now);
        break;
    case 10:
        smtp_client_auth_answer(o->client, answer, o->now);
        break;
    case 11:
        smtp_client_auth_cancel(o->client, o->now);
        break;
    case 12:
        if (o->is_shaking) {
            o->needs_tls = o->is_shaking = false;
            smtp_client_secured(o->client, o->now);
        }
        break;
    case 13:
        o->now += (uint64_t)arg * 4000;
        break;
    case 14:
        take_output(o, arg);
        break;
    default:
        take_output(o, SIZE_MAX);
        step(o, take(in, arg));
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > OPEN_MAX / 2)
        return 0;
    struct smtp_client_params params = {
        .hostname = "proxy.test",
        .tls = (data[0] & 3) == 0   ? SMTP_CLIENT_STARTTLS
               : (data[0] & 3) == 1 ? SMTP_CLIENT_IMPLICIT
                                    : SMTP_CLIENT_PLAIN,
        .use_chunking = (data[0] & 4) != 0,
    };
    struct owner *o = calloc(1, sizeof *o);
    must(o != NULL);
    o->now = 1000;
    o->needs_tls = params.tls == SMTP_CLIENT_STARTTLS;
    o->client = smtp_client_new(&params, o->now);
    must(o->client != NULL);
    smtp_client_trace(o->client, on_trace, NULL);
    struct slice in = slice_of((const char *)data + 1, size - 1);
    while (in.n >= 2 && !o->is_over) {
        struct slice head = take(&in, 2);
        take_turn(o, (unsigned char)head.p[0], (unsigned char)head.p[1], &in);
        step(o, SLICE_NONE);
    }
    must(smtp_client_open_commands(o->client) == o->count || o->is_over);
    smtp_client_free(o->client);
    free(o);
    return 0;
}
