/* The spool: what is kept, in which order, who sees it, and what survives. */
#include "spool_harness.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(store, .init = begin_store, .fini = end_store, .timeout = 120);
TestSuite(store_file, .init = make_folder, .fini = end_store, .timeout = 120);

struct list_answer {
    bool is_done;
    struct store_message **messages;
    size_t count;
};

static void on_list(
    void *user, struct store_message **messages, size_t count, const struct err *why)
{
    struct list_answer *a = user;
    cr_assert(!why, "%s", why ? why->text : "");
    *a = (struct list_answer){ .is_done = true, .messages = messages, .count = count };
}

static void free_list(struct list_answer *a)
{
    for (size_t i = 0; i < a->count; i++)
        store_message_free(a->messages[i]);
    free(a->messages);
    *a = (struct list_answer){ 0 };
}

static struct list_answer due(const char *account, int64_t now, size_t limit)
{
    struct list_answer a = { 0 };
    store_due(store, account, now, limit, NULL, 0, on_list, &a);
    run_until(&a.is_done);
    return a;
}

/* The ids in order, separated by blanks. */
static void check_ids(struct list_answer a, const char *want)
{
    char have[4096] = "";
    for (size_t i = 0; i < a.count; i++) {
        strcat(have, i ? " " : "");
        strcat(have, a.messages[i]->id);
    }
    cr_assert_str_eq(have, want);
    free_list(&a);
}

/* --- taking in --- */

Test(store, keeps_every_field)
{
    struct store_message *m = make_message("full", 3);
    m->is_smtputf8 = m->is_bounce = m->is_uncertain = true;
    m->client = (struct ip_addr){ .len = 16, .bytes = { 0x20, 1, [15] = 9 } };
    m->state = STORE_HELD;
    m->attempts = 7;
    set_text(&m->last_reply, "451 4.7.0 \xc3\xbc later");
    m->rcpts[1].is_done = m->rcpts[1].is_refused = true;
    set_text(&m->rcpts[1].reply, "550 5.1.1 no");
    commit(m, SLICE_LIT("hello\r\n"));
    reopen();
    struct store_message *have = find("full");
    cr_assert(have);
    check_same(have, m);
    cr_assert_eq(have->size, 7);
    cr_assert_neq(have->number, 0);
    check_body(have->number, SLICE_LIT("hello\r\n"));
    store_message_free(have);
    store_message_free(m);
}

Test(store, keeps_empty_fields)
{
    char id[] = "nothing";
    const struct store_message nothing = { .id = id };
    commit(&nothing, SLICE_NONE);
    struct store_message *m = find("nothing");
    cr_assert_str_eq(m->sender, "");
    cr_assert_eq(m->client.len, 0);
    cr_assert_eq(m->rcpt_count, 0);
    check_body(m->number, SLICE_NONE);
    store_message_free(m);
}

static bool has_drained;

static void on_drain(void *user)
{
    (void)user;
    has_drained = true;
}

static void keep_bodies_of_every_length(void)
{
    static const size_t sizes[] = { 1, 4096, 65535, 65536, 65537, 131071, 131072, 131073, 1000000 };
    static const size_t pieces[] = { 1, 1000, 65536, 10000000 };
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        char *body = make_body(sizes[i], (unsigned)i);
        for (size_t j = 0; j < ARRAY_LEN(pieces); j++) {
            struct slice all = slice_of(body, sizes[i]);
            struct store_message *m = make_message("body", 1);
            struct answer a = { 0 };
            store_writer_commit(write_body(all, pieces[j]), m, on_done, &a);
            store_message_free(m);
            check_done(&a);
            m = find("body");
            cr_assert_eq(m->size, sizes[i]);
            check_body(m->number, all);
            size_t count;
            struct err e;
            cr_assert(store_cancel(store, "body", &count, &e) && count == 1);
            store_message_free(m);
        }
        free(body);
    }
    cr_assert_eq(ask("SELECT count(*) FROM chunk"), 0);
    cr_assert_eq(ask("SELECT count(*) FROM rcpt"), 0);
}

Test(store, keeps_bodies_of_every_length)
{
    keep_bodies_of_every_length();
}

Test(store, keeps_copies_of_every_length)
{
    as_copy = true;
    keep_bodies_of_every_length();
}

/* More than one step of the commit takes. */
Test(store, keeps_a_long_copy)
{
    enum { SIZE = 9 * 1000 * 1000 };
    as_copy = true;
    char *body = make_body(SIZE, 1);
    struct store_message *m = make_message("long", 1);
    commit(m, slice_of(body, SIZE));
    store_message_free(m);
    m = find("long");
    cr_assert_eq(m->size, SIZE);
    check_body(m->number, slice_of(body, SIZE));
    store_message_free(m);
    free(body);
}

static long long octets_in_folder(void)
{
    char command[160], text[32] = "";
    snprintf(command, sizeof command, "cat %s/*-wal %s/*-copy-* 2>&- | wc -c", folder, folder);
    FILE *f = popen(command, "r");
    cr_assert(f && fgets(text, sizeof text, f) && pclose(f) == 0);
    return atoll(text);
}

Test(store, writes_nothing_for_a_copy_that_is_thrown_away)
{
    long long before = octets_in_folder();
    as_copy = true;
    char *body = make_body(3000000, 1);
    struct store_writer *w = write_body(slice_of(body, 3000000), 3000000);
    store_writer_on_drain(w, on_drain, NULL);
    run_until(&has_drained);
    cr_assert_eq(ask("SELECT count(*) FROM chunk"), 0);
    store_writer_discard(w);
    put("behind it", "work", NOW);
    cr_assert_eq(ask("SELECT count(*) FROM message"), 1);
    cr_assert_leq(octets_in_folder() - before, 200000);
    free(body);
}

/* --- scratch files */

