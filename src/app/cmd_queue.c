/* submitd queue: what waits in the spool, for people and for scripts; beside a daemon or without.
 */
#include "app/app.h"
#include "app/queue_print.h"
#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    PROBLEMS_MAX = 256 * 1024,
    OUT_MAX =
        64 * 1024 * 1024, /* octets that one message is shown in: it may have many recipients */
    STATE_COUNT = STORE_FAILED + 1,
};

struct pause {
    char *login; /* all accounts with this user name have it */
    int64_t until;
};

struct queue {
    const struct app_options *options;
    const struct config *config;
    const char *path; /* of its spool */
    struct store *store;
    const char *id; /* NULL: all */
    int64_t now;
    struct buf out;             /* what is printed next */
    size_t counts[STATE_COUNT]; /* list */
    bool has_uncertain;         /* list */
    bool is_broken;             /* memory ran out */
    struct pause *pauses;       /* JSON: accounts whose logins are paused */
    size_t pause_count;
};

struct queue_command;
typedef int queue_fn(struct queue *q, const struct queue_command *c);
typedef bool queue_change_fn(
    struct store *s, const char *id, int64_t now, size_t *ret_count, struct err *e);

struct queue_command {
    const char *name;
    const char *operand; /* NULL: none; "ID" or "ID|all" */
    const char *options; /* the getopt letters it takes */
    queue_fn *run;
    queue_change_fn *change;
    enum store_state wanted; /* a message in this state needs no change */
    const char *done;        /* "message ID" or "3 messages", and this */
};

static int fail(const char *why)
{
    fprintf(stderr, "submitd queue: %s\n", why);
    return APP_NOT_FINE;
}

/* Prints what `out` holds. */
static void flush(struct queue *q)
{
    struct slice text = buf_slice(&q->out);
    q->is_broken = q->is_broken || q->out.failed;
    if (text.n > 0)
        fwrite(text.p, 1, text.n, stdout);
    buf_clear(&q->out);
}

/* NULL: it said why not. */
static struct store_message *find(struct queue *q)
{
    struct store_message *m = NULL;
    struct err why = { .kind = ERR_NONE };
    if (store_find(q->store, q->id, &m, &why))
        return m;
    if (why.kind != ERR_NONE)
        fail(why.text);
    else
        fprintf(stderr, "submitd queue: there is no message '%s' in '%s'\n", q->id, q->path);
    return NULL;
}

/* ---- paused logins, for JSON ------------------------------------------------------------------
 */

static void add_pause(void *user, const struct store_notice *notice)
{
    struct queue *q = user;
    struct pause *more = realloc(q->pauses, (q->pause_count + 1) * sizeof *more);
    char *login = str_dup(notice->login);
    if (more)
        q->pauses = more;
    if (more && login)
        more[q->pause_count++] = (struct pause){ .login = login, .until = notice->until };
    else
        free(login);
    q->is_broken = q->is_broken || !more || !login;
}

static bool take_pauses(struct queue *q, struct err *e)
{
    return !q->options->is_json || store_notice_each(q->store, add_pause, q, e);
}

static void free_pauses(struct queue *q)
{
    for (size_t i = 0; i < q->pause_count; i++)
        free(q->pauses[i].login);
    free(q->pauses);
}

/* "": the configuration has no such account. */
static const char *login_of(const struct config *c, const char *account)
{
    for (size_t i = 0; i < c->account_count; i++) {
        if (strcmp(c->accounts[i].name, account) == 0)
            return c->accounts[i].username;
    }
    return "";
}

static void add_json(struct queue *q, const struct store_message *m)
{
    int64_t until = 0;
    struct slice login = slice_str(login_of(q->config, m->account));
    for (size_t i = 0; i < q->pause_count; i++) {
        const struct pause *p = &q->pauses[i];
        if (p->until > until && slice_eq_nocase(slice_str(p->login), login))
            until = p->until;
    }
    q->is_broken = !queue_add_json(&q->out, m, q->now, until) || q->is_broken;
}

/* ---- list ------------------------------------------------------------------------------------ */

static size_t total(const struct queue *q)
{
    size_t n = 0;
    for (size_t i = 0; i < STATE_COUNT; i++)
        n += q->counts[i];
    return n;
}

static bool list_one(void *user, const struct store_message *m)
{
    struct queue *q = user;
    if (q->options->is_json) {
        buf_add_str(&q->out, total(q) > 0 ? ",\n" : "\n");
        add_json(q, m);
    } else {
        if (total(q) == 0)
            queue_add_heading(&q->out);
        queue_add_row(&q->out, m, q->now);
    }
    q->counts[(size_t)m->state < STATE_COUNT ? m->state : STORE_HELD]++;
    q->has_uncertain = q->has_uncertain || m->is_uncertain;
    flush(q);
    return !q->is_broken && !ferror(stdout);
}

