#include "platform/platform.h"
#include "base/str.h"
#include "platform/win/service.h"
#include "platform/win/text.h"

#include <errno.h>
#include <fcntl.h>
#include <io.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>
/* After windows.h; initguid.h makes the next ones define what they name. */
#include <aclapi.h>
#include <initguid.h>
#include <knownfolders.h>
#include <shlobj.h>

/* --- defaults --- */

/* The one variable that defaults begin with. Asked of Windows, because the environment is whatever
 * the caller of this program made of it. */
static const char program_data[] = "%ProgramData%";

static char *expand(const char *text)
{
    if (strncmp(text, program_data, strlen(program_data)) != 0)
        return str_dup(text);
    wchar_t *folder = NULL;
    HRESULT status = SHGetKnownFolderPath(&FOLDERID_ProgramData, 0, NULL, &folder);
    char *utf8 = status == S_OK ? win_utf8(folder) : NULL;
    CoTaskMemFree(folder);
    char *whole = utf8 ? str_format("%s%s", utf8, text + strlen(program_data)) : NULL;
    free(utf8);
    return whole;
}

char *platform_pick(const char *posix, const char *windows)
{
    (void)posix;
    return expand(windows);
}

const char *platform_default_config(void)
{
    static char *path; /* for the life of the process; asked for before there are threads */
    if (!path)
        path = expand("%ProgramData%\\submitd\\submitd.ini");
    return path ? path : "submitd.ini";
}

/* --- marks --- */

/* ChangeTime moves whatever is done to a file. */
bool platform_mark_file(const char *path, uint64_t *mark)
{
    wchar_t *wide = win_path(path);
    if (!wide)
        return false;
    HANDLE file = CreateFileW(wide, FILE_READ_ATTRIBUTES,
        FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL, OPEN_EXISTING, 0, NULL);
    free(wide);
    if (file == INVALID_HANDLE_VALUE)
        return false;
    FILE_BASIC_INFO times;
    BY_HANDLE_FILE_INFORMATION file_is;
    bool is_known = GetFileInformationByHandleEx(file, FileBasicInfo, &times, sizeof times) &&
                    GetFileInformationByHandle(file, &file_is);
    CloseHandle(file);
    if (!is_known)
        return false;
    const uint64_t facts[] = { (uint64_t)file_is.nFileIndexHigh << 32 | file_is.nFileIndexLow,
        (uint64_t)file_is.nFileSizeHigh << 32 | file_is.nFileSizeLow,
        (uint64_t)times.LastWriteTime.QuadPart, (uint64_t)times.ChangeTime.QuadPart };
    *mark = slice_hash(slice_of((const char *)facts, sizeof facts), *mark);
    return true;
}

/* --- opening --- */

FILE *platform_open(const char *path)
{
    wchar_t *wide = win_path(path);
    FILE *f = wide ? _wfopen(wide, L"rbN") : NULL; /* N: no child process inherits it */
    if (!wide)
        errno = EINVAL;
    free(wide);
    return f;
}

bool platform_open_log(const char *path, int *ret_fd, struct err *e)
{
    wchar_t *wide = win_path(path);
    if (!wide)
        return err_set(e, ERR_IO, "cannot open the log file '%s': it is no path", path);
    /* FILE_SHARE_DELETE: whoever rotates logs may rename it while it is open. */
    HANDLE file = CreateFileW(wide, FILE_APPEND_DATA | SYNCHRONIZE,
        FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL, OPEN_ALWAYS,
        FILE_ATTRIBUTE_NORMAL, NULL);
    DWORD why = GetLastError();
    free(wide);
    char text[WIN_ERROR_TEXT_MAX];
    if (file == INVALID_HANDLE_VALUE)
        return err_set(
            e, ERR_IO, "cannot open the log file '%s': %s", path, win_error_text(why, text));
    int fd = _open_osfhandle((intptr_t)file, _O_APPEND | _O_BINARY);
    if (fd < 0) {
        CloseHandle(file);
        return err_set(e, ERR_IO, "cannot open the log file '%s': too many open files", path);
    }
    *ret_fd = fd;
    return true;
}

/* --- who may read a file --- */

/* The groups that everybody, or nearly everybody, is in. */
static const struct {
    WELL_KNOWN_SID_TYPE type;
    const char *name;
} crowds[] = {
    { WinWorldSid, "Everyone" },
    { WinAuthenticatedUserSid, "Authenticated Users" },
    { WinBuiltinUsersSid, "Users" },
    { WinBuiltinGuestsSid, "Guests" },
    { WinInteractiveSid, "INTERACTIVE" },
    { WinNetworkSid, "NETWORK" },
    { WinAnonymousSid, "ANONYMOUS LOGON" },
    { WinAccountDomainUsersSid, "Domain Users" },
};

/* NULL when it is none of them. */
static const char *crowd_name(PSID sid)
{
    for (size_t i = 0; i < ARRAYSIZE(crowds); i++) {
        if (IsWellKnownSid(sid, crowds[i].type))
            return crowds[i].name;
    }
    return NULL;
}

/* The first crowd that the list lets read, NULL: none. Entries that deny are not weighed against
 * it: a list that needs them is not one to trust a password to. */
static const char *reading_crowd(PACL list)
{
    const DWORD reads = FILE_READ_DATA | GENERIC_READ | GENERIC_ALL;
    if (!list)
        return "Everyone"; /* no list at all: no protection */
    for (DWORD i = 0; i < list->AceCount; i++) {
        void *entry = NULL;
        if (!GetAce(list, i, &entry))
            continue;
        const ACCESS_ALLOWED_ACE *ace = entry;
        bool is_allowing = ace->Header.AceType == ACCESS_ALLOWED_ACE_TYPE &&
                           !(ace->Header.AceFlags & INHERIT_ONLY_ACE);
        if (!is_allowing || !(ace->Mask & reads))
            continue;
        const char *name = crowd_name((char *)entry + offsetof(ACCESS_ALLOWED_ACE, SidStart));
        if (name)
            return name;
    }
    return NULL;
}

bool platform_file_is_private(const char *path, struct err *e)
{
    char text[WIN_ERROR_TEXT_MAX];
    wchar_t *wide = win_path(path);
    PACL list = NULL;
    PSECURITY_DESCRIPTOR descriptor = NULL;
    DWORD why = wide ? GetNamedSecurityInfoW(wide, SE_FILE_OBJECT, DACL_SECURITY_INFORMATION, NULL,
                           NULL, &list, NULL, &descriptor)
                     : ERROR_INVALID_NAME;
    free(wide);
    if (why != ERROR_SUCCESS)
        return err_set(e, ERR_IO, "cannot look at %s: %s", path, win_error_text(why, text));
    const char *crowd = reading_crowd(list);
    LocalFree(descriptor);
    if (!crowd)
        return true;
    /* By number, because groups have other names in other languages: Administrators, SYSTEM and
     * the service, whatever account it runs as. */
    wchar_t sid[WIN_SID_TEXT_MAX];
    char *service = win_service_sid(sid, NULL) ? win_utf8(sid) : NULL;
    err_set(e, ERR_CONFIG,
        "%s is open to %s; run as administrator: icacls \"%s\" /inheritance:r /grant:r "
        "*S-1-5-32-544:F *S-1-5-18:F *%s:R",
        path, crowd, path, service ? service : "S-1-5-19");
    free(service);
    return false;
}