/* How many this process has open, and their octets. */
static unsigned count_scratch_files(long long *ret_octets)
{
    DIR *open_files = opendir("/proc/self/fd");
    cr_assert(open_files);
    unsigned count = 0;
    *ret_octets = 0;
    for (struct dirent *each; (each = readdir(open_files));) {
        char target[512] = "";
        struct stat st;
        ssize_t n = readlinkat(dirfd(open_files), each->d_name, target, sizeof target - 1);
        if (n <= 0 || !strstr(target, "-copy-") || fstat(atoi(each->d_name), &st) != 0)
            continue;
        count++;
        *ret_octets += st.st_size;
    }
    closedir(open_files);
    return count;
}

/* Behind it everything that was asked for before has happened. */
static void pass_by(const char *id)
{
    put(id, "work", NOW);
    size_t count;
    struct err e;
    cr_assert(store_cancel(store, id, &count, &e) && count == 1);
}

Test(store, uses_scratch_files_again)
{
    long long octets;
    as_copy = true;
    char *body = make_body(1000000, 1);
    for (int i = 0; i < 20; i++) {
        store_writer_discard(write_body(slice_of(body, 1000000), 65536));
        pass_by("next");
        cr_assert_leq(count_scratch_files(&octets), 1u);
        cr_assert_leq(octets, 1000000);
    }
    free(body);
}

Test(store, keeps_few_scratch_files_and_none_when_idle)
{
    enum { WRITERS = 12, SPARES = 4 };
    long long octets;
    struct store_writer *writers[WRITERS];
    as_copy = true;
    char *body = make_body(300000, 1);
    for (int i = 0; i < WRITERS; i++)
        writers[i] = write_body(slice_of(body, 300000), 65536);
    pass_by("between");
    cr_assert_eq(count_scratch_files(&octets), WRITERS);
    for (int i = 0; i < WRITERS; i++)
        store_writer_discard(writers[i]);
    pass_by("behind");
    cr_assert_leq(count_scratch_files(&octets), SPARES);
    for (int i = 0; count_scratch_files(&octets) > 0; i++) {
        cr_assert(i < 300, "%lld octets stay in scratch files", octets);
        usleep(50000);
    }
    free(body);
}

/* What a longer one left in the file is behind its end. */
Test(store, commits_a_copy_whose_scratch_file_had_another)
{
    as_copy = true;
    char *longer = make_body(2000000, 1), *body = make_body(700000, 2);
    for (int i = 0; i < 3; i++) {
        char id[16];
        snprintf(id, sizeof id, "m%d", i);
        store_writer_discard(write_body(slice_of(longer, 2000000), 65536));
        struct store_message *m = make_message(id, 1);
        commit(m, slice_of(body, 700000));
        store_message_free(m);
        m = find(id);
        cr_assert_eq(m->size, 700000);
        check_body(m->number, slice_of(body, 700000));
        store_message_free(m);
    }
    free(longer);
    free(body);
}

/* A file that a commit has taken out of the round leaves its place to another. */
Test(store, uses_scratch_files_again_behind_commits)
{
    enum { COMMITS = 6 };
    long long octets;
    as_copy = true;
    char *body = make_body(500000, 1);
    for (int i = 0; i < COMMITS; i++) {
        struct store_message *m = make_message("kept", 1);
        set_text(&m->id, (const char *const[]){ "a", "b", "c", "d", "e", "f" }[i]);
        commit(m, slice_of(body, 500000));
        store_message_free(m);
    }
    cr_assert_eq(count_scratch_files(&octets), 0);
    for (int i = 0; i < 3; i++) {
        store_writer_discard(write_body(slice_of(body, 500000), 65536));
        pass_by("next");
        cr_assert_eq(count_scratch_files(&octets), 1);
    }
    free(body);
}

/* One that is used again stays as long as its longest user was: only few may be. */
Test(store, short_copies_hold_few_long_scratch_files)
{
    enum { WRITERS = 8, KEPT = 4, SHORT = 400000, LONG = 8000000 };
    long long octets;
    struct store_writer *writers[WRITERS];
    as_copy = true;
    char *body = make_body(LONG, 1);
    for (int i = 0; i < WRITERS; i++) {
        store_writer_discard(write_body(slice_of(body, LONG), 65536));
        writers[i] = write_body(slice_of(body, SHORT), 65536);
    }
    pass_by("behind");
    cr_assert_eq(count_scratch_files(&octets), WRITERS);
    cr_assert_leq(octets, (long long)KEPT * LONG + (WRITERS - KEPT) * SHORT);
    for (int i = 0; i < WRITERS; i++)
        store_writer_discard(writers[i]);
    free(body);
}

/* The room of files that nobody uses is there for messages. */
Test(store_file, gives_up_scratch_files_before_it_refuses)
{
    enum { MB = 1 << 20, WRITERS = 4, SIZE = 36 * MB, BALLAST_MB = 400, FLOOR_MB = 500 };
    struct statvfs fs;
    struct err e;
    cr_assert(statvfs(folder, &fs) == 0);
    long long room = (long long)fs.f_bavail * (long long)fs.f_frsize;
    if (room < 2LL * FLOOR_MB * MB)
        cr_skip_test("too little room");
    const struct store_params params = {
        .path = path, .wake = wake_test, .min_free = (uint64_t)(room - (long long)FLOOR_MB * MB)
    };
    cr_assert(store_open(&params, &store, &e), "%s", e.text);
    struct store_writer *writers[WRITERS];
    as_copy = true;
    char *body = make_body(SIZE, 1);
    for (int i = 0; i < WRITERS; i++)
        writers[i] = write_body(slice_of(body, SIZE), 65536);
    for (int i = 0; i < WRITERS; i++)
        store_writer_discard(writers[i]);
    free(body);
    char ballast[160];
    snprintf(ballast, sizeof ballast, "%s/ballast", folder);
    int fd = open(ballast, O_WRONLY | O_CREAT, 0600);
    cr_assert(fd >= 0);
    if (posix_fallocate(fd, 0, (off_t)BALLAST_MB * MB) != 0)
        cr_skip_test("no room for the ballast");
    usleep(50000); /* an answer about free space is good for a moment */
    put("message", "work", NOW);
    close(fd);
}

