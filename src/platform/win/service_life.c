#include "platform/service.h"
#include "platform/platform.h"
#include "platform/win/service.h"
#include "platform/win/text.h"

#include <stdatomic.h>
#include <windows.h>

/* One process is one service at most. The manager's threads come in here: the control handler on
 * the dispatcher's, service_main on its own, and platform_tell_service on service_main's. */
static struct {
    const struct service_life *life; /* NULL: this process is no service */
    SERVICE_STATUS_HANDLE handle;
    atomic_ulong state;
    int status; /* what `run` returned */
} the_service;

bool service_is_this(void)
{
    return the_service.life != NULL;
}

/* The manager reads the rest from the state: what is accepted, and how long to wait. */
static void report(DWORD state, int exit_status)
{
    bool is_pending = state == SERVICE_START_PENDING || state == SERVICE_STOP_PENDING;
    SERVICE_STATUS status = {
        .dwServiceType = SERVICE_WIN32_OWN_PROCESS,
        .dwCurrentState = state,
        .dwControlsAccepted = state == SERVICE_RUNNING
                                  ? SERVICE_ACCEPT_STOP | SERVICE_ACCEPT_SHUTDOWN |
                                        SERVICE_ACCEPT_PRESHUTDOWN | SERVICE_ACCEPT_PARAMCHANGE
                                  : 0,
        .dwWin32ExitCode = exit_status == 0 ? NO_ERROR : ERROR_SERVICE_SPECIFIC_ERROR,
        .dwServiceSpecificExitCode = (DWORD)exit_status,
        .dwCheckPoint = is_pending ? 1 : 0,
        .dwWaitHint = state == SERVICE_START_PENDING  ? SERVICE_START_MS
                      : state == SERVICE_STOP_PENDING ? SERVICE_STOP_MS
                                                      : 0,
    };
    atomic_store(&the_service.state, state);
    SetServiceStatus(the_service.handle, &status);
}

static DWORD WINAPI on_control(DWORD control, DWORD type, void *data, void *context)
{
    (void)type;
    (void)data;
    (void)context;
    const struct service_life *life = the_service.life;
    switch (control) {
    case SERVICE_CONTROL_STOP:
    case SERVICE_CONTROL_SHUTDOWN:
    case SERVICE_CONTROL_PRESHUTDOWN:
        if (atomic_load(&the_service.state) != SERVICE_STOP_PENDING)
            report(SERVICE_STOP_PENDING, 0);
        life->on_order(life->user, SERVICE_ORDER_STOP);
        return NO_ERROR;
    case SERVICE_CONTROL_PARAMCHANGE:
        life->on_order(life->user, SERVICE_ORDER_RELOAD);
        return NO_ERROR;
    case SERVICE_CONTROL_INTERROGATE:
        return NO_ERROR;
    default:
        return ERROR_CALL_NOT_IMPLEMENTED;
    }
}

static void WINAPI service_main(DWORD argc, wchar_t **argv)
{
    (void)argc;
    (void)argv;
    const struct service_life *life = the_service.life;
    the_service.handle = RegisterServiceCtrlHandlerExW(SERVICE_NAME, on_control, NULL);
    if (!the_service.handle)
        return;
    report(SERVICE_START_PENDING, 0);
    the_service.status = life->run(life->user);
    report(SERVICE_STOPPED, the_service.status);
}

bool service_be(const struct service_life *life, int *ret_status, struct err *e)
{
    wchar_t name[] = SERVICE_NAME;
    const SERVICE_TABLE_ENTRYW table[] = { { name, service_main }, { NULL, NULL } };
    the_service.life = life;
    bool is_done = StartServiceCtrlDispatcherW(table);
    DWORD why = GetLastError();
    the_service.life = NULL;
    if (!is_done && why == ERROR_FAILED_SERVICE_CONTROLLER_CONNECT)
        return err_set(e, ERR_CONFIG,
            "this is how Windows starts the service; in a console it is: submitd run");
    if (!is_done)
        return win_fail(e, why, "talk to the service manager");
    *ret_status = the_service.status;
    return true;
}

void platform_tell_service(enum platform_service_state state, const char *status)
{
    (void)status; /* the manager has no room for a sentence; the event log has it */
    static const DWORD states[] = {
        [PLATFORM_SERVICE_READY] = SERVICE_RUNNING,
        [PLATFORM_SERVICE_RELOADING] = SERVICE_RUNNING,
        [PLATFORM_SERVICE_STOPPING] = SERVICE_STOP_PENDING,
    };
    DWORD now = atomic_load(&the_service.state);
    if (service_is_this() && now != SERVICE_STOP_PENDING && now != states[state])
        report(states[state], 0);
}

void platform_tell_status(const char *status)
{
    (void)status;
}

/* --- what only systemd has --- */

uint64_t platform_watchdog_ms(void)
{
    return 0;
}

void platform_tell_alive(void)
{
}

bool platform_take_sockets(
    struct platform_socket sockets[PLATFORM_SOCKETS_MAX], size_t *ret_count, struct err *e)
{
    (void)sockets;
    (void)e;
    *ret_count = 0;
    return true;
}

/* The service manager starts the service as its account. */
bool platform_become_user(const char *user, struct err *e)
{
    (void)user;
    (void)e;
    return true;
}
