#include "base/str.h"
#include "platform/platform.h"
#include "relay/transaction_internal.h"

#include <stdio.h>
#include <stdlib.h>

/* --- small things --- */

/* The only writer of `phase`. */
void tx_set_phase(struct transaction *t, enum transaction_phase phase)
{
    t->phase = phase;
}

/* 80 random bits in base32: part of Message-ID, so it must be unique for ever. */
static void make_id(char id[TRANSACTION_ID_SIZE])
{
    static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";
    uint8_t random[TRANSACTION_ID_SIZE - 1];
    platform_random(random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++)
        id[i] = digits[random[i] % 32];
    id[TRANSACTION_ID_SIZE - 1] = '\0';
}

uint64_t tx_now(const struct transaction *t)
{
    return loop_now_ms(t->loop);
}

static void destroy(struct transaction *t)
{
    tx_discard_text(t);
    pool_wait_cancel(t->wait);
    for (size_t i = 0; i < t->rcpt_count; i++) {
        free(t->rcpts[i].mailbox);
        free(t->rcpts[i].notify);
        free(t->rcpts[i].orcpt);
    }
    free(t->rcpts);
    free(t->helo);
    free(t->sender);
    free(t->envelope_from);
    free(t->ret);
    free(t->envid);
    if (t->has_filter)
        smtp_header_filter_fini(&t->filter);
    buf_fini(&t->text);
    smtp_reply_fini(&t->early);
    smtp_reply_fini(&t->mail_refusal);
    setup_unref(t->setup);
    free(t);
}

void tx_enter(struct transaction *t)
{
    t->depth++;
}

/* An abandoned transaction goes when nobody uses it, but not before a message that is all at the
 * upstream has its verdict. */
void tx_leave(struct transaction *t)
{
    if (--t->depth == 0 && !t->events && t->phase != WANT_FINAL && t->phase != WANT_COMMIT)
        destroy(t);
}

/* --- from the client --- */

static bool copy_mail(struct transaction *t, const struct smtp_mail *mail)
{
    const char *forced = t->pool ? pool_account(t->pool)->force_sender : "";
    bool is_forced =
        forced[0] && mail->from.mailbox.n > 0; /* the null sender stays null: no mail loops */
    t->sender = slice_dup(mail->from.mailbox);
    t->envelope_from = is_forced ? str_dup(forced) : slice_dup(mail->from.mailbox);
    t->ret = slice_dup(mail->ret);
    t->envid = slice_dup(mail->envid);
    if (!t->sender || !t->envelope_from || !t->ret || !t->envid)
        return false;
    t->mail = *mail;
    t->mail.from = (struct smtp_path){ .mailbox = slice_str(t->envelope_from) };
    t->mail.ret = slice_str(t->ret);
    t->mail.envid = slice_str(t->envid);
    t->mail.auth = SLICE_NONE;
    return true;
}

static void describe_client(struct transaction *t, const struct transaction_client *client)
{
    char ip[IP_TEXT_MAX];
    t->client = *client->addr;
    ip_format(&t->client, ip);
    snprintf(t->client_literal, sizeof t->client_literal, "%s%s",
        t->client.len == 16 ? "IPv6:" : "", ip);
    t->helo = str_dup(client->helo);
    t->protocol = client->protocol;
}

struct transaction *transaction_new(struct loop *loop, struct setup *setup,
    struct delivery *delivery, const struct transaction_client *client,
    const struct smtp_mail *mail, uint32_t ticket, const struct transaction_events *events,
    void *user)
{
    struct transaction *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->loop = loop;
    t->setup = setup_ref(setup);
    t->delivery = delivery;
    t->events = events;
    t->user = user;
    t->mail_ticket = ticket;
    t->began_ms = t->touched_ms = loop_now_ms(loop);
    make_id(t->id);
    buf_init(&t->text, SMTP_HEADER_MAX + SMTP_HEADER_ADDED_MAX + 2 * SMTP_BODY_EVENT_MAX);
    smtp_reply_init(&t->early);
    smtp_reply_init(&t->mail_refusal);
    describe_client(t, client);
    t->pool = setup_route(setup, client->addr, mail->from.mailbox);
    if (!t->helo || !copy_mail(t, mail)) {
        destroy(t);
        return NULL;
    }
    return t;
}

