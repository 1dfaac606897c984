/* All of src/base: what every layer above stands on. */
#include "base/base64.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/ip.h"
#include "base/list.h"
#include "base/secret.h"
#include "base/str.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>

static void check_text(const struct buf *b, const char *want)
{
    struct slice have = buf_slice(b);
    cr_assert(slice_eq(have, slice_str(want)), "have '%.*s', want '%s'", SLICE_ARG(have), want);
}

/* ---- buf ----------------------------------------------------------------------------- */

Test(buf, takes_exactly_its_maximum)
{
    struct buf b;
    buf_init(&b, 4);
    cr_assert(buf_add_str(&b, "abcd"));
    cr_assert(!b.failed);
    cr_assert(!buf_add_char(&b, 'e'));
    cr_assert(b.failed);
    check_text(&b, "abcd");
    cr_assert_str_eq(buf_cstr(&b), "abcd");
    buf_fini(&b);
}

Test(buf, keeps_nothing_of_an_add_that_does_not_fit)
{
    struct buf b;
    buf_init(&b, 8);
    cr_assert(buf_add_str(&b, "12345"));
    cr_assert(!buf_addf(&b, "%d", 6789));
    check_text(&b, "12345");
    cr_assert(buf_addf(&b, "%d", 678));
    check_text(&b, "12345678");
    cr_assert(b.failed, "the flag stays until buf_clear");
    buf_clear(&b);
    cr_assert(!b.failed && b.len == 0);
    buf_fini(&b);
}

Test(buf, gives_room_back_when_consumed)
{
    struct buf b;
    buf_init(&b, 1000);
    char piece[10] = "0123456789";
    for (unsigned i = 0; i < 1000; i++) {
        cr_assert(buf_add(&b, piece, sizeof piece));
        if (i >= 99)
            buf_consume(&b, sizeof piece);
        cr_assert(b.len <= 1000 && b.cap <= 1001);
    }
    cr_assert_eq(b.len, 990);
    for (unsigned i = 0; i < 99; i++) {
        cr_assert(memcmp(buf_slice(&b).p, piece, sizeof piece) == 0);
        buf_consume(&b, sizeof piece);
    }
    cr_assert_eq(b.len, 0);
    buf_fini(&b);
}

Test(buf, reserves_and_commits_less)
{
    struct buf b;
    buf_init(&b, 100);
    char *to = buf_reserve(&b, 100);
    cr_assert_not_null(to);
    memcpy(to, "xyz", 3);
    buf_commit(&b, 3);
    check_text(&b, "xyz");
    cr_assert_null(buf_reserve(&b, 98));
    cr_assert(b.failed);
    cr_assert_null(buf_reserve(&b, SIZE_MAX));
    buf_fini(&b);
}

Test(buf, holds_nothing_at_maximum_zero)
{
    struct buf b;
    buf_init(&b, 0);
    cr_assert(buf_add(&b, "", 0));
    cr_assert(!buf_add_char(&b, 'x'));
    cr_assert_str_eq(buf_cstr(&b), "");
    buf_fini(&b);
}

Test(buf, can_be_used_again_after_its_memory_was_released)
{
    struct buf b;
    buf_init(&b, 10);
    buf_add_str(&b, "hello");
    buf_release_memory(&b);
    cr_assert(b.len == 0 && b.cap == 0 && b.max == 10);
    cr_assert(buf_add_str(&b, "again"));
    check_text(&b, "again");
    buf_fini(&b);
}

Test(buf, overwrites_secrets_when_they_are_consumed)
{
    struct buf b;
    buf_init_secret(&b, 100);
    buf_add_str(&b, "passwordrest");
    buf_consume(&b, 8);
    for (size_t i = 0; i < 8; i++)
        cr_assert_eq(b.data[i], '\0');
    check_text(&b, "rest");
    buf_clear(&b);
    for (size_t i = 0; i < b.cap; i++)
        cr_assert_eq(b.data[i], '\0');
    buf_fini(&b);
}

Test(buf, moves_secrets_without_leaving_a_copy)
{
    struct buf b;
    buf_init_secret(&b, 127);
    char fill[120];
    memset(fill, 'S', sizeof fill);
    buf_add(&b, fill, sizeof fill);
    buf_consume(&b, 100);
    cr_assert(buf_add(&b, fill, 50)); /* does not fit behind: moves to the front */
    cr_assert_eq(b.off, 0);
    cr_assert_eq(b.len, 70);
    for (size_t i = b.len; i < b.cap; i++)
        cr_assert_neq(b.data[i], 'S');
    buf_fini(&b);
}

