#include "platform/platform.h"
#include "platform/win/text.h"

#include <fcntl.h>
#include <io.h>
#include <signal.h>
#include <stdlib.h>
#include <windows.h>
/* After windows.h. */
#include <shellapi.h>

/* libuv's: the console window is closed, the user logs off. */
enum { SIGNAL_CONSOLE_CLOSED = 1 };

/* A reload is asked for by the service manager; a moved log file is not held open (files.c). */
const struct platform_signal platform_signals[] = {
    { SIGINT, PLATFORM_STOP },
    { SIGBREAK, PLATFORM_STOP },
    { SIGNAL_CONSOLE_CLOSED, PLATFORM_STOP },
    { 0, PLATFORM_STOP },
};

/* The ones that came with main are in the machine's old code page, with ? for what it lacks. */
static void take_arguments(int *argc, char ***argv)
{
    int count = 0;
    LPWSTR *wide = CommandLineToArgvW(GetCommandLineW(), &count);
    char **all = wide ? calloc((size_t)count + 1, sizeof *all) : NULL;
    bool is_fine = all != NULL;
    for (int i = 0; is_fine && i < count; i++) {
        all[i] = win_utf8(wide[i]);
        is_fine = all[i] != NULL;
    }
    LocalFree(wide);
    if (!is_fine)
        return; /* too little memory to start with: the old ones will do until it is noticed */
    *argc = count;
    *argv = all; /* for the life of the process */
}

static UINT old_code_page;

static void give_back_console(void)
{
    SetConsoleOutputCP(old_code_page);
}

static void prepare_console(void)
{
    DWORD mode = 0;
    bool is_console = GetConsoleMode(GetStdHandle(STD_OUTPUT_HANDLE), &mode) ||
                      GetConsoleMode(GetStdHandle(STD_ERROR_HANDLE), &mode);
    old_code_page = is_console ? GetConsoleOutputCP() : 0;
    if (old_code_page != 0 && SetConsoleOutputCP(CP_UTF8))
        atexit(give_back_console);
}

void platform_start(int *argc, char ***argv)
{
    /* DLLs that are loaded by name come from System32 and not from where submitd.exe lies. */
    SetDefaultDllDirectories(LOAD_LIBRARY_SEARCH_SYSTEM32);
    take_arguments(argc, argv);
    prepare_console();
    for (int fd = 0; fd <= 2; fd++)
        _setmode(fd, _O_BINARY);
}

void platform_protect_memory(void)
{
    /* No window that waits for somebody at the screen, and no report to Windows Error Reporting,
     * which would carry the heap. */
    SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX);
}

void platform_raise_file_limit(void)
{
    /* Windows has none for sockets; the C library's concerns its own few files. */
}

void platform_keep_memory(void)
{
    /* The heap of Windows keeps freed memory by itself. */
}

bool platform_cond_init(pthread_cond_t *cond)
{
    return pthread_cond_init(cond, NULL) == 0;
}

/* winpthreads knows no monotonic clock for conditions, but it can wait for a span. */
void platform_cond_wait_for(pthread_cond_t *cond, pthread_mutex_t *mutex, unsigned ms)
{
    const struct timespec span = {
        .tv_sec = ms / 1000,
        .tv_nsec = (long)(ms % 1000) * 1000000,
    };
    pthread_cond_timedwait_relative_np(cond, mutex, &span);
}

int platform_start_thread(pthread_t *ret_thread, void *(*run)(void *), void *arg)
{
    return pthread_create(ret_thread, NULL, run, arg);
}
