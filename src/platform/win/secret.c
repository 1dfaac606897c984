#include "platform/platform.h"
#include "platform/win/service.h"
#include "platform/win/text.h"
#include "base/base64.h"
#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <windows.h>
/* After windows.h. */
#include <wincrypt.h>

enum { PASSWORD_UNITS_MAX = 1024, PASSWORD_BYTES_MAX = 4096, PROTECTED_MAX = 16 * 1024 };

/* Which program's secrets these are: what another program protects for this machine is not taken
 * for a password. No secret itself: the INI file's rights are what keeps other users away. */
static BYTE entropy[] = "submitd password_protected 1";

static DATA_BLOB entropy_blob(void)
{
    return (DATA_BLOB){ .cbData = sizeof entropy - 1, .pbData = entropy };
}

/* --- reading --- */

/* One line from the console, which does not show it; without its end. */
static bool read_line(HANDLE console, const char *prompt, wchar_t *line, DWORD *ret_n)
{
    DWORD mode = 0, n = 0;
    GetConsoleMode(console, &mode);
    SetConsoleMode(console, ENABLE_LINE_INPUT | ENABLE_PROCESSED_INPUT);
    fputs(prompt, stderr);
    bool is_read = ReadConsoleW(console, line, PASSWORD_UNITS_MAX, &n, NULL);
    SetConsoleMode(console, mode);
    fputs("\n", stderr);
    while (n > 0 && (line[n - 1] == L'\n' || line[n - 1] == L'\r'))
        n--;
    *ret_n = n;
    return is_read;
}

static struct secret *secret_of_wide(const wchar_t *wide, DWORD n)
{
    char utf8[PASSWORD_BYTES_MAX];
    int size =
        n > 0 ? WideCharToMultiByte(CP_UTF8, 0, wide, (int)n, utf8, (int)sizeof utf8, NULL, NULL)
              : 0;
    struct secret *secret = secret_new(utf8, (size_t)size);
    secret_wipe(utf8, sizeof utf8);
    return secret;
}

static bool read_from_console(
    HANDLE console, const char *prompt, struct secret **ret_password, struct err *e)
{
    wchar_t first[PASSWORD_UNITS_MAX], second[PASSWORD_UNITS_MAX];
    DWORD n = 0, again = 0;
    bool is_done = (read_line(console, prompt, first, &n) &&
                       read_line(console, "Once more: ", second, &again)) ||
                   win_fail(e, GetLastError(), "read from the console");
    if (is_done && (n != again || memcmp(first, second, n * sizeof *first) != 0))
        is_done = err_set(e, ERR_CONFIG, "the two are not the same; try again");
    if (is_done)
        *ret_password = secret_of_wide(first, n);
    secret_wipe(first, sizeof first);
    secret_wipe(second, sizeof second);
    return is_done;
}

/* The first line of `text`, without the mark that Notepad puts in front. */
static struct slice first_line(struct slice text)
{
    const struct slice mark = SLICE_LIT("\xef\xbb\xbf");
    if (slice_starts_nocase(text, mark))
        text = slice_skip(text, mark.n);
    const char *lf = text.n > 0 ? memchr(text.p, '\n', text.n) : NULL;
    text.n = lf ? (size_t)(lf - text.p) : text.n;
    while (text.n > 0 && text.p[text.n - 1] == '\r')
        text.n--;
    return text;
}

/* What is piped in may be of any encoding. Now is when somebody sees that it is the wrong one. */
static bool judge(struct slice password, struct err *e)
{
    if (password.n > 0 && (memchr(password.p, '\0', password.n) || !str_is_utf8(password)))
        return err_set(e, ERR_CONFIG, "the password is not UTF-8 text; save it as UTF-8");
    return true;
}

static bool read_from_pipe(HANDLE input, struct secret **ret_password, struct err *e)
{
    char bytes[PASSWORD_BYTES_MAX] = "";
    DWORD n = 0, got = 0;
    while (n < sizeof bytes && !memchr(bytes, '\n', n) &&
           ReadFile(input, bytes + n, (DWORD)sizeof bytes - n, &got, NULL) && got > 0)
        n += got;
    struct slice password = first_line(slice_of(bytes, n));
    bool is_fine = memchr(bytes, '\n', n) || n < sizeof bytes;
    if (!is_fine)
        err_set(e, ERR_LIMIT, "the password is longer than %d bytes", PASSWORD_BYTES_MAX);
    is_fine = is_fine && judge(password, e);
    if (is_fine)
        *ret_password = secret_new(password.p, password.n);
    secret_wipe(bytes, sizeof bytes);
    return is_fine;
}