static void print_total(const struct queue *q)
{
    size_t n = total(q);
    if (n == 0) {
        printf("nothing waits in '%s'\n", q->path);
        return;
    }
    printf("\n%zu message%s: ", n, n == 1 ? "" : "s");
    for (size_t i = 0; i < STATE_COUNT; i++)
        printf("%s%zu %s", i > 0 ? ", " : "", q->counts[i], queue_state_name((enum store_state)i));
    printf("\n");
    if (q->has_uncertain)
        printf("* uncertain: a connection ended before the reply, the message may have arrived\n");
}

static void list_notice(void *user, const struct store_notice *notice)
{
    struct queue *q = user;
    queue_add_notice(&q->out, notice, q->now);
    flush(q);
}

static int list(struct queue *q, const struct queue_command *c)
{
    (void)c;
    struct err why = { .kind = ERR_NONE };
    if (q->options->is_json)
        printf("[");
    else if (!store_notice_each(q->store, list_notice, q, &why))
        return fail(why.text);
    if (!store_each(q->store, list_one, q, &why))
        return fail(why.text);
    if (q->options->is_json)
        printf("\n]\n");
    else
        print_total(q);
    return APP_FINE;
}

/* ---- show ------------------------------------------------------------------------------------ */

/* On a terminal the message's bytes must not act on it: whole lines are made printable. */
static bool print_for_terminal(void *user, struct slice text)
{
    struct queue *q = user;
    while (text.n > 0) {
        const char *lf = memchr(text.p, '\n', text.n);
        size_t n = lf ? (size_t)(lf - text.p) : text.n;
        buf_add(&q->out, text.p, n);
        text = slice_skip(text, lf ? n + 1 : n);
        if (!lf)
            break;
        struct slice line = buf_slice(&q->out);
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        struct buf shown;
        buf_init(&shown, OUT_MAX);
        str_add_printable(&shown, line);
        q->is_broken = q->is_broken || shown.failed || q->out.failed;
        puts(buf_cstr(&shown));
        buf_fini(&shown);
        buf_clear(&q->out);
    }
    return !q->is_broken && !ferror(stdout);
}

static bool print_bytes(void *user, struct slice text)
{
    (void)user;
    return fwrite(text.p, 1, text.n, stdout) == text.n;
}

static int show_body(struct queue *q, const struct store_message *m)
{
    struct err why = { .kind = ERR_NONE };
    bool is_terminal = isatty(STDOUT_FILENO);
    bool is_read = store_body_each(
        q->store, m->number, is_terminal ? print_for_terminal : print_bytes, q, &why);
    if (q->out.len > 0) /* a last line without its end */
        print_for_terminal(q, SLICE_LIT("\n"));
    return is_read ? APP_FINE : fail(why.text);
}

static int show(struct queue *q, const struct queue_command *c)
{
    (void)c;
    if (q->options->is_json && q->options->is_message) {
        fail("show takes --json or --message, not both");
        return APP_USAGE;
    }
    struct store_message *m = find(q);
    if (!m)
        return APP_NOT_FINE;
    int status = APP_FINE;
    if (q->options->is_message) {
        status = show_body(q, m);
    } else if (q->options->is_json) {
        add_json(q, m);
        buf_add_char(&q->out, '\n');
    } else {
        queue_add_page(&q->out, m, q->now);
    }
    store_message_free(m);
    flush(q);
    return status;
}

/* ---- retry, hold, release, cancel ------------------------------------------------------------ */

/* Nothing was changed: because there is no such message, or because of its state. */
static int explain_unchanged(struct queue *q, const struct queue_command *c)
{
    struct store_message *m = find(q);
    if (!m)
        return APP_NOT_FINE;
    bool is_so_already = m->state == c->wanted;
    if (is_so_already)
        printf("message %s was %s already\n", q->id, queue_state_name(m->state));
    else
        fprintf(stderr, "submitd queue: cannot %s message '%s': its state is %s\n", c->name, q->id,
            queue_state_name(m->state));
    store_message_free(m);
    return is_so_already ? APP_FINE : APP_NOT_FINE;
}

