/* Lanes: an account's messages in their order, with pauses while its upstream does not work. */
#include "platform/platform.h"
#include "relay/delivery_internal.h"
#include "relay/pool.h"

#include <stdlib.h>

enum {
    THROTTLE_PAUSE_S = 60, /* Exchange counts messages per minute */
    WRITE_AGAIN_MS = 5000, /* after the spool failed */
    BUSY_WAIT_MS = 1000,   /* when live clients have all sessions */
    LOST_PAUSE_MS = 5000,  /* after a session was lost logins alone prove nothing */
};

/* --- back-off --- */

/* Up to a fifth more, so that many messages do not come back at once. */
static unsigned with_jitter(unsigned s)
{
    uint8_t random;
    platform_random(&random, sizeof random);
    return s + s * random / (5 * 255);
}

unsigned delivery_backoff_s(unsigned attempts)
{
    unsigned s = DELIVERY_FIRST_RETRY_S;
    while (attempts-- > 1 && s < DELIVERY_LAST_RETRY_S)
        s *= 2;
    return with_jitter(s < DELIVERY_LAST_RETRY_S ? s : DELIVERY_LAST_RETRY_S);
}

static unsigned next_pause_s(const struct lane *lane, bool is_throttled)
{
    if (is_throttled)
        return THROTTLE_PAUSE_S;
    if (lane->backoff_s == 0)
        return DELIVERY_FIRST_RETRY_S;
    bool is_longest = lane->backoff_s >= DELIVERY_LAST_RETRY_S / 2;
    return is_longest ? DELIVERY_LAST_RETRY_S : 2 * lane->backoff_s;
}

/* The upstream does not work for this account: everything waits, in its order. */
static void pause_lane(struct lane *lane, const struct errand_result *result)
{
    uint64_t now = loop_now_ms(lane->delivery->loop);
    bool is_throttled = result->end == ERRAND_THROTTLED;
    if (lane->retry_at > now)
        return; /* several attempts failed together */
    uint64_t logins_at = pool_logins_paused_until(lane->pool);
    lane->backoff_s = logins_at != 0 ? DELIVERY_FIRST_RETRY_S : next_pause_s(lane, is_throttled);
    lane->retry_at = logins_at != 0 ? logins_at : now + 1000ULL * with_jitter(lane->backoff_s);
    lane->login_helps_at = is_throttled          ? lane->retry_at
                           : result->has_session ? now + LOST_PAUSE_MS
                                                 : now;
    log_event(LOG_LEVEL_INFO, "delivery_paused",
        LOG_STR("account", lane->account[0] ? lane->account : "default"),
        LOG_INT("seconds", logins_at != 0 ? (logins_at - now) / 1000 : lane->backoff_s));
    timer_set(lane->timer, lane->retry_at);
}

/* --- claims --- */

struct claim *delivery_claim(struct delivery *d, struct lane *lane, struct store_message *m)
{
    struct claim *c = calloc(1, sizeof *c);
    bool *was_done = calloc(m->rcpt_count + 1, sizeof *was_done);
    if (!c || !was_done) {
        free(c);
        free(was_done);
        store_message_free(m);
        return NULL;
    }
    for (size_t i = 0; i < m->rcpt_count; i++)
        was_done[i] = m->rcpts[i].is_done;
    list_init(&c->turn);
    c->delivery = d;
    c->lane = lane;
    c->message = m;
    c->was_done = was_done;
    c->began_ms = loop_now_ms(d->loop);
    list_add_tail(&d->claims, &c->link);
    d->claim_count++;
    if (lane)
        lane->claims++;
    return c;
}

void lane_free(struct lane *lane)
{
    list_remove(&lane->link);
    timer_free(lane->timer);
    setup_unref(lane->setup);
    free(lane);
}

static void lane_free_if_over(struct lane *lane)
{
    if (lane->is_retired && lane->claims == 0 && !lane->is_fetching)
        lane_free(lane);
}

void delivery_claim_free(struct claim *c)
{
    list_remove(&c->link);
    list_remove(&c->turn);
    c->delivery->claim_count--;
    c->delivery->unwritten_count -= c->is_unwritten;
    if (c->lane)
        c->lane->claims--;
    store_message_free(c->message);
    free(c->was_done);
    free(c);
}

