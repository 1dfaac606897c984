/* `submitd queue` as an operator runs it, on a spool that the test fills. */
#include "spool/store.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char folder[64], spool[96], config[96];
static struct store *store; /* the daemon's, while one test plays daemon */

/* ---- A spool --------------------------------------------------------------------------------- */

static void on_done(void *user, const struct err *why)
{
    cr_assert_null(why, "%s", why ? why->text : "");
    *(bool *)user = true;
}

static void no_wake(void *user)
{
    (void)user;
}

static void wait_for(const bool *is_done)
{
    for (int i = 0; i < 10000 && !*is_done; i++) {
        store_poll(store);
        usleep(1000);
    }
    cr_assert(*is_done);
}

/* A literal that can be written to, as the fields of a message want it. */
#define TEXT(s) ((char[]){ s })

static void put(char *id, char *sender, int64_t age, const char *body)
{
    struct store_rcpt rcpts[] = {
        { .mailbox = TEXT("jane@corp.example"),
            .notify = TEXT(""),
            .orcpt = TEXT(""),
            .reply = TEXT("") },
        { .mailbox = TEXT("joe@corp.example"),
            .notify = TEXT(""),
            .orcpt = TEXT(""),
            .reply = TEXT("") },
    };
    int64_t now = time(NULL);
    const struct store_message m = {
        .id = id,
        .account = TEXT(""),
        .client = { .len = 4, .bytes = { 192, 0, 2, 7 } },
        .helo = TEXT("erp"),
        .sender = sender,
        .ret = TEXT(""),
        .envid = TEXT(""),
        .last_reply = TEXT("451 4.7.0 busy"),
        .arrived = now - age,
        .next_try = now + 3600 + 30, /* the test has half a minute */
        .expires = now + 86400,
        .rcpts = rcpts,
        .rcpt_count = ARRAY_LEN(rcpts),
    };
    struct store_writer *w = store_writer_new(store);
    store_writer_add(w, slice_str(body));
    bool is_done = false;
    store_writer_commit(w, &m, on_done, &is_done);
    wait_for(&is_done);
}

static void open_spool(void)
{
    const struct store_params params = { .path = spool, .wake = no_wake };
    struct err why = { .kind = ERR_NONE };
    cr_assert(store_open(&params, &store, &why), "%s", why.text);
}

static void close_spool(void)
{
    store_close(store);
    store = NULL;
}

static void set_up(void)
{
    snprintf(folder, sizeof folder, "/tmp/submitd-queue-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(spool, sizeof spool, "%s/spool.db", folder);
    snprintf(config, sizeof config, "%s/submitd.ini", folder);
    FILE *f = fopen(config, "w");
    cr_assert_not_null(f);
    fprintf(f,
        "[upstream]\nhost = mail.corp.example\n[account]\nusername = u\npassword = p-p-p-p\n"
        "[delivery]\nspool = %s\n",
        spool);
    fclose(f);
    chmod(config, 0600);
    open_spool();
    put(TEXT("aaaaaaaaaaaaaaaa"), TEXT("erp@corp.example"), 200,
        "Subject: a\r\n\r\n\x1b[2Jbody\r\n");
    put(TEXT("bbbbbbbbbbbbbbbb"), TEXT(""), 7300, "Subject: b\r\n\r\n");
    put(TEXT("cccccccccccccccc"), TEXT("\x1b[2Jevil@x"), 86500, "Subject: c\r\n\r\n");
    close_spool();
}

static void tear_down(void)
{
    static const char *const names[] = { "", "-wal", "-shm", "-lock", ".lock" };
    char path[128];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof path, "%s%s", spool, names[i]);
        unlink(path);
    }
    unlink(config);
    rmdir(folder);
}

TestSuite(queue, .init = set_up, .fini = tear_down);

/* ---- The program ----------------------------------------------------------------------------- */

/* Runs `submitd queue ARGUMENTS`, checks the exit status and gives both of its outputs. */
static const char *queue(int want_status, const char *arguments)
{
    static char out[65536];
    char command[1024];
    snprintf(command, sizeof command, "%s queue 2>&1 --config %s %s", SUBMITD_PROGRAM, config,
        arguments);
    FILE *f = popen(command, "r");
    cr_assert_not_null(f);
    size_t n = fread(out, 1, sizeof out - 1, f);
    out[n] = '\0';
    int status = pclose(f);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == want_status, "%s: %d\n%s", arguments,
        status, out);
    return out;
}

