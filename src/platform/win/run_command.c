#include "base/secret.h"
#include "base/str.h"
#include "platform/platform.h"
#include "platform/win/text.h"

#include <stdlib.h>
#include <windows.h>

enum { LOOK_MS = 10 }; /* how often an anonymous pipe is looked into: it cannot be waited for */

struct command {
    HANDLE job; /* ends the process and its children when it is closed */
    HANDLE process;
    HANDLE output;  /* our end of the pipe */
    HANDLE theirs;  /* the command's end, ours until it has started */
    HANDLE nothing; /* NUL, for input and errors */
    uint64_t deadline_ms;
};

static void close_handle(HANDLE *h)
{
    if (*h && *h != INVALID_HANDLE_VALUE)
        CloseHandle(*h);
    *h = NULL;
}

static bool fail(struct err *e, const char *what)
{
    char text[WIN_ERROR_TEXT_MAX];
    return err_set(e, ERR_IO, "%s: %s", what, win_error_text(GetLastError(), text));
}

static bool open_handles(struct command *c, struct err *e)
{
    SECURITY_ATTRIBUTES inherited = { .nLength = sizeof inherited, .bInheritHandle = TRUE };
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = {
        .BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    };
    c->job = CreateJobObjectW(NULL, NULL);
    if (!c->job ||
        !SetInformationJobObject(c->job, JobObjectExtendedLimitInformation, &limits, sizeof limits))
        return fail(e, "cannot make a job for the command");
    if (!CreatePipe(&c->output, &c->theirs, NULL, 0) ||
        !SetHandleInformation(c->theirs, HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT))
        return fail(e, "cannot make a pipe");
    c->nothing = CreateFileW(L"NUL", GENERIC_READ | GENERIC_WRITE,
        FILE_SHARE_READ | FILE_SHARE_WRITE, &inherited, OPEN_EXISTING, 0, NULL);
    return c->nothing != INVALID_HANDLE_VALUE || fail(e, "cannot open NUL");
}

/* cmd.exe takes away the outer quotes with /s and leaves the rest as it is. */
static wchar_t *command_line(const char *line, wchar_t shell[MAX_PATH])
{
    wchar_t folder[MAX_PATH - 16];
    UINT n = GetSystemDirectoryW(folder, ARRAYSIZE(folder));
    if (n == 0 || n >= ARRAYSIZE(folder))
        return NULL;
    wcscpy(shell, folder);
    wcscat(shell, L"\\cmd.exe");
    char *text = str_format("cmd.exe /d /s /c \"%s\"", line);
    wchar_t *wide = text ? win_wide(text) : NULL;
    free(text);
    return wide;
}

/* Only the three handles go along, not every one that is open in the daemon. */
static bool create(struct command *c, const wchar_t *shell, wchar_t *line, PROCESS_INFORMATION *p)
{
    HANDLE handles[] = { c->theirs, c->nothing };
    STARTUPINFOEXW start = {
        .StartupInfo = { .cb = sizeof start,
            .dwFlags = STARTF_USESTDHANDLES,
            .hStdInput = c->nothing,
            .hStdOutput = c->theirs,
            .hStdError = c->nothing },
    };
    SIZE_T size = 0;
    InitializeProcThreadAttributeList(NULL, 1, 0, &size);
    start.lpAttributeList = malloc(size);
    bool is_listed = start.lpAttributeList &&
                     InitializeProcThreadAttributeList(start.lpAttributeList, 1, 0, &size);
    bool is_created = is_listed &&
                      UpdateProcThreadAttribute(start.lpAttributeList, 0,
                          PROC_THREAD_ATTRIBUTE_HANDLE_LIST, handles, sizeof handles, NULL, NULL) &&
                      CreateProcessW(shell, line, NULL, NULL, TRUE,
                          CREATE_SUSPENDED | CREATE_NO_WINDOW | EXTENDED_STARTUPINFO_PRESENT, NULL,
                          NULL, &start.StartupInfo, p);
    DWORD why = GetLastError();
    if (is_listed)
        DeleteProcThreadAttributeList(start.lpAttributeList);
    free(start.lpAttributeList);
    SetLastError(why);
    return is_created;
}

