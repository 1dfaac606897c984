/*
 * Between our UTF-8 and what Windows wants to hear, for the files that speak to Windows.
 * Results belong to the caller. It never truncates.
 */
#ifndef SUBMITD_PLATFORM_WIN_TEXT_H
#define SUBMITD_PLATFORM_WIN_TEXT_H

#include "base/err.h"

#include <stddef.h>
#include <wchar.h>

/* Heap; NULL when the text is not UTF-8 or memory ran out. */
wchar_t *win_wide(const char *utf8);
/* `n` bytes, with a 0 behind them; *ret_n counts without it. For secrets: the caller wipes. */
wchar_t *win_wide_n(const char *utf8, size_t n, size_t *ret_n);
/* Heap; NULL when memory ran out. */
char *win_utf8(const wchar_t *wide);
/* A file's path, also one longer than 260 characters when it is a full one. As win_wide. */
wchar_t *win_path(const char *utf8);

enum { WIN_ERROR_TEXT_MAX = 200 };
/* Windows' words for a GetLastError or HRESULT code in English when it has them, without the full
 * stop, and the code. */
const char *win_error_text(unsigned long code, char text[WIN_ERROR_TEXT_MAX]);

#endif