static void check_says(int want_status, const char *arguments, const char *want)
{
    const char *out = queue(want_status, arguments);
    cr_assert(strstr(out, want), "%s: '%s' is not in\n%s", arguments, want, out);
}

static void check_exactly(int want_status, const char *arguments, const char *want)
{
    cr_assert_str_eq(queue(want_status, arguments), want);
}

static json_t *list_json(void)
{
    json_error_t why;
    const char *out = queue(0, "list --json");
    json_t *all = json_loads(out, JSON_REJECT_DUPLICATES, &why);
    cr_assert(json_is_array(all), "%s\n%s", why.text, out);
    return all;
}

static void check_state(size_t i, const char *want)
{
    json_t *all = list_json();
    const char *state = json_string_value(json_object_get(json_array_get(all, i), "state"));
    cr_assert_str_eq(state, want);
    json_decref(all);
}

Test(queue, lists_for_people)
{
    const char *out = queue(0, "list");
    static const char *const want[] = {
        "ID                AGE  SIZE STATE    TRIES NEXT ACCOUNT ",
        "\naaaaaaaaaaaaaaaa   3m    24 queued       0   1h (default)  erp@corp.example ",
        " jane@corp.example +1     451 4.7.0 busy\n",
        "\nbbbbbbbbbbbbbbbb   2h    14 queued       0   1h (default)  <>   ",
        "\ncccccccccccccccc   1d    14 queued       0   1h (default)  <0x1B>[2Jevil@x ",
        "\n\n3 messages: 3 queued, 0 held, 0 failed\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        cr_assert(strstr(out, want[i]), "'%s' is not in\n%s", want[i], out);
    cr_assert_not(strchr(out, '\x1b'));
}

Test(queue, lists_for_programs)
{
    json_t *all = list_json();
    cr_assert_eq(json_array_size(all), 3);
    json_t *first = json_array_get(all, 0);
    cr_assert_str_eq(json_string_value(json_object_get(first, "id")), "aaaaaaaaaaaaaaaa");
    cr_assert_eq(json_integer_value(json_object_get(first, "size")), 24);
    cr_assert_str_eq(json_string_value(json_object_get(json_array_get(all, 1), "from")), "");
    json_decref(all);
}

Test(queue, shows_one)
{
    check_says(0, "show aaaaaaaaaaaaaaaa", "client       192.0.2.7 (erp)\n");
    check_says(0, "show aaaaaaaaaaaaaaaa", "recipients\n  waiting    jane@corp.example\n");
    check_says(0, "show --json aaaaaaaaaaaaaaaa", "{\"id\":\"aaaaaaaaaaaaaaaa\",");
    check_exactly(0, "show --message aaaaaaaaaaaaaaaa", "Subject: a\r\n\r\n\x1b[2Jbody\r\n");
}

/* A message must not act on the terminal that it is shown on. */
Test(queue, makes_a_message_printable_on_a_terminal)
{
    int terminal;
    pid_t child = forkpty(&terminal, NULL, NULL, NULL);
    cr_assert_geq(child, 0);
    if (child == 0) {
        execl(SUBMITD_PROGRAM, SUBMITD_PROGRAM, "queue", "--config", config, "show", "--message",
            "aaaaaaaaaaaaaaaa", (char *)NULL);
        _exit(127);
    }
    char out[1000];
    size_t n = 0;
    ssize_t got;
    while (n < sizeof out - 1 && (got = read(terminal, out + n, sizeof out - 1 - n)) > 0)
        n += (size_t)got;
    out[n] = '\0';
    close(terminal);
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    cr_assert_str_eq(out, "Subject: a\r\n\r\n<0x1B>[2Jbody\r\n");
}

Test(queue, says_when_there_is_no_such_message)
{
    static const char *const verbs[] = { "show", "retry", "hold", "release", "cancel" };
    char arguments[64], want[200];
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        snprintf(arguments, sizeof arguments, "%s nosuch", verbs[i]);
        snprintf(want, sizeof want, "submitd queue: there is no message 'nosuch' in '%s'\n", spool);
        check_exactly(1, arguments, want);
    }
    check_says(1, "show all", "there is no message 'all'");
}

