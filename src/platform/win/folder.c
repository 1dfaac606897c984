#include "platform/win/service.h"
#include "platform/platform.h"
#include "platform/service.h"
#include "platform/win/text.h"

#include <aclapi.h>
#include <bcrypt.h>
#include <sddl.h>
#include <stdio.h>
#include <stdlib.h>
#include <windows.h>

enum { SDDL_MAX = 300, PATH_ROOM = 1024 };

/*
 * Who may do what, as SDDL: SY is the system, BA the administrators, the last one the service,
 * whatever account it runs as. It may read the configuration but not write it: an administrator's
 * `submitd check` runs the password_command that stands there. P: nothing comes down from
 * %ProgramData%, where every user may read.
 */
static const struct {
    const wchar_t *below; /* the configuration's folder */
    const wchar_t *rights;
} folders[] = {
    { L"", L"O:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;%ls)" },
    { L"\\data", L"O:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1301bf;;;%ls)" },
};

/* The SID of NT SERVICE\submitd: S-1-5-80 and the SHA-1 of the name in capitals, so that it is
 * known before the service is there. */
bool win_service_sid(wchar_t text[WIN_SID_TEXT_MAX], struct err *e)
{
    wchar_t name[] = SERVICE_NAME;
    DWORD part[5];
    _wcsupr(name);
    BCRYPT_ALG_HANDLE sha1 = NULL;
    NTSTATUS status = BCryptOpenAlgorithmProvider(&sha1, BCRYPT_SHA1_ALGORITHM, NULL, 0);
    if (status == 0)
        status = BCryptHash(sha1, NULL, 0, (PUCHAR)name, (ULONG)(wcslen(name) * sizeof *name),
            (PUCHAR)part, sizeof part);
    if (sha1)
        BCryptCloseAlgorithmProvider(sha1, 0);
    if (status != 0)
        return err_set(
            e, ERR_IO, "cannot compute the service's SID: 0x%08lx", (unsigned long)status);
    swprintf(text, WIN_SID_TEXT_MAX, L"S-1-5-80-%lu-%lu-%lu-%lu-%lu", part[0], part[1], part[2],
        part[3], part[4]);
    return true;
}

/* heap: a folder of the default configuration; `row` as above. */
static wchar_t *folder_path(size_t row)
{
    wchar_t *file = win_wide(platform_default_config());
    wchar_t *path = file ? calloc(PATH_ROOM, sizeof *path) : NULL;
    wchar_t *end = file ? wcsrchr(file, L'\\') : NULL;
    if (path && end)
        swprintf(path, PATH_ROOM, L"%.*ls%ls", (int)(end - file), file, folders[row].below);
    free(file);
    return path;
}

/* printf's own %ls is for ASCII only. */
static bool fail(struct err *e, DWORD code, const char *what, const wchar_t *path)
{
    char *name = win_utf8(path);
    win_fail(e, code, "%s %s", what, name ? name : "?");
    free(name);
    return false;
}

static bool refuse_owner(const wchar_t *path, struct err *e)
{
    char *name = win_utf8(path);
    err_set(e, ERR_CONFIG,
        "%s belongs to a user who is no administrator; look at what is in it, remove it, and try "
        "again",
        name ? name : "?");
    free(name);
    return false;
}

static bool is_our_own(PSID owner)
{
    BYTE buffer[256];
    DWORD size = sizeof buffer;
    HANDLE token = NULL;
    bool is_own = IsWellKnownSid(owner, WinLocalSystemSid) ||
                  IsWellKnownSid(owner, WinBuiltinAdministratorsSid);
    if (!is_own && OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token)) {
        is_own = GetTokenInformation(token, TokenUser, buffer, size, &size) &&
                 EqualSid(owner, ((TOKEN_USER *)(void *)buffer)->User.Sid);
        CloseHandle(token);
    }
    return is_own;
}

static bool check_one(const wchar_t *path, DWORD flags, struct err *e)
{
    PSID owner = NULL;
    PSECURITY_DESCRIPTOR descriptor = NULL;
    HANDLE folder =
        CreateFileW(path, READ_CONTROL, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
            NULL, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS | flags, NULL);
    if (folder == INVALID_HANDLE_VALUE)
        return fail(e, GetLastError(), "see who owns", path);
    DWORD status = GetSecurityInfo(
        folder, SE_FILE_OBJECT, OWNER_SECURITY_INFORMATION, &owner, NULL, NULL, NULL, &descriptor);
    CloseHandle(folder);
    if (status != ERROR_SUCCESS)
        return fail(e, status, "see who owns", path);
    bool is_own = is_our_own(owner);
    LocalFree(descriptor);
    return is_own || refuse_owner(path, e);
}

/*
 * Any user may make folders in %ProgramData%: one that waits there for us is not to be trusted, nor
 * are the files in it. The same for a link, which its owner can turn elsewhere, so the link itself
 * comes first; one of an administrator's is fine when what it leads to is.
 */
static bool check_owner(const wchar_t *path, struct err *e)
{
    return check_one(path, FILE_FLAG_OPEN_REPARSE_POINT, e) && check_one(path, 0, e);
}

