/* The queue of commands, pipelining, MAIL and RCPT. */
#include "smtp/client_internal.h"

#include <assert.h>
#include <stdlib.h>

/* RFC 2920 3.1: which commands may stand behind others in a group, and which must be the last of
 * one. AUTH changes the state of everything and goes alone (RFC 4954 4). MESSAGE stands for the
 * text. */
static const struct command_row {
    bool may_follow, ends_group;
} rows[] = {
    [SMTP_CLIENT_AUTH] = { .may_follow = false, .ends_group = true },
    [SMTP_CLIENT_MAIL] = { .may_follow = true, .ends_group = false },
    [SMTP_CLIENT_RCPT] = { .may_follow = true, .ends_group = false },
    [SMTP_CLIENT_DATA] = { .may_follow = true, .ends_group = true },
    [SMTP_CLIENT_MESSAGE] = { .may_follow = false, .ends_group = false },
    [SMTP_CLIENT_RSET] = { .may_follow = true, .ends_group = false },
    [SMTP_CLIENT_NOOP] = { .may_follow = true, .ends_group = true },
    [SMTP_CLIENT_QUIT] = { .may_follow = true, .ends_group = true },
};
static_assert(ARRAY_LEN(rows) == SMTP_CLIENT_QUIT + 1, "every command has a row");

static struct smtpc_command *command_of(struct list *link)
{
    return LIST_ENTRY(link, struct smtpc_command, link);
}

struct smtpc_command *smtpc_head(const struct smtp_client *c)
{
    struct list *first = list_first(&c->queue);
    return first ? command_of(first) : NULL;
}

struct smtpc_command *smtpc_command_add(struct smtp_client *c, enum smtp_client_command kind)
{
    enum { LINE_MAX_OCTETS = SMTPC_LOGIN_MAX + 256 };
    if (c->state == SMTPC_OVER)
        return NULL;
    struct smtpc_command *cmd = calloc(1, sizeof *cmd);
    if (!cmd) {
        smtpc_fail_memory(c);
        return NULL;
    }
    cmd->kind = kind;
    cmd->is_alone = rows[kind].ends_group;
    cmd->end = UINT64_MAX;
    buf_init_secret(&cmd->line, LINE_MAX_OCTETS);
    list_add_tail(&c->queue, &cmd->link);
    return cmd;
}

void smtpc_command_drop(struct smtpc_command *cmd)
{
    list_remove(&cmd->link);
    buf_fini(&cmd->line);
    free(cmd);
}

unsigned smtp_client_open_commands(const struct smtp_client *c)
{
    unsigned n = 0;
    for (struct list *l = c->queue.next; l != &c->queue; l = l->next)
        n += !command_of(l)->is_hidden && !command_of(l)->is_chunk;
    return n;
}

bool smtpc_has_left(const struct smtp_client *c, const struct smtpc_command *cmd)
{
    return cmd->is_sent && cmd->end <= c->sent_total;
}

void smtpc_mark_sent(struct smtp_client *c, struct smtpc_command *cmd)
{
    cmd->is_sent = true;
    cmd->end = c->sent_total + c->out.len;
}

static void trace_command(struct smtp_client *c, const struct smtpc_command *cmd)
{
    struct slice line = buf_slice(&cmd->line);
    line.n -= 2; /* CRLF */
    if (cmd->shown >= line.n) {
        smtpc_trace_line(c, true, line);
        return;
    }
    struct buf shown;
    buf_init(&shown, cmd->shown + sizeof " [redacted]");
    buf_addf(&shown, "%.*s [redacted]", (int)cmd->shown, line.p);
    smtpc_trace_line(c, true, buf_slice(&shown));
    buf_fini(&shown);
}

static void send_command(struct smtp_client *c, struct smtpc_command *cmd)
{
    if (cmd->kind == SMTP_CLIENT_AUTH) {
        c->out.wipe = true; /* until it is empty, see smtp_client_sent */
        smtpc_set_state(c, SMTPC_EXPECT_AUTH);
    }
    buf_add_slice(&c->out, buf_slice(&cmd->line));
    trace_command(c, cmd);
    buf_release_memory(&cmd->line);
    smtpc_mark_sent(c, cmd);
}

