#include "relay/setup.h"
#include "base/str.h"
#include "platform/platform.h"
#include "relay/failover.h"
#include "relay/pool.h"

#include <stdio.h>
#include <stdlib.h>

static bool is_auth_none(const struct config *c)
{
    return strcmp(c->upstream.auth, "none") == 0;
}

static bool load_trust(struct setup *s, struct err *e)
{
    const struct config_upstream *up = &s->config->upstream;
    if (up->tls == CONFIG_TLS_OFF)
        return true;
    struct tls_trust_params params = {
        .ca_file = up->tls_ca_file,
        .pin = up->tls_pin,
        .priority = up->tls_priority,
    };
    return tls_trust_new(&params, &s->trust, e) || err_prefix(e, "%s: [upstream]", s->config->file);
}

/* Without logins a message needs no [account], but every session belongs to one. */
static bool add_nameless(struct setup *s, struct err *e)
{
    if (s->config->account_count > 0)
        return true;
    s->nameless = calloc(1, sizeof *s->nameless);
    if (!s->nameless)
        return err_set(e, ERR_MEMORY, "out of memory");
    s->nameless->name = str_dup("");
    s->nameless->username = str_dup("");
    s->nameless->force_sender = str_dup("");
    return s->nameless->name && s->nameless->username && s->nameless->force_sender;
}

static bool load_logins(struct setup *s, struct err *e)
{
    s->account_count = s->nameless ? 1 : s->config->account_count;
    s->logins = calloc(s->account_count, sizeof(struct sasl_account *));
    if (!s->logins)
        return err_set(e, ERR_MEMORY, "out of memory");
    for (size_t i = 0; i < s->config->account_count && !is_auth_none(s->config); i++) {
        const struct config_account *a = &s->config->accounts[i];
        if (!sasl_account_new(a->username, a->password, &s->logins[i], e))
            return err_prefix(
                e, "%s: [account%s%s]", s->config->file, a->name[0] ? " " : "", a->name);
    }
    return true;
}

/* Only files can tell: a password_command may say something else each time, and an account of the
 * system's own changes elsewhere. */
static uint64_t mark_login(const struct config_account *a, uint64_t mark)
{
    bool can_tell = mark != 0 && a->password && a->password_command[0] == '\0' &&
                    (!a->password_path || platform_mark_file(a->password_path, &mark));
    return can_tell ? mark : 0;
}

static bool mark_logins(struct setup *s, uint64_t mark)
{
    s->marks = calloc(s->account_count, sizeof *s->marks);
    for (size_t i = 0; s->marks && i < s->config->account_count; i++)
        s->marks[i] = mark_login(&s->config->accounts[i], mark);
    return s->marks != NULL;
}

static void choose_hostname(struct setup *s)
{
    const char *wanted = s->config->upstream.hostname;
    if (wanted[0])
        snprintf(s->hostname, sizeof s->hostname, "%s", wanted);
    else
        platform_hostname(s->hostname, sizeof s->hostname);
}

/* --- what the accounts share --- */

/* The directory counts refused logins per user, whatever we call the account. */
static size_t first_with_login(const struct config *c, size_t account)
{
    size_t i = 0;
    while (i < account && !slice_eq_nocase(slice_str(c->accounts[i].username),
                              slice_str(c->accounts[account].username)))
        i++;
    return i;
}

static bool make_breakers(struct setup *s)
{
    s->breakers = calloc(s->account_count, sizeof(struct breaker *));
    for (size_t i = 0; s->breakers && i < s->account_count; i++) {
        size_t first = s->nameless ? i : first_with_login(s->config, i);
        s->breakers[i] = first < i ? s->breakers[first] : calloc(1, sizeof(struct breaker));
        if (!s->breakers[i])
            return false;
        if (first == i)
            breaker_init(s->breakers[i], s->config->upstream.breaker_cooldown_ms);
        s->breakers[i]->refs++;
    }
    return s->breakers != NULL;
}

static void unref_breaker(struct breaker *b)
{
    if (b && --b->refs == 0)
        free(b);
}

static void free_breakers(struct setup *s)
{
    for (size_t i = 0; s->breakers && i < s->account_count; i++)
        unref_breaker(s->breakers[i]);
    free(s->breakers);
}

