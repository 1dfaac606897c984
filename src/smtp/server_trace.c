/*
 * The dialogue as it is shown to the log at debug level. What belongs to a login is replaced here,
 * so that no secret leaves the machine this way, whatever the client makes of its lines.
 */
#include "smtp/server_internal.h"

enum { SHOWN_MAX = 64 };

static const struct slice redacted = { .p = "[redacted]", .n = 10 };

static void trace_received(struct smtp_server *s, struct slice line)
{
    s->trace(s->trace_user, false, line);
}

static struct slice next_word(struct slice *rest)
{
    size_t from = 0;
    while (from < rest->n && (rest->p[from] == ' ' || rest->p[from] == '\t'))
        from++;
    size_t to = from;
    while (to < rest->n && rest->p[to] != ' ' && rest->p[to] != '\t')
        to++;
    struct slice word = slice_of(rest->p + from, to - from);
    *rest = slice_skip(*rest, to);
    return word;
}

/* Anything else behind AUTH may be a response that lost its mechanism, and is not shown. */
static bool is_known_mechanism(struct slice word)
{
    static const char *const names[] = { "PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5", "NTLM",
        "GSSAPI", "SCRAM-SHA-1", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER", "EXTERNAL" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (slice_eq_nocase(word, slice_str(names[i])))
            return true;
    return false;
}

/* "AUTH NTLM [redacted]": the verb and the mechanism, never what follows. */
static void trace_auth(struct smtp_server *s, struct slice rest)
{
    struct slice verb = next_word(&rest);
    struct slice mech = next_word(&rest);
    bool is_shown = slice_eq_nocase(verb, SLICE_LIT("AUTH")) && is_known_mechanism(mech);
    struct buf shown;
    buf_init(&shown, SHOWN_MAX);
    buf_add_str(&shown, "AUTH");
    if (is_shown) {
        buf_add_char(&shown, ' ');
        buf_add_slice(&shown, mech);
    }
    if (is_shown ? slice_trim(rest).n > 0 : verb.n + mech.n > 4)
        buf_add_str(&shown, " [redacted]");
    trace_received(s, buf_slice(&shown));
    buf_fini(&shown);
}

void server_trace_command(struct smtp_server *s)
{
    if (!s->trace)
        return;
    struct slice line = buf_slice(&s->line);
    if (s->is_line_too_long) {
        trace_received(s, SLICE_LIT("[line too long]"));
    } else if (slice_starts_nocase(slice_trim(line), SLICE_LIT("AUTH"))) {
        s->is_trace_hushed = true;
        trace_auth(s, line);
    } else if (s->is_trace_hushed && !s->is_line_valid) {
        /* Some programs go on with user name and password although AUTH was refused. */
        trace_received(s, redacted);
    } else {
        s->is_trace_hushed = false;
        trace_received(s, line);
    }
}

void server_trace_auth_line(struct smtp_server *s)
{
    if (!s->trace)
        return;
    bool is_cancel = slice_eq(buf_slice(&s->line), SLICE_LIT("*"));
    s->is_trace_hushed = true;
    trace_received(s, is_cancel ? SLICE_LIT("*") : redacted);
}

void server_trace_sent(struct smtp_server *s, size_t from)
{
    if (!s->trace)
        return;
    struct slice rest = slice_skip(buf_slice(&s->out), from);
    while (rest.n > 0) {
        const char *lf = memchr(rest.p, '\n', rest.n);
        size_t n = lf ? (size_t)(lf - rest.p) + 1 : rest.n;
        struct slice line = slice_of(rest.p, n);
        while (line.n > 0 && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r'))
            line.n--;
        /* A challenge: NTLM's Type 2 names the domain and is half of what a cracker needs. */
        bool is_challenge = slice_starts_nocase(line, SLICE_LIT("334"));
        s->trace(s->trace_user, true, is_challenge ? SLICE_LIT("334 [redacted]") : line);
        rest = slice_skip(rest, n);
    }
}