/* `last`: the newest command without a reply, NULL: there is none. */
static bool may_send(
    const struct smtp_client *c, const struct smtpc_command *last, const struct smtpc_command *next)
{
    /* A local answer comes when the command is the oldest, and client_body.c sends the text. */
    if (next->local_code != 0 || next->kind == SMTP_CLIENT_MESSAGE)
        return false;
    if (!last)
        return true;
    return smtp_caps_have(&c->caps, SMTP_CAP_PIPELINING) && !last->is_alone &&
           rows[next->kind].may_follow;
}

void smtpc_pump(struct smtp_client *c)
{
    const struct smtpc_command *last = NULL;
    for (struct list *l = c->queue.next; c->state == SMTPC_READY && l != &c->queue; l = l->next) {
        struct smtpc_command *cmd = command_of(l);
        if (!cmd->is_sent && !may_send(c, last, cmd))
            return;
        if (!cmd->is_sent)
            send_command(c, cmd);
        last = cmd;
    }
}

bool smtpc_has_local_answer(const struct smtp_client *c)
{
    const struct smtpc_command *head = smtpc_head(c);
    return c->state == SMTPC_READY && head && head->local_code != 0;
}

bool smtpc_answer_locally(struct smtp_client *c, struct smtp_client_event *ev)
{
    if (!smtpc_has_local_answer(c))
        return false;
    struct smtpc_command *head = smtpc_head(c);
    smtp_reply_set(&c->local_reply, head->local_code, head->local_text);
    *ev = (struct smtp_client_event){
        .kind = SMTP_CL_REPLY, .command = head->kind, .reply = &c->local_reply
    };
    if (head->local_code == 354) {
        smtpc_body_begin(c, head, SMTPC_BODY_CHUNKS);
    } else {
        smtpc_command_drop(head);
        smtpc_pump(c);
    }
    return true;
}

bool smtpc_unsolicited(struct smtp_client *c)
{
    if (c->parser.reply.code == 421)
        return smtpc_fail_reply(c, ERR_LOST, "the server ended the session");
    return smtpc_fail_reply(c, ERR_PROTO, "the server sent a reply that nobody asked for");
}

/* The reply to a command of our own making. */
static bool on_hidden_reply(struct smtp_client *c, const struct smtpc_command *head)
{
    bool is_bad = head->kind == SMTP_CLIENT_RSET && smtp_reply_class(&c->parser.reply) != 2;
    smtpc_end_if_closing(c);
    if (c->state == SMTPC_OVER)
        return false;
    if (is_bad)
        return smtpc_fail_reply(c, ERR_PROTO, "the server refused RSET");
    smtpc_command_drop(smtpc_head(c));
    smtpc_pump(c);
    return false;
}

static bool is_acceptable(const struct smtpc_command *cmd, const struct smtp_reply *reply)
{
    switch (smtp_reply_class(reply)) {
    case 2:
        return cmd->kind != SMTP_CLIENT_DATA;
    case 3:
        return cmd->kind == SMTP_CLIENT_DATA && reply->code == 354;
    default:
        return true;
    }
}

/* A verdict that ends the message: nothing of it is kept. */
static void end_message(struct smtp_client *c, struct smtpc_command *head)
{
    if (c->body.mode == SMTPC_BODY_CHUNKS && smtp_reply_class(&c->parser.reply) != 2)
        smtpc_reset_behind(c, head);
    c->body.mode = SMTPC_BODY_NONE;
}

