/*
 * A client that sends what the input says to the server machine, and an owner that answers as it
 * says. Input: one byte of settings, then text for the machine; bytes from 0xf0 on are acts of the
 * owner, see `act`. Each input is run twice, fed in pieces and byte by byte. Checked: both runs
 * give the same replies, events and messages; no ticket is answered before its owner did; replies
 * keep their order and are well formed; nothing comes behind SMTP_EV_CLOSE; no login is in the
 * trace.
 */
#include "fuzz.h"
#include "smtp/server.h"

enum { OPEN_MAX = 4096, LOG_MAX = 1 << 26, FIRST_ACT = 0xf0 };

struct open_ticket {
    uint32_t ticket;
    enum smtp_event_kind kind;
};

struct owner {
    struct smtp_server *server;
    struct smtp_caps caps;
    bool is_bytewise;
    bool answers_at_once;
    bool is_closed;
    uint64_t now;
    struct open_ticket open[OPEN_MAX];
    unsigned open_n;
    uint32_t last_shown; /* the highest ticket whose reply was seen */
    uint32_t last_ticket;
    struct buf pending;  /* input that was not taken */
    struct buf received; /* output, not yet cut into lines */
    struct buf body;     /* the message so far */
    struct buf log;      /* everything that both runs must agree on */
};

static void on_trace(void *user, bool is_sent, struct slice line)
{
    (void)user;
    CLAIM(line.n == 0 || !memchr(line.p, '\n', line.n));
    CLAIM(is_sent || !slice_starts_nocase(line, SLICE_LIT("AUTH")) ||
          line.n <= sizeof "AUTH OAUTHBEARER [redacted]");
}

/* ---- output ---------------------------------------------------------------------------------- */

/* Answers are "ticket N": they must come in order, and not for tickets that are still open. */
static void check_ticket(struct owner *o, const char *line)
{
    const char *at = strstr(line, "ticket ");
    if (!at)
        return;
    uint32_t ticket = (uint32_t)strtoul(at + 7, NULL, 10);
    CLAIM(ticket > o->last_shown && ticket <= o->last_ticket);
    o->last_shown = ticket;
    for (unsigned i = 0; i < o->open_n; i++)
        CLAIM(o->open[i].ticket != ticket);
}

static void check_lines(struct owner *o)
{
    for (;;) {
        struct slice rest = buf_slice(&o->received);
        const char *lf = rest.n > 0 ? memchr(rest.p, '\n', rest.n) : NULL;
        if (!lf)
            return;
        size_t n = (size_t)(lf - rest.p) + 1;
        CLAIM(n >= 6 && rest.p[n - 2] == '\r' && rest.p[0] >= '2' && rest.p[0] <= '5');
        CLAIM(rest.p[3] == ' ' || rest.p[3] == '-');
        char *line = slice_dup(slice_of(rest.p, n - 2));
        CLAIM(!strchr(line, '\r'));
        check_ticket(o, line);
        free(line);
        buf_consume(&o->received, n);
    }
}

