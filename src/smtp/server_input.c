/*
 * The client's bytes: command lines, AUTH responses, the body behind 354, the octets of BDAT.
 * Each function takes what belongs to it off the front of *in and says what to do next.
 */
#include "smtp/server_internal.h"

enum {
    OUT_HIGH_WATER = 16384, /* octets of replies that nobody took: no further command is read */
    CLEAN_MIN = 16384,      /* octets of text from which on a copy costs more than an event */
};

bool server_is_early(struct smtp_server *s, struct slice in)
{
    static const struct refusal early = { 554, "5.5.0", "input came before its turn" };
    if (!s->is_alone || in.n == 0)
        return false;
    if (s->open.count == 0 && s->out.len == 0) {
        s->is_alone = false;
        return false;
    }
    /* The tickets that are open still get their answers: behind an end of data the verdict must be
     * true, whatever the client sent too early. */
    server_end(s, &early, "input before its turn");
    return true;
}

/* ---- lines ----------------------------------------------------------------------------------- */

void server_drop_line(struct smtp_server *s)
{
    if (!s->is_line_done)
        return;
    s->is_line_done = false;
    s->is_line_too_long = false;
    if (s->line.cap > SERVER_IDLE_BUFFER)
        buf_release_memory(&s->line);
    else
        buf_clear(&s->line);
}

static size_t line_limit(const struct smtp_server *s)
{
    bool is_login =
        s->state == WANT_AUTH ||
        ((s->caps & SMTP_CAP_AUTH) && slice_starts_nocase(buf_slice(&s->line), SLICE_LIT("AUTH ")));
    return is_login ? SMTP_AUTH_LINE_MAX : SMTP_COMMAND_LINE_MAX;
}

/* Adds to the line, or starts to throw it away when it became too long. */
static void add_to_line(struct smtp_server *s, const char *p, size_t n)
{
    if (s->is_line_too_long)
        return;
    s->is_line_too_long = s->line.len + n > SMTP_AUTH_LINE_MAX;
    if (!s->is_line_too_long) {
        s->is_out_of_memory = !buf_add(&s->line, p, n);
        s->is_line_too_long = s->line.len > line_limit(s);
    }
    if (s->is_line_too_long)
        buf_release_memory(&s->line);
}

/*
 * True when a line is complete. It may end in a bare LF, as old programs write it: a command cannot
 * be smuggled that way, because all that follows is the same client's next command.
 */
static bool read_line(struct smtp_server *s, struct slice *in)
{
    server_drop_line(s);
    const char *lf = memchr(in->p, '\n', in->n);
    size_t n = lf ? (size_t)(lf - in->p) + 1 : in->n;
    add_to_line(s, in->p, n);
    *in = slice_skip(*in, n);
    if (!lf || s->is_out_of_memory)
        return false;
    struct slice line = buf_slice(&s->line);
    if (line.n > 0)
        s->line.len -= line.n > 1 && line.p[line.n - 2] == '\r' ? 2 : 1;
    s->active_ms = s->now_ms;
    return true;
}

static void parse_line(struct smtp_server *s)
{
    s->has_line = true;
    if (s->is_line_too_long) {
        s->is_line_valid = false;
        s->syntax =
            (struct smtp_syntax_error){ .code = 500, .status = "5.5.2", .text = "line too long" };
        return;
    }
    s->is_line_valid = smtp_command_parse(buf_slice(&s->line), s->caps, &s->command, &s->syntax);
}

enum progress server_take_command(struct smtp_server *s, struct slice *in, struct smtp_event *ev)
{
    if (!s->has_line) {
        if (in->n == 0)
            return NEED_INPUT;
        if (server_is_early(s, *in))
            return GO_ON;
        if (s->out.len > OUT_HIGH_WATER)
            return BLOCKED;
        if (!read_line(s, in))
            return s->is_out_of_memory ? GO_ON : NEED_INPUT;
        parse_line(s);
    }
    if (server_line_must_wait(s))
        return BLOCKED;
    s->has_line = false;
    s->is_line_done = true;
    return server_run_line(s, ev);
}

enum progress server_take_auth_line(struct smtp_server *s, struct slice *in, struct smtp_event *ev)
{
    /* RFC 4954 4: "500 5.5.6", and "*" cancels with 501. */
    static const struct refusal too_long = { 500, "5.5.6", "line of the login is too long" };
    static const struct refusal cancelled = { 501, "5.7.0", "login cancelled" };
    if (in->n == 0)
        return NEED_INPUT;
    if (server_is_early(s, *in))
        return GO_ON;
    if (!read_line(s, in))
        return s->is_out_of_memory ? GO_ON : NEED_INPUT;
    s->is_line_done = true;
    s->is_alone = true;
    server_trace_auth_line(s);
    server_set_state(s, WANT_MAIL);
    struct slice line = buf_slice(&s->line);
    bool is_cancel = slice_eq(line, SLICE_LIT("*"));
    if (s->is_line_too_long || is_cancel) {
        server_refuse(s, is_cancel ? &cancelled : &too_long);
        return GO_ON;
    }
    *ev = (struct smtp_event){ .kind = SMTP_EV_AUTH_DATA,
        .ticket = server_open_ticket(s, SMTP_EV_AUTH_DATA),
        .response = line };
    return HAVE_EVENT;
}

/* ---- messages -------------------------------------------------------------------------------- */

static void start_message(struct smtp_server *s)
{
    s->text_size = 0;
    s->is_too_big = false;
    s->is_body_complete = false;
}

