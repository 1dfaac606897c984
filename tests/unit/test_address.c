#include "smtp/address.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define X10     "xxxxxxxxxx"
#define X60     X10 X10 X10 X10 X10 X10
#define LABEL63 X60 "xxx"
#define LOCAL64 X60 "xxxx"

enum {
    ANY = SMTP_ADDRESS_ALLOW_NULL | SMTP_ADDRESS_ALLOW_LOCAL | SMTP_ADDRESS_ALLOW_UTF8 |
          SMTP_ADDRESS_ALLOW_BARE
};
enum {
    BARE = SMTP_ADDRESS_ALLOW_BARE,
    LOCAL = SMTP_ADDRESS_ALLOW_LOCAL,
    UTF8 = SMTP_ADDRESS_ALLOW_UTF8,
    NULL_PATH = SMTP_ADDRESS_ALLOW_NULL
};

static void check_slice(struct slice have, const char *want, const char *text)
{
    cr_assert(slice_eq(have, slice_str(want)), "'%s': have '%.*s', want '%s'", text,
        SLICE_ARG(have), want);
}

static const struct {
    const char *text;
    unsigned flags;
    const char *local, *domain, *rest;
} good_rows[] = {
    { "<a@b>", 0, "a", "b", "" },
    { "<joe.doe@mail.example.com> SIZE=1", 0, "joe.doe", "mail.example.com", " SIZE=1" },
    { "<Joe+tag=x/y!#$%&'*?^_`{|}~-@example.com>", 0, "Joe+tag=x/y!#$%&'*?^_`{|}~-", "example.com",
        "" },
    { "<azAZ09@azAZ09>", 0, "azAZ09", "azAZ09", "" },
    { "<a@b>c", 0, "a", "b", "c" },
    { "<>", NULL_PATH, "", "", "" },
    { "<> BODY=7BIT", NULL_PATH, "", "", " BODY=7BIT" },
    { "<postmaster>", LOCAL, "postmaster", "", "" },
    { "<root>", LOCAL, "root", "", "" },
    { "<\"joe doe\"@example.com>", 0, "\"joe doe\"", "example.com", "" },
    { "<\"a@b\"@example.com>", 0, "\"a@b\"", "example.com", "" },
    { "<\"a\\\"b\\\\\"@example.com>", 0, "\"a\\\"b\\\\\"", "example.com", "" },
    { "<\">\"@example.com> X", 0, "\">\"", "example.com", " X" },
    { "<\"\"@example.com>", 0, "\"\"", "example.com", "" },
    { "<a@[192.0.2.7]>", 0, "a", "[192.0.2.7]", "" },
    { "<a@[IPv6:2001:db8::7]>", 0, "a", "[IPv6:2001:db8::7]", "" },
    { "<a@[ipv6:::1]>", 0, "a", "[ipv6:::1]", "" },
    { "<@relay.example:a@b.example>", 0, "a", "b.example", "" },
    { "<@one.example,@[192.0.2.1],@[IPv6:::1]:a@b.example>", 0, "a", "b.example", "" },
    { "<a@win_host-1.corp.example>", 0, "a", "win_host-1.corp.example", "" },
    { "<a@1.2.3.4>", 0, "a", "1.2.3.4", "" },
    /* Outside RFC 5321, harmless, and in use. */
    { "<a..b@example.com>", 0, "a..b", "example.com", "" },
    { "<.a.@example.com>", 0, ".a.", "example.com", "" },
    { "a@b.example", BARE, "a", "b.example", "" },
    { "a@b.example SIZE=7", BARE, "a", "b.example", " SIZE=7" },
    { "a@b.example AUTH=<>", BARE, "a", "b.example", " AUTH=<>" },
    { "\"a b\"@b.example\tX", BARE, "\"a b\"", "b.example", "\tX" },
    { "root", BARE | LOCAL, "root", "", "" },
    { "@x.example:a@b.example", BARE, "a", "b.example", "" },
    /* RFC 6531. */
    { "<j\xc3\xb6rg@b\xc3\xbc"
      "cher.example>",
        UTF8, "j\xc3\xb6rg",
        "b\xc3\xbc"
        "cher.example",
        "" },
    { "<\"\xe2\x82\xac 1\"@example.com>", UTF8, "\"\xe2\x82\xac 1\"", "example.com", "" },
    /* The longest. */
    { "<" LOCAL64 "@b>", 0, LOCAL64, "b", "" },
    { "<a@" LABEL63 ".example>", 0, "a", LABEL63 ".example", "" },
    { "<" LOCAL64 "@" LABEL63 "." LABEL63 "." X60 ".>", 0, NULL, NULL, NULL },
    { "<" LOCAL64 "@" LABEL63 "." LABEL63 "." X60 "x>", 0, LOCAL64, LABEL63 "." LABEL63 "." X60 "x",
        "" },
};

