#include "base/str.h"
#include "smtp/bounce_internal.h"
#include "smtp/header.h"

enum {
    RCPTS_IN_WORDS = 20, /* more recipients are in the part for programs only */
    SUBJECT_MAX = 200,   /* octets */
    SHOWN_FACTOR = 6,    /* str_add_printable makes up to six octets of one */
};

/* What to do, by enhanced code (RFC 3463, and Microsoft's list for Exchange); the first match
 * wins. */
static const struct {
    const char *pattern, *advice;
} rows[] = {
    { "4.4.7", "Ask your IT department whether the mail server was out of order, or refused the "
               "relay, for so long. Then send the message again." },
    { "5.1.7", "The sender's address is not one that the mail server takes. Correct it where the "
               "message was made." },
    { "5.1.8", "The sender's address is not one that the mail server takes. Correct it where the "
               "message was made." },
    { "5.1.*", "Check how the address is written, and whether this person still has it. Then send "
               "the message again." },
    { "5.2.2", "The mailbox is full. Tell its owner in another way, and send the message again "
               "later." },
    { "5.2.3", "The message is too large for this recipient. Send it without its attachments or in "
               "several messages." },
    { "5.2.*", "This mailbox cannot take mail now. Ask its owner or your IT department." },
    { "5.3.4", "The message is too large for the mail server. Send it without its attachments or "
               "in several messages." },
    { "5.4.*", "The mail server cannot find the way to this recipient. Check what follows the @ in "
               "the address." },
    { "5.5.3", "The message has too many recipients. Send it to fewer at a time." },
    { "5.7.60", "The account that the relay logs in with may not send in this sender's name. Your "
                "IT department can give it the right \"Send As\", or set force_sender at the "
                "relay." },
    { "5.7.*", "The mail server does not allow this. Your IT department can tell whether the "
               "sender may write to this recipient." },
    { "*", "Show this message to your IT department." },
};

static const char *advice(const struct smtp_bounce_rcpt *r)
{
    char status[BOUNCE_STATUS_SIZE];
    bounce_status(r, status);
    size_t i = 0;
    while (!str_glob_nocase(rows[i].pattern, slice_str(status)))
        i++; /* the last row matches everything */
    return rows[i].advice;
}

static void add_line(struct buf *out, const char *before, struct slice s, const char *after)
{
    buf_add_str(out, before);
    str_add_printable(out, s);
    buf_add_str(out, after);
    buf_add_str(out, "\r\n");
}

/* Words from elsewhere. */
static void add_said(struct buf *out, const char *before, struct slice said)
{
    struct buf shown;
    buf_init(&shown, BOUNCE_REPLY_MAX * SHOWN_FACTOR);
    str_add_printable(&shown, bounce_cut(said, BOUNCE_REPLY_MAX));
    bounce_add_folded(out, before, "        ", buf_slice(&shown));
    out->failed = out->failed || shown.failed;
    buf_fini(&shown);
}

/* ---- The message that failed ----------------------------------------------------------------- */

/* The Subject with its continuation lines, still with their ends; empty: there is none. */
static struct slice find_subject(struct slice header)
{
    static const struct slice name = { .p = "Subject:", .n = 8 };
    struct slice subject = SLICE_NONE;
    while (header.n > 0) {
        const char *lf = memchr(header.p, '\n', header.n);
        struct slice line = slice_of(header.p, lf ? (size_t)(lf - header.p) + 1 : header.n);
        header = slice_skip(header, line.n);
        bool goes_on = line.p[0] == ' ' || line.p[0] == '\t';
        if (subject.n > 0 && goes_on)
            subject.n += line.n;
        else if (subject.n > 0 || slice_trim(line).n == 0)
            break;
        else if (slice_starts_nocase(line, name))
            subject = slice_skip(line, name.n);
    }
    return slice_trim(subject);
}