/* --- a disk of our own */

enum { MB = 1 << 20, SLOW_MS = 200 };

/* A tmpfs of `megabytes` over the test's folder. Only root may mount one. */
static void open_on_small_disk(int megabytes, uint64_t min_free)
{
    char size[40];
    struct err e;
    snprintf(size, sizeof size, "size=%dm,mode=700", megabytes);
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", folder, "tmpfs", 0, size) != 0)
        cr_skip_test("cannot mount a file system: %s", strerror(errno));
    const struct store_params params = { .path = path, .wake = wake_test, .min_free = min_free };
    cr_assert(store_open(&params, &store, &e), "%s", e.text);
}

/* Scratch files of `size` octets that nobody uses. */
static void leave_spares(unsigned count, size_t size)
{
    struct store_writer *writers[8];
    char *body = make_body(size, 1);
    as_copy = true;
    for (unsigned i = 0; i < count; i++)
        writers[i] = write_body(slice_of(body, size), 65536);
    for (unsigned i = 0; i < count; i++)
        store_writer_discard(writers[i]);
    free(body);
    usleep(SLOW_MS * 1000); /* the writer's thread has them back */
}

Test(store_file, gives_up_scratch_files_for_a_longer_one)
{
    long long octets;
    open_on_small_disk(17, 0);
    leave_spares(4, 4 * MB);
    cr_assert_eq(count_scratch_files(&octets), 4);
    char *body = make_body(6 * MB, 2);
    struct store_message *m = make_message("long", 1);
    commit(m, slice_of(body, 6 * MB));
    store_message_free(m);
    free(body);
}

Test(store_file, shortens_scratch_files_before_it_refuses)
{
    enum { USERS = 4 };
    long long octets;
    struct store_writer *writers[USERS];
    open_on_small_disk(80, 20 * MB);
    leave_spares(USERS, 14 * MB);
    char *body = make_body(320000, 2), ballast[160];
    for (int i = 0; i < USERS; i++)
        writers[i] = write_body(slice_of(body, 320000), 65536);
    usleep(SLOW_MS * 1000);
    cr_assert_eq(count_scratch_files(&octets), USERS);
    snprintf(ballast, sizeof ballast, "%s/ballast", folder);
    int fd = open(ballast, O_WRONLY | O_CREAT, 0600);
    cr_assert(fd >= 0 && posix_fallocate(fd, 0, 10 * MB) == 0);
    usleep(SLOW_MS * 1000); /* an answer about free space is good for a moment */
    put("message", "work", NOW);
    cr_assert_leq(count_scratch_files(&octets) ? octets : 0, USERS * 320000);
    for (int i = 0; i < USERS; i++) { /* what they hold is whole */
        char id[] = { 'm', (char)('0' + i), '\0' };
        struct store_message *m = make_message(id, 1);
        commit_writer(m, writers[i]);
        store_message_free(m);
        m = find(id);
        check_body(m->number, slice_of(body, 320000));
        store_message_free(m);
    }
    close(fd);
    free(body);
}

/* A stream of copies, which change nothing in the database, does not keep the keeper from its work.
 */
Test(store, sweeps_while_copies_come)
{
    enum { SIZE = 60000000, COPY = 700000 };
    char *body = make_body(SIZE, 1);
    struct store_message *m = make_message("long", 1);
    commit(m, slice_of(body, SIZE));
    store_message_free(m);
    m = find("long");
    struct answer removed = { .is_done = false };
    store_remove(store, m->number, on_done, &removed);
    check_done(&removed); /* from here on only copies */
    store_message_free(m);
    as_copy = true;
    for (int i = 0; ask("SELECT count(*) FROM chunk") > 0; i++) {
        cr_assert(i < 60, "%lld chunks are not swept", ask("SELECT count(*) FROM chunk"));
        store_writer_discard(write_body(slice_of(body, COPY), 65536));
        usleep(20000);
    }
    free(body);
}

static unsigned order[300], order_count;

static void on_numbered(void *user, const struct err *why)
{
    cr_assert(!why, "%s", why ? why->text : "");
    order[order_count++] = (unsigned)(uintptr_t)user;
}

Test(store, tells_in_order_and_never_before_poll)
{
    for (unsigned i = 0; i < ARRAY_LEN(order); i++) {
        char id[16];
        snprintf(id, sizeof id, "m%u", i);
        struct store_message *m = make_message(id, 1);
        struct slice body = SLICE_LIT("x");
        store_writer_commit(write_body(body, 1), m, on_numbered, (void *)(uintptr_t)i);
        store_message_free(m);
    }
    wait_for_wake();
    cr_assert_eq(order_count, 0);
    store_poll(store);
    while (order_count < ARRAY_LEN(order)) {
        wait_for_wake();
        store_poll(store);
    }
    for (unsigned i = 0; i < ARRAY_LEN(order); i++)
        cr_assert_eq(order[i], i);
    cr_assert_eq(ask("SELECT count(*) FROM message WHERE id = 'm' || (number - 1)"), 300,
        "numbers ascend in order of arrival");
}

static bool count_one(void *user, const struct store_message *m)
{
    (void)m;
    ++*(unsigned *)user;
    return true;
}

static unsigned count_messages(void)
{
    unsigned count = 0;
    struct err e;
    cr_assert(store_each(store, count_one, &count, &e), "%s", e.text);
    return count;
}

static void noop(void *user)
{
    (void)user;
}

