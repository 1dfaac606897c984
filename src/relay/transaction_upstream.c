/* The upstream session's side: handing the envelope over, and its replies. */
#include "relay/transaction_internal.h"

#include <assert.h>

static const struct outbound_events session_events;
static void ask_for_session(struct transaction *t);

/* --- towards the upstream --- */

void tx_send_rcpts(struct transaction *t)
{
    for (; t->rcpts_sent < t->rcpt_count; t->rcpts_sent++) {
        const struct recipient *r = &t->rcpts[t->rcpts_sent];
        struct smtp_rcpt rcpt = {
            .to.mailbox = slice_str(r->mailbox),
            .notify = slice_str(r->notify),
            .orcpt = slice_str(r->orcpt),
        };
        smtp_client_rcpt(outbound_client(t->session), &rcpt, tx_now(t));
    }
}

static void send_envelope(struct transaction *t)
{
    tx_set_phase(t, WANT_VERDICTS);
    smtp_client_mail(outbound_client(t->session), &t->mail, tx_now(t));
    t->rcpts_sent = t->rcpts_answered = t->rcpts_accepted = 0;
    t->has_answers = false;
    tx_send_rcpts(t);
    outbound_flush(t->session);
}

static bool upstream_can_carry(struct transaction *t)
{
    const struct smtp_caps *caps = smtp_client_caps(outbound_client(t->session));
    return !t->mail.smtputf8 || smtp_caps_have(caps, SMTP_CAP_SMTPUTF8);
}

static void use_session(struct transaction *t, struct outbound *session)
{
    t->session = session;
    t->was_reused = outbound_uses(session) > 1 || outbound_idle_since(session) != 0;
    if (upstream_can_carry(t)) {
        send_envelope(t);
        return;
    }
    /* RFC 6531 3.2: the next hop cannot take an internationalised message. A client that rested was
     * told otherwise by another server. */
    static const char lacks[] = "the upstream does not announce SMTPUTF8, which this message needs";
    if (!t->is_said_again)
        tx_set_reason(t, 550, "5.6.7", lacks);
    struct err why;
    err_set(&why, ERR_REFUSED, "%s", lacks);
    tx_fail(t, &why);
}

static void on_session(void *user, struct outbound *session, const struct err *why)
{
    struct transaction *t = user;
    t->wait = NULL;
    tx_enter(t);
    if (session) {
        outbound_set_owner(session, &session_events, t);
        use_session(t, session);
    } else {
        tx_fail(t, why);
    }
    tx_leave(t);
}

static void ask_for_session(struct transaction *t)
{
    tx_set_phase(t, WANT_SESSION);
    struct err why;
    t->wait = pool_wait_start(t->pool, on_session, t);
    if (!t->wait) {
        err_set(&why, ERR_MEMORY, "out of memory");
        tx_fail(t, &why);
    }
}

/* --- from the upstream --- */

/* MAIL and the first RCPT went out together, and the client's MAIL has its 250 already: a refusal
 * is kept for the recipients. */
static void on_mail_reply(struct transaction *t, const struct smtp_reply *reply)
{
    if (tx_keep_if_about_us(t, reply))
        return;
    if (smtp_reply_class(reply) == 2)
        return;
    if (tx_count_accepted(t) > 0) {
        tx_take_word_back(t, reply);
        return;
    }
    tx_log_refused(t, "MAIL", t->envelope_from, reply);
    smtp_reply_copy(&t->mail_refusal, reply);
    t->mail_refusal.code = reply->code; /* without memory for the words it is still a refusal */
}

/* Whatever the server says to a RCPT that went out with a refused MAIL. With the last one nothing
 * is left for the session to do: it is free before the client hears so, whose next MAIL may wait.
 */
static void on_rcpt_of_refused_mail(struct transaction *t)
{
    struct recipient *r = &t->rcpts[t->rcpts_answered++];
    if (t->rcpts_answered == t->rcpts_sent)
        tx_finish(t);
    tx_answer_as(t, &r->ticket, &t->mail_refusal);
}

/* The session went away before it had answered every RCPT behind a refused MAIL. */
static void on_lost_with_refused_mail(struct transaction *t)
{
    tx_finish(t);
    for (; t->rcpts_answered < t->rcpts_sent; t->rcpts_answered++)
        tx_answer_as(t, &t->rcpts[t->rcpts_answered].ticket, &t->mail_refusal);
}

static void on_rcpt_reply(struct transaction *t, const struct smtp_reply *reply)
{
    assert(t->rcpts_answered < t->rcpts_sent);
    if (tx_keep_if_about_us(t, reply))
        return;
    if (t->mail_refusal.code != 0) {
        on_rcpt_of_refused_mail(t);
        return;
    }
    struct recipient *r = &t->rcpts[t->rcpts_answered];
    if (r->ticket == 0 && smtp_reply_class(reply) != 2) {
        tx_take_word_back(t, reply);
        return;
    }
    t->rcpts_answered++;
    r->is_accepted = smtp_reply_class(reply) == 2;
    t->rcpts_accepted += r->is_accepted;
    if (!r->is_accepted)
        tx_log_refused(t, "RCPT", r->mailbox, reply);
    tx_answer_as(t, &r->ticket, reply);
    if (t->session && t->phase == WANT_VERDICTS && t->data_ticket != 0)
        tx_go_on_with_data(t);
}

