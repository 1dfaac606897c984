#include "base/ip.h"
#include "base/str.h"
#include "smtp/bounce_internal.h"
#include "smtp/header.h"
#include "smtp/reply.h"

#include <stdio.h>

enum {
    ENVID_MAX = 100, /* octets, RFC 3461 4.4 */
    ORCPT_MAX = 500, /* octets, RFC 3461 4.2 */
    ADDRESS_LINE_MAX = SMTP_HEADER_LINE_MAX - 1,
};

bool bounce_has_reply(const struct smtp_bounce_rcpt *r)
{
    struct slice s = r->reply;
    bool has_code = s.n >= 3 && (s.p[0] == '4' || s.p[0] == '5') && s.p[1] >= '0' &&
                    s.p[1] <= '9' && s.p[2] >= '0' && s.p[2] <= '9';
    return has_code && (s.n == 3 || s.p[3] == ' ');
}

/* The enhanced code at the front of a reply's text, when it has one. */
static bool reply_status(struct slice reply, char status[BOUNCE_STATUS_SIZE])
{
    struct smtp_reply parsed;
    smtp_reply_init(&parsed);
    parsed.code = (unsigned)(reply.p[0] - '0') * 100;
    buf_add_slice(&parsed.text, bounce_cut(slice_skip(reply, reply.n > 3 ? 4 : 3), 16));
    struct slice found = smtp_reply_status(&parsed);
    bool is_found = found.n > 0 && found.n < BOUNCE_STATUS_SIZE;
    if (is_found)
        snprintf(status, BOUNCE_STATUS_SIZE, "%.*s", SLICE_ARG(found));
    smtp_reply_fini(&parsed);
    return is_found;
}

void bounce_status(const struct smtp_bounce_rcpt *r, char status[BOUNCE_STATUS_SIZE])
{
    /* RFC 3463 3.5: 4.4.7 is "delivery time expired"; 5.0.0 says no more than "failed for good". */
    snprintf(status, BOUNCE_STATUS_SIZE, "%s", r->is_expired ? "4.4.7" : "5.0.0");
    if (!r->is_expired && bounce_has_reply(r) && r->reply.p[0] == '5')
        reply_status(r->reply, status);
}

/* ---- Values ---------------------------------------------------------------------------------- */

/* RFC 3464 2.1.1: the part is 7-bit. */
static void add_ascii(struct buf *out, struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        buf_add_char(out, s.p[i] >= ' ' && s.p[i] < 0x7f ? s.p[i] : '?');
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/*
 * RFC 3461 4: "+2B" is a "+". What would be no printable character stays as it was given: decoded
 * it could end our line.
 */
static void add_xtext_decoded(struct buf *out, struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        bool is_escape = s.p[i] == '+' && s.n - i >= 3;
        int high = is_escape ? hex_digit(s.p[i + 1]) : -1;
        int low = is_escape ? hex_digit(s.p[i + 2]) : -1;
        int byte = high >= 0 && low >= 0 ? high * 16 + low : -1;
        if (byte >= ' ' && byte < 0x7f) {
            buf_add_char(out, (char)byte);
            i += 2;
        } else {
            add_ascii(out, slice_of(s.p + i, 1));
        }
    }
}

/* The character at the front of well-formed UTF-8. */
static uint32_t take_character(struct slice *s)
{
    const unsigned char *p = (const unsigned char *)s->p;
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    uint32_t character = n == 1 ? p[0] : p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++)
        character = character << 6 | (p[i] & 0x3fu);
    *s = slice_skip(*s, n);
    return character;
}

/* RFC 6533 3, utf-8-addr-xtext: the 7-bit form of an address of type utf-8. `is_encoded`: it is
 * that form already, but for characters beyond ASCII. */
static void add_utf8_address(struct buf *out, struct slice s, bool is_encoded)
{
    while (s.n > 0) {
        uint32_t c = take_character(&s);
        bool is_special = c == '\\' || c == '+' || c == '=';
        if (c > ' ' && c < 0x7f && (is_encoded || !is_special))
            buf_add_char(out, (char)c);
        else
            buf_addf(out, "\\x{%02X}", c);
    }
}

static bool is_ascii(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] > 0x7f)
            return false;
    }
    return true;
}

/* ---- Fields ---------------------------------------------------------------------------------- */

/* An address may have blanks in quotation marks: it stays as it is, on a line of its own if long.
 * One that no line can hold is no mailbox that anybody has. */
