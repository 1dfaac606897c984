#include "spool_harness.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* --- a store with a thread that waits for it --- */

enum { PATIENCE_S = 30 };

char folder[64], path[128];
struct store *store;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t has_woken = PTHREAD_COND_INITIALIZER;
static unsigned wakes;

void wake_test(void *user)
{
    (void)user;
    pthread_mutex_lock(&mutex);
    wakes++;
    pthread_cond_signal(&has_woken);
    pthread_mutex_unlock(&mutex);
}

void wait_for_wake(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&mutex);
    while (wakes == 0)
        cr_assert(pthread_cond_timedwait(&has_woken, &mutex, &until) == 0, "waited in vain");
    wakes = 0;
    pthread_mutex_unlock(&mutex);
}

void run_until(const bool *is_done)
{
    store_poll(store);
    while (!*is_done) {
        wait_for_wake();
        store_poll(store);
    }
}

void open_store(void)
{
    struct err e;
    const struct store_params params = { .path = path, .wake = wake_test };
    cr_assert(store_open(&params, &store, &e), "%s", e.text);
}

void close_store(void)
{
    store_close(store);
    store = NULL;
}

void reopen(void)
{
    close_store();
    open_store();
}

void make_folder(void)
{
    snprintf(folder, sizeof folder, "/tmp/test_store_XXXXXX");
    cr_assert(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/spool.db", folder);
}

static int remove_one(const char *name, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(name);
}

void begin_store(void)
{
    make_folder();
    open_store();
}

void end_store(void)
{
    store_close(store);
    umount2(folder, MNT_DETACH); /* some have a file system of their own there */
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

long long ask(const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *st = NULL;
    cr_assert(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    cr_assert(sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK, "%s", sqlite3_errmsg(db));
    long long value = sqlite3_step(st) == SQLITE_ROW ? sqlite3_column_int64(st, 0) : -1;
    sqlite3_finalize(st);
    sqlite3_close(db);
    return value;
}

void wait_until(const char *sql, long long most)
{
    for (int i = 0; ask(sql) > most; i++) {
        cr_assert(i < 600, "%s stays at %lld", sql, ask(sql));
        usleep(50000);
    }
}

/* --- messages --- */

static char *text(const char *s)
{
    return strdup(s);
}

struct store_message *make_message(const char *id, size_t rcpts)
{
    struct store_message *m = calloc(1, sizeof *m);
    *m = (struct store_message){
        .id = text(id),
        .account = text("work"),
        .client = { .len = 4, .bytes = { 192, 0, 2, 7 } },
        .helo = text("scanner.corp.example"),
        .sender = text("scan@corp.example"),
        .is_8bit = true,
        .ret = text("HDRS"),
        .envid = text("QQ314159"),
        .attempts = 0,
        .arrived = NOW,
        .next_try = NOW,
        .expires = NOW + 3 * DAY,
        .last_reply = text(""),
        .rcpts = calloc(rcpts ? rcpts : 1, sizeof *m->rcpts),
        .rcpt_count = rcpts,
    };
    for (size_t i = 0; i < rcpts; i++) {
        char mailbox[64];
        snprintf(mailbox, sizeof mailbox, "user%zu@corp.example", i);
        m->rcpts[i] = (struct store_rcpt){
            .mailbox = text(mailbox),
            .notify = text("NEVER"),
            .orcpt = text("rfc822;user@corp.example"),
            .reply = text(""),
        };
    }
    return m;
}

void set_text(char **field, const char *value)
{
    free(*field);
    *field = text(value);
}

void check_same(const struct store_message *have, const struct store_message *want)
{
    cr_assert_str_eq(have->id, want->id);
    cr_assert_str_eq(have->account, want->account);
    cr_assert_eq(have->client.len, want->client.len);
    cr_assert_arr_eq(have->client.bytes, want->client.bytes, want->client.len);
    cr_assert_str_eq(have->helo, want->helo);
    cr_assert_str_eq(have->sender, want->sender);
    cr_assert_eq(have->is_8bit, want->is_8bit);
    cr_assert_eq(have->is_smtputf8, want->is_smtputf8);
    cr_assert_str_eq(have->ret, want->ret);
    cr_assert_str_eq(have->envid, want->envid);
    cr_assert_eq(have->is_bounce, want->is_bounce);
    cr_assert_eq(have->is_uncertain, want->is_uncertain);
    cr_assert_eq(have->state, want->state);
    cr_assert_eq(have->attempts, want->attempts);
    cr_assert_eq(have->arrived, want->arrived);
    cr_assert_eq(have->next_try, want->next_try);
    cr_assert_eq(have->expires, want->expires);
    cr_assert_str_eq(have->last_reply, want->last_reply);
    cr_assert_eq(have->rcpt_count, want->rcpt_count);
    for (size_t i = 0; i < want->rcpt_count; i++) {
        const struct store_rcpt *a = &have->rcpts[i], *b = &want->rcpts[i];
        cr_assert_str_eq(a->mailbox, b->mailbox);
        cr_assert_str_eq(a->notify, b->notify);
        cr_assert_str_eq(a->orcpt, b->orcpt);
        cr_assert_eq(a->is_done, b->is_done);
        cr_assert_eq(a->is_refused, b->is_refused);
        cr_assert_str_eq(a->reply, b->reply);
    }
}

/* --- answers --- */

void on_done(void *user, const struct err *why)
{
    struct answer *a = user;
    cr_assert(!a->is_done, "told twice");
    a->is_done = true;
    a->has_failed = why != NULL;
    if (why)
        a->why = *why;
}

void check_done(struct answer *a)
{
    run_until(&a->is_done);
    cr_assert(!a->has_failed, "%s", a->why.text);
}

bool as_copy;

struct store_writer *write_body(struct slice body, size_t piece)
{
    struct store_writer *w = as_copy ? store_copy_new(store) : store_writer_new(store);
    for (size_t at = 0; at < body.n; at += piece) {
        size_t n = body.n - at < piece ? body.n - at : piece;
        store_writer_add(w, slice_of(body.p + at, n));
    }
    cr_assert_eq(store_writer_size(w), body.n);
    return w;
}

void commit_writer(const struct store_message *m, struct store_writer *w)
{
    struct answer a = { 0 };
    store_writer_commit(w, m, on_done, &a);
    check_done(&a);
}

void commit(const struct store_message *m, struct slice body)
{
    commit_writer(m, write_body(body, 70000));
}

void put(const char *id, const char *account, int64_t next_try)
{
    struct store_message *m = make_message(id, 1);
    set_text(&m->account, account);
    m->next_try = next_try;
    commit(m, SLICE_LIT("Subject: x\r\n\r\nbody\r\n"));
    store_message_free(m);
}

struct store_message *find(const char *id)
{
    struct store_message *m = NULL;
    struct err e = { 0 };
    if (store_find(store, id, &m, &e))
        return m;
    cr_assert_eq(e.kind, ERR_NONE, "%s", e.text);
    return NULL;
}

enum store_state state_of(const char *id)
{
    struct store_message *m = find(id);
    cr_assert(m, "%s is not there", id);
    enum store_state state = m->state;
    store_message_free(m);
    return state;
}

/* --- bodies --- */

char *make_body(size_t size, unsigned seed)
{
    char *body = malloc(size + 1);
    for (size_t i = 0; i < size; i++)
        body[i] = (char)(i * 31 + i / 251 + seed);
    return body;
}

static void on_chunk(void *user, struct slice piece, const struct err *why)
{
    struct chunk_answer *a = user;
    a->is_done = true;
    a->has_failed = why != NULL;
    if (why)
        a->why = *why;
    a->last = piece.n;
    buf_add_slice(&a->body, piece);
}

void read_next(struct chunk_answer *a, uint64_t number, uint64_t chunk)
{
    a->is_done = false;
    store_read_chunk(store, number, chunk, on_chunk, a);
    run_until(&a->is_done);
}

static bool add_text(void *user, struct slice piece)
{
    return buf_add_slice(user, piece);
}

void check_body(uint64_t number, struct slice want)
{
    struct chunk_answer a = { .last = 1 };
    buf_init(&a.body, want.n + 1);
    for (uint64_t chunk = 0; a.last > 0; chunk++) {
        read_next(&a, number, chunk);
        cr_assert(!a.has_failed, "%s", a.why.text);
    }
    cr_assert(slice_eq(buf_slice(&a.body), want));
    buf_clear(&a.body);
    struct err e;
    cr_assert(store_body_each(store, number, add_text, &a.body, &e), "%s", e.text);
    cr_assert(slice_eq(buf_slice(&a.body), want));
    buf_fini(&a.body);
}
