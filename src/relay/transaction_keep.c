/* Going on without the upstream: the message is taken in, committed to the spool, and answered for.
 */
#include "relay/transaction_internal.h"

#include "relay/delivery.h"

#include <stdio.h>
#include <stdlib.h>

enum { ACCOUNT_SIZE = 64 };

static bool wants_spool(const struct transaction *t)
{
    return t->delivery && t->pool && strcmp(t->setup->config->delivery.on_failure, "spool") == 0;
}

bool tx_is_queue_mode(const struct transaction *t)
{
    return t->delivery && t->pool && strcmp(t->setup->config->delivery.mode, "queue") == 0;
}

/* A client that has gone was never answered, and one that heard a refusal is not told otherwise. */
bool tx_can_keep(const struct transaction *t)
{
    switch (t->phase) {
    case WANT_SESSION:
    case WANT_VERDICTS:
    case RESTING:
    case WANT_GO_AHEAD:
    case WANT_TEXT:
    case WANT_FINAL:
        return wants_spool(t) && t->events && !t->is_client_gone && !t->has_reason &&
               !t->is_text_dropped && t->mail_refusal.code == 0;
    case KEEP_ENVELOPE:
    case KEEP_TEXT:
    case WANT_COMMIT:
    case FAILED:
    case FINISHED:
        break;
    }
    return false;
}

void tx_keep_rcpt(struct transaction *t, struct recipient *r)
{
    if (r->ticket == 0)
        return;
    r->is_accepted = true;
    t->rcpts_accepted++;
    tx_answer(t, &r->ticket, 250, "2.1.5", "recipient will be passed on");
}

static void go_ahead(struct transaction *t)
{
    tx_begin_text(t, KEEP_TEXT);
    tx_answer(t, &t->data_ticket, 354, NULL, "Start mail input; end with <CRLF>.<CRLF>");
}

static void keep_envelope(struct transaction *t)
{
    tx_answer(t, &t->mail_ticket, 250, "2.1.0", "sender will be passed on");
    t->rcpts_accepted = tx_count_accepted(t); /* those that were answered before a rest, too */
    for (size_t i = 0; i < t->rcpt_count; i++)
        tx_keep_rcpt(t, &t->rcpts[i]);
    if (t->data_ticket != 0)
        go_ahead(t);
}

/* The session may still be good (a 454): nothing of this message may stay on it. */
static void leave_session(struct transaction *t)
{
    bool must_reset = t->phase == WANT_VERDICTS || t->phase == WANT_GO_AHEAD;
    if (t->session && must_reset && outbound_is_ready(t->session)) {
        smtp_client_rset(outbound_client(t->session), tx_now(t));
        outbound_flush(t->session);
    }
    tx_give_session_back(t, false);
}

void tx_keep(struct transaction *t, const struct err *why, bool is_uncertain)
{
    snprintf(t->kept_why, sizeof t->kept_why, "%s", why ? why->text : "");
    enum transaction_phase phase = t->phase;
    leave_session(t);
    switch (phase) {
    case WANT_SESSION:
    case WANT_VERDICTS:
    case RESTING:
        tx_set_phase(t, KEEP_ENVELOPE);
        keep_envelope(t);
        break;
    case WANT_GO_AHEAD:
        go_ahead(t);
        break;
    case WANT_TEXT:
        tx_set_phase(t, KEEP_TEXT);
        tx_tell_drained(t);
        break;
    case WANT_FINAL:
        t->is_uncertain = is_uncertain;
        tx_commit(t);
        break;
    case KEEP_ENVELOPE:
    case KEEP_TEXT:
    case WANT_COMMIT:
    case FAILED:
    case FINISHED:
        break;
    }
}

bool tx_keep_if_about_us(struct transaction *t, const struct smtp_reply *reply)
{
    struct reason about_us;
    if (!reason_of_reply(reply, &about_us))
        return false;
    pool_heed(t->pool, reply);
    if (!tx_can_keep(t))
        return false;
    struct err why;
    err_set(&why, ERR_REFUSED, "%s", about_us.text);
    tx_keep(t, &why, false);
    return true;
}

void tx_keep_data(struct transaction *t)
{
    go_ahead(t);
}

/* --- the commit --- */