/* ---- slice --------------------------------------------------------------------------- */

Test(slice, compares_ascii_without_case_and_the_rest_as_it_is)
{
    cr_assert(slice_eq_nocase(SLICE_LIT("mAiL"), SLICE_LIT("MAIL")));
    cr_assert(!slice_eq_nocase(SLICE_LIT("MAIL"), SLICE_LIT("MAI")));
    cr_assert(!slice_eq_nocase(SLICE_LIT("[{"), SLICE_LIT("{[")));
    cr_assert(!slice_eq_nocase(SLICE_LIT("\xc3\xa4"), SLICE_LIT("\xc3\x84")));
    cr_assert(slice_eq(SLICE_NONE, SLICE_LIT("")));
    cr_assert(slice_eq_nocase(SLICE_NONE, SLICE_LIT("")));
    cr_assert(!slice_eq(SLICE_LIT("a\0b"), SLICE_LIT("a\0c")));
}

Test(slice, knows_how_it_starts)
{
    cr_assert(slice_starts_nocase(SLICE_LIT("from:<x>"), SLICE_LIT("FROM:")));
    cr_assert(!slice_starts_nocase(SLICE_LIT("from"), SLICE_LIT("FROM:")));
    cr_assert(slice_starts_nocase(SLICE_NONE, SLICE_NONE));
}

/* Where `part` stands in `s`, -1 when nowhere. */
static int place(struct slice s, struct slice part)
{
    const char *found = slice_find(s, part);
    return found ? (int)(found - s.p) : -1;
}

Test(slice, finds_the_first_place)
{
    cr_expect_eq(place(SLICE_LIT("abcabdabd"), SLICE_LIT("abd")), 3);
    cr_expect_eq(place(SLICE_LIT("abd"), SLICE_LIT("abd")), 0);
    cr_expect_eq(place(SLICE_LIT("aab"), SLICE_LIT("ab")), 1);
    cr_expect_eq(place(SLICE_LIT("a\0b"), SLICE_LIT("\0b")), 1);
    cr_expect_eq(place(SLICE_LIT("abcab"), SLICE_LIT("abd")), -1);
    cr_expect_eq(place(SLICE_LIT("ab"), SLICE_LIT("abd")), -1);
    cr_expect_eq(place(SLICE_NONE, SLICE_LIT("a")), -1);
}

Test(slice, trims_blanks_at_both_ends_only)
{
    cr_assert(slice_eq(slice_trim(SLICE_LIT(" \t a b\r\n")), SLICE_LIT("a b")));
    cr_assert_eq(slice_trim(SLICE_LIT(" \r\n\t")).n, 0);
    cr_assert_eq(slice_trim(SLICE_NONE).n, 0);
}

