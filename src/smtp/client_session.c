/* From the banner to the login: what happens once per session. */
#include "smtp/client_internal.h"

#include "base/base64.h"

#include <stdio.h>
#include <string.h>

static void send_hello(struct smtp_client *c, const char *verb, enum smtpc_state awaiting)
{
    char line[sizeof "EHLO" + SMTP_DOMAIN_MAX + 1];
    int n = snprintf(line, sizeof line, "%s %s", verb, c->params.hostname);
    if (n < 0 || (size_t)n >= sizeof line) {
        smtpc_fail(
            c, ERR_CONFIG, "the name to say in EHLO has more than %d octets", SMTP_DOMAIN_MAX);
        return;
    }
    smtpc_send_line(c, line);
    smtpc_set_state(c, awaiting);
}

bool smtpc_on_banner(struct smtp_client *c, struct slice rest, struct smtp_client_event *ev)
{
    (void)rest;
    if (smtp_reply_class(&c->parser.reply) >= 4)
        return smtpc_fail_reply(c, ERR_REFUSED, "the server refused the session");
    if (c->parser.reply.code != 220)
        return smtpc_fail_reply(c, ERR_PROTO, "the server's banner is no 220");
    *ev = (struct smtp_client_event){ .kind = SMTP_CL_BANNER, .reply = &c->parser.reply };
    send_hello(c, "EHLO", SMTPC_EXPECT_EHLO);
    return true;
}

/* The first line is the server's name, each other one an extension (RFC 5321 4.1.1.1). */
static void learn_caps(struct smtp_client *c)
{
    c->caps = (struct smtp_caps){ 0 };
    struct slice rest = buf_slice(&c->parser.reply.text);
    for (bool is_first = true; rest.n > 0; is_first = false) {
        const char *end = memchr(rest.p, '\n', rest.n);
        size_t n = end ? (size_t)(end - rest.p) : rest.n;
        if (!is_first)
            smtp_caps_learn(&c->caps, slice_of(rest.p, n));
        rest = slice_skip(rest, end ? n + 1 : n);
    }
}

static bool event_hello(struct smtp_client *c, struct smtp_client_event *ev)
{
    *ev = (struct smtp_client_event){
        .kind = SMTP_CL_HELLO, .reply = &c->parser.reply, .is_final = !c->needs_tls
    };
    return true;
}

/* EHLO was answered before TLS, which is mandatory. */
static void begin_starttls(struct smtp_client *c)
{
    c->caps_before_tls = c->caps;
    if (!smtp_caps_have(&c->caps, SMTP_CAP_STARTTLS)) {
        smtpc_fail(c, ERR_TLS,
            "the server does not offer STARTTLS: it has no certificate for this"
            " port, or someone on the way strips the offer");
        return;
    }
    smtpc_send_line(c, "STARTTLS");
    smtpc_set_state(c, SMTPC_EXPECT_STARTTLS);
}

static void become_ready(struct smtp_client *c)
{
    smtpc_set_state(c, SMTPC_READY);
    smtpc_pump(c);
}

static bool ehlo_refused(struct smtp_client *c)
{
    unsigned class = smtp_reply_class(&c->parser.reply);
    if (class < 4)
        return smtpc_fail_reply(c, ERR_PROTO, "the reply to EHLO is no 250");
    if (class == 4)
        return smtpc_fail_reply(c, ERR_REFUSED, "the server refused EHLO");
    /* A server of RFC 821 knows no STARTTLS: saying HELO would only look for a way around it. */
    if (c->needs_tls)
        return smtpc_fail_reply(c, ERR_TLS, "STARTTLS is not offered, the server refused EHLO");
    send_hello(c, "HELO", SMTPC_EXPECT_HELO);
    return false;
}

bool smtpc_on_ehlo(struct smtp_client *c, struct slice rest, struct smtp_client_event *ev)
{
    (void)rest;
    if (c->parser.reply.code != 250)
        return ehlo_refused(c);
    learn_caps(c);
    event_hello(c, ev);
    if (c->needs_tls)
        begin_starttls(c);
    else
        become_ready(c);
    return true;
}

bool smtpc_on_helo(struct smtp_client *c, struct slice rest, struct smtp_client_event *ev)
{
    (void)rest;
    if (smtp_reply_class(&c->parser.reply) >= 4)
        return smtpc_fail_reply(c, ERR_REFUSED, "the server refused HELO");
    if (c->parser.reply.code != 250)
        return smtpc_fail_reply(c, ERR_PROTO, "the reply to HELO is no 250");
    c->caps = (struct smtp_caps){ 0 };
    become_ready(c);
    return event_hello(c, ev);
}

bool smtpc_on_starttls(struct smtp_client *c, struct slice rest, struct smtp_client_event *ev)
{
    if (c->parser.reply.code != 220)
        return smtpc_fail_reply(c, ERR_TLS, "the server refused STARTTLS");
    smtpc_set_state(c, SMTPC_TLS_HANDSHAKE);
    if (rest.n > 0)
        return false; /* the step sees the bytes and ends the session */
    *ev = (struct smtp_client_event){ .kind = SMTP_CL_START_TLS, .reply = &c->parser.reply };
    return true;
}

