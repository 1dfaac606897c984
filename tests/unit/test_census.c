/* Counting clients per address. */
#include "relay/census.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct ip_addr ip(const char *text)
{
    struct ip_addr addr;
    cr_assert(ip_parse(slice_str(text), &addr));
    return addr;
}

Test(census, counts_each_address_apart)
{
    struct census *c = census_new();
    struct ip_addr a = ip("192.0.2.1"), b = ip("192.0.2.2"), six = ip("2001:db8::1");
    cr_assert_eq(census_enter(c, &a), 1);
    cr_assert_eq(census_enter(c, &a), 2);
    cr_assert_eq(census_enter(c, &b), 1);
    cr_assert_eq(census_enter(c, &six), 1);
    census_leave(c, &a);
    cr_assert_eq(census_count(c, &a), 1);
    cr_assert_eq(census_count(c, &six), 1);
    census_free(c);
}

Test(census, forgets_an_address_whose_last_connection_left)
{
    struct census *c = census_new();
    struct ip_addr a = ip("::1");
    census_enter(c, &a);
    census_leave(c, &a);
    cr_assert_eq(census_count(c, &a), 0);
    census_leave(c, &a); /* one too many is ignored */
    cr_assert_eq(census_enter(c, &a), 1);
    census_free(c);
}

Test(census, keeps_apart_addresses_that_share_a_bucket)
{
    struct census *c = census_new();
    for (unsigned i = 0; i < 5000; i++) {
        char text[32];
        snprintf(text, sizeof text, "10.0.%u.%u", i / 250, i % 250);
        struct ip_addr a = ip(text);
        cr_assert_eq(census_enter(c, &a), 1);
    }
    struct ip_addr one = ip("10.0.7.7");
    cr_assert_eq(census_count(c, &one), 1);
    census_free(c);
}