Test(queue, changes_one)
{
    check_exactly(0, "hold bbbbbbbbbbbbbbbb", "message bbbbbbbbbbbbbbbb held\n");
    check_state(1, "held");
    check_state(0, "queued");
    check_exactly(0, "hold bbbbbbbbbbbbbbbb", "message bbbbbbbbbbbbbbbb was held already\n");
    check_says(0, "list", "3 messages: 2 queued, 1 held, 0 failed\n");
    check_exactly(0, "release bbbbbbbbbbbbbbbb", "message bbbbbbbbbbbbbbbb released\n");
    check_state(1, "queued");
    check_exactly(0, "release bbbbbbbbbbbbbbbb", "message bbbbbbbbbbbbbbbb was queued already\n");
    check_exactly(0, "retry aaaaaaaaaaaaaaaa", "message aaaaaaaaaaaaaaaa to be tried at once\n");
    check_says(0, "list", "aaaaaaaaaaaaaaaa   3m    24 queued       0  now ");
    check_exactly(0, "cancel cccccccccccccccc", "message cccccccccccccccc cancelled\n");
    check_says(1, "show cccccccccccccccc", "there is no message");
    check_says(0, "list", "2 messages: ");
}

Test(queue, changes_all)
{
    check_exactly(0, "hold all", "3 messages held\n");
    check_says(0, "list", "0 queued, 3 held");
    check_exactly(0, "retry all", "3 messages to be tried at once\n");
    check_exactly(0, "release all", "0 messages released\n");
    check_exactly(0, "cancel all", "3 messages cancelled\n");
    check_says(0, "list", "nothing waits in ");
    check_exactly(0, "list --json", "[\n]\n");
}

Test(queue, treats_failed_and_uncertain_messages)
{
    open_spool();
    struct store_message *m = NULL;
    struct err why = { .kind = ERR_NONE };
    cr_assert(store_find(store, "aaaaaaaaaaaaaaaa", &m, &why), "%s", why.text);
    m->state = STORE_FAILED;
    m->is_uncertain = true;
    m->rcpts[0].is_done = m->rcpts[0].is_refused = true;
    bool is_done = false;
    store_update(store, m, on_done, &is_done);
    wait_for(&is_done);
    store_message_free(m);
    close_spool();
    check_says(0, "list", "aaaaaaaaaaaaaaaa   3m    24 failed*      0    - ");
    check_says(0, "list", "2 queued, 0 held, 1 failed\n* uncertain: ");
    check_says(0, "show aaaaaaaaaaaaaaaa", "\n  refused    jane@corp.example\n");
    check_exactly(1, "hold aaaaaaaaaaaaaaaa",
        "submitd queue: cannot hold message 'aaaaaaaaaaaaaaaa': its state is failed\n");
    check_exactly(1, "release aaaaaaaaaaaaaaaa",
        "submitd queue: cannot release message 'aaaaaaaaaaaaaaaa': its state is failed\n");
    check_exactly(0, "retry all", "2 messages to be tried at once\n"); /* no second report */
    check_state(0, "failed");
    check_exactly(0, "retry aaaaaaaaaaaaaaaa", "message aaaaaaaaaaaaaaaa to be tried at once\n");
    check_state(0, "queued");
}

Test(queue, works_beside_the_daemon_that_notices)
{
    open_spool();
    uint64_t before = store_data_version(store);
    check_says(0, "list", "3 messages: 3 queued");
    cr_assert_eq(store_data_version(store), before);
    check_exactly(0, "hold all", "3 messages held\n");
    cr_assert_neq(store_data_version(store), before);
    put(TEXT("dddddddddddddddd"), TEXT("late@corp.example"), 0, "x\r\n");
    check_says(0, "list", "4 messages: 1 queued, 3 held");
    close_spool();
}

Test(queue, refuses_what_it_does_not_know)
{
    static const struct {
        const char *arguments, *want;
    } rows[] = {
        { "", "what is to be done?" },
        { "lsit", "there is no command: queue lsit" },
        { "list all", "unexpected argument: all" },
        { "list --message", "--message is not for list" },
        { "hold all --json", "--json is not for hold" },
        { "show", "show needs ID\n" },
        { "hold", "hold needs ID|all\n" },
        { "show a b", "unexpected argument 'b'" },
        { "show --json --message aaaaaaaaaaaaaaaa", "not both" },
        { "list --from x", "not one of its own" },
        { "list --config /nosuch.ini", "/nosuch.ini" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_says(2, rows[i].arguments, rows[i].want);
}

Test(queue, says_when_there_is_no_spool)
{
    unlink(spool);
    check_says(1, "list", spool);
}

Test(queue, says_when_its_output_is_lost)
{
    check_says(1, "list > /dev/full", "the output cannot be written");
}
