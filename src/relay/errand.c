#include "relay/errand.h"
#include "base/str.h"
#include "relay/reason.h"

#include <stdio.h>
#include <stdlib.h>

enum errand_phase {
    WANT_SESSION,
    WANT_VERDICTS, /* MAIL and every RCPT went out together */
    WANT_GO_AHEAD,
    WANT_TEXT, /* chunks come from the store */
    WANT_FINAL,
    ENDED,
};

struct errand {
    struct loop *loop;
    struct store *store;
    struct pool *pool;
    struct pool_wait *wait;
    struct outbound *session;
    bool has_answers, was_rested;
    bool has_asked;       /* DATA went out with the envelope and cannot be taken back */
    bool mail_is_refused; /* and DATA's reply is still awaited */
    struct store_message *message;
    errand_fn *fn;
    void *user;
    struct timer *timer; /* brings the end in a turn of its own */
    enum errand_phase phase;
    size_t *sent; /* indexes of the recipients of this attempt, in order */
    size_t sent_count, answered;
    bool *is_accepted; /* per entry of `sent` */
    uint64_t chunk;
    bool is_reading; /* the store has us as a callback's user */
    struct errand_result result;
};

static const struct outbound_events session_events;
static void take_session(struct errand *e);

/* --- ends --- */

static void destroy(struct errand *e)
{
    pool_wait_cancel(e->wait);
    timer_free(e->timer);
    free(e->sent);
    free(e->is_accepted);
    free(e);
}

static void tell_end(void *user)
{
    struct errand *e = user;
    if (e->is_reading)
        return; /* the read that is under way comes here again */
    struct errand_result result = e->result;
    struct store_message *m = e->message;
    errand_fn *fn = e->fn;
    void *fn_user = e->user;
    destroy(e);
    fn(fn_user, m, &result);
}

static void set_reply(struct errand *e, const struct smtp_reply *reply)
{
    struct buf words;
    buf_init(&words, SMTP_REPLY_MAX + 64);
    smtp_reply_add_oneline(reply, &words);
    snprintf(e->result.reply, sizeof e->result.reply, "%s", buf_cstr(&words));
    buf_fini(&words);
}

static void end(struct errand *e, enum errand_end how, bool is_abort)
{
    if (e->phase == ENDED)
        return;
    e->phase = ENDED;
    e->result.end = how;
    struct outbound *session = e->session;
    e->session = NULL;
    if (session && is_abort)
        pool_drop(e->pool, session);
    else if (session)
        pool_put(e->pool, session);
    timer_set(e->timer, loop_now_ms(e->loop)); /* the next turn */
}

static void end_with(struct errand *e, enum errand_end how, const struct err *why, bool is_abort)
{
    if (e->phase == ENDED)
        return;
    snprintf(e->result.reply, sizeof e->result.reply, "%s", why->text);
    end(e, how, is_abort);
}

/* --- verdicts --- */

static void judge(struct errand *e, size_t i, const struct smtp_reply *reply)
{
    struct store_rcpt *r = &e->message->rcpts[e->sent[i]];
    unsigned class = smtp_reply_class(reply);
    set_reply(e, reply);
    free(r->reply);
    r->reply = str_dup(e->result.reply);
    r->is_done = class == 2 || class == 5;
    r->is_refused = class == 5;
    e->result.accepted += class == 2;
    e->result.refused += class == 5;
    e->result.deferred += class != 2 && class != 5;
    struct slice status = smtp_reply_status(reply);
    if (reply->code == 452 && slice_eq(status, SLICE_LIT("4.5.3")))
        e->result.has_surplus = true;
}

/* The reply stands for every recipient that has no verdict of its own. */
static void judge_all(struct errand *e, const struct smtp_reply *reply, bool only_accepted)
{
    for (size_t i = 0; i < e->sent_count; i++) {
        if (!only_accepted || e->is_accepted[i])
            judge(e, i, reply);
    }
}

static bool end_if_about_us(struct errand *e, const struct smtp_reply *reply)
{
    struct reason about_us;
    if (!reason_of_reply(reply, &about_us))
        return false;
    pool_heed(e->pool, reply);
    set_reply(e, reply);
    bool is_late = e->phase == WANT_VERDICTS && e->has_asked;
    bool has_envelope = e->phase == WANT_VERDICTS || e->phase == WANT_GO_AHEAD;
    if (has_envelope && !is_late && outbound_is_ready(e->session)) {
        smtp_client_rset(outbound_client(e->session), loop_now_ms(e->loop));
        outbound_flush(e->session);
    }
    bool is_throttle = reply->code == 421 || reply->code == 432;
    end(e, is_throttle ? ERRAND_THROTTLED : ERRAND_NO_UPSTREAM, is_late || e->phase == WANT_TEXT);
    return true;
}

/* --- the text --- */

static void read_next(struct errand *e);

