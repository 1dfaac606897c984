#include "smtp/bounce.h"
#include "base/str.h"
#include "smtp/bounce_internal.h"
#include "smtp/header.h"
#include "smtp/quoted.h"

#include <assert.h>

enum {
    ID_MAX = 48, /* octets of our id in the boundary, which may have 70 (RFC 2046 5.1.1) */
    WORDS_MAX = SMTP_BOUNCE_MAX / 2,
};

/* ---- What the parts share -------------------------------------------------------------------- */

struct slice bounce_cut(struct slice s, size_t max)
{
    if (s.n <= max)
        return s;
    while (max > 0 && ((unsigned char)s.p[max] & 0xc0) == 0x80)
        max--;
    return slice_of(s.p, max);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Takes a word off the front of *text; empty when there is none left. */
static struct slice take_word(struct slice *text)
{
    size_t start = 0;
    while (start < text->n && is_blank(text->p[start]))
        start++;
    size_t end = start;
    while (end < text->n && !is_blank(text->p[end]))
        end++;
    struct slice word = slice_of(text->p + start, end - start);
    word = bounce_cut(word, SMTP_HEADER_LINE_MAX / 2);
    *text = slice_skip(*text, start + word.n);
    return word;
}

void bounce_add_folded(struct buf *out, const char *first, const char *next, struct slice text)
{
    buf_add_str(out, first);
    size_t column = strlen(first);
    struct slice word = take_word(&text);
    while (word.n > 0) {
        buf_add_slice(out, word);
        column += word.n;
        word = take_word(&text);
        bool is_over = column + 1 + word.n > BOUNCE_FOLD_COLUMN;
        if (word.n > 0)
            buf_addf(out, "%s%s", is_over ? "\r\n" : " ", is_over ? next : "");
        column = is_over ? strlen(next) : column + 1;
    }
    buf_add_str(out, "\r\n");
}

bool smtp_bounce_wants(struct slice notify)
{
    if (notify.n == 0)
        return true; /* RFC 3461 4.1: as if FAILURE had been asked for */
    while (notify.n > 0) {
        const char *comma = memchr(notify.p, ',', notify.n);
        size_t n = comma ? (size_t)(comma - notify.p) : notify.n;
        if (slice_eq_nocase(slice_trim(slice_of(notify.p, n)), SLICE_LIT("FAILURE")))
            return true;
        notify = slice_skip(notify, comma ? n + 1 : n);
    }
    return false;
}

/* ---- The header ------------------------------------------------------------------------------ */

/* A name or an id: nothing that has a meaning in a header. */
static void add_token(struct buf *out, struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool is_alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        buf_add_char(out, is_alnum || (c != '\0' && strchr(".-_", c)) ? c : '?');
    }
}

/* "Name: before <mailbox>": no control byte, and no byte above 127 that is not UTF-8 (RFC 6532). */
static void add_mailbox(struct buf *out, const char *before, struct slice mailbox)
{
    mailbox = bounce_cut(mailbox, BOUNCE_ADDRESS_MAX);
    bool is_utf8 = str_is_utf8(mailbox);
    buf_addf(out, "%s<", before);
    for (size_t i = 0; i < mailbox.n; i++) {
        unsigned char c = (unsigned char)mailbox.p[i];
        buf_add_char(out, c >= ' ' && c != 0x7f && (c < 0x7f || is_utf8) ? mailbox.p[i] : '?');
    }
    buf_add_str(out, ">\r\n");
}

static void add_from(const struct smtp_bounce *b, struct buf *out)
{
    if (b->from.n > 0) {
        add_mailbox(out, "From: Mail Delivery System\r\n ", b->from);
        return;
    }
    buf_add_str(out, "From: Mail Delivery System\r\n <MAILER-DAEMON@");
    add_token(out, bounce_cut(b->hostname, BOUNCE_ADDRESS_MAX));
    buf_add_str(out, ">\r\n");
}

/* "=_" is in no quoted-printable text (RFC 2045 6.7), and no part of ours has a line that begins
 * with "--": the parts cannot hold the boundary, whatever is in them. */
