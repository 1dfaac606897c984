/* Started in a console: nobody to tell how it goes, nobody who watches, no sockets from outside,
 * and no other user to become, since Windows starts a service as the right one. */
#include "platform/platform.h"

void platform_tell_service(enum platform_service_state state, const char *status)
{
    (void)state;
    (void)status;
}

void platform_tell_status(const char *status)
{
    (void)status;
}

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

bool platform_become_user(const char *user, struct err *e)
{
    (void)user;
    (void)e;
    return true;
}
