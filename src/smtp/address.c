#include "smtp/address.h"
#include "base/ip.h"
#include "base/str.h"

enum { LABEL_MAX = 63 }; /* RFC 1035 2.3.4 */

/* What is still unread, and why the reading failed. */
struct reader {
    struct slice rest;
    unsigned flags;
    bool is_strict; /* dots in the local part only where RFC 5321 has them */
    const char *why;
};

static bool fail(struct reader *r, const char *why)
{
    r->why = why;
    return false;
}

/* The next byte, -1 at the end. */
static int peek(const struct reader *r)
{
    return r->rest.n > 0 ? (unsigned char)r->rest.p[0] : -1;
}

static void skip(struct reader *r)
{
    r->rest = slice_skip(r->rest, 1);
}

static bool is_alnum(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* RFC 5322 3.2.3, and UTF-8's bytes as in RFC 6531 3.3. */
static bool is_atext(int c)
{
    return is_alnum(c) || c >= 0x80 || (c > 0 && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/*
 * RFC 5321 wants single dots between atoms. Mobile operators gave out "a..b@" and "a.@", and the
 * server behind us knows better which mailboxes it has: only the configuration is read strictly.
 */
static bool read_dot_string(struct reader *r)
{
    int before = '.';
    int c = peek(r);
    if (!is_atext(c) && c != '.')
        return fail(r, "The address has no local part before the @");
    for (; is_atext(c) || c == '.'; c = peek(r)) {
        if (r->is_strict && c == '.' && before == '.')
            return fail(r, "A dot is missing its neighbour in the local part of the address");
        before = c;
        skip(r);
    }
    if (r->is_strict && before == '.')
        return fail(r, "The local part of the address ends in a dot");
    return true;
}

/* RFC 5321 4.1.2: QcontentSMTP, no control characters even behind a backslash. */
static bool read_quoted_string(struct reader *r)
{
    skip(r);
    for (int c = peek(r); c != '"'; c = peek(r)) {
        if (c == '\\') {
            skip(r);
            c = peek(r);
            if (c > 0x7e)
                return fail(r, "A backslash in the address must stand before an ASCII character");
        }
        if (c < 0)
            return fail(r, "A quotation mark in the address is never closed");
        if (c < ' ' || c == 0x7f)
            return fail(r, "The address has a control character");
        skip(r);
    }
    skip(r);
    return true;
}

static bool literal_is_valid(struct slice text)
{
    struct slice inner = slice_of(text.p + 1, text.n - 2);
    static const struct slice tag = { .p = "IPv6:", .n = 5 };
    bool is_six = slice_starts_nocase(inner, tag);
    if (is_six)
        inner = slice_skip(inner, tag.n);
    struct ip_addr addr;
    bool has_colon = inner.n > 0 && memchr(inner.p, ':', inner.n);
    return has_colon == is_six && ip_parse(inner, &addr);
}

/*
 * Labels of letters, digits, hyphens, and underscores because Windows hosts have them; in UTF-8 as
 * U-labels when allowed. Hyphens may stand anywhere: they do no harm, and such hosts exist.
 */
static bool name_is_valid(struct slice text, bool allow_utf8)
{
    size_t label = 0;
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c == '.' ? label == 0 : !is_alnum(c) && c != '-' && c != '_' && c < 0x80)
            return false;
        label = c == '.' ? 0 : label + 1;
        if (label > LABEL_MAX || (c >= 0x80 && !allow_utf8))
            return false;
    }
    return label > 0 && str_is_utf8(text);
}

bool smtp_domain_is_valid(struct slice text, bool allow_utf8)
{
    if (text.n == 0 || text.n > SMTP_DOMAIN_MAX)
        return false;
    if (text.p[0] == '[')
        return text.n > 2 && text.p[text.n - 1] == ']' && literal_is_valid(text);
    return name_is_valid(text, allow_utf8);
}

/* Reads behind the @ up to what cannot belong to a domain. */
static bool read_domain(struct reader *r, struct slice *ret_domain)
{
    struct slice from = r->rest;
    if (peek(r) == '[') {
        while (peek(r) >= 0 && peek(r) != ']')
            skip(r);
        if (peek(r) < 0)
            return fail(r, "The address literal is missing its ]");
        skip(r);
    } else {
        while (peek(r) == '.' || is_atext(peek(r)))
            skip(r);
    }
    struct slice domain = slice_of(from.p, from.n - r->rest.n);
    if (domain.n == 0)
        return fail(r, "The address has no domain behind the @");
    if (domain.n > SMTP_DOMAIN_MAX)
        return fail(r, "The domain is longer than 255 octets");
    if (!smtp_domain_is_valid(domain, true))
        return fail(r, "The domain of the address is not valid");
    *ret_domain = domain;
    return true;
}

/* "@a,@b:" in front of the mailbox (RFC 5321 appendix C: accept it, ignore it). */
static bool skip_source_route(struct reader *r)
{
    while (peek(r) == '@') {
        skip(r);
        struct slice ignored;
        if (!read_domain(r, &ignored))
            return false;
        if (peek(r) == ':') {
            skip(r);
            return true;
        }
        if (peek(r) != ',')
            return fail(r, "The source route must end in a colon");
        skip(r);
    }
    return fail(r, "The source route is not valid");
}

static bool check_mailbox(struct reader *r, const struct smtp_path *path)
{
    if (path->local.n > SMTP_LOCAL_PART_MAX)
        return fail(r, "The local part of the address is longer than 64 octets");
    if (path->mailbox.n > SMTP_PATH_MAX - 2)
        return fail(r, "The address is longer than 256 octets");
    if (path->is_utf8 && !(r->flags & SMTP_ADDRESS_ALLOW_UTF8))
        return fail(r, "The address has characters outside ASCII");
    if (path->is_utf8 && !str_is_utf8(path->mailbox))
        return fail(r, "The address is not valid UTF-8");
    return true;
}

static bool has_8bit(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] >= 0x80)
            return true;
    }
    return false;
}