Test(store, shows_nobody_a_body_on_its_way_in)
{
    char *body = make_body(300000, 1);
    struct store_writer *w = write_body(slice_of(body, 300000), 300000);
    wait_until("SELECT 4 - count(*) FROM chunk", 0);
    cr_assert_eq(count_messages(), 0);
    struct list_answer a = due("", INT64_MAX, 10);
    cr_assert_eq(a.count, 0);
    a = (struct list_answer){ 0 };
    store_overdue(store, INT64_MAX, 10, NULL, 0, on_list, &a);
    run_until(&a.is_done);
    cr_assert_eq(a.count, 0);
    cr_assert(!find(""));
    size_t count;
    cr_assert(store_cancel(store, NULL, &count, NULL) && count == 0);
    struct chunk_answer c = { 0 };
    buf_init(&c.body, 70000);
    read_next(&c, 1, 0);
    cr_assert(c.has_failed);
    store_writer_on_drain(w, noop, NULL);
    store_writer_discard(w);
    wait_until("SELECT count(*) FROM chunk", 0);
    wait_until("SELECT count(*) FROM message", 0);
    free(body);
}

Test(store, removes_what_an_earlier_life_left)
{
    char *body = make_body(3000000, 1);
    struct store_writer *w = write_body(slice_of(body, 3000000), 3000000);
    wait_until("SELECT 45 - count(*) FROM chunk", 0);
    char copy[80], command[512];
    snprintf(copy, sizeof copy, "%s/copy.db", folder);
    snprintf(command, sizeof command, "cp %s %s && cp %s-wal %s-wal", path, copy, path, copy);
    cr_assert_eq(system(command), 0); /* what a crash now would leave */
    store_writer_discard(w);
    close_store();
    snprintf(path, sizeof path, "%s", copy);
    cr_assert_eq(ask("SELECT count(*) FROM chunk"), 45);
    open_store();
    cr_assert_eq(count_messages(), 0);
    wait_until("SELECT count(*) FROM chunk", 0);
    wait_until("SELECT count(*) FROM message", 0);
    wait_until("PRAGMA freelist_count", 256);
    free(body);
}

Test(store, commits_no_message_with_a_hole)
{
    char *body = make_body(300000, 1);
    struct store_writer *w = write_body(slice_of(body, 300000), 300000);
    wait_until("SELECT 4 - count(*) FROM chunk", 0);
    ask("DELETE FROM chunk WHERE at & 0xfffff = 2");
    struct store_message *m = make_message("holed", 1);
    struct answer a = { 0 };
    store_writer_commit(w, m, on_done, &a);
    run_until(&a.is_done);
    cr_assert(a.has_failed && a.why.kind == ERR_IO);
    cr_assert(!find("holed"));
    wait_until("SELECT count(*) FROM chunk", 0);
    store_message_free(m);
    free(body);
}

Test(store, holds_back_who_writes_faster_than_the_disk)
{
    char *body = make_body(8 * STORE_HIGH_WATER, 1);
    struct store_writer *w = store_writer_new(store);
    store_writer_on_drain(w, on_drain, NULL);
    store_writer_add(w, slice_of(body, STORE_HIGH_WATER));
    cr_assert(!store_writer_is_congested(w));
    store_writer_add(w, slice_of(body, 4 * STORE_HIGH_WATER));
    cr_assert(store_writer_is_congested(w), "nothing is polled, so nothing has left");
    run_until(&has_drained);
    cr_assert(!store_writer_is_congested(w));
    cr_assert_eq(store_writer_size(w), 5 * STORE_HIGH_WATER);
    store_writer_discard(w);
    free(body);
}

Test(store, closes_with_everything_committed)
{
    struct answer answers[50] = { 0 };
    char *body = make_body(200000, 1);
    for (unsigned i = 0; i < ARRAY_LEN(answers); i++) {
        struct store_message *m = make_message("late", 1);
        store_writer_commit(write_body(slice_of(body, 200000), 200000), m, on_done, &answers[i]);
        store_message_free(m);
    }
    close_store();
    for (unsigned i = 0; i < ARRAY_LEN(answers); i++)
        cr_assert(!answers[i].is_done, "no callback runs in close");
    open_store();
    cr_assert_eq(count_messages(), ARRAY_LEN(answers));
    free(body);
}

/* --- sending --- */

Test(store, gives_what_is_due_in_order)
{
    put("third", "work", NOW + 1);
    put("first", "work", NOW - 5);
    put("second", "work", NOW - 5);
    put("later", "work", NOW + 100);
    put("other", "payroll", NOW - 50);
    put("unnamed", "", NOW - 50);
    check_ids(due("work", NOW - 6, 10), "");
    check_ids(due("work", NOW + 1, 10), "first second third");
    check_ids(due("work", NOW + 1, 2), "first second");
    check_ids(due("work", INT64_MAX, 10), "first second third later");
    check_ids(due("payroll", NOW, 10), "other");
    check_ids(due("", NOW, 10), "unnamed");
    check_ids(due("wor", NOW, 10), "");
    check_ids(due("work", INT64_MAX, 0), "");
}

Test(store, leaves_out_those_being_sent)
{
    char id[8];
    for (unsigned i = 1; i <= 6; i++) {
        snprintf(id, sizeof id, "%u", i);
        put(id, "work", NOW);
    }
    const uint64_t busy[] = { 5, 1, 2 };
    struct list_answer a = { 0 };
    store_due(store, "work", NOW, 2, busy, ARRAY_LEN(busy), on_list, &a);
    run_until(&a.is_done);
    check_ids(a, "3 4");
    a = (struct list_answer){ 0 };
    store_overdue(store, NOW + 3 * DAY, 10, busy, ARRAY_LEN(busy), on_list, &a);
    run_until(&a.is_done);
    check_ids(a, "3 4 6");
}

Test(store, finds_whose_time_is_over)
{
    struct store_message *m = make_message("old", 2);
    m->expires = NOW + 10;
    m->next_try = NOW + DAY;
    commit(m, SLICE_LIT("x"));
    set_text(&m->id, "held");
    m->state = STORE_HELD;
    commit(m, SLICE_LIT("x"));
    store_message_free(m);
    struct list_answer a = { 0 };
    store_overdue(store, NOW + 9, 10, NULL, 0, on_list, &a);
    run_until(&a.is_done);
    check_ids(a, "");
    a = (struct list_answer){ 0 };
    store_overdue(store, NOW + 10, 10, NULL, 0, on_list, &a);
    run_until(&a.is_done);
    cr_assert_eq(a.messages[0]->rcpt_count, 2);
    check_ids(a, "old");
}

