/* What differs on Windows: text, files and their lists, commands, the lock, SSPI. */
#include "auth/secctx.h"
#include "base/str.h"
#include "platform/platform.h"
#include "platform/win/service.h"
#include "platform/win/text.h"
#include "spool/disk.h"

#include <criterion/criterion.h>
#include <io.h>
#include <stdio.h>
#include <stdlib.h>
#include <windows.h>
/* After windows.h. */
#include <sddl.h>
#include <tlhelp32.h>

/* --- files of the tests --- */

/* A name that the machine's old code page need not know. */
#define STRANGE "p\xc3\xa4ssw\xc3\xb6rd-\xe2\x82\xac"

/* A path in the folder for temporary files, which is the test's alone. Heap. */
static char *temporary(const char *name)
{
    wchar_t folder[MAX_PATH];
    cr_assert(GetTempPathW(MAX_PATH, folder) > 0);
    char *utf8 = win_utf8(folder);
    char *path = str_format("%ssubmitd-%lu-%s", utf8, GetCurrentProcessId(), name);
    free(utf8);
    return path;
}

static void write_file(const char *path, const char *text)
{
    wchar_t *wide = win_path(path);
    FILE *f = _wfopen(wide, L"wb");
    cr_assert(f, "%s", path);
    fputs(text, f);
    fclose(f);
    free(wide);
}

static void delete_file(char *path)
{
    wchar_t *wide = win_path(path);
    cr_expect(DeleteFileW(wide), "%s", path);
    free(wide);
    free(path);
}

/* Gives the file this list and nothing inherited. */
static void set_list(const char *path, const wchar_t *text)
{
    PSECURITY_DESCRIPTOR descriptor = NULL;
    wchar_t *wide = win_path(path);
    cr_assert(ConvertStringSecurityDescriptorToSecurityDescriptorW(
        text, SDDL_REVISION_1, &descriptor, NULL));
    cr_assert(SetFileSecurityW(wide, DACL_SECURITY_INFORMATION, descriptor));
    LocalFree(descriptor);
    free(wide);
}

/* --- text --- */

Test(text, goes_to_utf16_and_back)
{
    wchar_t *wide = win_wide(STRANGE);
    cr_assert(wide);
    cr_expect_eq(wcslen(wide), 10);
    char *utf8 = win_utf8(wide);
    cr_expect_str_eq(utf8, STRANGE);
    free(wide);
    free(utf8);
    cr_expect_null(win_wide("\xff"));
    size_t n = 1;
    wide = win_wide_n("", 0, &n);
    cr_assert(wide);
    cr_expect_eq(n, 0);
    free(wide);
}

Test(text, long_paths_get_the_prefix_that_lifts_the_limit)
{
    char path[400] = "C:/";
    memset(path + 3, 'x', sizeof path - 4);
    wchar_t *wide = win_path(path);
    cr_assert(wide);
    cr_expect(wcsncmp(wide, L"\\\\?\\C:\\xxx", 10) == 0);
    free(wide);
    wide = win_path("C:/short");
    cr_expect(wcscmp(wide, L"C:/short") == 0);
    free(wide);
}

Test(text, errors_have_their_number)
{
    char text[WIN_ERROR_TEXT_MAX];
    cr_expect(strstr(win_error_text(ERROR_FILE_NOT_FOUND, text), "error 2"), "%s", text);
    cr_expect(strstr(win_error_text((DWORD)SEC_E_INVALID_TOKEN, text), "0x80090308"), "%s", text);
}

/* --- the service --- */

/* `sc showsid submitd` says the same on every Windows. */
Test(service, has_the_sid_that_windows_makes_of_its_name)
{
    wchar_t sid[WIN_SID_TEXT_MAX];
    struct err e;
    cr_assert(win_service_sid(sid, &e));
    cr_expect(wcscmp(sid, L"S-1-5-80-2596852314-3802878297-3222847643-2288594847-2049188935") == 0);
}

Test(service, failures_have_a_remedy)
{
    struct err e;
    cr_expect_not(win_fail(&e, ERROR_ACCESS_DENIED, "stop %s", "it"));
    cr_expect(
        strstr(e.text, "cannot stop it: access is denied; open the console with"), "%s", e.text);
    cr_expect_not(win_fail(&e, ERROR_FILE_NOT_FOUND, "do"));
    cr_expect(strstr(e.text, "error 2"), "%s", e.text);
}

