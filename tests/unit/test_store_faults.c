/* The spool on disks that fail, fill up, lose their power or are not what they should be: nobody is
 * told that a message is safe when it is not, and the store works again when the disk does. */
#include "faulty_disk.h"
#include "spool_harness.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- a ledger of messages --- */

enum { LEDGER_MAX = 20000, BODY_MAX = 400000 };

static struct entry {
    struct answer commit, removal;
    bool is_removed; /* asked for; `removal` tells how it went */
} * ledger;
static unsigned entries;
static char *stuff;

static void begin_sound(void)
{
    ledger = calloc(LEDGER_MAX, sizeof *ledger);
    stuff = make_body(BODY_MAX + 251, 0);
    begin_store();
}

static void begin_faulty(void)
{
    disk_install();
    begin_sound();
}

static void end_all(void)
{
    disk_repair();
    end_store();
    free(ledger);
    free(stuff);
}

TestSuite(store_faults, .init = begin_faulty, .fini = end_all, .timeout = 240);
TestSuite(store_memory, .init = begin_sound, .fini = end_all, .timeout = 240);

/* Mostly small ones, some of many chunks. */
static struct slice body_of(unsigned n)
{
    size_t size = n % 9 == 4 ? 66000 + n * 997 % 300000 : n * 31 % 9000;
    return slice_of(stuff + n % 251, size);
}

static struct store_message *message_of(unsigned n)
{
    char id[24];
    snprintf(id, sizeof id, "n%u", n);
    return make_message(id, n % 3 + 1);
}

static void submit(unsigned count)
{
    for (unsigned i = 0; i < count; i++, entries++) {
        cr_assert_lt(entries, LEDGER_MAX);
        struct store_message *m = message_of(entries);
        as_copy = entries % 2 == 1;
        store_writer_commit(
            write_body(body_of(entries), 30000), m, on_done, &ledger[entries].commit);
        store_message_free(m);
    }
}

static bool has_worked(const struct answer *a)
{
    return a->is_done && !a->has_failed;
}

static void wait_for_commits(void)
{
    for (unsigned i = 0; i < entries; i++)
        run_until(&ledger[i].commit.is_done);
}

static void check_entry(unsigned n)
{
    const struct entry *e = &ledger[n];
    struct store_message *want = message_of(n), *have = find(want->id);
    if (has_worked(&e->commit) && !e->is_removed)
        cr_assert(have, "%s was answered for and is lost", want->id);
    if (e->is_removed && has_worked(&e->removal))
        cr_assert(!have, "%s was removed and came back", want->id);
    if (have) {
        check_same(have, want);
        check_body(have->number, body_of(n));
    }
    store_message_free(have);
    store_message_free(want);
}

static void check_failed_ones_are_away(void)
{
    for (unsigned n = 0; n < entries; n++) {
        struct store_message *m = message_of(n), *have = find(m->id);
        cr_assert(!ledger[n].commit.has_failed || !have, "%s failed and is there", m->id);
        store_message_free(have);
        store_message_free(m);
    }
}

static void check_ledger(void)
{
    for (unsigned n = 0; n < entries; n++)
        check_entry(n);
    static const char damage[] = "SELECT count(*) FROM pragma_integrity_check "
                                 "WHERE integrity_check <> 'ok'";
    cr_assert_eq(ask(damage), 0);
}

/* --- a call that fails --- */

static unsigned met, refused;

/* All in one transaction, or each in its own. */
static void work_on_a_broken_disk(enum disk_call call, unsigned nth, bool stays)
{
    unsigned first = entries;
    disk_break(call, nth, stays, SQLITE_IOERR_WRITE, EIO);
    for (unsigned i = 0; i < 10; i++) {
        submit(1);
        if (nth % 2 == 0)
            wait_for_commits();
    }
    if (nth % 8 == 0)
        usleep(250000); /* what the store does when it is idle fails, too */
    wait_for_commits();
    met += disk_has_failed();
    disk_repair();
    for (unsigned n = first; n < entries; n++)
        refused += ledger[n].commit.has_failed;
    first = entries;
    submit(3);
    wait_for_commits();
    for (unsigned n = first; n < entries; n++)
        cr_assert(has_worked(&ledger[n].commit), "the disk works again, but: %s",
            ledger[n].commit.why.text);
}

static void check_and_begin_anew(void)
{
    check_failed_ones_are_away();
    reopen();
    check_ledger();
    check_failed_ones_are_away();
    size_t count;
    cr_assert(store_cancel(store, NULL, &count, NULL));
    entries = 0;
    memset(ledger, 0, LEDGER_MAX * sizeof *ledger);
}

