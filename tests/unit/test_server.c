/*
 * What transcripts cannot say about smtp/server: order under random answers, memory, back-pressure,
 * what the trace shows, and what happens when memory runs out at any point.
 */
#include "smtp/server.h"

#include <criterion/criterion.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
size_t __sanitizer_get_current_allocated_bytes(void); /* its header comes with clang only */
static size_t allocated(void)
{
    return __sanitizer_get_current_allocated_bytes();
}
#elif defined(_WIN32)
static size_t allocated(void)
{
    _HEAPINFO entry = { ._pentry = NULL };
    size_t n = 0;
    while (_heapwalk(&entry) == _HEAPOK)
        n += entry._useflag == _USEDENTRY ? entry._size : 0;
    return n;
}
#else
static size_t allocated(void)
{
    return mallinfo2().uordblks;
}
#endif

/* ---- allocations that fail (linked with --wrap) ---------------------------------------------- */

static unsigned long allocations, failing_allocation; /* 0: none fails */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);

void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);

void *__wrap_malloc(size_t n)
{
    return ++allocations == failing_allocation ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return ++allocations == failing_allocation ? NULL : __real_calloc(n, size);
}

/* ---- a session ------------------------------------------------------------------------------- */

enum { TICKETS_MAX = 1024, OUT_MAX = 1 << 20 };

struct session {
    struct smtp_server *server;
    struct smtp_caps caps;
    uint32_t tickets[TICKETS_MAX]; /* MAIL and RCPT that were not answered */
    size_t tickets_n;
    bool holds; /* MAIL and RCPT are not answered */
    bool is_closed;
    const char *why;
    struct buf out;
    size_t left; /* input that was not taken */
    enum smtp_server_status status;
};

static const struct smtp_server_params params = { .hostname = "mx.test",
    .idle_timeout_ms = 300000 };

static void take_output(struct session *s)
{
    struct slice out = smtp_server_output(s->server);
    buf_add_slice(&s->out, out);
    smtp_server_sent(s->server, out.n);
}

static void on_event(struct session *s, const struct smtp_event *ev)
{
    bool is_envelope = ev->kind == SMTP_EV_MAIL || ev->kind == SMTP_EV_RCPT;
    s->is_closed = s->is_closed || ev->kind == SMTP_EV_CLOSE;
    if (ev->kind == SMTP_EV_CLOSE)
        s->why = ev->why;
    else if (ev->kind == SMTP_EV_HELLO)
        smtp_server_hello(s->server, ev->ticket, &s->caps);
    else if (ev->kind == SMTP_EV_DATA)
        smtp_server_reply(s->server, ev->ticket, 354, NULL, "go");
    else if (ev->kind == SMTP_EV_AUTH)
        smtp_server_challenge(s->server, ev->ticket, SLICE_LIT("VHlwZTI="));
    else if (is_envelope && s->holds)
        s->tickets[s->tickets_n++] = ev->ticket;
    else if (ev->ticket != 0)
        smtp_server_reply(s->server, ev->ticket, 250, "2.0.0", "ok");
}

static void feed(struct session *s, struct slice in)
{
    struct smtp_event ev;
    while ((s->status = smtp_server_step(s->server, &in, &ev, 1)) == SMTP_SERVER_EVENT)
        on_event(s, &ev);
    s->left = in.n;
}

/* One group of lines, then all its replies. */
static void say(struct session *s, const char *text)
{
    feed(s, slice_str(text));
    take_output(s);
}

static void prepare(struct session *s)
{
    *s = (struct session){ .caps = { .set = SMTP_CAP_PIPELINING | SMTP_CAP_AUTH | SMTP_CAP_CHUNKING,
                               .auth = "NTLM" } };
    buf_init(&s->out, OUT_MAX);
}

static bool begin(struct session *s)
{
    s->server = smtp_server_new(&params, 1);
    if (s->server)
        take_output(s);
    return s->server != NULL;
}

