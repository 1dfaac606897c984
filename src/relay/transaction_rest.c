/* A client that falls silent in the middle does not keep a session from others. */
#include "relay/transaction_internal.h"

#include <stdlib.h>

enum {
    REST_MS = 3000,   /* silent between commands: the session goes back, whoever wants it */
    STALL_MS = 15000, /* silent within the text: it goes back when others wait for one */
    LOOK_MS = 1000,   /* how often a stalled one looks whether others wait */
};

size_t tx_count_accepted(const struct transaction *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->rcpt_count; i++)
        n += t->rcpts[i].is_accepted;
    return n;
}

/* Between commands, and nothing is open at the upstream. */
static bool can_rest(const struct transaction *t)
{
    return t->session && t->phase == WANT_VERDICTS && t->mail_refusal.code == 0 &&
           t->rcpts_answered == t->rcpt_count && t->data_ticket == 0;
}

/* The upstream is not what holds the client up, and the spool can have the rest of the text. */
static bool can_stall(struct transaction *t)
{
    return t->session && t->phase == WANT_TEXT && t->writer && tx_can_keep(t) &&
           !transaction_is_congested(t);
}

uint64_t transaction_deadline(struct transaction *t)
{
    uint64_t now = tx_now(t), at = 0;
    if (can_rest(t))
        at = t->touched_ms + REST_MS;
    else if (can_stall(t))
        at = t->touched_ms + STALL_MS;
    return at == 0 || at > now ? at : now + LOOK_MS;
}

/* What was refused need not be said again. */
static void forget_refused(struct transaction *t)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->rcpt_count; i++) {
        struct recipient *r = &t->rcpts[i];
        if (r->is_accepted) {
            t->rcpts[kept++] = *r;
            continue;
        }
        free(r->mailbox);
        free(r->notify);
        free(r->orcpt);
    }
    t->rcpt_count = kept;
}

static void rest(struct transaction *t)
{
    log_event(LOG_LEVEL_DEBUG, "session_rested", LOG_STR("id", t->id));
    smtp_client_rset(outbound_client(t->session), tx_now(t));
    outbound_flush(t->session);
    forget_refused(t);
    t->is_said_again = true;
    tx_set_phase(t, RESTING);
    tx_give_session_back(t, false);
}

static void give_way(struct transaction *t)
{
    struct err why;
    err_set(&why, ERR_TIMEOUT, "the client sent nothing for %d s in the middle of its text",
        STALL_MS / 1000);
    bool is_clean = smtp_client_body_abort(outbound_client(t->session), tx_now(t));
    if (is_clean)
        outbound_flush(t->session);
    tx_give_session_back(t, !is_clean);
    tx_keep(t, &why, false);
}

static bool is_wanted_by_others(const struct transaction *t)
{
    return pool_waits_since(t->pool) != 0 || setup_must_yield(t->setup, t->pool);
}

void transaction_tick(struct transaction *t)
{
    uint64_t silent = tx_now(t) - t->touched_ms;
    tx_enter(t);
    if (can_rest(t) && silent >= REST_MS)
        rest(t);
    else if (silent >= STALL_MS && can_stall(t) && is_wanted_by_others(t))
        give_way(t);
    tx_leave(t);
}

void tx_go_on_with_data(struct transaction *t)
{
    if (t->is_said_again && t->rcpts_answered < t->rcpts_sent)
        return; /* the last answer comes here */
    tx_set_phase(t, WANT_GO_AHEAD);
    smtp_client_data(outbound_client(t->session), tx_now(t));
    outbound_poll(t->session);
}

void tx_take_word_back(struct transaction *t, const struct smtp_reply *reply)
{
    struct buf words;
    struct err why;
    buf_init(&words, SMTP_REPLY_MAX + 64);
    smtp_reply_add_oneline(reply, &words);
    err_set(&why, ERR_REFUSED, "after a pause the upstream refuses what it had accepted: %s",
        buf_cstr(&words));
    buf_fini(&words);
    smtp_client_rset(outbound_client(t->session), tx_now(t));
    outbound_flush(t->session);
    tx_give_session_back(t, false);
    tx_fail(t, &why);
}
