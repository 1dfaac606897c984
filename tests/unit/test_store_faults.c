/* The spool on disks that fail, fill up, lose their power or are not what they should be: nobody is
 * told that a message is safe when it is not, and the store works again when the disk does. */
#include "faulty_disk.h"
#include "spool_harness.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LEDGER_MAX = 20000, BODY_MAX = 400000 };

/* --- a ledger of messages --- */

static struct entry {
    struct answer commit, removal;
    bool is_removed; /* it was asked for */
} *ledger;
static unsigned entries;
static char *stuff;

static void begin_faulty(void)
{
    disk_install();
    ledger = calloc(LEDGER_MAX, sizeof *ledger);
    entries = 0;
    stuff = make_body(BODY_MAX + 251, 0);
    begin_store();
}

static void end_faulty(void)
{
    disk_repair();
    end_store();
    free(ledger);
    free(stuff);
}

TestSuite(store_faults, .init = begin_faulty, .fini = end_faulty, .timeout = 240);

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
        store_writer_commit(write_body(body_of(entries), 30000), m, on_done, &ledger[entries].commit);
        store_message_free(m);
    }
}

static bool is_safe(unsigned n)
{
    return ledger[n].commit.is_done && !ledger[n].commit.has_failed;
}

/* By the ledger's own index, which is not the message's number. */
static void remove_entry(unsigned n)
{
    struct store_message *m = find(n ? (char[]){ 0 } : ""); /* never used: see remove_some */
    store_message_free(m);
}

static void wait_for_all(void)
{
    for (unsigned i = 0; i < entries; i++)
        run_until(&ledger[i].commit.is_done);
}