static bool start(struct session *s)
{
    prepare(s);
    return begin(s);
}

static void finish(struct session *s)
{
    smtp_server_free(s->server);
    buf_fini(&s->out);
}

/* ---- order ----------------------------------------------------------------------------------- */

static unsigned random_below(unsigned n)
{
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % n;
}

Test(server, keeps_replies_in_the_order_of_commands)
{
    for (unsigned round = 0; round < 300; round++) {
        struct session s;
        cr_assert(start(&s));
        say(&s, "EHLO c\r\n");
        buf_clear(&s.out);
        s.holds = true;
        unsigned n = 1 + random_below(40);
        say(&s, "MAIL FROM:<a@example.com>\r\n");
        for (unsigned i = 1; i < n; i++)
            say(&s, "RCPT TO:<b@example.org>\r\n");
        cr_assert_eq(s.tickets_n, n);
        bool answered[64] = { false };
        for (unsigned left = n; left > 0; left--) {
            unsigned i = random_below(n);
            while (answered[i])
                i = (i + 1) % n;
            answered[i] = true;
            char text[32];
            snprintf(text, sizeof text, "number %u", i);
            smtp_server_reply(s.server, s.tickets[i], 250, "2.0.0", text);
            smtp_server_reply(s.server, s.tickets[i], 550, "5.0.0", "a second answer is ignored");
            take_output(&s);
        }
        for (unsigned i = 0; i < n; i++) {
            char want[64];
            snprintf(want, sizeof want, "250 2.0.0 number %u\r\n", i);
            struct slice got = slice_of(buf_slice(&s.out).p, strlen(want));
            cr_assert(slice_eq(got, slice_str(want)), "round %u, reply %u", round, i);
            buf_consume(&s.out, got.n);
        }
        cr_assert_eq(s.out.len, 0);
        finish(&s);
    }
}

Test(server, makes_one_line_of_an_answer)
{
    struct session s;
    cr_assert(start(&s));
    say(&s, "EHLO c\r\n");
    s.holds = true;
    say(&s, "MAIL FROM:<a@example.com>\r\n");
    buf_clear(&s.out);
    smtp_server_reply(s.server, s.tickets[0], 250, "2.1.0", "ok\r\n250 2.1.5 injected");
    take_output(&s);
    cr_assert_str_eq(buf_cstr(&s.out), "250 2.1.0 ok  250 2.1.5 injected\r\n");
    finish(&s);
}

Test(server, ignores_answers_to_nothing)
{
    struct session s;
    cr_assert(start(&s));
    smtp_server_reply(s.server, 0, 250, NULL, "ok");
    smtp_server_reply(s.server, 1, 250, NULL, "ok");
    smtp_server_hello(s.server, 7, &s.caps);
    say(&s, "EHLO c\r\n");
    s.holds = true;
    say(&s, "MAIL FROM:<a@example.com>\r\n");
    buf_clear(&s.out);
    smtp_server_hello(s.server, s.tickets[0], &s.caps);
    take_output(&s);
    cr_assert_eq(s.out.len, 0, "HELLO's answer does not fit MAIL");
    finish(&s);
}

/* ---- back-pressure --------------------------------------------------------------------------- */

static void add_rcpts(struct buf *b, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        buf_add_str(b, "RCPT TO:<b@example.org>\r\n");
}