static char times_text[512];
static bool has_times;

static void on_times(
    void *user, const struct store_due_time *times, size_t count, const struct err *why)
{
    (void)user;
    cr_assert(!why);
    times_text[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(times_text);
        snprintf(times_text + n, sizeof times_text - n, "%s:%d ", times[i].account,
            (int)(times[i].next_try - NOW));
    }
    has_times = true;
}

Test(store, says_when_to_look_again)
{
    store_due_times(store, on_times, NULL);
    run_until(&has_times);
    cr_assert_str_eq(times_text, "");
    put("a", "work", NOW + 7);
    put("b", "work", NOW + 3);
    put("c", "payroll", NOW - 3);
    struct err e;
    size_t count;
    put("d", "work", NOW);
    put("e", "", NOW + 9);
    cr_assert(store_hold(store, "d", &count, &e));
    has_times = false;
    store_due_times(store, on_times, NULL);
    run_until(&has_times);
    cr_assert_str_eq(times_text, ":9 payroll:-3 work:3 ");
}

static void update(const struct store_message *m)
{
    struct answer a = { 0 };
    store_update(store, m, on_done, &a);
    check_done(&a);
}

Test(store, writes_an_attempt_back)
{
    struct store_message *m = make_message("try", 3);
    commit(m, SLICE_LIT("x"));
    store_message_free(m);
    m = find("try");
    m->attempts = 2;
    m->next_try = NOW + 60;
    m->is_uncertain = true;
    set_text(&m->account, "other");
    set_text(&m->last_reply, "421 4.3.2 closing");
    m->rcpts[0].is_done = true;
    set_text(&m->rcpts[0].reply, "250 2.1.5 ok");
    m->rcpts[2].is_done = m->rcpts[2].is_refused = true;
    set_text(&m->rcpts[2].reply, "550 5.1.1 unknown");
    update(m);
    struct store_message *have = find("try");
    check_same(have, m);
    store_message_free(have);
    check_ids(due("work", INT64_MAX, 10), "");
    check_ids(due("other", NOW + 60, 10), "try");
    store_message_free(m);
}

Test(store, lets_a_person_win_over_an_attempt)
{
    static const struct {
        enum store_state verdict, after;
    } rows[] = {
        { STORE_QUEUED, STORE_HELD },
        { STORE_HELD, STORE_HELD },
        { STORE_FAILED, STORE_FAILED },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        put("sent", "work", NOW);
        struct store_message *m = find("sent"); /* delivery begins */
        size_t count;
        cr_assert(store_hold(store, "sent", &count, NULL) && count == 1);
        m->state = rows[i].verdict;
        m->attempts = 1;
        update(m);
        cr_assert_eq(state_of("sent"), rows[i].after);
        cr_assert(store_cancel(store, "sent", &count, NULL) && count == 1);
        update(m);
        struct answer a = { 0 };
        store_remove(store, m->number, on_done, &a);
        check_done(&a);
        cr_assert(!find("sent"), "what is cancelled stays away");
        store_message_free(m);
    }
}

static void remove_message(uint64_t number)
{
    struct answer a = { 0 };
    store_remove(store, number, on_done, &a);
    check_done(&a);
}

Test(store, gives_the_space_of_removed_messages_back)
{
    char *body = make_body(9000000, 3);
    uint64_t numbers[60];
    for (unsigned i = 0; i < ARRAY_LEN(numbers); i++) {
        struct store_message *m = make_message("gone", 1);
        commit(m, slice_of(body, i % 20 == 0 ? 9000000 : 200000));
        store_message_free(m);
        m = find("gone");
        numbers[i] = m->number;
        remove_message(m->number);
        cr_assert(!find("gone"));
        put("stays", "work", NOW);
        store_message_free(m);
    }
    wait_until("SELECT count(*) FROM chunk WHERE at >> 20 NOT IN (SELECT number FROM message)", 0);
    wait_until("PRAGMA freelist_count", 256);
    reopen();
    cr_assert_eq(count_messages(), ARRAY_LEN(numbers));
    struct stat st;
    cr_assert(stat(path, &st) == 0);
    cr_assert_lt(st.st_size, 2000000);
    cr_assert_eq(ask("PRAGMA integrity_check"), 0, "it answers 'ok'");
    free(body);
}

Test(store, never_takes_a_message_that_vanished_for_one_that_ended)
{
    char *body = make_body(200000, 3);
    struct store_message *m = make_message("vanishes", 1);
    commit(m, slice_of(body, 200000));
    store_message_free(m);
    m = find("vanishes");
    struct chunk_answer a = { 0 };
    buf_init(&a.body, 300000);
    read_next(&a, m->number, 0);
    cr_assert(!a.has_failed && a.last == STORE_CHUNK_SIZE);
    read_next(&a, m->number, 3);
    cr_assert(!a.has_failed && a.last == 200000 - 3 * STORE_CHUNK_SIZE);
    read_next(&a, m->number, 4);
    cr_assert(!a.has_failed && a.last == 0);
    read_next(&a, m->number, UINT64_MAX / 2);
    cr_assert(!a.has_failed && a.last == 0);
    ask("DELETE FROM chunk WHERE at & 0xfffff = 1");
    read_next(&a, m->number, 1);
    cr_assert(a.has_failed, "a part is missing");
    remove_message(m->number);
    read_next(&a, m->number, 2);
    cr_assert(a.has_failed);
    read_next(&a, m->number, 4);
    cr_assert(a.has_failed, "the end of a removed message is no end");
    buf_fini(&a.body);
    store_message_free(m);
    free(body);
}

