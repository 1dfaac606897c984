#include "config/problems.h"

FORMAT_LIKE_PRINTF(4, 0)
static void add_line(
    struct problems *p, const char *prefix, unsigned line, const char *fmt, va_list ap)
{
    bool fits = buf_addf(p->out, "%s%s:", prefix, p->file);
    if (fits && line > 0)
        fits = buf_addf(p->out, "%u:", line);
    fits = fits && buf_add_char(p->out, ' ') && buf_vaddf(p->out, fmt, ap);
    if (fits)
        buf_add_char(p->out, '\n');
}

void problems_add(struct problems *p, unsigned line, const char *fmt, ...)
{
    va_list ap;
    p->errors++;
    va_start(ap, fmt);
    add_line(p, "", line, fmt, ap);
    va_end(ap);
}

void problems_warn(struct problems *p, unsigned line, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add_line(p, "warning: ", line, fmt, ap);
    va_end(ap);
}