/* Takes the oldest command out of the queue, or turns DATA into its message. */
static void finish_head(struct smtp_client *c, struct smtpc_command *head)
{
    if (head->kind == SMTP_CLIENT_DATA && c->parser.reply.code == 354) {
        smtpc_body_begin(c, head, SMTPC_BODY_DOTS);
        return;
    }
    if (head->kind == SMTP_CLIENT_MESSAGE)
        end_message(c, head);
    if (c->state == SMTPC_OVER)
        return; /* out of memory; `head` is gone */
    bool is_quit = head->kind == SMTP_CLIENT_QUIT;
    smtpc_command_drop(head);
    smtpc_end_if_closing(c);
    if (is_quit && !list_is_empty(&c->queue))
        smtpc_fail(c, ERR_LOST, "the session ended with QUIT");
    if (is_quit)
        smtpc_set_state(c, SMTPC_OVER);
    smtpc_pump(c);
}

bool smtpc_on_reply(struct smtp_client *c, struct slice rest, struct smtp_client_event *ev)
{
    (void)rest;
    struct smtpc_command *head = smtpc_head(c);
    bool is_due = head && smtpc_has_left(c, head);
    bool is_message = head && head->kind == SMTP_CLIENT_MESSAGE && !head->is_chunk;
    if (!is_due && is_message && !head->is_hidden)
        return smtpc_early_verdict(c, ev);
    if (!is_due)
        return smtpc_unsolicited(c);
    if (head->is_chunk)
        return smtpc_on_chunk_reply(c, ev);
    if (head->is_hidden)
        return on_hidden_reply(c, head);
    if (!is_acceptable(head, &c->parser.reply))
        return smtpc_fail_reply(c, ERR_PROTO, "the server's reply does not fit the command");
    smtpc_event_reply(c, head->kind, ev);
    finish_head(c, head);
    return true;
}

/* ---- the commands ---- */

/* A line break or NUL in an argument would let a sender write commands of his own. Parsers before
 * us refuse such arguments; this is the last door. */
static bool is_plain(struct slice s, unsigned char lowest)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char b = (unsigned char)s.p[i];
        if (b < lowest || b == 0x7f)
            return false;
    }
    return true;
}

static bool is_mailbox_plain(struct slice s)
{
    return is_plain(s, ' '); /* a quoted local part may have blanks */
}

static bool is_param_plain(struct slice s)
{
    return is_plain(s, ' ' + 1);
}

static void refuse_locally(struct smtpc_command *cmd)
{
    cmd->local_code = 501;
    cmd->local_text = "5.5.4 A control byte in an argument, the command was not sent";
}

static bool add_size(const struct smtp_mail *mail, struct buf *out)
{
    return mail->size == 0 || buf_addf(out, " SIZE=%llu", (unsigned long long)mail->size);
}

static bool add_body(const struct smtp_mail *mail, struct buf *out)
{
    switch (mail->body) {
    case SMTP_BODY_UNSAID:
        return true;
    case SMTP_BODY_7BIT:
        return buf_add_str(out, " BODY=7BIT");
    case SMTP_BODY_8BITMIME:
        return buf_add_str(out, " BODY=8BITMIME");
    }
    return false;
}

static bool add_smtputf8(const struct smtp_mail *mail, struct buf *out)
{
    return !mail->smtputf8 || buf_add_str(out, " SMTPUTF8");
}

static bool add_param(struct buf *out, const char *name, struct slice value)
{
    return value.n == 0 || (buf_addf(out, " %s=", name) && buf_add_slice(out, value));
}

static bool add_mail_dsn(const struct smtp_mail *mail, struct buf *out)
{
    return add_param(out, "RET", mail->ret) && add_param(out, "ENVID", mail->envid);
}

/* AUTH= is never sent: Exchange takes it from servers that it trusts only, and "AUTH=<>" (RFC 4954
 * 5) says nothing that its absence does not say. */
static const struct {
    enum smtp_cap cap;
    bool (*add)(const struct smtp_mail *mail, struct buf *out);
} mail_params[] = {
    { SMTP_CAP_SIZE, add_size },
    { SMTP_CAP_8BITMIME, add_body },
    { SMTP_CAP_SMTPUTF8, add_smtputf8 },
    { SMTP_CAP_DSN, add_mail_dsn },
};

