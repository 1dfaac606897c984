/* Sessions from one machine: as many as configured, fewer when the server says so, then slowly
 * more. */
#include "relay/quota.h"

#include <criterion/criterion.h>

enum { START = 1000000 };

static unsigned fill(struct quota *q, uint64_t now)
{
    while (quota_has_room(q, now))
        quota_take(q);
    return q->open;
}

Test(quota, holds_as_many_as_configured)
{
    struct quota q;
    quota_init(&q, 16);
    cr_assert_eq(fill(&q, START), 16);
    quota_give_back(&q);
    cr_assert(quota_has_room(&q, START));
}

Test(quota, a_refusal_makes_it_what_was_open_before)
{
    struct quota q;
    quota_init(&q, 16);
    for (unsigned i = 0; i < 4; i++)
        quota_take(&q); /* the fourth is refused */
    cr_assert(quota_refused(&q, START));
    quota_give_back(&q);
    cr_assert_eq(q.open, 3);
    cr_assert_not(quota_has_room(&q, START));
    quota_give_back(&q);
    cr_assert(quota_has_room(&q, START), "what was free once may be used again");
}

Test(quota, grows_back_one_by_one)
{
    struct quota q;
    quota_init(&q, 8);
    for (unsigned i = 0; i < 5; i++)
        quota_take(&q);
    quota_refused(&q, START);
    quota_give_back(&q);
    cr_assert_not(quota_has_room(&q, START + QUOTA_REGROW_MS - 1));
    cr_assert_eq(fill(&q, START + QUOTA_REGROW_MS), 5);
    cr_assert_eq(fill(&q, START + 2 * QUOTA_REGROW_MS), 6);
    cr_assert_eq(fill(&q, START + 100 * QUOTA_REGROW_MS), 8);
}

Test(quota, another_refusal_begins_the_wait_anew)
{
    struct quota q;
    quota_init(&q, 8);
    for (unsigned i = 0; i < 5; i++)
        quota_take(&q);
    quota_refused(&q, START);
    quota_give_back(&q);
    fill(&q, START + QUOTA_REGROW_MS);
    cr_assert(quota_refused(&q, START + QUOTA_REGROW_MS));
    quota_give_back(&q);
    cr_assert_not(quota_has_room(&q, START + 2 * QUOTA_REGROW_MS - 1));
    cr_assert(quota_has_room(&q, START + 2 * QUOTA_REGROW_MS));
}

Test(quota, one_is_always_allowed)
{
    struct quota q;
    quota_init(&q, 8);
    quota_take(&q);
    cr_assert(quota_refused(&q, START), "others use the server's places, too");
    quota_give_back(&q);
    cr_assert_eq(fill(&q, START), 1);
    cr_assert_not(quota_refused(&q, START));
}

Test(quota, a_reload_may_change_the_limit)
{
    struct quota q;
    quota_init(&q, 4);
    cr_assert_eq(fill(&q, START), 4);
    quota_set_max(&q, 6);
    cr_assert_eq(fill(&q, START), 6);
    quota_set_max(&q, 2);
    cr_assert_not(quota_has_room(&q, START));
    cr_assert_eq(q.allowed, 2);
    quota_set_max(&q, 8);
    quota_refused(&q, START); /* six are open, one of them is refused */
    quota_give_back(&q);
    quota_set_max(&q, 16);
    cr_assert_eq(q.allowed, 5, "what the server said still holds");
}
