#include "platform/posix/posix.h"

#include <sys/prctl.h>

/* For builds with sanitizers only: LeakSanitizer attaches to its own process at the end, which a
 * process that is not dumpable refuses once it is no longer root. After a change of the user the
 * kernel has switched it off. */
void posix_set_tracing(void)
{
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}
