/*
 * submitd doctor: the way to Exchange, one line per step, for each account and host; a failure
 * comes with its remedy. A host that cannot be used is told of once, and the next one is walked;
 * any other failure ends it, because each refused login counts towards a lockout. It uses the same
 * session code as the daemon, so what it shows is what happens.
 */
#include "app/app.h"
#include "app/doctor_advice.h"
#include "app/queue_print.h"
#include "base/str.h"
#include "ops/log.h"
#include "platform/platform.h"
#include "relay/outbound.h"
#include "smtp/header.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    LINE_MAX_OCTETS = SMTP_REPLY_MAX + 64,
    SECONDS_PER_DAY = 24 * 60 * 60,
    EXPIRY_WARNING_DAYS = 30,
    NOTICE_MAX = 64 * 1024,
};

struct doctor {
    const struct app_options *options;
    struct loop *loop;
    struct setup *setup;
    struct outbound *session;
    const char *next;     /* the step that is tried now */
    size_t host;          /* it is tried at */
    size_t account;       /* with this one */
    bool *is_paused;      /* per account: a login now could lock it */
    bool *was_refused;    /* per account: with the same username and password, one more pauses it */
    bool has_begun_login; /* at this host: the credential may have been shown */
    bool is_broken[CONFIG_HOSTS_MAX]; /* this host got no account to its login */
    bool has_failed;
    bool is_over; /* nothing more is tried */
};

static void print_ok(const char *step, const char *detail)
{
    printf("ok    %-10s %s\n", step, detail);
}

static void stop(struct doctor *d)
{
    outbound_free(d->session);
    d->session = NULL;
    loop_stop(d->loop);
}

static void print_failure(struct doctor *d, const char *step, enum err_kind kind, const char *text)
{
    printf("FAIL  %-10s %s\n      %-10s %s\n", step, text, "remedy:", doctor_advice(kind, text));
    d->has_failed = true;
}

/* --- the session's steps --- */

static const char *const next_steps[] = {
    [OUTBOUND_RESOLVED] = "tcp",
    [OUTBOUND_CONNECTED] = "banner",
    [OUTBOUND_BANNER] = "ehlo",
    [OUTBOUND_HELLO] = "tls",
    [OUTBOUND_SECURED] = "ehlo_tls",
    [OUTBOUND_HELLO_SECURED] = "mechanism",
    [OUTBOUND_MECHANISM] = "login",
    [OUTBOUND_LOGIN] = "ready",
};

static void print_certificate(struct outbound *o)
{
    struct tls_facts facts;
    tls_facts(outbound_tls(o), &facts);
    char when[32], line[256];
    time_t not_after = (time_t)facts.not_after;
    struct tm tm;
    gmtime_r(&not_after, &tm);
    strftime(when, sizeof when, "%Y-%m-%d", &tm);
    long long days = ((long long)facts.not_after - (long long)time(NULL)) / SECONDS_PER_DAY;
    snprintf(line, sizeof line, "valid until %s (%lld days)%s", when, days,
        days < EXPIRY_WARNING_DAYS ? ": renew it soon" : "");
    print_ok("expiry", line);
    print_ok("pin", facts.pin);
    struct buf binding;
    buf_init(&binding, 256);
    bool has_binding = tls_channel_binding(outbound_tls(o), &binding);
    print_ok("binding", has_binding ? "tls-server-end-point is available for Extended Protection"
                                    : "none: this certificate's signature has no hash for it");
    buf_fini(&binding);
}

static void on_step(void *user, struct outbound *o, enum outbound_step step, const char *detail)
{
    struct doctor *d = user;
    print_ok(outbound_step_name(step), detail);
    if (step == OUTBOUND_SECURED)
        print_certificate(o);
    d->next = next_steps[step];
    if (step != OUTBOUND_MECHANISM)
        return;
    if (d->is_paused[d->account] && !d->options->is_login) {
        print_failure(d, "login", ERR_AUTH,
            "not tried: logins of this account were refused, with the same username and password");
        stop(d);
    } else {
        d->has_begun_login = true;
    }
}

