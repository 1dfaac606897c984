/*
 * What the files of the Windows service share: its names, in Windows' own characters.
 * Nothing here owns anything.
 */
#ifndef SUBMITD_PLATFORM_WIN_SERVICE_H
#define SUBMITD_PLATFORM_WIN_SERVICE_H

#include "base/err.h"

#include <stddef.h>

#define SERVICE_NAME L"submitd"

enum {
    /* Twice the relay's longest drain (clients, then the spool's own deliveries), and some. */
    SERVICE_STOP_MS = 75 * 1000,
    /* A start reads files and may run a password_command, which has 30 seconds. */
    SERVICE_START_MS = 60 * 1000,
};

/* failure.c: "cannot WHAT: reason", with the remedy where one is known. Always returns false. */
bool win_fail(struct err *e, unsigned long code, const char *fmt, ...) FORMAT_LIKE_PRINTF(3, 4);

/* eventlog.c: the source below which Event Viewer looks for the texts. */
bool eventlog_register(const wchar_t *program, struct err *e);
void eventlog_unregister(void);

enum { WIN_SID_TEXT_MAX = 100 };
/* folder.c: the SID of NT SERVICE\submitd, which the service's process has whatever account it runs
 * as. It is known before the service is there. */
bool win_service_sid(wchar_t text[WIN_SID_TEXT_MAX], struct err *e);

/* folder.c: for administrators, the system and the service only; an existing one gets these rights
 * again. */
bool folder_make(struct err *e);
/* Removes them as far as they are empty. */
void folder_remove(void);

#endif
