#include "platform/platform.h"
#include "platform/win/service.h"
#include "platform/win/submitd_messages.h" /* windmc makes it of packaging/windows */
#include "platform/win/text.h"

#include <stdlib.h>
#include <windows.h>

#define SOURCE_KEY L"SYSTEM\\CurrentControlSet\\Services\\EventLog\\Application\\" SERVICE_NAME

/* ReportEvent takes 31839 characters of one string; no character needs more of UTF-16 than of
 * UTF-8. */
enum { EVENT_TEXT_MAX = 31000 };

static const struct {
    WORD type;
    DWORD id;
} levels[] = {
    { EVENTLOG_ERROR_TYPE, MSG_ERROR },
    { EVENTLOG_WARNING_TYPE, MSG_WARNING },
    { EVENTLOG_INFORMATION_TYPE, MSG_INFO },
    { EVENTLOG_INFORMATION_TYPE, MSG_DEBUG },
};

static HANDLE source;

static BOOL CALLBACK open_source(INIT_ONCE *once, void *argument, void **context)
{
    (void)once;
    (void)argument;
    (void)context;
    source = RegisterEventSourceW(NULL, SERVICE_NAME);
    return TRUE;
}

/* Event Viewer would take %1 in a value, as in an address fe80::2%1, for a place to fill in. */
static bool add_event_text(struct buf *out, const char *line)
{
    size_t n = strlen(line);
    size_t kept = n < EVENT_TEXT_MAX ? n : EVENT_TEXT_MAX;
    while (kept < n && kept > 0 && ((unsigned char)line[kept] & 0xc0) == 0x80)
        kept--; /* not in the middle of a character */
    bool fits = true;
    for (size_t i = 0; fits && i < kept; i++) {
        bool is_place = line[i] == '%' && line[i + 1] >= '0' && line[i + 1] <= '9';
        fits = is_place ? buf_add_str(out, "% ") : buf_add_char(out, line[i]);
    }
    return fits;
}

void platform_syslog(int severity, const char *line)
{
    static INIT_ONCE once = INIT_ONCE_STATIC_INIT;
    InitOnceExecuteOnce(&once, open_source, NULL, NULL);
    bool is_known = severity >= 0 && (size_t)severity < ARRAY_LEN(levels);
    size_t row = is_known ? (size_t)severity : ARRAY_LEN(levels) - 1;
    struct buf text;
    buf_init(&text, (size_t)EVENT_TEXT_MAX * 2);
    add_event_text(&text, line);
    wchar_t *wide = win_wide(buf_cstr(&text));
    const wchar_t *strings[] = { wide };
    if (source && wide)
        ReportEventW(source, levels[row].type, 0, levels[row].id, NULL, 1, 0, strings, NULL);
    free(wide);
    buf_fini(&text);
}

const char *platform_syslog_name(void)
{
    return "eventlog";
}

bool eventlog_register(const wchar_t *program, struct err *e)
{
    const DWORD types = EVENTLOG_ERROR_TYPE | EVENTLOG_WARNING_TYPE | EVENTLOG_INFORMATION_TYPE;
    HKEY key;
    LSTATUS status = RegCreateKeyExW(
        HKEY_LOCAL_MACHINE, SOURCE_KEY, 0, NULL, 0, KEY_SET_VALUE, NULL, &key, NULL);
    if (status != ERROR_SUCCESS)
        return win_fail(e, (DWORD)status, "register the event source");
    DWORD size = (DWORD)((wcslen(program) + 1) * sizeof *program);
    status = RegSetValueExW(key, L"EventMessageFile", 0, REG_SZ, (const BYTE *)program, size);
    if (status == ERROR_SUCCESS)
        status = RegSetValueExW(
            key, L"TypesSupported", 0, REG_DWORD, (const BYTE *)&types, sizeof types);
    RegCloseKey(key);
    return status == ERROR_SUCCESS || win_fail(e, (DWORD)status, "register the event source");
}

void eventlog_unregister(void)
{
    RegDeleteKeyW(HKEY_LOCAL_MACHINE, SOURCE_KEY);
}