static bool add_path(struct buf *out, const char *verb, const struct smtp_path *path)
{
    return buf_add_str(out, verb) && buf_add(out, ":<", 2) && buf_add_slice(out, path->mailbox) &&
           buf_add_char(out, '>');
}

/* Completes the line of `cmd` and lets it go when its turn comes. */
static void queue_line(struct smtp_client *c, struct smtpc_command *cmd, bool is_built)
{
    if (!is_built || !buf_add_str(&cmd->line, "\r\n")) {
        smtpc_fail(c, ERR_LIMIT, "a command to the server does not fit into memory");
        return;
    }
    cmd->shown = cmd->line.len;
    smtpc_pump(c);
}

/* The parameters depend on what the server announced, so the owner must have seen HELLO. */
void smtp_client_mail(struct smtp_client *c, const struct smtp_mail *mail, uint64_t now_ms)
{
    smtpc_tick(c, now_ms);
    struct smtpc_command *cmd = smtpc_command_add(c, SMTP_CLIENT_MAIL);
    if (!cmd)
        return;
    if (!is_mailbox_plain(mail->from.mailbox) || !is_param_plain(mail->ret) ||
        !is_param_plain(mail->envid)) {
        refuse_locally(cmd);
        return;
    }
    bool is_built = add_path(&cmd->line, "MAIL FROM", &mail->from);
    for (size_t i = 0; i < ARRAY_LEN(mail_params); i++) {
        if (smtp_caps_have(&c->caps, mail_params[i].cap))
            is_built = is_built && mail_params[i].add(mail, &cmd->line);
    }
    queue_line(c, cmd, is_built);
}

void smtp_client_rcpt(struct smtp_client *c, const struct smtp_rcpt *rcpt, uint64_t now_ms)
{
    smtpc_tick(c, now_ms);
    struct smtpc_command *cmd = smtpc_command_add(c, SMTP_CLIENT_RCPT);
    if (!cmd)
        return;
    if (!is_mailbox_plain(rcpt->to.mailbox) || !is_param_plain(rcpt->notify) ||
        !is_param_plain(rcpt->orcpt)) {
        refuse_locally(cmd);
        return;
    }
    bool is_built = add_path(&cmd->line, "RCPT TO", &rcpt->to);
    if (smtp_caps_have(&c->caps, SMTP_CAP_DSN))
        is_built = is_built && add_param(&cmd->line, "NOTIFY", rcpt->notify) &&
                   add_param(&cmd->line, "ORCPT", rcpt->orcpt);
    queue_line(c, cmd, is_built);
}

static void queue_verb(
    struct smtp_client *c, enum smtp_client_command kind, const char *verb, uint64_t now_ms)
{
    smtpc_tick(c, now_ms);
    struct smtpc_command *cmd = smtpc_command_add(c, kind);
    if (cmd)
        queue_line(c, cmd, buf_add_str(&cmd->line, verb));
}

void smtp_client_rset(struct smtp_client *c, uint64_t now_ms)
{
    queue_verb(c, SMTP_CLIENT_RSET, "RSET", now_ms);
}

void smtp_client_noop(struct smtp_client *c, uint64_t now_ms)
{
    queue_verb(c, SMTP_CLIENT_NOOP, "NOOP", now_ms);
}

void smtp_client_quit(struct smtp_client *c, uint64_t now_ms)
{
    queue_verb(c, SMTP_CLIENT_QUIT, "QUIT", now_ms);
}

bool smtp_client_uses_bdat(const struct smtp_client *c)
{
    return c->params.use_chunking && smtp_caps_have(&c->caps, SMTP_CAP_CHUNKING);
}

void smtp_client_data(struct smtp_client *c, uint64_t now_ms)
{
    if (!smtp_client_uses_bdat(c)) {
        queue_verb(c, SMTP_CLIENT_DATA, "DATA", now_ms);
        return;
    }
    smtpc_tick(c, now_ms);
    struct smtpc_command *cmd = smtpc_command_add(c, SMTP_CLIENT_DATA);
    if (!cmd)
        return;
    cmd->local_code = 354;
    cmd->local_text = "The message comes in chunks";
}
