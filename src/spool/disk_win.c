#include "base/str.h"
#include "platform/service.h"
#include "platform/win/service.h"
#include "platform/win/text.h"
#include "spool/disk.h"

#include <assert.h>
#include <fcntl.h>
#include <io.h>
#include <stdio.h>
#include <stdlib.h>
#include <windows.h>
/* After windows.h. */
#include <sddl.h>

/* --- a private file --- */

/* SYSTEM, Administrators, the service, which may be given another account one day, and, outside of
 * it, this process's own account; nothing inherited. Heap, NULL: failed. */
static wchar_t *private_list(void)
{
    union {
        TOKEN_USER user;
        char room[sizeof(TOKEN_USER) + SECURITY_MAX_SID_SIZE];
    } token;
    HANDLE own = NULL;
    DWORD got = 0;
    wchar_t *sid = NULL, *list = NULL, service[WIN_SID_TEXT_MAX];
    if (!win_service_sid(service, NULL) ||
        !OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &own))
        return NULL;
    if (GetTokenInformation(own, TokenUser, &token, sizeof token, &got) &&
        ConvertSidToStringSidW(token.user.User.Sid, &sid)) {
        static const wchar_t form[] = L"D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;%ls)(A;;FA;;;%ls)";
        const wchar_t *other = service_is_this() ? service : sid;
        size_t size = ARRAYSIZE(form) + wcslen(service) + wcslen(other);
        list = calloc(size, sizeof *list);
        if (list)
            _snwprintf(list, size - 1, form, service, other);
        LocalFree(sid);
    }
    CloseHandle(own);
    return list;
}

/* A file that is there already is opened as it is. */
static HANDLE open_private(const char *path, DWORD how, DWORD flags, DWORD *ret_why)
{
    wchar_t *wide = win_path(path), *list = private_list();
    SECURITY_ATTRIBUTES security = { .nLength = sizeof security };
    HANDLE file = INVALID_HANDLE_VALUE;
    if (wide && list &&
        ConvertStringSecurityDescriptorToSecurityDescriptorW(
            list, SDDL_REVISION_1, &security.lpSecurityDescriptor, NULL))
        file = CreateFileW(wide, GENERIC_READ | GENERIC_WRITE,
            FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, &security, how, flags, NULL);
    *ret_why = GetLastError();
    LocalFree(security.lpSecurityDescriptor);
    free(wide);
    free(list);
    return file;
}

bool disk_make_private(const char *path, struct err *e)
{
    char text[WIN_ERROR_TEXT_MAX];
    DWORD why = 0;
    HANDLE file = open_private(path, CREATE_NEW, FILE_ATTRIBUTE_NORMAL, &why);
    if (file == INVALID_HANDLE_VALUE && why != ERROR_FILE_EXISTS)
        return err_set(e, ERR_CONFIG,
            "spool '%s' cannot be made: %s; its folder must exist and be writable by submitd", path,
            win_error_text(why, text));
    if (file != INVALID_HANDLE_VALUE)
        CloseHandle(file);
    return true;
}

/* --- the lock --- */

/* Locks on Windows keep others from reading, too: this octet is far behind the pid. */
enum { LOCKED_OCTET = 0x40000000 };

static bool refuse_second(HANDLE file, const char *path, struct err *e)
{
    char text[24] = "";
    DWORD n = 0;
    long pid = ReadFile(file, text, sizeof text - 1, &n, NULL) ? strtol(text, NULL, 10) : 0;
    if (pid <= 0)
        return err_set(e, ERR_CONFIG, "spool '%s' is in use by another process", path);
    return err_set(e, ERR_CONFIG, "spool '%s' is in use by process %ld", path, pid);
}

/* For people and for the sentence above; the lock itself does not depend on it. */
static void write_pid(HANDLE file)
{
    char text[24];
    DWORD n = (DWORD)snprintf(text, sizeof text, "%lu\n", (unsigned long)GetCurrentProcessId());
    DWORD written = 0;
    if (WriteFile(file, text, n, &written, NULL))
        SetEndOfFile(file);
}

