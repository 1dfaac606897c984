#include "platform/platform.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <termios.h>
#include <unistd.h>

enum { PASSWORD_MAX = 4096 };

/* The terminal gets its echo back before the signal has its way. */
static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP };
static volatile sig_atomic_t caught;

static void on_signal(int signum)
{
    caught = signum;
}

static bool read_line(struct buf *line, struct err *e)
{
    for (;;) {
        char c;
        ssize_t n = read(STDIN_FILENO, &c, 1);
        if (n < 0 && errno == EINTR && !caught)
            continue;
        if (n < 0)
            return err_set(e, ERR_IO, "the password cannot be read: %s", strerror(errno));
        if (n == 0 || c == '\n')
            break;
        bool fits = buf_add_char(line, c);
        secret_wipe(&c, sizeof c);
        if (!fits)
            return err_set(e, ERR_LIMIT, "the password is longer than %d octets", PASSWORD_MAX);
    }
    return true;
}

static bool judge(struct slice text, struct err *e)
{
    if (text.n == 0)
        return err_set(e, ERR_CONFIG, "the password is empty");
    return !memchr(text.p, '\0', text.n) || err_set(e, ERR_CONFIG, "the password is no text");
}

static bool take_line(struct secret **ret_password, struct err *e)
{
    struct buf line;
    buf_init_secret(&line, PASSWORD_MAX);
    bool is_read = read_line(&line, e);
    struct slice text = buf_slice(&line);
    if (text.n > 0 && text.p[text.n - 1] == '\r') /* written by a program on Windows */
        text.n--;
    is_read = is_read && judge(text, e);
    struct secret *password = is_read ? secret_new(text.p, text.n) : NULL;
    buf_fini(&line);
    if (is_read && !password)
        return err_set(e, ERR_MEMORY, "out of memory");
    if (is_read)
        *ret_password = password;
    return is_read;
}

static bool ask(const char *prompt, struct secret **ret_password, struct err *e)
{
    fprintf(stderr, "%s", prompt);
    fflush(stderr);
    bool is_read = take_line(ret_password, e);
    fprintf(stderr, "\n");
    return is_read;
}

static bool ask_twice(const char *prompt, struct secret **ret_password, struct err *e)
{
    struct secret *first = NULL, *second = NULL;
    bool is_same = ask(prompt, &first, e) && ask("The same again: ", &second, e);
    if (is_same && !secret_eq(first, second))
        is_same = err_set(e, ERR_CONFIG, "the two are different; nothing was done");
    secret_free(second);
    if (is_same)
        *ret_password = first;
    else
        secret_free(first);
    return is_same;
}

static bool read_hidden(const char *prompt, struct secret **ret_password, struct err *e)
{
    struct termios shown, hidden;
    struct sigaction before[ARRAY_LEN(signals)];
    const struct sigaction catch = { .sa_handler = on_signal }; /* no SA_RESTART: read() ends */
    if (tcgetattr(STDIN_FILENO, &shown) != 0)
        return err_set(e, ERR_IO, "the terminal cannot be used: %s", strerror(errno));
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    caught = 0;
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        sigaction(signals[i], &catch, &before[i]);
    bool is_read =
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden) == 0
            ? ask_twice(prompt, ret_password, e)
            : err_set(e, ERR_IO, "the terminal's echo cannot be switched off: %s", strerror(errno));
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        sigaction(signals[i], &before[i], NULL);
    if (caught)
        raise(caught);
    return is_read;
}

bool platform_read_password(const char *prompt, struct secret **ret_password, struct err *e)
{
    return isatty(STDIN_FILENO) ? read_hidden(prompt, ret_password, e) : take_line(ret_password, e);
}