Test(store, bounces_in_one_transaction)
{
    put("original", "work", NOW);
    struct store_message *m = find("original");
    m->state = STORE_FAILED;
    m->rcpts[0].is_done = m->rcpts[0].is_refused = true;
    set_text(&m->last_reply, "550 5.7.60 no");
    struct store_message *report = make_message("bounce", 1);
    report->is_bounce = true;
    set_text(&report->sender, "");
    struct answer a = { 0 };
    struct slice text = SLICE_LIT("Subject: Undelivered\r\n\r\n");
    store_bounce(store, write_body(text, 5), report, m, on_done, &a);
    check_done(&a);
    struct store_message *have = find("original");
    check_same(have, m);
    store_message_free(have);
    have = find("bounce");
    check_same(have, report);
    check_body(have->number, text);
    store_message_free(have);
    check_ids(due("work", NOW, 10), "bounce");
    store_message_free(report);
    store_message_free(m);
}

static void put_many(unsigned count, enum store_state state, int64_t arrived)
{
    bool is_last_done = false;
    struct answer *answers = calloc(count, sizeof *answers);
    for (unsigned i = 0; i < count; i++) {
        char id[24];
        snprintf(id, sizeof id, "many%u", i);
        struct store_message *m = make_message(id, 1);
        m->state = state;
        m->arrived = arrived;
        struct store_writer *w = store_writer_new(store);
        store_writer_add(w, SLICE_LIT("x"));
        store_writer_commit(w, m, on_done, &answers[i]);
        store_message_free(m);
    }
    while (!is_last_done) {
        run_until(&answers[count - 1].is_done);
        is_last_done = true;
    }
    free(answers);
}

Test(store, expires_failed_messages_in_steps)
{
    put_many(650, STORE_FAILED, NOW);
    put_many(10, STORE_FAILED, NOW + 1);
    put_many(10, STORE_QUEUED, NOW);
    struct answer a = { 0 };
    store_expire_failed(store, NOW + 1, on_done, &a);
    check_done(&a);
    cr_assert_eq(count_messages(), 20);
    cr_assert_eq(ask("SELECT count(*) FROM message WHERE state = 2"), 10);
}

static const char *route(void *user, const struct ip_addr *client, const char *sender)
{
    (void)user;
    cr_assert_eq(client->len, 4);
    return strcmp(sender, "nobody@corp.example") == 0 ? NULL : "routed";
}

Test(store, routes_again_what_waits)
{
    put_many(2500, STORE_QUEUED, NOW);
    put_many(10, STORE_HELD, NOW);
    put_many(10, STORE_FAILED, NOW);
    struct store_message *m = make_message("unroutable", 1);
    set_text(&m->sender, "nobody@corp.example");
    commit(m, SLICE_LIT("x"));
    store_message_free(m);
    struct answer a = { 0 };
    store_reroute(store, route, NULL, on_done, &a);
    check_done(&a);
    cr_assert_eq(ask("SELECT count(*) FROM message WHERE account = 'routed'"), 2510);
    check_ids(due("work", NOW, 100), "unroutable");
}

/* --- people --- */

Test(store, obeys_people)
{
    size_t count;
    struct err e;
    put("a", "work", NOW + 50);
    put("b", "work", NOW + 50);
    cr_assert(store_hold(store, "a", &count, &e) && count == 1);
    cr_assert(store_hold(store, "a", &count, &e) && count == 0, "it is held already");
    cr_assert_eq(state_of("a"), STORE_HELD);
    check_ids(due("work", NOW + 50, 10), "b");
    cr_assert(store_release(store, NULL, NOW, &count, &e) && count == 1);
    check_ids(due("work", NOW, 10), "a");
    cr_assert(store_retry(store, "b", NOW, &count, &e) && count == 1);
    check_ids(due("work", NOW, 10), "a b");
    cr_assert(store_hold(store, NULL, &count, &e) && count == 2);
    cr_assert(store_retry(store, NULL, NOW, &count, &e) && count == 2, "from held, too");
    check_ids(due("work", NOW, 10), "a b");
    cr_assert(store_cancel(store, "a", &count, &e) && count == 1);
    check_ids(due("work", NOW, 10), "b");
    cr_assert(store_hold(store, "nobody", &count, &e) && count == 0);
    cr_assert(store_release(store, "a", NOW, &count, &e) && count == 0);
    cr_assert(store_cancel(store, "a", &count, &e) && count == 0);
    cr_assert(store_cancel(store, NULL, &count, &e) && count == 1);
    cr_assert_eq(count_messages(), 0);
    cr_assert_eq(ask("SELECT count(*) FROM chunk"), 0);
}

Test(store, sends_a_failed_message_to_those_refused_again)
{
    struct store_message *m = make_message("failed", 3);
    m->state = STORE_FAILED;
    m->rcpts[0].is_done = true;
    m->rcpts[1].is_done = m->rcpts[1].is_refused = true;
    commit(m, SLICE_LIT("x"));
    store_message_free(m);
    size_t count;
    int64_t later = NOW + 5 * DAY;
    cr_assert(store_retry(store, "failed", later, &count, NULL) && count == 1);
    m = find("failed");
    cr_assert_eq(m->state, STORE_QUEUED);
    cr_assert_eq(m->next_try, later);
    cr_assert_eq(m->expires, later + 3 * DAY, "its time begins again");
    cr_assert(m->rcpts[0].is_done);
    cr_assert(!m->rcpts[1].is_done && !m->rcpts[1].is_refused);
    cr_assert(!m->rcpts[2].is_done);
    store_message_free(m);
}

struct pages {
    unsigned seen, limit;
};

static bool see(void *user, const struct store_message *m)
{
    struct pages *pages = user;
    char want[24];
    snprintf(want, sizeof want, "many%u", pages->seen);
    cr_assert_str_eq(m->id, want);
    cr_assert_eq(m->rcpt_count, 1);
    return ++pages->seen < pages->limit;
}