static void on_chunk(void *user, struct slice text, const struct err *why)
{
    struct errand *e = user;
    e->is_reading = false;
    if (e->phase == ENDED) {
        tell_end(e);
        return;
    }
    uint64_t now = loop_now_ms(e->loop);
    struct smtp_client *client = outbound_client(e->session);
    if (why) {
        bool is_clean = smtp_client_body_abort(client, now);
        outbound_flush(e->session);
        end_with(e, why->kind == ERR_NONE ? ERRAND_CANCELLED : ERRAND_NO_TEXT, why, !is_clean);
    } else if (text.n == 0) {
        e->phase = WANT_FINAL;
        smtp_client_body_end(client, now);
        outbound_flush(e->session);
    } else {
        smtp_client_body(client, text, now);
        outbound_flush(e->session);
        read_next(e);
    }
}

/* One chunk at a time, and none while the session has enough to send. */
static void read_next(struct errand *e)
{
    if (e->phase != WANT_TEXT || e->is_reading || outbound_is_congested(e->session))
        return;
    e->is_reading = true;
    store_read_chunk(e->store, e->message->number, e->chunk++, on_chunk, e);
}

/* --- the session --- */

static size_t count_accepted(const struct errand *e)
{
    size_t n = 0;
    for (size_t i = 0; i < e->sent_count; i++)
        n += e->is_accepted[i];
    return n;
}

/* Every recipient has its verdict; only DATA, which went out with the envelope, has no answer yet.
 */
static bool is_decided(const struct errand *e)
{
    return e->mail_is_refused || (e->phase == WANT_GO_AHEAD && count_accepted(e) == 0);
}

static void after_envelope(struct errand *e)
{
    uint64_t now = loop_now_ms(e->loop);
    if (e->has_asked) {
        e->phase = WANT_GO_AHEAD;
        return;
    }
    if (count_accepted(e) > 0) {
        e->phase = WANT_GO_AHEAD;
        smtp_client_data(outbound_client(e->session), now);
        outbound_poll(e->session);
        return;
    }
    smtp_client_rset(outbound_client(e->session), now);
    outbound_flush(e->session);
    end(e, ERRAND_ANSWERED, false);
}

static void on_mail_reply(struct errand *e, const struct smtp_reply *reply)
{
    if (smtp_reply_class(reply) == 2)
        return;
    judge_all(e, reply, false);
    e->mail_is_refused = e->has_asked;
    if (!e->has_asked)
        end(e, ERRAND_ANSWERED, false);
}

static void on_rcpt_reply(struct errand *e, const struct smtp_reply *reply)
{
    size_t i = e->answered++;
    e->is_accepted[i] = smtp_reply_class(reply) == 2 && !e->mail_is_refused;
    if (!e->is_accepted[i] && !e->mail_is_refused)
        judge(e, i, reply);
    if (e->answered == e->sent_count)
        after_envelope(e);
}

static void on_data_reply(struct errand *e, const struct smtp_reply *reply)
{
    if (reply->code == 354 && count_accepted(e) == 0) {
        /* RFC 2920 3.1 would send an empty message; closing is as good, and sends none. */
        end(e, ERRAND_ANSWERED, true);
        return;
    }
    if (reply->code == 354) {
        e->phase = WANT_TEXT;
        read_next(e);
        return;
    }
    judge_all(e, reply, true);
    smtp_client_rset(outbound_client(e->session), loop_now_ms(e->loop));
    outbound_flush(e->session);
    end(e, ERRAND_ANSWERED, false);
}

static void on_reply(void *user, struct outbound *o, enum smtp_client_command command,
    const struct smtp_reply *reply)
{
    struct errand *e = user;
    if (command == SMTP_CLIENT_RSET)
        return;
    if (reply->code == 421 && e->was_rested && !e->has_answers &&
        reason_kind(reply) == REASON_SESSION)
        return; /* it died while it rested: its end follows */
    e->has_answers = true;
    if (reply->code != 354 && !is_decided(e) && end_if_about_us(e, reply))
        return;
    if (command == SMTP_CLIENT_MAIL) {
        on_mail_reply(e, reply);
    } else if (command == SMTP_CLIENT_RCPT) {
        on_rcpt_reply(e, reply);
    } else if (command == SMTP_CLIENT_DATA) {
        on_data_reply(e, reply);
    } else if (command == SMTP_CLIENT_MESSAGE) {
        judge_all(e, reply, true);
        end(e, ERRAND_ANSWERED, smtp_client_is_spoiled(outbound_client(o)));
    }
}

static void on_drain(void *user, struct outbound *o)
{
    (void)o;
    read_next(user);
}

static void on_lost(
    void *user, struct outbound *o, const struct err *why, const struct smtp_reply *reply)
{
    (void)o;
    (void)reply;
    struct errand *e = user;
    if (e->was_rested && !e->has_answers && e->phase == WANT_VERDICTS) {
        struct outbound *dead = e->session;
        e->session = NULL;
        pool_put(e->pool, dead);
        take_session(e);
        return;
    }
    if (is_decided(e)) {
        end(e, ERRAND_ANSWERED, false);
        return;
    }
    end_with(e, e->phase == WANT_FINAL ? ERRAND_UNCERTAIN : ERRAND_NO_UPSTREAM, why, false);
}

