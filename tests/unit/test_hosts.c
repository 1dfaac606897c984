/* Which host is chosen, and when one that failed is probed. */
#include "relay/hosts.h"

#include <criterion/criterion.h>

enum { SECOND = 1000 };

static uint64_t next_probe(const struct hosts *h)
{
    size_t host;
    return hosts_next_probe(h, &host);
}

Test(hosts, the_first_is_chosen_while_it_works)
{
    struct hosts *h = hosts_new(3);
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(hosts_choose(h), 0);
        hosts_session_ready(h, 0);
    }
    cr_expect_eq(hosts_sessions(h, 0), 5);
    hosts_session_over(h, 0);
    cr_expect_eq(hosts_sessions(h, 0), 4);
    cr_expect_eq(hosts_sessions(h, 1), 0);
    cr_expect_eq(next_probe(h), 0);
    hosts_free(h);
}

Test(hosts, those_that_fail_are_skipped_in_order)
{
    struct hosts *h = hosts_new(3);
    cr_expect(hosts_failed(h, hosts_choose(h), 1));
    cr_expect_eq(hosts_choose(h), 1);
    cr_expect(hosts_failed(h, 1, 2));
    cr_expect_eq(hosts_choose(h), 2);
    cr_expect_not(hosts_failed(h, 2, 3));
    cr_expect(hosts_is_skipped(h, 0) && hosts_is_skipped(h, 1) && hosts_is_skipped(h, 2));
    hosts_free(h);
}

Test(hosts, when_all_are_skipped_they_take_turns)
{
    struct hosts *h = hosts_new(3);
    for (size_t i = 0; i < 3; i++)
        hosts_failed(h, hosts_choose(h), 1);
    for (size_t i = 0; i < 7; i++)
        cr_expect_eq(hosts_choose(h), i % 3);
    hosts_session_ready(h, 1);
    cr_expect_eq(hosts_choose(h), 1);
    cr_expect_eq(hosts_choose(h), 1);
    hosts_free(h);
}

Test(hosts, a_probe_that_gets_through_makes_it_the_first_choice_again)
{
    struct hosts *h = hosts_new(2);
    size_t host = 9;
    hosts_failed(h, 0, 5 * SECOND);
    cr_expect_eq(hosts_next_probe(h, &host), 35 * SECOND);
    cr_expect_eq(host, 0);
    hosts_probed(h, 0, true, 36 * SECOND);
    cr_expect_eq(hosts_choose(h), 0);
    cr_expect_eq(next_probe(h), 0);
    hosts_free(h);
}

Test(hosts, probes_that_fail_double_the_time_up_to_ten_minutes)
{
    static const uint64_t seconds[] = { 30, 60, 120, 240, 480, 600, 600 };
    struct hosts *h = hosts_new(2);
    uint64_t now = 1;
    hosts_failed(h, 0, now);
    for (size_t i = 0; i < sizeof seconds / sizeof seconds[0]; i++) {
        cr_expect_eq(hosts_skip_ms(h, 0), seconds[i] * SECOND);
        cr_expect_eq(next_probe(h), now + seconds[i] * SECOND);
        now = next_probe(h);
        hosts_probed(h, 0, false, now);
        cr_expect_eq(hosts_choose(h), 1);
    }
    hosts_free(h);
}

Test(hosts, sessions_that_fail_together_count_once)
{
    struct hosts *h = hosts_new(2);
    hosts_failed(h, 0, 1);
    cr_expect(hosts_failed(h, 0, 9 * SECOND));
    cr_expect_eq(next_probe(h), 30 * SECOND + 1);
    hosts_free(h);
}

/* It answers EHLO, but no login gets through it. */
Test(hosts, a_failure_after_a_good_probe_goes_on_with_the_doubling)
{
    struct hosts *h = hosts_new(2);
    hosts_failed(h, 0, 1);
    hosts_probed(h, 0, true, 31 * SECOND);
    hosts_failed(h, 0, 40 * SECOND);
    cr_expect_eq(next_probe(h), 100 * SECOND);
    hosts_probed(h, 0, true, 100 * SECOND);
    hosts_session_ready(h, 0);
    hosts_failed(h, 0, 200 * SECOND);
    cr_expect_eq(next_probe(h), 230 * SECOND);
    hosts_free(h);
}

Test(hosts, the_earliest_probe_comes_first)
{
    struct hosts *h = hosts_new(3);
    size_t host = 9;
    hosts_failed(h, 1, 10 * SECOND);
    hosts_failed(h, 0, 20 * SECOND);
    cr_expect_eq(hosts_next_probe(h, &host), 40 * SECOND);
    cr_expect_eq(host, 1);
    hosts_probed(h, 1, false, 40 * SECOND);
    cr_expect_eq(hosts_next_probe(h, &host), 50 * SECOND);
    cr_expect_eq(host, 0);
    hosts_free(h);
}

Test(hosts, a_login_that_worked_outdates_the_probe_under_way)
{
    struct hosts *h = hosts_new(2);
    hosts_failed(h, 0, 1);
    hosts_session_ready(h, 0);
    hosts_probed(h, 0, false, 2);
    cr_expect_not(hosts_is_skipped(h, 0));
    hosts_free(h);
}

Test(hosts, a_lone_host_is_always_chosen_and_never_probed)
{
    struct hosts *h = hosts_new(1);
    cr_expect_not(hosts_failed(h, 0, 1));
    cr_expect_eq(hosts_choose(h), 0);
    cr_expect_eq(next_probe(h), 0);
    hosts_free(h);
}
