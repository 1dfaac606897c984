/* submitd secret protect: turns a password into lines that only this machine's service can use. */
#include "app/app.h"
#include "platform/platform.h"

#include <stdio.h>

/* NAME_LENGTH_MAX: a file's name in systemd's folder of credentials. */
enum { LINES_MAX = 64 * 1024, NAME_LENGTH_MAX = 200 };

static int fail(int status, const char *why)
{
    fprintf(stderr, "submitd secret: %s\n", why);
    return status;
}

/* It goes into a file's name, a unit file and a command line. */
static bool is_name(const char *name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t n = strlen(name);
    return n > 0 && n <= NAME_LENGTH_MAX && name[0] != '.' && name[0] != '-' &&
           name[strspn(name, allowed)] == '\0';
}

static int protect(const char *name)
{
    struct secret *password = NULL;
    struct err why;
    if (!platform_read_password("Password: ", &password, &why))
        return fail(APP_NOT_FINE, why.text);
    struct buf lines;
    buf_init(&lines, LINES_MAX);
    bool is_done = platform_secret_protect(password, name, &lines, &why);
    secret_free(password);
    if (is_done)
        fputs(buf_cstr(&lines), stdout);
    buf_fini(&lines);
    if (!is_done)
        return fail(APP_NOT_FINE, why.text);
    return fflush(stdout) == 0 ? APP_FINE : fail(APP_NOT_FINE, "the output could not be written");
}

int app_secret(const struct app_options *options)
{
    char **words = options->operands;
    if (options->operand_count < 1 || strcmp(words[0], "protect") != 0)
        return fail(APP_USAGE, "write: submitd secret protect [NAME] (see submitd --help)");
    const char *name = options->operand_count > 1 ? words[1] : "submitd-password";
    if (!is_name(name))
        return fail(APP_USAGE,
            "the name is made of letters, digits, '.', '-' and '_', and begins with a letter or "
            "a digit");
    return protect(name);
}
