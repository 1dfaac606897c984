/* Files and commands that the configuration names; test_win.c has the same for Windows. */
#include "config/config.h"

#include "base/secret.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEXT_MAX = 1 << 20 };

#define UP "[upstream]\nhost = mail.test\n"

/* A folder of its own for the tests that need files. */
struct folder {
    char path[64], ini[96], secret[96];
};

static struct folder make_folder(void)
{
    struct folder f = { .path = "/tmp/submitd-config-XXXXXX" };
    cr_assert(mkdtemp(f.path));
    snprintf(f.ini, sizeof f.ini, "%s/t.ini", f.path);
    snprintf(f.secret, sizeof f.secret, "%s/secret", f.path);
    return f;
}

static void remove_folder(const struct folder *f)
{
    unlink(f->ini);
    unlink(f->secret);
    rmdir(f->path);
}

static void write_file(const char *path, mode_t mode, const void *bytes, size_t n)
{
    unlink(path);
    FILE *file = fopen(path, "wb");
    cr_assert(file);
    cr_assert_eq(fwrite(bytes, 1, n, file), n);
    fclose(file);
    chmod(path, mode);
}

/* The complaints about the INI file with the lines `account` in its [account]. */
static struct config *load_file(
    const struct folder *f, mode_t mode, const char *account, struct buf *out)
{
    char text[1024];
    int n = snprintf(text, sizeof text, UP "[account]\nusername = u\n%s\n", account);
    write_file(f->ini, mode, text, (size_t)n);
    buf_init(out, TEXT_MAX);
    return config_load(f->ini, out);
}

static void expect_password(const struct folder *f, const char *account, const char *want)
{
    struct buf out;
    struct config *c = load_file(f, 0644, account, &out);
    cr_assert(c, "%s", buf_cstr(&out));
    cr_expect(slice_eq(secret_reveal(c->accounts[0].password), slice_str(want)), "%s", account);
    config_unref(c);
    buf_fini(&out);
}

static void expect_failure(
    const struct folder *f, mode_t mode, const char *account, const char *want)
{
    struct buf out;
    struct config *c = load_file(f, mode, account, &out);
    cr_expect_null(c, "%s", account);
    cr_expect(
        strstr(buf_cstr(&out), want), "for %s: %s wanted in %s", account, want, buf_cstr(&out));
    cr_expect_null(strstr(buf_cstr(&out), "hunter2"), "%s", buf_cstr(&out));
    config_unref(c);
    buf_fini(&out);
}

Test(config, password_file_gives_its_first_line)
{
    static const struct {
        const char *content, *want;
    } rows[] = {
        { "hunter2", "hunter2" },
        { "hunter2\n", "hunter2" },
        { "hunter2\r\n", "hunter2" },
        { "hunter2\r\nsecond line\r\n", "hunter2" },
        { "\xef\xbb\xbfhunter2\n", "hunter2" },
        { "  a ; b\t\n", "  a ; b\t" },
        { "\xc3\xa4\n", "\xc3\xa4" },
    };
    struct folder f = make_folder();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        write_file(f.secret, 0640, rows[i].content, strlen(rows[i].content));
        expect_password(&f, "password_file = secret", rows[i].want);
    }
    char line[128];
    snprintf(line, sizeof line, "password_file = %s ; comment", f.secret);
    expect_password(&f, line, "\xc3\xa4");
    remove_folder(&f);
}

Test(config, password_file_is_refused_with_the_reason)
{
    static const struct {
        const char *content;
        size_t size;
        const char *want;
    } rows[] = {
        { "", 0, "is empty" },
        { "\nhunter2", 8, "is empty" },
        { "\r\n", 2, "is empty" },
        { "hunter2\0x", 9, "not UTF-8" },
        { "hunter2\xff", 8, "not UTF-8" },
        { "\xff\xfeh\0", 4, "not UTF-8" },
    };
    struct folder f = make_folder();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        write_file(f.secret, 0600, rows[i].content, rows[i].size);
        expect_failure(&f, 0644, "password_file = secret", rows[i].want);
    }
    write_file(f.secret, 0644, "hunter2\n", 8);
    expect_failure(
        &f, 0644, "password_file = secret", "(mode 0644); run: chmod 640 /tmp/submitd-config-");
    static char large[4097];
    memset(large, 'x', sizeof large);
    write_file(f.secret, 0600, large, sizeof large);
    expect_failure(&f, 0644, "password_file = secret", "is larger than 4096 bytes");
    expect_failure(&f, 0644, "password_file = none", "No such file");
    expect_failure(&f, 0644, "password_file = .", "Is a directory");
    remove_folder(&f);
}

