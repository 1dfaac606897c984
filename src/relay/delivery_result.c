/* What follows an attempt: states, bounces, log lines. */
#include "relay/delivery_internal.h"

#include "base/str.h"
#include "relay/pool.h"
#include "smtp/bounce.h"
#include "smtp/header.h"
#include "smtp/reply.h"

#include <stdio.h>
#include <stdlib.h>

enum { LOG_RECIPIENTS_MAX = 2048, BOUNCE_ID_SIZE = 24 };

static const struct config_delivery *config_of(const struct claim *c)
{
    return &c->delivery->setup->config->delivery;
}

static bool replace(char **field, const char *text)
{
    char *copy = str_dup(text);
    if (!copy)
        return false;
    free(*field);
    *field = copy;
    return true;
}

static size_t count_left(const struct store_message *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->rcpt_count; i++)
        n += !m->rcpts[i].is_done;
    return n;
}

static bool has_refused(const struct store_message *m)
{
    for (size_t i = 0; i < m->rcpt_count; i++) {
        if (m->rcpts[i].is_refused)
            return true;
    }
    return false;
}

/* --- log --- */

static void add_recipients(const struct claim *c, struct buf *out)
{
    const struct store_message *m = c->message;
    for (size_t i = 0; i < m->rcpt_count; i++) {
        if (c->was_done[i])
            continue;
        if (out->len > 0)
            buf_add_char(out, ',');
        if (!buf_add_str(out, m->rcpts[i].mailbox)) {
            buf_add_str(out, "...");
            return;
        }
    }
}

static void log_attempt(const struct claim *c, enum log_level level, const char *event,
    const struct errand_result *result)
{
    const struct store_message *m = c->message;
    struct buf to;
    buf_init(&to, LOG_RECIPIENTS_MAX);
    add_recipients(c, &to);
    char ip[IP_TEXT_MAX];
    ip_format(&m->client, ip);
    log_event(level, event, LOG_STR("id", m->id), LOG_STR("client", ip), LOG_STR("from", m->sender),
        LOG_SLICE("to", buf_slice(&to)), LOG_INT("rcpts", result->accepted),
        LOG_INT("refused", result->refused), LOG_INT("deferred", result->deferred),
        LOG_INT("size", m->size), LOG_STR("account", m->account[0] ? m->account : "default"),
        LOG_STR("host", result->host), LOG_STR("mech", result->mech),
        LOG_STR("tls", result->mech ? result->tls : NULL), LOG_STR("spooled", "yes"),
        LOG_INT("attempts", m->attempts), LOG_STR("reply", result->reply),
        LOG_INT("age", loop_wall_s(c->delivery->loop) - m->arrived),
        LOG_INT("ms", loop_now_ms(c->delivery->loop) - c->began_ms));
    buf_fini(&to);
}

/* --- writing it down --- */

static void on_written(void *user, const struct err *why)
{
    struct claim *c = user;
    if (!why) {
        delivery_unclaim(c);
        return;
    }
    log_event(LOG_LEVEL_ERROR, "spool_failed", LOG_STR("id", c->message->id),
        LOG_STR("reason", why->text),
        LOG_STR("remedy", "nothing is sent from the spool until it can be written; after a "
                          "restart this message may be sent again"));
    delivery_keep_unwritten(c);
}

static void on_bounced(void *user, const struct err *why)
{
    struct claim *c = user;
    struct delivery *d = c->delivery;
    char account[64];
    snprintf(account, sizeof account, "%s", c->message->account);
    on_written(c, why);
    if (!why && !d->is_draining)
        delivery_kick(d, account, false);
}

/* --- bounces --- */

/* Who hears of it: NULL when nobody does. A bounce's own failure is only kept and logged. */
static const char *bounce_address(const struct claim *c)
{
    const struct store_message *m = c->message;
    const char *bounce_to = config_of(c)->bounce_to;
    if (m->is_bounce)
        return NULL;
    return bounce_to[0] ? bounce_to : m->sender[0] ? m->sender : NULL;
}

static bool is_newly_refused(const struct claim *c, size_t i)
{
    return c->message->rcpts[i].is_refused && !c->was_done[i] &&
           smtp_bounce_wants(slice_str(c->message->rcpts[i].notify));
}

static size_t count_to_report(const struct claim *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->message->rcpt_count; i++)
        n += is_newly_refused(c, i);
    return n;
}