void server_start_data(struct smtp_server *s)
{
    start_message(s);
    smtp_body_decoder_init(&s->body.data);
    server_set_state(s, WANT_BODY);
}

void server_start_chunks(struct smtp_server *s)
{
    start_message(s);
    smtp_line_normaliser_init(&s->body.chunks);
}

/* Room for the text of `n` octets at once, so that it does not grow piece by piece. */
static bool reserve_text(struct smtp_server *s, size_t n)
{
    buf_clear(&s->text);
    bool is_small = n < (SMTP_BODY_EVENT_MAX - 8) / 2;
    if (!buf_reserve(&s->text, is_small ? 2 * n + 8 : SMTP_BODY_EVENT_MAX))
        s->is_out_of_memory = true;
    return !s->is_out_of_memory;
}

/* Beyond the limit nothing more is handed on; what comes is counted and thrown away. */
static enum progress give_text(struct smtp_server *s, struct slice text, struct smtp_event *ev)
{
    s->active_ms = s->now_ms;
    s->text_size += text.n;
    if (s->size_limit > 0 && s->text_size > s->size_limit)
        s->is_too_big = true;
    if (s->is_too_big || text.n == 0)
        return GO_ON;
    *ev = (struct smtp_event){ .kind = SMTP_EV_BODY, .text = text };
    return HAVE_EVENT;
}

/* No more than one event may have. */
static struct slice one_piece(struct slice in)
{
    return slice_of(in.p, in.n < SMTP_BODY_EVENT_MAX ? in.n : SMTP_BODY_EVENT_MAX);
}

static enum progress give_body_end(struct smtp_server *s, struct smtp_event *ev, bool is_repaired)
{
    static const struct refusal too_big = { 552, "5.3.4", "message is larger than the limit" };
    *ev = (struct smtp_event){ .kind = SMTP_EV_BODY_END,
        .is_too_big = s->is_too_big,
        .is_repaired = is_repaired,
        .text_size = s->text_size };
    /* RFC 2920 3.1: the end of a message may be followed at once by the next transaction. */
    s->is_alone = !server_may_pipeline(s);
    if (s->is_too_big) {
        server_refuse(s, &too_big);
        server_forget_transaction(s);
    } else {
        ev->ticket = server_open_ticket(s, SMTP_EV_BODY_END);
        server_set_state(s, AWAIT_VERDICT);
    }
    return HAVE_EVENT;
}

enum progress server_take_body(struct smtp_server *s, struct slice *in, struct smtp_event *ev)
{
    if (s->is_body_complete)
        return give_body_end(s, ev, s->body.data.repaired);
    if (in->n == 0)
        return NEED_INPUT;
    if (server_is_early(s, *in))
        return GO_ON;
    struct slice clean = one_piece(*in);
    clean.n = smtp_body_skip_clean(&s->body.data, clean, CLEAN_MIN);
    *in = slice_skip(*in, clean.n);
    if (clean.n > 0)
        return give_text(s, clean, ev);
    if (!reserve_text(s, in->n))
        return GO_ON;
    s->is_body_complete = smtp_body_decode(&s->body.data, in, &s->text);
    return give_text(s, buf_slice(&s->text), ev);
}

/* The chunk's octets are all here. */
static enum progress finish_chunk(struct smtp_server *s, struct smtp_event *ev)
{
    if (s->chunk_refusal) {
        s->is_alone = !server_may_pipeline(s);
        server_set_state(s, s->behind_chunk);
        server_refuse(s, s->chunk_refusal);
        return GO_ON;
    }
    if (s->is_too_big || s->is_body_complete)
        return give_body_end(s, ev, s->body.chunks.repaired);
    if (s->command.is_last) {
        s->is_body_complete = true;
        if (!reserve_text(s, 0))
            return GO_ON;
        smtp_line_normalise_end(&s->body.chunks, &s->text);
        return give_text(s, buf_slice(&s->text), ev);
    }
    s->is_alone = !server_may_pipeline(s);
    server_set_state(s, WANT_BDAT);
    server_say(s, 250, "2.6.0", "chunk received");
    return GO_ON;
}

/* A part of a chunk, off the front of *piece. */
static enum progress take_part(struct smtp_server *s, struct slice *piece, struct smtp_event *ev)
{
    struct slice clean = one_piece(*piece);
    clean.n = smtp_line_skip_clean(&s->body.chunks, clean, CLEAN_MIN);
    *piece = slice_skip(*piece, clean.n);
    if (clean.n > 0)
        return give_text(s, clean, ev);
    if (!reserve_text(s, piece->n))
        return GO_ON;
    smtp_line_normalise(&s->body.chunks, piece, &s->text);
    return give_text(s, buf_slice(&s->text), ev);
}

/* RFC 3030 4.2: the octets are taken in any case, also those of a chunk that is refused. */
enum progress server_take_octets(struct smtp_server *s, struct slice *in, struct smtp_event *ev)
{
    if (s->chunk_left == 0)
        return finish_chunk(s, ev);
    if (in->n == 0)
        return NEED_INPUT;
    size_t n = in->n < s->chunk_left ? in->n : (size_t)s->chunk_left;
    struct slice piece = slice_of(in->p, n);
    enum progress progress = GO_ON;
    if (s->chunk_refusal) {
        s->active_ms = s->now_ms;
        piece = slice_skip(piece, n);
    } else {
        progress = take_part(s, &piece, ev);
    }
    size_t taken = n - piece.n;
    *in = slice_skip(*in, taken);
    s->chunk_left -= taken;
    return progress;
}
