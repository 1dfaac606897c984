#include "platform/platform.h"
#include "platform/win/text.h"

#include <io.h>
#include <stdio.h>
#include <stdlib.h>
#include <windows.h>

enum { PASSWORD_UNITS_MAX = 1024, PASSWORD_BYTES_MAX = 4096 };

/* One line from the console, which does not show it; false when it cannot be read. */
static bool read_hidden(HANDLE console, const char *prompt, wchar_t *line, size_t *ret_n)
{
    DWORD mode = 0, n = 0;
    GetConsoleMode(console, &mode);
    SetConsoleMode(console, ENABLE_LINE_INPUT | ENABLE_PROCESSED_INPUT);
    fputs(prompt, stderr);
    fflush(stderr);
    bool is_read = ReadConsoleW(console, line, PASSWORD_UNITS_MAX - 1, &n, NULL);
    SetConsoleMode(console, mode);
    fputs("\n", stderr);
    while (n > 0 && (line[n - 1] == L'\n' || line[n - 1] == L'\r'))
        n--;
    line[n] = L'\0';
    *ret_n = n;
    return is_read;
}

static struct secret *secret_of(const wchar_t *line)
{
    char utf8[PASSWORD_BYTES_MAX];
    int size = WideCharToMultiByte(CP_UTF8, 0, line, -1, utf8, sizeof utf8, NULL, NULL);
    struct secret *secret = size > 0 ? secret_new(utf8, (size_t)size - 1) : NULL;
    secret_wipe(utf8, sizeof utf8);
    return secret;
}

static bool ask_twice(HANDLE console, const char *prompt, struct secret **ret, struct err *e)
{
    wchar_t first[PASSWORD_UNITS_MAX], second[PASSWORD_UNITS_MAX];
    size_t n = 0, again = 0;
    bool is_read = read_hidden(console, prompt, first, &n) &&
                   read_hidden(console, "once more: ", second, &again);
    bool is_same = is_read && n == again && wmemcmp(first, second, n) == 0;
    *ret = is_same ? secret_of(first) : NULL;
    secret_wipe(first, sizeof first);
    secret_wipe(second, sizeof second);
    if (!is_read)
        return err_set(e, ERR_IO, "the password cannot be read from the console");
    return is_same || err_set(e, ERR_CONFIG, "the two passwords are not the same");
}

static bool read_line(struct secret **ret, struct err *e)
{
    char line[PASSWORD_BYTES_MAX];
    setvbuf(stdin, NULL, _IONBF, 0); /* no copy of it in stdio's memory */
    bool is_read = fgets(line, sizeof line, stdin) != NULL;
    *ret = is_read ? secret_new(line, strcspn(line, "\r\n")) : NULL;
    secret_wipe(line, sizeof line);
    return is_read || err_set(e, ERR_CONFIG, "there is no password on standard input");
}

bool platform_read_password(const char *prompt, struct secret **ret_password, struct err *e)
{
    struct secret *secret = NULL;
    bool is_console = _isatty(0) != 0;
    bool is_read = is_console ? ask_twice(GetStdHandle(STD_INPUT_HANDLE), prompt, &secret, e)
                              : read_line(&secret, e);
    if (is_read && !secret)
        is_read = err_set(e, ERR_MEMORY, "memory ran out");
    if (is_read && secret_is_empty(secret))
        is_read = err_set(e, ERR_CONFIG, "the password is empty");
    if (!is_read) {
        secret_free(secret);
        return false;
    }
    *ret_password = secret;
    return true;
}

bool platform_secret_protect(
    const struct secret *password, const char *name, struct buf *out, struct err *e)
{
    (void)password;
    (void)name;
    (void)out;
    return err_set(e, ERR_CONFIG,
        "Windows has no place that only submitd's service can read; put the password into a file, "
        "name it in password_file, and let only Administrators and the service read that");
}
