#include "sandbox/limits.h"

#include "base/list.h"

#include <assert.h>
#include <stdlib.h>

struct source {
    struct list link;
    struct ip_addr addr;
    uint64_t sessions;
};

/* The times of a user's last `rate` messages, 0 for none; `next` is the oldest. */
struct user {
    uint64_t *times;
    uint64_t next;
};

struct limits {
    struct limits_params params;
    struct list sources; /* those with a connection */
    struct user *users;
    uint64_t *times; /* all users' rings, one behind the other */
};

struct limits *limits_new(const struct limits_params *params)
{
    struct limits *limits = calloc(1, sizeof *limits);
    if (!limits)
        return NULL;
    limits->params = *params;
    list_init(&limits->sources);
    if (params->rate == 0)
        return limits;
    limits->users = calloc(params->users, sizeof *limits->users);
    limits->times = calloc(params->users, params->rate * sizeof *limits->times);
    if (!limits->users || !limits->times) {
        limits_free(limits);
        return NULL;
    }
    for (unsigned i = 0; i < params->users; i++)
        limits->users[i].times = limits->times + i * params->rate;
    return limits;
}

void limits_free(struct limits *limits)
{
    if (!limits)
        return;
    for (struct list *link; (link = list_first(&limits->sources));) {
        list_remove(link);
        free(LIST_ENTRY(link, struct source, link));
    }
    free(limits->times);
    free(limits->users);
    free(limits);
}

static struct source *find_source(struct limits *limits, const struct ip_addr *addr)
{
    for (struct list *link = limits->sources.next; link != &limits->sources; link = link->next) {
        struct source *source = LIST_ENTRY(link, struct source, link);
        if (source->addr.len == addr->len &&
            memcmp(source->addr.bytes, addr->bytes, addr->len) == 0)
            return source;
    }
    return NULL;
}

bool limits_session_begin(struct limits *limits, const struct ip_addr *addr)
{
    struct source *source = find_source(limits, addr);
    if (!source) {
        source = calloc(1, sizeof *source);
        if (!source)
            return false;
        source->addr = *addr;
        list_add_head(&limits->sources, &source->link);
    }
    if (limits->params.sessions_max > 0 && source->sessions >= limits->params.sessions_max)
        return false;
    source->sessions++;
    return true;
}

void limits_session_end(struct limits *limits, const struct ip_addr *addr)
{
    struct source *source = find_source(limits, addr);
    assert(source && source->sessions > 0);
    if (--source->sessions > 0)
        return;
    list_remove(&source->link);
    free(source);
}

bool limits_take_message(struct limits *limits, unsigned index, uint64_t now_ms)
{
    if (limits->params.rate == 0)
        return true;
    struct user *user = &limits->users[index];
    uint64_t *oldest = &user->times[user->next];
    if (*oldest != 0 && now_ms - *oldest < limits->params.rate_window_ms)
        return false;
    *oldest = now_ms;
    user->next = (user->next + 1) % limits->params.rate;
    return true;
}
