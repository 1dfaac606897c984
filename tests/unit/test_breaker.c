/* Two refused logins and no third, until a cool-down or a person lets one through. */
#include "relay/breaker.h"

#include <criterion/criterion.h>

enum { START = 1000000, COOLDOWN = 30 * 60 * 1000 };

static const struct err refusal = { .kind = ERR_AUTH, .text = "535 5.7.3" };

static struct breaker fresh(void)
{
    struct breaker b;
    breaker_init(&b, COOLDOWN);
    return b;
}

static bool try_login(struct breaker *b, enum breaker_outcome outcome, uint64_t now)
{
    cr_assert(breaker_may_begin(b, now));
    breaker_begin(b);
    return breaker_end(b, outcome, now, &refusal);
}

Test(breaker, two_refusals_open_it_for_the_cool_down)
{
    struct breaker b = fresh();
    cr_assert_not(try_login(&b, BREAKER_REFUSED, START));
    cr_assert_not(breaker_is_open(&b, START));
    cr_assert(try_login(&b, BREAKER_REFUSED, START + 1));
    cr_assert(breaker_is_open(&b, START + 1));
    cr_assert_not(breaker_may_begin(&b, START + COOLDOWN));
    cr_assert(breaker_may_begin(&b, START + 1 + COOLDOWN));
    cr_assert_str_eq(b.why.text, refusal.text);
}

Test(breaker, half_open_lets_one_login_through)
{
    struct breaker b = fresh();
    try_login(&b, BREAKER_REFUSED, START);
    try_login(&b, BREAKER_REFUSED, START);
    uint64_t now = START + COOLDOWN;
    breaker_begin(&b);
    cr_assert_not(breaker_may_begin(&b, now), "one at a time");
    cr_assert(breaker_end(&b, BREAKER_REFUSED, now, &refusal), "open again at once");
    cr_assert_not(breaker_may_begin(&b, now + COOLDOWN - 1));
    cr_assert_not(try_login(&b, BREAKER_WORKED, now + COOLDOWN));
    cr_assert_not(try_login(&b, BREAKER_REFUSED, now + COOLDOWN), "a login that worked forgets");
}

Test(breaker, until_one_worked_one_at_a_time)
{
    struct breaker b = fresh();
    breaker_begin(&b);
    cr_assert_not(breaker_may_begin(&b, START));
    breaker_end(&b, BREAKER_WORKED, START, NULL);
    breaker_begin(&b);
    cr_assert(breaker_may_begin(&b, START));
    breaker_begin(&b);
    cr_assert_not(breaker_may_begin(&b, START));
    /* a password that was changed meanwhile: those two are all that are refused */
    cr_assert_not(breaker_end(&b, BREAKER_REFUSED, START, &refusal));
    cr_assert_not(breaker_may_begin(&b, START));
    cr_assert(breaker_end(&b, BREAKER_REFUSED, START, &refusal));
    cr_assert_not(breaker_may_begin(&b, START));
}

Test(breaker, what_says_nothing_of_the_credential_does_not_count)
{
    struct breaker b = fresh();
    for (unsigned i = 0; i < 100; i++)
        cr_assert_not(try_login(&b, BREAKER_UNKNOWN, START + i));
    cr_assert_not(try_login(&b, BREAKER_REFUSED, START));
    cr_assert_not(try_login(&b, BREAKER_UNKNOWN, START));
    cr_assert(try_login(&b, BREAKER_REFUSED, START), "it does not excuse a refusal either");
}

Test(breaker, a_reload_allows_one_more_and_no_more)
{
    struct breaker b = fresh();
    try_login(&b, BREAKER_REFUSED, START);
    try_login(&b, BREAKER_REFUSED, START);
    for (uint64_t now = START + 1; now < START + 3; now++) {
        breaker_reloaded(&b, COOLDOWN);
        cr_assert(try_login(&b, BREAKER_REFUSED, now));
        cr_assert_not(breaker_may_begin(&b, now));
    }
}

Test(breaker, a_reload_after_nothing_wrong_changes_nothing)
{
    struct breaker b = fresh();
    try_login(&b, BREAKER_WORKED, START);
    breaker_reloaded(&b, COOLDOWN);
    cr_assert_not(try_login(&b, BREAKER_REFUSED, START));
    cr_assert(try_login(&b, BREAKER_REFUSED, START));
}

Test(breaker, a_restart_with_what_was_refused_goes_on_waiting)
{
    struct breaker b = fresh();
    breaker_resume(&b, START, 5000, "535 no");
    cr_assert_not(breaker_may_begin(&b, START + 4999));
    cr_assert_str_eq(b.why.text, "535 no");
    cr_assert(breaker_may_begin(&b, START + 5000));
    cr_assert(try_login(&b, BREAKER_REFUSED, START + 5000), "half open: a single one");
    b = fresh();
    breaker_resume(&b, START, 1000 * COOLDOWN, "535 no"); /* a clock that was set */
    cr_assert(breaker_may_begin(&b, START + COOLDOWN));
}

Test(breaker, a_pause_of_a_clock_that_was_ahead_does_not_count)
{
    cr_assert_not(breaker_pause_counts(-1, 5000));
    cr_assert_not(breaker_pause_counts(0, 5000));
    cr_assert(breaker_pause_counts(1, 5000));
    cr_assert(breaker_pause_counts(5, 5000));
    cr_assert_not(breaker_pause_counts(6, 5000));
}

Test(breaker, logins_under_way_at_a_reload_count)
{
    struct breaker b = fresh();
    try_login(&b, BREAKER_WORKED, START);
    breaker_begin(&b);
    breaker_begin(&b);
    breaker_reloaded(&b, 1000);
    cr_assert_not(breaker_may_begin(&b, START));
    breaker_end(&b, BREAKER_REFUSED, START, &refusal);
    cr_assert(breaker_end(&b, BREAKER_REFUSED, START, &refusal));
    cr_assert_not(breaker_may_begin(&b, START + 999));
    cr_assert(breaker_may_begin(&b, START + 1000), "the new cool-down");
}