void smtp_client_secured(struct smtp_client *c, uint64_t now_ms)
{
    smtpc_tick(c, now_ms);
    if (c->state != SMTPC_TLS_HANDSHAKE)
        return;
    /* RFC 3207 4.2: nothing that was learned in plain text counts any more. */
    smtp_reply_parser_fini(&c->parser);
    smtp_reply_parser_init(&c->parser);
    c->caps = (struct smtp_caps){ 0 };
    c->needs_tls = false;
    c->since_ms = now_ms;
    send_hello(c, "EHLO", SMTPC_EXPECT_EHLO);
}

/* ---- AUTH (RFC 4954) ---- */

/* Remembers raw bytes in base64 as the last login line. */
static struct slice encode_login(struct smtp_client *c, struct slice raw)
{
    buf_clear(&c->login);
    if (!base64_encode(raw, &c->login))
        smtpc_fail(c, ERR_LIMIT, "the login has more than %d octets", SMTPC_LOGIN_MAX / 4 * 3);
    return buf_slice(&c->login);
}

/* "AUTH NTLM base64"; an empty initial response is "=" (RFC 4954 4). */
static bool build_auth(
    struct smtp_client *c, struct smtpc_command *cmd, const char *mech, struct slice initial)
{
    bool done = buf_addf(&cmd->line, "AUTH %s", mech);
    cmd->shown = cmd->line.len;
    if (initial.p) {
        struct slice base64 = encode_login(c, initial);
        if (c->state == SMTPC_OVER)
            return false; /* and `cmd` is gone with the queue */
        done = done && buf_add_char(&cmd->line, ' ') &&
               buf_add_slice(&cmd->line, base64.n > 0 ? base64 : SLICE_LIT("="));
    }
    return done && buf_add_str(&cmd->line, "\r\n");
}

static bool is_mech_name(const char *mech)
{
    /* RFC 4422 3.1 */
    size_t n = strspn(mech, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
    return n > 0 && mech[n] == '\0';
}

void smtp_client_auth(
    struct smtp_client *c, const char *mech, struct slice initial, uint64_t now_ms)
{
    smtpc_tick(c, now_ms);
    struct smtpc_command *cmd = smtpc_command_add(c, SMTP_CLIENT_AUTH);
    if (!cmd)
        return;
    if (!is_mech_name(mech)) {
        cmd->local_code = 504;
        cmd->local_text = "5.5.4 This is no name of a mechanism, it was not sent";
    } else if (!build_auth(c, cmd, mech, initial)) {
        smtpc_fail_memory(c);
    }
    smtpc_pump(c);
}

void smtp_client_auth_answer(struct smtp_client *c, struct slice response, uint64_t now_ms)
{
    smtpc_tick(c, now_ms);
    if (c->state != SMTPC_WANT_AUTH_ANSWER)
        return; /* the server ended the login while the owner was computing */
    struct slice base64 = encode_login(c, response);
    if (c->state == SMTPC_OVER)
        return;
    c->out.wipe = true; /* until it is empty, see smtp_client_sent */
    buf_add_slice(&c->out, base64);
    buf_add_str(&c->out, "\r\n");
    smtpc_trace_line(c, true, SLICE_LIT("[redacted]"));
    smtpc_set_state(c, SMTPC_EXPECT_AUTH);
}

void smtp_client_auth_cancel(struct smtp_client *c, uint64_t now_ms)
{
    smtpc_tick(c, now_ms);
    if (c->state != SMTPC_WANT_AUTH_ANSWER)
        return;
    smtpc_send_line(c, "*");
    smtpc_set_state(c, SMTPC_EXPECT_AUTH);
}

void smtpc_hide_login(struct smtp_client *c)
{
    enum { RECOGNISABLE = 8 }; /* octets; shorter ones would be found by chance */
    struct slice login = buf_slice(&c->login);
    struct slice text = buf_slice(&c->parser.reply.text);
    if (login.n < RECOGNISABLE || !slice_find(text, login))
        return;
    /* Some servers say "500 unknown command XXXX" and would write our password into our log. */
    smtp_reply_set(&c->parser.reply, c->parser.reply.code, "[the server repeats the login]");
}

/* The reply that ends AUTH. */
static bool end_auth(struct smtp_client *c, struct smtp_client_event *ev)
{
    buf_release_memory(&c->login);
    smtpc_command_drop(smtpc_head(c));
    smtpc_event_reply(c, SMTP_CLIENT_AUTH, ev);
    smtpc_set_state(c, SMTPC_READY);
    smtpc_end_if_closing(c);
    smtpc_pump(c);
    return true;
}

bool smtpc_on_auth(struct smtp_client *c, struct slice rest, struct smtp_client_event *ev)
{
    (void)rest;
    if (smtp_reply_class(&c->parser.reply) != 3)
        return end_auth(c, ev);
    if (c->parser.reply.code != 334)
        return smtpc_fail_reply(c, ERR_PROTO, "the reply to AUTH is no 334");
    smtpc_set_state(c, SMTPC_WANT_AUTH_ANSWER);
    *ev = (struct smtp_client_event){
        .kind = SMTP_CL_CHALLENGE,
        .text = buf_slice(&c->parser.reply.text),
        .reply = &c->parser.reply,
    };
    return true;
}

/* The server's turn was over: it may give up (421, 454, 535), but not go on. */
bool smtpc_on_early_auth(struct smtp_client *c, struct slice rest, struct smtp_client_event *ev)
{
    (void)rest;
    if (smtp_reply_class(&c->parser.reply) < 4)
        return smtpc_fail(c, ERR_PROTO, "the server went on with AUTH before it had our answer");
    return end_auth(c, ev);
}