void delivery_unclaim(struct claim *c)
{
    struct delivery *d = c->delivery;
    struct lane *lane = c->lane;
    delivery_claim_free(c);
    if (lane) {
        lane_run(lane);
        lane_free_if_over(lane);
    }
    if (d->is_draining && d->claim_count == 0)
        timer_set(d->tick, loop_now_ms(d->loop) + 1);
}

/* --- results that the spool did not take --- */

/* A message that was sent and cannot be removed would be sent again and again. */
void delivery_keep_unwritten(struct claim *c)
{
    struct delivery *d = c->delivery;
    if (d->is_draining) {
        delivery_unclaim(c);
        return;
    }
    d->unwritten_count += !c->is_unwritten;
    c->is_unwritten = true;
    list_add_tail(&d->unwritten, &c->turn);
    d->write_again_at = loop_now_ms(d->loop) + WRITE_AGAIN_MS;
}

/* Those that fail again come back behind `last`. */
void delivery_write_again(struct delivery *d)
{
    if (list_is_empty(&d->unwritten) || loop_now_ms(d->loop) < d->write_again_at)
        return;
    struct list *last = d->unwritten.prev;
    for (bool is_last = false; !is_last;) {
        struct list *turn = list_first(&d->unwritten);
        is_last = turn == last;
        list_remove(turn);
        delivery_write_down(LIST_ENTRY(turn, struct claim, turn));
    }
}

void delivery_give_up_unwritten(struct delivery *d)
{
    while (!list_is_empty(&d->unwritten))
        delivery_unclaim(LIST_ENTRY(list_first(&d->unwritten), struct claim, turn));
}

/* What was only looked up is given back, so that a new look sees what people changed. */
void lane_drop_ready(struct lane *lane)
{
    while (!list_is_empty(&lane->ready))
        delivery_claim_free(LIST_ENTRY(list_first(&lane->ready), struct claim, turn));
}

/* Heap; the numbers that no look-up may return. */
uint64_t *delivery_list_busy(const struct delivery *d, size_t *ret_count)
{
    uint64_t *busy = calloc(d->claim_count + 1, sizeof *busy);
    size_t n = 0;
    for (struct list *l = d->claims.next; busy && l != &d->claims; l = l->next)
        busy[n++] = LIST_ENTRY(l, struct claim, link)->message->number;
    *ret_count = n;
    return busy;
}

/* --- lanes --- */

/* Nothing is begun any more, and a claim that waits to be begun would be waited for to the last. */
static bool takes_claims(const struct lane *lane)
{
    return !lane->is_retired && !lane->delivery->is_draining;
}

/* Live clients have them all. The upstream works, so this is no pause, and nothing is written down.
 */
static void wait_for_sessions(struct claim *c)
{
    struct lane *lane = c->lane;
    if (!takes_claims(lane)) {
        delivery_unclaim(c);
        return;
    }
    list_add_head(&lane->ready, &c->turn);
    lane->retry_at = loop_now_ms(lane->delivery->loop) + BUSY_WAIT_MS;
    timer_set(lane->timer, lane->retry_at);
}

static void on_errand_end(void *user, struct store_message *m, const struct errand_result *result)
{
    (void)m; /* the claim has it */
    struct claim *c = user;
    struct lane *lane = c->lane;
    c->errand = NULL;
    lane->active--;
    uint64_t now = loop_now_ms(lane->delivery->loop);
    if (result->end == ERRAND_BUSY) {
        wait_for_sessions(c);
        return;
    }
    bool is_paced = result->end == ERRAND_THROTTLED && pool_paced_until(lane->pool) != 0;
    if (!is_paced && (result->end == ERRAND_THROTTLED || result->end == ERRAND_NO_UPSTREAM)) {
        pause_lane(lane, result);
    } else if (result->end == ERRAND_ANSWERED && lane->login_helps_at <= now) {
        lane->backoff_s = 0;
        lane->retry_at = 0;
    }
    lane_run(lane);             /* the next one need not wait for this one's commit */
    delivery_settle(c, result); /* may end the claim, and a retired lane with it */
}

static bool start_next(struct lane *lane)
{
    struct delivery *d = lane->delivery;
    struct claim *c = LIST_ENTRY(list_first(&lane->ready), struct claim, turn);
    list_remove(&c->turn);
    c->began_ms = loop_now_ms(d->loop);
    c->errand = errand_start(d->loop, d->store, lane->pool, c->message, on_errand_end, c);
    if (!c->errand) {
        list_add_head(&lane->ready, &c->turn);
        return false;
    }
    lane->active++;
    return true;
}

