/* The message: DATA with stuffed dots (RFC 5321 4.5.2) or BDAT in chunks (RFC 3030). */
#include "smtp/client_internal.h"

#include <stdio.h>
#include <stdlib.h>

void smtpc_body_begin(struct smtp_client *c, struct smtpc_command *cmd, enum smtpc_body_mode mode)
{
    cmd->kind = SMTP_CLIENT_MESSAGE;
    cmd->local_code = 0;
    cmd->is_sent = false;
    cmd->end = UINT64_MAX;
    /* RFC 2920 3.1 lets the end of the text begin a group, so a next MAIL may go right behind the
     * final dot. Not behind BDAT: when a chunk is refused, RSET must come first. */
    cmd->is_alone = mode == SMTPC_BODY_CHUNKS;
    c->body.mode = mode;
    c->body.is_ended = false;
    smtp_body_encoder_init(&c->body.encoder);
    smtpc_set_state(c, SMTPC_WANT_BODY);
}

/* The MESSAGE in the queue that the owner still waits for. */
static struct smtpc_command *find_message(struct smtp_client *c)
{
    for (struct list *l = c->queue.next; l != &c->queue; l = l->next) {
        struct smtpc_command *cmd = LIST_ENTRY(l, struct smtpc_command, link);
        if (cmd->kind == SMTP_CLIENT_MESSAGE && !cmd->is_chunk && !cmd->is_hidden)
            return cmd;
    }
    return NULL;
}

/* ---- BDAT ---- */

enum {
    CHUNK_FROM = SMTP_CLIENT_CHUNK_SIZE - 8192, /* octets; less than this waits for more */
    LONG_PIECE = 16384, /* octets; behind such a piece of text there will be many */
};

/* Without PIPELINING each chunk waits for the reply to the one before it. */
static bool has_chunk_room(const struct smtp_client *c)
{
    unsigned most = smtp_caps_have(&c->caps, SMTP_CAP_PIPELINING) ? SMTPC_CHUNKS_MAX : 1;
    return c->body.chunks_open < most;
}

/* The first `n` octets of what is held and of the text behind it. */
static void send_chunk(struct smtp_client *c, size_t n, bool is_last, struct slice *text)
{
    char line[64];
    size_t held = n < c->body.text.len ? n : c->body.text.len;
    snprintf(line, sizeof line, is_last ? "BDAT %zu LAST" : "BDAT %zu", n);
    smtpc_send_line(c, line);
    buf_reserve(&c->out, n); /* once, not part by part */
    buf_add(&c->out, buf_slice(&c->body.text).p, held);
    buf_consume(&c->body.text, held);
    buf_add(&c->out, text->p, n - held);
    *text = slice_skip(*text, n - held);
}

static void send_part(
    struct smtp_client *c, struct smtpc_command *message, size_t n, struct slice *text)
{
    struct smtpc_command *chunk = smtpc_command_add(c, SMTP_CLIENT_MESSAGE);
    if (!chunk)
        return;
    list_remove(&chunk->link);
    list_add_tail(&message->link, &chunk->link); /* right in front of the message */
    chunk->is_chunk = true;
    c->body.chunks_open++;
    send_chunk(c, n, false, text);
    smtpc_mark_sent(c, chunk);
}

/* Octets of the chunk that may go before the last one; 0: it is too early for it. All that is there
 * goes, so that nothing has to be moved to the front, but for an octet of the last one. */
static size_t next_part(const struct smtp_client *c, struct slice text)
{
    size_t n = c->body.text.len + text.n;
    if (n <= (c->body.is_ended ? SMTP_CLIENT_CHUNK_SIZE : CHUNK_FROM))
        return 0;
    return n <= SMTP_CLIENT_CHUNK_SIZE ? n - 1 : SMTP_CLIENT_CHUNK_SIZE;
}

/* As much as may go now of what is held and of `text` behind it, which becomes what is left of it.
 */
static void send_chunks(struct smtp_client *c, struct slice *text)
{
    struct smtpc_command *message = find_message(c);
    if (!message || message->is_sent)
        return;
    while (c->state != SMTPC_OVER && next_part(c, *text) > 0 && has_chunk_room(c))
        send_part(c, message, next_part(c, *text), text);
    size_t rest = c->body.text.len + text->n;
    bool is_rest = c->body.is_ended && rest <= SMTP_CLIENT_CHUNK_SIZE;
    if (c->state == SMTPC_OVER || !is_rest || !has_chunk_room(c))
        return;
    send_chunk(c, rest, true, text);
    smtpc_mark_sent(c, message);
}

/* No text but what is held. */
static void send_held(struct smtp_client *c)
{
    struct slice nothing = SLICE_NONE;
    send_chunks(c, &nothing);
}

/* What cannot go yet is held; the rest goes from where it lies. */
static bool add_to_chunks(struct smtp_client *c, struct slice text)
{
    send_chunks(c, &text);
    if (text.n >= LONG_PIECE && c->body.text.len < text.n)
        buf_reserve(&c->body.text, SMTP_CLIENT_CHUNK_SIZE + text.n); /* once, not piece by piece */
    return buf_add_slice(&c->body.text, text);
}

void smtpc_reset_behind(struct smtp_client *c, struct smtpc_command *message)
{
    struct smtpc_command *rset = smtpc_command_add(c, SMTP_CLIENT_RSET);
    if (!rset)
        return;
    list_remove(&rset->link);
    list_add_head(&message->link, &rset->link);
    rset->is_hidden = true;
    if (!buf_add_str(&rset->line, "RSET\r\n"))
        smtpc_fail_memory(c);
    else
        rset->shown = rset->line.len;
}

