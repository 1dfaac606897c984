#include "fuzz.h"
#include "config/load.h"

enum { PAGE_MAX = 16 << 20 };

/* What was printed loads again and prints the same, when no password was masked in it. */
static void check_print(const struct config *c)
{
    struct buf first, second, problems;
    buf_init(&first, PAGE_MAX);
    buf_init(&second, PAGE_MAX);
    buf_init(&problems, PAGE_MAX);
    CLAIM(config_print(c, &first));
    if (!strstr(buf_cstr(&first), "password = ***")) {
        struct config *again = config_load_text("again", buf_slice(&first), &problems);
        CLAIM(again && config_print(again, &second));
        CLAIM(slice_eq(buf_slice(&first), buf_slice(&second)));
        config_unref(again);
    }
    buf_fini(&first);
    buf_fini(&second);
    buf_fini(&problems);
}

/* A configuration comes out, or at least one line that says why not. No file is read and nothing is
 * run. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf problems;
    buf_init(&problems, PAGE_MAX);
    struct config *c = config_load_text("fuzz", slice_of((const char *)data, size), &problems);
    CLAIM(c || problems.len > 0);
    if (c) {
        const struct ip_addr client = { .len = 4, .bytes = { 10, 1, 3, 7 } };
        config_route(c, &client, SLICE_LIT("payroll@corp.example"));
        config_route(c, &client, SLICE_NONE);
        check_print(c);
    }
    config_unref(c);
    buf_fini(&problems);
    return 0;
}