static bool take_lock(HANDLE file, const char *path, struct err *e)
{
    char text[WIN_ERROR_TEXT_MAX];
    OVERLAPPED at = { .Offset = LOCKED_OCTET };
    if (LockFileEx(file, LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at))
        return true;
    DWORD why = GetLastError();
    if (why == ERROR_LOCK_VIOLATION || why == ERROR_IO_PENDING)
        return refuse_second(file, path, e);
    return err_set(e, ERR_IO, "spool '%s': cannot be locked: %s", path, win_error_text(why, text));
}

bool disk_lock(const char *path, int *ret_lock, struct err *e)
{
    char text[WIN_ERROR_TEXT_MAX];
    char *name = str_format("%s.lock", path);
    if (!name)
        return err_set(e, ERR_MEMORY, "spool '%s': out of memory", path);
    DWORD why = 0;
    HANDLE file = open_private(name, OPEN_ALWAYS, FILE_ATTRIBUTE_NORMAL, &why);
    free(name);
    if (file == INVALID_HANDLE_VALUE)
        return err_set(e, ERR_CONFIG,
            "spool '%s': cannot open %s.lock: %s; the folder must exist and be writable by submitd",
            path, path, win_error_text(why, text));
    if (!take_lock(file, path, e)) {
        CloseHandle(file);
        return false;
    }
    write_pid(file);
    int fd = _open_osfhandle((intptr_t)file, _O_RDWR | _O_BINARY);
    if (fd < 0) {
        CloseHandle(file);
        return err_set(e, ERR_IO, "spool '%s': too many open files", path);
    }
    *ret_lock = fd;
    return true;
}

void disk_unlock(int lock)
{
    if (lock >= 0)
        _close(lock);
}

/* --- scratch files --- */

/* Rights come with the folder there, whoever makes the file. */
void disk_act_as_owner(const char *path, struct disk_self *ret_self)
{
    (void)path;
    *ret_self = (struct disk_self){ .group = 0 };
}

void disk_act_as_self(struct disk_self *self)
{
    (void)self;
}

bool disk_scratch_open(const char *path, int *ret_fd, struct err *e)
{
    static volatile LONG count;
    char text[WIN_ERROR_TEXT_MAX];
    char *name = str_format("%s-copy-%lu-%ld", path, (unsigned long)GetCurrentProcessId(),
        (long)InterlockedIncrement(&count));
    if (!name)
        return err_set(e, ERR_MEMORY, "spool '%s': out of memory", path);
    DWORD why = 0;
    /* TEMPORARY: kept in memory as long as there is some. */
    HANDLE file = open_private(
        name, CREATE_ALWAYS, FILE_ATTRIBUTE_TEMPORARY | FILE_FLAG_DELETE_ON_CLOSE, &why);
    free(name);
    if (file == INVALID_HANDLE_VALUE)
        return err_set(e, ERR_IO, "spool '%s': cannot make a file beside it: %s", path,
            win_error_text(why, text));
    int fd = _open_osfhandle((intptr_t)file, _O_RDWR | _O_BINARY);
    if (fd < 0) {
        CloseHandle(file);
        return err_set(e, ERR_IO, "spool '%s': too many open files", path);
    }
    *ret_fd = fd;
    return true;
}

static OVERLAPPED at_octet(uint64_t at)
{
    return (OVERLAPPED){ .Offset = (DWORD)at, .OffsetHigh = (DWORD)(at >> 32) };
}

static bool scratch_failed(const char *path, DWORD why, struct err *e)
{
    char text[WIN_ERROR_TEXT_MAX];
    enum err_kind kind = disk_trouble((int)why) == DISK_FULL ? ERR_LIMIT : ERR_IO;
    return err_set(e, kind, "spool '%s': a file beside it: %s", path, win_error_text(why, text));
}

