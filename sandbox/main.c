/* submitd-sandbox: an Exchange-like upstream to try submitd and to test it against. */
#include "net/listener.h"
#include "net/loop.h"
#include "platform/platform.h"
#include "sandbox/options.h"
#include "sandbox/session.h"

#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CERTIFICATE_DAYS = 365,
    PEM_MAX = 65536,
    EXIT_USAGE = 2,
};

#define DEFAULT_ACCOUNT "CORP:scanner:Sandbox-Pass1\n"

/* Everything that is made at start; sandbox is what the sessions see of it. */
struct app {
    struct options options;
    struct sandbox sandbox;
    struct accounts *accounts;
    struct listener *listener;
    struct ip_addr addr; /* where it listens */
    uint16_t port;
    char dir[256];
    char *ca; /* "" without TLS */
    char *mail;
    char *users;
};

/* --- the directory ------------------------------------------------------------------------- */

static bool make_dir(struct app *app, struct err *e)
{
    const char *wanted = app->options.dir;
    if (!wanted) {
        snprintf(app->dir, sizeof app->dir, "/tmp/submitd-sandbox-XXXXXX");
        return mkdtemp(app->dir) ||
               err_set(e, ERR_IO, "cannot make '%s': %s", app->dir, strerror(errno));
    }
    if (strlen(wanted) >= sizeof app->dir)
        return err_set(e, ERR_CONFIG, "--dir: longer than %zu bytes", sizeof app->dir - 1);
    snprintf(app->dir, sizeof app->dir, "%s", wanted);
    return mkdir(wanted, 0700) == 0 || errno == EEXIST ||
           err_set(e, ERR_CONFIG, "--dir: cannot make '%s': %s", wanted, strerror(errno));
}

/* Replaces the file at once, so that a reader never sees half of it. */
static bool write_file(const char *path, struct slice text, struct err *e)
{
    char *draft = str_format("%s.tmp", path);
    int fd = draft ? open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
    bool is_written = fd >= 0 && write(fd, text.p, text.n) == (ssize_t)text.n;
    is_written = fd >= 0 && close(fd) == 0 && is_written && rename(draft, path) == 0;
    if (!is_written)
        err_set(e, ERR_IO, "cannot write '%s': %s", path, strerror(errno));
    free(draft);
    return is_written;
}

static bool name_files(struct app *app, struct err *e)
{
    const struct options *o = &app->options;
    app->users = o->users ? str_dup(o->users) : str_format("%s/users", app->dir);
    app->mail = str_format("%s/mail", app->dir);
    app->ca = o->tls == OPTION_TLS_OFF ? str_dup("")
              : o->cert                ? str_dup(o->cert)
                                       : str_format("%s/ca.pem", app->dir);
    return (app->users && app->mail && app->ca) || err_set(e, ERR_MEMORY, "out of memory");
}

/* --- what sessions need -------------------------------------------------------------------- */

static bool make_identity(struct app *app, struct err *e)
{
    const struct options *o = &app->options;
    if (o->tls == OPTION_TLS_OFF)
        return true;
    if (o->cert)
        return tls_identity_load(o->cert, o->key, &app->sandbox.identity, e);
    struct buf pem;
    buf_init(&pem, PEM_MAX);
    bool is_made = tls_identity_make(o->names, loop_wall_s(app->sandbox.loop),
                       o->expired ? -1 : CERTIFICATE_DAYS, &app->sandbox.identity, &pem, e) &&
                   write_file(app->ca, buf_slice(&pem), e);
    buf_fini(&pem);
    return is_made;
}

/* "ntlm,login" becomes "NTLM LOGIN"; a name that is unknown is an error. */
static bool read_auth(struct app *app, struct err *e)
{
    struct slice rest = slice_str(app->options.auth);
    struct buf list;
    buf_init(&list, SMTP_AUTH_LIST_MAX);
    bool is_good = true;
    while (is_good && (rest = slice_trim(rest)).n > 0) {
        size_t n = 0;
        while (n < rest.n && !strchr(" ,", rest.p[n]))
            n++;
        struct slice mech = slice_of(rest.p, n);
        rest = slice_skip(rest, n < rest.n ? n + 1 : n);
        if (n > 0 && !login_mech_exists(mech))
            is_good = err_set(
                e, ERR_CONFIG, "--auth: '%.*s' is none of NTLM, LOGIN, PLAIN", SLICE_ARG(mech));
        else if (n > 0)
            is_good = buf_addf(&list, "%s%.*s", list.len > 0 ? " " : "", SLICE_ARG(mech)) ||
                      err_set(e, ERR_CONFIG, "--auth: too long");
    }
    struct sandbox *box = &app->sandbox;
    struct slice names = buf_slice(&list);
    for (size_t i = 0; i < names.n; i++)
        box->auth[i] =
            names.p[i] >= 'a' && names.p[i] <= 'z' ? (char)(names.p[i] - 'a' + 'A') : names.p[i];
    struct smtp_caps caps = { .set = SMTP_CAP_AUTH };
    memcpy(caps.auth, box->auth, sizeof caps.auth);
    box->has_ntlm = smtp_caps_have_mech(&caps, "NTLM");
    buf_fini(&list);
    return is_good;
}