Test(secret, protected_comes_back_and_damaged_does_not)
{
    struct err e;
    struct buf lines;
    struct secret *password = secret_new("p\xc3\xa4ss ;#1", 9), *back = NULL;
    buf_init(&lines, 4096);
    cr_assert(platform_secret_protect(password, "x", &lines, &e), "%s", e.text);
    cr_expect_null(strstr(buf_cstr(&lines), "ss ;#1"));
    /* As the loader joins them: what stands behind the = and in the indented lines. */
    struct buf value;
    buf_init(&value, 4096);
    for (const char *p = strstr(buf_cstr(&lines), "= ") + 2; *p; p++) {
        if (*p != ' ' && *p != '\n')
            buf_add_char(&value, *p);
    }
    struct secret *text = secret_new(buf_cstr(&value), value.len);
    cr_assert(platform_secret_unprotect(text, &back, &e), "%s", e.text);
    cr_expect(secret_eq(back, password));
    struct secret *half = secret_new(buf_cstr(&value), value.len / 8 * 4);
    cr_expect_not(platform_secret_unprotect(half, &back, &e));
    cr_expect(strstr(e.text, "was not made on this machine, or some of it is missing"));
    secret_free(half);
    secret_free(text);
    secret_free(password);
    buf_fini(&value);
    buf_fini(&lines);
}

/* --- the machine --- */

Test(platform, defaults_lie_in_program_data)
{
    char *path = platform_pick("/var/lib/x", "%ProgramData%\\submitd\\x");
    const char *folder = getenv("ProgramData");
    cr_assert(folder && path);
    cr_expect(strncmp(path, folder, strlen(folder)) == 0, "%s", path);
    cr_expect(strstr(path, "\\submitd\\x"), "%s", path);
    free(path);
    cr_expect(strstr(platform_default_config(), "\\submitd\\submitd.ini"));
}

Test(platform, has_a_name_and_random_bytes)
{
    char name[256] = "", one[16] = { 0 }, other[16] = { 0 };
    platform_hostname(name, sizeof name);
    cr_expect(name[0] != '\0');
    platform_random(one, sizeof one);
    platform_random(other, sizeof other);
    cr_expect(memcmp(one, other, sizeof one) != 0);
}

/* --- files --- */

Test(files, have_names_in_utf8)
{
    char *path = temporary(STRANGE), text[8] = "";
    write_file(path, "hunter2");
    FILE *f = platform_open(path);
    cr_assert(f, "%s", path);
    cr_expect_eq(fread(text, 1, sizeof text, f), 7);
    fclose(f);
    delete_file(path);
    cr_expect_null(platform_open("no such file"));
    cr_expect_null(platform_open("\xff"));
}

Test(files, that_many_can_read_are_not_private)
{
    static const struct {
        const wchar_t *list;
        const char *crowd; /* NULL: private */
    } rows[] = {
        { L"D:P(A;;FA;;;BA)", NULL },
        { L"D:P(A;;FA;;;BA)(A;;FR;;;LS)", NULL },
        { L"D:P(A;;FA;;;BA)(A;;FR;;;WD)", "Everyone" },
    };
    char *path = temporary("secret");
    write_file(path, "hunter2");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e = { .kind = ERR_NONE };
        set_list(path, rows[i].list);
        bool is_private = platform_file_is_private(path, &e);
        cr_expect_eq(is_private, !rows[i].crowd, "row %zu: %s", i, e.text);
        if (!rows[i].crowd)
            continue;
        cr_expect(strstr(e.text, rows[i].crowd), "%s", e.text);
        cr_expect(strstr(e.text, "icacls \""), "%s", e.text);
    }
    delete_file(path);
    struct err e = { .kind = ERR_NONE };
    cr_expect_not(platform_file_is_private("Z:\\no\\such\\file", &e));
    cr_expect_eq(e.kind, ERR_IO, "%s", e.text);
}

Test(files, logs_are_appended_to_and_may_be_moved)
{
    char *path = temporary("log"), *moved = temporary("log.1"), text[16] = "";
    int fd = -1;
    struct err e;
    write_file(path, "one\n");
    cr_assert(platform_open_log(path, &fd, &e), "%s", e.text);
    cr_expect_eq(_write(fd, "two\n", 4), 4);
    wchar_t *from = win_path(path), *to = win_path(moved);
    cr_expect(MoveFileW(from, to));
    cr_expect_eq(_write(fd, "3\n", 2), 2);
    _close(fd);
    FILE *f = platform_open(moved);
    cr_assert(f);
    cr_expect_eq(fread(text, 1, sizeof text - 1, f), 10);
    cr_expect_str_eq(text, "one\ntwo\n3\n");
    fclose(f);
    free(from);
    free(to);
    free(path);
    delete_file(moved);
    cr_expect_not(platform_open_log("Z:\\no\\such\\folder\\log", &fd, &e));
    cr_expect(strstr(e.text, "cannot open the log file 'Z:\\no\\such"), "%s", e.text);
}

/* --- commands --- */

enum { SOON_MS = 20000 };

