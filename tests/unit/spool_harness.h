/*
 * What the spool's tests share: a store in a folder of its own, a thread that waits for it, and
 * messages to put in and compare.
 */
#ifndef SUBMITD_TESTS_SPOOL_HARNESS_H
#define SUBMITD_TESTS_SPOOL_HARNESS_H

#include "spool/store.h"

enum { NOW = 1700000000, DAY = 86400 };

extern char folder[64], path[128];
extern struct store *store;

/* For TestSuite's .init and .fini. */
void make_folder(void);
void begin_store(void); /* make_folder, open_store */
void end_store(void);

void open_store(void);
void close_store(void);
void reopen(void);
void wake_test(void *user);
void wait_for_wake(void);
void run_until(const bool *is_done);
/* One number from the file, behind the store's back. */
long long ask(const char *sql);
void wait_until(const char *sql, long long most);

struct store_message *make_message(const char *id, size_t rcpts);
void set_text(char **field, const char *value);
void check_same(const struct store_message *have, const struct store_message *want);
char *make_body(size_t size, unsigned seed);

struct answer {
    bool is_done, has_failed;
    struct err why;
};

/* For a store_done_fn; check_done waits for success. */
void on_done(void *user, const struct err *why);
void check_done(struct answer *a);
extern bool as_copy; /* for write_body, and so for commit and put */
struct store_writer *write_body(struct slice body, size_t piece);
void commit(const struct store_message *m, struct slice body);
void commit_writer(const struct store_message *m, struct store_writer *w);
void put(const char *id, const char *account, int64_t next_try);
/* NULL: there is none. */
struct store_message *find(const char *id);
enum store_state state_of(const char *id);

struct chunk_answer {
    bool is_done, has_failed;
    struct buf body;
    size_t last;
    struct err why;
};

void read_next(struct chunk_answer *a, uint64_t number, uint64_t chunk);
/* By chunks and as people read it. */
void check_body(uint64_t number, struct slice want);

#endif