static bool read_mailbox(struct reader *r, struct smtp_path *path)
{
    if (peek(r) == '@' && !skip_source_route(r))
        return false;
    struct slice from = r->rest;
    if (!(peek(r) == '"' ? read_quoted_string(r) : read_dot_string(r)))
        return false;
    path->local = slice_of(from.p, from.n - r->rest.n);
    path->domain = SLICE_NONE;
    if (peek(r) == '@') {
        skip(r);
        if (!read_domain(r, &path->domain))
            return false;
    } else if (!(r->flags & SMTP_ADDRESS_ALLOW_LOCAL)) {
        return fail(r, "The address has no @domain");
    }
    path->mailbox = slice_of(from.p, from.n - r->rest.n);
    path->is_utf8 = has_8bit(path->mailbox);
    return check_mailbox(r, path);
}

/* Between "<" and ">". */
static bool read_bracketed(struct reader *r, struct smtp_path *path)
{
    skip(r);
    if (peek(r) == '>') {
        if (!(r->flags & SMTP_ADDRESS_ALLOW_NULL))
            return fail(r, "The address between < and > is empty");
        skip(r);
        *path = (struct smtp_path){ .mailbox = SLICE_NONE };
        return true;
    }
    if (!read_mailbox(r, path))
        return false;
    if (peek(r) < 0)
        return fail(r, "The address is missing its >");
    if (peek(r) != '>')
        return fail(r, "The address has a character that does not belong there");
    skip(r);
    return true;
}

/* "Joe Doe <joe@example.com>", as in a header. */
static bool has_name_before(struct slice text)
{
    for (size_t i = 1; i < text.n; i++) {
        if (text.p[i] == '<' && (text.p[i - 1] == ' ' || text.p[i - 1] == '"'))
            return true;
    }
    return false;
}

static bool read_bare(struct reader *r, struct smtp_path *path)
{
    if (!(r->flags & SMTP_ADDRESS_ALLOW_BARE))
        return fail(r, "The address must stand in < and >");
    if (has_name_before(r->rest))
        return fail(r, "The address must stand alone in < and >, without a name before it");
    if (!read_mailbox(r, path))
        return false;
    int c = peek(r);
    if (c >= 0 && c != ' ' && c != '\t')
        return fail(r, "The address has a character that does not belong there");
    return true;
}

bool smtp_path_parse(struct slice text, unsigned flags, struct smtp_path *ret_path,
    struct slice *ret_rest, const char **ret_why)
{
    struct reader r = { .rest = text, .flags = flags };
    struct smtp_path path;
    bool is_read = false;
    if (peek(&r) < 0)
        fail(&r, "The address is missing");
    else
        is_read = peek(&r) == '<' ? read_bracketed(&r, &path) : read_bare(&r, &path);
    if (!is_read) {
        *ret_why = r.why;
        return false;
    }
    *ret_path = path;
    *ret_rest = r.rest;
    return true;
}

bool smtp_mailbox_is_valid(struct slice text)
{
    struct reader r = { .rest = text, .is_strict = true };
    struct smtp_path path;
    return peek(&r) != '@' && read_mailbox(&r, &path) && r.rest.n == 0;
}
