#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *status;
} kinds[] = {
#define X(name, what, status) [ERR_##name] = { #name, status },
    ERR_KINDS(X)
#undef X
};

bool err_set(struct err *e, enum err_kind kind, const char *fmt, ...)
{
    if (!e)
        return false;
    /* The arguments may point into e->text. */
    char text[ERR_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    e->kind = kind;
    memcpy(e->text, text, sizeof text);
    return false;
}

bool err_prefix(struct err *e, const char *fmt, ...)
{
    if (!e)
        return false;
    char old[ERR_TEXT_MAX];
    memcpy(old, e->text, sizeof old);
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof e->text)
        snprintf(e->text + n, sizeof e->text - (size_t)n, ": %.*s", ERR_TEXT_MAX - n - 3, old);
    return false;
}

const char *err_kind_name(enum err_kind kind)
{
    return kinds[kind].name;
}

const char *err_kind_status(enum err_kind kind)
{
    return kinds[kind].status;
}