static void add_address_field(
    struct buf *out, const char *name, struct slice type, struct slice address)
{
    if (address.n > ADDRESS_LINE_MAX)
        return;
    bool is_long = strlen(name) + type.n + 4 + address.n > BOUNCE_FOLD_COLUMN;
    buf_addf(out, "%s: ", name);
    add_ascii(out, type);
    buf_add_str(out, is_long ? ";\r\n " : "; ");
    buf_add_slice(out, address);
    buf_add_str(out, "\r\n");
}

static void add_final_recipient(struct buf *out, struct slice mailbox)
{
    mailbox = bounce_cut(mailbox, BOUNCE_ADDRESS_MAX);
    bool is_international = !is_ascii(mailbox) && str_is_utf8(mailbox);
    struct buf address;
    buf_init(&address, SMTP_BOUNCE_RCPT_MAX);
    if (is_international)
        add_utf8_address(&address, mailbox, false);
    else
        add_ascii(&address, mailbox);
    add_address_field(out, "Final-Recipient",
        is_international ? SLICE_LIT("utf-8") : SLICE_LIT("rfc822"), buf_slice(&address));
    out->failed = out->failed || address.failed;
    buf_fini(&address);
}

/* RFC 3464 2.3.1: the client's own name for the recipient, decoded. */
static void add_original_recipient(struct buf *out, struct slice orcpt)
{
    const char *semicolon = orcpt.n > 0 ? memchr(orcpt.p, ';', orcpt.n) : NULL;
    if (!semicolon)
        return;
    struct slice type = slice_of(orcpt.p, (size_t)(semicolon - orcpt.p));
    struct slice encoded = bounce_cut(slice_skip(orcpt, type.n + 1), ORCPT_MAX);
    struct buf address;
    buf_init(&address, SMTP_BOUNCE_RCPT_MAX);
    if (slice_eq_nocase(type, SLICE_LIT("utf-8")) && str_is_utf8(encoded))
        add_utf8_address(&address, encoded, true);
    else
        add_xtext_decoded(&address, encoded);
    add_address_field(out, "Original-Recipient", bounce_cut(type, 32), buf_slice(&address));
    out->failed = out->failed || address.failed;
    buf_fini(&address);
}

/* A name or an address literal (RFC 3464 2.3.5); IP addresses get their brackets. */
static void add_mta(struct buf *out, const char *field, struct slice name)
{
    struct ip_addr ip;
    bool is_ip = ip_parse(name, &ip);
    buf_addf(out, "%s: dns; %s%s", field, is_ip ? "[" : "", is_ip && ip.len == 16 ? "IPv6:" : "");
    add_ascii(out, bounce_cut(name, BOUNCE_ADDRESS_MAX));
    buf_add_str(out, is_ip ? "]\r\n" : "\r\n");
}

/* RFC 3464 2.3.6; what no server said gets a type of our own (2.1.2 reserves "X-"). */
static void add_diagnostic(struct buf *out, const struct smtp_bounce_rcpt *r)
{
    struct slice said = slice_trim(bounce_cut(r->reply, BOUNCE_REPLY_MAX));
    if (said.n == 0)
        return;
    struct buf line;
    buf_init(&line, BOUNCE_REPLY_MAX + 32);
    buf_add_str(&line, bounce_has_reply(r) ? "smtp; " : "X-submitd; ");
    add_ascii(&line, said);
    bounce_add_folded(out, "Diagnostic-Code: ", " ", buf_slice(&line));
    out->failed = out->failed || line.failed;
    buf_fini(&line);
}

static void add_recipient(
    const struct smtp_bounce *b, const struct smtp_bounce_rcpt *r, struct buf *out)
{
    char status[BOUNCE_STATUS_SIZE];
    bounce_status(r, status);
    buf_add_str(out, "\r\n");
    add_original_recipient(out, r->orcpt);
    add_final_recipient(out, r->mailbox);
    buf_addf(out, "Action: failed\r\nStatus: %s\r\n", status);
    if (b->remote_mta.n > 0 && bounce_has_reply(r))
        add_mta(out, "Remote-MTA", b->remote_mta);
    add_diagnostic(out, r);
}

void bounce_add_status(const struct smtp_bounce *b, struct buf *out)
{
    add_mta(out, "Reporting-MTA", b->hostname);
    if (b->envid.n > 0) {
        buf_add_str(out, "Original-Envelope-Id: ");
        add_xtext_decoded(out, bounce_cut(b->envid, ENVID_MAX));
        buf_add_str(out, "\r\n");
    }
    buf_add_str(out, "Arrival-Date: ");
    smtp_date_add(out, b->arrived);
    buf_add_str(out, "\r\n");
    for (size_t i = 0; i < b->rcpt_count; i++)
        add_recipient(b, &b->rcpts[i], out);
}