static const struct outbound_events session_events = {
    .on_reply = on_reply,
    .on_drain = on_drain,
    .on_lost = on_lost,
};

static void send_envelope(struct errand *e)
{
    const struct store_message *m = e->message;
    const char *forced = pool_account(e->pool)->force_sender;
    struct smtp_mail mail = {
        .from.mailbox = slice_str(forced[0] && m->sender[0] ? forced : m->sender),
        .size = m->size,
        .body = m->is_8bit ? SMTP_BODY_8BITMIME : SMTP_BODY_UNSAID,
        .smtputf8 = m->is_smtputf8,
        .ret = slice_str(m->ret),
        .envid = slice_str(m->envid),
    };
    uint64_t now = loop_now_ms(e->loop);
    struct smtp_client *client = outbound_client(e->session);
    e->phase = WANT_VERDICTS;
    smtp_client_mail(client, &mail, now);
    for (size_t i = 0; i < e->sent_count; i++) {
        const struct store_rcpt *r = &m->rcpts[e->sent[i]];
        struct smtp_rcpt rcpt = { .to.mailbox = slice_str(r->mailbox),
            .notify = slice_str(r->notify),
            .orcpt = slice_str(r->orcpt) };
        smtp_client_rcpt(client, &rcpt, now);
    }
    /* BDAT's go-ahead is no one's, DATA's would cost a round trip of its own. */
    e->has_asked = smtp_caps_have(smtp_client_caps(client), SMTP_CAP_PIPELINING) &&
                   !smtp_client_uses_bdat(client);
    if (e->has_asked)
        smtp_client_data(client, now);
    outbound_flush(e->session);
}

/* RFC 6531 3.2: without the extension the message cannot go on, now or later. */
static void refuse_utf8(struct errand *e)
{
    struct smtp_reply reply;
    smtp_reply_init(&reply);
    smtp_reply_set(&reply, 550, "5.6.7 the upstream does not announce SMTPUTF8");
    judge_all(e, &reply, false);
    smtp_reply_fini(&reply);
    end(e, ERRAND_ANSWERED, false);
}

static void use_session(struct errand *e, struct outbound *session)
{
    e->session = session;
    e->was_rested = outbound_uses(session) > 1 || outbound_idle_since(session) != 0;
    e->result.has_session = true;
    e->result.mech = outbound_mech(session);
    e->result.host = outbound_host(session);
    snprintf(e->result.tls, sizeof e->result.tls, "%s", outbound_tls_version(session));
    const struct smtp_caps *caps = smtp_client_caps(outbound_client(session));
    if (e->message->is_smtputf8 && !smtp_caps_have(caps, SMTP_CAP_SMTPUTF8))
        refuse_utf8(e);
    else
        send_envelope(e);
}

static void on_session(void *user, struct outbound *session, const struct err *why)
{
    struct errand *e = user;
    e->wait = NULL;
    if (!session) {
        end_with(e, why->kind == ERR_LIMIT ? ERRAND_BUSY : ERRAND_NO_UPSTREAM, why, false);
        return;
    }
    outbound_set_owner(session, &session_events, e);
    use_session(e, session);
}

static void take_session(struct errand *e)
{
    e->phase = WANT_SESSION;
    struct outbound *idle = pool_take_idle(e->pool, &session_events, e);
    if (idle) {
        use_session(e, idle);
        return;
    }
    struct err why;
    e->wait = pool_wait_start(e->pool, on_session, e);
    if (!e->wait) {
        err_set(&why, ERR_MEMORY, "out of memory");
        end_with(e, ERRAND_NO_UPSTREAM, &why, false);
    }
}

/* --- life --- */

void errand_cut(struct errand *e)
{
    struct err why;
    err_set(&why, ERR_LIMIT, "cut off, because submitd ends");
    end_with(e, e->phase == WANT_FINAL ? ERRAND_UNCERTAIN : ERRAND_NO_UPSTREAM, &why, true);
    e->is_reading = false;
    tell_end(e);
}

static bool list_recipients(struct errand *e)
{
    const struct store_message *m = e->message;
    e->sent = calloc(m->rcpt_count + 1, sizeof *e->sent);
    e->is_accepted = calloc(m->rcpt_count + 1, sizeof *e->is_accepted);
    if (!e->sent || !e->is_accepted)
        return false;
    for (size_t i = 0; i < m->rcpt_count; i++) {
        if (!m->rcpts[i].is_done)
            e->sent[e->sent_count++] = i;
    }
    return true;
}

struct errand *errand_start(struct loop *loop, struct store *store, struct pool *pool,
    struct store_message *m, errand_fn *fn, void *user)
{
    struct errand *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->loop = loop;
    e->store = store;
    e->pool = pool;
    e->message = m;
    e->fn = fn;
    e->user = user;
    e->timer = timer_new(loop, tell_end, e);
    if (!e->timer || !list_recipients(e)) {
        destroy(e);
        return NULL;
    }
    if (e->sent_count == 0)
        end(e, ERRAND_ANSWERED, false);
    else
        take_session(e);
    return e;
}