Test(slice, reads_numbers_of_up_to_18_digits)
{
    static const struct {
        const char *text;
        bool is_good;
        unsigned long long n;
    } rows[] = {
        { "0", true, 0 },
        { "007", true, 7 },
        { "999999999999999999", true, 999999999999999999ULL },
        { "1000000000000000000", false, 0 },
        { "", false, 0 },
        { "-1", false, 0 },
        { "+1", false, 0 },
        { " 1", false, 0 },
        { "1a", false, 0 },
        { "0x10", false, 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned long long n = 42;
        cr_assert_eq(
            slice_to_u64(slice_str(rows[i].text), &n), rows[i].is_good, "%s", rows[i].text);
        cr_assert_eq(n, rows[i].is_good ? rows[i].n : 42, "%s", rows[i].text);
    }
}

Test(slice, duplicates_with_a_nul_behind)
{
    char *copy = slice_dup(slice_of("a\0bcd", 3));
    cr_assert(memcmp(copy, "a\0b", 4) == 0);
    free(copy);
    copy = slice_dup(SLICE_NONE);
    cr_assert_str_eq(copy, "");
    free(copy);
}

/* ---- secret -------------------------------------------------------------------------- */

Test(secret, reveals_what_it_was_given)
{
    struct secret *s = secret_new("p\0w", 3);
    cr_assert(slice_eq(secret_reveal(s), SLICE_LIT("p\0w")));
    cr_assert_eq(secret_reveal(s).p[3], '\0');
    struct secret *copy = secret_dup(s);
    cr_assert(secret_eq(s, copy));
    secret_free(s);
    cr_assert(slice_eq(secret_reveal(copy), SLICE_LIT("p\0w")));
    secret_free(copy);
    secret_free(NULL);
}

Test(secret, compares_lengths_and_every_byte)
{
    struct secret *a = secret_new("password", 8), *b = secret_new("passwore", 8);
    struct secret *c = secret_new("passwor", 7), *none = secret_new(NULL, 0);
    cr_assert(!secret_eq(a, b));
    cr_assert(!secret_eq(a, c));
    cr_assert(!secret_eq(a, NULL));
    cr_assert(secret_eq(none, NULL));
    cr_assert(secret_is_empty(none) && secret_is_empty(NULL) && !secret_is_empty(a));
    cr_assert_null(secret_dup(NULL));
    cr_assert_eq(secret_reveal(NULL).n, 0);
    secret_free(a);
    secret_free(b);
    secret_free(c);
    secret_free(none);
}

Test(secret, wipes_memory)
{
    char bytes[5] = "abcd";
    secret_wipe(bytes, 3);
    cr_assert(memcmp(bytes, "\0\0\0d", 5) == 0);
}

/* ---- base64 -------------------------------------------------------------------------- */

/* RFC 4648 10, and bytes that need every letter. */
static const struct {
    struct slice bytes;
    const char *text;
} base64_rows[] = {
    { { "", 0 }, "" },
    { { "f", 1 }, "Zg==" },
    { { "fo", 2 }, "Zm8=" },
    { { "foo", 3 }, "Zm9v" },
    { { "foob", 4 }, "Zm9vYg==" },
    { { "fooba", 5 }, "Zm9vYmE=" },
    { { "foobar", 6 }, "Zm9vYmFy" },
    { { "\0", 1 }, "AA==" },
    { { "\xff\xff\xff", 3 }, "////" },
    { { "\xfb\xef\xbe", 3 }, "++++" },
    { { "\0user\0secret", 12 }, "AHVzZXIAc2VjcmV0" },
};

Test(base64, agrees_with_the_rfc)
{
    for (size_t i = 0; i < ARRAY_LEN(base64_rows); i++) {
        struct buf b;
        buf_init(&b, 100);
        cr_assert(base64_encode(base64_rows[i].bytes, &b));
        check_text(&b, base64_rows[i].text);
        buf_clear(&b);
        cr_assert(base64_decode(slice_str(base64_rows[i].text), &b));
        cr_assert(slice_eq(buf_slice(&b), base64_rows[i].bytes), "row %zu", i);
        buf_fini(&b);
    }
}

Test(base64, refuses_what_no_encoder_writes)
{
    static const char *const rows[] = { "Z", "Zg", "Zg=", "Zg===", "Zm9",
        "Zh==", "Zm9=", "=Zg=", "====", "Zg==Zg==", "Zm 8=", "Zm8=\r\n", "Zm9v ", "Zm-_", "Zm9\xc3",
        "Z===", "*", "Zg=A" };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b;
        buf_init(&b, 100);
        cr_assert(!base64_decode(slice_str(rows[i]), &b), "accepted '%s'", rows[i]);
        cr_assert_eq(b.len, 0);
        buf_fini(&b);
    }
}

Test(base64, adds_nothing_that_does_not_fit)
{
    struct buf b;
    buf_init(&b, 7);
    cr_assert(!base64_encode(SLICE_LIT("foob"), &b));
    cr_assert_eq(b.len, 0);
    buf_fini(&b);
    buf_init(&b, 8);
    cr_assert(base64_encode(SLICE_LIT("foob"), &b));
    cr_assert(!base64_decode(SLICE_LIT("Zg=="), &b));
    check_text(&b, "Zm9vYg==");
    buf_fini(&b);
}