static int change(struct queue *q, const struct queue_command *c)
{
    size_t count = 0;
    struct err why = { .kind = ERR_NONE };
    if (!c->change(q->store, q->id, q->now, &count, &why) && why.kind != ERR_NONE)
        return fail(why.text);
    if (!q->id)
        printf("%zu message%s %s\n", count, count == 1 ? "" : "s", c->done);
    else if (count == 0)
        return explain_unchanged(q, c);
    else
        printf("message %s %s\n", q->id, c->done);
    return APP_FINE;
}

static bool hold(struct store *s, const char *id, int64_t now, size_t *ret_count, struct err *e)
{
    (void)now;
    return store_hold(s, id, ret_count, e);
}

static bool cancel(struct store *s, const char *id, int64_t now, size_t *ret_count, struct err *e)
{
    (void)now;
    return store_cancel(s, id, ret_count, e);
}

static const struct queue_command commands[] = {
    { .name = "list", .operand = NULL, .options = "j", .run = list },
    { .name = "show", .operand = "ID", .options = "jm", .run = show },
    { .name = "retry",
        .operand = "ID|all",
        .options = "",
        .run = change,
        .change = store_retry,
        .wanted = STORE_QUEUED,
        .done = "to be tried at once" },
    { .name = "hold",
        .operand = "ID|all",
        .options = "",
        .run = change,
        .change = hold,
        .wanted = STORE_HELD,
        .done = "held" },
    { .name = "release",
        .operand = "ID|all",
        .options = "",
        .run = change,
        .change = store_release,
        .wanted = STORE_QUEUED,
        .done = "released" },
    { .name = "cancel",
        .operand = "ID|all",
        .options = "",
        .run = change,
        .change = cancel,
        .wanted = (enum store_state)STATE_COUNT, /* none: what is there can be cancelled */
        .done = "cancelled" },
};

/* ---- The command line ------------------------------------------------------------------------ */

static int complain(const char *what, const char *about)
{
    fprintf(stderr, "submitd queue: %s%s (see submitd --help)\n", what, about);
    return APP_USAGE;
}

static const struct queue_command *find_command(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

/* APP_FINE: this may run. */
static int check_usage(const struct queue_command *c, const struct app_options *o)
{
    if (o->is_json && !strchr(c->options, 'j'))
        return complain("--json is not for ", c->name);
    if (o->is_message && !strchr(c->options, 'm'))
        return complain("--message is not for ", c->name);
    if (!c->operand && o->operand_count > 1)
        return complain("unexpected argument: ", o->operands[1]);
    if (c->operand && o->operand_count < 2) {
        fprintf(stderr, "submitd queue: %s needs %s\n", c->name, c->operand);
        return APP_USAGE;
    }
    return APP_FINE;
}

/* What the configuration warns of is `submitd check`'s business; only errors are shown. */
static struct config *load(const char *file)
{
    struct buf problems;
    buf_init(&problems, PROBLEMS_MAX);
    struct config *c = config_load(file, &problems);
    if (!c)
        fputs(buf_cstr(&problems), stderr);
    buf_fini(&problems);
    return c;
}

static int run(
    const struct queue_command *c, const struct app_options *o, const struct config *config)
{
    bool is_all = c->operand && strcmp(c->operand, "ID") != 0 && strcmp(o->operands[1], "all") == 0;
    struct queue q = { .options = o,
        .config = config,
        .path = config->delivery.spool,
        .id = c->operand && !is_all ? o->operands[1] : NULL,
        .now = time(NULL) };
    struct err why = { .kind = ERR_NONE };
    if (!store_open_shared(q.path, &q.store, &why))
        return fail(why.text);
    buf_init(&q.out, OUT_MAX);
    int status = take_pauses(&q, &why) ? c->run(&q, c) : fail(why.text);
    flush(&q);
    buf_fini(&q.out);
    free_pauses(&q);
    store_close(q.store);
    if (q.is_broken)
        return fail("out of memory");
    if (fflush(stdout) != 0 || ferror(stdout))
        return fail("the output cannot be written");
    return status;
}

int app_queue(const struct app_options *options)
{
    const char *name = options->operand_count > 0 ? options->operands[0] : NULL;
    const struct queue_command *c = name ? find_command(name) : NULL;
    if (!c)
        return complain(
            name ? "there is no command: queue " : "what is to be done?", name ? name : "");
    int status = check_usage(c, options);
    if (status != APP_FINE)
        return status;
    struct config *config = load(options->config);
    if (!config)
        return APP_USAGE;
    status = config->delivery.spool[0] != '\0'
                 ? run(c, options, config)
                 : complain("the configuration names no spool: ", options->config);
    config_unref(config);
    return status;
}
