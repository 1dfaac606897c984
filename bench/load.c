/*
 * submitd-load: sends messages as fast as the other side takes them, and says how long each took.
 * One program for every contender of bench/run: what differs stands in a configuration file of
 * submitd's own kind, whose [upstream] and [account] say where to and how (tls = off and auth =
 * none for a legacy client, starttls and ntlm for a program that logs in itself). Each client sends
 * one message after the other; a message's time runs from its beginning, which with --per-message
 * is the making of its connection, to the reply to its final dot.
 */
#include "bench/samples.h"
#include "net/loop.h"
#include "ops/log.h"
#include "platform/platform.h"
#include "relay/outbound.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

enum {
    PIECE = 65536, /* octets of text given to a session at once */
    LINE = 78,     /* octets of a line of text, its end counted */
    PROBLEMS_MAX = 65536,
    EXIT_USAGE = 2,
};

struct options {
    const char *config;
    unsigned long clients, size, messages, milliseconds;
    int is_per_message, is_pipelined;
};

struct load;

struct client {
    struct load *load;
    struct outbound *session;
    uint64_t began_ns;
    size_t sent; /* octets of this message's text */
};

struct load {
    struct options options;
    struct loop *loop;
    struct setup *setup;
    struct buf text;
    struct client *clients;
    unsigned long started, busy; /* messages begun; clients with one under way */
    uint64_t began_ns, ended_ns;
    struct samples samples;
};

static const struct outbound_events session_events;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "submitd-load: %s: %s\n", what, why);
    exit(EXIT_FAILURE);
}

/* --- one message ------------------------------------------------------------------------------ */

static void give_text(struct client *k)
{
    struct load *l = k->load;
    struct smtp_client *c = outbound_client(k->session);
    struct slice text = buf_slice(&l->text);
    while (k->sent < text.n && !outbound_is_congested(k->session)) {
        size_t left = text.n - k->sent, n = left < PIECE ? left : PIECE;
        smtp_client_body(c, slice_of(text.p + k->sent, n), loop_now_ms(l->loop));
        k->sent += n;
        if (k->sent == text.n)
            smtp_client_body_end(c, loop_now_ms(l->loop));
        outbound_flush(k->session);
    }
}

static void say_mail(struct client *k)
{
    struct smtp_mail mail = { .from.mailbox = SLICE_LIT("load@corp.example") };
    smtp_client_mail(outbound_client(k->session), &mail, loop_now_ms(k->load->loop));
}

static void say_rcpt(struct client *k)
{
    struct smtp_rcpt rcpt = { .to.mailbox = SLICE_LIT("to@bench.example") };
    smtp_client_rcpt(outbound_client(k->session), &rcpt, loop_now_ms(k->load->loop));
}

static void say_data(struct client *k)
{
    smtp_client_data(outbound_client(k->session), loop_now_ms(k->load->loop));
}

static void begin_envelope(struct client *k)
{
    k->sent = 0;
    say_mail(k);
    if (k->load->options.is_pipelined) {
        say_rcpt(k);
        say_data(k);
    }
    outbound_poll(k->session);
}

/* --- one after the other ---------------------------------------------------------------------- */

static bool has_more(const struct load *l)
{
    uint64_t limit = l->options.milliseconds * 1000000U;
    return l->started < l->options.messages && (limit == 0 || now_ns() - l->began_ns < limit);
}

static void end_client(struct client *k)
{
    struct load *l = k->load;
    if (k->session)
        outbound_free(k->session);
    k->session = NULL;
    if (--l->busy > 0)
        return;
    l->ended_ns = now_ns();
    loop_stop(l->loop);
}

static void begin_message(struct client *k)
{
    struct load *l = k->load;
    if (!has_more(l)) {
        end_client(k);
        return;
    }
    l->started++;
    k->began_ns = now_ns();
    if (k->session) {
        begin_envelope(k);
        return;
    }
    k->session = outbound_new(l->loop, l->setup, 0, 0, &session_events, k);
    if (!k->session)
        die("cannot make a session", "out of memory");
}

static void end_message(struct client *k)
{
    if (!samples_add(&k->load->samples, now_ns() - k->began_ns))
        die("cannot keep a sample", "out of memory");
    if (k->load->options.is_per_message) {
        outbound_free(k->session);
        k->session = NULL;
    }
    begin_message(k);
}

static void on_ready(void *user, struct outbound *o)
{
    (void)o;
    begin_envelope(user);
}

static void on_reply(void *user, struct outbound *o, enum smtp_client_command command,
    const struct smtp_reply *reply)
{
    struct client *k = user;
    bool is_lockstep = !k->load->options.is_pipelined;
    bool is_go_ahead = command == SMTP_CLIENT_DATA && reply->code == 354;
    if (smtp_reply_class(reply) != 2 && !is_go_ahead)
        die("a message was refused", slice_dup(buf_slice(&reply->text)));
    if (command == SMTP_CLIENT_MESSAGE) {
        end_message(k);
    } else if (command == SMTP_CLIENT_DATA) {
        give_text(k);
    } else if (command == SMTP_CLIENT_MAIL && is_lockstep) {
        say_rcpt(k);
        outbound_flush(o);
    } else if (command == SMTP_CLIENT_RCPT && is_lockstep) {
        say_data(k);
        outbound_poll(o);
    }
}

