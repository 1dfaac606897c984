/* Answers to the client, log lines, and how a transaction ends. */
#include "relay/transaction_internal.h"

#include <stdio.h>

enum { LOG_RECIPIENTS_MAX = 2048 }; /* octets of the recipient list in the log line */

/* --- answers to the client --- */

void tx_answer(
    struct transaction *t, uint32_t *ticket, unsigned code, const char *status, const char *text)
{
    uint32_t n = *ticket;
    *ticket = 0;
    if (n != 0 && t->events)
        t->events->on_reply(t->user, n, code, status, text);
}

void tx_answer_reason(struct transaction *t, uint32_t *ticket)
{
    tx_answer(t, ticket, t->reason.code, t->reason.status, t->reason.text);
}

/* The upstream's own words, unless they are about our session and not about the message. */
void tx_answer_as(struct transaction *t, uint32_t *ticket, const struct smtp_reply *reply)
{
    struct reason about_us;
    if (reason_of_reply(reply, &about_us)) {
        tx_answer(t, ticket, about_us.code, about_us.status, about_us.text);
        return;
    }
    uint32_t n = *ticket;
    *ticket = 0;
    if (n != 0 && t->events)
        t->events->on_reply_as(t->user, n, reply);
}

/* --- the log lines --- */

static void add_recipients(const struct transaction *t, struct buf *out)
{
    for (size_t i = 0; i < t->rcpt_count; i++) {
        if (t->rcpts_accepted > 0 && !t->rcpts[i].is_accepted)
            continue;
        if (out->len > 0)
            buf_add_char(out, ',');
        if (!buf_add_str(out, t->rcpts[i].mailbox)) {
            buf_add_str(out, "...");
            return;
        }
    }
}

static void add_repairs(const struct transaction *t, struct buf *out)
{
    static const struct {
        unsigned bit;
        const char *name;
    } names[] = {
        { SMTP_REPAIR_DATE, "date" },
        { SMTP_REPAIR_MESSAGE_ID, "message-id" },
        { SMTP_REPAIR_BCC, "bcc" },
        { SMTP_REPAIR_FROM, "from" },
        { SMTP_REPAIR_REPLY_TO, "reply-to" },
    };
    for (size_t i = 0; t->has_filter && i < ARRAY_LEN(names); i++) {
        if (t->filter.repairs & names[i].bit)
            buf_addf(out, "%s%s", out->len > 0 ? "," : "", names[i].name);
    }
    if (t->is_repaired)
        buf_addf(out, "%sline-ends", out->len > 0 ? "," : "");
}

/* One line per message. `reply` is what the upstream said, or what we said in its place. */
void tx_log_message(const struct transaction *t, enum log_level level, const char *event,
    const char *reply, const char *reason)
{
    const char *ip = t->client_literal + (t->client.len == 16 ? strlen("IPv6:") : 0);
    struct buf to, repairs;
    buf_init(&to, LOG_RECIPIENTS_MAX);
    buf_init(&repairs, 128);
    add_recipients(t, &to);
    add_repairs(t, &repairs);
    const char *account = t->pool ? pool_account(t->pool)->name : NULL;
    log_event(level, event, LOG_STR("id", t->id), LOG_STR("client", ip), LOG_STR("from", t->sender),
        LOG_SLICE("to", buf_slice(&to)), LOG_INT("rcpts", t->rcpts_accepted),
        LOG_INT("size", t->text_size),
        LOG_STR("account", account && !account[0] ? "default" : account),
        LOG_STR("host", t->session ? outbound_host(t->session) : NULL),
        LOG_STR("mech", t->session ? outbound_mech(t->session) : NULL),
        LOG_STR("tls", t->session ? outbound_tls_version(t->session) : NULL),
        LOG_SLICE("repaired", buf_slice(&repairs)), LOG_STR("reply", reply),
        LOG_STR("reason", reason), LOG_INT("ms", tx_now(t) - t->began_ms));
    buf_fini(&to);
    buf_fini(&repairs);
}