bool disk_scratch_write(int fd, uint64_t at, struct slice bytes, const char *path, struct err *e)
{
    while (bytes.n > 0) {
        OVERLAPPED place = at_octet(at);
        DWORD n = 0;
        if (!WriteFile((HANDLE)_get_osfhandle(fd), bytes.p, (DWORD)bytes.n, &n, &place))
            return scratch_failed(path, GetLastError(), e);
        bytes = slice_skip(bytes, n);
        at += n;
    }
    return true;
}

bool disk_scratch_read(int fd, uint64_t at, char *to, size_t n, const char *path, struct err *e)
{
    while (n > 0) {
        OVERLAPPED place = at_octet(at);
        DWORD got = 0;
        if (!ReadFile((HANDLE)_get_osfhandle(fd), to, (DWORD)n, &got, &place) || got == 0)
            return scratch_failed(path, GetLastError(), e);
        to += got;
        at += got;
        n -= got;
    }
    return true;
}

bool disk_scratch_shorten(int fd, uint64_t size)
{
    FILE_END_OF_FILE_INFO end = { .EndOfFile.QuadPart = (LONGLONG)size };
    HANDLE file = (HANDLE)_get_osfhandle(fd);
    return SetFileInformationByHandle(file, FileEndOfFileInfo, &end, sizeof end) != 0;
}

void disk_scratch_close(int fd)
{
    if (fd >= 0)
        _close(fd);
}

/* --- the rest --- */

/* What stands in front of the last separator; "." when there is none. Heap. */
static wchar_t *folder_of(const char *path)
{
    wchar_t *wide = win_path(path);
    size_t n = wide ? wcslen(wide) : 0;
    while (n > 0 && wide[n - 1] != L'\\' && wide[n - 1] != L'/')
        n--;
    if (wide && n == 0)
        wcscpy(wide, L"."); /* a path has one character at least */
    else if (wide)
        wide[n] = L'\0';
    return wide;
}

uint64_t disk_free(const char *path)
{
    wchar_t *folder = path[0] != '\0' ? folder_of(path) : NULL;
    ULARGE_INTEGER room;
    bool is_known = folder && GetDiskFreeSpaceExW(folder, &room, NULL, NULL);
    free(folder);
    return is_known ? room.QuadPart : UINT64_MAX;
}

uint64_t disk_journal_size(const char *path)
{
    char *journal = str_format("%s-wal", path);
    wchar_t *wide = journal ? win_path(journal) : NULL;
    WIN32_FILE_ATTRIBUTE_DATA data;
    bool is_there = wide && GetFileAttributesExW(wide, GetFileExInfoStandard, &data);
    free(journal);
    free(wide);
    return is_there ? (uint64_t)data.nFileSizeHigh << 32 | data.nFileSizeLow : 0;
}

/* ERROR_DISK_QUOTA_EXCEEDED, which mingw-w64 10 does not know. */
enum { QUOTA_EXCEEDED = 1295 };

enum disk_trouble disk_trouble(int code)
{
    static const struct {
        int code;
        enum disk_trouble trouble;
    } troubles[] = {
        { ERROR_DISK_FULL, DISK_FULL },
        { ERROR_HANDLE_DISK_FULL, DISK_FULL },
        { QUOTA_EXCEEDED, DISK_FULL },
        { ERROR_WRITE_PROTECT, DISK_READ_ONLY },
        { ERROR_ACCESS_DENIED, DISK_FORBIDDEN },
        { ERROR_FILE_NOT_FOUND, DISK_MISSING },
        { ERROR_PATH_NOT_FOUND, DISK_MISSING },
    };
    for (size_t i = 0; i < ARRAY_LEN(troubles); i++) {
        if (troubles[i].code == code)
            return troubles[i].trouble;
    }
    return DISK_OTHER;
}

const char *disk_code_text(int code, char text[DISK_CODE_TEXT_MAX])
{
    static_assert((int)WIN_ERROR_TEXT_MAX <= (int)DISK_CODE_TEXT_MAX, "it fits");
    return win_error_text((unsigned long)code, text);
}

uint64_t disk_now_ms(void)
{
    return GetTickCount64();
}
