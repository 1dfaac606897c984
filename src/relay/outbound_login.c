/* AUTH on an upstream session: choose a mechanism, run its steps on a worker, read the verdict. */
#include "relay/failover.h"
#include "relay/outbound_internal.h"

#include <stdio.h>

void out_be_ready(struct outbound *o)
{
    out_set_state(o, READY);
    o->was_ready = true;
    failover_session_ready(o->setup->failover, o->host_index);
    const char *binding = o->used_binding ? "yes" : "no";
    log_event(LOG_LEVEL_INFO, "upstream_ready", LOG_INT("session", o->number),
        LOG_STR("host", o->host->name), LOG_STR("peer", o->peer),
        LOG_STR("account", outbound_account_name(o)), LOG_STR("mech", outbound_mech(o)),
        LOG_STR("tls", o->tls_version), LOG_STR("binding", binding),
        LOG_INT("ms", loop_now_ms(o->loop) - o->began_ms));
    if (o->events->on_ready)
        o->events->on_ready(o->user, o);
}

/* A step of the mechanism is done; its bytes go out as AUTH's initial response or as an answer. */
static void on_login_step(
    void *user, enum sasl_status status, struct slice out, const struct err *why)
{
    struct outbound *o = user;
    if (o->state != WANT_LOGIN)
        return;
    out_enter(o);
    uint64_t now = loop_now_ms(o->loop);
    bool has_begun = !o->mech->client_first || smtp_client_open_commands(o->client) > 0;
    if (status == SASL_FAILED && !has_begun) {
        out_fail(o, why, NULL);
    } else if (status == SASL_FAILED) {
        o->login_err = *why;
        smtp_client_auth_cancel(o->client, now);
    } else if (!has_begun) {
        smtp_client_auth(o->client, o->mech->name, out.p ? out : SLICE_LIT(""), now);
    } else {
        smtp_client_auth_answer(o->client, out, now);
    }
    outbound_flush(o);
    out_leave(o);
}

static bool make_login(struct outbound *o, struct err *e)
{
    struct buf binding;
    buf_init(&binding, 256);
    struct tls *tls = conn_tls(o->conn);
    if (tls)
        tls_channel_binding(tls, &binding);
    struct sasl_channel channel = {
        .host = o->host->name,
        .is_confidential = tls || o->config->tls == CONFIG_TLS_OFF,
        .binding = buf_slice(&binding),
    };
    bool done =
        login_new(o->loop, o->mech, o->login_account, &channel, on_login_step, o, &o->login, e);
    buf_fini(&binding);
    return done;
}

bool out_begin_login(struct outbound *o, struct err *e)
{
    const struct smtp_caps *caps = smtp_client_caps(o->client);
    bool is_confidential = conn_tls(o->conn) || o->config->tls == CONFIG_TLS_OFF;
    if (!sasl_choose(o->config->auth, caps->auth, is_confidential, &o->mech, e))
        return false;
    struct err passed_over;
    if (strcmp(o->config->auth, "auto") == 0 &&
        sasl_passed_over(caps->auth, is_confidential, o->mech, &passed_over))
        log_event(LOG_LEVEL_WARNING, "mechanism_passed_over", LOG_STR("reason", passed_over.text));
    char detail[OUTBOUND_DETAIL_MAX];
    snprintf(detail, sizeof detail, "%s, offered: %s", o->mech->name, caps->auth);
    out_tell_step(o, OUTBOUND_MECHANISM, detail);
    if (o->is_freed)
        return true;
    if (!make_login(o, e))
        return false;
    if (o->mech->client_first)
        return login_step(o->login, SLICE_NONE, e);
    smtp_client_auth(o->client, o->mech->name, SLICE_NONE, loop_now_ms(o->loop));
    return true;
}

/* A 5xx to AUTH is a refusal that Active Directory may have counted; 4xx is trouble of the server.
 */
static void on_login_refused(struct outbound *o, const struct smtp_reply *reply)
{
    o->login_was_refused = smtp_reply_class(reply) == 5 && o->login_err.kind == ERR_NONE;
    struct err why = o->login_err;
    if (why.kind == ERR_NONE) {
        struct buf words;
        buf_init(&words, SMTP_REPLY_MAX + 64);
        smtp_reply_add_oneline(reply, &words);
        err_set(&why, ERR_AUTH, "%s refused the login as '%s' with %s: %s", o->host->name,
            o->account->username, o->mech->name, buf_cstr(&words));
        buf_fini(&words);
    }
    why.kind = ERR_AUTH;
    out_fail(o, &why, reply);
}

void out_on_login_reply(struct outbound *o, const struct smtp_reply *reply)
{
    if (o->login) {
        o->used_binding = login_used_binding(o->login);
        o->dropped_binding = login_dropped_binding(o->login);
        login_free(o->login);
        o->login = NULL;
    }
    if (smtp_reply_class(reply) != 2) {
        on_login_refused(o, reply);
        return;
    }
    if (o->dropped_binding)
        log_event(LOG_LEVEL_WARNING, "channel_binding_left_out", LOG_STR("host", o->host->name),
            LOG_STR("reason", "the server's NTLM challenge has no target information to carry it"));
    struct buf words;
    buf_init(&words, SMTP_REPLY_MAX + 64);
    smtp_reply_add_oneline(reply, &words);
    out_tell_step(o, OUTBOUND_LOGIN, buf_cstr(&words));
    buf_fini(&words);
    if (!o->is_freed)
        out_be_ready(o);
}
