#include "platform/platform.h"

#include <sys/prctl.h>
#include <sys/resource.h>

void platform_protect_memory(void)
{
    const struct rlimit none = { .rlim_cur = 0, .rlim_max = 0 };
    setrlimit(RLIMIT_CORE, &none);
    /* Not dumpable also means: no other process of this user may attach or read /proc/PID/mem. */
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

void platform_raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}
