#include "app/queue_print.h"
#include "base/str.h"
#include "relay/breaker.h"
#include "smtp/header.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

enum { SHORT_SIZE = 24, FIELD_MAX = 64 * 1024 };

const char *queue_state_name(enum store_state state)
{
    switch (state) {
    case STORE_QUEUED:
        return "queued";
    case STORE_HELD:
        return "held";
    case STORE_FAILED:
        return "failed";
    }
    return "unknown"; /* a later version's spool */
}

static const char *rcpt_state(const struct store_rcpt *r)
{
    return r->is_refused ? "refused" : r->is_done ? "delivered" : "waiting";
}

static struct slice sender_of(const struct store_message *m)
{
    return m->sender && m->sender[0] != '\0' ? slice_str(m->sender) : SLICE_LIT("<>");
}

/* ---- Numbers for people ---------------------------------------------------------------------- */

struct unit {
    uint64_t size;
    const char *name;
};

/* The number in the largest unit of which there is at least one; the last unit's size is 1. */
static void format_in_units(char text[SHORT_SIZE], uint64_t n, const struct unit *units)
{
    while (n < units->size && units->size > 1)
        units++;
    snprintf(text, SHORT_SIZE, "%" PRIu64 "%s", n / units->size, units->name);
}

/* "45s", "3m", "2h", "5d". */
static void format_duration(char text[SHORT_SIZE], int64_t seconds)
{
    static const struct unit units[] = { { 86400, "d" }, { 3600, "h" }, { 60, "m" }, { 1, "s" } };
    format_in_units(text, seconds > 0 ? (uint64_t)seconds : 0, units);
}

/* "800", "4K", "150M", "2G". */
static void format_size(char text[SHORT_SIZE], uint64_t octets)
{
    static const struct unit units[] = { { 1u << 30, "G" }, { 1u << 20, "M" }, { 1u << 10, "K" },
        { 1, "" } };
    format_in_units(text, octets, units);
}

/* When it is tried next: "3m", "now"; "-" when it is not going to be. */
static void format_next(char text[SHORT_SIZE], const struct store_message *m, int64_t now)
{
    if (m->state == STORE_QUEUED && m->next_try > now)
        format_duration(text, m->next_try - now);
    else
        snprintf(text, SHORT_SIZE, m->state == STORE_QUEUED ? "now" : "-");
}

/* ---- The table ------------------------------------------------------------------------------- */

/* What comes from outside, in at least `width` columns, and a blank. */
static void add_cell(struct buf *out, struct slice s, size_t width)
{
    size_t columns = 0, before = out->len;
    str_add_printable(out, s);
    struct slice added = slice_skip(buf_slice(out), before);
    for (size_t i = 0; i < added.n; i++)
        columns += ((unsigned char)added.p[i] & 0xc0) != 0x80; /* one per UTF-8 character */
    for (; columns < width; columns++)
        buf_add_char(out, ' ');
    buf_add_char(out, ' ');
}

#define ROW_FORMAT "%-16s %4s %5s %-8s %5s %4s "

enum { ACCOUNT_WIDTH = 10, ADDRESS_WIDTH = 24 };

void queue_add_notice(struct buf *out, const struct store_notice *notice, int64_t now)
{
    bool is_default = notice->account[0] == '\0';
    buf_add_str(out, "logins of account ");
    str_add_printable(out, is_default ? SLICE_LIT("(default)") : slice_str(notice->account));
    buf_add_str(out, " (");
    str_add_printable(out, slice_str(notice->login));
    if (notice->until > now) {
        char left[SHORT_SIZE];
        format_duration(left, notice->until - now);
        buf_addf(out, ") are paused for %s, so that the directory does not lock it: ", left);
    } else {
        buf_add_str(out, ") were refused; the next message tries one: ");
    }
    str_add_printable(out, slice_str(notice->text));
    buf_add_str(out, "\n  remedy: " BREAKER_REMEDY "\n");
}

void queue_add_waiting(struct buf *out, size_t count, int64_t seconds, const char *last_reply)
{
    char age[SHORT_SIZE];
    format_duration(age, seconds);
    buf_addf(out, "%zu message%s in the spool, the oldest for %s: ", count,
        count == 1 ? " waits" : "s wait", age);
    str_add_printable(out, slice_str(last_reply));
}