/* The message has its verdict or is given up: what is under way is swallowed, RSET cleans up. */
static void give_up_chunks(struct smtp_client *c, struct smtpc_command *message)
{
    c->body.mode = SMTPC_BODY_NONE;
    buf_release_memory(&c->body.text);
    smtpc_reset_behind(c, message);
    if (c->state == SMTPC_OVER)
        return;
    if (message->is_sent)
        message->is_hidden = true;
    else
        smtpc_command_drop(message);
    smtpc_set_state(c, SMTPC_READY);
    smtpc_pump(c);
}

bool smtpc_on_chunk_reply(struct smtp_client *c, struct smtp_client_event *ev)
{
    unsigned class = smtp_reply_class(&c->parser.reply);
    struct smtpc_command *message = find_message(c);
    smtpc_command_drop(smtpc_head(c));
    c->body.chunks_open--;
    if (class == 3)
        return smtpc_fail_reply(c, ERR_PROTO, "the server's reply does not fit BDAT");
    bool is_verdict = class >= 4 && message;
    if (is_verdict) {
        smtpc_event_reply(c, SMTP_CLIENT_MESSAGE, ev);
        give_up_chunks(c, message);
    } else if (message) {
        send_held(c);
    }
    smtpc_end_if_closing(c);
    if (c->state == SMTPC_READY)
        smtpc_pump(c);
    return is_verdict;
}

/* ---- both ---- */

bool smtpc_early_verdict(struct smtp_client *c, struct smtp_client_event *ev)
{
    /* "250" before the end would let us report a message as delivered that the server cannot have.
     */
    if (smtp_reply_class(&c->parser.reply) < 4)
        return smtpc_fail_reply(c, ERR_PROTO, "the server answered before the end of the message");
    struct smtpc_command *message = smtpc_head(c);
    smtpc_event_reply(c, SMTP_CLIENT_MESSAGE, ev);
    if (c->body.mode == SMTPC_BODY_CHUNKS) {
        give_up_chunks(c, message);
    } else {
        /* Whatever is sent now the server may take for text, and a dot for a complete message. */
        c->body.mode = SMTPC_BODY_NONE;
        smtpc_command_drop(message);
        buf_release_memory(&c->out);
        smtpc_set_state(c, SMTPC_SPOILED);
    }
    smtpc_end_if_closing(c);
    return true;
}

bool smtpc_on_reply_during_body(
    struct smtp_client *c, struct slice rest, struct smtp_client_event *ev)
{
    (void)rest;
    const struct smtpc_command *head = smtpc_head(c);
    if (!head->is_chunk)
        return smtpc_early_verdict(c, ev);
    return smtpc_has_left(c, head) ? smtpc_on_chunk_reply(c, ev) : smtpc_unsolicited(c);
}

void smtp_client_body(struct smtp_client *c, struct slice text, uint64_t now_ms)
{
    smtpc_tick(c, now_ms);
    if (c->state != SMTPC_WANT_BODY || c->body.is_ended)
        return; /* the verdict came early */
    bool fits = c->body.mode == SMTPC_BODY_DOTS ? smtp_body_encode(&c->body.encoder, text, &c->out)
                                                : add_to_chunks(c, text);
    if (!fits && c->state != SMTPC_OVER)
        smtpc_fail(c, ERR_LIMIT, "the message came faster than the server took it");
}

void smtp_client_body_end(struct smtp_client *c, uint64_t now_ms)
{
    smtpc_tick(c, now_ms);
    if (c->state != SMTPC_WANT_BODY || c->body.is_ended)
        return;
    c->body.is_ended = true;
    smtpc_set_state(c, SMTPC_READY);
    if (c->body.mode == SMTPC_BODY_CHUNKS) {
        send_held(c);
        return;
    }
    if (!smtp_body_encode_end(&c->body.encoder, &c->out)) {
        smtpc_fail_memory(c);
        return;
    }
    smtpc_trace_line(c, true, SLICE_LIT("."));
    smtpc_mark_sent(c, smtpc_head(c));
    smtpc_pump(c);
}

/* The message was asked for, but its text cannot begin yet. True: the asking was taken back. */
static bool take_back_data(struct smtp_client *c)
{
    for (struct list *l = c->queue.next; l != &c->queue; l = l->next) {
        struct smtpc_command *cmd = LIST_ENTRY(l, struct smtpc_command, link);
        if (cmd->kind != SMTP_CLIENT_DATA)
            continue;
        if (cmd->is_sent)
            return false;
        smtpc_reset_behind(c, cmd);
        if (c->state != SMTPC_OVER)
            smtpc_command_drop(cmd);
        smtpc_pump(c);
        return c->state != SMTPC_OVER;
    }
    return true;
}

bool smtp_client_body_abort(struct smtp_client *c, uint64_t now_ms)
{
    smtpc_tick(c, now_ms);
    if (c->state == SMTPC_OVER || c->state == SMTPC_SPOILED)
        return false;
    if (c->state != SMTPC_WANT_BODY)
        return !find_message(c) && take_back_data(c);
    if (c->body.mode == SMTPC_BODY_CHUNKS) {
        give_up_chunks(c, find_message(c));
        return c->state != SMTPC_OVER;
    }
    smtpc_command_drop(smtpc_head(c));
    c->body.mode = SMTPC_BODY_NONE;
    buf_release_memory(&c->out);
    smtpc_set_state(c, SMTPC_SPOILED);
    return false;
}