Test(config, relative_password_file_is_one_of_systemds_credentials)
{
    struct folder f = make_folder(), other = make_folder();
    write_file(f.secret, 0600, "wrong\n", 6);
    write_file(other.secret, 0400, "hunter2\n", 8);
    setenv("CREDENTIALS_DIRECTORY", other.path, 1);
    expect_password(&f, "password_file = secret", "hunter2");
    char line[128];
    snprintf(line, sizeof line, "password_file = %s", f.secret);
    expect_password(&f, line, "wrong");
    remove_folder(&f);
    remove_folder(&other);
}

Test(config, password_command_gives_its_output)
{
    struct folder f = make_folder();
    expect_password(&f, "password_command = printf 'hunter%d' 2", "hunter2");
    expect_password(&f, "password_command = echo hunter2; echo more", "hunter2");
    expect_failure(&f, 0644, "password_command = echo hunter2; exit 7",
        "t.ini:5: [account] password_command: the command exited with status 7\n");
    expect_failure(&f, 0644, "password_command = true", "is empty");
    expect_failure(&f, 0644, "password_command = yes hunter2", "wrote more than 4096 bytes");
    remove_folder(&f);
}

Test(config, protected_password_is_for_windows)
{
    struct folder f = make_folder();
    expect_failure(&f, 0600, "password_protected = hunter2",
        "t.ini:5: [account] password_protected: is for Windows; here submitd secret protect makes "
        "a credential for password_file\n");
    remove_folder(&f);
}

Test(config, literal_password_needs_a_private_file)
{
    struct folder f = make_folder();
    struct buf out;
    struct config *c = load_file(&f, 0640, "password = hunter2", &out);
    cr_assert(c, "%s", buf_cstr(&out));
    cr_expect_str_eq(c->accounts[0].password_source, "password");
    config_unref(c);
    buf_fini(&out);
    expect_failure(&f, 0644, "password = hunter2",
        "t.ini:5: [account] password: a password stands in this file: /tmp/submitd-config-");
    expect_failure(
        &f, 0604, "password = hunter2", "(mode 0604); run: chmod 640 /tmp/submitd-config-");
    remove_folder(&f);
}

Test(config, files_that_cannot_be_read_are_told)
{
    struct buf out;
    buf_init(&out, TEXT_MAX);
    cr_expect_null(config_load("/no/such/submitd.ini", &out));
    cr_expect_str_eq(
        buf_cstr(&out), "/no/such/submitd.ini: cannot be opened: No such file or directory\n");
    buf_clear(&out);
    cr_expect_null(config_load("/tmp", &out));
    cr_expect_str_eq(buf_cstr(&out), "/tmp: cannot be read: Is a directory\n");
    buf_clear(&out);
    cr_expect_null(config_load("/dev/zero", &out));
    cr_expect_str_eq(buf_cstr(&out), "/dev/zero: is larger than 1048576 bytes\n");
    buf_fini(&out);
}

Test(config, ca_file_is_found_beside_the_ini_file)
{
    struct folder f = make_folder();
    static const char text[] = "[upstream]\nhost = mail.test\nauth = none\ntls_ca_file = secret\n";
    struct buf out;
    buf_init(&out, TEXT_MAX);
    write_file(f.ini, 0644, text, strlen(text));
    cr_expect_null(config_load(f.ini, &out));
    cr_expect(strstr(buf_cstr(&out), ":4: [upstream] tls_ca_file = secret: /tmp/submitd-config-"));
    cr_expect(strstr(buf_cstr(&out), "/secret cannot be opened: No such file or directory\n"));
    write_file(f.secret, 0644, "PEM", 3);
    struct config *c = config_load(f.ini, &out);
    cr_assert(c);
    cr_expect_str_eq(c->upstream.tls_ca_file, f.secret);
    config_unref(c);
    remove_folder(&f);
    buf_fini(&out);
}
