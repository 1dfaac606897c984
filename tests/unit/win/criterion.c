/* Runs the tests that registered themselves; exit status 1 when one failed, or when there is none.
 */
#include <criterion/criterion.h>

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static struct criterion_test *all;
static jmp_buf end_of_test;
static bool has_failed;

void criterion_add(struct criterion_test *test)
{
    test->next = all; /* constructors run from the file's end to its beginning */
    all = test;
}

void criterion_check(bool is_fatal, bool is_true, const char *file, int line, const char *claim,
    const char *fmt, ...)
{
    if (is_true)
        return;
    has_failed = true;
    printf("  %s:%d: not true: %s\n  ", file, line, claim);
    va_list ap;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    if (is_fatal)
        longjmp(end_of_test, 1);
}

static const struct criterion_options *suite_of(const struct criterion_test *test)
{
    static const struct criterion_options none;
    for (const struct criterion_test *t = all; t; t = t->next) {
        if (!t->run && strcmp(t->suite, test->suite) == 0)
            return &t->options;
    }
    return &none;
}

static void call(void (*fn)(void))
{
    if (fn)
        fn();
}

/* Runs until an assert fails. */
static void attempt(void (*first)(void), void (*second)(void), void (*third)(void))
{
    if (setjmp(end_of_test) != 0)
        return;
    call(first);
    call(second);
    call(third);
}

static bool run(const struct criterion_test *test)
{
    const struct criterion_options *suite = suite_of(test);
    has_failed = false;
    attempt(suite->init, test->options.init, test->run);
    attempt(test->options.fini, suite->fini, NULL);
    if (has_failed)
        printf("FAIL %s::%s\n", test->suite, test->name);
    fflush(stdout); /* so that a crash in the next one leaves this one's words */
    return !has_failed;
}

int main(int argc, char **argv)
{
    const char *only = argc > 1 ? argv[1] : NULL; /* a test's name */
    unsigned count = 0, failed = 0;
    _fmode = _O_BINARY; /* fixtures are read as they are */
    for (const struct criterion_test *t = all; t; t = t->next) {
        if (!t->run || (only && strcmp(t->name, only) != 0))
            continue;
        count++;
        failed += !run(t);
    }
    printf("%u tests, %u failed\n", count, failed);
    return count == 0 || failed > 0;
}