static bool make_judges(struct app *app, struct err *e)
{
    const struct options *o = &app->options;
    struct sandbox *box = &app->sandbox;
    if (!o->users && !write_file(app->users, SLICE_LIT(DEFAULT_ACCOUNT), e))
        return false;
    if (!accounts_load(app->users, &o->mailbox, &app->accounts, e))
        return false;
    box->judges.accounts = app->accounts;
    if (o->no_auth || !box->has_ntlm)
        return true;
    return ntlm_acceptor_new(
        app->users, accounts_first(app->accounts)->domain, &box->judges.ntlm, e);
}

static bool make_limits(struct app *app, struct err *e)
{
    const struct options *o = &app->options;
    app->sandbox.limits = limits_new(&(struct limits_params){
        .sessions_max = o->sessions,
        .rate = o->rate,
        .rate_window_ms = o->rate_window,
        .users = accounts_count(app->accounts) + 1, /* and those who did not log in */
    });
    return app->sandbox.limits || err_set(e, ERR_MEMORY, "--rate: out of memory");
}

/* --- listening ----------------------------------------------------------------------------- */

static void on_accept(void *user, struct conn *conn)
{
    struct app *app = user;
    session_start(&app->sandbox, conn);
}

/* 127.0.0.1:2587 or [::1]:2587 */
static bool read_listen(const char *text, struct ip_addr *ret_addr, uint16_t *ret_port)
{
    const char *colon = strrchr(text, ':');
    unsigned long long port;
    if (!colon || !slice_to_u64(slice_str(colon + 1), &port) || port > UINT16_MAX)
        return false;
    struct slice host = slice_of(text, (size_t)(colon - text));
    if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = slice_of(host.p + 1, host.n - 2);
    *ret_port = (uint16_t)port;
    return ip_parse(host, ret_addr);
}

static bool check_listen(struct app *app, struct err *e)
{
    const struct options *o = &app->options;
    if (!read_listen(o->listen, &app->addr, &app->port))
        return err_set(e, ERR_CONFIG, "--listen: '%s' is not ADDRESS:PORT", o->listen);
    if (!o->any && !ip_is_loopback(&app->addr))
        return err_set(e, ERR_CONFIG, "--listen: '%s' is not loopback; --any allows it", o->listen);
    return true;
}

static void on_stop_signal(void *user, int signum)
{
    struct app *app = user;
    (void)signum;
    loop_stop(app->sandbox.loop);
}

static void on_count_signal(void *user, int signum)
{
    const struct app *app = user;
    (void)signum;
    store_print_counters(app->sandbox.store);
}

static bool take_signals(struct app *app, struct err *e)
{
    struct loop *loop = app->sandbox.loop;
    return loop_on_signal(loop, SIGTERM, on_stop_signal, app, e) &&
           loop_on_signal(loop, SIGINT, on_stop_signal, app, e) &&
           loop_on_signal(loop, SIGUSR1, on_count_signal, app, e);
}

/* --- start and end ------------------------------------------------------------------------- */

static bool start(struct app *app, struct err *e)
{
    struct sandbox *box = &app->sandbox;
    box->options = &app->options;
    list_init(&box->sessions);
    return check_listen(app, e) && read_auth(app, e) && make_dir(app, e) && name_files(app, e) &&
           loop_new(&box->loop, e) && make_identity(app, e) && make_judges(app, e) &&
           make_limits(app, e) &&
           store_new(app->options.discard ? NULL : app->mail, &box->store, e) &&
           take_signals(app, e) &&
           listener_new(box->loop, &app->addr, app->port, on_accept, app, &app->listener, e);
}

/* A value that a shell takes as it is meant; one with unusual characters goes between quotes. */
static void print_assignment(const char *name, const char *value)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./-";
    if (value[strspn(value, plain)] == '\0') {
        printf(" %s=%s", name, value);
        return;
    }
    printf(" %s='", name);
    for (; *value; value++)
        printf(*value == '\'' ? "'\\''" : "%c", *value);
    putchar('\'');
}

static void print_ready(const struct app *app)
{
    printf("PORT=%u", listener_port(app->listener));
    print_assignment("CA", app->ca);
    print_assignment("MAILDIR", app->options.discard ? "" : app->mail);
    print_assignment("USERS", app->users);
    putchar('\n');
    fflush(stdout);
    if (!app->options.users && !app->options.no_auth)
        fprintf(stderr, "submitd-sandbox: log in as DOMAIN:user:password %s", DEFAULT_ACCOUNT);
}

static void stop(struct app *app)
{
    struct sandbox *box = &app->sandbox;
    listener_free(app->listener);
    if (box->limits)
        sessions_close(box);
    if (box->loop)
        loop_free(box->loop);
    limits_free(box->limits);
    store_free(box->store);
    ntlm_acceptor_free(box->judges.ntlm);
    accounts_free(app->accounts);
    tls_identity_free(box->identity);
    free(app->ca);
    free(app->mail);
    free(app->users);
}

int main(int argc, char **argv)
{
    struct app app = { .dir = "" };
    struct err e;
    if (!options_parse(argc, argv, &app.options, &e)) {
        fprintf(stderr, "submitd-sandbox: %s\n", e.text);
        return EXIT_USAGE;
    }
    if (app.options.help) {
        options_print_help();
        return EXIT_SUCCESS;
    }
    platform_keep_memory(); /* its page faults would count for whoever is measured before it */
    bool is_started = start(&app, &e);
    if (is_started) {
        print_ready(&app);
        loop_run(app.sandbox.loop);
        store_print_counters(app.sandbox.store);
    } else {
        fprintf(stderr, "submitd-sandbox: %s\n", e.text);
    }
    stop(&app);
    return is_started ? EXIT_SUCCESS : EXIT_USAGE;
}
