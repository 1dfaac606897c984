#include "platform/win/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

wchar_t *win_wide_n(const char *utf8, size_t n, size_t *ret_n)
{
    if (n > INT_MAX / 2)
        return NULL;
    wchar_t *wide = calloc(n + 1, sizeof *wide); /* UTF-16 never takes more units than UTF-8 */
    if (!wide)
        return NULL;
    int units = 0;
    if (n > 0)
        units = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, utf8, (int)n, wide, (int)n);
    if (n > 0 && units == 0) {
        free(wide);
        return NULL;
    }
    *ret_n = (size_t)units;
    return wide;
}

wchar_t *win_wide(const char *utf8)
{
    size_t n = 0;
    return win_wide_n(utf8, strlen(utf8), &n);
}

char *win_utf8(const wchar_t *wide)
{
    int size = WideCharToMultiByte(CP_UTF8, 0, wide, -1, NULL, 0, NULL, NULL);
    char *utf8 = size > 0 ? malloc((size_t)size) : NULL;
    if (utf8)
        WideCharToMultiByte(CP_UTF8, 0, wide, -1, utf8, size, NULL, NULL);
    return utf8;
}

wchar_t *win_path(const char *utf8)
{
    static const wchar_t prefix[] = L"\\\\?\\";
    enum { PREFIX = ARRAYSIZE(prefix) - 1 };
    wchar_t *path = win_wide(utf8);
    size_t n = path ? wcslen(path) : 0;
    bool has_drive = n > 2 && path[1] == L':' && (path[2] == L'\\' || path[2] == L'/');
    if (n < MAX_PATH - 12 || !has_drive) /* 12: room that CreateDirectory wants for a file */
        return path;
    wchar_t *longer = calloc(PREFIX + n + 1, sizeof *longer);
    if (longer) {
        memcpy(longer, prefix, sizeof prefix);
        memcpy(longer + PREFIX, path, n * sizeof *path);
    }
    for (size_t i = PREFIX; longer && i < PREFIX + n; i++)
        longer[i] = longer[i] == L'/' ? L'\\' : longer[i]; /* Windows does not do it behind \\?\ */
    free(path);
    return longer;
}

const char *win_error_text(unsigned long code, char text[WIN_ERROR_TEXT_MAX])
{
    static const DWORD languages[] = { MAKELANGID(LANG_ENGLISH, SUBLANG_ENGLISH_US), 0 };
    const DWORD flags =
        FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS | FORMAT_MESSAGE_MAX_WIDTH_MASK;
    wchar_t words[WIN_ERROR_TEXT_MAX / 2];
    DWORD n = 0;
    for (size_t i = 0; n == 0 && i < ARRAYSIZE(languages); i++)
        n = FormatMessageW(flags, NULL, code, languages[i], words, ARRAYSIZE(words), NULL);
    while (n > 0 && (words[n - 1] == L' ' || words[n - 1] == L'.'))
        n--;
    words[n < ARRAYSIZE(words) ? n : 0] = L'\0';
    char *utf8 = n > 0 ? win_utf8(words) : NULL;
    char number[24];
    bool is_small = code < 0x10000; /* the others are known by their hexadecimal form */
    snprintf(number, sizeof number, is_small ? "error %lu" : "0x%08lx", code);
    snprintf(text, WIN_ERROR_TEXT_MAX, "%.*s%s%s", WIN_ERROR_TEXT_MAX - 40, utf8 ? utf8 : "",
        utf8 ? ", " : "", number);
    free(utf8);
    return text;
}
