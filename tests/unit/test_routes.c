#include "config/load.h"

#include <criterion/criterion.h>

static const char text[] =
    "[upstream]\nhost = mail.test\n"
    "[account]\nusername = everyone\npassword = p\n"
    "[account both]\nmatch_sender = boss@corp.test\nmatch_client = 10.1.0.0/16\n"
    "username = both\npassword = p\n"
    "[account hr]\nmatch_sender = payroll@corp.test,\n  *@HR.corp.test, a?@x.test\n"
    "username = hr\npassword = p\n"
    "[account scanners]\nmatch_client = 10.1.3.0/24, 2001:db8::/32\n"
    "username = scanners\npassword = p\n"
    "[account bounces]\nmatch_sender = <>\nusername = bounces\npassword = p\n";

static const char no_default[] = "[upstream]\nhost = mail.test\n"
                                 "[account any]\nmatch_sender = *\nusername = any\npassword = p\n";

/* is_pure reads no file, so that the literal passwords need no file with a mode. */
static struct config *load(const char *ini)
{
    struct buf problems;
    buf_init(&problems, 65536);
    struct config *c = config_load_text("test.ini", slice_str(ini), &problems);
    cr_assert(c, "%s", buf_cstr(&problems));
    buf_fini(&problems);
    return c;
}

static const char *route(const struct config *c, const char *client, const char *sender)
{
    struct ip_addr addr;
    cr_assert(ip_parse(slice_str(client), &addr));
    const struct config_account *a = config_route(c, &addr, slice_str(sender));
    return a ? a->username : "nobody";
}

Test(routes, first_match_wins_and_the_default_is_last)
{
    static const struct {
        const char *client, *sender, *want;
    } rows[] = {
        { "127.0.0.1", "x@corp.test", "everyone" },
        { "127.0.0.1", "payroll@corp.test", "hr" },
        { "127.0.0.1", "PayRoll@CORP.test", "hr" },
        { "127.0.0.1", "payroll@corp.test.evil", "everyone" },
        { "127.0.0.1", "a@hr.corp.test", "hr" },
        { "127.0.0.1", "a@sub.hr.corp.test", "everyone" },
        { "127.0.0.1", "ab@x.test", "hr" },
        { "127.0.0.1", "abc@x.test", "everyone" },
        { "10.1.3.9", "payroll@corp.test", "hr" },
        { "10.1.3.9", "x@corp.test", "scanners" },
        { "10.1.4.9", "x@corp.test", "everyone" },
        { "2001:db8::7", "x@corp.test", "scanners" },
        { "::ffff:10.1.3.9", "x@corp.test", "scanners" },
        { "10.1.3.9", "boss@corp.test", "both" },
        { "10.2.0.1", "boss@corp.test", "everyone" },
        { "127.0.0.1", "", "bounces" },
        { "10.1.3.9", "", "scanners" },
        { "127.0.0.1", "<>", "everyone" },
    };
    struct config *c = load(text);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *got = route(c, rows[i].client, rows[i].sender);
        cr_expect_str_eq(got, rows[i].want, "%s from %s", rows[i].sender, rows[i].client);
    }
    cr_expect_str_eq(c->accounts[c->account_count - 1].name, "");
    config_unref(c);
}

Test(routes, without_a_default_nobody_may_be_left)
{
    struct config *c = load(no_default);
    cr_expect_str_eq(route(c, "10.0.0.1", "x@y.test"), "any");
    cr_expect_str_eq(route(c, "10.0.0.1", ""), "nobody", "* is not for the null sender");
    config_unref(c);
}

Test(routes, client_is_allowed_by_its_network_only)
{
    struct config *c = load("[listener]\n[listener lan]\naddress = 0.0.0.0\nport = 2525\n"
                            "allow = 10.1.3.0/24,\n\t192.0.2.1\n"
                            "[upstream]\nhost = localhost\nauth = none\n");
    static const struct {
        size_t listener;
        const char *client;
        bool want;
    } rows[] = {
        { 0, "127.0.0.1", true },
        { 0, "127.8.9.10", true },
        { 0, "::1", true },
        { 0, "10.1.3.1", false },
        { 0, "::2", false },
        { 1, "10.1.3.0", true },
        { 1, "10.1.3.255", true },
        { 1, "10.1.4.0", false },
        { 1, "10.1.2.255", false },
        { 1, "192.0.2.1", true },
        { 1, "192.0.2.2", false },
        { 1, "127.0.0.1", false },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ip_addr addr;
        cr_assert(ip_parse(slice_str(rows[i].client), &addr));
        cr_expect_eq(config_client_is_allowed(&c->listeners[rows[i].listener], &addr), rows[i].want,
            "%s at listener %zu", rows[i].client, rows[i].listener);
    }
    config_unref(c);
}
