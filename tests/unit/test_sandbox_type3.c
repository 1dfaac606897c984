#include "sandbox/ntlm_type3.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* A Type 3 under construction: a header of 64 octets and behind it the NT response. */
struct made {
    char bytes[2048];
    size_t n;
};

enum { HEADER = 64, NT_AT = 20, FIXED = 44 };

static void put16(char *p, unsigned n)
{
    p[0] = (char)(n & 0xff);
    p[1] = (char)(n >> 8 & 0xff);
}

static void put32(char *p, unsigned n)
{
    put16(p, n & 0xffff);
    put16(p + 2, n >> 16);
}

static void set_response(struct made *m, unsigned size, unsigned offset)
{
    put16(m->bytes + NT_AT, size);
    put16(m->bytes + NT_AT + 2, size);
    put32(m->bytes + NT_AT + 4, offset);
}

/* The fixed parts: header, NTProofStr, RespType, HiRespType, time, challenge. */
static struct made make_start(void)
{
    struct made m = { .bytes = "NTLMSSP\0\3", .n = HEADER + FIXED };
    memset(m.bytes + HEADER, 0xaa, FIXED);
    m.bytes[HEADER + 16] = 1;
    m.bytes[HEADER + 17] = 1;
    set_response(&m, FIXED, HEADER);
    return m;
}

static void add_pair(struct made *m, unsigned id, const char *value, unsigned n)
{
    put16(m->bytes + m->n, id);
    put16(m->bytes + m->n + 2, n);
    memcpy(m->bytes + m->n + 4, value, n);
    m->n += 4 + n;
    set_response(m, (unsigned)(m->n - HEADER), HEADER);
}

static const char some_binding[17] = "0123456789abcdef";
static const char zero_binding[16];

static struct made make_bound(void)
{
    struct made m = make_start();
    add_pair(&m, 2, "C\0O\0R\0P\0", 8);
    add_pair(&m, 10, some_binding, 16);
    add_pair(&m, 9, "s\0", 2);
    add_pair(&m, 0, "", 0);
    return m;
}

/* Parses a copy of exactly that size on the heap, so that a read behind it is seen by the
 * sanitizer. */
static bool parse_exactly(
    const char *bytes, size_t n, struct ntlm_type3 *t, char binding[16], const char **why)
{
    char *copy = malloc(n ? n : 1);
    memcpy(copy, bytes, n);
    bool is_good = ntlm_type3_parse(slice_of(copy, n), t, why);
    if (is_good && t->binding.n == 16)
        memcpy(binding, t->binding.p, 16);
    free(copy);
    return is_good;
}

static bool parse(const struct made *m, struct ntlm_type3 *t, char binding[16], const char **why)
{
    return parse_exactly(m->bytes, m->n, t, binding, why);
}

Test(sandbox_type3, finds_the_binding)
{
    struct made m = make_bound();
    struct ntlm_type3 t;
    char binding[16];
    const char *why = NULL;
    cr_assert(parse(&m, &t, binding, &why), "%s", why);
    cr_assert(t.is_v2);
    cr_assert_eq(t.binding.n, 16);
    cr_assert_eq(memcmp(binding, some_binding, 16), 0);
}

Test(sandbox_type3, takes_a_zero_binding_for_none)
{
    struct made m = make_start();
    struct ntlm_type3 t;
    char binding[16];
    const char *why;
    add_pair(&m, 10, zero_binding, 16);
    add_pair(&m, 0, "", 0);
    cr_assert(parse(&m, &t, binding, &why));
    cr_assert(t.is_v2);
    cr_assert_eq(t.binding.n, 0);
}

Test(sandbox_type3, finds_no_binding_where_there_is_none)
{
    struct made m = make_start();
    struct ntlm_type3 t;
    char binding[16];
    const char *why;
    add_pair(&m, 0, "", 0);
    cr_assert(parse(&m, &t, binding, &why));
    cr_assert(t.is_v2);
    cr_assert_eq(t.binding.n, 0);
}

Test(sandbox_type3, ignores_what_stands_behind_the_end)
{
    struct made m = make_start();
    struct ntlm_type3 t;
    char binding[16];
    const char *why;
    add_pair(&m, 0, "", 0);
    add_pair(&m, 10, some_binding, 16);
    cr_assert(parse(&m, &t, binding, &why));
    cr_assert_eq(t.binding.n, 0);
}

