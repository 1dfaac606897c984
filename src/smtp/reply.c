#include "smtp/reply.h"
#include "base/str.h"

enum { SHOWN_MAX = 48 }; /* octets of a bad line in the error; each may be shown as six */

void smtp_reply_init(struct smtp_reply *r)
{
    *r = (struct smtp_reply){ .code = 0 };
    buf_init(&r->text, SMTP_REPLY_MAX);
}

void smtp_reply_fini(struct smtp_reply *r)
{
    buf_fini(&r->text);
}

void smtp_reply_clear(struct smtp_reply *r)
{
    r->code = 0;
    buf_clear(&r->text);
}

bool smtp_reply_copy(struct smtp_reply *to, const struct smtp_reply *from)
{
    if (to == from)
        return true;
    smtp_reply_clear(to);
    if (!buf_add_slice(&to->text, buf_slice(&from->text)))
        return false;
    to->code = from->code;
    return true;
}

bool smtp_reply_set(struct smtp_reply *r, unsigned code, const char *text)
{
    smtp_reply_clear(r);
    r->code = code;
    return buf_add_str(&r->text, text);
}

unsigned smtp_reply_class(const struct smtp_reply *r)
{
    return r->code / 100;
}

/* Length of the 1 to 3 digits at the front, 0 when there are none or more. */
static size_t digits(struct slice s)
{
    size_t n = 0;
    while (n < s.n && s.p[n] >= '0' && s.p[n] <= '9')
        n++;
    return n <= 3 ? n : 0;
}

struct slice smtp_reply_status(const struct smtp_reply *r)
{
    /* RFC 2034 4, RFC 3463 2: class "." subject "." detail, the class that of the reply. */
    struct slice text = buf_slice(&r->text);
    size_t n = 0;
    for (unsigned part = 0; part < 3; part++) {
        size_t len = digits(slice_skip(text, n));
        bool is_wrong =
            len == 0 || (part == 0 && (len != 1 || text.p[0] != '0' + (char)(r->code / 100)));
        n += len;
        if (is_wrong || (part < 2 && (n == text.n || text.p[n++] != '.')))
            return SLICE_NONE;
    }
    bool is_whole = n == text.n || text.p[n] == ' ' || text.p[n] == '\t' || text.p[n] == '\n';
    return is_whole ? slice_of(text.p, n) : SLICE_NONE;
}

/* Takes one line off the front of *text, without its \n. */
static struct slice take_line(struct slice *text)
{
    const char *end = text->n > 0 ? memchr(text->p, '\n', text->n) : NULL;
    struct slice line = end ? slice_of(text->p, (size_t)(end - text->p)) : *text;
    *text = end ? slice_skip(*text, line.n + 1) : SLICE_NONE;
    return line;
}

static bool add_code(struct buf *out, unsigned code)
{
    const char digits[] = { (char)('0' + code / 100 % 10), (char)('0' + code / 10 % 10),
        (char)('0' + code % 10) };
    return buf_add(out, digits, sizeof digits);
}

bool smtp_reply_add_oneline(const struct smtp_reply *r, struct buf *out)
{
    if (r->code == 0)
        return true;
    bool fits = add_code(out, r->code);
    const char *joint = " ";
    for (struct slice rest = buf_slice(&r->text); rest.n > 0; joint = " / ") {
        struct slice line = slice_trim(take_line(&rest));
        fits = fits && (line.n == 0 || (buf_add_str(out, joint) && str_add_printable(out, line)));
    }
    return fits;
}

/* Text for the wire or for keeps: no control bytes, so that no reader sees a line end in it. */
static bool add_clean(struct buf *out, struct slice s)
{
    char *to = buf_reserve(out, s.n);
    if (!to)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        to[i] = (c < ' ' && c != '\t') || c == 0x7f ? '?' : s.p[i];
    }
    buf_commit(out, s.n);
    return true;
}

