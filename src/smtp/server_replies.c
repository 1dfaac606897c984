/*
 * Open tickets and the replies to them. An answer whose turn it is goes straight to the output; one
 * that comes too early waits in its slot.
 */
#include "smtp/server_internal.h"

#include <stdlib.h>

enum {
    SLOTS_KEPT = 4, /* slots that an idle session keeps */
};

static struct slot *slot_at(const struct slot_queue *q, unsigned i)
{
    return &q->ring[(q->head + i) % q->cap];
}

static bool grow_slots(struct slot_queue *q)
{
    unsigned cap = q->cap > 0 ? 2 * q->cap : SLOTS_KEPT;
    struct slot *ring = calloc(cap, sizeof *ring);
    if (!ring)
        return false;
    for (unsigned i = 0; i < q->count; i++)
        ring[i] = *slot_at(q, i);
    free(q->ring);
    *q = (struct slot_queue){ .ring = ring, .cap = cap, .count = q->count };
    return true;
}

static struct slot *push_slot(struct smtp_server *s, enum smtp_event_kind kind)
{
    struct slot_queue *q = &s->open;
    if (q->count == q->cap && !grow_slots(q)) {
        s->is_out_of_memory = true;
        return NULL;
    }
    s->last_ticket += s->last_ticket == UINT32_MAX ? 2 : 1; /* 0 means "no ticket" */
    struct slot *slot = slot_at(q, q->count++);
    *slot = (struct slot){ .ticket = s->last_ticket, .kind = kind };
    buf_init(&slot->reply, SERVER_REPLY_MAX);
    return slot;
}

static void pop_slot(struct slot_queue *q)
{
    buf_fini(&slot_at(q, 0)->reply);
    q->head = (q->head + 1) % q->cap;
    if (--q->count == 0 && q->cap > SLOTS_KEPT) {
        free(q->ring);
        *q = (struct slot_queue){ .ring = NULL };
    }
}

void server_free_slots(struct smtp_server *s)
{
    while (s->open.count > 0)
        pop_slot(&s->open);
    free(s->open.ring);
    s->open = (struct slot_queue){ .ring = NULL };
}

uint32_t server_open_ticket(struct smtp_server *s, enum smtp_event_kind kind)
{
    struct slot *slot = push_slot(s, kind);
    return slot ? slot->ticket : 0;
}

/* Replies that were waiting for their turn and have it now. */
static void flush_slots(struct smtp_server *s)
{
    while (s->open.count > 0 && slot_at(&s->open, 0)->is_answered) {
        size_t before = s->out.len;
        buf_add_slice(&s->out, buf_slice(&slot_at(&s->open, 0)->reply));
        server_trace_sent(s, before);
        pop_slot(&s->open);
    }
    if (s->out.failed)
        s->is_out_of_memory = true;
}

/* The text is ours or our owner's, but a line end in it would be a second reply: it becomes a
 * blank. */
bool server_add_line(struct buf *out, unsigned code, const char *status, const char *text)
{
    size_t n = strlen(text);
    char digits[] = { (char)('0' + code / 100 % 10), (char)('0' + code / 10 % 10),
        (char)('0' + code % 10), ' ' };
    bool done = buf_add(out, digits, sizeof digits);
    if (status)
        done = buf_add_str(out, status) && buf_add_char(out, ' ') && done;
    char *to = buf_reserve(out, n);
    for (size_t i = 0; to && i < n; i++)
        to[i] = text[i] == '\r' || text[i] == '\n' ? ' ' : text[i];
    if (to)
        buf_commit(out, n);
    return buf_add(out, "\r\n", 2) && done && to;
}

/* A reply of our own, behind those that are open: NULL, or the slot where it waits. */
static struct slot *begin_own(struct smtp_server *s, struct buf **ret_to, size_t *ret_before)
{
    struct slot *slot = s->open.count > 0 ? push_slot(s, SMTP_EV_RESET) : NULL;
    *ret_to = slot ? &slot->reply : &s->out;
    *ret_before = (*ret_to)->len;
    return slot;
}

static void end_own(struct smtp_server *s, struct slot *slot, size_t before, bool is_whole)
{
    if (!is_whole)
        s->is_out_of_memory = true;
    if (slot)
        slot->is_answered = true;
    else
        server_trace_sent(s, before);
}

void server_say(struct smtp_server *s, unsigned code, const char *status, const char *text)
{
    struct buf *to;
    size_t before;
    struct slot *slot = begin_own(s, &to, &before);
    end_own(s, slot, before, server_add_line(to, code, status, text));
}

void server_say_deferral(struct smtp_server *s)
{
    struct buf *to;
    size_t before;
    struct slot *slot = begin_own(s, &to, &before);
    end_own(s, slot, before, buf_add_slice(to, buf_slice(&s->deferral)));
}

void server_refuse(struct smtp_server *s, const struct refusal *r)
{
    server_say(s, r->code, r->status, r->text);
    if (r->code >= 500) {
        s->errors++;
        server_count_fault(s);
    }
}

