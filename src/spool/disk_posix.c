#include "spool/disk.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

enum { PRIVATE_MODE = S_IRUSR | S_IWUSR };

static bool is_full(int why)
{
    return why == ENOSPC || why == EDQUOT;
}

static bool fail_full(const char *path, struct err *e)
{
    return err_set(
        e, ERR_LIMIT, "spool '%s': the disk is full; make room on its file system", path);
}

bool disk_make_private(const char *path, struct err *e)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, PRIVATE_MODE);
    if (fd < 0 && errno == EEXIST)
        return true;
    if (fd < 0 && is_full(errno))
        return fail_full(path, e);
    if (fd < 0)
        return err_set(e, ERR_CONFIG,
            "spool '%s' cannot be made: %s; its folder must exist and be writable by submitd", path,
            strerror(errno));
    bool is_private = fchmod(fd, PRIVATE_MODE) == 0;
    if (!is_private)
        err_set(e, ERR_IO, "spool '%s': cannot be made private: %s", path, strerror(errno));
    close(fd);
    return is_private;
}

/* An open file description's lock (Linux) also keeps out a second store of the same process, and
 * is not lost when some other descriptor of the file is closed. */
static bool take_lock(int fd)
{
    struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
#ifdef F_OFD_SETLK
    return fcntl(fd, F_OFD_SETLK, &whole) == 0;
#else
    return fcntl(fd, F_SETLK, &whole) == 0;
#endif
}

static bool refuse_second(int fd, const char *path, struct err *e)
{
    char text[24] = "";
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    long pid = n > 0 ? strtol(text, NULL, 10) : 0;
    if (pid <= 0)
        return err_set(e, ERR_CONFIG, "spool '%s' is in use by another process", path);
    return err_set(e, ERR_CONFIG, "spool '%s' is in use by process %ld", path, pid);
}

/* For people and for the sentence above; the lock itself does not depend on it. */
static void write_pid(int fd)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n)
        return;
}

bool disk_lock(const char *path, int *ret_lock, struct err *e)
{
    char *name = str_format("%s.lock", path);
    if (!name)
        return err_set(e, ERR_MEMORY, "spool '%s': out of memory", path);
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, PRIVATE_MODE);
    int why = errno;
    free(name);
    if (fd < 0 && is_full(why))
        return fail_full(path, e);
    if (fd < 0)
        return err_set(e, ERR_CONFIG,
            "spool '%s': cannot open %s.lock: %s; the folder must exist and be writable by submitd",
            path, path, strerror(why));
    if (!take_lock(fd)) {
        why = errno;
        if (why == EAGAIN || why == EACCES)
            refuse_second(fd, path, e);
        else
            err_set(e, ERR_IO, "spool '%s': cannot be locked: %s", path, strerror(why));
        close(fd);
        return false;
    }
    write_pid(fd);
    *ret_lock = fd;
    return true;
}

void disk_unlock(int lock)
{
    if (lock >= 0)
        close(lock);
}

/* Where the owner may not make files no daemon runs as the owner: a copy below /root, for one. */
static bool may_make_files_beside(const char *path)
{
    char *real = realpath(path, NULL); /* it may be a link */
    if (!real)
        return false;
    bool may = faccessat(AT_FDCWD, real, R_OK | W_OK, AT_EACCESS) == 0 &&
               faccessat(AT_FDCWD, dirname(real), W_OK | X_OK, AT_EACCESS) == 0;
    free(real);
    return may;
}

/* Group first: afterwards only root may. A root who may not (in some containers) stays root. */
void disk_act_as_owner(const char *path, struct disk_self *ret_self)
{
    struct stat st;
    *ret_self = (struct disk_self){ .group = getegid() };
    if (geteuid() != 0 || stat(path, &st) != 0 || st.st_uid == 0)
        return;
    ret_self->is_away = setegid(st.st_gid) == 0;
    if (ret_self->is_away && (seteuid(st.st_uid) != 0 || !may_make_files_beside(path)))
        disk_act_as_self(ret_self);
}

void disk_act_as_self(struct disk_self *self)
{
    if (self->is_away)
        self->is_away = seteuid(0) != 0 || setegid((gid_t)self->group) != 0;
}

bool disk_scratch_open(const char *path, int *ret_fd, struct err *e)
{
    char *name = str_format("%s-copy-XXXXXX", path);
    if (!name)
        return err_set(e, ERR_MEMORY, "spool '%s': out of memory", path);
    int fd = mkostemp(name, O_CLOEXEC);
    if (fd < 0)
        err_set(e, ERR_IO, "spool '%s': cannot make a file beside it: %s", path, strerror(errno));
    else
        unlink(name);
    free(name);
    if (fd < 0)
        return false;
    *ret_fd = fd;
    return true;
}

bool disk_scratch_write(int fd, uint64_t at, struct slice bytes, const char *path, struct err *e)
{
    while (bytes.n > 0) {
        ssize_t n = pwrite(fd, bytes.p, bytes.n, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            enum err_kind kind = disk_trouble(errno) == DISK_FULL ? ERR_LIMIT : ERR_IO;
            return err_set(e, kind, "spool '%s': a file beside it: %s", path, strerror(errno));
        }
        bytes = slice_skip(bytes, (size_t)n);
        at += (uint64_t)n;
    }
    return true;
}

bool disk_scratch_read(int fd, uint64_t at, char *to, size_t n, const char *path, struct err *e)
{
    while (n > 0) {
        ssize_t got = pread(fd, to, n, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return err_set(e, ERR_IO, "spool '%s': a file beside it: %s", path,
                got < 0 ? strerror(errno) : "a part of the message is missing");
        to += got;
        at += (uint64_t)got;
        n -= (size_t)got;
    }
    return true;
}

bool disk_scratch_shorten(int fd, uint64_t size)
{
    return ftruncate(fd, (off_t)size) == 0;
}

void disk_scratch_close(int fd)
{
    if (fd >= 0)
        close(fd);
}

uint64_t disk_free(const char *path)
{
    struct statvfs fs;
    if (statvfs(path, &fs) != 0)
        return UINT64_MAX;
    return (uint64_t)fs.f_bavail * fs.f_frsize;
}

uint64_t disk_journal_size(const char *path)
{
    char *journal = str_format("%s-wal", path);
    struct stat st;
    bool is_there = journal && stat(journal, &st) == 0;
    free(journal);
    return is_there ? (uint64_t)st.st_size : 0;
}

enum disk_trouble disk_trouble(int code)
{
    static const struct {
        int code;
        enum disk_trouble trouble;
    } troubles[] = {
        { ENOSPC, DISK_FULL },
        { EDQUOT, DISK_FULL },
        { EFBIG, DISK_FULL },
        { EROFS, DISK_READ_ONLY },
        { EACCES, DISK_FORBIDDEN },
        { EPERM, DISK_FORBIDDEN },
        { ENOENT, DISK_MISSING },
    };
    for (size_t i = 0; i < ARRAY_LEN(troubles); i++) {
        if (troubles[i].code == code)
            return troubles[i].trouble;
    }
    return DISK_OTHER;
}

const char *disk_code_text(int code, char text[DISK_CODE_TEXT_MAX])
{
    snprintf(text, DISK_CODE_TEXT_MAX, "%s", strerror(code));
    return text;
}

uint64_t disk_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}