static void expect_output(const char *command, const char *want)
{
    struct buf out;
    struct err e = { .kind = ERR_NONE };
    buf_init_secret(&out, 64);
    cr_expect(platform_run_command(command, SOON_MS, &out, &e), "%s: %s", command, e.text);
    cr_expect_str_eq(buf_cstr(&out), want, "%s", command);
    buf_fini(&out);
}

static void expect_failure(const char *command, uint64_t ms, const char *want)
{
    struct buf out;
    struct err e = { .kind = ERR_NONE };
    buf_init_secret(&out, 64);
    cr_expect_not(platform_run_command(command, ms, &out, &e), "%s", command);
    cr_expect(strstr(e.text, want), "%s: %s", command, e.text);
    buf_fini(&out);
}

Test(command, gives_its_output)
{
    expect_output("echo hunter2", "hunter2\r\n");
    expect_output("echo hunter2& echo more", "hunter2\r\nmore\r\n");
    expect_output("\"%ComSpec%\" /d /c \"echo hunter2\"", "hunter2\r\n");
    expect_output("exit 0", "");
}

Test(command, fails_with_the_reason)
{
    expect_failure("exit 7", SOON_MS, "exited with status 7");
    expect_failure("for /l %i in (1,1,100) do @echo hunter2", SOON_MS, "wrote more than 64 bytes");
}

/* Processes of that name, anybody's. */
static unsigned count_processes(const wchar_t *name)
{
    PROCESSENTRY32W entry = { .dwSize = sizeof entry };
    HANDLE all = CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0);
    unsigned n = 0;
    for (BOOL is_one = Process32FirstW(all, &entry); is_one; is_one = Process32NextW(all, &entry))
        n += _wcsicmp(entry.szExeFile, name) == 0;
    CloseHandle(all);
    return n;
}

Test(command, ends_with_its_children_when_the_time_is_over)
{
    uint64_t before = disk_now_ms();
    expect_failure("cmd /c \"for /l %i in (1,0,2) do @rem\"", 500, "did not end in time");
    cr_expect(disk_now_ms() - before < SOON_MS);
    while (count_processes(L"cmd.exe") > 0 && disk_now_ms() - before < SOON_MS)
        Sleep(50);
    cr_expect_eq(count_processes(L"cmd.exe"), 0);
}

/* --- the spool's disk --- */

Test(disk, files_are_private)
{
    struct err e = { .kind = ERR_NONE };
    char *path = temporary("spool.db");
    cr_assert(disk_make_private(path, &e), "%s", e.text);
    cr_expect(platform_file_is_private(path, &e), "%s", e.text);
    cr_expect(disk_make_private(path, &e), "a file that is there: %s", e.text);
    delete_file(path);
    cr_expect_not(disk_make_private("Z:\\no\\such\\folder\\spool.db", &e));
    cr_expect(strstr(e.text, "its folder must exist"), "%s", e.text);
}

Test(disk, lock_names_its_owner)
{
    struct err e = { .kind = ERR_NONE };
    char *path = temporary("locked"), *file = temporary("locked.lock"), want[64];
    int first = -1, second = -1;
    cr_assert(disk_lock(path, &first, &e), "%s", e.text);
    cr_expect_not(disk_lock(path, &second, &e));
    snprintf(want, sizeof want, "is in use by process %lu", GetCurrentProcessId());
    cr_expect(strstr(e.text, want), "%s", e.text);
    cr_expect_eq(e.kind, ERR_CONFIG);
    disk_unlock(first);
    cr_expect(disk_lock(path, &second, &e), "%s", e.text);
    disk_unlock(second);
    disk_unlock(-1);
    free(path);
    delete_file(file);
}

Test(disk, scratch_files_are_read_anywhere_and_go_away)
{
    struct err e = { .kind = ERR_NONE };
    char *path = temporary("scratch"), *pattern = str_format("%s-copy-*", path), text[8] = "";
    wchar_t *wide = win_wide(pattern);
    WIN32_FIND_DATAW found;
    int one = -1, other = -1;
    cr_assert(disk_scratch_open(path, &one, &e), "%s", e.text);
    cr_assert(disk_scratch_open(path, &other, &e), "%s", e.text);
    cr_expect(disk_scratch_write(one, 100000, SLICE_LIT("def"), path, &e), "%s", e.text);
    cr_expect(disk_scratch_write(one, 99997, SLICE_LIT("abc"), path, &e), "%s", e.text);
    cr_expect(disk_scratch_write(other, 99997, SLICE_LIT("xyz"), path, &e), "%s", e.text);
    cr_expect(disk_scratch_read(one, 99997, text, 6, path, &e), "%s", e.text);
    cr_expect_str_eq(text, "abcdef");
    cr_expect_not(disk_scratch_read(one, 100001, text, 3, path, &e));
    cr_expect(strstr(e.text, "a file beside it: "), "%s", e.text);
    disk_scratch_close(one);
    disk_scratch_close(other);
    disk_scratch_close(-1);
    cr_expect_eq(FindFirstFileW(wide, &found), INVALID_HANDLE_VALUE);
    cr_expect_not(disk_scratch_open("Z:\\no\\such\\folder\\x", &one, &e));
    free(wide);
    free(pattern);
    free(path);
}