/* Clients that stay log in under the old setup: what is refused to them counts for all. */
static void inherit_breaker(struct setup *s, size_t account, struct breaker *old)
{
    const char *username = s->config->accounts[account].username;
    for (size_t i = 0; i < s->account_count; i++) {
        if (s->breakers[i] == old ||
            !slice_eq_nocase(slice_str(s->config->accounts[i].username), slice_str(username)))
            continue;
        unref_breaker(s->breakers[i]);
        s->breakers[i] = old;
        old->refs++;
    }
    breaker_reloaded(old, s->config->upstream.breaker_cooldown_ms);
}

static bool make_quota(struct setup *s)
{
    s->quota = calloc(1, sizeof *s->quota);
    if (!s->quota)
        return false;
    quota_init(s->quota, s->config->upstream.max_sessions_total);
    s->quota->refs = 1;
    return true;
}

static void unref_quota(struct setup *s)
{
    if (s->quota && --s->quota->refs == 0)
        free(s->quota);
}

static void inherit_quota(struct setup *s, const struct setup *old)
{
    unref_quota(s);
    s->quota = old->quota;
    s->quota->refs++;
    quota_set_max(s->quota, s->config->upstream.max_sessions_total);
}

static void on_room(void *user)
{
    struct setup *s = user;
    for (size_t i = 0; i < s->account_count; i++)
        pool_run(s->pools[i]);
}

void setup_has_room(struct setup *s, const struct pool *p)
{
    for (size_t i = 0; s->room && i < s->account_count; i++) {
        if (s->pools[i] && s->pools[i] != p && pool_is_starving(s->pools[i])) {
            timer_set(s->room, loop_now_ms(s->loop));
            return;
        }
    }
}

bool setup_make_room(struct setup *s, const struct pool *p)
{
    for (size_t i = 0; i < s->account_count; i++) {
        if (s->pools[i] != p && pool_close_one(s->pools[i]))
            return true;
    }
    return false;
}

/* Of those that starve, the one whose client waits longest. */
static struct pool *find_starving(const struct setup *s, const struct pool *p)
{
    struct pool *found = NULL;
    for (size_t i = 0; i < s->account_count; i++) {
        struct pool *other = s->pools[i];
        if (other != p && pool_is_starving(other) &&
            (!found || pool_waits_since(other) < pool_waits_since(found)))
            found = other;
    }
    return found;
}

bool setup_must_yield(struct setup *s, const struct pool *p)
{
    if (s->account_count < 2 || quota_has_room(s->quota, loop_now_ms(s->loop)))
        return false;
    s->next = find_starving(s, p);
    return s->next != NULL;
}

bool setup_may_grow(const struct setup *s, const struct pool *p)
{
    return !s->next || s->next == p || !pool_is_starving(s->next);
}

/* --- life --- */

static void destroy(struct setup *s)
{
    timer_free(s->room);
    s->room = NULL;
    for (size_t i = 0; s->pools && i < s->account_count; i++)
        pool_free(s->pools[i]);
    free(s->pools);
    failover_free(s->failover);
    unref_quota(s);
    free_breakers(s);
    for (size_t i = 0; s->logins && i < s->account_count; i++)
        sasl_account_unref(s->logins[i]);
    free(s->logins);
    free(s->marks);
    if (s->nameless) {
        free(s->nameless->name);
        free(s->nameless->username);
        free(s->nameless->force_sender);
    }
    free(s->nameless);
    tls_trust_unref(s->trust);
    config_unref(s->config);
    timer_free(s->reaper);
    free(s);
}

struct setup *setup_load(const char *file, struct buf *problems)
{
    uint64_t mark = 0;
    bool has_mark = platform_mark_file(file, &mark); /* first: what is changed now gets another */
    struct config *config = config_load(file, problems);
    if (!config)
        return NULL;
    struct setup *s = calloc(1, sizeof *s);
    if (!s) {
        config_unref(config);
        buf_add_str(problems, "out of memory\n");
        return NULL;
    }
    s->refs = 1;
    s->config = config;
    choose_hostname(s);
    struct err why = { .kind = ERR_MEMORY, .text = "out of memory" };
    if (!load_trust(s, &why) || !add_nameless(s, &why) || !load_logins(s, &why) ||
        !mark_logins(s, has_mark ? mark : 0)) {
        buf_addf(problems, "%s\n", why.text);
        destroy(s);
        return NULL;
    }
    return s;
}