void transaction_start(struct transaction *t)
{
    tx_enter(t);
    if (tx_is_queue_mode(t)) {
        tx_keep(t, NULL, false);
    } else if (t->pool) {
        tx_set_phase(t, RESTING);
        tx_answer(t, &t->mail_ticket, 250, "2.1.0", "sender will be passed on");
    } else {
        struct err why;
        err_set(&why, ERR_CONFIG,
            "no [account] matches this client and sender, and there is no default one");
        tx_fail(t, &why);
    }
    tx_leave(t);
}

static bool grow_rcpts(struct transaction *t)
{
    if (t->rcpt_count < t->rcpt_room)
        return true;
    size_t room = t->rcpt_room > 0 ? 2 * t->rcpt_room : 4;
    struct recipient *rcpts = realloc(t->rcpts, room * sizeof *rcpts);
    if (!rcpts)
        return false;
    t->rcpts = rcpts;
    t->rcpt_room = room;
    return true;
}

/* True: nobody needs to be asked, and it is answered. */
static bool refuse_rcpt(struct transaction *t, uint32_t ticket)
{
    bool is_late =
        !t->session && t->phase != WANT_SESSION && t->phase != RESTING && t->phase != KEEP_ENVELOPE;
    size_t refused = t->rcpts_answered - t->rcpts_accepted;
    bool is_flood = t->session && refused >= TRANSACTION_REFUSED_MAX;
    tx_enter(t);
    if (is_late && t->mail_refusal.code != 0)
        tx_answer_as(t, &ticket, &t->mail_refusal);
    else if (is_late)
        tx_answer_reason(t, &ticket);
    else if (is_flood)
        tx_answer(t, &ticket, 452, "4.5.3", "too many refused recipients in one message");
    tx_leave(t);
    return is_late || is_flood;
}

bool transaction_rcpt(struct transaction *t, const struct smtp_rcpt *rcpt, uint32_t ticket)
{
    t->touched_ms = tx_now(t);
    if (refuse_rcpt(t, ticket))
        return true;
    if (!grow_rcpts(t))
        return false;
    struct recipient r = {
        .mailbox = slice_dup(rcpt->to.mailbox),
        .notify = slice_dup(rcpt->notify),
        .orcpt = slice_dup(rcpt->orcpt),
        .ticket = ticket,
    };
    t->rcpts[t->rcpt_count] = r;
    if (!r.mailbox || !r.notify || !r.orcpt) {
        free(r.mailbox);
        free(r.notify);
        free(r.orcpt);
        return false;
    }
    t->rcpt_count++;
    tx_enter(t);
    if (t->session) {
        tx_send_rcpts(t);
        outbound_flush(t->session);
    } else if (t->phase == KEEP_ENVELOPE) {
        tx_keep_rcpt(t, &t->rcpts[t->rcpt_count - 1]);
    } else if (t->phase == RESTING) {
        tx_take_session(t);
    }
    tx_leave(t);
    return true;
}

void transaction_data(struct transaction *t, uint32_t ticket)
{
    t->data_ticket = ticket;
    t->touched_ms = tx_now(t);
    tx_enter(t);
    if (t->session) {
        tx_go_on_with_data(t);
    } else if (t->phase == KEEP_ENVELOPE) {
        tx_keep_data(t);
    } else if (t->phase == RESTING) {
        tx_take_session(t);
    } else if (t->phase != WANT_SESSION) {
        tx_answer_reason(t, &t->data_ticket);
    }
    tx_leave(t);
}

/* To whoever takes it: the upstream, the spool, or both. */
static void hand_on(struct transaction *t, struct slice text)
{
    if (text.n > 0 && t->session)
        smtp_client_body(outbound_client(t->session), text, tx_now(t));
    if (text.n > 0 && t->writer)
        store_writer_add(t->writer, text);
}

static void send_text(struct transaction *t, enum smtp_header_verdict verdict)
{
    if (t->text.failed) {
        tx_refuse_text(t, 451, "4.3.0", "not delivered now: out of memory");
        return;
    }
    switch (verdict) {
    case SMTP_HEADER_OK:
        hand_on(t, buf_slice(&t->text));
        buf_clear(&t->text);
        return;
    case SMTP_HEADER_TOO_LONG:
        tx_refuse_text(t, 552, "5.3.4", "the message header is longer than 512 KB");
        return;
    case SMTP_HEADER_LOOP:
        tx_refuse_text(t, 554, "5.4.6", "mail loop: the message has 30 Received lines already");
        return;
    }
}