static bool set_rights(const wchar_t *path, PSECURITY_DESCRIPTOR descriptor, struct err *e)
{
    PACL acl = NULL;
    PSID owner = NULL;
    BOOL is_there = FALSE, is_default = FALSE;
    GetSecurityDescriptorDacl(descriptor, &is_there, &acl, &is_default);
    GetSecurityDescriptorOwner(descriptor, &owner, &is_default);
    wchar_t *name = _wcsdup(path); /* SetNamedSecurityInfo wants to be able to change it */
    DWORD status = name ? SetNamedSecurityInfoW(name, SE_FILE_OBJECT,
                              OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION |
                                  PROTECTED_DACL_SECURITY_INFORMATION,
                              owner, NULL, acl, NULL)
                        : ERROR_NOT_ENOUGH_MEMORY;
    free(name);
    return status == ERROR_SUCCESS || fail(e, status, "close to other users", path);
}

static bool make_one(const wchar_t *path, const wchar_t *rights, const wchar_t *sid, struct err *e)
{
    wchar_t sddl[SDDL_MAX];
    PSECURITY_DESCRIPTOR descriptor = NULL;
    swprintf(sddl, ARRAY_LEN(sddl), rights, sid);
    if (!ConvertStringSecurityDescriptorToSecurityDescriptorW(
            sddl, SDDL_REVISION_1, &descriptor, NULL))
        return fail(e, GetLastError(), "write down the rights of", path);
    SECURITY_ATTRIBUTES attributes = { .nLength = sizeof attributes,
        .lpSecurityDescriptor = descriptor };
    DWORD why = CreateDirectoryW(path, &attributes) ? ERROR_SUCCESS : GetLastError();
    bool is_done = why == ERROR_SUCCESS;
    if (why == ERROR_ALREADY_EXISTS)
        is_done = check_owner(path, e) && set_rights(path, descriptor, e);
    else if (!is_done)
        fail(e, why, "make the folder", path);
    LocalFree(descriptor);
    return is_done;
}

bool folder_make(struct err *e)
{
    wchar_t sid[WIN_SID_TEXT_MAX];
    bool is_done = win_service_sid(sid, e);
    for (size_t row = 0; is_done && row < ARRAY_LEN(folders); row++) {
        wchar_t *path = folder_path(row);
        is_done = path ? make_one(path, folders[row].rights, sid, e)
                       : err_set(e, ERR_MEMORY, "memory ran out");
        free(path);
    }
    return is_done;
}

void folder_remove(void)
{
    for (size_t row = ARRAY_LEN(folders); row-- > 0;) {
        wchar_t *path = folder_path(row);
        if (path)
            RemoveDirectoryW(path); /* fails, and shall, when something is in it */
        free(path);
    }
}

bool service_file_exists(const char *path)
{
    wchar_t *wide = win_path(path);
    bool is_there = wide && GetFileAttributesW(wide) != INVALID_FILE_ATTRIBUTES;
    free(wide);
    return is_there;
}

void service_remove(const char *path)
{
    wchar_t *wide = path ? win_path(path) : NULL;
    if (wide)
        DeleteFileW(wide);
    free(wide);
    folder_remove();
}

/* Gives `f` the rights of the file of that name, when there is one. */
static DWORD copy_rights(HANDLE f, const wchar_t *from)
{
    PACL list = NULL;
    PSECURITY_DESCRIPTOR descriptor = NULL;
    SECURITY_DESCRIPTOR_CONTROL control = 0;
    DWORD revision = 0;
    DWORD status = GetNamedSecurityInfoW(
        from, SE_FILE_OBJECT, DACL_SECURITY_INFORMATION, NULL, NULL, &list, NULL, &descriptor);
    if (status == ERROR_FILE_NOT_FOUND)
        return ERROR_SUCCESS;
    if (status == ERROR_SUCCESS && !GetSecurityDescriptorControl(descriptor, &control, &revision))
        status = GetLastError();
    DWORD what = control & SE_DACL_PROTECTED ? PROTECTED_DACL_SECURITY_INFORMATION
                                             : UNPROTECTED_DACL_SECURITY_INFORMATION;
    if (status == ERROR_SUCCESS)
        status = SetSecurityInfo(
            f, SE_FILE_OBJECT, DACL_SECURITY_INFORMATION | what, NULL, NULL, list, NULL);
    LocalFree(descriptor);
    return status;
}

/* With the rights of `old` before it has a byte, because a password may be among them; nobody else
 * can open it until it is closed. To the disk before it gets the name: a power cut leaves the old
 * file or the new one. */
static DWORD write_all(const wchar_t *path, const wchar_t *old, struct slice text)
{
    DWORD done = 0;
    HANDLE f = CreateFileW(
        path, GENERIC_WRITE | WRITE_DAC, 0, NULL, CREATE_ALWAYS, FILE_ATTRIBUTE_NORMAL, NULL);
    if (f == INVALID_HANDLE_VALUE)
        return GetLastError();
    DWORD why = copy_rights(f, old);
    if (why == ERROR_SUCCESS &&
        (!WriteFile(f, text.p, (DWORD)text.n, &done, NULL) || !FlushFileBuffers(f)))
        why = GetLastError();
    CloseHandle(f);
    return why == ERROR_SUCCESS && done != text.n ? ERROR_DISK_FULL : why;
}

bool service_write_file(const char *path, struct slice text, struct err *e)
{
    wchar_t *name = win_path(path);
    wchar_t *other = name ? calloc(wcslen(name) + 5, sizeof *other) : NULL;
    DWORD why = ERROR_NOT_ENOUGH_MEMORY;
    if (other) {
        swprintf(other, wcslen(name) + 5, L"%ls.new", name);
        why = write_all(other, name, text);
    }
    const DWORD how = MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH;
    if (why == ERROR_SUCCESS && !MoveFileExW(other, name, how))
        why = GetLastError();
    free(other);
    free(name);
    return why == ERROR_SUCCESS || win_fail(e, why, "write %s", path);
}
