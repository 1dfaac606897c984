#include "app/app.h"

#include <stdio.h>

enum { PROBLEMS_MAX = 256 * 1024, PRINT_MAX = 4 * 1024 * 1024 };

struct setup *app_load(const char *file)
{
    struct buf problems;
    buf_init(&problems, PROBLEMS_MAX);
    struct setup *s = setup_load(file, &problems);
    fputs(buf_cstr(&problems), stderr);
    buf_fini(&problems);
    return s;
}

int app_check(const struct app_options *options)
{
    struct setup *s = app_load(options->config);
    if (!s)
        return APP_USAGE;
    struct buf out;
    buf_init(&out, PRINT_MAX);
    bool is_whole = config_print(s->config, &out);
    fputs(buf_cstr(&out), stdout);
    buf_fini(&out);
    setup_unref(s);
    return is_whole ? APP_FINE : APP_NOT_FINE;
}
