/* Messages per minute: never more than the limit in any 60 seconds. */
#include "relay/pacing.h"

#include <criterion/criterion.h>

enum { START = 1000000 };

static unsigned send_until(
    struct pacing *p, uint64_t from, uint64_t to, uint64_t *sent, unsigned room)
{
    unsigned n = 0;
    for (uint64_t now = from; now < to && n < room;) {
        uint64_t next = pacing_next(p, now);
        if (next != 0) {
            cr_assert_gt(next, now);
            now = next;
            continue;
        }
        pacing_count(p, now);
        sent[n++] = now;
        now++;
    }
    return n;
}

Test(pacing, without_a_limit_everything_goes)
{
    struct pacing p;
    pacing_init(&p, 0);
    for (unsigned i = 0; i < 3 * PACING_MAX; i++) {
        cr_assert_eq(pacing_next(&p, START), 0);
        pacing_count(&p, START);
    }
    cr_assert_eq(pacing_limit(&p), 0);
}

Test(pacing, no_minute_holds_more_than_the_limit)
{
    static const unsigned limits[] = { 1, 2, 5, 30, PACING_MAX };
    static uint64_t sent[4 * PACING_MAX];
    for (unsigned l = 0; l < sizeof limits / sizeof limits[0]; l++) {
        struct pacing p;
        pacing_init(&p, limits[l]);
        unsigned n = send_until(&p, START, START + 4 * PACING_WINDOW_MS - 1, sent, 4 * PACING_MAX);
        cr_expect_geq(n, 3 * limits[l], "%u: the limit is used", limits[l]);
        for (unsigned i = limits[l]; i < n; i++)
            cr_assert_geq(
                sent[i] - sent[i - limits[l]], PACING_WINDOW_MS, "%u at %u", limits[l], i);
    }
}

Test(pacing, learns_the_limit_from_a_refusal_and_pauses)
{
    struct pacing p;
    pacing_init(&p, 0);
    for (unsigned i = 0; i < 6; i++)
        pacing_count(&p, START + i);
    cr_assert(pacing_throttled(&p, START + 6)); /* the sixth was one too many */
    cr_assert_eq(pacing_limit(&p), 5);
    cr_assert_eq(pacing_next(&p, START + 7), START + 6 + PACING_PAUSE_MS);
    cr_assert_not(pacing_throttled(&p, START + 8)); /* several refused together are one lesson */
    uint64_t sent[16];
    uint64_t after = START + 6 + PACING_PAUSE_MS;
    cr_assert_eq(send_until(&p, after, after + PACING_WINDOW_MS, sent, 16), 5);
}

Test(pacing, a_refusal_of_the_first_message_still_lets_one_go)
{
    struct pacing p;
    pacing_init(&p, 0);
    pacing_count(&p, START);
    cr_assert(pacing_throttled(&p, START));
    cr_assert_eq(pacing_limit(&p), 1);
    cr_assert_eq(pacing_next(&p, START + PACING_PAUSE_MS), 0);
}

Test(pacing, a_learned_limit_fades_when_nothing_is_refused)
{
    struct pacing p;
    pacing_init(&p, 0);
    for (unsigned i = 0; i < 6; i++)
        pacing_count(&p, START);
    pacing_throttled(&p, START);
    uint64_t at = START + PACING_PAUSE_MS + PACING_RECOVER_MS;
    cr_assert_eq(pacing_next(&p, at - 1), 0);
    cr_assert_eq(pacing_limit(&p), 5);
    cr_assert_eq(pacing_next(&p, at), 0);
    cr_assert_eq(pacing_limit(&p), 7);
    cr_assert_eq(pacing_next(&p, at + 100ULL * PACING_RECOVER_MS), 0);
    cr_assert_eq(pacing_limit(&p), 0);
}

Test(pacing, the_lower_of_configured_and_learned_holds)
{
    struct pacing p;
    pacing_init(&p, 3);
    for (unsigned i = 0; i < 9; i++)
        pacing_count(&p, START);
    pacing_throttled(&p, START);
    cr_assert_eq(pacing_limit(&p), 3);
    pacing_init(&p, 100);
    for (unsigned i = 0; i < 9; i++)
        pacing_count(&p, START);
    pacing_throttled(&p, START);
    cr_assert_eq(pacing_limit(&p), 8);
}
