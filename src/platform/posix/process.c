#include "platform/platform.h"
#include "platform/posix/posix.h"

#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>

/* NOLINTNEXTLINE(readability-non-const-parameter): it is another system that changes them. */
void platform_start(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
}

const struct platform_signal platform_signals[] = {
    { SIGTERM, PLATFORM_STOP },
    { SIGINT, PLATFORM_STOP },
    { SIGHUP, PLATFORM_RELOAD },
    { SIGUSR1, PLATFORM_REOPEN_LOG },
    { 0, PLATFORM_STOP },
};

bool platform_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr) != 0)
        return false;
    bool is_fine = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0 &&
                   pthread_cond_init(cond, &attr) == 0;
    pthread_condattr_destroy(&attr);
    return is_fine;
}

void platform_cond_wait_for(pthread_cond_t *cond, pthread_mutex_t *mutex, unsigned ms)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += (long)(ms % 1000) * 1000000;
    at.tv_sec += at.tv_nsec / 1000000000;
    at.tv_nsec %= 1000000000;
    pthread_cond_timedwait(cond, mutex, &at);
}

int platform_start_thread(pthread_t *ret_thread, void *(*run)(void *), void *arg)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int why = pthread_create(ret_thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return why;
}

void platform_protect_memory(void)
{
    const struct rlimit none = { .rlim_cur = 0, .rlim_max = 0 };
    setrlimit(RLIMIT_CORE, &none);
    posix_set_tracing();
}

void platform_keep_memory(void)
{
    /* glibc's 128 KB of each are about one message under way. */
    enum { KEPT_OCTETS = 16 * 1024 * 1024, OWN_MAPPING_OCTETS = 4 * 1024 * 1024 };
    mallopt(M_TRIM_THRESHOLD, KEPT_OCTETS);
    mallopt(M_MMAP_THRESHOLD, OWN_MAPPING_OCTETS);
}

void platform_raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}
