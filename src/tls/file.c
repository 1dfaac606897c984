#include "platform/platform.h"
#include "tls/internal.h"

#include <errno.h>
#include <stdio.h>

bool tls_read_file(const char *what, const char *path, struct buf *out, struct err *e)
{
    enum { PIECE = 16384 };
    FILE *f = platform_open(path);
    if (!f)
        return err_set(e, ERR_CONFIG, "%s '%s': %s", what, path, strerror(errno));
    size_t n = 0;
    char *to = NULL;
    do {
        to = buf_reserve(out, PIECE);
        n = to ? fread(to, 1, PIECE, f) : 0;
        if (to)
            buf_commit(out, n);
    } while (n > 0);
    int error = ferror(f) ? errno : 0;
    fclose(f);
    if (error != 0)
        return err_set(e, ERR_CONFIG, "%s '%s': %s", what, path, strerror(error));
    if (!to)
        return err_set(e, ERR_CONFIG, "%s '%s': larger than %d bytes", what, path, TLS_FILE_MAX);
    return true;
}