void queue_add_heading(struct buf *out)
{
    buf_addf(out, ROW_FORMAT, "ID", "AGE", "SIZE", "STATE", "TRIES", "NEXT");
    add_cell(out, SLICE_LIT("ACCOUNT"), ACCOUNT_WIDTH);
    add_cell(out, SLICE_LIT("FROM"), ADDRESS_WIDTH);
    add_cell(out, SLICE_LIT("TO"), ADDRESS_WIDTH);
    buf_add_str(out, "LAST REPLY\n");
}

/* The first recipient that still waits, else the first one, and how many others there are. */
static void add_recipients_cell(struct buf *out, const struct store_message *m)
{
    size_t shown = 0;
    while (shown + 1 < m->rcpt_count && m->rcpts[shown].is_done)
        shown++;
    if (m->rcpt_count > 0 && m->rcpts[shown].is_done)
        shown = 0;
    struct buf cell;
    buf_init(&cell, FIELD_MAX);
    buf_add_str(&cell, m->rcpt_count > 0 ? m->rcpts[shown].mailbox : "-");
    if (m->rcpt_count > 1)
        buf_addf(&cell, " +%zu", m->rcpt_count - 1);
    add_cell(out, buf_slice(&cell), ADDRESS_WIDTH);
    buf_fini(&cell);
}

void queue_add_row(struct buf *out, const struct store_message *m, int64_t now)
{
    char age[SHORT_SIZE], size[SHORT_SIZE], next[SHORT_SIZE], state[SHORT_SIZE], tries[SHORT_SIZE];
    format_duration(age, now - m->arrived);
    format_size(size, m->size);
    format_next(next, m, now);
    snprintf(state, sizeof state, "%s%s", queue_state_name(m->state), m->is_uncertain ? "*" : "");
    snprintf(tries, sizeof tries, "%u", m->attempts);
    buf_addf(out, ROW_FORMAT, m->id, age, size, state, tries, next);
    bool is_default = m->account[0] == '\0';
    add_cell(out, is_default ? SLICE_LIT("(default)") : slice_str(m->account), ACCOUNT_WIDTH);
    add_cell(out, sender_of(m), ADDRESS_WIDTH);
    add_recipients_cell(out, m);
    bool has_reply = m->last_reply[0] != '\0';
    str_add_printable(out, has_reply ? slice_str(m->last_reply) : SLICE_LIT("-"));
    buf_add_char(out, '\n');
}

/* ---- The page -------------------------------------------------------------------------------- */

static void add_text(struct buf *out, const char *name, struct slice value)
{
    if (value.n == 0)
        return;
    buf_addf(out, "%-12s ", name);
    str_add_printable(out, value);
    buf_add_char(out, '\n');
}

/* "Sat, 21 Nov 2026 22:06:22 +0000 (3m ago)". */
static void add_time(struct buf *out, const char *name, int64_t when, int64_t now)
{
    char distance[SHORT_SIZE];
    format_duration(distance, when > now ? when - now : now - when);
    buf_addf(out, "%-12s ", name);
    smtp_date_add(out, when);
    buf_addf(out, " (%s%s%s)\n", when > now ? "in " : "", distance, when > now ? "" : " ago");
}

static void add_client(struct buf *out, const struct store_message *m)
{
    char ip[IP_TEXT_MAX];
    ip_format(&m->client, ip);
    buf_addf(out, "%-12s %s", "client", ip);
    if (m->helo[0] != '\0') {
        buf_add_str(out, " (");
        str_add_printable(out, slice_str(m->helo));
        buf_add_char(out, ')');
    }
    buf_add_char(out, '\n');
}

static void add_rcpt(struct buf *out, const struct store_rcpt *r)
{
    buf_addf(out, "  %-9s  ", rcpt_state(r));
    str_add_printable(out, slice_str(r->mailbox));
    const struct {
        const char *name, *value;
    } rest[] = { { "  NOTIFY=", r->notify }, { "  ORCPT=", r->orcpt },
        { "\n             ", r->reply } };
    for (size_t i = 0; i < ARRAY_LEN(rest); i++) {
        if (rest[i].value[0] == '\0')
            continue;
        buf_add_str(out, rest[i].name);
        str_add_printable(out, slice_str(rest[i].value));
    }
    buf_add_char(out, '\n');
}

static void add_state(struct buf *out, const struct store_message *m)
{
    buf_addf(out, "%-12s %s\n", "state", queue_state_name(m->state));
    if (m->is_uncertain)
        buf_addf(out, "%-12s %s\n", "uncertain",
            "yes: a connection ended between the message and the reply, it may have arrived");
    if (m->is_bounce)
        buf_addf(out, "%-12s %s\n", "bounce", "yes: a report of ours on another message");
}

