/* Filling in an INI text for an installer: one line changes, and only when nobody edited it. */
#include "config/edit.h"

#include <criterion/criterion.h>

static void expect_edit(const char *text, const struct config_edit *edit, const char *want)
{
    struct buf out;
    buf_init(&out, 4096);
    cr_assert(config_edit(slice_str(text), edit, &out));
    cr_expect_str_eq(buf_cstr(&out), want, "for <<%s>>\n got <<%s>>", text, buf_cstr(&out));
    buf_fini(&out);
}

Test(edit, changes_the_old_value_in_its_section_only)
{
    const struct config_edit edit = { "upstream", "host", "old", "new.test" };
    const struct {
        const char *text, *want;
    } rows[] = {
        { "[upstream]\nhost = old\nport = 587\n", "[upstream]\nhost = new.test\nport = 587\n" },
        { "[upstream]\r\nhost=old\r\n", "[upstream]\r\nhost = new.test\r\n" },
        { "[ upstream]\nhost = old\n", "[ upstream]\nhost = old\n" },
        { "[upstream]\nHOST =  old \n", "[upstream]\nhost = new.test\n" },
        { "[upstream]\nhost = old", "[upstream]\nhost = new.test\n" },
        { "[upstream]\n; host = old\n;host = old\n", "[upstream]\n; host = old\n;host = old\n" },
        { "[upstream]\nhost = theirs\n", "[upstream]\nhost = theirs\n" },
        { "[upstream]\nhost = old ; ours\n", "[upstream]\nhost = old ; ours\n" },
        { "[other]\nhost = old\n[UPSTREAM]\nhost = old\n[third]\nhost = old\n",
            "[other]\nhost = old\n[UPSTREAM]\nhost = new.test\n[third]\nhost = old\n" },
        { "", "" },
        { "\n\n", "\n\n" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        expect_edit(rows[i].text, &edit, rows[i].want);
}

Test(edit, an_empty_value_leaves_the_name)
{
    const struct config_edit edit = { "account", "username", "CORP\\svc-mail", "" };
    expect_edit("[account]\nusername = CORP\\svc-mail\n", &edit, "[account]\nusername =\n");
}

Test(edit, fails_when_the_text_would_grow_too_long)
{
    const struct config_edit edit = { "a", "b", "c", "a longer one" };
    struct buf out;
    buf_init(&out, 12);
    cr_expect_not(config_edit(SLICE_LIT("[a]\nb = c\n"), &edit, &out));
    buf_fini(&out);
}

Test(edit, tells_what_an_option_allows)
{
    struct err e;
    cr_expect(config_allows("upstream", "host", "mail.corp.example", &e));
    cr_expect(config_allows("account", "username", "CORP\\m\xc3\xbcller", &e));
    cr_expect(config_allows("account", "username", "", &e));
    cr_expect_not(config_allows("upstream", "host", "mail corp", &e));
    cr_expect(
        strstr(e.text, "host = mail corp: must be a host name or an IP address"), "%s", e.text);
    cr_expect_not(config_allows("account", "username", "a\nb", &e));
    cr_expect_str_eq(e.text, "username must not hold control characters");
    cr_expect_not(config_allows("account", "username", "CORP\\a ;b", &e));
    cr_expect_str_eq(e.text, "username must not hold a blank and a ; behind it");
    cr_expect_not(config_allows("upstream", "hosts", "x", &e));
    cr_expect_str_eq(e.text, "[upstream] has no option hosts");
}

/* What passes must be what the file's reader gets, to the last byte of a line. */
Test(edit, allows_as_much_as_a_line_takes)
{
    struct err e;
    char value[200];
    memset(value, 'a', sizeof value);
    value[198 - strlen("username = ")] = '\0';
    cr_expect(config_allows("account", "username", value, &e));
    value[198 - strlen("username = ")] = 'a';
    value[199 - strlen("username = ")] = '\0';
    cr_expect_not(config_allows("account", "username", value, &e));
    cr_expect_str_eq(e.text, "username is too long for one line; write it into the file");
}