Test(store, lists_in_order_of_arrival_until_told_to_stop)
{
    put_many(200, STORE_QUEUED, NOW);
    static const unsigned limits[] = { 1, 63, 64, 65, 128, 199 };
    struct err e;
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        struct pages pages = { .limit = limits[i] };
        cr_assert(store_each(store, see, &pages, &e));
        cr_assert_eq(pages.seen, limits[i]);
    }
    struct pages all = { .limit = 1000 };
    cr_assert(store_each(store, see, &all, &e));
    cr_assert_eq(all.seen, 200);
}

Test(store, notices_what_another_process_changed_and_nothing_else)
{
    struct store *other;
    struct err e;
    size_t count;
    uint64_t before = store_data_version(store);
    put("a", "work", NOW);
    put("b", "work", NOW);
    cr_assert_eq(store_data_version(store), before, "our own commits are no news");
    cr_assert(store_open_shared(path, &other, &e), "%s", e.text);
    unsigned seen = 0;
    cr_assert(store_each(other, count_one, &seen, &e));
    cr_assert_eq(seen, 2);
    cr_assert_eq(store_data_version(store), before);
    cr_assert(store_hold(other, "a", &count, &e) && count == 1);
    cr_assert_eq(store_data_version(store), before + 1);
    cr_assert(store_cancel(other, "b", &count, &e) && count == 1);
    cr_assert_eq(store_data_version(store), before + 2);
    cr_assert_eq(store_data_version(store), before + 2);
    cr_assert_eq(state_of("a"), STORE_HELD);
    put("c", "work", NOW);
    struct store_message *m = NULL;
    cr_assert(store_find(other, "c", &m, &e));
    store_message_free(m);
    store_close(other);
    put("d", "work", NOW);
}

/* --- the file --- */

Test(store, refuses_a_second_daemon_by_the_first_ones_pid)
{
    struct store *second;
    struct err e;
    char want[200];
    const struct store_params params = { .path = path };
    snprintf(want, sizeof want, "spool '%s' is in use by process %ld", path, (long)getpid());
    cr_assert(!store_open(&params, &second, &e));
    cr_assert_str_eq(e.text, want);
    put("still", "work", NOW);
    pid_t child = fork();
    if (child == 0)
        _exit(store_open(&params, &second, &e) || strcmp(e.text, want) != 0);
    int status;
    waitpid(child, &status, 0);
    cr_assert_eq(status, 0);
    reopen();
}

static void add_notice(void *user, const struct store_notice *n)
{
    buf_addf(user, "%s|%s|%lld|%s|%lld\n", n->account, n->login, (long long)n->until, n->text,
        (long long)n->mark);
}

static void check_notices(const char *want)
{
    struct buf out;
    struct err e = { .text = "" };
    buf_init(&out, 10000);
    cr_assert(store_notice_each(store, add_notice, &out, &e), "%s", e.text);
    cr_assert_str_eq(buf_cstr(&out), want);
    buf_fini(&out);
}

static void set_notice(const char *account, const char *login, int64_t until, const char *text)
{
    struct answer a = { 0 };
    struct store_notice n = { account, login, until, text, until - 1000 };
    store_notice_set(store, &n, on_done, &a);
    check_done(&a);
}

static void clear_notices(const char *login)
{
    struct answer a = { 0 };
    store_notice_clear(store, login, on_done, &a);
    check_done(&a);
}

Test(store, keeps_one_notice_for_each_account)
{
    check_notices("");
    clear_notices("nobody");
    set_notice("work", "CORP\\work", NOW, "535 no");
    set_notice("", "CORP\\svc", NOW + 1, "535 'quoted' \xc3\xa4");
    set_notice("work", "CORP\\work2", NOW + 2, "535 again");
    static const char both[] = "|CORP\\svc|1700000001|535 'quoted' \xc3\xa4|1699999001\n"
                               "work|CORP\\work2|1700000002|535 again|1699999002\n";
    check_notices(both);
    reopen();
    check_notices(both);
    set_notice("same", "corp\\SVC", NOW, "535 no");
    clear_notices("CORP\\Svc");
    check_notices("work|CORP\\work2|1700000002|535 again|1699999002\n");
}