Test(server, waits_when_too_many_commands_are_open)
{
    struct session s;
    struct buf in;
    buf_init(&in, OUT_MAX);
    buf_add_str(&in, "MAIL FROM:<a@example.com>\r\n");
    add_rcpts(&in, 400);
    cr_assert(start(&s));
    say(&s, "EHLO c\r\n");
    buf_clear(&s.out);
    s.holds = true;
    feed(&s, buf_slice(&in));
    cr_expect_eq(s.tickets_n, SMTP_OPEN_COMMANDS_MAX);
    cr_expect_eq(s.status, SMTP_SERVER_WAIT);
    cr_expect_gt(s.left, 0);
    size_t answered = 0;
    while (s.left > 0) {
        for (; answered < s.tickets_n; answered++)
            smtp_server_reply(s.server, s.tickets[answered], 250, "2.0.0", "ok");
        take_output(&s);
        feed(&s, slice_skip(buf_slice(&in), in.len - s.left));
    }
    for (; answered < s.tickets_n; answered++)
        smtp_server_reply(s.server, s.tickets[answered], 250, "2.0.0", "ok");
    take_output(&s);
    cr_expect_eq(s.tickets_n, 401);
    cr_expect_eq(s.out.len, 401 * strlen("250 2.0.0 ok\r\n"));
    buf_fini(&in);
    finish(&s);
}

