/*
 * What each command does, and what each answer to it means. A new verb is one row and one function.
 */
#include "smtp/server_internal.h"

#include <assert.h>
#include <stdlib.h>

typedef enum progress command_fn(struct smtp_server *s, struct smtp_event *ev);

static command_fn on_hello, on_mail, on_rcpt, on_data, on_bdat, on_rset, on_noop, on_vrfy, on_help,
    on_quit, on_starttls, on_auth;

/*
 * RFC 2920 3.1: EHLO, DATA, VRFY, EXPN, QUIT and NOOP must be the last of a group, HELO likewise;
 * RFC 3207 4 and RFC 4954 4 say the same of STARTTLS and AUTH. Only RCPT depends on nothing but
 * MAIL, so it alone does not wait for the answers to earlier commands.
 */
static const struct command {
    bool is_alone; /* nothing may come behind it before its reply has left */
    bool waits;    /* for the answers to all earlier commands */
    command_fn *run;
} commands[] = {
    [SMTP_VERB_EHLO] = { .is_alone = true, .waits = true, .run = on_hello },
    [SMTP_VERB_HELO] = { .is_alone = true, .waits = true, .run = on_hello },
    [SMTP_VERB_MAIL] = { .is_alone = false, .waits = true, .run = on_mail },
    [SMTP_VERB_RCPT] = { .is_alone = false, .waits = false, .run = on_rcpt },
    [SMTP_VERB_DATA] = { .is_alone = true, .waits = true, .run = on_data },
    [SMTP_VERB_BDAT] = { .is_alone = false, .waits = true, .run = on_bdat },
    [SMTP_VERB_RSET] = { .is_alone = false, .waits = true, .run = on_rset },
    [SMTP_VERB_NOOP] = { .is_alone = true, .waits = true, .run = on_noop },
    [SMTP_VERB_VRFY] = { .is_alone = true, .waits = true, .run = on_vrfy },
    [SMTP_VERB_EXPN] = { .is_alone = true, .waits = true, .run = on_vrfy },
    [SMTP_VERB_HELP] = { .is_alone = false, .waits = true, .run = on_help },
    [SMTP_VERB_QUIT] = { .is_alone = true, .waits = true, .run = on_quit },
    [SMTP_VERB_STARTTLS] = { .is_alone = true, .waits = true, .run = on_starttls },
    [SMTP_VERB_AUTH] = { .is_alone = true, .waits = true, .run = on_auth },
};
static_assert(ARRAY_LEN(commands) == SMTP_VERB_COUNT, "every verb has a row");

static const struct refusal hello_first = { 503, "5.5.1", "say EHLO or HELO first" };
static const struct refusal mail_first = { 503, "5.5.1", "send MAIL first" };
static const struct refusal no_recipients = { 554, "5.5.1", "no valid recipients" };

bool server_may_pipeline(const struct smtp_server *s)
{
    return (s->caps & SMTP_CAP_PIPELINING) != 0;
}

void server_count_fault(struct smtp_server *s)
{
    static const struct refusal too_many = { 421, "4.7.0", "too many errors, closing" };
    s->faults++;
    if (s->params.errors_max > 0 && s->faults >= s->params.errors_max)
        server_end(s, &too_many, "too many errors");
}

/* ---- lines that are no command --------------------------------------------------------------- */

/*
 * A web page can make a browser post to any port, and the form's content would be taken for
 * commands. The request line or the Host line gives it away before anything of the page is read.
 */
static bool looks_like_http(struct slice line)
{
    static const char *const starts[] = { "GET ", "POST ", "PUT ", "HEAD ", "OPTIONS ", "CONNECT ",
        "Host:" };
    for (size_t i = 0; i < ARRAY_LEN(starts); i++)
        if (slice_starts_nocase(line, slice_str(starts[i])))
            return true;
    return false;
}

/* Nobody is left to send it to, and MAIL waits for all answers: this transaction leads nowhere. */
static bool is_refused_whole(const struct smtp_server *s)
{
    return s->state == WANT_RCPT && s->has_refused && s->recipients == 0 && s->open.count == 0;
}

/* The MAIL behind it is refused: what follows it must not go to the one before. */
static enum progress end_refused_whole(struct smtp_server *s, struct smtp_event *ev)
{
    server_forget_transaction(s);
    *ev = (struct smtp_event){ .kind = SMTP_EV_RESET };
    return HAVE_EVENT;
}

/* What its client took for a command is one all the same: a recipient that was not accepted, or the
 * end of a transaction that leads nowhere (see on_mail). */