static bool start(struct command *c, const char *line, struct err *e)
{
    wchar_t shell[MAX_PATH];
    if (!open_handles(c, e))
        return false;
    wchar_t *wide = command_line(line, shell);
    if (!wide)
        return err_set(e, ERR_CONFIG, "the command is not UTF-8, or memory ran out");
    PROCESS_INFORMATION p = { .hProcess = NULL };
    bool is_started = create(c, shell, wide, &p) || fail(e, "cannot start cmd.exe");
    free(wide);
    if (!is_started)
        return false;
    c->process = p.hProcess;
    /* In the job before its first instruction, so that no child can be outside of it. */
    if (!AssignProcessToJobObject(c->job, p.hProcess))
        is_started = fail(e, "cannot put the command into its job");
    if (is_started)
        ResumeThread(p.hThread);
    else
        TerminateProcess(p.hProcess, 1);
    CloseHandle(p.hThread);
    close_handle(&c->theirs);
    return is_started;
}

/* Takes what is there; *ret_is_over when all write ends are closed. */
static bool read_some(struct command *c, struct buf *out, bool *ret_is_over, struct err *e)
{
    char bytes[512];
    DWORD ready = 0, got = 0;
    if (!PeekNamedPipe(c->output, NULL, 0, NULL, &ready, NULL)) {
        *ret_is_over = GetLastError() == ERROR_BROKEN_PIPE;
        return *ret_is_over || fail(e, "cannot read its output");
    }
    if (ready == 0) {
        Sleep(LOOK_MS);
        return true;
    }
    if (!ReadFile(c->output, bytes, sizeof bytes, &got, NULL))
        return fail(e, "cannot read its output");
    bool fits = buf_add(out, bytes, got);
    secret_wipe(bytes, sizeof bytes);
    return fits || err_set(e, ERR_LIMIT, "the command wrote more than %zu bytes", out->max);
}

static bool read_output(struct command *c, struct buf *out, struct err *e)
{
    bool is_over = false;
    while (!is_over) {
        if (GetTickCount64() >= c->deadline_ms)
            return err_set(e, ERR_TIMEOUT, "the command did not end in time");
        if (!read_some(c, out, &is_over, e))
            return false;
    }
    return true;
}

/* The output stays out of every sentence: it is a password when all is well. */
static bool judge(struct command *c, struct err *e)
{
    enum { CMD_NOT_FOUND = 9009 };
    uint64_t now = GetTickCount64();
    DWORD left = now < c->deadline_ms ? (DWORD)(c->deadline_ms - now) : 0;
    DWORD status = 0;
    if (WaitForSingleObject(c->process, left) != WAIT_OBJECT_0)
        return err_set(e, ERR_TIMEOUT, "the command did not end in time");
    if (!GetExitCodeProcess(c->process, &status))
        return fail(e, "cannot learn how the command ended");
    if (status == CMD_NOT_FOUND)
        return err_set(
            e, ERR_CONFIG, "the command exited with status 9009 (cmd.exe did not find it)");
    return status == 0 ||
           err_set(e, ERR_CONFIG, "the command exited with status %lu", (unsigned long)status);
}

bool platform_run_command(const char *command, uint64_t timeout_ms, struct buf *out, struct err *e)
{
    enum { TIMEOUT_MAX_MS = 3600 * 1000 };
    uint64_t timeout = timeout_ms < TIMEOUT_MAX_MS ? timeout_ms : TIMEOUT_MAX_MS;
    struct command c = { .deadline_ms = GetTickCount64() + timeout };
    bool is_done = start(&c, command, e) && read_output(&c, out, e) && judge(&c, e);
    close_handle(&c.output);
    close_handle(&c.theirs);
    close_handle(&c.nothing);
    close_handle(&c.process);
    close_handle(&c.job);
    return is_done;
}
