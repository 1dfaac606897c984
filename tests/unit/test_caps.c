#include "smtp/caps.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct smtp_caps learn(const char *const *lines)
{
    struct smtp_caps caps = { .set = 0 };
    for (; *lines; lines++)
        smtp_caps_learn(&caps, slice_str(*lines));
    return caps;
}

Test(caps, learns_what_exchange_says_after_tls)
{
    static const char *const lines[] = { "SIZE 37748736", "PIPELINING", "DSN",
        "ENHANCEDSTATUSCODES", "AUTH GSSAPI NTLM LOGIN", "X-EXPS GSSAPI NTLM", "8BITMIME",
        "BINARYMIME", "CHUNKING", "SMTPUTF8", "XRDST", NULL };
    struct smtp_caps caps = learn(lines);
    cr_assert_eq(caps.size, 37748736);
    cr_assert_str_eq(caps.auth, "GSSAPI NTLM LOGIN");
    cr_assert_eq(caps.set, SMTP_CAP_SIZE | SMTP_CAP_PIPELINING | SMTP_CAP_DSN |
                               SMTP_CAP_ENHANCEDSTATUSCODES | SMTP_CAP_AUTH | SMTP_CAP_8BITMIME |
                               SMTP_CAP_CHUNKING | SMTP_CAP_SMTPUTF8);
    cr_assert(smtp_caps_have(&caps, SMTP_CAP_DSN));
    cr_assert(!smtp_caps_have(&caps, SMTP_CAP_STARTTLS));
    cr_assert(smtp_caps_have_mech(&caps, "ntlm"));
    cr_assert(smtp_caps_have_mech(&caps, "LOGIN"));
    cr_assert(!smtp_caps_have_mech(&caps, "LOG"));
    cr_assert(!smtp_caps_have_mech(&caps, "NTLM LOGIN"));
    cr_assert(!smtp_caps_have_mech(&caps, ""));
}

Test(caps, keywords_have_no_case_and_must_be_whole)
{
    static const char *const lines[] = { "starttls", "Pipelining", "DSNX", "SIZ", "8BITMIMEX",
        "CHUNKING-2", "", " ", NULL };
    cr_assert_eq(learn(lines).set, SMTP_CAP_STARTTLS | SMTP_CAP_PIPELINING);
}

Test(caps, several_auth_lines_add_up)
{
    static const char *const lines[] = { "AUTH=LOGIN PLAIN", "auth ntlm  login", "AUTH", "AUTH=",
        "AUTH Cram-MD5 b\xc3\xa4"
        "d x/y",
        NULL };
    struct smtp_caps caps = learn(lines);
    cr_assert_str_eq(caps.auth, "LOGIN PLAIN NTLM CRAM-MD5");
    cr_assert(smtp_caps_have(&caps, SMTP_CAP_AUTH));
}

Test(caps, size_is_a_number_or_no_limit)
{
    static const struct {
        const char *line;
        uint64_t size;
    } rows[] = { { "SIZE", 0 }, { "SIZE 0", 0 }, { "SIZE 1", 1 }, { "size 10485760 ", 10485760 },
        { "SIZE 99999999999999999999", 0 }, { "SIZE -1", 0 }, { "SIZE many", 0 },
        { "SIZE 10 20", 0 } };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct smtp_caps caps = { .set = 0 };
        smtp_caps_learn(&caps, slice_str(rows[i].line));
        cr_assert(smtp_caps_have(&caps, SMTP_CAP_SIZE), "%s", rows[i].line);
        cr_assert_eq(caps.size, rows[i].size, "%s", rows[i].line);
    }
}

Test(caps, the_list_of_mechanisms_is_bounded)
{
    struct smtp_caps caps = { .set = 0 };
    for (unsigned i = 0; i < 1000; i++) {
        char line[64];
        snprintf(line, sizeof line, "AUTH MECH-%u", i);
        smtp_caps_learn(&caps, slice_str(line));
    }
    cr_assert_leq(strlen(caps.auth), SMTP_AUTH_LIST_MAX);
    cr_assert_geq(strlen(caps.auth), SMTP_AUTH_LIST_MAX - 10);
    cr_assert(smtp_caps_have_mech(&caps, "MECH-0"));
    caps = (struct smtp_caps){ .set = 0 };
    smtp_caps_learn(&caps, SLICE_LIT("AUTH ABCDEFGHIJKLMNOPQRST ABCDEFGHIJKLMNOPQRSTU"));
    cr_assert_str_eq(caps.auth, "ABCDEFGHIJKLMNOPQRST");
}

Test(caps, keywords_are_written_with_their_parameters)
{
    static const char *const lines[] = { "SIZE 1000", "AUTH NTLM LOGIN", NULL };
    struct smtp_caps caps = learn(lines), none = { .set = 0 };
    static const struct {
        enum smtp_cap_bit bit;
        const char *want, *want_bare;
    } rows[] = {
        { SMTP_CAP_BIT_SIZE, "SIZE 1000", "SIZE" },
        { SMTP_CAP_BIT_AUTH, "AUTH NTLM LOGIN", "AUTH" },
        { SMTP_CAP_BIT_8BITMIME, "8BITMIME", "8BITMIME" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out;
        buf_init(&out, 100);
        cr_assert(smtp_caps_add_keyword(&caps, rows[i].bit, &out));
        cr_assert_str_eq(buf_cstr(&out), rows[i].want);
        buf_clear(&out);
        cr_assert(smtp_caps_add_keyword(&none, rows[i].bit, &out));
        cr_assert_str_eq(buf_cstr(&out), rows[i].want_bare);
        buf_fini(&out);
    }
}
