#include "platform/platform.h"
#include "base/secret.h"
#include "platform/posix/posix.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_POLL_MS = 10 }; /* how often an end is looked for once the output was closed */

struct command {
    pid_t pid;
    int output; /* our end of the pipe */
    uint64_t deadline_ms;
};

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* The child's three standard descriptors. */
struct ends {
    int input, output, complaints;
};

/* In the child of a process with threads: only async-signal-safe calls are allowed up to exec. */
static _Noreturn void become_shell(const char *line, const struct ends *ends)
{
    const struct sigaction by_default = { .sa_handler = SIG_DFL };
    sigset_t none;
    sigemptyset(&none);
    setpgid(0, 0); /* a group of its own, so that a timeout ends its children as well */
    sigaction(SIGPIPE, &by_default, NULL); /* the daemon ignores it, and exec would keep that */
    sigprocmask(SIG_SETMASK, &none, NULL);
    bool is_ready = dup2(ends->input, STDIN_FILENO) >= 0 &&
                    dup2(ends->output, STDOUT_FILENO) >= 0 &&
                    dup2(ends->complaints, STDERR_FILENO) >= 0;
    if (is_ready)
        execl("/bin/sh", "sh", "-c", line, (char *)NULL);
    _exit(127);
}

static bool start(
    const char *line, int input, enum posix_stderr complaints, struct command *c, struct err *e)
{
    int ends[2];
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nothing < 0)
        return err_set(e, ERR_IO, "cannot open /dev/null: %s", strerror(errno));
    if (pipe2(ends, O_CLOEXEC) != 0) {
        err_set(e, ERR_IO, "cannot make a pipe: %s", strerror(errno));
        close(nothing);
        return false;
    }
    pid_t pid = fork();
    if (pid == 0)
        become_shell(
            line, &(struct ends){ .input = input >= 0 ? input : nothing,
                      .output = ends[1],
                      .complaints = complaints == POSIX_STDERR_OURS ? STDERR_FILENO : nothing });
    int why = errno;
    close(nothing);
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return err_set(e, ERR_IO, "cannot start a process: %s", strerror(why));
    }
    setpgid(pid, pid); /* here, too: whoever comes first; it fails harmlessly after the exec */
    c->pid = pid;
    c->output = ends[0];
    return true;
}

/* Takes the output until it ends, is too long, or the time is over. */
static bool read_output(struct command *c, struct buf *out, struct err *e)
{
    char bytes[512];
    bool is_fine = true, is_over = false;
    while (is_fine && !is_over) {
        uint64_t now = now_ms();
        struct pollfd waits = { .fd = c->output, .events = POLLIN };
        int ready = now < c->deadline_ms ? poll(&waits, 1, (int)(c->deadline_ms - now)) : 0;
        ssize_t got = ready > 0 ? read(c->output, bytes, sizeof bytes) : 0;
        if (ready == 0)
            is_fine = err_set(e, ERR_TIMEOUT, "the command did not end in time");
        else if ((ready < 0 || got < 0) && errno != EINTR)
            is_fine = err_set(e, ERR_IO, "cannot read its output: %s", strerror(errno));
        else if (ready > 0 && got > 0 && !buf_add(out, bytes, (size_t)got))
            is_fine = err_set(e, ERR_LIMIT, "the command wrote more than %zu bytes", out->max);
        is_over = ready > 0 && got == 0;
    }
    secret_wipe(bytes, sizeof bytes);
    return is_fine;
}

/* False, with the process still there, when the time is over. */
static bool wait_for_end(const struct command *c, int *ret_status, struct err *e)
{
    const struct timespec pause = { .tv_nsec = EXIT_POLL_MS * 1000000L };
    for (;;) {
        pid_t ended = waitpid(c->pid, ret_status, WNOHANG);
        if (ended == c->pid)
            return true;
        if (ended < 0 && errno != EINTR)
            return err_set(e, ERR_IO, "cannot wait for the command: %s", strerror(errno));
        if (now_ms() >= c->deadline_ms)
            return err_set(e, ERR_TIMEOUT, "the command did not end in time");
        nanosleep(&pause, NULL);
    }
}

static void kill_all(const struct command *c)
{
    kill(-c->pid, SIGKILL);
    kill(c->pid, SIGKILL); /* when it had no time to found its group */
    while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* The output stays out of every sentence: it is a password when all is well. */
static bool judge(int status, struct err *e)
{
    if (WIFSIGNALED(status))
        return err_set(e, ERR_CONFIG, "the command was ended by signal %d", WTERMSIG(status));
    if (WEXITSTATUS(status) == 127)
        return err_set(
            e, ERR_CONFIG, "the command exited with status 127 (the shell did not find it)");
    if (WEXITSTATUS(status) != 0)
        return err_set(e, ERR_CONFIG, "the command exited with status %d", WEXITSTATUS(status));
    return true;
}

bool posix_run_command(const char *command, int input, enum posix_stderr complaints,
    uint64_t timeout_ms, struct buf *out, struct err *e)
{
    enum { TIMEOUT_MAX_MS = 3600 * 1000 }; /* poll takes an int */
    uint64_t timeout = timeout_ms < TIMEOUT_MAX_MS ? timeout_ms : TIMEOUT_MAX_MS;
    struct command c = { .deadline_ms = now_ms() + timeout };
    if (!start(command, input, complaints, &c, e))
        return false;
    int status = 0;
    bool has_ended = read_output(&c, out, e) && wait_for_end(&c, &status, e);
    close(c.output);
    if (!has_ended) {
        kill_all(&c);
        return false;
    }
    return judge(status, e);
}

bool platform_run_command(const char *command, uint64_t timeout_ms, struct buf *out, struct err *e)
{
    return posix_run_command(command, -1, POSIX_STDERR_NOWHERE, timeout_ms, out, e);
}