static void add_boundary(const struct smtp_bounce *b, struct buf *out)
{
    buf_add_str(out, "=_report_");
    add_token(out, bounce_cut(b->id, ID_MAX));
}

static void add_header(const struct smtp_bounce *b, struct buf *out)
{
    buf_add_str(out, "Date: ");
    smtp_date_add(out, b->now);
    buf_add_str(out, "\r\n");
    add_from(b, out);
    add_mailbox(out, "To: ", b->to);
    buf_add_str(out, "Subject: Your message could not be delivered\r\nMessage-ID: <");
    add_token(out, bounce_cut(b->id, BOUNCE_ADDRESS_MAX));
    buf_add_char(out, '@');
    add_token(out, bounce_cut(b->hostname, BOUNCE_ADDRESS_MAX));
    /* RFC 3834 5: so that nobody's out-of-office answers. */
    buf_add_str(out,
        ">\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"");
    add_boundary(b, out);
    buf_add_str(out, "\"\r\n");
}

/* ---- The parts ------------------------------------------------------------------------------- */

static void add_delimiter(const struct smtp_bounce *b, struct buf *out, const char *end)
{
    buf_add_str(out, "\r\n--");
    add_boundary(b, out);
    buf_add_str(out, end);
}

/* A part that is encoded when it must be; `text` ends in a line end or is empty. */
static void add_part(
    const struct smtp_bounce *b, struct buf *out, const char *type, struct slice text)
{
    bool is_quoted = smtp_quoted_is_needed(text);
    add_delimiter(b, out, "\r\n");
    buf_addf(out, "Content-Type: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n", type,
        is_quoted ? "quoted-printable" : "7bit");
    if (is_quoted)
        smtp_quoted_add(out, text);
    else
        buf_add_slice(out, text);
}

static void add_words(const struct smtp_bounce *b, struct buf *out)
{
    struct buf words;
    buf_init(&words, WORDS_MAX);
    bounce_add_words(b, &words);
    add_part(b, out, "text/plain; charset=utf-8", buf_slice(&words));
    out->failed = out->failed || words.failed;
    buf_fini(&words);
}

/* RFC 3464 2.1: never encoded. */
static void add_status(const struct smtp_bounce *b, struct buf *out)
{
    add_delimiter(b, out,
        "\r\nContent-Description: Details\r\n"
        "Content-Type: message/delivery-status\r\n\r\n");
    bounce_add_status(b, out);
}

/* The original's header without the empty line behind it, cut to whole lines. */
static struct slice original_header(struct slice text)
{
    struct slice rest = text;
    size_t n = 0;
    while (rest.n > 0) {
        const char *lf = memchr(rest.p, '\n', rest.n);
        struct slice line = slice_of(rest.p, lf ? (size_t)(lf - rest.p) + 1 : rest.n);
        bool is_empty = line.p[0] == '\n' || slice_eq(line, SLICE_LIT("\r\n"));
        if (!lf || is_empty || n + line.n > SMTP_BOUNCE_HEADER_MAX)
            break;
        n += line.n;
        rest = slice_skip(rest, line.n);
    }
    return slice_of(text.p, n);
}

bool smtp_bounce_add(const struct smtp_bounce *b, struct buf *out)
{
    assert(b->to.n > 0); /* there is no report on a message with the null sender */
    add_header(b, out);
    add_words(b, out);
    add_status(b, out);
    /* RFC 6522 4: quoted-printable is what repairs a header that is not 7-bit. */
    add_part(b, out, "text/rfc822-headers", original_header(b->original));
    add_delimiter(b, out, "--\r\n");
    return !out->failed;
}

bool smtp_bounce_needs_smtputf8(const struct smtp_bounce *b)
{
    bool is_needed = false;
    for (size_t i = 0; i < b->to.n; i++)
        is_needed = is_needed || (unsigned char)b->to.p[i] > 0x7f;
    for (size_t i = 0; i < b->from.n; i++)
        is_needed = is_needed || (unsigned char)b->from.p[i] > 0x7f;
    return is_needed;
}
