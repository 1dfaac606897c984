#include "base/roff.h"

#include <criterion/criterion.h>

enum { TEXT_MAX = 64 };

Test(roff, escapes_what_would_mean_something_else)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        { "", "\n" },
        { "plain words, (1) < 2!", "plain words, (1) < 2!\n" },
        { "CORP\\svc-mail", "CORP\\esvc\\-mail\n" },
        { "run `submitd check` now", "run \\fBsubmitd check\\fR now\n" },
        { "`--from`", "\\fB\\-\\-from\\fR\n" },
        { ".TH is a command", "\\&.TH is a command\n" },
        { "'quoted' at the start", "\\&'quoted' at the start\n" },
        { "in the .middle", "in the .middle\n" },
        { "^ and ~", "\\(ha and \\(ti\n" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out;
        buf_init(&out, TEXT_MAX);
        cr_expect(roff_add(&out, rows[i].text));
        cr_expect_str_eq(buf_cstr(&out), rows[i].want);
        buf_fini(&out);
    }
}

Test(roff, says_when_it_does_not_fit)
{
    for (size_t room = 0; room < strlen("\\&.x\\fBy\\fR\n"); room++) {
        struct buf out;
        buf_init(&out, room);
        cr_expect_not(roff_add(&out, ".x`y`"), "%zu", room);
        buf_fini(&out);
    }
}