/* The step that a failure belongs to, when it is not simply the next one. */
static const char *step_of(const struct doctor *d, const struct err *why)
{
    switch (why->kind) {
    case ERR_DNS:
        return "dns";
    case ERR_CONNECT:
        return "tcp";
    case ERR_TLS:
        return "tls";
    case ERR_NONE:
    case ERR_CONFIG:
    case ERR_MEMORY:
    case ERR_LIMIT:
    case ERR_LOST:
    case ERR_TIMEOUT:
    case ERR_PROTO:
    case ERR_REFUSED:
    case ERR_AUTH:
    case ERR_IO:
        break;
    }
    return d->next;
}

/* Then the next host can be walked without risk, and may do better. */
static bool is_about_host(const struct doctor *d, const struct err *why)
{
    return !d->has_begun_login && why->kind != ERR_AUTH && why->kind != ERR_CONFIG &&
           why->kind != ERR_MEMORY;
}

/* For the next run of doctor, and the next start of the daemon: the directory counts this one, too.
 */
static void note_refusal(const struct doctor *d, const struct err *why)
{
    const struct config *c = d->setup->config;
    struct store *store = NULL;
    int64_t cooldown_s = (int64_t)(c->upstream.breaker_cooldown_ms / 1000);
    const struct store_notice notice = {
        .account = c->accounts[d->account].name,
        .login = c->accounts[d->account].username,
        .until = (int64_t)time(NULL) + (d->was_refused[d->account] ? cooldown_s : 0),
        .text = why->text,
        .mark = (int64_t)d->setup->marks[d->account],
    };
    if (!c->delivery.spool[0] || !store_open_shared(c->delivery.spool, &store, NULL))
        return;
    store_notice_put(store, &notice, NULL);
    store_close(store);
}

static void on_lost(
    void *user, struct outbound *o, const struct err *why, const struct smtp_reply *reply)
{
    (void)reply;
    struct doctor *d = user;
    if (outbound_login_was_refused(o))
        note_refusal(d, why);
    if (why->kind == ERR_TLS && outbound_tls(o)) {
        struct tls_facts facts;
        tls_facts(outbound_tls(o), &facts);
        if (facts.subject[0])
            printf("      %-10s of %s for %s, issued by %s, %s\n", "cert", facts.subject,
                facts.names, facts.issuer, facts.pin);
    }
    print_failure(d, step_of(d, why), why->kind, why->text);
    d->is_broken[d->host] = is_about_host(d, why);
    d->is_over = !d->is_broken[d->host];
    stop(d);
}

/* --- after the login --- */

static void print_size(struct doctor *d)
{
    const struct smtp_caps *caps = smtp_client_caps(outbound_client(d->session));
    char line[128];
    if (caps->size > 0)
        snprintf(line, sizeof line, "%llu octets (%llu MB)", (unsigned long long)caps->size,
            (unsigned long long)caps->size / 1024 / 1024);
    else
        snprintf(line, sizeof line, "no limit announced");
    print_ok("size", line);
}

static void ask_sender(struct doctor *d)
{
    struct smtp_mail mail = { .from.mailbox = slice_str(d->options->from) };
    d->next = "from";
    smtp_client_mail(outbound_client(d->session), &mail, loop_now_ms(d->loop));
    outbound_flush(d->session);
}

static void on_ready(void *user, struct outbound *o)
{
    (void)o;
    struct doctor *d = user;
    d->has_begun_login = true;
    if (outbound_dropped_binding(d->session))
        print_ok("note",
            "the login went without channel binding: the challenge has no target information");
    print_size(d);
    if (d->options->from)
        ask_sender(d);
    else
        stop(d);
}