Test(server, waits_when_nobody_takes_its_replies)
{
    struct session s;
    struct buf in;
    buf_init(&in, OUT_MAX);
    for (unsigned i = 0; i < 20000; i++)
        buf_add_str(&in, "RSET\r\n");
    cr_assert(start(&s));
    say(&s, "EHLO c\r\n");
    feed(&s, buf_slice(&in));
    cr_expect_eq(s.status, SMTP_SERVER_WAIT);
    cr_expect_lt(smtp_server_output(s.server).n, 20000);
    cr_expect_neq(
        smtp_server_deadline(s.server), 0, "a client that does not read must not stay for ever");
    buf_clear(&s.out);
    while (s.left > 0) {
        take_output(&s);
        feed(&s, slice_skip(buf_slice(&in), in.len - s.left));
    }
    take_output(&s);
    cr_expect_eq(s.out.len, 20000 * strlen("250 2.0.0 ok\r\n"));
    buf_fini(&in);
    finish(&s);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void send_message(struct session *s, const char *body)
{
    say(s, "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n");
    say(s, body);
    buf_release_memory(&s->out);
}

/* 10,000 idle clients are a goal; 2 KB each are 20 MB. */
Test(server, is_small_when_idle)
{
    char *big = malloc(200001);
    memset(big, 'x', 200000);
    strcpy(big + 199994, "\r\n.\r\n");
    struct session s;
    size_t before = allocated();
    cr_assert(start(&s));
    say(&s, "EHLO client.example.com\r\n");
    say(&s, "AUTH NTLM\r\n");
    say(&s, "VHlwZTM=\r\n");
    buf_release_memory(&s.out);
    cr_expect_lt(allocated() - before, 2048, "%zu bytes behind EHLO", allocated() - before);
    char *line = strdup(big);
    memcpy(line, "NOOP ", 5);
    strcpy(line + 2000, "\r\n");
    say(&s, line);
    free(line);
    feed(&s, SLICE_NONE);
    buf_release_memory(&s.out);
    cr_expect_lt(allocated() - before, 2048, "%zu bytes behind a long line", allocated() - before);
    send_message(&s, big);
    cr_expect_lt(allocated() - before, 2048, "%zu bytes behind a message", allocated() - before);
    s.holds = true;
    struct buf in;
    buf_init(&in, OUT_MAX);
    buf_add_str(&in, "MAIL FROM:<a@example.com>\r\n");
    add_rcpts(&in, 100);
    feed(&s, buf_slice(&in));
    buf_fini(&in);
    for (size_t i = s.tickets_n; i-- > 0;)
        smtp_server_reply(s.server, s.tickets[i], 250, "2.0.0", "ok");
    take_output(&s);
    buf_release_memory(&s.out);
    cr_expect_lt(
        allocated() - before, 2048, "%zu bytes behind 100 recipients", allocated() - before);
    finish(&s);
    free(big);
}

Test(server, does_not_grow_with_messages)
{
    struct session s;
    cr_assert(start(&s));
    say(&s, "EHLO c\r\n");
    send_message(&s, "x\r\n.\r\n");
    size_t before = allocated();
    for (unsigned i = 0; i < 10000; i++)
        send_message(&s, "Subject: x\r\n\r\ntext\r\n.\r\n");
    cr_expect_eq(allocated(), before);
    finish(&s);
}

Test(server, gives_body_memory_back_between_pieces)
{
    struct session s;
    cr_assert(start(&s));
    say(&s, "EHLO c\r\n");
    say(&s, "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n");
    buf_release_memory(&s.out);
    size_t before = allocated();
    char *piece = malloc(60000);
    memset(piece, 'x', 60000);
    feed(&s, slice_of(piece, 60000));
    free(piece);
    feed(&s, SLICE_NONE);
    cr_expect_leq(allocated(), before);
    finish(&s);
}

/* What a connection reads at once has any length; each must be taken, as text and as a chunk, also
 * where every octet becomes two. */
Test(server, takes_pieces_of_every_length_around_its_own_limits)
{
    static const size_t around[] = { SMTP_BODY_EVENT_MAX / 4, SMTP_BODY_EVENT_MAX / 2,
        SMTP_BODY_EVENT_MAX };
    char *piece = malloc(SMTP_BODY_EVENT_MAX + 16);
    for (unsigned i = 0; i < 2 * ARRAY_LEN(around) * 32; i++) {
        size_t n = around[i / 2 / 32] + i / 2 % 32 - 16;
        memset(piece, i % 2 == 0 ? 'x' : '\n', n);
        struct session s;
        char command[64];
        cr_assert(start(&s));
        say(&s, "EHLO c\r\n");
        send_message(&s, "x\r\n.\r\n");
        say(&s, "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n");
        feed(&s, slice_of(piece, n));
        say(&s, "\r\n.\r\n");
        cr_assert_not(s.is_closed, "%zu octets of DATA: %s", n, s.why);
        say(&s, "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\n");
        snprintf(command, sizeof command, "BDAT %zu LAST\r\n", n);
        say(&s, command);
        feed(&s, slice_of(piece, n));
        take_output(&s);
        cr_assert_not(s.is_closed, "%zu octets of BDAT: %s", n, s.why);
        cr_assert(s.out.len >= 14);
        cr_assert_str_eq(buf_cstr(&s.out) + s.out.len - 14, "250 2.0.0 ok\r\n");
        finish(&s);
    }
    free(piece);
}

/* ---- trace ----------------------------------------------------------------------------------- */

static void add_trace(void *user, bool is_sent, struct slice line)
{
    struct buf *b = user;
    buf_add_str(b, is_sent ? "S: " : "C: ");
    buf_add_slice(b, line);
    buf_add_char(b, '\n');
}

Test(server, shows_the_dialogue_without_bodies_and_logins)
{
    struct session s;
    struct buf trace;
    buf_init(&trace, OUT_MAX);
    cr_assert(start(&s));
    smtp_server_trace(s.server, add_trace, &trace);
    say(&s, "EHLO c\r\n");
    say(&s, "AUTH NTLM TlRMTVNTUAAB\r\n");
    say(&s, "TlRMTVNTUAAD\r\n");
    say(&s, "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n");
    say(&s, "Subject: not shown\r\n.\r\n");
    say(&s, "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nBDAT 9 LAST\r\nsecret!\r\n");
    smtp_server_trace(s.server, NULL, NULL);
    say(&s, "NOOP\r\n");
    cr_expect_str_eq(buf_cstr(&trace),
        "C: EHLO c\n"
        "S: 250-mx.test\nS: 250-PIPELINING\nS: 250-CHUNKING\nS: 250 AUTH NTLM\n"
        "C: AUTH NTLM [redacted]\nS: 334 [redacted]\nC: [redacted]\nS: 250 2.0.0 ok\n"
        "C: MAIL FROM:<a@example.com>\nS: 250 2.0.0 ok\n"
        "C: RCPT TO:<b@example.org>\nS: 250 2.0.0 ok\n"
        "C: DATA\nS: 354 go\nS: 250 2.0.0 ok\n"
        "C: MAIL FROM:<a@example.com>\nS: 250 2.0.0 ok\n"
        "C: RCPT TO:<b@example.org>\nS: 250 2.0.0 ok\n"
        "C: BDAT 9 LAST\nS: 250 2.0.0 ok\n");
    buf_fini(&trace);
    finish(&s);
}

Test(server, shows_no_login_however_it_is_written)
{
    static const struct {
        const char *line, *shown;
    } rows[] = {
        { "AUTH", "AUTH" },
        { "AUTH NTLM", "AUTH NTLM" },
        { "auth ntlm", "AUTH ntlm" },
        { "AUTH  NTLM  c2VjcmV0", "AUTH NTLM [redacted]" },
        { "AUTH\tPLAIN\tc2VjcmV0", "AUTH PLAIN [redacted]" },
        { "AUTH PLAIN c2VjcmV0 c2VjcmV0", "AUTH PLAIN [redacted]" },
        { "AUTH c2VjcmV0", "AUTH [redacted]" },
        { "AUTH=PLAIN c2VjcmV0", "AUTH [redacted]" },
        { "AUTHPLAIN c2VjcmV0", "AUTH [redacted]" },
        { " AUTH PLAIN c2VjcmV0", "AUTH PLAIN [redacted]" },
        { "AUTH PLAIN=c2VjcmV0", "AUTH [redacted]" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct session s;
        struct buf trace;
        buf_init(&trace, OUT_MAX);
        cr_assert(start(&s));
        smtp_server_trace(s.server, add_trace, &trace);
        struct buf line;
        buf_init(&line, OUT_MAX);
        buf_addf(&line, "%s\r\n", rows[i].line);
        say(&s, buf_cstr(&line)); /* before EHLO: refused, whatever it is */
        buf_clear(&line);
        buf_addf(&line, "C: %s\n", rows[i].shown);
        cr_expect(strncmp(buf_cstr(&trace), buf_cstr(&line), line.len) == 0, "row %zu: %s", i,
            buf_cstr(&trace));
        cr_expect_null(strstr(buf_cstr(&trace), "c2VjcmV0"), "row %zu", i);
        buf_fini(&line);
        buf_fini(&trace);
        finish(&s);
    }
}

/* ---- out of memory --------------------------------------------------------------------------- */

static void talk(struct session *s)
{
    static const char *const groups[] = { "EHLO c\r\n", "AUTH NTLM\r\n", "VHlwZTM=\r\n",
        "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nRCPT "
        "TO:<c@example.org>\r\nBLAH\r\nDATA\r\n",
        "Subject: x\r\n\r\ntext\r\n.\r\nRSET\r\n",
        "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nBDAT 5\r\n12\r\n3BDAT 0 LAST\r\n",
        "EHLO again\r\n", "QUIT\r\n" };
    for (size_t i = 0; i < ARRAY_LEN(groups) && !s->is_closed; i++) {
        s->holds = i == 3;
        say(s, groups[i]);
        while (s->tickets_n > 0)
            smtp_server_reply(s->server, s->tickets[--s->tickets_n], 250, "2.0.0", "ok");
        say(s, "");
    }
}

Test(server, ends_the_session_when_memory_runs_out)
{
    for (unsigned long n = 1;; n++) {
        struct session s;
        prepare(&s);
        buf_reserve(&s.out, 8192); /* ours must not be the one that fails */
        allocations = 0;
        failing_allocation = n;
        bool is_made = begin(&s);
        if (is_made)
            talk(&s);
        bool has_failed = allocations >= n;
        failing_allocation = 0;
        finish(&s);
        if (is_made)
            cr_expect_str_eq(s.why, has_failed ? "out of memory" : "quit", "allocation %lu", n);
        if (!has_failed) {
            cr_expect_gt(n, 10);
            return;
        }
    }
}