Test(sandbox_type3, tells_ntlmv1_and_anonymous_from_v2)
{
    static const unsigned sizes[] = { 0, 1, 23, 24 };
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct made m = make_bound();
        struct ntlm_type3 t = { .is_v2 = true };
        char binding[16];
        const char *why;
        set_response(&m, sizes[i], HEADER);
        cr_assert(parse(&m, &t, binding, &why), "%u octets", sizes[i]);
        cr_assert_not(t.is_v2, "%u octets", sizes[i]);
        cr_assert_eq(t.binding.n, 0);
    }
}

Test(sandbox_type3, refuses_every_truncation)
{
    struct made m = make_bound();
    for (size_t n = 0; n < m.n; n++) {
        struct ntlm_type3 t = { .is_v2 = false };
        char binding[16];
        const char *why = NULL;
        cr_assert_not(parse_exactly(m.bytes, n, &t, binding, &why), "%zu of %zu octets", n, m.n);
        cr_assert_not_null(why);
        cr_assert_not(t.is_v2, "the result was touched at %zu octets", n);
    }
}

/* The header names a shorter response than the message holds. */
Test(sandbox_type3, refuses_every_truncated_response)
{
    struct made m = make_bound();
    for (unsigned n = 25; n < m.n - HEADER; n++) {
        struct ntlm_type3 t;
        char binding[16];
        const char *why = NULL;
        set_response(&m, n, HEADER);
        cr_assert_not(parse(&m, &t, binding, &why), "%u octets of response", n);
        cr_assert_not_null(why);
    }
}

struct hostile_row {
    const char *what;
    size_t at; /* where bytes are overwritten */
    char bytes[4];
    size_t n;
};

static const struct hostile_row hostile[] = {
    { "another signature", 0, "M", 1 },
    { "no NUL behind the signature", 7, "P", 1 },
    { "a Type 1", 8, "\1", 1 },
    { "a type above 255", 9, "\1", 1 },
    { "an offset behind the end", NT_AT + 4, "\xff\xff\xff\xff", 4 },
    { "an offset that wraps around", NT_AT + 4, "\xf0\xff\xff\xff", 4 },
    { "an offset at the end", NT_AT + 4, "\xa6\0\0\0", 4 },
    { "a length of 65535", NT_AT, "\xff\xff", 2 },
    { "one octet too long", NT_AT, "\x5f", 1 },
    { "RespType 2", HEADER + 16, "\2", 1 },
    { "HiRespType 0", HEADER + 17, "\0", 1 },
    { "a pair of 65535 octets", HEADER + FIXED + 2, "\xff\xff", 2 },
    { "a pair that swallows the end", HEADER + FIXED + 2, "\x2e\0", 2 },
    { "a pair that swallows half of the end", HEADER + FIXED + 2, "\x28\0", 2 },
    { "a binding of 15 octets", HEADER + FIXED + 12 + 2, "\x0f", 1 },
    { "a binding of 17 octets", HEADER + FIXED + 12 + 2, "\x11", 1 },
    { "a binding of no octets", HEADER + FIXED + 12 + 2, "\0", 1 },
    { "an end that is none", HEADER + FIXED + 38, "\1", 1 },
    { "an end with a length", HEADER + FIXED + 12, "\0\0\4", 3 },
};

Test(sandbox_type3, refuses_hostile_bytes)
{
    for (size_t i = 0; i < ARRAY_LEN(hostile); i++) {
        struct made m = make_bound();
        struct ntlm_type3 t;
        char binding[16];
        const char *why = NULL;
        memcpy(m.bytes + hostile[i].at, hostile[i].bytes, hostile[i].n);
        cr_assert_not(parse(&m, &t, binding, &why), "%s", hostile[i].what);
        cr_assert_not_null(why);
    }
}

/* gss-ntlmssp may take the other one. */
Test(sandbox_type3, refuses_two_bindings)
{
    static const char *const second[] = { some_binding, zero_binding };
    for (size_t i = 0; i < ARRAY_LEN(second); i++) {
        struct made m = make_start();
        struct ntlm_type3 t;
        char binding[16];
        const char *why;
        add_pair(&m, 10, second[i], 16);
        add_pair(&m, 10, second[1 - i], 16);
        add_pair(&m, 0, "", 0);
        cr_assert_not(parse(&m, &t, binding, &why));
        cr_assert_str_eq(why, "two channel bindings");
    }
}

Test(sandbox_type3, accepts_the_longest_pair_that_fits)
{
    struct made m = make_start();
    char value[1500] = "";
    struct ntlm_type3 t;
    char binding[16];
    const char *why;
    add_pair(&m, 9, value, sizeof value);
    add_pair(&m, 10, some_binding, 16);
    add_pair(&m, 0, "", 0);
    cr_assert(parse(&m, &t, binding, &why));
    cr_assert_eq(t.binding.n, 16);
}