bool platform_read_password(const char *prompt, struct secret **ret_password, struct err *e)
{
    HANDLE input = GetStdHandle(STD_INPUT_HANDLE);
    struct secret *password = NULL;
    DWORD mode = 0;
    bool is_done = GetConsoleMode(input, &mode) ? read_from_console(input, prompt, &password, e)
                                                : read_from_pipe(input, &password, e);
    if (is_done && !password)
        is_done = err_set(e, ERR_MEMORY, "memory ran out");
    if (is_done && secret_is_empty(password))
        is_done = err_set(e, ERR_CONFIG, "the password is empty");
    if (is_done)
        *ret_password = password;
    else
        secret_free(password);
    return is_done;
}

/* --- protecting --- */

/* Lines that the INI file takes: not longer than 198 bytes, the value going on in indented ones. */
static bool add_lines(struct slice text, struct buf *out)
{
    enum { PIECE = 120 };
    bool fits = buf_add_str(out, "; for [account]; it works on this machine only\n"
                                 "password_protected = ");
    for (size_t at = 0; fits && at < text.n; at += PIECE) {
        size_t n = text.n - at < PIECE ? text.n - at : PIECE;
        fits = (at == 0 || buf_add_str(out, "    ")) && buf_add(out, text.p + at, n) &&
               buf_add_char(out, '\n');
    }
    return fits;
}

bool platform_secret_protect(
    const struct secret *password, const char *name, struct buf *out, struct err *e)
{
    (void)name; /* the line goes into its account's section, and needs no name */
    struct slice bytes = secret_reveal(password);
    char *copy = slice_dup(bytes); /* Windows wants to be able to change it */
    if (!copy)
        return err_set(e, ERR_MEMORY, "memory ran out");
    DATA_BLOB clear = { .cbData = (DWORD)bytes.n, .pbData = (BYTE *)copy };
    DATA_BLOB salt = entropy_blob(), blob = { .cbData = 0 };
    /* Machine scope: the administrator who runs this is not the account of the service. */
    bool is_done = CryptProtectData(&clear, L"submitd", &salt, NULL, NULL,
        CRYPTPROTECT_LOCAL_MACHINE | CRYPTPROTECT_UI_FORBIDDEN, &blob);
    DWORD why = GetLastError();
    secret_wipe(copy, bytes.n);
    free(copy);
    if (!is_done)
        return win_fail(e, why, "protect the password");
    struct buf text;
    buf_init(&text, PROTECTED_MAX);
    bool fits = base64_encode(slice_of((const char *)blob.pbData, blob.cbData), &text) &&
                add_lines(buf_slice(&text), out);
    buf_fini(&text);
    LocalFree(blob.pbData);
    return fits || err_set(e, ERR_LIMIT, "the protected password is too long");
}

bool platform_secret_unprotect(
    const struct secret *text, struct secret **ret_password, struct err *e)
{
    struct buf bytes;
    buf_init(&bytes, PROTECTED_MAX);
    bool is_base64 = base64_decode(secret_reveal(text), &bytes);
    DATA_BLOB blob = { .cbData = (DWORD)bytes.len, .pbData = (BYTE *)bytes.data + bytes.off };
    DATA_BLOB salt = entropy_blob(), clear = { .cbData = 0 };
    bool is_open = is_base64 && CryptUnprotectData(&blob, NULL, &salt, NULL, NULL,
                                    CRYPTPROTECT_UI_FORBIDDEN, &clear);
    buf_fini(&bytes);
    if (!is_open)
        return err_set(e, ERR_CONFIG,
            "was not made on this machine, or some of it is missing; make it again here with: "
            "submitd "
            "secret "
            "protect");
    *ret_password = secret_new(clear.pbData, clear.cbData);
    secret_wipe(clear.pbData, clear.cbData);
    LocalFree(clear.pbData);
    return *ret_password || err_set(e, ERR_MEMORY, "memory ran out");
}
