/*
 * A stand-in for the part of Criterion that tests/unit uses: Debian has no Criterion for mingw-w64.
 * All tests of a program run one after the other in its own process, so a crash ends them all; an
 * assert that fails ends its test. The ends of time are ctest's: .timeout is ignored.
 */
#ifndef SUBMITD_TESTS_CRITERION_H
#define SUBMITD_TESTS_CRITERION_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct criterion_options {
    void (*init)(void);
    void (*fini)(void);
    double timeout;
};

struct criterion_test {
    const char *suite, *name;
    void (*run)(void); /* NULL: a suite, whose options hold for its tests */
    struct criterion_options options;
    struct criterion_test *next;
};

void criterion_add(struct criterion_test *test);
/* Tells of a claim that is not true; does not return then when it is fatal. */
void criterion_check(bool is_fatal, bool is_true, const char *file, int line, const char *claim,
    const char *fmt, ...) __attribute__((format(gnu_printf, 6, 7)));

#define CRITERION_ADD(symbol, ...)                                                                 \
    static struct criterion_test symbol##_entry = __VA_ARGS__;                                     \
    __attribute__((constructor)) static void symbol##_add(void)                                    \
    {                                                                                              \
        criterion_add(&symbol##_entry);                                                            \
    }

#define TestSuite(suite_, ...)                                                                     \
    CRITERION_ADD(suite_##_suite, { .suite = #suite_, .options = { __VA_ARGS__ } })                \
    struct criterion_test /* takes the semicolon */

#define Test(suite_, name_, ...)                                                                   \
    static void suite_##_##name_(void);                                                            \
    CRITERION_ADD(suite_##_##name_,                                                                \
        { .suite = #suite_, .name = #name_, .run = suite_##_##name_, .options = { __VA_ARGS__ } }) \
    static void suite_##_##name_(void)

#define CRITERION_CHECK(is_fatal, is_true, claim, ...)                                             \
    criterion_check((is_fatal), (is_true), __FILE__, __LINE__, claim, "" __VA_ARGS__)

#define cr_assert(c, ...)          CRITERION_CHECK(true, (c), #c, __VA_ARGS__)
#define cr_assert_not(c, ...)      CRITERION_CHECK(true, !(c), "not " #c, __VA_ARGS__)
#define cr_assert_null(p, ...)     CRITERION_CHECK(true, (p) == NULL, #p " is NULL", __VA_ARGS__)
#define cr_assert_not_null(p, ...) CRITERION_CHECK(true, (p) != NULL, #p, __VA_ARGS__)
#define cr_assert_eq(a, b, ...)    CRITERION_CHECK(true, (a) == (b), #a " == " #b, __VA_ARGS__)
#define cr_assert_neq(a, b, ...)   CRITERION_CHECK(true, (a) != (b), #a " != " #b, __VA_ARGS__)
#define cr_assert_lt(a, b, ...)    CRITERION_CHECK(true, (a) < (b), #a " < " #b, __VA_ARGS__)
#define cr_assert_leq(a, b, ...)   CRITERION_CHECK(true, (a) <= (b), #a " <= " #b, __VA_ARGS__)
#define cr_assert_gt(a, b, ...)    CRITERION_CHECK(true, (a) > (b), #a " > " #b, __VA_ARGS__)
#define cr_assert_geq(a, b, ...)   CRITERION_CHECK(true, (a) >= (b), #a " >= " #b, __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...)                                                                \
    CRITERION_CHECK(true, strcmp((a), (b)) == 0, #a " is the text " #b, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, size, ...)                                                          \
    CRITERION_CHECK(true, memcmp((a), (b), (size)) == 0, #a " has the bytes of " #b, __VA_ARGS__)

#define cr_expect(c, ...)          CRITERION_CHECK(false, (c), #c, __VA_ARGS__)
#define cr_expect_not(c, ...)      CRITERION_CHECK(false, !(c), "not " #c, __VA_ARGS__)
#define cr_expect_null(p, ...)     CRITERION_CHECK(false, (p) == NULL, #p " is NULL", __VA_ARGS__)
#define cr_expect_not_null(p, ...) CRITERION_CHECK(false, (p) != NULL, #p, __VA_ARGS__)
#define cr_expect_eq(a, b, ...)    CRITERION_CHECK(false, (a) == (b), #a " == " #b, __VA_ARGS__)
#define cr_expect_neq(a, b, ...)   CRITERION_CHECK(false, (a) != (b), #a " != " #b, __VA_ARGS__)
#define cr_expect_lt(a, b, ...)    CRITERION_CHECK(false, (a) < (b), #a " < " #b, __VA_ARGS__)
#define cr_expect_leq(a, b, ...)   CRITERION_CHECK(false, (a) <= (b), #a " <= " #b, __VA_ARGS__)
#define cr_expect_gt(a, b, ...)    CRITERION_CHECK(false, (a) > (b), #a " > " #b, __VA_ARGS__)
#define cr_expect_geq(a, b, ...)   CRITERION_CHECK(false, (a) >= (b), #a " >= " #b, __VA_ARGS__)
#define cr_expect_str_eq(a, b, ...)                                                                \
    CRITERION_CHECK(false, strcmp((a), (b)) == 0, #a " is the text " #b, __VA_ARGS__)

#endif
