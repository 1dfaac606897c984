/* systemd-creds keeps a password: encrypted with this machine's key (and its TPM, when it has one),
 * given to the service in $CREDENTIALS_DIRECTORY. */
#include "platform/platform.h"
#include "platform/posix/posix.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { TIMEOUT_MS = 60 * 1000, LINES_MAX = 64 * 1024 };

/* The password's way into the tool: a pipe, which takes that much without a reader. */
static bool pour(const struct secret *password, int *ret_input, struct err *e)
{
    int ends[2];
    struct slice text = secret_reveal(password);
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return err_set(e, ERR_IO, "cannot make a pipe: %s", strerror(errno));
    ssize_t n = write(ends[1], text.p, text.n);
    close(ends[1]);
    if (n != (ssize_t)text.n) {
        close(ends[0]);
        return err_set(e, ERR_LIMIT, "the password is too long for a pipe");
    }
    fcntl(ends[0], F_SETFL, 0); /* the reader is a program that waits */
    *ret_input = ends[0];
    return true;
}

static bool encrypt(
    const struct secret *password, const char *name, struct buf *lines, struct err *e)
{
    struct buf command;
    buf_init(&command, ERR_TEXT_MAX);
    int input = -1;
    bool is_done = pour(password, &input, e);
    if (is_done) {
        buf_addf(&command, "exec systemd-creds --name=%s --pretty encrypt - -", name);
        is_done =
            posix_run_command(buf_cstr(&command), input, POSIX_STDERR_OURS, TIMEOUT_MS, lines, e);
        if (!is_done)
            err_prefix(e, "systemd-creds (systemd 250 or newer)");
        close(input);
    }
    buf_fini(&command);
    return is_done;
}

bool platform_secret_protect(
    const struct secret *password, const char *name, struct buf *out, struct err *e)
{
    if (geteuid() != 0)
        return err_set(e, ERR_CONFIG, "only root can use this machine's key; run it with sudo");
    struct buf lines;
    buf_init(&lines, LINES_MAX);
    bool is_done = encrypt(password, name, &lines, e);
    if (is_done)
        is_done = buf_addf(out,
                      "Encrypted with this machine's key: it is of no use anywhere else.\n\n"
                      "1. systemctl edit submitd, and put there:\n\n"
                      "[Service]\n%s\n"
                      "2. In the account's section of submitd.ini, instead of any other "
                      "password line:\n\n"
                      "password_file = %s\n\n"
                      "3. systemctl restart submitd (a reload does not bring a new credential)\n",
                      buf_cstr(&lines), name) ||
                  err_set(e, ERR_MEMORY, "out of memory");
    buf_fini(&lines);
    return is_done;
}

bool platform_secret_unprotect(
    const struct secret *text, struct secret **ret_password, struct err *e)
{
    (void)text;
    (void)ret_password;
    return err_set(e, ERR_CONFIG,
        "is for Windows; here submitd secret protect makes a credential for password_file");
}