Test(base64, gives_every_byte_string_back)
{
    unsigned seed = 1;
    for (size_t n = 0; n < 200; n++) {
        char bytes[200];
        for (size_t i = 0; i < n; i++) {
            seed = seed * 1103515245 + 12345;
            bytes[i] = (char)(seed >> 16);
        }
        struct buf text, back;
        buf_init(&text, 400);
        buf_init(&back, 400);
        cr_assert(base64_encode(slice_of(bytes, n), &text));
        cr_assert_eq(text.len, (n + 2) / 3 * 4);
        cr_assert(base64_decode(buf_slice(&text), &back));
        cr_assert(slice_eq(buf_slice(&back), slice_of(bytes, n)));
        buf_fini(&text);
        buf_fini(&back);
    }
}

/* ---- str ----------------------------------------------------------------------------- */

Test(str, duplicates_and_formats)
{
    char *copy = str_dup("x"), *text = str_format("%s-%d", "y", 7);
    cr_assert_str_eq(copy, "x");
    cr_assert_str_eq(text, "y-7");
    cr_assert_null(str_dup(NULL));
    free(copy);
    free(text);
}

Test(str, matches_globs)
{
    static const struct {
        const char *pattern, *text;
        bool is_match;
    } rows[] = {
        { "", "", true },
        { "", "a", false },
        { "*", "", true },
        { "**", "anything", true },
        { "a", "", false },
        { "?", "", false },
        { "?", "x", true },
        { "*@hr.corp.example", "Anna@HR.Corp.Example", true },
        { "*@hr.corp.example", "anna@xhr.corp.example", false },
        { "*@hr.corp.example", "@hr.corp.example", true },
        { "a*b*c", "aXXbYYc", true },
        { "a*b*c", "aXXbYYcZ", false },
        { "a*b*c", "abbbcbc", true },
        { "*ab", "aab", true },
        { "*aab", "aaaab", true },
        { "a?c", "aBc", true },
        { "a?c", "ac", false },
        { "a*", "b", false },
        { "[a]", "a", false },
        { "a\\*", "a\\zzz", true },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        cr_assert_eq(str_glob_nocase(rows[i].pattern, slice_str(rows[i].text)), rows[i].is_match,
            "'%s' against '%s'", rows[i].pattern, rows[i].text);
}

Test(str, matches_hostile_globs_in_reasonable_time)
{
    char text[20001];
    memset(text, 'a', sizeof text);
    cr_assert(!str_glob_nocase("*a*a*a*a*a*a*a*a*a*a*a*a*b", slice_of(text, sizeof text)));
    cr_assert(str_glob_nocase("*a*a*a*a*a*a*a*a*a*a*a*a*", slice_of(text, sizeof text)));
}

Test(str, measures_distances_up_to_the_limit)
{
    static const struct {
        const char *a, *b;
        unsigned distance;
    } rows[] = {
        { "", "", 0 },
        { "port", "port", 0 },
        { "PORT", "port", 0 },
        { "prot", "port", 2 },
        { "por", "port", 1 },
        { "", "abc", 3 },
        { "kitten", "sitting", 3 },
        { "host", "password", 4 },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned want = rows[i].distance > 3 ? 4 : rows[i].distance;
        cr_assert_eq(str_distance(rows[i].a, rows[i].b, 3), want, "row %zu", i);
        cr_assert_eq(str_distance(rows[i].b, rows[i].a, 3), want, "row %zu, turned round", i);
    }
    char longest[65];
    memset(longest, 'x', sizeof longest);
    longest[64] = '\0';
    cr_assert_eq(str_distance(longest, longest, 3), 4, "64 bytes are one too many to compare");
    longest[63] = '\0';
    cr_assert_eq(str_distance(longest, longest, 3), 0);
}

/* RFC 3629 3 and 4: the first and last of each length, and their wrong neighbours. */
static const struct {
    const char *text;
    bool is_utf8;
} utf8_rows[] = {
    { "", true },
    { "plain", true },
    { "\x7f", true },
    { "\xc2\x80", true },
    { "\xdf\xbf", true },
    { "\xe0\xa0\x80", true },
    { "\xed\x9f\xbf", true },
    { "\xee\x80\x80", true },
    { "\xef\xbf\xbf", true },
    { "\xf0\x90\x80\x80", true },
    { "\xf4\x8f\xbf\xbf", true },
    { "\x80", false },
    { "\xbf", false },
    { "\xc0\x80", false },
    { "\xc1\xbf", false },
    { "\xc2", false },
    { "\xc2\x41", false },
    { "\xe0\x9f\xbf", false },
    { "\xe2\x82", false },
    { "\xed\xa0\x80", false },
    { "\xed\xbf\xbf", false },
    { "\xf0\x8f\xbf\xbf", false },
    { "\xf0\x90\x80", false },
    { "\xf4\x90\x80\x80", false },
    { "\xf5\x80\x80\x80", false },
    { "\xff", false },
    { "ok \xe4", false },
};

Test(str, knows_utf8)
{
    for (size_t i = 0; i < ARRAY_LEN(utf8_rows); i++)
        cr_assert_eq(str_is_utf8(slice_str(utf8_rows[i].text)), utf8_rows[i].is_utf8, "row %zu", i);
    cr_assert(str_is_utf8(SLICE_LIT("a\0b")));
}

Test(str, shows_bytes_that_could_do_harm)
{
    static const struct {
        struct slice in;
        const char *want;
    } rows[] = {
        { { "a b", 3 }, "a b" },
        { { "\r\n\t", 3 }, "<CR><LF><TAB>" },
        { { "\0\x1b[2J\x7f", 6 }, "<0x00><0x1B>[2J<0x7F>" },
        { { "gr\xc3\xbc\xc3\x9f", 6 }, "gr\xc3\xbc\xc3\x9f" },
        { { "\xc3", 1 }, "<0xC3>" },
        { { "\xe4x", 2 }, "<0xE4>x" },
        { { "\xc2\x9b\xc2\xa0", 4 }, "<0xC2><0x9B>\xc2\xa0" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b;
        buf_init(&b, 100);
        cr_assert(str_add_printable(&b, rows[i].in));
        check_text(&b, rows[i].want);
        buf_fini(&b);
    }
    struct buf b;
    buf_init(&b, 5);
    cr_assert(!str_add_printable(&b, SLICE_LIT("ab\r")));
    cr_assert(b.failed);
    buf_fini(&b);
}

/* ---- ip ------------------------------------------------------------------------------ */

Test(ip, parses_and_shows_addresses)
{
    static const struct {
        const char *in, *want; /* NULL: refused */
    } rows[] = {
        { "192.0.2.7", "192.0.2.7" },
        { "0.0.0.0", "0.0.0.0" },
        { "255.255.255.255", "255.255.255.255" },
        { "::1", "::1" },
        { "2001:DB8::0:7", "2001:db8::7" },
        { "::ffff:192.0.2.1", "192.0.2.1" },
        { "::FFFF:7f00:1", "127.0.0.1" },
        { "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
        { "", NULL },
        { "192.0.2", NULL },
        { "192.0.2.256", NULL },
        { "192.0.2.7 ", NULL },
        { " 192.0.2.7", NULL },
        { "192.0.2.7.1", NULL },
        { "1::2::3", NULL },
        { ":::", NULL },
        { "[::1]", NULL },
        { "fe80::1%eth0", NULL },
        { "localhost", NULL },
        { "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.2555", NULL },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ip_addr a;
        char text[IP_TEXT_MAX];
        bool is_read = ip_parse(slice_str(rows[i].in), &a);
        cr_assert_eq(is_read, rows[i].want != NULL, "'%s'", rows[i].in);
        if (!is_read)
            continue;
        ip_format(&a, text);
        cr_assert_str_eq(text, rows[i].want);
    }
    struct ip_addr a;
    cr_assert(!ip_parse(SLICE_LIT("192.0.2.7\0"), &a));
    char text[IP_TEXT_MAX];
    ip_format(&(struct ip_addr){ .len = 0 }, text);
    cr_assert_str_eq(text, "none");
}

Test(ip, networks_contain_their_addresses_only)
{
    static const struct {
        const char *net, *addr;
        bool is_inside;
    } rows[] = {
        { "10.1.3.0/24", "10.1.3.0", true },
        { "10.1.3.0/24", "10.1.3.255", true },
        { "10.1.3.0/24", "10.1.4.0", false },
        { "10.1.3.4/30", "10.1.3.7", true },
        { "10.1.3.4/30", "10.1.3.8", false },
        { "10.1.3.7", "10.1.3.7", true },
        { "10.1.3.7", "10.1.3.6", false },
        { "0.0.0.0/0", "203.0.113.9", true },
        { "0.0.0.0/0", "::1", false },
        { "::/0", "192.0.2.1", false },
        { "2001:db8::/33", "2001:db8:7fff::1", true },
        { "2001:db8::/33", "2001:db8:8000::1", false },
        { "::1/128", "::1", true },
        { "127.0.0.0/8", "::ffff:127.0.0.1", true },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ip_net net;
        struct ip_addr addr;
        cr_assert(ip_net_parse(slice_str(rows[i].net), &net), "%s", rows[i].net);
        cr_assert(ip_parse(slice_str(rows[i].addr), &addr));
        cr_assert_eq(ip_net_contains(&net, &addr), rows[i].is_inside, "row %zu", i);
    }
}

Test(ip, refuses_networks_that_are_none)
{
    static const char *const rows[] = { "", "/", "10.0.0.0/", "/8", "10.0.0.0/33", "::/129",
        "10.0.0.0/-1", "10.1.3.7/24", "::1/127", "10.0.0.0/8/8", "10.0.0.0/ 8", "10.0.0.0/8x",
        "10.0.0.0/999999999999999999999", "::ffff:10.0.0.0/104" };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ip_net net;
        cr_assert(!ip_net_parse(slice_str(rows[i]), &net), "accepted '%s'", rows[i]);
    }
}

Test(ip, knows_loopback)
{
    static const struct {
        const char *addr;
        bool is_loopback;
    } rows[] = { { "127.0.0.1", true }, { "127.255.0.9", true }, { "128.0.0.1", false },
        { "::1", true }, { "::2", false }, { "::", false }, { "::ffff:127.0.0.1", true } };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ip_addr addr;
        cr_assert(ip_parse(slice_str(rows[i].addr), &addr));
        cr_assert_eq(ip_is_loopback(&addr), rows[i].is_loopback, "%s", rows[i].addr);
    }
    cr_assert(!ip_is_loopback(&(struct ip_addr){ .len = 0 }));
}

/* ---- err ----------------------------------------------------------------------------- */

Test(err, says_what_and_why)
{
    struct err e = { .kind = ERR_NONE };
    cr_assert(!err_set(&e, ERR_DNS, "no address for '%s'", "mail.example"));
    cr_assert(!err_prefix(&e, "upstream %d", 1));
    cr_assert_eq(e.kind, ERR_DNS);
    cr_assert_str_eq(e.text, "upstream 1: no address for 'mail.example'");
    cr_assert(!err_set(&e, ERR_IO, "again: %s", e.text));
    cr_assert_str_eq(e.text, "again: upstream 1: no address for 'mail.example'");
    cr_assert(!err_set(NULL, ERR_IO, "nobody asks"));
    cr_assert(!err_prefix(NULL, "nobody asks"));
}

Test(err, cuts_long_sentences)
{
    struct err e;
    char text[2 * ERR_TEXT_MAX];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    err_set(&e, ERR_IO, "%s", text);
    cr_assert_eq(strlen(e.text), ERR_TEXT_MAX - 1);
    err_prefix(&e, "before");
    cr_assert_eq(strlen(e.text), ERR_TEXT_MAX - 1);
    cr_assert(strncmp(e.text, "before: xxx", 11) == 0);
    err_prefix(&e, "%s", text);
    cr_assert_eq(strlen(e.text), ERR_TEXT_MAX - 1);
}

Test(err, is_never_permanent)
{
#define X(name, what, status)                                                                      \
    cr_assert_str_eq(err_kind_name(ERR_##name), #name);                                            \
    cr_assert_str_eq(err_kind_status(ERR_##name), status);                                         \
    cr_assert_eq(err_kind_status(ERR_##name)[0], '4');
    ERR_KINDS(X)
#undef X
}

/* ---- list ---------------------------------------------------------------------------- */

Test(list, keeps_the_order_and_forgets_what_was_removed)
{
    struct item {
        int n;
        struct list link;
    } items[3] = { { .n = 1 }, { .n = 2 }, { .n = 3 } };
    struct list head;
    list_init(&head);
    cr_assert(list_is_empty(&head));
    cr_assert_null(list_first(&head));
    list_add_tail(&head, &items[1].link);
    list_add_tail(&head, &items[2].link);
    list_add_head(&head, &items[0].link);
    for (int n = 1; n <= 3; n++) {
        struct list *first = list_first(&head);
        cr_assert_eq(LIST_ENTRY(first, struct item, link)->n, n);
        list_remove(first);
        list_remove(first); /* a link in no list may be removed again */
    }
    cr_assert(list_is_empty(&head));
}