static void break_each(enum disk_call call, unsigned upto, unsigned step)
{
    for (unsigned nth = 1; nth <= upto; nth += step) {
        work_on_a_broken_disk(call, nth, false);
        work_on_a_broken_disk(call, nth, true);
        if (nth % 5 == 0)
            check_and_begin_anew();
    }
    check_and_begin_anew();
    cr_assert_gt(met, 0);
}

Test(store_faults, tell_the_truth_about_each_failing_write)
{
    break_each(DISK_WRITE, 60, 1);
    cr_assert_gt(refused, 100);
}

Test(store_faults, tell_the_truth_about_each_failing_sync)
{
    break_each(DISK_SYNC, 20, 1);
    cr_assert_gt(refused, 30);
}

static void remove_entry(unsigned n)
{
    struct entry *e = &ledger[n];
    struct store_message *m = message_of(n), *have = find(m->id);
    e->is_removed = true;
    store_remove(store, have->number, on_done, &e->removal);
    store_message_free(have);
    store_message_free(m);
}

Test(store_faults, tell_the_truth_about_failing_truncations)
{
    submit(200);
    wait_for_commits();
    disk_break(DISK_TRUNCATE, 1, true, SQLITE_IOERR_TRUNCATE, EIO);
    for (unsigned n = 0; n < 190; n++)
        remove_entry(n);
    run_until(&ledger[189].removal.is_done);
    for (int i = 0; !disk_has_failed(); i++) {
        cr_assert_lt(i, 100, "nothing was truncated");
        usleep(50000);
    }
    submit(5);
    wait_for_commits();
    disk_repair();
    submit(5);
    wait_for_commits();
    check_ledger();
    wait_until("PRAGMA freelist_count", 256);
    check_and_begin_anew();
}

/* --- loss of power --- */

static void remove_some(unsigned count)
{
    for (unsigned n = 0; n < entries && count > 0; n++) {
        if (!has_worked(&ledger[n].commit) || ledger[n].is_removed || n % 3 == 0)
            continue;
        remove_entry(n);
        count--;
    }
}

/* What is answered for now must be in the copy, whatever the store does meanwhile. */
static void lose_power(unsigned seed)
{
    char lost[80], here[sizeof path], command[200];
    struct store *running = store;
    snprintf(lost, sizeof lost, "%s.lost", folder);
    snprintf(command, sizeof command, "rm -rf %s && mkdir %s", lost, lost);
    cr_assert_eq(system(command), 0);
    disk_lose_power(folder, lost, seed);
    memcpy(here, path, sizeof here);
    snprintf(path, sizeof path, "%s/spool.db", lost);
    open_store();
    check_ledger();
    close_store();
    memcpy(path, here, sizeof path);
    store = running;
    snprintf(command, sizeof command, "rm -rf %s", lost);
    cr_assert_eq(system(command), 0);
}

Test(store_faults, lose_nothing_with_the_power)
{
    for (unsigned round = 0; round < 40; round++) {
        submit(24);
        remove_some(12);
        usleep(round % 8 == 7 ? 230000 : round * 7919 % 12000);
        store_poll(store);
        lose_power(round);
    }
    wait_for_commits();
}

/* --- a full disk --- */

static struct answer commit_on_full_disk(size_t size)
{
    struct answer a = { 0 };
    struct store_message *m = make_message("more", 1);
    store_writer_commit(write_body(slice_of(stuff, size), 30000), m, on_done, &a);
    run_until(&a.is_done);
    store_message_free(m);
    return a;
}

Test(store_faults, say_that_the_disk_is_full)
{
    static const size_t sizes[] = { 60000, BODY_MAX, BODY_MAX };
    submit(30);
    wait_for_commits();
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        as_copy = i == 2;
        disk_fill();
        struct answer a = { 0 };
        unsigned kept = 0;
        while (!a.has_failed) {
            a = commit_on_full_disk(sizes[i]); /* the log may have room */
            kept += !a.has_failed;
            cr_assert_lt(kept, 1000);
        }
        cr_assert_eq(a.why.kind, ERR_LIMIT, "%s", a.why.text);
        cr_assert(strstr(a.why.text, "make room"), "%s", a.why.text);
        for (unsigned n = 0; n < entries; n++)
            check_entry(n);
        disk_repair();
        a = commit_on_full_disk(sizes[i]);
        cr_assert(!a.has_failed, "%s", a.why.text);
        reopen();
        char count[80];
        snprintf(count, sizeof count, "SELECT count(*) FROM message WHERE id = 'more'");
        cr_assert_eq(ask(count), kept + 1);
        size_t cancelled;
        while (store_cancel(store, "more", &cancelled, NULL) && cancelled > 0) {
        }
    }
    check_ledger();
}