static enum progress heed_bad_line(struct smtp_server *s, struct slice line, struct smtp_event *ev)
{
    if (slice_starts_nocase(line, SLICE_LIT("RCPT")))
        s->has_refused = true;
    bool is_mail = slice_starts_nocase(line, SLICE_LIT("MAIL"));
    return is_mail && is_refused_whole(s) ? end_refused_whole(s, ev) : GO_ON;
}

static enum progress refuse_line(struct smtp_server *s, struct smtp_event *ev)
{
    static const struct refusal not_http = { 554, "5.5.0", "this is SMTP, not HTTP" };
    struct slice line = slice_trim(buf_slice(&s->line));
    if (looks_like_http(line)) {
        server_end(s, &not_http, "HTTP request");
        return GO_ON;
    }
    server_refuse(
        s, &(struct refusal){
               .code = s->syntax.code, .status = s->syntax.status, .text = s->syntax.text });
    /* How many octets belong to a BDAT that cannot be read is unknown; they must not become
     * commands. */
    if (slice_starts_nocase(line, SLICE_LIT("BDAT")))
        server_end(s, NULL, "BDAT without a size");
    return heed_bad_line(s, line, ev);
}

/* ---- order ----------------------------------------------------------------------------------- */

/* As long as answers are open, nobody knows whether this recipient is one too many. */
static bool rcpt_must_wait(const struct smtp_server *s)
{
    unsigned max = s->params.recipients_max;
    return max > 0 && s->recipients + s->open.count >= max;
}

bool server_line_must_wait(const struct smtp_server *s)
{
    if (s->open.count == 0)
        return false;
    if (s->open.count >= SMTP_OPEN_COMMANDS_MAX)
        return true;
    if (!s->is_line_valid)
        return false;
    return commands[s->command.verb].waits ||
           (s->command.verb == SMTP_VERB_RCPT && rcpt_must_wait(s));
}

enum progress server_run_line(struct smtp_server *s, struct smtp_event *ev)
{
    server_trace_command(s);
    s->is_alone = !server_may_pipeline(s);
    if (!s->is_line_valid)
        return refuse_line(s, ev);
    const struct command *c = &commands[s->command.verb];
    s->is_alone = s->is_alone || c->is_alone;
    return c->run(s, ev);
}

static enum progress refuse(struct smtp_server *s, const struct refusal *r)
{
    server_refuse(s, r);
    return GO_ON;
}

/* Our own `r` follows from the refusal that came before. When that was temporary, a program that
 * looks at this reply only must not take the message for refused for good. */
static enum progress refuse_like_before(struct smtp_server *s, const struct refusal *r)
{
    if (s->deferral.len == 0)
        return refuse(s, r);
    server_say_deferral(s);
    return GO_ON;
}

/* Gives `then`, behind SMTP_EV_RESET when it cuts a transaction off. */
static enum progress give_behind_reset(
    struct smtp_server *s, struct smtp_event *ev, struct smtp_event then)
{
    if (!smtp_server_in_transaction(s)) {
        *ev = then;
        return HAVE_EVENT;
    }
    server_forget_transaction(s);
    server_queue_event(s, then);
    *ev = (struct smtp_event){ .kind = SMTP_EV_RESET };
    return HAVE_EVENT;
}

/* ---- the commands, in the order of the table ------------------------------------------------- */

static enum progress on_hello(struct smtp_server *s, struct smtp_event *ev)
{
    char *helo = slice_dup(s->command.arg);
    buf_release_memory(&s->deferral);
    s->is_out_of_memory = !helo;
    free(s->helo);
    s->helo = helo;
    s->is_esmtp = s->command.verb == SMTP_VERB_EHLO;
    return give_behind_reset(s, ev,
        (struct smtp_event){ .kind = SMTP_EV_HELLO,
            .ticket = server_open_ticket(s, SMTP_EV_HELLO),
            .text = slice_str(helo),
            .is_ehlo = s->is_esmtp });
}

/* The first thing that is wrong with this MAIL, NULL when the owner may see it. */
static const struct refusal *mail_refusal(const struct smtp_server *s)
{
    static const struct refusal nested = { 503, "5.5.1",
        "MAIL was given already, send RSET to start again" };
    static const struct refusal tls_first = { 530, "5.7.0", "send STARTTLS first" };
    static const struct refusal auth_first = { 530, "5.7.57",
        "client was not authenticated to send mail" };
    static const struct refusal too_big = { 552, "5.3.4", "message is larger than the limit" };
    const struct smtp_mail *mail = &s->command.mail;
    /* RFC 5321 4.1.4: a client must say EHLO first. Exchange insists on it, so we may, too. */
    if (s->state == WANT_HELLO)
        return &hello_first;
    if (s->state != WANT_MAIL && !is_refused_whole(s))
        return &nested;
    if (s->params.require_tls && !s->has_tls)
        return &tls_first;
    if (s->params.require_auth && !s->is_authenticated)
        return &auth_first;
    return s->size_limit > 0 && mail->size > s->size_limit ? &too_big : NULL;
}