void server_say_farewell(struct smtp_server *s)
{
    size_t before = s->out.len;
    if (!buf_add_slice(&s->out, buf_slice(&s->ending.farewell)))
        s->is_out_of_memory = true;
    server_trace_sent(s, before);
    buf_release_memory(&s->ending.farewell);
}

/* NULL: the ticket was answered before, or belongs to what came after SMTP_EV_CLOSE. */
static struct slot *find_open(struct smtp_server *s, uint32_t ticket)
{
    for (unsigned i = 0; i < s->open.count && ticket != 0; i++) {
        struct slot *slot = slot_at(&s->open, i);
        if (slot->ticket == ticket)
            return slot->is_answered ? NULL : slot;
    }
    return NULL;
}

/* Where the reply to `slot` is written; *ret_before is the length before it. */
static struct buf *begin_reply(struct smtp_server *s, struct slot *slot, size_t *ret_before)
{
    struct buf *to = slot == slot_at(&s->open, 0) ? &s->out : &slot->reply;
    *ret_before = to->len;
    return to;
}

/* What comes behind a MAIL or RCPT that was put off is put off for the same reason. */
static void keep_deferral(
    struct smtp_server *s, enum smtp_event_kind kind, unsigned code, struct slice wire)
{
    bool is_envelope = kind == SMTP_EV_MAIL || kind == SMTP_EV_RCPT;
    if (!is_envelope || code / 100 != 4 || s->deferral.len > 0)
        return;
    if (!buf_add_slice(&s->deferral, wire))
        s->is_out_of_memory = true;
}

static void end_reply(
    struct smtp_server *s, struct slot *slot, struct buf *to, size_t before, unsigned code)
{
    enum smtp_event_kind kind = slot->kind;
    if (!to->failed)
        keep_deferral(s, kind, code, slice_skip(buf_slice(to), before));
    slot->is_answered = true;
    if (to->failed)
        s->is_out_of_memory = true;
    if (to == &s->out)
        server_trace_sent(s, before);
    flush_slots(s);
    s->was_active = true;
    server_answered(s, kind, code);
}

void smtp_server_reply(
    struct smtp_server *s, uint32_t ticket, unsigned code, const char *status, const char *text)
{
    struct slot *slot = find_open(s, ticket);
    if (!slot)
        return;
    size_t before;
    struct buf *to = begin_reply(s, slot, &before);
    server_add_line(to, code, status, text);
    end_reply(s, slot, to, before, code);
}

void smtp_server_reply_as(struct smtp_server *s, uint32_t ticket, const struct smtp_reply *reply)
{
    struct slot *slot = find_open(s, ticket);
    if (!slot)
        return;
    size_t before;
    struct buf *to = begin_reply(s, slot, &before);
    if (!smtp_reply_add_wire(reply, to))
        s->is_out_of_memory = true;
    end_reply(s, slot, to, before, reply->code);
}

void smtp_server_challenge(struct smtp_server *s, uint32_t ticket, struct slice base64)
{
    struct slot *slot = find_open(s, ticket);
    if (!slot)
        return;
    size_t before;
    struct buf *to = begin_reply(s, slot, &before);
    buf_add_str(to, "334 ");
    buf_add_slice(to, base64);
    buf_add_str(to, "\r\n");
    end_reply(s, slot, to, before, 334);
}

/* RFC 5321 4.1.1.1: the name first, then a line for each extension. HELO has no extensions. */
static void add_hello(struct smtp_server *s, const struct smtp_caps *caps, struct buf *to)
{
    uint32_t left = s->is_esmtp ? caps->set : 0;
    buf_addf(to, "250%c%s\r\n", left ? '-' : ' ', s->params.hostname);
    for (unsigned bit = 0; left != 0; bit++) {
        if (!(left & 1u << bit))
            continue;
        left &= ~(1u << bit);
        buf_add_str(to, left ? "250-" : "250 ");
        smtp_caps_add_keyword(caps, (enum smtp_cap_bit)bit, to);
        buf_add_str(to, "\r\n");
    }
}

void smtp_server_hello(struct smtp_server *s, uint32_t ticket, const struct smtp_caps *caps)
{
    struct slot *slot = find_open(s, ticket);
    if (!slot || slot->kind != SMTP_EV_HELLO)
        return;
    s->caps = s->is_esmtp ? caps->set : 0;
    s->size_limit = s->params.size_max;
    if (smtp_caps_have(caps, SMTP_CAP_SIZE) && caps->size > 0 &&
        (s->size_limit == 0 || caps->size < s->size_limit))
        s->size_limit = caps->size;
    size_t before;
    struct buf *to = begin_reply(s, slot, &before);
    add_hello(s, caps, to);
    end_reply(s, slot, to, before, 250);
}

struct slice smtp_server_output(const struct smtp_server *s)
{
    return buf_slice(&s->out);
}

void smtp_server_sent(struct smtp_server *s, size_t n)
{
    if (n == 0)
        return;
    buf_consume(&s->out, n);
    s->was_active = true;
    if (s->out.len == 0 && s->out.cap > SERVER_IDLE_BUFFER)
        buf_release_memory(&s->out);
}