static void send_text(struct doctor *d)
{
    struct buf text;
    buf_init(&text, 4096);
    buf_addf(&text, "From: <%s>\r\nTo: <%s>\r\nSubject: submitd doctor\r\nDate: ", d->options->from,
        d->options->to);
    smtp_date_add(&text, loop_wall_s(d->loop));
    buf_addf(&text,
        "\r\nMessage-ID: <doctor-%lld-%zu@%s>\r\n\r\n"
        "submitd on %s can send mail as this sender through %s.\r\n",
        (long long)loop_wall_s(d->loop), d->host, d->setup->hostname, d->setup->hostname,
        outbound_host(d->session));
    uint64_t now = loop_now_ms(d->loop);
    smtp_client_body(outbound_client(d->session), buf_slice(&text), now);
    smtp_client_body_end(outbound_client(d->session), now);
    buf_fini(&text);
    d->next = "message";
}

/* What follows a reply that was fine. */
static void go_on(struct doctor *d, enum smtp_client_command command)
{
    uint64_t now = loop_now_ms(d->loop);
    struct smtp_rcpt rcpt = { .to.mailbox = slice_str(d->options->to) };
    if (command == SMTP_CLIENT_MAIL && d->options->to) {
        d->next = "to";
        smtp_client_rcpt(outbound_client(d->session), &rcpt, now);
    } else if (command == SMTP_CLIENT_RCPT) {
        smtp_client_data(outbound_client(d->session), now);
    } else if (command == SMTP_CLIENT_DATA) {
        send_text(d);
    } else {
        stop(d);
        return;
    }
    outbound_poll(d->session);
}

static void on_reply(void *user, struct outbound *o, enum smtp_client_command command,
    const struct smtp_reply *reply)
{
    (void)o;
    struct doctor *d = user;
    struct buf words;
    buf_init(&words, LINE_MAX_OCTETS);
    smtp_reply_add_oneline(reply, &words);
    bool is_fine = smtp_reply_class(reply) == 2 || reply->code == 354;
    if (!is_fine) {
        print_failure(d, d->next, ERR_REFUSED, buf_cstr(&words));
        d->is_over = true;
        stop(d);
    } else {
        if (command != SMTP_CLIENT_DATA)
            print_ok(d->next, buf_cstr(&words));
        go_on(d, command);
    }
    buf_fini(&words);
}

static const struct outbound_events events = {
    .on_ready = on_ready,
    .on_reply = on_reply,
    .on_lost = on_lost,
    .on_step = on_step,
};

/* --- the command --- */

static const char *account_name(const struct setup *s, size_t i)
{
    const char *name = s->nameless ? "" : s->config->accounts[i].name;
    return name[0] ? name : "default";
}

static void examine_host(struct doctor *d, size_t host, size_t account)
{
    const struct config_upstream *up = &d->setup->config->upstream;
    if (up->host.count > 1)
        printf("host %s, port %u\n", up->host.items[host].name,
            (unsigned)config_host_port(up, &up->host.items[host]));
    d->next = "dns";
    d->host = host;
    d->account = account;
    d->has_begun_login = false;
    d->session = outbound_new(d->loop, d->setup, host, account, &events, d);
    if (d->session)
        loop_run(d->loop);
    else
        print_failure(d, "dns", ERR_MEMORY, "out of memory");
    fflush(stdout);
}

static void examine(struct doctor *d, size_t account)
{
    printf("account %s\n", account_name(d->setup, account));
    for (size_t i = 0; i < d->setup->config->upstream.host.count && !d->is_over; i++) {
        if (!d->is_broken[i])
            examine_host(d, i, account);
    }
}

static bool has_host_left(const struct doctor *d)
{
    for (size_t i = 0; i < d->setup->config->upstream.host.count; i++) {
        if (!d->is_broken[i])
            return true;
    }
    return false;
}

static int examine_all(struct doctor *d)
{
    bool was_found = false;
    for (size_t i = 0; i < d->setup->account_count && !d->is_over && has_host_left(d); i++) {
        if (d->options->account && strcmp(d->options->account, account_name(d->setup, i)) != 0)
            continue;
        was_found = true;
        examine(d, i);
    }
    if (!was_found) {
        fprintf(stderr, "submitd doctor: there is no account '%s'\n", d->options->account);
        return APP_USAGE;
    }
    return d->has_failed ? APP_NOT_FINE : APP_FINE;
}

/* --- what the spool says --- */