void queue_add_page(struct buf *out, const struct store_message *m, int64_t now)
{
    add_text(out, "id", slice_str(m->id));
    add_state(out, m);
    add_text(out, "from", sender_of(m));
    add_client(out, m);
    add_text(
        out, "account", m->account[0] != '\0' ? slice_str(m->account) : SLICE_LIT("(default)"));
    buf_addf(out, "%-12s %" PRIu64 " octets%s%s\n", "size", m->size, m->is_8bit ? ", 8BITMIME" : "",
        m->is_smtputf8 ? ", SMTPUTF8" : "");
    add_text(out, "RET", slice_str(m->ret));
    add_text(out, "ENVID", slice_str(m->envid));
    add_time(out, "arrived", m->arrived, now);
    add_time(out, "expires", m->expires, now);
    buf_addf(out, "%-12s %u\n", "attempts", m->attempts);
    if (m->state == STORE_QUEUED)
        add_time(out, "next try", m->next_try, now);
    add_text(out, "last reply", slice_str(m->last_reply));
    buf_add_str(out, "recipients\n");
    for (size_t i = 0; i < m->rcpt_count; i++)
        add_rcpt(out, &m->rcpts[i]);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

/* NULL only when out of memory: what is printable is UTF-8. */
static json_t *text_value(const char *text)
{
    struct buf shown;
    buf_init(&shown, FIELD_MAX);
    str_add_printable(&shown, slice_str(text));
    json_t *value = shown.failed ? NULL : json_string(buf_cstr(&shown));
    buf_fini(&shown);
    return value;
}

/* json_object_set_new takes the value and says when it is NULL. */
static json_t *rcpt_object(const struct store_rcpt *r)
{
    json_t *o = json_object();
    bool is_whole = json_object_set_new(o, "mailbox", text_value(r->mailbox)) == 0 &&
                    json_object_set_new(o, "state", json_string(rcpt_state(r))) == 0 &&
                    json_object_set_new(o, "reply", text_value(r->reply)) == 0 &&
                    json_object_set_new(o, "notify", text_value(r->notify)) == 0 &&
                    json_object_set_new(o, "orcpt", text_value(r->orcpt)) == 0;
    if (is_whole)
        return o;
    json_decref(o);
    return NULL;
}

static json_t *rcpts_array(const struct store_message *m)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < m->rcpt_count; i++) {
        if (json_array_append_new(array, rcpt_object(&m->rcpts[i])) == 0)
            continue;
        json_decref(array);
        return NULL;
    }
    return array;
}

static json_t *client_value(const struct store_message *m)
{
    char ip[IP_TEXT_MAX];
    ip_format(&m->client, ip);
    return m->client.len > 0 ? json_string(ip) : json_null();
}

static bool set_fields(json_t *o, const struct store_message *m, int64_t now, int64_t paused_until)
{
    struct field {
        const char *name;
        json_t *value;
    } fields[] = {
        { "id", text_value(m->id) },
        { "state", json_string(queue_state_name(m->state)) },
        { "uncertain", json_boolean(m->is_uncertain) },
        { "bounce", json_boolean(m->is_bounce) },
        { "age", json_integer(now > m->arrived ? now - m->arrived : 0) },
        { "size", json_integer((json_int_t)m->size) },
        { "from", text_value(m->sender) },
        { "recipients", rcpts_array(m) },
        { "attempts", json_integer(m->attempts) },
        { "arrived", json_integer(m->arrived) },
        { "expires", json_integer(m->expires) },
        { "next_try", m->state == STORE_QUEUED ? json_integer(m->next_try) : json_null() },
        { "last_reply", text_value(m->last_reply) },
        { "account", text_value(m->account) },
        { "logins_paused_until", paused_until > now ? json_integer(paused_until) : json_null() },
        { "client", client_value(m) },
        { "helo", text_value(m->helo) },
        { "eightbitmime", json_boolean(m->is_8bit) },
        { "smtputf8", json_boolean(m->is_smtputf8) },
        { "ret", text_value(m->ret) },
        { "envid", text_value(m->envid) },
    };
    bool is_whole = true;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        is_whole = json_object_set_new(o, fields[i].name, fields[i].value) == 0 && is_whole;
    return is_whole;
}

bool queue_add_json(
    struct buf *out, const struct store_message *m, int64_t now, int64_t paused_until)
{
    json_t *o = json_object();
    char *text = o && set_fields(o, m, now, paused_until) ? json_dumps(o, JSON_COMPACT) : NULL;
    bool is_made = text && buf_add_str(out, text);
    free(text);
    json_decref(o);
    return is_made;
}
