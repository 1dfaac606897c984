/*
 * submitd-docs [PAGE]: writes what is made of the program's tables to its standard output.
 *     build/debug/submitd-docs > docs/CONFIGURATION.md
 */
#include "app/manual.h"
#include "config/config.h"

#include <stdio.h>

static const struct page {
    const char *name;
    bool (*print)(struct buf *out);
} pages[] = {
    { "configuration", config_print_reference },
    { "submitd.8", app_print_manual },
    { "submitd.ini.5", config_print_manual },
    { "completion", app_print_completion },
};

static int print(const struct page *page)
{
    enum { PAGE_SIZE_MAX = 1 << 20 };
    struct buf text;
    buf_init(&text, PAGE_SIZE_MAX);
    struct slice all = page->print(&text) ? buf_slice(&text) : SLICE_NONE;
    bool is_written = all.n > 0 && fwrite(all.p, 1, all.n, stdout) == all.n && fflush(stdout) == 0;
    buf_fini(&text);
    return is_written ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *wanted = argc > 1 ? argv[1] : pages[0].name;
    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        if (strcmp(pages[i].name, wanted) == 0)
            return print(&pages[i]);
    }
    fprintf(stderr, "usage: submitd-docs [configuration|submitd.8|submitd.ini.5|completion]\n");
    return 2;
}
