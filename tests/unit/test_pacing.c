/* Messages in a time: never more than the limit in any stretch of the window's length. */
#include "relay/pacing.h"

#include <criterion/criterion.h>

enum { START = 1000000, MINUTE = PACING_WINDOW_MS };

static unsigned send_until(
    struct pacing *p, uint64_t from, uint64_t to, uint64_t *sent, unsigned room)
{
    unsigned n = 0;
    for (uint64_t now = from; now < to && n < room;) {
        uint64_t next = pacing_next(p, now, 0);
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

static void count_at(struct pacing *p, unsigned n, uint64_t at)
{
    for (unsigned i = 0; i < n; i++)
        pacing_count(p, at);
}

Test(pacing, without_a_limit_everything_goes)
{
    static struct pacing p;
    pacing_init(&p, 0, MINUTE);
    for (unsigned i = 0; i < 3 * PACING_MAX; i++) {
        cr_assert_eq(pacing_next(&p, START, 100), 0);
        pacing_count(&p, START);
    }
    cr_assert_eq(pacing_learned(&p), 0);
}

Test(pacing, no_window_holds_more_than_the_limit)
{
    static const struct {
        unsigned limit;
        uint64_t window;
    } rates[] = { { 1, MINUTE }, { 2, 1000 }, { 5, MINUTE }, { 30, MINUTE }, { 300, 60 * MINUTE },
        { PACING_MAX, MINUTE } };
    static uint64_t sent[4 * PACING_MAX];
    static struct pacing p;
    for (unsigned r = 0; r < sizeof rates / sizeof rates[0]; r++) {
        unsigned limit = rates[r].limit;
        uint64_t window = rates[r].window;
        pacing_init(&p, limit, window);
        unsigned n = send_until(&p, START, START + 4 * window - 1, sent, 4 * PACING_MAX);
        cr_expect_geq(n, 3 * limit, "%u: the limit is used", limit);
        for (unsigned i = limit; i < n; i++)
            cr_assert_geq(sent[i] - sent[i - limit], window, "%u at %u", limit, i);
    }
}

Test(pacing, those_ahead_take_their_places)
{
    static struct pacing p;
    pacing_init(&p, 3, MINUTE);
    pacing_count(&p, START);
    cr_expect_eq(pacing_next(&p, START + 1, 0), 0);
    cr_expect_eq(pacing_next(&p, START + 1, 1), 0);
    cr_expect_eq(pacing_next(&p, START + 1, 2), START + MINUTE, "two ahead fill it");
    pacing_count(&p, START + 5);
    cr_expect_eq(pacing_next(&p, START + 6, 0), 0);
    cr_expect_eq(pacing_next(&p, START + 6, 1), START + MINUTE);
    cr_expect_eq(pacing_next(&p, START + 6, 2), START + 5 + MINUTE);
    cr_expect_eq(pacing_next(&p, START + 6, 1000), START + 5 + MINUTE, "a time to ask again");
    cr_expect_eq(pacing_next(&p, START + 5 + MINUTE, 2), 0);
}

Test(pacing, learns_the_limit_from_a_refusal_and_pauses)
{
    static struct pacing p;
    pacing_init(&p, 0, MINUTE);
    for (unsigned i = 0; i < 6; i++)
        pacing_count(&p, START + i);
    cr_assert(pacing_throttled(&p, START + 6)); /* the sixth was one too many */
    cr_assert_eq(pacing_learned(&p), 5);
    cr_assert_eq(pacing_next(&p, START + 7, 0), START + 6 + PACING_PAUSE_MS);
    uint64_t sent[16];
    uint64_t after = START + 6 + PACING_PAUSE_MS;
    cr_assert_eq(send_until(&p, after, after + MINUTE, sent, 16), 5);
}

Test(pacing, several_refused_together_are_one_pause_and_all_count)
{
    static struct pacing p;
    pacing_init(&p, 0, MINUTE);
    count_at(&p, 8, START);
    cr_assert(pacing_throttled(&p, START + 1));
    cr_assert_not(pacing_throttled(&p, START + 2));
    cr_assert_not(pacing_throttled(&p, START + 3));
    cr_assert_eq(pacing_learned(&p), 5);
    cr_assert_eq(pacing_next(&p, START + 4, 0), START + 1 + PACING_PAUSE_MS);
}

Test(pacing, older_messages_teach_nothing)
{
    static struct pacing p;
    pacing_init(&p, 0, MINUTE);
    count_at(&p, 20, START);
    count_at(&p, 4, START + MINUTE);
    cr_assert(pacing_throttled(&p, START + MINUTE));
    cr_assert_eq(pacing_learned(&p), 3);
}

Test(pacing, a_refusal_of_the_first_message_still_lets_one_go)
{
    static struct pacing p;
    pacing_init(&p, 0, MINUTE);
    pacing_count(&p, START);
    cr_assert(pacing_throttled(&p, START));
    cr_assert_eq(pacing_learned(&p), 1);
    cr_assert_not(pacing_throttled(&p, START + 1));
    cr_assert_eq(pacing_learned(&p), 1);
    cr_assert_eq(pacing_next(&p, START + PACING_PAUSE_MS, 0), 0);
}

Test(pacing, a_learned_limit_fades_when_nothing_is_refused)
{
    static struct pacing p;
    pacing_init(&p, 0, MINUTE);
    count_at(&p, 6, START);
    pacing_throttled(&p, START);
    uint64_t at = START + PACING_PAUSE_MS + PACING_RECOVER_MS;
    cr_assert_eq(pacing_next(&p, at - 1, 0), 0);
    cr_assert_eq(pacing_learned(&p), 5);
    cr_assert_eq(pacing_next(&p, at, 0), 0);
    cr_assert_eq(pacing_learned(&p), 7);
    cr_assert_eq(pacing_next(&p, at + 100ULL * PACING_RECOVER_MS, 0), 0);
    cr_assert_eq(pacing_learned(&p), 0);
}

Test(pacing, configured_and_learned_both_hold)
{
    static struct pacing p;
    uint64_t sent[16], after = START + PACING_PAUSE_MS;
    pacing_init(&p, 3, MINUTE);
    count_at(&p, 9, START);
    pacing_throttled(&p, START);
    cr_expect_eq(send_until(&p, after, after + MINUTE - 1, sent, 16), 3);
    pacing_init(&p, 100, MINUTE);
    count_at(&p, 9, START);
    pacing_throttled(&p, START);
    cr_expect_eq(send_until(&p, after, after + MINUTE - 1, sent, 16), 8);
}

Test(pacing, a_person_ends_the_pause_but_not_the_configured_rate)
{
    static struct pacing p;
    pacing_init(&p, 2, MINUTE);
    count_at(&p, 1, START);
    pacing_throttled(&p, START);
    pacing_forget(&p);
    cr_expect_eq(pacing_next(&p, START + 1, 0), 0);
    cr_expect_eq(pacing_learned(&p), 0);
    pacing_count(&p, START + 1);
    cr_expect_eq(pacing_next(&p, START + 2, 0), START + MINUTE);
}

Test(pacing, a_reload_keeps_what_went_and_takes_the_new_limit)
{
    static struct pacing old, p;
    pacing_init(&old, 0, MINUTE);
    count_at(&old, 4, START);
    pacing_init(&p, 4, MINUTE);
    pacing_inherit(&p, &old);
    cr_expect_eq(pacing_next(&p, START + 1, 0), START + MINUTE);
    pacing_throttled(&old, START);
    pacing_init(&p, 0, MINUTE);
    pacing_inherit(&p, &old);
    cr_expect_eq(pacing_next(&p, START + 1, 0), START + PACING_PAUSE_MS);
    cr_expect_eq(pacing_learned(&p), 3);
}