bool setup_is_login(const struct setup *s, size_t account, const char *login)
{
    return account < s->config->account_count &&
           slice_eq_nocase(slice_str(s->config->accounts[account].username), slice_str(login));
}

bool setup_has_login_of(const struct setup *s, const char *login, uint64_t mark)
{
    for (size_t i = 0; i < s->config->account_count; i++) {
        if (setup_is_login(s, i, login) && (mark == 0 || s->marks[i] != mark))
            return false;
    }
    return true;
}

static void reap(void *user)
{
    destroy(user);
}

bool setup_attach(struct setup *s, struct loop *loop)
{
    s->loop = loop;
    s->reaper = timer_new(loop, reap, s);
    s->room = timer_new(loop, on_room, s);
    s->pools = calloc(s->account_count, sizeof(struct pool *));
    s->failover = failover_new(loop, s);
    if (!s->pools || !s->reaper || !s->room || !s->failover || !make_breakers(s) || !make_quota(s))
        return false;
    for (size_t i = 0; i < s->account_count; i++) {
        s->pools[i] = pool_new(loop, s, i);
        if (!s->pools[i])
            return false;
    }
    return true;
}

static bool is_same_login(const struct config_account *a, const struct config_account *b)
{
    return strcmp(a->username, b->username) == 0 && secret_eq(a->password, b->password);
}

/* The account of that name when it has the login, else another that has it; the count of accounts
 * when none has. */
static size_t find_same_login(const struct config *c, const struct config_account *a)
{
    size_t found = c->account_count;
    for (size_t i = c->account_count; i-- > 0;) {
        if (is_same_login(&c->accounts[i], a) &&
            (found == c->account_count || strcmp(c->accounts[found].name, a->name) != 0))
            found = i;
    }
    return found;
}

/* Then the same directory may verify the logins, and count those it refuses. */
static bool has_common_host(const struct config_hosts *a, const struct config_hosts *b)
{
    for (size_t i = 0; i < a->count; i++) {
        for (size_t j = 0; j < b->count; j++) {
            if (strcmp(a->items[i].name, b->items[j].name) == 0)
                return true;
        }
    }
    return false;
}

/* Another password for a user whose logins were refused: the directory goes on counting, so a
 * second mistake must show with the first login. */
static void suspect_like(struct setup *s, size_t account, const struct setup *old)
{
    struct slice username = slice_str(s->config->accounts[account].username);
    for (size_t i = 0; i < old->config->account_count; i++) {
        if (slice_eq_nocase(slice_str(old->config->accounts[i].username), username) &&
            old->breakers[i]->refusals > 0)
            breaker_suspect(s->breakers[account]);
    }
}

void setup_inherit(struct setup *s, const struct setup *old)
{
    if (!has_common_host(&s->config->upstream.host, &old->config->upstream.host))
        return;
    inherit_quota(s, old);
    for (size_t i = 0; i < s->config->account_count; i++) {
        size_t j = find_same_login(old->config, &s->config->accounts[i]);
        if (j == old->config->account_count) {
            suspect_like(s, i, old);
            continue;
        }
        pool_inherit(s->pools[i], old->pools[j]);
        inherit_breaker(s, i, old->breakers[j]);
    }
}

void setup_retire(struct setup *s)
{
    for (size_t i = 0; i < s->account_count; i++)
        pool_retire(s->pools[i]);
}

struct setup *setup_ref(struct setup *s)
{
    s->refs++;
    return s;
}

void setup_unref(struct setup *s)
{
    if (!s || --s->refs > 0)
        return;
    /* A pool of ours may be further up the stack. */
    if (s->reaper)
        timer_set(s->reaper, loop_now_ms(s->loop) + 1);
    else
        destroy(s);
}

struct pool *setup_route(const struct setup *s, const struct ip_addr *client, struct slice sender)
{
    if (s->nameless)
        return s->pools[0];
    const struct config_account *a = config_route(s->config, client, sender);
    return a ? s->pools[a - s->config->accounts] : NULL;
}

struct pool *setup_default_pool(const struct setup *s)
{
    if (s->nameless)
        return s->pools[0];
    for (size_t i = 0; i < s->account_count; i++) {
        if (s->config->accounts[i].name[0] == '\0')
            return s->pools[i];
    }
    return s->account_count == 1 ? s->pools[0] : NULL;
}
