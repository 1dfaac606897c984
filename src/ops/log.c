#include "ops/log.h"
#include "base/str.h"
#include "ops/log_line.h"
#include "platform/platform.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum sink { SINK_STDERR, SINK_SYSTEM, SINK_FILE };

static struct {
    enum sink sink;
    int fd; /* SINK_FILE */
    char *path;
    enum log_format format;
    bool is_paged; /* Event Viewer shows the time and level itself, and has room for lines */
    enum log_level level;
} the_log = { .sink = SINK_STDERR, .fd = -1, .level = LOG_LEVEL_INFO };

bool log_open(const struct log_params *params, struct err *e)
{
    bool is_stderr = strcmp(params->target, "stderr") == 0;
    bool is_system = strcmp(params->target, platform_syslog_name()) == 0;
    int fd = -1;
    if (!is_stderr && !is_system && !platform_open_log(params->target, &fd, e))
        return false;
    log_close();
    the_log.sink = is_stderr ? SINK_STDERR : is_system ? SINK_SYSTEM : SINK_FILE;
    the_log.fd = fd;
    the_log.path = fd >= 0 ? str_dup(params->target) : NULL;
    the_log.format = params->format;
    the_log.is_paged = is_system && strcmp(params->target, "eventlog") == 0;
    the_log.level = params->level;
    return true;
}

bool log_reopen(struct err *e)
{
    if (the_log.sink != SINK_FILE || !the_log.path)
        return true;
    int fd = -1;
    if (!platform_open_log(the_log.path, &fd, e))
        return false;
    close(the_log.fd);
    the_log.fd = fd;
    return true;
}

void log_close(void)
{
    if (the_log.fd >= 0)
        close(the_log.fd);
    free(the_log.path);
    the_log.fd = -1;
    the_log.path = NULL;
    the_log.sink = SINK_STDERR;
}

bool log_wants(enum log_level level)
{
    return level <= the_log.level;
}

static struct log_stamp stamp_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (struct log_stamp){ .wall_s = now.tv_sec, .ms = (unsigned)(now.tv_nsec / 1000000) };
}

/* One write for one line, so that lines of two processes never mix. A full disk loses log lines,
 * not mail. */
static void put_line(int fd, struct slice line)
{
    while (line.n > 0) {
        ssize_t n = write(fd, line.p, line.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        line = slice_skip(line, (size_t)n);
    }
}

void log_write(enum log_level level, const char *event, const struct log_field *fields)
{
    if (!log_wants(level))
        return;
    struct buf line;
    buf_init(&line, LOG_LINE_MAX);
    if (the_log.format == LOG_FORMAT_JSON)
        log_line_add_json(&line, stamp_now(), level, event, fields);
    else if (the_log.is_paged)
        log_line_add_page(&line, event, fields);
    else
        log_line_add_text(&line, stamp_now(), level, event, fields);
    if (the_log.sink == SINK_SYSTEM) {
        platform_syslog((int)level, buf_cstr(&line));
    } else {
        buf_add_char(&line, '\n');
        put_line(the_log.sink == SINK_FILE ? the_log.fd : STDERR_FILENO, buf_slice(&line));
    }
    buf_fini(&line);
}
