#include "platform/platform.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

Test(platform, hostname_is_usable_in_ehlo)
{
    char name[256] = "";
    platform_hostname(name, sizeof name);
    cr_expect_gt(strlen(name), 0);
    cr_expect_null(strpbrk(name, " \r\n<>@"));
    char tiny[2] = "";
    platform_hostname(tiny, sizeof tiny);
    cr_expect_lt(strlen(tiny), sizeof tiny, "never past its end");
}

Test(platform, random_bytes_differ)
{
    char a[32] = { 0 }, b[32] = { 0 };
    platform_random(a, sizeof a);
    platform_random(b, sizeof b);
    cr_expect_neq(memcmp(a, b, sizeof a), 0);
}

Test(platform, memory_is_protected)
{
    platform_protect_memory();
    struct rlimit core;
    getrlimit(RLIMIT_CORE, &core);
    cr_expect_eq(core.rlim_cur, 0);
    cr_expect_eq(core.rlim_max, 0);
    /* This build has sanitizers and stays traceable; tests/e2e/test_service.py looks at the other.
     */
}

Test(platform, file_limit_is_raised)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = 64;
    setrlimit(RLIMIT_NOFILE, &limit);
    platform_raise_file_limit();
    getrlimit(RLIMIT_NOFILE, &limit);
    cr_expect_eq(limit.rlim_cur, limit.rlim_max);
}

Test(platform, private_file_has_no_bits_for_others)
{
    static const struct {
        mode_t mode;
        bool is_private;
    } rows[] = { { 0400, true }, { 0600, true }, { 0640, true }, { 0660, true }, { 0644, false },
        { 0604, false }, { 0602, false }, { 0601, false } };
    char path[] = "/tmp/submitd-test-it's-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e = { .text = "" };
        chmod(path, rows[i].mode);
        cr_expect_eq(platform_file_is_private(path, &e), rows[i].is_private, "mode %04o",
            (unsigned)rows[i].mode);
        const char *remedy = strstr(e.text, "run: chmod 640 '/tmp/submitd-test-it'\\''s-");
        cr_expect_eq(remedy != NULL, !rows[i].is_private, "%s", e.text);
    }
    unlink(path);
    struct err e;
    cr_expect_not(platform_file_is_private(path, &e));
    cr_expect(strstr(e.text, "No such file"), "%s", e.text);
}

Test(platform, command_gives_its_output)
{
    struct buf out;
    struct err e = { .text = "" };
    buf_init_secret(&out, 8);
    cr_expect(platform_run_command("printf 12345678", 5000, &out, &e), "%s", e.text);
    cr_expect(slice_eq(buf_slice(&out), SLICE_LIT("12345678")));
    buf_clear(&out);
    cr_expect(platform_run_command("true", 5000, &out, &e), "%s", e.text);
    cr_expect_eq(out.len, 0);
    buf_clear(&out);
    cr_expect(platform_run_command("printf a; sleep 0.2; printf b", 5000, &out, &e), "%s", e.text);
    cr_expect(slice_eq(buf_slice(&out), SLICE_LIT("ab")));
    buf_fini(&out);
}

Test(platform, command_that_fails_is_told_without_its_output)
{
    static const struct {
        const char *command, *want;
    } rows[] = {
        { "echo hunter2; exit 3", "the command exited with status 3" },
        { "echo hunter2 >&2; false", "the command exited with status 1" },
        { "/no/such/hunter2", "the command exited with status 127 (the shell did not find it)" },
        { "echo hunter2; kill -9 $$", "the command was ended by signal 9" },
        { "printf hunter2hunter2hun", "the command wrote more than 16 bytes" },
        { "yes hunter2", "the command wrote more than 16 bytes" },
        { "echo hunter2; sleep 30", "the command did not end in time" },
        { "echo hunter2; exec >&-; sleep 30", "the command did not end in time" },
        { "echo hunter2; (sleep 30) & exit 0", "the command did not end in time" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out;
        struct err e = { .text = "" };
        double begin = seconds();
        buf_init_secret(&out, 16);
        cr_expect_not(platform_run_command(rows[i].command, 500, &out, &e), "%s", rows[i].command);
        cr_expect_str_eq(e.text, rows[i].want);
        cr_expect_lt(seconds() - begin, 3.0, "%s", rows[i].command);
        buf_fini(&out);
    }
}

/* The daemon ignores SIGPIPE and blocks nothing; its commands must not inherit that, nor its
 * sockets. */
Test(platform, command_starts_with_a_clean_state)
{
    struct buf out;
    struct err e = { .text = "" };
    buf_init_secret(&out, 4096);
    signal(SIGPIPE, SIG_IGN);
    cr_expect(platform_run_command("yes | head -n 1; cat", 5000, &out, &e), "%s", e.text);
    cr_expect(slice_eq(buf_slice(&out), SLICE_LIT("y\n")), "standard input is empty");
    buf_clear(&out);
    cr_expect(platform_run_command("grep SigIgn /proc/self/status", 5000, &out, &e), "%s", e.text);
    unsigned long long ignored = strtoull(buf_cstr(&out) + strlen("SigIgn:"), NULL, 16);
    cr_expect_eq(ignored & 1ULL << (SIGPIPE - 1), 0);
    buf_fini(&out);
}

Test(platform, timeout_ends_the_children_of_the_command)
{
    char path[] = "/tmp/submitd-test-XXXXXX";
    int fd = mkstemp(path);
    char command[200];
    snprintf(command, sizeof command, "(sleep 1; echo alive > %s) & wait", path);
    struct buf out;
    struct err e;
    buf_init_secret(&out, 16);
    cr_expect_not(platform_run_command(command, 200, &out, &e));
    sleep(2);
    cr_expect_eq(lseek(fd, 0, SEEK_END), 0, "a child went on");
    close(fd);
    unlink(path);
    buf_fini(&out);
}

Test(platform, names_are_there)
{
    cr_expect_str_eq(platform_default_config(), "/etc/submitd/submitd.ini");
    platform_syslog(3, "a line of the unit test");
    platform_syslog(99, "a severity that is none");
}
