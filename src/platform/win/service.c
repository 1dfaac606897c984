#include "platform/service.h"
#include "platform/win/service.h"
#include "platform/win/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <windows.h>
/* After windows.h. */
#include <shellapi.h>

enum { PATH_ROOM = 1024, COMMAND_ROOM = 3000, POLL_MS = 100 };

/* Can be told from the outside, and needs nothing of the machine beyond its own files. */
static const wchar_t local_service[] = L"NT AUTHORITY\\LocalService";

bool service_has_manager(struct err *e)
{
    (void)e;
    return true;
}

struct handles {
    SC_HANDLE manager, service;
};

static void close_handles(struct handles *h)
{
    if (h->service)
        CloseServiceHandle(h->service);
    if (h->manager)
        CloseServiceHandle(h->manager);
}

static bool open_service(DWORD rights, struct handles *ret_handles, struct err *e)
{
    struct handles h = { .manager = OpenSCManagerW(NULL, NULL, SC_MANAGER_CONNECT) };
    if (h.manager)
        h.service = OpenServiceW(h.manager, SERVICE_NAME, rights);
    if (!h.service) {
        win_fail(e, GetLastError(), "open the service");
        close_handles(&h);
        return false;
    }
    *ret_handles = h;
    return true;
}

/* --- install --- */

/* Quoted, so that a folder with a blank in its name is not taken for a program and an argument. */
static bool command_line(const wchar_t *program, const char *config, wchar_t *line, struct err *e)
{
    wchar_t *file = win_wide(config);
    int n =
        file ? swprintf(line, COMMAND_ROOM, L"\"%ls\" service run --config \"%ls\"", program, file)
             : -1;
    free(file);
    return n > 0 || err_set(e, ERR_CONFIG, "the path of '%s' is too long for a service", config);
}

static bool create(const wchar_t *line, struct handles *h, struct err *e)
{
    SERVICE_DELAYED_AUTO_START_INFO delayed = { .fDelayedAutostart = TRUE };
    h->service = CreateServiceW(h->manager, SERVICE_NAME, L"submitd mail submission",
        SERVICE_ALL_ACCESS, SERVICE_WIN32_OWN_PROCESS, SERVICE_AUTO_START, SERVICE_ERROR_NORMAL,
        line, NULL, NULL, NULL, local_service, NULL);
    DWORD why = h->service ? ERROR_SUCCESS : GetLastError();
    if (h->service)
        ChangeServiceConfig2W(h->service, SERVICE_CONFIG_DELAYED_AUTO_START_INFO, &delayed);
    if (why != ERROR_SERVICE_EXISTS)
        return h->service || win_fail(e, why, "make the service");
    h->service = OpenServiceW(h->manager, SERVICE_NAME, SERVICE_ALL_ACCESS);
    if (!h->service)
        return win_fail(e, GetLastError(), "open the service");
    return ChangeServiceConfigW(h->service, SERVICE_NO_CHANGE, SERVICE_NO_CHANGE, SERVICE_NO_CHANGE,
               line, NULL, NULL, NULL, NULL, NULL, NULL) ||
           win_fail(e, GetLastError(), "change the service");
}

/*
 * A level that this Windows does not know is left out: the service works without it. The last
 * pause repeats, so a service that could not start (port taken, configuration wrong) comes up
 * within ten minutes of its remedy. The rights in `privileges` are all that its token keeps.
 */