bool smtp_reply_add_wire(const struct smtp_reply *r, struct buf *out)
{
    struct slice rest = buf_slice(&r->text);
    bool fits = true, is_last;
    do {
        const char *end = rest.n > 0 ? memchr(rest.p, '\n', rest.n) : NULL;
        struct slice line = take_line(&rest);
        is_last = !end;
        /* RFC 5321 4.2: the blank is there also when no text follows. */
        fits = fits && add_code(out, r->code) && buf_add_char(out, is_last ? ' ' : '-') &&
               add_clean(out, line) && buf_add_str(out, "\r\n");
    } while (!is_last);
    return fits;
}

/* ---- Parser -------------------------------------------------------------------------- */

void smtp_reply_parser_init(struct smtp_reply_parser *p)
{
    *p = (struct smtp_reply_parser){ .is_complete = false };
    buf_init(&p->line, SMTP_REPLY_LINE_MAX);
    smtp_reply_init(&p->reply);
}

void smtp_reply_parser_fini(struct smtp_reply_parser *p)
{
    buf_fini(&p->line);
    smtp_reply_fini(&p->reply);
}

static enum smtp_reply_feed bad_line(
    struct smtp_reply_parser *p, struct err *e, const char *why, struct slice line)
{
    struct buf shown;
    buf_init(&shown, ERR_TEXT_MAX);
    bool is_cut = line.n > SHOWN_MAX;
    if (is_cut)
        line.n = SHOWN_MAX;
    str_add_printable(&shown, line);
    err_set(e, ERR_PROTO, "%s: '%s%s'", why, buf_cstr(&shown), is_cut ? "..." : "");
    buf_fini(&shown);
    buf_clear(&p->line);
    smtp_reply_clear(&p->reply);
    return SMTP_REPLY_BAD;
}

/* The code at the front of a line, 0 when there is none of 200..599. */
static unsigned line_code(struct slice line)
{
    if (line.n < 3)
        return 0;
    unsigned code = 0;
    for (unsigned i = 0; i < 3; i++) {
        if (line.p[i] < '0' || line.p[i] > '9')
            return 0;
        code = code * 10 + (unsigned)(line.p[i] - '0');
    }
    return code >= 200 && code <= 599 ? code : 0;
}

/* One line, complete and without its end. */
static enum smtp_reply_feed take_reply_line(
    struct smtp_reply_parser *p, struct slice line, struct err *e)
{
    unsigned code = line_code(line);
    char separator = line.n > 3 ? line.p[3] : ' '; /* RFC 5321 4.2: "250" alone may be sent */
    if (code == 0 || (separator != ' ' && separator != '-'))
        return bad_line(p, e, "the server sent what is no SMTP reply", line);
    struct smtp_reply *r = &p->reply;
    if (r->code != 0 && r->code != code)
        return bad_line(p, e, "the server changed the code within one reply", line);
    bool fits = r->code == 0 || buf_add_char(&r->text, '\n');
    r->code = code;
    fits = fits && add_clean(&r->text, line.n > 4 ? slice_skip(line, 4) : SLICE_NONE);
    if (!fits)
        return bad_line(p, e, "the server sent a reply that is too long", line);
    return separator == '-' ? SMTP_REPLY_MORE : SMTP_REPLY_DONE;
}

enum smtp_reply_feed smtp_reply_parser_feed(
    struct smtp_reply_parser *p, struct slice *in, struct err *e)
{
    if (p->is_complete)
        smtp_reply_clear(&p->reply);
    p->is_complete = false;
    while (in->n > 0) {
        const char *end = memchr(in->p, '\n', in->n);
        size_t n = end ? (size_t)(end - in->p) : in->n;
        if (!buf_add(&p->line, in->p, n))
            return bad_line(p, e, "the server sent a line that is too long", buf_slice(&p->line));
        *in = slice_skip(*in, end ? n + 1 : n);
        if (!end)
            return SMTP_REPLY_MORE;
        struct slice line = buf_slice(&p->line);
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        enum smtp_reply_feed result = take_reply_line(p, line, e);
        buf_clear(&p->line);
        p->is_complete = result == SMTP_REPLY_DONE;
        if (result != SMTP_REPLY_MORE)
            return result;
    }
    return SMTP_REPLY_MORE;
}
