#include "config/config.h"
#include "base/str.h"

static bool nets_contain(const struct config_nets *nets, const struct ip_addr *addr)
{
    for (size_t i = 0; i < nets->count; i++) {
        if (ip_net_contains(&nets->items[i], addr))
            return true;
    }
    return false;
}

/* A bounce has no address that a pattern could match: "*" is for senders, "<>" for their absence.
 */
static bool globs_match(const struct config_globs *globs, struct slice sender)
{
    for (size_t i = 0; i < globs->count; i++) {
        bool is_for_null = strcmp(globs->items[i], "<>") == 0;
        if (sender.n == 0 ? is_for_null : !is_for_null && str_glob_nocase(globs->items[i], sender))
            return true;
    }
    return false;
}

static bool account_matches(
    const struct config_account *a, const struct ip_addr *client, struct slice sender)
{
    if (a->match_client.count > 0 && !nets_contain(&a->match_client, client))
        return false;
    return a->match_sender.count == 0 || globs_match(&a->match_sender, sender);
}

/* The default account has nothing to match, so it matches; it is the last one. */
const struct config_account *config_route(
    const struct config *c, const struct ip_addr *client, struct slice sender)
{
    for (size_t i = 0; i < c->account_count; i++) {
        if (account_matches(&c->accounts[i], client, sender))
            return &c->accounts[i];
    }
    return NULL;
}

bool config_client_is_allowed(const struct config_listener *l, const struct ip_addr *client)
{
    return nets_contain(&l->allow, client);
}