Test(store, is_as_durable_as_it_says)
{
    cr_assert_eq(ask("PRAGMA application_id"), 0x736d7464);
    cr_assert_eq(ask("PRAGMA user_version"), 3);
    cr_assert_eq(ask("PRAGMA auto_vacuum"), 2);
    cr_assert_eq(ask("SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
}

Test(store_file, is_private_whatever_the_umask)
{
    static const mode_t masks[] = { 0, 022, 0777 };
    for (size_t i = 0; i < ARRAY_LEN(masks); i++) {
        snprintf(path, sizeof path, "%s/%zu.db", folder, i);
        mode_t before = umask(masks[i]);
        open_store();
        put("x", "work", NOW);
        umask(before);
        static const char *const files[] = { "", "-wal", "-shm" };
        for (size_t j = 0; j < ARRAY_LEN(files); j++) {
            char name[140];
            struct stat st;
            snprintf(name, sizeof name, "%s%s", path, files[j]);
            cr_assert(stat(name, &st) == 0);
            cr_assert_eq(st.st_mode & 0777, 0600, "%s has mode %o", name, st.st_mode & 0777);
        }
        close_store();
    }
}

static void check_refused(const char *sentence)
{
    struct err e;
    const struct store_params params = { .path = path };
    cr_assert(!store_open(&params, &store, &e));
    cr_assert(strstr(e.text, sentence), "'%s' does not say '%s'", e.text, sentence);
    cr_assert(strstr(e.text, path), "%s", e.text);
    store = NULL;
}

static void write_file(const char *content)
{
    FILE *f = fopen(path, "w");
    fputs(content, f);
    fclose(f);
}

Test(store_file, is_not_taken_from_another_program)
{
    char line[4000];
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\0';
    write_file(line);
    check_refused("is not a spool");
    unlink(path);
    sqlite3 *db;
    cr_assert(sqlite3_open(path, &db) == SQLITE_OK);
    cr_assert(sqlite3_exec(db, "CREATE TABLE t (x)", NULL, NULL, NULL) == SQLITE_OK);
    sqlite3_close(db);
    check_refused("is not a spool");
    cr_assert_eq(ask("SELECT journal_mode = 'delete' FROM pragma_journal_mode"), 1);
}

Test(store_file, of_a_newer_version_is_refused)
{
    open_store();
    close_store();
    ask("PRAGMA user_version = 99");
    check_refused("newer submitd");
    struct err e;
    cr_assert(!store_open_shared(path, &store, &e));
    store = NULL;
    ask("PRAGMA user_version = 0");
    cr_assert(!store_open_shared(path, &store, &e));
    cr_assert(strstr(e.text, "older submitd"), "%s", e.text);
    store = NULL;
}

/* A spool of the first schema with a message in it goes on, and keeps the message. */
Test(store_file, of_an_older_version_is_brought_up_to_date)
{
    open_store();
    put("old", "work", NOW);
    close_store();
    ask("DROP TABLE notice");
    ask("PRAGMA user_version = 1");
    open_store();
    cr_assert_eq(ask("PRAGMA user_version"), 3);
    check_notices("");
    cr_assert_eq(state_of("old"), STORE_QUEUED);
    set_notice("work", "CORP\\work", NOW, "535 no");
    close_store();
    ask("ALTER TABLE notice DROP COLUMN mark");
    ask("PRAGMA user_version = 2");
    open_store();
    check_notices("work|CORP\\work|1700000000|535 no|0\n");
    close_store();
}

Test(store_file, needs_its_folder)
{
    snprintf(path, sizeof path, "%s/missing/spool.db", folder);
    check_refused("folder must exist");
    struct err e;
    cr_assert(!store_open_shared(path, &store, &e));
    cr_assert(strstr(e.text, "there is no such file"), "%s", e.text);
    store = NULL;
}

Test(store_file, that_is_empty_becomes_a_spool)
{
    write_file("");
    open_store();
    put("x", "work", NOW);
    reopen();
    cr_assert_eq(count_messages(), 1);
}

Test(store_file, keeps_the_floor_free)
{
    struct err e;
    const struct store_params params = {
        .path = path, .wake = wake_test, .min_free = UINT64_MAX / 2
    };
    cr_assert(store_open(&params, &store, &e), "%s", e.text);
    char *body = make_body(200000, 3);
    static const size_t sizes[] = { 1, 200000 };
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct store_message *m = make_message("floor", 1);
        struct answer a = { 0 };
        store_writer_commit(write_body(slice_of(body, sizes[i]), 1000000), m, on_done, &a);
        run_until(&a.is_done);
        cr_assert(a.has_failed);
        cr_assert_eq(a.why.kind, ERR_LIMIT);
        cr_assert(strstr(a.why.text, "must stay free"), "%s", a.why.text);
        store_message_free(m);
    }
    cr_assert_eq(count_messages(), 0);
    wait_until("SELECT count(*) FROM message", 0);
    free(body);
}

/* --- killed --- */

/* Commits until it is killed; prints each number that it was told about. */
struct killed {
    struct answer answer;
    unsigned n;
};

static void commit_for_ever(int out, unsigned first)
{
    struct killed slots[16] = { 0 };
    char *body = make_body(400000, 0);
    open_store();
    for (unsigned n = first;;) {
        for (size_t i = 0; i < ARRAY_LEN(slots); i++, n++) {
            char id[24];
            snprintf(id, sizeof id, "k%u", n);
            struct store_message *m = make_message(id, n % 5 + 1);
            size_t size = n % 7 == 0 ? 100000 + n * 997 % 300000 : n * 31 % 9000;
            slots[i] = (struct killed){ .n = n };
            store_writer_commit(
                write_body(slice_of(body + n % 251, size), 30000), m, on_done, &slots[i].answer);
            store_message_free(m);
        }
        for (size_t i = 0; i < ARRAY_LEN(slots); i++) {
            check_done(&slots[i].answer);
            if (write(out, &slots[i].n, sizeof slots[i].n) != sizeof slots[i].n)
                _exit(1);
        }
    }
}

static unsigned kill_one(unsigned first, unsigned round)
{
    int ends[2];
    cr_assert(pipe(ends) == 0);
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        commit_for_ever(ends[1], first);
    }
    close(ends[1]);
    unsigned n, last = first;
    bool has_any = read(ends[0], &n, sizeof n) == sizeof n;
    usleep(round * 7919 % 90000);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    char *body = make_body(400000, 0);
    open_store();
    for (; has_any; has_any = read(ends[0], &n, sizeof n) == sizeof n) {
        char id[24];
        snprintf(id, sizeof id, "k%u", n);
        struct store_message *m = find(id);
        cr_assert(m, "round %u: %s was acknowledged and is lost", round, id);
        struct store_message *want = make_message(id, n % 5 + 1);
        check_same(m, want);
        size_t size = n % 7 == 0 ? 100000 + n * 997 % 300000 : n * 31 % 9000;
        check_body(m->number, slice_of(body + n % 251, size));
        store_message_free(want);
        store_message_free(m);
        last = n;
    }
    close(ends[0]);
    free(body);
    size_t count;
    cr_assert(store_cancel(store, NULL, &count, NULL));
    cr_assert_eq(ask("SELECT count(*) FROM message WHERE state < 3"), 0);
    close_store();
    return last + 100;
}

Test(store_file, survives_a_kill_at_any_moment)
{
    unsigned first = 1;
    for (unsigned round = 0; round < 20; round++)
        first = kill_one(first, round);
    cr_assert_gt(first, 20 * 100 + 50, "the rounds were too short to show anything");
}
