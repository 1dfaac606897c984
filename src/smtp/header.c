#include "smtp/header.h"
#include "base/str.h"
#include "smtp/address.h"
#include "smtp/header_from.h"

#include <assert.h>

enum { REPLY_TO_MAX = 8192 }; /* octets of an old From that is kept as it is */

/* ---- Fields -------------------------------------------------------------------------- */

#define FIELDS(X)                                                                                  \
    X(RECEIVED, "Received")                                                                        \
    X(RETURN_PATH, "Return-Path")                                                                  \
    X(DATE, "Date")                                                                                \
    X(MESSAGE_ID, "Message-ID")                                                                    \
    X(BCC, "Bcc")                                                                                  \
    X(RESENT_BCC, "Resent-Bcc")                                                                    \
    X(FROM, "From")                                                                                \
    X(SENDER, "Sender")                                                                            \
    X(REPLY_TO, "Reply-To")

enum field_kind {
#define X(name, text) FIELD_##name,
    FIELDS(X)
#undef X
        FIELD_OTHER, /* also a line that is no field */
};
enum { FIELD_COUNT = FIELD_OTHER + 1 };

static const struct slice field_names[] = {
#define X(name, text) [FIELD_##name] = { .p = (text), .n = sizeof(text) - 1 },
    FIELDS(X)
#undef X
};
static_assert(ARRAY_LEN(field_names) == FIELD_OTHER, "every known field has a name");