void tx_begin_text(struct transaction *t, enum transaction_phase phase)
{
    const char *force_sender = pool_account(t->pool)->force_sender;
    const char *only = NULL;
    for (size_t i = 0; t->rcpts_accepted == 1 && i < t->rcpt_count; i++)
        only = t->rcpts[i].is_accepted ? t->rcpts[i].mailbox : only;
    struct smtp_header_params params = {
        .helo = slice_str(t->helo),
        .client_ip = slice_str(t->client_literal),
        .hostname = slice_str(t->setup->hostname),
        .with = slice_str(t->protocol),
        .id = slice_str(t->id),
        .recipient = slice_str(only),
        .now = loop_wall_s(t->loop),
        .force_sender = slice_str(force_sender),
    };
    smtp_header_filter_init(&t->filter, &params);
    t->has_filter = true;
    if (!tx_open_writer(t))
        t->delivery = NULL; /* out of memory: it goes without the copy */
    tx_set_phase(t, phase);
}

static void on_data_reply(struct transaction *t, const struct smtp_reply *reply)
{
    if (reply->code == 354) {
        tx_begin_text(t, WANT_TEXT);
        tx_answer(t, &t->data_ticket, 354, NULL, "Start mail input; end with <CRLF>.<CRLF>");
        return;
    }
    if (tx_keep_if_about_us(t, reply))
        return;
    tx_log_reply(t, LOG_LEVEL_WARNING, "message", reply);
    smtp_client_rset(outbound_client(t->session), tx_now(t));
    outbound_flush(t->session);
    tx_finish(t);
    tx_answer_as(t, &t->data_ticket, reply);
}

static void on_verdict(struct transaction *t, const struct smtp_reply *reply)
{
    if (tx_keep_if_about_us(t, reply))
        return;
    if (t->phase == WANT_TEXT) { /* before the client has sent all */
        smtp_reply_copy(&t->early, reply);
        t->is_text_dropped = true;
        tx_discard_text(t);
        tx_give_session_back(t, smtp_client_is_spoiled(outbound_client(t->session)));
        tx_tell_drained(t);
        return;
    }
    bool is_sent = smtp_reply_class(reply) == 2;
    tx_log_reply(t, is_sent ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING, "message", reply);
    tx_finish(t);
    tx_answer_as(t, &t->end_ticket, reply);
}

/*
 * An authenticated session that rested may have died meanwhile; nothing of this message was
 * answered on it, so it can begin again on another one.
 */
static bool can_begin_again(const struct transaction *t)
{
    return t->was_reused && !t->has_answers && t->phase == WANT_VERDICTS;
}

static void on_session_reply(void *user, struct outbound *o, enum smtp_client_command command,
    const struct smtp_reply *reply)
{
    (void)o;
    struct transaction *t = user;
    if (reply->code == 421 && can_begin_again(t) && reason_kind(reply) == REASON_SESSION)
        return; /* it died while it rested: its end follows and begins again */
    t->has_answers = t->has_answers || command != SMTP_CLIENT_RSET;
    t->touched_ms = tx_now(t);
    tx_enter(t);
    switch (command) {
    case SMTP_CLIENT_MAIL:
        on_mail_reply(t, reply);
        break;
    case SMTP_CLIENT_RCPT:
        on_rcpt_reply(t, reply);
        break;
    case SMTP_CLIENT_DATA:
        on_data_reply(t, reply);
        break;
    case SMTP_CLIENT_MESSAGE:
        on_verdict(t, reply);
        break;
    case SMTP_CLIENT_AUTH:
    case SMTP_CLIENT_RSET: /* of the message before this one */
    case SMTP_CLIENT_NOOP:
    case SMTP_CLIENT_QUIT:
        break;
    }
    tx_leave(t);
}

/* Its pace is none of the client's business while the spool can wait instead. */
static bool keep_if_paced(struct transaction *t)
{
    if (pool_paced_until(t->pool) == 0 || !tx_can_keep(t))
        return false;
    struct err why;
    pool_explain_pace(t->pool, &why);
    tx_keep(t, &why, false);
    return true;
}

void tx_take_session(struct transaction *t)
{
    if (keep_if_paced(t))
        return;
    struct outbound *idle = pool_take_idle(t->pool, &session_events, t);
    if (idle)
        use_session(t, idle);
    else
        ask_for_session(t);
}

static void on_session_lost(
    void *user, struct outbound *o, const struct err *why, const struct smtp_reply *reply)
{
    (void)o;
    (void)reply;
    struct transaction *t = user;
    struct err copy = *why;
    tx_enter(t);
    if (can_begin_again(t)) {
        log_event(
            LOG_LEVEL_INFO, "session_replaced", LOG_STR("id", t->id), LOG_STR("reason", copy.text));
        tx_give_session_back(t, false);
        tx_take_session(t);
    } else if (t->mail_refusal.code != 0) {
        on_lost_with_refused_mail(t);
    } else {
        tx_fail(t, &copy);
    }
    tx_leave(t);
}

static void on_session_drain(void *user, struct outbound *o)
{
    (void)o;
    struct transaction *t = user;
    tx_enter(t);
    tx_tell_drained(t);
    tx_leave(t);
}

static const struct outbound_events session_events = {
    .on_reply = on_session_reply,
    .on_drain = on_session_drain,
    .on_lost = on_session_lost,
};
