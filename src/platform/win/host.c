#include "platform/platform.h"
#include "platform/win/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>
/* After windows.h. */
#include <bcrypt.h>

/* True when EHLO can carry it (RFC 5321 4.1.2 Domain; the underscore is out there, too). */
static bool is_domain(const char *name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    return name[0] != '\0' && name[0] != '.' && name[strspn(name, allowed)] == '\0';
}

static bool own_name(COMPUTER_NAME_FORMAT format, char *name, size_t size)
{
    wchar_t wide[256];
    DWORD units = ARRAYSIZE(wide);
    char *utf8 = GetComputerNameExW(format, wide, &units) ? win_utf8(wide) : NULL;
    bool is_fine = utf8 && is_domain(utf8) && strlen(utf8) < size;
    if (is_fine)
        snprintf(name, size, "%s", utf8);
    free(utf8);
    return is_fine;
}

void platform_hostname(char *name, size_t size)
{
    if (!own_name(ComputerNameDnsFullyQualified, name, size) &&
        !own_name(ComputerNameDnsHostname, name, size))
        snprintf(name, size, "localhost");
}

void platform_random(void *p, size_t n)
{
    if (BCryptGenRandom(NULL, p, (ULONG)n, BCRYPT_USE_SYSTEM_PREFERRED_RNG) < 0)
        abort(); /* ids would repeat, and nothing else can be done here */
}

bool platform_has_identity(void)
{
    return true; /* SSPI logs in as whoever runs the process, a managed service account included */
}

void platform_hint(enum platform_hint what, uint16_t port, char *text, size_t size)
{
    switch (what) {
    case PLATFORM_WHO_LISTENS:
        snprintf(text, size, "netstat -ano -p TCP | findstr :%u", (unsigned)port);
        break;
    case PLATFORM_OWN_ADDRESSES:
        snprintf(text, size, "ipconfig");
        break;
    }
}

const char platform_port_forbidden[] =
    "Windows keeps the port for itself or for another program; see netsh interface ipv4 show "
    "excludedportrange protocol=tcp, or use another port";