/* True when nothing speaks for another outcome than before. */
static bool mark_accounts(struct doctor *d, const struct store_notice *notice, int64_t now)
{
    bool is_same = setup_has_login_of(d->setup, notice->login, (uint64_t)notice->mark);
    bool is_running =
        breaker_pause_counts(notice->until - now, d->setup->config->upstream.breaker_cooldown_ms);
    for (size_t i = 0; is_same && i < d->setup->account_count; i++) {
        if (!setup_is_login(d->setup, i, notice->login))
            continue;
        d->was_refused[i] = true;
        d->is_paused[i] = d->is_paused[i] || is_running;
    }
    return is_same && is_running;
}

static void take_notice(void *user, const struct store_notice *notice)
{
    struct doctor *d = user;
    struct buf out;
    int64_t now = (int64_t)time(NULL);
    bool is_tried = !mark_accounts(d, notice, now) || d->options->is_login;
    buf_init(&out, NOTICE_MAX);
    queue_add_notice(&out, notice, now);
    printf("note  %s%s", buf_cstr(&out),
        is_tried ? "      the login that follows counts towards a lockout, too\n" : "");
    buf_fini(&out);
}

struct waiting {
    size_t count;
    int64_t since; /* the first that has a word with it */
    char *last_reply;
};

static bool count_waiting(void *user, const struct store_message *m)
{
    struct waiting *w = user;
    if (m->state != STORE_QUEUED)
        return true;
    w->count++;
    if (!w->last_reply && m->last_reply[0] != '\0') {
        w->last_reply = str_dup(m->last_reply);
        w->since = m->arrived;
    }
    return true;
}

/* Mail that waits is why people come here: the last word on the oldest, and what helps. */
static void print_waiting(struct store *store)
{
    struct waiting w = { .count = 0 };
    store_each(store, count_waiting, &w, NULL);
    if (w.last_reply) {
        struct buf out;
        buf_init(&out, NOTICE_MAX);
        const char *advice = doctor_advice_on_words(w.last_reply);
        queue_add_waiting(&out, w.count, (int64_t)time(NULL) - w.since, w.last_reply);
        printf("note  %s\n", buf_cstr(&out));
        if (advice)
            printf("      %-10s %s\n", "remedy:", advice);
        buf_fini(&out);
    }
    free(w.last_reply);
}

/* Before the first start there is none. */
static void look_into_spool(struct doctor *d)
{
    struct store *store = NULL;
    struct err why;
    const char *path = d->setup->config->delivery.spool;
    uint64_t unused = 0;
    if (!path[0] || (!store_open_shared(path, &store, &why) && !platform_mark_file(path, &unused)))
        return;
    if (!store) {
        printf(
            "note  %s\n      so what waits, and whether logins were refused, is not known here\n",
            why.text);
        return;
    }
    store_notice_each(store, take_notice, d, NULL);
    print_waiting(store);
    store_close(store);
}

/* --- the command --- */

static int run(struct doctor *d)
{
    struct err why = { .kind = ERR_MEMORY, .text = "out of memory" };
    int status = APP_NOT_FINE;
    d->is_paused = calloc(d->setup->account_count, sizeof *d->is_paused);
    d->was_refused = calloc(d->setup->account_count, sizeof *d->was_refused);
    if (d->is_paused && d->was_refused && loop_new(&d->loop, &why)) {
        look_into_spool(d);
        status = examine_all(d);
    } else {
        fprintf(stderr, "submitd doctor: %s\n", why.text);
    }
    free(d->is_paused);
    free(d->was_refused);
    loop_free(d->loop);
    return status;
}

int app_doctor(const struct app_options *options)
{
    if (options->to && !options->from) {
        fprintf(stderr, "submitd doctor: --to needs --from\n");
        return APP_USAGE;
    }
    struct setup *setup = app_load(options->config);
    if (!setup)
        return APP_USAGE;
    struct log_params quiet = { .target = "stderr", .level = LOG_LEVEL_ERROR };
    log_open(&quiet, NULL);
    struct doctor d = { .options = options, .setup = setup };
    int status = run(&d);
    setup_unref(setup);
    return status;
}
