/* What the transcripts cannot say: values, memory, long streams, odd uses by the owner. */
#include "smtp/client.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct smtp_client *client;
static struct smtp_client_event ev;

static struct smtp_client *make(enum smtp_client_tls tls, bool use_chunking, const char *hostname)
{
    struct smtp_client_params params = {
        .hostname = hostname, .tls = tls, .use_chunking = use_chunking
    };
    client = smtp_client_new(&params, 1);
    cr_assert(client);
    return client;
}

static size_t take_all(void)
{
    size_t n = smtp_client_output(client).n;
    smtp_client_sent(client, n);
    return n;
}

static enum smtp_client_status step(const char *text)
{
    struct slice in = slice_str(text);
    take_all();
    enum smtp_client_status status = smtp_client_step(client, &in, &ev, 1);
    return status;
}

/* Feeds and drops all events; takes the output before and after. */
static void feed(const char *text)
{
    struct slice in = slice_str(text);
    take_all();
    while (smtp_client_step(client, &in, &ev, 1) == SMTP_CLIENT_EVENT) {
    }
    cr_assert(in.n == 0);
}

static void make_ready(const char *extensions, bool use_chunking)
{
    make(SMTP_CLIENT_PLAIN, use_chunking, "proxy.test");
    feed("220 x\r\n");
    feed(extensions);
    take_all();
}

Test(client, frees_null)
{
    smtp_client_free(NULL);
}

Test(client, refuses_a_bad_name_for_ehlo)
{
    static const char *const names[] = { "", "a b", "a\r\nMAIL", "a\177" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        make(SMTP_CLIENT_PLAIN, false, names[i]);
        cr_assert(smtp_client_deadline(client) > 0);
        cr_assert(step("") == SMTP_CLIENT_EVENT);
        cr_assert(ev.kind == SMTP_CL_FAILED && ev.err->kind == ERR_CONFIG);
        cr_assert(smtp_client_output(client).n == 0);
        smtp_client_free(client);
    }
}

Test(client, bounds_the_name_for_ehlo)
{
    char name[SMTP_DOMAIN_MAX + 2] = "";
    memset(name, 'a', SMTP_DOMAIN_MAX);
    make(SMTP_CLIENT_PLAIN, false, name);
    feed("220 x\r\n");
    cr_assert(smtp_client_output(client).n == strlen("EHLO \r\n") + SMTP_DOMAIN_MAX);
    smtp_client_free(client);
    name[SMTP_DOMAIN_MAX] = 'a';
    make(SMTP_CLIENT_PLAIN, false, name);
    cr_assert(step("220 x\r\n") == SMTP_CLIENT_EVENT);
    cr_assert(step("") == SMTP_CLIENT_EVENT);
    cr_assert(ev.kind == SMTP_CL_FAILED && ev.err->kind == ERR_CONFIG);
    smtp_client_free(client);
}

Test(client, takes_all_input_after_the_end)
{
    make(SMTP_CLIENT_PLAIN, false, "proxy.test");
    feed("554 go\r\n");
    for (unsigned i = 0; i < 3; i++) {
        struct slice in = SLICE_LIT("220 again\r\n");
        cr_assert(smtp_client_step(client, &in, &ev, 1) == SMTP_CLIENT_MORE);
        cr_assert(in.n == 0);
    }
    cr_assert(smtp_client_deadline(client) == 0);
    smtp_client_free(client);
}

Test(client, survives_every_call_in_every_moment)
{
    static const char *const moments[] = { "", "220 x\r\n", "250-x\r\n250 CHUNKING\r\n",
        "250 2.0.0 ok\r\n", "421 4.4.2 bye\r\n", "" };
    make(SMTP_CLIENT_PLAIN, true, "proxy.test");
    for (size_t i = 0; i < ARRAY_LEN(moments); i++) {
        feed(moments[i]);
        smtp_client_secured(client, 1);
        smtp_client_auth_answer(client, SLICE_LIT("not asked for"), 1);
        smtp_client_auth_cancel(client, 1);
        smtp_client_body(client, SLICE_LIT("no message\r\n"), 1);
        smtp_client_body_end(client, 1);
        smtp_client_body_abort(client, 1);
        smtp_client_sent(client, 1 << 20);
    }
    smtp_client_free(client);
}

Test(client, answers_are_ignored_unless_asked_for)
{
    make_ready("250 x\r\n", false);
    smtp_client_auth_answer(client, SLICE_LIT("secret"), 1);
    smtp_client_auth_cancel(client, 1);
    smtp_client_body(client, SLICE_LIT("text\r\n"), 1);
    smtp_client_body_end(client, 1);
    cr_assert(smtp_client_output(client).n == 0);
    smtp_client_free(client);
}

/* The longest login: Kerberos tokens with a large PAC reach 48 KB; one past the limit fails. */
Test(client, bounds_a_login_line)
{
    static char token[49153];
    for (size_t n = 49152; n <= 49153; n++) {
        make_ready("250 x\r\n", false);
        smtp_client_auth(client, "GSSAPI", slice_of(token, n), 1);
        bool is_sent = smtp_client_output(client).n == 12 + 65536 + 2;
        bool has_failed = step("") == SMTP_CLIENT_EVENT && ev.kind == SMTP_CL_FAILED;
        cr_assert(is_sent == (n == 49152), "%zu", n);
        cr_assert(has_failed == (n == 49153), "%zu", n);
        smtp_client_free(client);
    }
}