/* Since the client began, a reload may have renamed its account. */
static void name_account(const struct transaction *t, char name[ACCOUNT_SIZE])
{
    snprintf(name, ACCOUNT_SIZE, "%s",
        delivery_account(t->delivery, &t->client, t->sender, pool_account(t->pool)->name));
}

static void on_committed(void *user, const struct err *why)
{
    struct transaction *t = user;
    tx_enter(t);
    char said[ERR_TEXT_MAX + 32]; /* a reply line stays below RFC 5321's 512 octets */
    if (why) {
        snprintf(said, sizeof said, "not accepted: %s", why->text);
        tx_log_message(t, LOG_LEVEL_ERROR, "spool_failed", "452 4.3.1", why->text);
        tx_finish(t);
        tx_answer(t, &t->end_ticket, 452, "4.3.1", said);
    } else {
        snprintf(said, sizeof said, "queued as %s", t->id);
        tx_log_message(
            t, LOG_LEVEL_INFO, "queued", "250 2.0.0", t->kept_why[0] ? t->kept_why : NULL);
        tx_finish(t);
        tx_answer(t, &t->end_ticket, 250, "2.0.0", said);
        char account[ACCOUNT_SIZE];
        name_account(t, account);
        delivery_kick(t->delivery, account, t->is_uncertain);
    }
    tx_leave(t);
}

static size_t list_accepted(struct transaction *t, struct store_rcpt *rcpts)
{
    size_t n = 0;
    for (size_t i = 0; i < t->rcpt_count; i++) {
        const struct recipient *r = &t->rcpts[i];
        if (r->is_accepted)
            rcpts[n++] = (struct store_rcpt){
                .mailbox = r->mailbox, .notify = r->notify, .orcpt = r->orcpt, .reply = t->empty
            };
    }
    return n;
}

void tx_commit(struct transaction *t)
{
    tx_set_phase(t, WANT_COMMIT);
    struct store_rcpt *rcpts = calloc(t->rcpt_count, sizeof *rcpts);
    if (!rcpts || !t->writer) {
        struct err why;
        err_set(&why, ERR_MEMORY, "out of memory");
        free(rcpts);
        on_committed(t, &why);
        return;
    }
    const struct config_delivery *config = &t->setup->config->delivery;
    bool is_held = t->is_uncertain && strcmp(config->on_uncertain, "hold") == 0;
    int64_t now = loop_wall_s(t->loop);
    char account[ACCOUNT_SIZE];
    name_account(t, account);
    struct store_message m = {
        .id = t->id,
        .account = account,
        .client = t->client,
        .helo = t->helo,
        .sender = t->sender,
        .is_8bit = t->mail.body == SMTP_BODY_8BITMIME,
        .is_smtputf8 = t->mail.smtputf8,
        .ret = t->ret,
        .envid = t->envid,
        .is_uncertain = t->is_uncertain,
        .state = is_held ? STORE_HELD : STORE_QUEUED,
        .arrived = now,
        /* After an uncertain end the server may be busy with it still. */
        .next_try = now + (t->is_uncertain ? DELIVERY_FIRST_RETRY_S : 0),
        .expires = now + (int64_t)(config->expire_ms / 1000),
        .last_reply = t->kept_why,
        .rcpts = rcpts,
        .rcpt_count = list_accepted(t, rcpts),
    };
    struct store_writer *writer = t->writer;
    t->writer = NULL;
    store_writer_commit(writer, &m, on_committed, t);
    free(rcpts);
}

void tx_discard_text(struct transaction *t)
{
    if (t->writer)
        store_writer_discard(t->writer);
    t->writer = NULL;
}

static void on_writer_drain(void *user)
{
    struct transaction *t = user;
    tx_enter(t);
    tx_tell_drained(t);
    tx_leave(t);
}

bool tx_open_writer(struct transaction *t)
{
    if (!wants_spool(t) && !tx_is_queue_mode(t))
        return true;
    struct store *store = delivery_store(t->delivery);
    /* Beside a session it is a copy that is thrown away when the upstream has taken the message. */
    t->writer = t->session ? store_copy_new(store) : store_writer_new(store);
    if (t->writer)
        store_writer_on_drain(t->writer, on_writer_drain, t);
    return t->writer != NULL;
}