void transaction_body(struct transaction *t, struct slice text)
{
    if (t->is_text_dropped || (t->phase != WANT_TEXT && t->phase != KEEP_TEXT))
        return;
    t->touched_ms = tx_now(t);
    tx_enter(t);
    if (smtp_header_filter_is_through(&t->filter))
        hand_on(t, text);
    else
        send_text(t, smtp_header_filter_feed(&t->filter, text, &t->text));
    if (t->session)
        outbound_flush(t->session);
    tx_leave(t);
}

/* The client has sent all, but the text went nowhere. */
static void answer_dropped(struct transaction *t)
{
    if (t->early.code != 0) {
        tx_log_reply(t, LOG_LEVEL_WARNING, "message", &t->early);
        tx_finish(t);
        tx_answer_as(t, &t->end_ticket, &t->early);
    } else {
        if (t->phase != FAILED)
            tx_log_message(t, LOG_LEVEL_WARNING, "message_refused", NULL, t->reason.text);
        tx_finish(t);
        tx_answer_reason(t, &t->end_ticket);
    }
}

void transaction_end(struct transaction *t, uint32_t ticket, uint64_t text_size, bool is_repaired)
{
    t->end_ticket = ticket;
    t->text_size = text_size;
    t->is_repaired = is_repaired;
    tx_enter(t);
    if (!t->is_text_dropped)
        send_text(t, smtp_header_filter_end(&t->filter, &t->text));
    if (t->is_text_dropped) {
        answer_dropped(t);
    } else if (t->phase == KEEP_TEXT) {
        tx_commit(t);
    } else {
        tx_set_phase(t, WANT_FINAL);
        smtp_client_body_end(outbound_client(t->session), tx_now(t));
        outbound_flush(t->session);
    }
    tx_leave(t);
}

void transaction_refuse_size(struct transaction *t, uint64_t text_size)
{
    t->text_size = text_size;
    tx_enter(t);
    if (!t->is_text_dropped)
        tx_refuse_text(t, 552, "5.3.4",
            "the message is larger than max_message_size, or than the upstream takes");
    if (t->phase != FAILED)
        tx_log_message(t, LOG_LEVEL_WARNING, "message_refused", NULL, t->reason.text);
    tx_finish(t);
    tx_leave(t);
}

/* Takes back what can be taken back; true when the session must be cut off. */
static bool take_back(struct transaction *t)
{
    struct smtp_client *client = outbound_client(t->session);
    switch (t->phase) {
    case WANT_VERDICTS:
        smtp_client_rset(client, tx_now(t));
        break;
    case WANT_GO_AHEAD:
    case WANT_TEXT:
        if (!smtp_client_body_abort(client, tx_now(t)))
            return true;
        break;
    case WANT_SESSION:
    case RESTING:
    case WANT_FINAL:
    case KEEP_ENVELOPE:
    case KEEP_TEXT:
    case WANT_COMMIT:
    case FAILED:
    case FINISHED:
        break;
    }
    outbound_flush(t->session);
    return false;
}

void transaction_abandon(struct transaction *t, const char *why)
{
    tx_enter(t);
    t->events = NULL;
    if (t->phase == WANT_GO_AHEAD || t->phase == WANT_TEXT || t->phase == KEEP_TEXT)
        tx_log_message(t, LOG_LEVEL_WARNING, "aborted", NULL, why);
    /* In WANT_FINAL the upstream has it all: the verdict is awaited and logged. */
    if (t->session && t->phase != WANT_FINAL) {
        bool is_abort = take_back(t);
        tx_give_session_back(t, is_abort);
    }
    tx_leave(t);
}

bool transaction_client_left(struct transaction *t)
{
    bool is_under_way = t->phase == WANT_FINAL || t->phase == WANT_COMMIT;
    t->is_client_gone = is_under_way;
    return is_under_way;
}

void transaction_cut(struct transaction *t, const char *why)
{
    if (t->phase == WANT_FINAL) {
        tx_log_message(t, LOG_LEVEL_WARNING, "uncertain", NULL, why);
        tx_give_session_back(t, true);
    }
    if (t->phase == WANT_FINAL || t->phase == WANT_COMMIT)
        tx_set_phase(t, FINISHED);
    transaction_abandon(t, why);
}

bool transaction_is_congested(const struct transaction *t)
{
    bool is_sending = t->session && t->phase == WANT_TEXT && outbound_is_congested(t->session);
    return is_sending || (t->writer && store_writer_is_congested(t->writer));
}

bool transaction_is_over(const struct transaction *t)
{
    return t->phase == FINISHED;
}

const char *transaction_id(const struct transaction *t)
{
    return t->id;
}