/* A Subject that is encoded (RFC 2047) tells a person nothing: it is left out. */
static void add_subject(const struct smtp_bounce *b, struct buf *out)
{
    struct slice subject = find_subject(b->original);
    bool is_encoded = false;
    for (size_t i = 0; i + 1 < subject.n; i++)
        is_encoded = is_encoded || (subject.p[i] == '=' && subject.p[i + 1] == '?');
    if (subject.n == 0 || is_encoded || !str_is_utf8(subject))
        return;
    subject = bounce_cut(subject, SUBJECT_MAX);
    struct buf shown;
    buf_init(&shown, SUBJECT_MAX * SHOWN_FACTOR);
    for (size_t i = 0; i < subject.n; i++) {
        bool is_blank = subject.p[i] == '\r' || subject.p[i] == '\n' || subject.p[i] == '\t';
        buf_add_char(&shown, is_blank ? ' ' : subject.p[i]);
    }
    add_said(out, "  Subject:   ", buf_slice(&shown));
    out->failed = out->failed || shown.failed;
    buf_fini(&shown);
}

static void add_facts(const struct smtp_bounce *b, struct buf *out)
{
    add_line(out, "  From:      ", bounce_cut(b->sender, BOUNCE_ADDRESS_MAX), "");
    add_subject(b, out);
    buf_add_str(out, "  Accepted:  ");
    smtp_date_add(out, b->arrived);
    buf_add_str(out, "\r\n");
}

/* ---- Recipients ------------------------------------------------------------------------------ */

/* Whose words come next. */
static void add_who_said(
    const struct smtp_bounce *b, const struct smtp_bounce_rcpt *r, struct buf *out)
{
    struct slice server = bounce_cut(b->remote_mta, BOUNCE_ADDRESS_MAX);
    if (server.n == 0)
        server = SLICE_LIT("the mail server");
    buf_add_str(out, r->is_expired ? "      Tried many times, then given up. " : "      ");
    if (slice_trim(r->reply).n == 0)
        buf_add_str(out, "No server gave a reason.\r\n");
    else if (!bounce_has_reply(r))
        buf_add_str(out, r->is_expired ? "The last trouble was:\r\n" : "The trouble was:\r\n");
    else
        add_line(out, r->is_expired ? "The last words of " : "Refused by ", server, ":");
}

static void add_recipient(
    const struct smtp_bounce *b, const struct smtp_bounce_rcpt *r, struct buf *out)
{
    buf_add_str(out, "\r\n");
    add_line(out, "  ", bounce_cut(r->mailbox, BOUNCE_ADDRESS_MAX), "");
    add_who_said(b, r, out);
    struct slice said = slice_trim(r->reply);
    if (said.n > 0)
        add_said(out, "        ", said);
    bounce_add_folded(out, "      What to do: ", "      ", slice_str(advice(r)));
}

void bounce_add_words(const struct smtp_bounce *b, struct buf *out)
{
    add_line(out, "This is the mail relay on ", bounce_cut(b->hostname, BOUNCE_ADDRESS_MAX), ".");
    buf_addf(out, "\r\nA message could not be delivered to %s.\r\n",
        b->rcpt_count == 1 ? "this recipient" : "these recipients");
    buf_add_str(out, "It will not be tried again.\r\n\r\n");
    add_facts(b, out);
    for (size_t i = 0; i < b->rcpt_count && i < RCPTS_IN_WORDS; i++)
        add_recipient(b, &b->rcpts[i], out);
    if (b->rcpt_count > RCPTS_IN_WORDS)
        buf_addf(out,
            "\r\n  ... and %zu more; the second part of this message (Details) names them all.\r\n",
            b->rcpt_count - RCPTS_IN_WORDS);
    add_line(out,
        "\r\nIf you cannot put it right, forward this message to your IT department. They\r\n"
        "find what happened in the relay's log under the id ",
        bounce_cut(b->original_id, BOUNCE_ADDRESS_MAX), ".");
}