Test(address, reads_paths)
{
    for (size_t i = 0; i < ARRAY_LEN(good_rows); i++) {
        const char *text = good_rows[i].text, *why = NULL;
        struct smtp_path path;
        struct slice rest;
        bool is_read = smtp_path_parse(slice_str(text), good_rows[i].flags, &path, &rest, &why);
        if (!good_rows[i].local) {
            cr_assert(!is_read, "'%s'", text);
            continue;
        }
        cr_assert(is_read, "'%s': %s", text, why);
        check_slice(path.local, good_rows[i].local, text);
        check_slice(path.domain, good_rows[i].domain, text);
        check_slice(rest, good_rows[i].rest, text);
        char mailbox[400];
        snprintf(mailbox, sizeof mailbox, "%s%s%s", good_rows[i].local,
            good_rows[i].domain[0] ? "@" : "", good_rows[i].domain);
        check_slice(path.mailbox, mailbox, text);
        bool is_utf8 = (good_rows[i].flags & UTF8) != 0;
        cr_assert_eq(path.is_utf8, is_utf8, "'%s'", text);
    }
}

static const struct {
    const char *text;
    unsigned flags;
    const char *why; /* a part of the sentence */
} bad_rows[] = {
    { "", ANY, "missing" },
    { "<", ANY, "local part" },
    { "<>", ANY & ~NULL_PATH, "empty" },
    { "< >", ANY, "local part" },
    { "<a@b", ANY, "missing its >" },
    { "<a@b x>", ANY, "does not belong" },
    { "< a@b>", ANY, "local part" },
    { "<a@b >", ANY, "does not belong" },
    { "<<a@b>>", ANY, "local part" },
    { "<a@>", ANY, "no domain behind" },
    { "<@>", ANY, "no domain behind" },
    { "<@b>", ANY, "source route" },
    { "<@b:>", ANY, "local part" },
    { "<@b,a@c>", ANY, "source route" },
    { "<@b:@c:a@d>", ANY, "local part" },
    { "<a@b@c>", ANY, "does not belong" },
    { "<a@b.>", ANY, "not valid" },
    { "<a@.b>", ANY, "not valid" },
    { "<a@b..c>", ANY, "not valid" },
    { "<a@b/c>", ANY, "not valid" },
    { "<a@[192.0.2.7>", ANY, "missing its ]" },
    { "<a@[]>", ANY, "not valid" },
    { "<a@[192.0.2]>", ANY, "not valid" },
    { "<a@[192.0.2.777]>", ANY, "not valid" },
    { "<a@[2001:db8::7]>", ANY, "not valid" },
    { "<a@[IPv6:192.0.2.7]>", ANY, "not valid" },
    { "<a@[IPv6:]>", ANY, "not valid" },
    { "<a@[x-tag:content]>", ANY, "not valid" },
    { "<a@[192.0.2.7]x>", ANY, "does not belong" },
    { "<\"a@b>", ANY, "never closed" },
    { "<\"a\\\"@b>", ANY, "never closed" },
    { "<\"a\\", ANY, "never closed" },
    { "<\"a\"b@c>", ANY, "does not belong" },
    { "<a(comment)@b>", ANY, "does not belong" },
    { "<a,b@c>", ANY, "does not belong" },
    { "<a;b@c>", ANY, "does not belong" },
    { "<a@b>", 0, NULL },
    { "a@b", 0, "must stand in" },
    { "Joe <a@b>", ANY, "without a name" },
    { "Joe Doe <a@b>", ANY, "without a name" },
    { "\"Joe Doe\" <a@b>", ANY, "without a name" },
    { "\"Joe Doe\"<a@b>", ANY, "without a name" },
    { "a@b>", ANY, "does not belong" },
    { "<root>", ANY & ~LOCAL, "no @domain" },
    { "<a\r@b>", ANY, "does not belong" },
    { "<a@b\n>", ANY, "does not belong" },
    { "<\"a\rb\"@c>", ANY, "control" },
    { "<\"a\\\nb\"@c>", ANY, "control" },
    { "<\"a\tb\"@c>", ANY, "control" },
    { "<\"a\x7f"
      "b\"@c>",
        ANY, "control" },
    { "<a\x7f@c>", ANY, "does not belong" },
    { "<j\xc3\xb6rg@b>", ANY & ~UTF8, "outside ASCII" },
    { "<a@b\xc3\xbc>", ANY & ~UTF8, "outside ASCII" },
    { "<\"\xc3\xb6\"@b>", ANY & ~UTF8, "outside ASCII" },
    { "<j\xf6rg@b>", ANY, "UTF-8" },
    { "<a@b\xfc>", ANY, "not valid" },
    { "<\"\\\xc3\xb6\"@b>", ANY, "backslash" },
    { "<" LOCAL64 "x@b>", ANY, "64 octets" },
    { "<a@" LABEL63 "x.example>", ANY, "not valid" },
    { "<" LOCAL64 "@" LABEL63 "." LABEL63 "." X60 "xx>", ANY, "256 octets" },
    { "<a@" LABEL63 "." LABEL63 "." LABEL63 "." LABEL63 ".x>", ANY, "255 octets" },
};