/* Two looks that are under way together, for due messages and for overdue ones, can find the same
 * one. */
bool delivery_has_claimed(const struct delivery *d, const struct store_message *m)
{
    for (struct list *l = d->claims.next; l != &d->claims; l = l->next) {
        if (LIST_ENTRY(l, struct claim, link)->message->number == m->number)
            return true;
    }
    return false;
}

static void on_due(void *user, struct store_message **messages, size_t count, const struct err *why)
{
    struct lane *lane = user;
    lane->is_fetching = false;
    if (why)
        log_event(LOG_LEVEL_ERROR, "spool_unreadable", LOG_STR("reason", why->text));
    lane->is_dry = count == 0;
    for (size_t i = 0; i < count; i++) {
        if (!takes_claims(lane) || delivery_has_claimed(lane->delivery, messages[i])) {
            store_message_free(messages[i]);
            continue;
        }
        struct claim *c = delivery_claim(lane->delivery, lane, messages[i]);
        if (c)
            list_add_tail(&lane->ready, &c->turn);
    }
    free(messages);
    if (count > 0)
        lane_run(lane);
    lane_free_if_over(lane);
}

static void fetch(struct lane *lane)
{
    struct delivery *d = lane->delivery;
    size_t busy_count;
    uint64_t *busy = delivery_list_busy(d, &busy_count);
    lane->is_fetching = true;
    store_due(d->store, lane->account, loop_wall_s(d->loop), DELIVERY_BATCH, busy, busy_count,
        on_due, lane);
    free(busy);
}

/* The pool knows when the next message may go, or the next login; until then nothing is looked up.
 */
static bool is_paced(struct lane *lane)
{
    uint64_t pace = pool_paced_until(lane->pool), logins = pool_logins_paused_until(lane->pool);
    uint64_t at = pace > logins ? pace : logins;
    if (at != 0)
        timer_set(lane->timer, at);
    return at != 0;
}

void lane_run(struct lane *lane)
{
    struct delivery *d = lane->delivery;
    if (d->is_draining || d->unwritten_count > 0 || lane->is_retired ||
        lane->retry_at > loop_now_ms(d->loop) || is_paced(lane))
        return;
    /* While it is not known whether the upstream works again, one message finds out. */
    unsigned most = lane->backoff_s > 0 ? 1 : lane->active_max;
    while (
        lane->active < most && !list_is_empty(&lane->ready) && !is_paced(lane) && start_next(lane))
        ;
    if (list_is_empty(&lane->ready) && lane->active < most && !lane->is_fetching && !lane->is_dry)
        fetch(lane);
}

static void on_lane_timer(void *user)
{
    struct lane *lane = user;
    lane->retry_at = 0;
    lane->is_dry = false;
    lane_run(lane);
}

void lane_retire(struct lane *lane)
{
    lane->is_retired = true;
    lane_drop_ready(lane);
    lane_free_if_over(lane);
}

bool lane_open(struct delivery *d, struct setup *setup, size_t account)
{
    struct lane *lane = calloc(1, sizeof *lane);
    if (!lane)
        return false;
    lane->timer = timer_new(d->loop, on_lane_timer, lane);
    if (!lane->timer) {
        free(lane);
        return false;
    }
    unsigned sessions = setup->config->upstream.max_sessions;
    lane->delivery = d;
    lane->setup = setup_ref(setup);
    lane->pool = setup->pools[account];
    lane->account = pool_account(lane->pool)->name;
    lane->active_max =
        sessions > 1 ? sessions / 2 : 1; /* live clients have the rest to themselves */
    list_init(&lane->ready);
    list_add_tail(&d->lanes, &lane->link);
    return true;
}

struct lane *lane_find(struct delivery *d, const char *account)
{
    for (struct list *l = d->lanes.next; l != &d->lanes; l = l->next) {
        struct lane *lane = LIST_ENTRY(l, struct lane, link);
        if (!lane->is_retired && strcmp(lane->account, account) == 0)
            return lane;
    }
    return NULL;
}

void delivery_look_again(struct delivery *d)
{
    for (struct list *l = d->lanes.next, *next; l != &d->lanes; l = next) {
        next = l->next;
        struct lane *lane = LIST_ENTRY(l, struct lane, link);
        if (lane->is_retired)
            continue;
        lane->is_dry = false;
        lane_run(lane);
    }
}