void tx_log_reply(const struct transaction *t, enum log_level level, const char *event,
    const struct smtp_reply *reply)
{
    struct buf words;
    buf_init(&words, SMTP_REPLY_MAX + 64);
    smtp_reply_add_oneline(reply, &words);
    tx_log_message(t, level, event, buf_cstr(&words), NULL);
    buf_fini(&words);
}

void tx_log_refused(const struct transaction *t, const char *command, const char *mailbox,
    const struct smtp_reply *reply)
{
    struct buf words;
    buf_init(&words, SMTP_REPLY_MAX + 64);
    smtp_reply_add_oneline(reply, &words);
    log_event(LOG_LEVEL_WARNING, "refused", LOG_STR("id", t->id), LOG_STR("command", command),
        LOG_STR("mailbox", mailbox), LOG_STR("from", t->sender),
        LOG_STR("account", outbound_account_name(t->session)), LOG_STR("reply", buf_cstr(&words)));
    buf_fini(&words);
}

/* --- ends --- */

void tx_give_session_back(struct transaction *t, bool is_abort)
{
    struct outbound *session = t->session;
    t->session = NULL;
    if (!session)
        return;
    if (is_abort)
        pool_drop(t->pool, session);
    else
        pool_put(t->pool, session);
}

void tx_set_reason(struct transaction *t, unsigned code, const char *status, const char *text)
{
    t->has_reason = true;
    t->reason.code = code;
    t->reason.status = status;
    snprintf(t->reason.text, sizeof t->reason.text, "%s", text);
}

/* Commands that still come, which only a confused client sends, hear that it is over. */
void tx_finish(struct transaction *t)
{
    if (!t->has_reason)
        tx_set_reason(t, 503, "5.5.1", "this transaction is over, send RSET and begin again");
    tx_set_phase(t, FINISHED);
    tx_discard_text(t);
    tx_give_session_back(t, false);
}

void tx_tell_drained(struct transaction *t)
{
    if (t->events)
        t->events->on_drain(t->user);
}

/* Our own trouble: whoever waits hears the reason, and whoever asks later does, too. */
void tx_fail(struct transaction *t, const struct err *why)
{
    if (tx_can_keep(t)) {
        tx_keep(t, why, t->phase == WANT_FINAL);
        return;
    }
    bool was_final = t->phase == WANT_FINAL;
    if (!t->has_reason)
        reason_of_err(why, &t->reason);
    t->has_reason = true;
    tx_set_phase(t, FAILED);
    t->is_text_dropped = true;
    tx_discard_text(t);
    char said[REASON_TEXT_MAX + 16];
    snprintf(said, sizeof said, "%u %s %s", t->reason.code, t->reason.status, t->reason.text);
    tx_log_message(t, LOG_LEVEL_WARNING, was_final ? "uncertain" : "deferred", said, why->text);
    tx_give_session_back(t, false);
    tx_answer_reason(t, &t->mail_ticket);
    for (size_t i = 0; i < t->rcpt_count; i++)
        tx_answer_reason(t, &t->rcpts[i].ticket);
    tx_answer_reason(t, &t->data_ticket);
    tx_answer_reason(t, &t->end_ticket);
    tx_tell_drained(t);
    if (was_final)
        tx_finish(t);
}

/* We refuse the text ourselves; the client hears it at the end of its text. */
void tx_refuse_text(struct transaction *t, unsigned code, const char *status, const char *text)
{
    tx_set_reason(t, code, status, text);
    t->is_text_dropped = true;
    tx_discard_text(t);
    if (!t->session)
        return;
    bool is_clean = smtp_client_body_abort(outbound_client(t->session), tx_now(t));
    if (is_clean)
        outbound_flush(t->session);
    tx_give_session_back(t, !is_clean);
}