static enum progress on_mail(struct smtp_server *s, struct smtp_event *ev)
{
    const struct refusal *why_not = mail_refusal(s);
    bool ends_another = is_refused_whole(s);
    if (why_not) {
        refuse(s, why_not);
        return ends_another ? end_refused_whole(s, ev) : GO_ON;
    }
    enum progress p = give_behind_reset(s, ev,
        (struct smtp_event){ .kind = SMTP_EV_MAIL,
            .ticket = server_open_ticket(s, SMTP_EV_MAIL),
            .mail = &s->command.mail });
    server_forget_transaction(s);
    s->is_utf8 = s->command.mail.smtputf8;
    server_set_state(s, AWAIT_MAIL);
    return p;
}

static enum progress on_rcpt(struct smtp_server *s, struct smtp_event *ev)
{
    static const struct refusal too_late = { 503, "5.5.1",
        "the message has begun, no more recipients" };
    static const struct refusal too_many = { 452, "4.5.3", "too many recipients" };
    static const struct refusal not_ascii = { 553, "5.6.7",
        "an address outside ASCII needs the parameter SMTPUTF8 in MAIL" };
    if (s->state == WANT_BDAT)
        return refuse(s, &too_late);
    if (s->state != AWAIT_MAIL && s->state != WANT_RCPT)
        return refuse_like_before(s, &mail_first);
    if (s->command.rcpt.to.is_utf8 && !s->is_utf8) {
        s->has_refused = true;
        return refuse(s, &not_ascii);
    }
    if (s->params.recipients_max > 0 && s->recipients >= s->params.recipients_max)
        return refuse(s, &too_many);
    *ev = (struct smtp_event){ .kind = SMTP_EV_RCPT,
        .ticket = server_open_ticket(s, SMTP_EV_RCPT),
        .rcpt = &s->command.rcpt };
    return HAVE_EVENT;
}

static enum progress on_data(struct smtp_server *s, struct smtp_event *ev)
{
    static const struct refusal mixed = { 503, "5.5.1",
        "BDAT has begun this message, go on with BDAT" };
    if (s->state == WANT_BDAT)
        return refuse(s, &mixed);
    if (s->state != WANT_RCPT)
        return refuse_like_before(s, &mail_first);
    if (s->recipients == 0)
        return refuse_like_before(s, &no_recipients);
    *ev =
        (struct smtp_event){ .kind = SMTP_EV_DATA, .ticket = server_open_ticket(s, SMTP_EV_DATA) };
    return HAVE_EVENT;
}

static const struct refusal *bdat_refusal(const struct smtp_server *s)
{
    static const struct refusal not_offered = { 502, "5.5.1", "BDAT is not offered here" };
    if (!(s->caps & SMTP_CAP_CHUNKING))
        return &not_offered;
    if (s->state != WANT_RCPT && s->state != WANT_BDAT)
        return &mail_first;
    return s->recipients == 0 ? &no_recipients : NULL;
}

static enum progress on_bdat(struct smtp_server *s, struct smtp_event *ev)
{
    (void)ev;
    s->is_alone = false; /* its octets follow without a reply between */
    s->chunk_left = s->command.chunk;
    s->chunk_refusal = bdat_refusal(s);
    s->behind_chunk = s->chunk_refusal ? s->state : WANT_BDAT;
    if (!s->chunk_refusal && s->state == WANT_RCPT)
        server_start_chunks(s);
    server_set_state(s, WANT_OCTETS);
    return GO_ON;
}

static enum progress on_rset(struct smtp_server *s, struct smtp_event *ev)
{
    server_say(s, 250, "2.0.0", "ok");
    buf_release_memory(&s->deferral);
    if (!smtp_server_in_transaction(s))
        return GO_ON;
    server_forget_transaction(s);
    *ev = (struct smtp_event){ .kind = SMTP_EV_RESET };
    return HAVE_EVENT;
}

static enum progress on_noop(struct smtp_server *s, struct smtp_event *ev)
{
    (void)ev;
    server_say(s, 250, "2.0.0", "ok");
    return GO_ON;
}