Test(store_faults, let_mail_leave_a_full_disk)
{
    submit(60);
    wait_for_commits();
    usleep(400000); /* the log is moved into the file */
    disk_fill();
    for (unsigned n = 0; n < entries; n++) {
        remove_entry(n);
        run_until(&ledger[n].removal.is_done);
        cr_assert(has_worked(&ledger[n].removal), "%s", ledger[n].removal.why.text);
    }
    submit(5);
    wait_for_commits();
    cr_assert(has_worked(&ledger[entries - 1].commit), "there is room inside the file now");
    check_ledger();
}

/* --- what the operator reads --- */

Test(store_faults, name_the_remedy)
{
    static const struct {
        int code, why;
        enum err_kind kind;
        const char *sentence;
    } rows[] = {
        { SQLITE_FULL, ENOSPC, ERR_LIMIT, "the disk is full; make room" },
        { SQLITE_IOERR_WRITE, EDQUOT, ERR_LIMIT, "the disk is full; make room" },
        { SQLITE_IOERR_WRITE, EIO, ERR_IO, "check the disk and the kernel's log" },
        { SQLITE_IOERR_FSYNC, EIO, ERR_IO, "check the disk and the kernel's log" },
        { SQLITE_IOERR_WRITE, EROFS, ERR_IO, "read-only for submitd" },
        { SQLITE_READONLY, 0, ERR_IO, "read-only for submitd" },
        { SQLITE_CORRUPT, 0, ERR_IO, "the file is damaged; stop submitd" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        disk_break(DISK_WRITE, 1, true, rows[i].code, rows[i].why);
        struct answer a = commit_on_full_disk(100);
        cr_assert(a.has_failed);
        cr_assert_eq(a.why.kind, rows[i].kind, "%s", a.why.text);
        cr_assert(strstr(a.why.text, rows[i].sentence), "%s", a.why.text);
        cr_assert(strstr(a.why.text, path), "%s", a.why.text);
        disk_repair();
        a = commit_on_full_disk(100);
        cr_assert(!a.has_failed, "%s", a.why.text);
    }
}

static void scribble(void)
{
    FILE *f = fopen(path, "r+b");
    char junk[4096];
    memset(junk, 0xa5, sizeof junk);
    fseek(f, sizeof junk, SEEK_SET);
    struct stat st;
    cr_assert(fstat(fileno(f), &st) == 0);
    for (long at = sizeof junk; at < st.st_size; at += (long)sizeof junk)
        cr_assert(fwrite(junk, sizeof junk, 1, f) == 1);
    fclose(f);
}

Test(store_faults, say_that_the_file_is_damaged)
{
    submit(30);
    wait_for_commits();
    close_store();
    scribble();
    struct err e;
    const struct store_params params = { .path = path };
    cr_assert(!store_open(&params, &store, &e));
    cr_assert(strstr(e.text, "the file is damaged"), "%s", e.text);
    store = NULL;
}

Test(store_faults, are_found_at_the_start_where_there_can_be_no_log)
{
    close_store();
    snprintf(path, sizeof path, "%s/network.db", folder);
    disk_forbid_sharing();
    struct err e;
    const struct store_params params = { .path = path };
    cr_assert(!store_open(&params, &store, &e));
    cr_assert(strstr(e.text, "put the spool on a local file system"), "%s", e.text);
    store = NULL;
}

/* --- no memory --- */

static atomic_long until_none; /* 1: the next allocation fails */

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_realloc(void *p, size_t n);

static bool has_none_left(void)
{
    return atomic_load(&until_none) > 0 && atomic_fetch_sub(&until_none, 1) == 1;
}

void *__wrap_malloc(size_t n)
{
    return has_none_left() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t count, size_t n)
{
    return has_none_left() ? NULL : __real_calloc(count, n);
}

void *__wrap_realloc(void *p, size_t n)
{
    return has_none_left() ? NULL : __real_realloc(p, n);
}

static void check_memory(struct answer *a)
{
    run_until(&a->is_done);
    cr_assert(!a->has_failed || a->why.kind == ERR_MEMORY, "%s", a->why.text);
}

static void on_some(
    void *user, struct store_message **messages, size_t count, const struct err *why)
{
    on_done(user, why);
    cr_assert(!why || count == 0);
    cr_assert((count == 0) == !messages);
    for (size_t i = 0; i < count; i++)
        store_message_free(messages[i]);
    free(messages);
}

static void on_some_times(
    void *user, const struct store_due_time *times, size_t count, const struct err *why)
{
    (void)times;
    cr_assert(why ? count == 0 : count == 1);
    on_done(user, why);
}

static void on_some_text(void *user, struct slice text, const struct err *why)
{
    cr_assert_eq(text.n, why ? 0 : STORE_CHUNK_SIZE);
    on_done(user, why);
}

static const char *route_anew(void *user, const struct ip_addr *client, const char *sender)
{
    (void)client;
    (void)sender;
    return user;
}

static struct store_writer *write_some(size_t size)
{
    struct store_writer *w = size % 2 == 1 ? store_copy_new(store) : store_writer_new(store);
    if (w)
        store_writer_add(w, slice_of(stuff, size));
    return w;
}

static void read_without_memory(uint64_t number)
{
    const uint64_t busy[] = { 1 };
    struct answer lists[2] = { 0 }, times = { 0 }, text = { 0 };
    store_due(store, "work", NOW, 10, busy, 1, on_some, &lists[0]);
    store_overdue(store, INT64_MAX, 10, busy, 1, on_some, &lists[1]);
    store_due_times(store, on_some_times, &times);
    store_read_chunk(store, number, 0, on_some_text, &text);
    check_memory(&lists[0]);
    check_memory(&lists[1]);
    check_memory(&times);
    check_memory(&text);
}

static bool see_any(void *user, const struct store_message *m)
{
    (void)m;
    return ++*(unsigned *)user > 0;
}

static void look_without_memory(void)
{
    struct err e = { 0 };
    struct store_message *m = NULL;
    unsigned seen = 0;
    cr_assert(store_find(store, "n4", &m, &e) || e.kind == ERR_MEMORY, "%s", e.text);
    store_message_free(m);
    cr_assert(store_each(store, see_any, &seen, &e) || e.kind == ERR_MEMORY, "%s", e.text);
}

static void change_without_memory(const struct store_message *m, const struct store_message *bounce)
{
    struct answer update = { 0 }, removal = { 0 }, expiry = { 0 }, routing = { 0 }, report = { 0 };
    char account[] = "work";
    store_update(store, m, on_done, &update);
    struct store_writer *w = write_some(100);
    if (w)
        store_bounce(store, w, bounce, m, on_done, &report);
    store_reroute(store, route_anew, account, on_done, &routing);
    store_expire_failed(store, NOW, on_done, &expiry);
    store_remove(store, 1, on_done, &removal);
    check_memory(&update);
    if (w)
        check_memory(&report);
    check_memory(&routing);
    check_memory(&expiry);
    check_memory(&removal);
}

/* True when everything was done before memory ran out. */
static bool work_without_memory(
    long nth, const struct store_message *m, const struct store_message *bounce)
{
    static const size_t sizes[] = { 10, 200000, 11, 200001 }; /* odd ones are copies */
    struct answer a[ARRAY_LEN(sizes)] = { 0 };
    atomic_store(&until_none, nth);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct store_writer *w = write_some(sizes[i]);
        if (!w)
            continue;
        store_writer_commit(w, bounce, on_done, &a[i]);
        check_memory(&a[i]);
    }
    read_without_memory(m->number);
    look_without_memory();
    change_without_memory(m, bounce);
    bool is_unharmed = atomic_exchange(&until_none, 0) > 0;
    char sql[100];
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        snprintf(sql, sizeof sql, "SELECT count(*) FROM message WHERE state < 3 AND size = %zu",
            sizes[i]);
        cr_assert_eq(ask(sql), has_worked(&a[i]));
    }
    return is_unharmed;
}

Test(store_memory, may_run_out_at_each_allocation)
{
    struct store_message *bounce = make_message("bounce", 2), *m;
    bool is_unharmed = false;
    for (long nth = 1; !is_unharmed; nth++) {
        cr_assert_lt(nth, 2000);
        entries = 4;
        submit(1);
        run_until(&ledger[4].commit.is_done);
        cr_assert((m = find("n4")));
        is_unharmed = work_without_memory(nth, m, bounce);
        store_message_free(m);
        size_t count;
        cr_assert(store_cancel(store, NULL, &count, NULL));
        memset(ledger, 0, LEDGER_MAX * sizeof *ledger);
    }
    store_message_free(bounce);
}

Test(store_memory, may_run_out_at_the_start)
{
    close_store();
    bool is_open = false;
    for (long nth = 1; !is_open; nth++) {
        struct err e;
        const struct store_params params = { .path = path, .wake = wake_test };
        atomic_store(&until_none, nth);
        is_open = store_open(&params, &store, &e);
        atomic_store(&until_none, 0);
        cr_assert(is_open || e.kind == ERR_MEMORY, "%s", e.text);
        cr_assert_lt(nth, 100);
    }
    submit(1);
    wait_for_commits();
    check_ledger();
}