static void on_drain(void *user, struct outbound *o)
{
    (void)o;
    give_text(user);
}

static void on_lost(
    void *user, struct outbound *o, const struct err *why, const struct smtp_reply *reply)
{
    (void)user;
    (void)o;
    (void)reply;
    die("a session was lost", why->text);
}

static const struct outbound_events session_events = {
    .on_ready = on_ready,
    .on_reply = on_reply,
    .on_drain = on_drain,
    .on_lost = on_lost,
};

/* --- the run ---------------------------------------------------------------------------------- */

static bool make_text(struct buf *text, size_t size)
{
    static const char head[] =
        "From: load@corp.example\r\nTo: to@bench.example\r\nSubject: load\r\n"
        "Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n"
        "Message-ID: <load@bench.example>\r\n\r\n";
    buf_init(text, size + sizeof head + LINE);
    bool fits = buf_add_str(text, head);
    while (fits && text->len + 2 < size) {
        size_t left = size - text->len, n = left < LINE ? left : LINE;
        for (size_t i = 0; fits && i + 2 < n; i++)
            fits = buf_add_char(text, (char)('a' + (text->len + i) % 26));
        fits = fits && buf_add_str(text, "\r\n");
    }
    return fits;
}

static double cpu_seconds(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void print_result(struct load *l, double cpu)
{
    samples_sort(&l->samples);
    printf("{\"messages\": %zu, \"seconds\": %.6f, \"p50_ms\": %.4f, \"p99_ms\": %.4f, "
           "\"cpu_seconds\": %.6f}\n",
        l->samples.count, (double)(l->ended_ns - l->began_ns) / 1e9,
        samples_quantile(&l->samples, 0.50) / 1e6, samples_quantile(&l->samples, 0.99) / 1e6, cpu);
}

static void run(struct load *l)
{
    double cpu = cpu_seconds();
    l->began_ns = now_ns();
    l->busy = l->options.clients;
    for (unsigned long i = 0; i < l->options.clients; i++) {
        l->clients[i].load = l;
        begin_message(&l->clients[i]);
    }
    loop_run(l->loop);
    print_result(l, cpu_seconds() - cpu);
}

static void prepare(struct load *l)
{
    struct log_params log = { .target = "stderr", .level = LOG_LEVEL_ERROR };
    struct buf problems;
    struct err e;
    buf_init(&problems, PROBLEMS_MAX);
    l->setup = setup_load(l->options.config, &problems);
    if (!l->setup)
        die(l->options.config, buf_cstr(&problems));
    buf_fini(&problems);
    l->clients = calloc(l->options.clients, sizeof *l->clients);
    if (!l->clients || !make_text(&l->text, l->options.size))
        die("cannot begin", "out of memory");
    if (!log_open(&log, &e) || !loop_new(&l->loop, &e))
        die("cannot begin", e.text);
}

static void finish(struct load *l)
{
    loop_free(l->loop);
    setup_unref(l->setup);
    samples_fini(&l->samples);
    buf_fini(&l->text);
    free(l->clients);
    log_close();
}

/* --- the command line ------------------------------------------------------------------------- */

static unsigned long read_number(const char *name, const char *text)
{
    unsigned long long n;
    if (!slice_to_u64(slice_str(text), &n)) {
        fprintf(stderr, "submitd-load: --%s: '%s' is not a number\n", name, text);
        exit(EXIT_USAGE);
    }
    return (unsigned long)n;
}

static void read_options(int argc, char **argv, struct options *o)
{
    const struct option rows[] = {
        { "config", required_argument, NULL, 'f' },
        { "clients", required_argument, NULL, 'c' },
        { "size", required_argument, NULL, 's' },
        { "messages", required_argument, NULL, 'm' },
        { "milliseconds", required_argument, NULL, 't' },
        { "per-message", no_argument, &o->is_per_message, 1 },
        { "pipelined", no_argument, &o->is_pipelined, 1 },
        { NULL, 0, NULL, 0 },
    };
    unsigned long *const numbers[] = {
        ['c'] = &o->clients, ['s'] = &o->size, ['m'] = &o->messages, ['t'] = &o->milliseconds
    };
    int val, at;
    while ((val = getopt_long(argc, argv, "", rows, &at)) != -1) {
        if (val == 'f')
            o->config = optarg;
        else if (val != 0 && val != '?')
            *numbers[val] = read_number(rows[at].name, optarg);
        else if (val == '?')
            exit(EXIT_USAGE);
    }
    if (!o->config || o->clients == 0 || optind < argc) {
        fprintf(stderr,
            "usage: submitd-load --config FILE [--clients N] [--size OCTETS] [--messages N]\n"
            "                    [--milliseconds N] [--per-message] [--pipelined]\n");
        exit(EXIT_USAGE);
    }
}

int main(int argc, char **argv)
{
    struct load l = { .options = { .clients = 1, .size = 4096, .messages = 1000 } };
    platform_keep_memory();
    read_options(argc, argv, &l.options);
    prepare(&l);
    run(&l);
    finish(&l);
    return EXIT_SUCCESS;
}