Test(disk, knows_its_room_and_its_journal)
{
    char *path = temporary("room"), *journal = temporary("room-wal");
    uint64_t room = disk_free(path);
    cr_expect(room > 0 && room < UINT64_MAX);
    cr_expect(disk_free("relative") < UINT64_MAX);
    cr_expect_eq(disk_free("Z:\\no\\such\\folder\\x"), UINT64_MAX);
    cr_expect_eq(disk_journal_size(path), 0);
    write_file(journal, "12345");
    cr_expect_eq(disk_journal_size(path), 5);
    delete_file(journal);
    free(path);
    char text[DISK_CODE_TEXT_MAX];
    cr_expect_eq(disk_trouble(ERROR_DISK_FULL), DISK_FULL);
    cr_expect_eq(disk_trouble(ERROR_ACCESS_DENIED), DISK_FORBIDDEN);
    cr_expect_eq(disk_trouble(ERROR_PATH_NOT_FOUND), DISK_MISSING);
    cr_expect_eq(disk_trouble(ERROR_SUCCESS), DISK_OTHER);
    cr_expect(strstr(disk_code_text(ERROR_DISK_FULL, text), "error 112"), "%s", text);
}

/* --- SSPI --- */

static void expect_refused(const char *username, const char *password, const char *want)
{
    struct secret *secret = secret_new(password, strlen(password));
    struct secctx_cred *cred = NULL;
    struct err e = { .kind = ERR_NONE };
    cr_expect_not(secctx_cred_new_ntlm(username, secret, &cred, &e), "%s", username);
    cr_expect(strstr(e.text, want), "%s: %s", username, e.text);
    cr_expect_null(strstr(e.text, "hunter2"));
    secctx_cred_unref(cred);
    secret_free(secret);
}

Test(sspi, credentials_that_cannot_work_are_refused)
{
    expect_refused("CORP\\", "hunter2", "has a domain and no user");
    expect_refused("@CORP", "hunter2", "has a domain and no user");
    expect_refused("CORP\\user", "", "is empty");
    expect_refused("CORP\\user", "\xff", "is not valid UTF-8");
    expect_refused("\xff", "hunter2", "username is not valid UTF-8");
    expect_refused("", "hunter2", "username");
}

/* A context of that account; NULL password: its own identity. */
static struct secctx *begin(const char *username, const char *password, struct buf *out)
{
    struct secret *secret = password ? secret_new(password, strlen(password)) : NULL;
    struct secctx_cred *cred = NULL;
    struct secctx *ctx = NULL;
    struct err e = { .kind = ERR_NONE };
    cr_assert(secctx_has_ntlm(&e), "%s", e.text);
    cr_assert(secctx_cred_new_ntlm(username, secret, &cred, &e), "%s", e.text);
    secret_free(secret);
    cr_assert(
        secctx_new_ntlm(cred, "mail.test", SLICE_LIT("tls-server-end-point:0123456789"), &ctx, &e),
        "%s", e.text);
    secctx_cred_unref(cred);
    buf_init_secret(out, 8192);
    cr_assert_eq(secctx_step(ctx, SLICE_NONE, out, &e), SECCTX_CONTINUE, "%s", e.text);
    return ctx;
}

Test(sspi, begins_with_a_type_1_and_refuses_a_damaged_challenge)
{
    static const char head[] = "NTLMSSP\0\x01\0\0";
    static const char *const names[] = { "CORP\\user", "user@CORP", "user@corp.example", "user" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct buf out;
        struct err e = { .kind = ERR_NONE };
        struct secctx *ctx = begin(names[i], STRANGE, &out);
        cr_expect(out.len > sizeof head && memcmp(buf_slice(&out).p, head, sizeof head) == 0);
        buf_clear(&out);
        cr_expect_eq(secctx_step(ctx, SLICE_LIT("rubbish"), &out, &e), SECCTX_FAILED);
        cr_expect(e.text[0] != '\0' && out.len == 0);
        cr_expect_eq(secctx_step(ctx, SLICE_LIT("more"), &out, &e), SECCTX_FAILED);
        cr_expect_str_eq(e.text, "the security context has ended already");
        secctx_free(ctx);
        buf_fini(&out);
    }
}

Test(sspi, takes_the_account_of_the_process)
{
    struct secctx_cred *cred = NULL;
    struct err e = { .kind = ERR_NONE };
    cr_expect(secctx_cred_new_ntlm("", NULL, &cred, &e), "%s", e.text);
    secctx_cred_unref(cred);
}