/* Exchange checks From against the rights of who logged in, so it is an address that this account
 * sends as, not MAILER-DAEMON; the envelope sender is null all the same. */
static const char *report_from(const struct claim *c)
{
    const char *forced = c->lane ? pool_account(c->lane->pool)->force_sender : "";
    return forced[0] ? forced : c->message->sender;
}

/* Writes the report. False when it does not fit into `out`. */
static bool write_bounce(const struct claim *c, const char *id, const char *to,
    struct slice original, struct buf *out, bool *ret_is_smtputf8)
{
    const struct store_message *m = c->message;
    const struct config_host *first = c->delivery->setup->config->upstream.host.items;
    struct smtp_bounce_rcpt *rcpts = calloc(m->rcpt_count + 1, sizeof *rcpts);
    if (!rcpts)
        return false;
    size_t n = 0;
    for (size_t i = 0; i < m->rcpt_count; i++) {
        if (is_newly_refused(c, i))
            rcpts[n++] = (struct smtp_bounce_rcpt){ .mailbox = slice_str(m->rcpts[i].mailbox),
                .orcpt = slice_str(m->rcpts[i].orcpt),
                .reply = slice_str(m->rcpts[i].reply),
                .is_expired = c->is_expired };
    }
    struct smtp_bounce bounce = {
        .hostname = slice_str(c->delivery->setup->hostname),
        .remote_mta = slice_str(c->host ? c->host : first->name),
        .id = slice_str(id),
        .from = slice_str(report_from(c)),
        .original_id = slice_str(m->id),
        .envid = slice_str(m->envid),
        .sender = slice_str(m->sender),
        .to = slice_str(to),
        .arrived = m->arrived,
        .now = loop_wall_s(c->delivery->loop),
        .rcpts = rcpts,
        .rcpt_count = n,
        .original = original,
    };
    bool done = smtp_bounce_add(&bounce, out);
    *ret_is_smtputf8 = smtp_bounce_needs_smtputf8(&bounce);
    free(rcpts);
    return done;
}

static void commit_bounce(
    struct claim *c, const char *id, const char *to, struct slice report, bool is_smtputf8)
{
    struct delivery *d = c->delivery;
    struct store_message *m = c->message;
    struct store_writer *w = store_writer_new(d->store);
    if (!w) {
        store_update(d->store, m, on_written, c);
        return;
    }
    store_writer_add(w, report);
    int64_t now = loop_wall_s(d->loop);
    struct store_rcpt rcpt = { 0 };
    struct store_message bounce = *m;
    char *strings[] = { str_dup(id), str_dup(to), str_dup("") };
    rcpt.mailbox = strings[1];
    rcpt.notify = rcpt.orcpt = rcpt.reply = strings[2];
    bounce.id = strings[0];
    bounce.sender = bounce.ret = bounce.envid = bounce.last_reply = strings[2];
    bounce.is_bounce = true;
    bounce.is_8bit = false;
    bounce.is_smtputf8 = is_smtputf8;
    bounce.is_uncertain = false;
    bounce.state = STORE_QUEUED;
    bounce.attempts = 0;
    bounce.arrived = bounce.next_try = now;
    bounce.expires = now + (int64_t)(config_of(c)->expire_ms / 1000);
    bounce.rcpts = &rcpt;
    bounce.rcpt_count = 1;
    if (strings[0] && strings[1] && strings[2]) {
        log_event(LOG_LEVEL_INFO, "bounced", LOG_STR("id", m->id), LOG_STR("bounce", id),
            LOG_STR("to", to));
        store_bounce(d->store, w, &bounce, m, on_bounced, c);
    } else {
        store_writer_discard(w);
        store_update(d->store, m, on_written, c);
    }
    for (size_t i = 0; i < ARRAY_LEN(strings); i++)
        free(strings[i]);
}