/*
 * RFC 5321 7.3: whoever does not verify addresses must say 252, for VRFY and for EXPN, and nothing
 * that could be taken for success or failure. The status is 2.0.0, because 2.1.5 claims a valid
 * address.
 */
static enum progress on_vrfy(struct smtp_server *s, struct smtp_event *ev)
{
    (void)ev;
    server_say(s, 252, "2.0.0", "cannot verify, send the message and see");
    return GO_ON;
}

static enum progress on_help(struct smtp_server *s, struct smtp_event *ev)
{
    (void)ev;
    server_say(
        s, 214, "2.0.0", "EHLO HELO MAIL RCPT DATA RSET NOOP VRFY EXPN HELP QUIT, see RFC 5321");
    return GO_ON;
}

static enum progress on_quit(struct smtp_server *s, struct smtp_event *ev)
{
    (void)ev;
    server_say(s, 221, "2.0.0", "bye");
    server_end(s, NULL, "quit");
    return GO_ON;
}

static enum progress on_starttls(struct smtp_server *s, struct smtp_event *ev)
{
    static const struct refusal not_offered = { 502, "5.5.1", "STARTTLS is not offered here" };
    static const struct refusal has_tls = { 503, "5.5.1", "TLS is up already" };
    if (s->has_tls)
        return refuse(s, &has_tls);
    if (!(s->caps & SMTP_CAP_STARTTLS))
        return refuse(s, &not_offered);
    server_say(s, 220, "2.0.0", "ready to start TLS");
    enum progress p = give_behind_reset(s, ev, (struct smtp_event){ .kind = SMTP_EV_STARTTLS });
    server_set_state(s, WANT_TLS);
    return p;
}

static const struct refusal *auth_refusal(const struct smtp_server *s)
{
    static const struct refusal not_offered = { 502, "5.5.1", "AUTH is not offered here" };
    static const struct refusal again = { 503, "5.5.1", "already authenticated" };
    static const struct refusal too_late = { 503, "5.5.1",
        "AUTH is not allowed inside a transaction" };
    if (s->state == WANT_HELLO)
        return &hello_first;
    if (!(s->caps & SMTP_CAP_AUTH))
        return &not_offered;
    if (s->is_authenticated)
        return &again;
    return s->state != WANT_MAIL ? &too_late : NULL;
}

static enum progress on_auth(struct smtp_server *s, struct smtp_event *ev)
{
    const struct refusal *why_not = auth_refusal(s);
    if (why_not)
        return refuse(s, why_not);
    *ev = (struct smtp_event){ .kind = SMTP_EV_AUTH,
        .ticket = server_open_ticket(s, SMTP_EV_AUTH),
        .text = s->command.arg,
        .response = s->command.initial };
    return HAVE_EVENT;
}

/* ---- what the owner's answers mean ----------------------------------------------------------- */

static void auth_answered(struct smtp_server *s, unsigned code)
{
    if (code == 334)
        server_set_state(s, WANT_AUTH);
    if (code >= 500)
        server_count_fault(s); /* guessing passwords must end */
}

static void verdict_given(struct smtp_server *s, bool is_accepted)
{
    if (is_accepted)
        s->faults = 0;
    server_forget_transaction(s);
}

void server_answered(struct smtp_server *s, enum smtp_event_kind kind, unsigned code)
{
    bool is_accepted = code / 100 == 2;
    if (code >= 500)
        s->errors++;
    switch (kind) {
    case SMTP_EV_HELLO:
        if (is_accepted)
            server_set_state(s, WANT_MAIL);
        break;
    case SMTP_EV_MAIL:
        server_set_state(s, is_accepted ? WANT_RCPT : WANT_MAIL);
        break;
    case SMTP_EV_RCPT:
        s->recipients += is_accepted;
        s->has_refused = s->has_refused || !is_accepted;
        break;
    case SMTP_EV_DATA:
        if (code == 354)
            server_start_data(s);
        break;
    case SMTP_EV_BODY_END:
        verdict_given(s, is_accepted);
        break;
    case SMTP_EV_AUTH:
    case SMTP_EV_AUTH_DATA:
        auth_answered(s, code);
        break;
    case SMTP_EV_BODY:
    case SMTP_EV_RESET:
    case SMTP_EV_STARTTLS:
    case SMTP_EV_CLOSE:
        break; /* these have no ticket */
    }
    /* RFC 5321 3.8: 421 says that the channel closes, so it does. */
    if (code == 421)
        server_end(s, NULL, "421 was answered");
}