struct field {
    enum field_kind kind;
    struct slice whole; /* with continuation lines and all line ends */
    struct slice value; /* behind the colon */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* The field name at the front of a line (RFC 5322 2.2; 4.5: blanks before the colon). */
static struct slice field_name(struct slice line, size_t *ret_value_at)
{
    size_t n = 0;
    while (n < line.n && line.p[n] > ' ' && line.p[n] < 0x7f && line.p[n] != ':')
        n++;
    size_t colon = n;
    while (colon < line.n && is_blank(line.p[colon]))
        colon++;
    if (n == 0 || colon == line.n || line.p[colon] != ':')
        return SLICE_NONE;
    *ret_value_at = colon + 1;
    return slice_of(line.p, n);
}

static bool is_field(struct slice line)
{
    size_t ignored;
    return field_name(line, &ignored).n > 0;
}

static bool is_empty_line(struct slice line)
{
    return slice_eq(line, SLICE_LIT("\r\n")) || slice_eq(line, SLICE_LIT("\n"));
}

/* Length of the line at the front with its end. */
static size_t line_length(struct slice s)
{
    const char *lf = memchr(s.p, '\n', s.n);
    return lf ? (size_t)(lf - s.p) + 1 : s.n;
}

/* Takes a field with its continuation lines off the front of *rest, which is not empty. */
static struct field take_field(struct slice *rest)
{
    size_t n = line_length(*rest);
    while (n < rest->n && is_blank(rest->p[n]))
        n += line_length(slice_skip(*rest, n));
    struct field f = { .kind = FIELD_OTHER, .whole = slice_of(rest->p, n) };
    size_t value_at = 0;
    struct slice name = field_name(f.whole, &value_at);
    f.value = slice_skip(f.whole, value_at);
    for (size_t i = 0; name.n > 0 && i < ARRAY_LEN(field_names); i++) {
        if (slice_eq_nocase(name, field_names[i]))
            f.kind = (enum field_kind)i;
    }
    *rest = slice_skip(*rest, n);
    return f;
}

/* ---- Lines of ours ------------------------------------------------------------------- */

static bool is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

bool smtp_date_add(struct buf *out, int64_t now)
{
    /* In English whatever the locale. Years that RFC 5322 cannot write become the nearest one. */
    static const char days[][4] = { "Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed" };
    static const struct {
        char name[4];
        int64_t days;
    } months[] = { { "Jan", 31 }, { "Feb", 28 }, { "Mar", 31 }, { "Apr", 30 }, { "May", 31 },
        { "Jun", 30 }, { "Jul", 31 }, { "Aug", 31 }, { "Sep", 30 }, { "Oct", 31 }, { "Nov", 30 },
        { "Dec", 31 } };
    const int64_t last = 253402300799; /* 9999-12-31 23:59:59 */
    now = now < 0 ? 0 : now > last ? last : now;
    int64_t day = now / 86400, second = now % 86400, year = 1970;
    const char *weekday = days[day % 7];
    for (; day >= (is_leap(year) ? 366 : 365); year++)
        day -= is_leap(year) ? 366 : 365;
    size_t month = 0;
    for (;; month++) {
        int64_t length = months[month].days + (month == 1 && is_leap(year) ? 1 : 0);
        if (day < length)
            break;
        day -= length;
    }
    return buf_add_str(out, weekday) && buf_add(out, ", ", 2) &&
           str_add_number(out, (uint64_t)day + 1, 1) && buf_add_char(out, ' ') &&
           buf_add_str(out, months[month].name) && buf_add_char(out, ' ') &&
           str_add_number(out, (uint64_t)year, 1) && buf_add_char(out, ' ') &&
           str_add_number(out, (uint64_t)second / 3600, 2) && buf_add_char(out, ':') &&
           str_add_number(out, (uint64_t)second / 60 % 60, 2) && buf_add_char(out, ':') &&
           str_add_number(out, (uint64_t)second % 60, 2) && buf_add_str(out, " +0000");
}

/* RFC 5321 4.4: from, by, with, id, for, date. */
static void add_received(const struct smtp_header_params *p, struct buf *out)
{
    struct smtp_header_line line = smtp_header_line_open(out, "Received: from");
    smtp_header_line_add_token(&line, "", p->helo, "");
    smtp_header_line_add_token(&line, "([", p->client_ip, "])");
    smtp_header_line_add_token(&line, "by ", p->hostname, "");
    smtp_header_line_add_token(&line, "with ", p->with, "");
    bool has_for = p->recipient.n > 0 && p->recipient.n <= SMTP_PATH_MAX;
    smtp_header_line_add_token(&line, "id ", p->id, has_for ? "" : ";");
    if (has_for)
        smtp_header_line_add(&line, "for <", p->recipient, ">;");
    struct buf date;
    buf_init(&date, 64);
    smtp_date_add(&date, p->now);
    smtp_header_line_add(&line, "", buf_slice(&date), "");
    out->failed = out->failed || date.failed;
    buf_fini(&date);
    smtp_header_line_close(&line);
}

static void add_date(const struct smtp_header_params *p, struct buf *out)
{
    buf_add_str(out, "Date: ");
    smtp_date_add(out, p->now);
    buf_add_str(out, "\r\n");
}

static void add_message_id(const struct smtp_header_params *p, struct buf *out)
{
    struct smtp_header_line line = smtp_header_line_open(out, "Message-ID:");
    struct buf id;
    buf_init(&id, 2 * SMTP_HEADER_TOKEN_MAX + 1);
    smtp_header_add_token(&id, p->id);
    buf_add_char(&id, '@');
    smtp_header_add_token(&id, p->hostname);
    smtp_header_line_add(&line, "<", buf_slice(&id), ">");
    out->failed = out->failed || id.failed;
    buf_fini(&id);
    smtp_header_line_close(&line);
}

static size_t longest_line(struct slice s)
{
    size_t longest = 0;
    while (s.n > 0) {
        size_t n = line_length(s);
        longest = n > longest ? n : longest;
        s = slice_skip(s, n);
    }
    return longest;
}

/* ---- Putting the header together ----------------------------------------------------- */

/* What is there, and what to do about it. */
struct plan {
    unsigned counts[FIELD_COUNT];
    struct slice from; /* the value of the first From */
    struct smtp_from old;
    bool is_single;     /* `old` is valid */
    bool replaces_from; /* there is a From, and it is not the forced sender's */
};

static struct plan make_plan(const struct smtp_header_params *p, struct slice header)
{
    struct plan plan = { .from = SLICE_NONE };
    while (header.n > 0) {
        struct field field = take_field(&header);
        if (field.kind == FIELD_FROM && plan.counts[FIELD_FROM] == 0)
            plan.from = field.value;
        plan.counts[field.kind]++;
    }
    plan.is_single = smtp_from_parse(plan.from, &plan.old);
    bool is_forced = plan.counts[FIELD_FROM] == 1 && plan.is_single &&
                     slice_eq_nocase(plan.old.address, p->force_sender);
    plan.replaces_from = p->force_sender.n > 0 && plan.counts[FIELD_FROM] > 0 && !is_forced;
    return plan;
}

/* The forced sender under the old one's name. */
static void add_from(struct smtp_header_filter *f, const struct plan *plan, struct buf *out)
{
    struct smtp_header_line line = smtp_header_line_open(out, "From:");
    if (plan->is_single)
        smtp_from_add_name(&plan->old, &line);
    smtp_header_line_add(&line, "<", f->params.force_sender, ">");
    smtp_header_line_close(&line);
    f->repairs |= SMTP_REPAIR_FROM;
}

/* Answers go to the old From: as it was where that is an address, else they go to the forced
 * sender. */
static void add_reply_to(struct smtp_header_filter *f, const struct plan *plan, struct buf *out)
{
    static const char name[] = "Reply-To:";
    struct slice from = plan->from;
    bool is_same = plan->is_single && slice_eq_nocase(plan->old.address, f->params.force_sender);
    if (plan->counts[FIELD_REPLY_TO] > 0 || is_same || from.n == 0 || !memchr(from.p, '@', from.n))
        return;
    bool is_short =
        from.n <= REPLY_TO_MAX && longest_line(from) + sizeof name - 1 <= SMTP_HEADER_LINE_MAX;
    if (is_short) {
        buf_add_str(out, name);
        buf_add_slice(out, from);
    } else if (plan->is_single && smtp_mailbox_is_valid(plan->old.address)) {
        struct smtp_header_line line = smtp_header_line_open(out, name);
        smtp_header_line_add(&line, "<", plan->old.address, ">");
        smtp_header_line_close(&line);
    } else {
        return;
    }
    f->repairs |= SMTP_REPAIR_REPLY_TO;
}

static void add_missing(struct smtp_header_filter *f, const struct plan *plan, struct buf *out)
{
    if (plan->counts[FIELD_DATE] == 0) {
        add_date(&f->params, out);
        f->repairs |= SMTP_REPAIR_DATE;
    }
    if (plan->counts[FIELD_MESSAGE_ID] == 0) {
        add_message_id(&f->params, out);
        f->repairs |= SMTP_REPAIR_MESSAGE_ID;
    }
    if (plan->counts[FIELD_FROM] == 0 && f->params.force_sender.n > 0)
        add_from(f, plan, out);
}

static void pass_field(struct smtp_header_filter *f, const struct plan *plan,
    const struct field *field, bool is_first_from, struct buf *out)
{
    switch (field->kind) {
    case FIELD_BCC:
    case FIELD_RESENT_BCC:
        f->repairs |= SMTP_REPAIR_BCC;
        return;
    case FIELD_SENDER:
        if (f->params.force_sender.n == 0)
            break;
        f->repairs |= SMTP_REPAIR_FROM;
        return;
    case FIELD_FROM:
        if (!plan->replaces_from)
            break;
        if (is_first_from) {
            add_from(f, plan, out);
            add_reply_to(f, plan, out);
        }
        return;
    case FIELD_RECEIVED:
    case FIELD_RETURN_PATH:
    case FIELD_DATE:
    case FIELD_MESSAGE_ID:
    case FIELD_REPLY_TO:
    case FIELD_OTHER:
        break;
    }
    buf_add_slice(out, field->whole);
}

/* RFC 5322 3.6: trace fields stay together, so what is missing goes behind them. */
static enum smtp_header_verdict pass_header(
    struct smtp_header_filter *f, struct slice header, struct buf *out)
{
    struct plan plan = make_plan(&f->params, header);
    if (plan.counts[FIELD_RECEIVED] >= SMTP_HOPS_MAX)
        return SMTP_HEADER_LOOP;
    add_received(&f->params, out);
    bool is_added = false, seen_from = false;
    while (header.n > 0) {
        struct field field = take_field(&header);
        bool is_trace = field.kind == FIELD_RECEIVED || field.kind == FIELD_RETURN_PATH;
        if (!is_added && !is_trace) {
            add_missing(f, &plan, out);
            is_added = true;
        }
        pass_field(f, &plan, &field, !seen_from, out);
        seen_from = seen_from || field.kind == FIELD_FROM;
    }
    if (!is_added)
        add_missing(f, &plan, out);
    return SMTP_HEADER_OK;
}

/* ---- Finding the end ----------------------------------------------------------------- */

enum scan {
    SCAN_MORE,      /* the header goes on */
    SCAN_END,       /* the line at `scanned` is the empty one */
    SCAN_NO_HEADER, /* all is body */
};

/* "From joe Sat Nov 21 ...", quoted by some with a ">". */
static bool is_mbox_line(struct slice line)
{
    if (line.n > 0 && line.p[0] == '>')
        line = slice_skip(line, 1);
    return line.n > 5 && memcmp(line.p, "From ", 5) == 0;
}

static enum scan scan_line(struct smtp_header_filter *f, struct slice line)
{
    bool is_first = f->scanned == f->front;
    if (is_first && f->front == 0 && !is_field(line) && is_mbox_line(line))
        f->front = line.n;
    else if (is_first && !is_field(line))
        return is_empty_line(line) && f->front == 0 ? SCAN_END : SCAN_NO_HEADER;
    else if (is_empty_line(line))
        return SCAN_END;
    else if (f->junk == 0 && !is_blank(line.p[0]) && !is_field(line))
        f->junk = f->scanned;
    return SCAN_MORE;
}

/* Looks at the lines that are complete; no byte is searched twice, however small the pieces. */
static enum scan scan_held(struct smtp_header_filter *f)
{
    struct slice held = buf_slice(&f->held);
    while (f->searched < held.n) {
        const char *lf = memchr(held.p + f->searched, '\n', held.n - f->searched);
        f->searched = lf ? (size_t)(lf - held.p) + 1 : held.n;
        if (!lf)
            break;
        enum scan found = scan_line(f, slice_of(held.p + f->scanned, f->searched - f->scanned));
        if (found != SCAN_MORE)
            return found;
        f->scanned = f->searched;
    }
    return SCAN_MORE;
}

/* The header is `held` from `front` up to `end`; what follows in `held` is body. */
static enum smtp_header_verdict leave_header(
    struct smtp_header_filter *f, size_t end, struct buf *out)
{
    struct slice held = buf_slice(&f->held);
    struct slice body = slice_skip(held, end);
    held.n = end;
    f->verdict = pass_header(f, slice_skip(held, f->front), out);
    if (f->verdict == SMTP_HEADER_OK)
        buf_add_slice(out, body);
    f->in_body = f->verdict == SMTP_HEADER_OK;
    buf_release_memory(&f->held);
    return f->verdict;
}

/* Our lines, the empty line, and then everything. */
static enum smtp_header_verdict leave_without_header(struct smtp_header_filter *f, struct buf *out)
{
    pass_header(f, SLICE_NONE, out);
    buf_add_str(out, "\r\n");
    buf_add_slice(out, buf_slice(&f->held));
    f->in_body = true;
    buf_release_memory(&f->held);
    return SMTP_HEADER_OK;
}

static enum smtp_header_verdict leave(
    struct smtp_header_filter *f, enum scan found, struct buf *out)
{
    return found == SCAN_END ? leave_header(f, f->scanned, out) : leave_without_header(f, out);
}

void smtp_header_filter_init(struct smtp_header_filter *f, const struct smtp_header_params *params)
{
    *f = (struct smtp_header_filter){ .params = *params };
    buf_init(&f->held, SMTP_HEADER_MAX);
}

void smtp_header_filter_fini(struct smtp_header_filter *f)
{
    buf_fini(&f->held);
}

/*
 * No end within the limit: where a line was seen that is no field, the text began there and lacks
 * the empty line before it.
 */
static enum smtp_header_verdict on_full(struct smtp_header_filter *f, struct buf *out)
{
    if (f->junk > 0)
        return leave_header(f, f->junk, out);
    buf_release_memory(&f->held);
    f->verdict = SMTP_HEADER_TOO_LONG;
    return f->verdict;
}

enum smtp_header_verdict smtp_header_filter_feed(
    struct smtp_header_filter *f, struct slice text, struct buf *out)
{
    if (f->verdict != SMTP_HEADER_OK)
        return f->verdict;
    if (!f->in_body) {
        size_t room = f->held.max - f->held.len;
        size_t n = text.n < room ? text.n : room;
        if (!buf_add(&f->held, text.p, n)) {
            out->failed = true; /* out of memory: not the message's fault */
            return SMTP_HEADER_OK;
        }
        text = slice_skip(text, n);
        enum scan found = scan_held(f);
        if (found == SCAN_MORE && text.n == 0)
            return SMTP_HEADER_OK;
        if ((found == SCAN_MORE ? on_full(f, out) : leave(f, found, out)) != SMTP_HEADER_OK)
            return f->verdict;
    }
    buf_add_slice(out, text);
    return SMTP_HEADER_OK;
}

bool smtp_header_filter_is_through(const struct smtp_header_filter *f)
{
    return f->in_body;
}

enum smtp_header_verdict smtp_header_filter_end(struct smtp_header_filter *f, struct buf *out)
{
    if (f->verdict != SMTP_HEADER_OK || f->in_body)
        return f->verdict;
    /* Canonical text ends in CRLF; if this one does not, the last line is completed. */
    if (f->scanned < f->held.len && !buf_add_str(&f->held, "\r\n"))
        return on_full(f, out);
    enum scan found = scan_held(f);
    if (found == SCAN_MORE && f->front > 0 && f->front == f->held.len)
        found = SCAN_NO_HEADER; /* an mbox line alone is text */
    return found == SCAN_MORE ? leave_header(f, f->held.len, out) : leave(f, found, out);
}