Test(address, refuses_with_a_reason)
{
    for (size_t i = 0; i < ARRAY_LEN(bad_rows); i++) {
        const char *text = bad_rows[i].text, *why = NULL;
        struct smtp_path path = { .mailbox = SLICE_LIT("untouched") };
        struct slice rest = SLICE_LIT("untouched");
        bool is_read = smtp_path_parse(slice_str(text), bad_rows[i].flags, &path, &rest, &why);
        if (!bad_rows[i].why) {
            cr_assert(is_read, "'%s': %s", text, why);
            continue;
        }
        cr_assert(!is_read, "accepted '%s'", text);
        cr_assert_not_null(why);
        cr_assert(strstr(why, bad_rows[i].why), "'%s': the reason is '%s'", text, why);
        check_slice(path.mailbox, "untouched", text);
        check_slice(rest, "untouched", text);
    }
}

Test(address, refuses_a_nul_wherever_it_stands)
{
    char text[] = "<\"ab\"@example.com>";
    for (size_t i = 0; i + 1 < sizeof text; i++) {
        char copy[sizeof text];
        memcpy(copy, text, sizeof text);
        copy[i] = '\0';
        struct smtp_path path;
        struct slice rest;
        const char *why;
        bool is_read = smtp_path_parse(slice_of(copy, sizeof text - 1), ANY, &path, &rest, &why);
        cr_assert(!is_read, "accepted a NUL at %zu", i);
    }
}

/* A part of a path is a shorter path or none; it never reads behind the end (ASan looks on). */
Test(address, survives_being_cut_anywhere)
{
    for (size_t i = 0; i < ARRAY_LEN(good_rows); i++) {
        for (size_t n = 0; n < strlen(good_rows[i].text); n++) {
            char *copy = slice_dup(slice_of(good_rows[i].text, n));
            struct smtp_path path;
            struct slice rest;
            const char *why;
            if (smtp_path_parse(slice_of(copy, n), ANY, &path, &rest, &why))
                cr_assert(path.mailbox.n <= n && rest.n <= n);
            free(copy);
        }
    }
}

Test(address, mailboxes_of_the_configuration_are_strict)
{
    static const struct {
        const char *text;
        bool is_valid;
    } rows[] = {
        { "payroll@corp.example", true },
        { "\"pay roll\"@corp.example", true },
        { "a@[192.0.2.7]", true },
        { "", false },
        { "payroll", false },
        { "@corp.example", false },
        { "@x:a@corp.example", false },
        { "<a@corp.example>", false },
        { " a@corp.example", false },
        { "a@corp.example ", false },
        { "a@corp.example,b@corp.example", false },
        { "a..b@corp.example", false },
        { ".a@corp.example", false },
        { "a.@corp.example", false },
        { "a@corp", true },
        { "a@corp.example.", false },
        { "a@corp.example\r\nBcc: x@y", false },
        { "j\xc3\xb6rg@corp.example", false },
        { LOCAL64 "x@corp.example", false },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        cr_assert_eq(
            smtp_mailbox_is_valid(slice_str(rows[i].text)), rows[i].is_valid, "'%s'", rows[i].text);
}

Test(address, knows_domains)
{
    static const struct {
        const char *text;
        bool is_valid, is_valid_utf8;
    } rows[] = {
        { "example.com", true, true },
        { "localhost", true, true },
        { "PC_12", true, true },
        { "3com.example", true, true },
        { "192.0.2.7", true, true },
        { "[192.0.2.7]", true, true },
        { "[IPv6:::1]", true, true },
        { "b\xc3\xbc"
          "cher.example",
            false, true },
        { "b\xfc"
          "cher.example",
            false, false },
        { "", false, false },
        { ".", false, false },
        { ".example", false, false },
        { "example.", false, false },
        { "a b", false, false },
        { "a\nb", false, false },
        { "[", false, false },
        { "[]", false, false },
        { "[192.0.2.7", false, false },
        { "192.0.2.7]", false, false },
        { LABEL63, true, true },
        { LABEL63 "x", false, false },
        { LABEL63 "." LABEL63 "." LABEL63 "." LABEL63, true, true },
        { LABEL63 "." LABEL63 "." LABEL63 "." LABEL63 ".x", false, false },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_assert_eq(smtp_domain_is_valid(slice_str(rows[i].text), false), rows[i].is_valid, "'%s'",
            rows[i].text);
        cr_assert_eq(smtp_domain_is_valid(slice_str(rows[i].text), true), rows[i].is_valid_utf8,
            "'%s'", rows[i].text);
    }
}
