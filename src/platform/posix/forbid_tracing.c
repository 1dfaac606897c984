#include "platform/posix/posix.h"

#include <sys/prctl.h>

/* Not dumpable: no core, and nobody but root may attach or read /proc/PID/mem. The kernel sets it
 * anew when a process changes its user (/proc/sys/fs/suid_dumpable), hence after that again. */
void posix_set_tracing(void)
{
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}
