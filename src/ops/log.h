/*
 * The log: events with fields, one line each, to stderr, syslog or a file, as text or JSON.
 * The process has one; log_open is called by the application, log_event by the relay and app layers
 * only. Values from outside are made printable here. It never gets a secret: struct secret has no
 * field type, and the SMTP machines redact AUTH before their lines come here.
 */
#ifndef SUBMITD_OPS_LOG_H
#define SUBMITD_OPS_LOG_H

#include "base/err.h"
#include "base/slice.h"

#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

struct log_params {
    const char *target; /* "stderr", "syslog" or "eventlog" (platform_syslog_name), or a file's path
                           (appended to, mode 0640) */
    enum log_format format;
    enum log_level level;
};

/* Replaces the present log only when the new one could be opened. Before the first call: stderr,
 * text, info. */
bool log_open(const struct log_params *params, struct err *e);
/* Opens the file again, after logrotate moved it. */
bool log_reopen(struct err *e);
void log_close(void);
bool log_wants(enum log_level level);

enum log_field_kind { LOG_FIELD_END, LOG_FIELD_TEXT, LOG_FIELD_NUMBER };

struct log_field {
    enum log_field_kind kind;
    const char *key;
    struct slice text;
    int64_t number;
};

#define LOG_STR(k, s)                                                                              \
    ((struct log_field){ .kind = LOG_FIELD_TEXT, .key = (k), .text = slice_str(s) })
#define LOG_SLICE(k, s) ((struct log_field){ .kind = LOG_FIELD_TEXT, .key = (k), .text = (s) })
#define LOG_INT(k, n)                                                                              \
    ((struct log_field){ .kind = LOG_FIELD_NUMBER, .key = (k), .number = (int64_t)(n) })

/*
 * log_event(LOG_LEVEL_INFO, "message", LOG_STR("id", id), LOG_INT("size", n)). A text field without
 * bytes (p == NULL) is left out. Text form: 2026-11-21T22:06:22.123Z info message id=ab12
 * reason="two words".
 */
#define log_event(level, event, ...)                                                               \
    log_write(                                                                                     \
        (level), (event), (const struct log_field[]){ __VA_ARGS__, { .kind = LOG_FIELD_END } })

void log_write(enum log_level level, const char *event, const struct log_field *fields);

#endif
