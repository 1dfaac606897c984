#include "relay/setup.h"
#include "base/str.h"
#include "platform/platform.h"
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

static void choose_hostname(struct setup *s)
{
    const char *wanted = s->config->upstream.hostname;
    if (wanted[0])
        snprintf(s->hostname, sizeof s->hostname, "%s", wanted);
    else
        platform_hostname(s->hostname, sizeof s->hostname);
}

static void destroy(struct setup *s)
{
    for (size_t i = 0; s->pools && i < s->account_count; i++)
        pool_free(s->pools[i]);
    free(s->pools);
    for (size_t i = 0; s->logins && i < s->account_count; i++)
        sasl_account_unref(s->logins[i]);
    free(s->logins);
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
    if (!load_trust(s, &why) || !add_nameless(s, &why) || !load_logins(s, &why)) {
        buf_addf(problems, "%s\n", why.text);
        destroy(s);
        return NULL;
    }
    return s;
}

static void reap(void *user)
{
    destroy(user);
}

bool setup_attach(struct setup *s, struct loop *loop)
{
    s->loop = loop;
    s->reaper = timer_new(loop, reap, s);
    s->pools = calloc(s->account_count, sizeof(struct pool *));
    if (!s->pools || !s->reaper)
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

void setup_inherit(struct setup *s, const struct setup *old)
{
    if (strcmp(s->config->upstream.host, old->config->upstream.host) != 0)
        return;
    for (size_t i = 0; i < s->config->account_count; i++) {
        for (size_t j = 0; j < old->config->account_count; j++) {
            if (is_same_login(&s->config->accounts[i], &old->config->accounts[j]))
                pool_inherit(s->pools[i], old->pools[j]);
        }
    }
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