static void on_original(void *user, struct slice text, const struct err *why)
{
    struct claim *c = user;
    struct buf report;
    buf_init(&report, SMTP_BOUNCE_MAX + c->message->rcpt_count * SMTP_BOUNCE_RCPT_MAX);
    char id[BOUNCE_ID_SIZE + 64];
    /* A message can have a report per attempt and one at its expiry; no two may share a Message-ID,
     * or Exchange drops the second as a duplicate. */
    snprintf(id, sizeof id, "%.40s-%c%u", c->message->id, c->is_expired ? 'x' : 'b',
        c->message->attempts);
    const char *to = bounce_address(c);
    bool is_smtputf8 = false;
    if (write_bounce(c, id, to, why ? SLICE_NONE : text, &report, &is_smtputf8))
        commit_bounce(c, id, to, buf_slice(&report), is_smtputf8);
    else
        store_update(c->delivery->store, c->message, on_written, c);
    buf_fini(&report);
}

/* --- decisions --- */

void delivery_write_down(struct claim *c)
{
    struct store_message *m = c->message;
    struct store *store = c->delivery->store;
    bool is_over = count_left(m) == 0;
    if (is_over && !has_refused(m)) {
        store_remove(store, m->number, on_written, c);
        return;
    }
    if (is_over)
        m->state = STORE_FAILED;
    if (count_to_report(c) > 0 && bounce_address(c))
        store_read_chunk(store, m->number, 0, on_original, c);
    else
        store_update(store, m, on_written, c);
}

static void try_later(struct claim *c, const struct errand_result *result)
{
    struct store_message *m = c->message;
    int64_t now = loop_wall_s(c->delivery->loop);
    bool is_at_once = result->has_surplus && result->accepted > 0;
    /* While the upstream does not work the lane waits, and messages keep their place in it. */
    bool is_lane = result->end == ERRAND_NO_UPSTREAM || result->end == ERRAND_THROTTLED;
    if (count_left(m) > 0 && !is_at_once && !is_lane)
        m->next_try = now + delivery_backoff_s(m->attempts);
}

static void settle_uncertain(struct claim *c)
{
    c->message->is_uncertain = true;
    if (strcmp(config_of(c)->on_uncertain, "hold") == 0)
        c->message->state = STORE_HELD;
}

void delivery_expire(struct claim *c)
{
    struct store_message *m = c->message;
    char reply[700];
    snprintf(reply, sizeof reply, "554 5.4.7 not delivered in time; the last answer was: %s",
        m->last_reply[0] ? m->last_reply : "none");
    struct errand_result result = { .end = ERRAND_ANSWERED };
    c->is_expired = true;
    for (size_t i = 0; i < m->rcpt_count; i++) {
        if (m->rcpts[i].is_done)
            continue;
        m->rcpts[i].is_done = true;
        m->rcpts[i].is_refused = true;
        result.refused++;
        replace(&m->rcpts[i].reply, reply);
    }
    snprintf(result.reply, sizeof result.reply, "%.*s", (int)sizeof result.reply - 1, reply);
    log_attempt(c, LOG_LEVEL_ERROR, "expired", &result);
    delivery_write_down(c);
}

void delivery_settle(struct claim *c, const struct errand_result *result)
{
    static const struct {
        enum log_level level;
        const char *event;
    } lines[] = {
        [ERRAND_ANSWERED] = { LOG_LEVEL_INFO, "message" },
        [ERRAND_NO_UPSTREAM] = { LOG_LEVEL_WARNING, "deferred" },
        [ERRAND_BUSY] = { LOG_LEVEL_DEBUG, "deferred" },
        [ERRAND_THROTTLED] = { LOG_LEVEL_WARNING, "deferred" },
        [ERRAND_UNCERTAIN] = { LOG_LEVEL_WARNING, "uncertain" },
        [ERRAND_NO_TEXT] = { LOG_LEVEL_ERROR, "spool_unreadable" },
        [ERRAND_CANCELLED] = { LOG_LEVEL_INFO, "cancelled" },
    };
    struct store_message *m = c->message;
    m->attempts++;
    c->host = result->host;
    replace(&m->last_reply, result->reply);
    if (c->lane && c->lane->is_retired) /* routed again during the attempt; this stays so */
        replace(&m->account, delivery_account(c->delivery, &m->client, m->sender, m->account));
    bool is_bad = result->refused > 0 || result->deferred > 0;
    enum log_level level =
        result->end == ERRAND_ANSWERED && is_bad ? LOG_LEVEL_WARNING : lines[result->end].level;
    log_attempt(c, level, lines[result->end].event, result);
    try_later(c, result);
    if (result->end == ERRAND_UNCERTAIN)
        settle_uncertain(c);
    delivery_write_down(c);
}