static bool complete(SC_HANDLE service, struct err *e)
{
    static wchar_t description[] = L"Takes mail from programs that speak plain SMTP and hands it "
                                   L"to Exchange with TLS and a login.";
    static wchar_t privileges[] = L"SeChangeNotifyPrivilege\0";
    SC_ACTION restarts[] = { { SC_ACTION_RESTART, 5 * 1000 }, { SC_ACTION_RESTART, 60 * 1000 },
        { SC_ACTION_RESTART, 600 * 1000 } };
    SERVICE_DESCRIPTIONW text = { description };
    SERVICE_FAILURE_ACTIONSW recovery = {
        .dwResetPeriod = 24 * 60 * 60, .cActions = ARRAY_LEN(restarts), .lpsaActions = restarts
    };
    SERVICE_FAILURE_ACTIONS_FLAG also_without_crash = { TRUE };
    SERVICE_SID_INFO sid = { SERVICE_SID_TYPE_UNRESTRICTED };
    SERVICE_REQUIRED_PRIVILEGES_INFOW rights = { privileges };
    SERVICE_PRESHUTDOWN_INFO preshutdown = { SERVICE_STOP_MS };
    const struct {
        DWORD level;
        void *info;
        const char *what;
    } rows[] = {
        { SERVICE_CONFIG_DESCRIPTION, &text, "description" },
        { SERVICE_CONFIG_FAILURE_ACTIONS, &recovery, "recovery" },
        { SERVICE_CONFIG_FAILURE_ACTIONS_FLAG, &also_without_crash, "recovery" },
        { SERVICE_CONFIG_SERVICE_SID_INFO, &sid, "SID" },
        { SERVICE_CONFIG_REQUIRED_PRIVILEGES_INFO, &rights, "privileges" },
        { SERVICE_CONFIG_PRESHUTDOWN_INFO, &preshutdown, "time to stop" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (ChangeServiceConfig2W(service, rows[i].level, rows[i].info))
            continue;
        DWORD why = GetLastError();
        if (why != ERROR_CALL_NOT_IMPLEMENTED && why != ERROR_INVALID_LEVEL)
            return win_fail(e, why, "set the service's %s", rows[i].what);
    }
    return true;
}

bool service_install(const char *config, struct err *e)
{
    wchar_t program[PATH_ROOM], line[COMMAND_ROOM];
    DWORD n = GetModuleFileNameW(NULL, program, ARRAY_LEN(program));
    if (n == 0 || n == ARRAY_LEN(program))
        return err_set(e, ERR_IO, "cannot find out where this program is: its path is too long");
    if (!command_line(program, config, line, e) || !folder_make(e))
        return false;
    struct handles h = { .manager = OpenSCManagerW(
                             NULL, NULL, SC_MANAGER_CONNECT | SC_MANAGER_CREATE_SERVICE) };
    bool is_done = h.manager || win_fail(e, GetLastError(), "open the service manager");
    is_done =
        is_done && create(line, &h, e) && complete(h.service, e) && eventlog_register(program, e);
    close_handles(&h);
    return is_done;
}

/* --- start, stop, uninstall --- */

static bool query(SC_HANDLE service, SERVICE_STATUS_PROCESS *ret_status)
{
    DWORD size = 0;
    return QueryServiceStatusEx(
        service, SC_STATUS_PROCESS_INFO, (BYTE *)ret_status, sizeof *ret_status, &size);
}

/* Waits until it has passed this state or the time is over; the state it is in then. */
static DWORD wait_for(
    SC_HANDLE service, DWORD passing, DWORD timeout_ms, SERVICE_STATUS_PROCESS *status)
{
    ULONGLONG end = GetTickCount64() + timeout_ms;
    while (query(service, status) && status->dwCurrentState == passing && GetTickCount64() < end)
        Sleep(POLL_MS);
    return status->dwCurrentState;
}

static bool tell_why_not_running(const SERVICE_STATUS_PROCESS *status, struct err *e)
{
    static const char see[] = "the event log has the reason (source submitd)";
    if (status->dwWin32ExitCode != ERROR_SERVICE_SPECIFIC_ERROR)
        return err_set(e, ERR_IO, "the service ended at once (Windows error %lu); %s",
            status->dwWin32ExitCode, see);
    return err_set(e, ERR_CONFIG, "the service could not start (exit status %lu: %s); %s",
        status->dwServiceSpecificExitCode,
        status->dwServiceSpecificExitCode == 2 ? "the configuration has errors"
                                               : "see there what it needs",
        see);
}

bool service_start(struct err *e)
{
    struct handles h;
    SERVICE_STATUS_PROCESS status = { .dwCurrentState = SERVICE_STOPPED };
    if (!open_service(SERVICE_START | SERVICE_QUERY_STATUS, &h, e))
        return false;
    bool is_done = StartServiceW(h.service, 0, NULL) ||
                   GetLastError() == ERROR_SERVICE_ALREADY_RUNNING ||
                   win_fail(e, GetLastError(), "start the service");
    if (is_done &&
        wait_for(h.service, SERVICE_START_PENDING, SERVICE_START_MS, &status) != SERVICE_RUNNING)
        is_done = tell_why_not_running(&status, e);
    close_handles(&h);
    return is_done;
}

static bool stop_and_wait(SC_HANDLE service, struct err *e)
{
    SERVICE_STATUS ignored;
    SERVICE_STATUS_PROCESS status = { .dwCurrentState = SERVICE_STOPPED };
    wait_for(service, SERVICE_START_PENDING, SERVICE_START_MS, &status); /* takes no orders yet */
    if (!ControlService(service, SERVICE_CONTROL_STOP, &ignored)) {
        DWORD why = GetLastError();
        if (why == ERROR_SERVICE_NOT_ACTIVE)
            return true;
        /* Already stopping: wait for that. */
        if (why != ERROR_SERVICE_CANNOT_ACCEPT_CTRL)
            return win_fail(e, why, "stop the service");
    }
    DWORD state = wait_for(service, SERVICE_STOP_PENDING, SERVICE_STOP_MS, &status);
    return state == SERVICE_STOPPED ||
           err_set(e, ERR_TIMEOUT, "the service did not stop within %d s", SERVICE_STOP_MS / 1000);
}

bool service_stop(struct err *e)
{
    struct handles h;
    if (!open_service(SERVICE_STOP | SERVICE_QUERY_STATUS, &h, e))
        return false;
    bool is_done = stop_and_wait(h.service, e);
    close_handles(&h);
    return is_done;
}

bool service_reload(struct err *e)
{
    struct handles h;
    SERVICE_STATUS ignored;
    if (!open_service(SERVICE_PAUSE_CONTINUE, &h, e))
        return false;
    bool is_done = ControlService(h.service, SERVICE_CONTROL_PARAMCHANGE, &ignored) ||
                   win_fail(e, GetLastError(), "tell the service to load its configuration again");
    close_handles(&h);
    return is_done;
}

bool service_uninstall(struct err *e)
{
    struct handles h = { .manager = OpenSCManagerW(NULL, NULL, SC_MANAGER_CONNECT) };
    if (!h.manager)
        return win_fail(e, GetLastError(), "open the service manager");
    h.service = OpenServiceW(h.manager, SERVICE_NAME, SERVICE_STOP | SERVICE_QUERY_STATUS | DELETE);
    DWORD why = h.service ? ERROR_SUCCESS : GetLastError();
    bool is_done = why == ERROR_SERVICE_DOES_NOT_EXIST;
    if (h.service)
        is_done = stop_and_wait(h.service, e) &&
                  (DeleteService(h.service) || win_fail(e, GetLastError(), "remove the service"));
    else if (!is_done)
        win_fail(e, why, "open the service");
    close_handles(&h);
    if (is_done)
        eventlog_unregister();
    return is_done;
}

/* --- status --- */

static const char *const state_names[] = {
    [SERVICE_STOPPED] = "stopped",
    [SERVICE_START_PENDING] = "starting",
    [SERVICE_STOP_PENDING] = "stopping",
    [SERVICE_RUNNING] = "running",
    [SERVICE_CONTINUE_PENDING] = "continuing",
    [SERVICE_PAUSE_PENDING] = "pausing",
    [SERVICE_PAUSED] = "paused",
};
static const char *const start_names[] = {
    [SERVICE_BOOT_START] = "with the system",
    [SERVICE_SYSTEM_START] = "with the system",
    [SERVICE_AUTO_START] = "by itself",
    [SERVICE_DEMAND_START] = "when asked to",
    [SERVICE_DISABLED] = "never (disabled)",
};

/* QUERY_SERVICE_CONFIGW and the texts that it points to; Windows' own bound. */
union config_room {
    QUERY_SERVICE_CONFIGW config;
    BYTE room[8192];
};

char *service_config(void)
{
    struct handles h;
    struct err ignored;
    union config_room all;
    DWORD size = 0;
    int count = 0;
    char *path = NULL;
    LPWSTR *words = NULL;
    if (!open_service(SERVICE_QUERY_CONFIG, &h, &ignored))
        return NULL;
    if (QueryServiceConfigW(h.service, &all.config, sizeof all, &size))
        words = CommandLineToArgvW(all.config.lpBinaryPathName, &count);
    for (int i = 0; words && !path && i + 1 < count; i++)
        path = wcscmp(words[i], L"--config") == 0 ? win_utf8(words[i + 1]) : NULL;
    LocalFree(words);
    close_handles(&h);
    return path;
}

static void add_wide(struct buf *out, const char *label, const wchar_t *wide)
{
    char *text = wide ? win_utf8(wide) : NULL;
    buf_addf(out, "%s%s\n", label, text ? text : "?");
    free(text);
}

static void add_config(struct buf *out, SC_HANDLE service)
{
    union config_room all;
    SERVICE_DELAYED_AUTO_START_INFO delayed = { FALSE };
    DWORD size = 0;
    if (!QueryServiceConfigW(service, &all.config, sizeof all, &size))
        return;
    QueryServiceConfig2W(
        service, SERVICE_CONFIG_DELAYED_AUTO_START_INFO, (BYTE *)&delayed, sizeof delayed, &size);
    DWORD start = all.config.dwStartType;
    buf_addf(out, "starts    %s%s\n", start < ARRAY_LEN(start_names) ? start_names[start] : "?",
        delayed.fDelayedAutostart ? ", a little after the system" : "");
    add_wide(out, "account   ", all.config.lpServiceStartName);
    add_wide(out, "program   ", all.config.lpBinaryPathName);
}

bool service_describe(struct buf *out, bool *ret_is_running, struct err *e)
{
    struct handles h;
    SERVICE_STATUS_PROCESS status = { .dwCurrentState = SERVICE_STOPPED };
    *ret_is_running = false;
    if (!open_service(SERVICE_QUERY_STATUS | SERVICE_QUERY_CONFIG, &h, e))
        return false;
    if (query(h.service, &status)) {
        DWORD state = status.dwCurrentState;
        *ret_is_running = state == SERVICE_RUNNING;
        buf_addf(out, "state     %s\n", state < ARRAY_LEN(state_names) ? state_names[state] : "?");
        if (state == SERVICE_RUNNING)
            buf_addf(out, "process   %lu\n", status.dwProcessId);
        else if (status.dwWin32ExitCode == ERROR_SERVICE_SPECIFIC_ERROR)
            buf_addf(out, "ended     with exit status %lu; see the event log\n",
                status.dwServiceSpecificExitCode);
    }
    add_config(out, h.service);
    close_handles(&h);
    return true;
}

struct slice service_sample(void)
{
    HRSRC found = FindResourceW(NULL, L"SAMPLE_INI", RT_RCDATA);
    HGLOBAL loaded = found ? LoadResource(NULL, found) : NULL;
    return loaded ? slice_of(LockResource(loaded), SizeofResource(NULL, found)) : SLICE_NONE;
}
