#include "platform/platform.h"

#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

enum { LOG_FILE_MODE = 0640 };

const char *platform_default_config(void)
{
    return "/etc/submitd/submitd.ini";
}

char *platform_pick(const char *posix, const char *windows)
{
    (void)windows;
    return str_dup(posix);
}

FILE *platform_open(const char *path)
{
    return fopen(path, "rbe");
}

bool platform_open_log(const char *path, int *ret_fd, struct err *e)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, LOG_FILE_MODE);
    if (fd < 0)
        return err_set(e, ERR_IO, "cannot open the log file '%s': %s", path, strerror(errno));
    *ret_fd = fd;
    return true;
}

/* st_ctim moves whatever is done to a file, and nobody can set it. */
bool platform_mark_file(const char *path, uint64_t *mark)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return false;
    const uint64_t facts[] = { (uint64_t)st.st_ino, (uint64_t)st.st_size,
        (uint64_t)st.st_ctim.tv_sec, (uint64_t)st.st_ctim.tv_nsec };
    *mark = slice_hash(slice_of((const char *)facts, sizeof facts), *mark);
    return true;
}

/* `path` as one word for a shell: as it is when it is plain, else between single quotes. */
static bool add_shell_word(struct buf *out, const char *path)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@:,";
    if (path[strspn(path, plain)] == '\0' && path[0] != '-')
        return buf_add_str(out, path);
    bool fits = buf_add_char(out, '\'');
    for (const char *p = path; fits && *p; p++)
        fits = *p == '\'' ? buf_add_str(out, "'\\''") : buf_add_char(out, *p);
    return fits && buf_add_char(out, '\'');
}

bool platform_file_is_private(const char *path, struct err *e)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return err_set(e, ERR_IO, "cannot look at %s: %s", path, strerror(errno));
    if ((st.st_mode & S_IRWXO) == 0)
        return true;
    struct buf word;
    buf_init(&word, ERR_TEXT_MAX);
    add_shell_word(&word, path);
    err_set(e, ERR_CONFIG, "%s is open to other users (mode %04o); run: chmod 640 %s", path,
        (unsigned)(st.st_mode & 07777), buf_cstr(&word));
    buf_fini(&word);
    return false;
}