static void take_output(struct owner *o, size_t most)
{
    struct slice out = smtp_server_output(o->server);
    out.n = out.n < most ? out.n : most;
    buf_add_slice(&o->received, out);
    buf_add_slice(&o->log, out);
    smtp_server_sent(o->server, out.n);
    check_lines(o);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void answer(struct owner *o, unsigned i, unsigned code)
{
    struct open_ticket t = o->open[i];
    o->open_n--;
    memmove(&o->open[i], &o->open[i + 1], (o->open_n - i) * sizeof o->open[0]);
    char text[32];
    snprintf(text, sizeof text, "ticket %u", t.ticket);
    bool is_auth = t.kind == SMTP_EV_AUTH || t.kind == SMTP_EV_AUTH_DATA;
    if (t.kind == SMTP_EV_HELLO && code < 400)
        smtp_server_hello(o->server, t.ticket, &o->caps);
    else if (is_auth && code == 354)
        smtp_server_challenge(o->server, t.ticket, SLICE_LIT("Y2hhbGxlbmdl"));
    else if (t.kind == SMTP_EV_DATA && code < 400)
        smtp_server_reply(o->server, t.ticket, 354, NULL, text);
    else
        smtp_server_reply(o->server, t.ticket, code == 354 ? 250 : code, "1.2.3", text);
}

static void answer_as(struct owner *o, unsigned i, unsigned code)
{
    struct smtp_reply reply;
    smtp_reply_init(&reply);
    smtp_reply_set(&reply, code, "one line\nand another");
    smtp_server_reply_as(o->server, o->open[i].ticket, &reply);
    smtp_reply_fini(&reply);
    o->open_n--;
    memmove(&o->open[i], &o->open[i + 1], (o->open_n - i) * sizeof o->open[0]);
}

/* ---- events ---------------------------------------------------------------------------------- */

/* Reads all that an event points to. */
static void log_event(struct owner *o, const struct smtp_event *ev)
{
    if (ev->kind == SMTP_EV_BODY) {
        CLAIM(ev->text.n > 0 && ev->text.n <= SMTP_BODY_EVENT_MAX);
        buf_add_slice(&o->body, ev->text);
        return;
    }
    /* How much was given of a message that came to nothing depends on how it was fed. */
    if (ev->kind == SMTP_EV_BODY_END && !ev->is_too_big) {
        CLAIM(ev->text_size == o->body.len);
        buf_add_slice(&o->log, buf_slice(&o->body));
    }
    if (ev->kind == SMTP_EV_BODY_END || ev->kind == SMTP_EV_RESET || ev->kind == SMTP_EV_CLOSE)
        buf_clear(&o->body);
    buf_addf(&o->log, "<%d %u %llu %d%d>", (int)ev->kind, ev->ticket,
        (unsigned long long)ev->text_size, ev->is_too_big, ev->is_repaired);
    buf_add_slice(&o->log, ev->text);
    buf_add_slice(&o->log, ev->response);
    if (ev->mail)
        buf_add_slice(&o->log, ev->mail->from.mailbox);
    if (ev->rcpt)
        buf_add_slice(&o->log, ev->rcpt->to.mailbox);
    if (ev->why)
        buf_add_str(&o->log, ev->why);
}

static void on_event(struct owner *o, const struct smtp_event *ev)
{
    CLAIM(!o->is_closed);
    log_event(o, ev);
    o->is_closed = ev->kind == SMTP_EV_CLOSE;
    if (o->is_closed)
        CLAIM(ev->why != NULL);
    if (ev->ticket == 0)
        return;
    CLAIM(ev->ticket > o->last_ticket && o->open_n < OPEN_MAX);
    o->last_ticket = ev->ticket;
    o->open[o->open_n++] = (struct open_ticket){ .ticket = ev->ticket, .kind = ev->kind };
    if (o->answers_at_once)
        answer(o, o->open_n - 1, 250);
}

static void step(struct owner *o)
{
    struct smtp_event ev;
    for (;;) {
        size_t n = o->pending.len;
        char *copy = malloc(n + 1);
        memcpy(copy, buf_cstr(&o->pending), n);
        struct slice in = slice_of(copy, n);
        enum smtp_server_status status = smtp_server_step(o->server, &in, &ev, o->now);
        buf_consume(&o->pending, n - in.n);
        free(copy); /* no event may point there */
        CLAIM(status != SMTP_SERVER_MORE || in.n == 0);
        CLAIM(
            !o->is_closed || (status == SMTP_SERVER_MORE && smtp_server_deadline(o->server) == 0));
        if (status != SMTP_SERVER_EVENT)
            return;
        on_event(o, &ev);
    }
}

static void feed(struct owner *o, struct slice text)
{
    size_t n = o->is_bytewise ? 1 : text.n;
    for (size_t i = 0; i < text.n; i += n) {
        buf_add(&o->pending, text.p + i, n);
        step(o);
    }
}

/* ---- acts ------------------------------------------------------------------------------------ */

static void answer_all(struct owner *o)
{
    for (unsigned i = 0; i < 1000 && o->open_n > 0; i++) {
        answer(o, 0, 250);
        step(o);
    }
}

/* Answers one open ticket, the oldest or the newest. */
static void act_on_ticket(struct owner *o, unsigned what)
{
    static const struct {
        bool is_newest;
        unsigned code;
    } rows[] = { { false, 250 }, { true, 250 }, { false, 550 }, { true, 451 }, { false, 354 },
        { false, 421 } };
    if (o->open_n == 0)
        return;
    if (what < ARRAY_LEN(rows))
        answer(o, rows[what].is_newest ? o->open_n - 1 : 0, rows[what].code);
    else
        answer_as(o, o->open_n - 1, 550);
}

static void act(struct owner *o, unsigned what)
{
    switch (what) {
    case 0:
        take_output(o, SIZE_MAX);
        break;
    case 1:
        answer_all(o);
        take_output(o, SIZE_MAX);
        break;
    case 2:
        o->answers_at_once = !o->answers_at_once;
        break;
    case 10:
        o->now += 100000;
        break;
    case 11:
        smtp_server_secured(o->server);
        break;
    case 12:
        smtp_server_authenticated(o->server);
        break;
    case 13:
        smtp_server_shut_down(o->server, "4.3.2", "closing");
        break;
    case 14:
        take_output(o, 7);
        break;
    case 15:
        smtp_server_reply(o->server, o->last_ticket + 1, 250, NULL, "nobody asked");
        break;
    default:
        act_on_ticket(o, what - 3);
        break;
    }
    step(o);
}

static struct smtp_server_params settings(uint8_t bits)
{
    return (struct smtp_server_params){ .hostname = "mx.test",
        .recipients_max = bits & 1 ? 2 : 0,
        .errors_max = bits & 2 ? 3 : 0,
        .size_max = bits & 4 ? 20 : 0,
        .idle_timeout_ms = bits & 8 ? 300000 : 0,
        .total_timeout_ms = bits & 8 ? 1000000 : 0,
        .require_tls = bits & 16,
        .require_auth = bits & 16 };
}

static void run(struct owner *o, const uint8_t *data, size_t size)
{
    struct smtp_server_params params = settings(data[0]);
    o->server = smtp_server_new(&params, o->now);
    smtp_server_trace(o->server, on_trace, o);
    for (size_t i = 1; i < size;) {
        size_t n = 0;
        while (i + n < size && data[i + n] < FIRST_ACT)
            n++;
        if (n > 0)
            feed(o, slice_of((const char *)data + i, n));
        i += n;
        if (i < size)
            act(o, data[i++] & 15);
    }
    answer_all(o);
    take_output(o, SIZE_MAX);
    smtp_server_free(o->server);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    static struct owner owners[2];
    for (unsigned i = 0; i < 2; i++) {
        struct owner *o = &owners[i];
        uint32_t caps = data[0] & 32 ? 0 : SMTP_CAP_PIPELINING;
        caps |= SMTP_CAP_SIZE | SMTP_CAP_SMTPUTF8 | SMTP_CAP_DSN | SMTP_CAP_CHUNKING |
                SMTP_CAP_STARTTLS | SMTP_CAP_AUTH;
        *o = (struct owner){
            .caps = { .set = caps, .auth = "NTLM" }, .is_bytewise = i == 1, .now = 1
        };
        o->answers_at_once = data[0] & 64;
        buf_init(&o->pending, LOG_MAX);
        buf_init(&o->received, LOG_MAX);
        buf_init(&o->body, LOG_MAX);
        buf_init(&o->log, LOG_MAX);
        run(o, data, size);
    }
    CLAIM(slice_eq(buf_slice(&owners[0].log), buf_slice(&owners[1].log)));
    for (unsigned i = 0; i < 2; i++) {
        buf_fini(&owners[i].pending);
        buf_fini(&owners[i].received);
        buf_fini(&owners[i].body);
        buf_fini(&owners[i].log);
    }
    return 0;
}