/* The bytes of a message that does not flow: bounded, and the failure has its sentence. */
Test(client, bounds_what_it_holds)
{
    enum { PIECE = 1 << 20 };
    char *text = calloc(1, PIECE);
    cr_assert(text);
    memset(text, 'x', PIECE);
    static const char *const servers[] = { "250 x\r\n", "250-x\r\n250 CHUNKING\r\n" };
    for (size_t i = 0; i < ARRAY_LEN(servers); i++) {
        make_ready(servers[i], true);
        smtp_client_data(client, 1);
        feed(i == 0 ? "354 go\r\n" : "");
        for (unsigned k = 0; k < 64; k++)
            smtp_client_body(client, slice_of(text, PIECE), 1);
        cr_assert(smtp_client_pending(client) <= 2 * 16 * PIECE);
        struct slice none = SLICE_NONE;
        cr_assert(smtp_client_step(client, &none, &ev, 1) == SMTP_CLIENT_EVENT);
        cr_assert(ev.kind == SMTP_CL_FAILED && ev.err->kind == ERR_LIMIT, "%s", ev.err->text);
        cr_assert(smtp_client_pending(client) == 0);
        smtp_client_free(client);
    }
    free(text);
}

/* 150 MB through BDAT with an owner that watches _pending: little is held at any time. */
Test(client, streams_a_large_message)
{
    enum { PIECE = 65536, PIECES = 2400 };
    static char text[PIECE];
    memset(text, 'x', sizeof text);
    memcpy(text + PIECE - 2, "\r\n", 2);
    make_ready("250-x\r\n250-PIPELINING\r\n250 CHUNKING\r\n", true);
    smtp_client_data(client, 1);
    feed("");
    size_t most = 0;
    unsigned long long total = 0;
    for (unsigned i = 0; i < PIECES; i++) {
        smtp_client_body(client, slice_of(text, PIECE), 1);
        most = smtp_client_pending(client) > most ? smtp_client_pending(client) : most;
        size_t sent = take_all();
        total += sent;
        if (sent > 0)
            feed("250 ok\r\n");
    }
    smtp_client_body_end(client, 1);
    total += take_all();
    cr_assert(total > (unsigned long long)PIECE * PIECES);
    cr_assert(most < 4 * PIECE, "%zu", most);
    cr_assert(step("250 queued\r\n") == SMTP_CLIENT_EVENT);
    cr_assert(ev.kind == SMTP_CL_REPLY && ev.command == SMTP_CLIENT_MESSAGE);
    smtp_client_free(client);
}

/* Whatever pieces the owner brings, the octets of the message are the same. */
Test(client, pieces_of_the_body_do_not_matter)
{
    static const char text[] = "Subject: x\r\n\r\n.a\r\n..b\r\n.\r\nend\r\n";
    for (size_t cut = 0; cut < sizeof text; cut++) {
        make_ready("250 x\r\n", false);
        smtp_client_data(client, 1);
        feed("354 go\r\n");
        smtp_client_body(client, slice_of(text, cut), 1);
        smtp_client_body(client, slice_of(text + cut, sizeof text - 1 - cut), 1);
        smtp_client_body_end(client, 1);
        struct slice out = smtp_client_output(client);
        cr_assert(slice_eq(out, SLICE_LIT("Subject: x\r\n\r\n..a\r\n...b\r\n..\r\nend\r\n.\r\n")),
            "%zu", cut);
        smtp_client_free(client);
    }
}

Test(client, the_deadline_follows_what_left_late)
{
    make_ready("250 x\r\n", false);
    smtp_client_noop(client, 1000);
    struct slice none = SLICE_NONE;
    smtp_client_sent(client, 2);
    cr_assert(smtp_client_deadline(client) == 1000 + 300000);
    smtp_client_sent(client, 4); /* later than 1000, nobody said when */
    cr_assert(smtp_client_step(client, &none, &ev, 301000) == SMTP_CLIENT_MORE);
    cr_assert(smtp_client_deadline(client) == 301000 + 300000);
    cr_assert(smtp_client_step(client, &none, &ev, 601000) == SMTP_CLIENT_EVENT);
    cr_assert(ev.kind == SMTP_CL_FAILED && ev.err->kind == ERR_TIMEOUT);
    smtp_client_free(client);
}

/* A server that drips a reply gains no time by it. */
Test(client, drops_of_a_reply_do_not_move_the_deadline)
{
    make(SMTP_CLIENT_PLAIN, false, "proxy.test");
    for (uint64_t now = 1; now < 300001; now += 100000) {
        struct slice drop = SLICE_LIT("220-still here\r\n");
        cr_assert(smtp_client_step(client, &drop, &ev, now) == SMTP_CLIENT_MORE);
        cr_assert(smtp_client_deadline(client) == 300001);
    }
    struct slice drop = SLICE_LIT("2");
    cr_assert(smtp_client_step(client, &drop, &ev, 300001) == SMTP_CLIENT_EVENT);
    cr_assert(ev.kind == SMTP_CL_FAILED && ev.err->kind == ERR_TIMEOUT);
    smtp_client_free(client);
}
