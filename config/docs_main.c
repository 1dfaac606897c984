/*
 * submitd-docs: writes the reference page of the configuration to its standard output.
 *     build/debug/submitd-docs > docs/CONFIGURATION.md
 */
#include "config/config.h"

#include <stdio.h>

int main(void)
{
    enum { PAGE_SIZE_MAX = 1 << 20 };
    struct buf page;
    buf_init(&page, PAGE_SIZE_MAX);
    struct slice text = config_print_reference(&page) ? buf_slice(&page) : SLICE_NONE;
    bool is_written =
        text.n > 0 && fwrite(text.p, 1, text.n, stdout) == text.n && fflush(stdout) == 0;
    buf_fini(&page);
    return is_written ? 0 : 1;
}
