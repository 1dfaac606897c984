/*
 * Exchange's half of the dialogue: what is announced, who may log in, which messages are taken.
 */
#include "sandbox/session_internal.h"

#include "base/str.h"
#include "tls/tls.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    REPLY_TEXT_MAX = 256,
    BINDING_MAX = 256,
    CHALLENGE_MAX = 32768,
    MECH_MAX = 32,
};

/* --- what is announced --------------------------------------------------------------------- */

static void set_caps(struct smtp_caps *caps, bool is_offered, enum smtp_cap cap)
{
    if (is_offered)
        caps->set |= (uint32_t)cap;
}

/* Exchange offers what sends passwords under TLS only; without any TLS there is no later. */
static const char *auth_offered(const struct session *s)
{
    const struct options *o = s->box->options;
    if (o->no_auth)
        return "";
    if (o->tls == OPTION_TLS_OFF || conn_tls(s->conn))
        return s->box->auth;
    return s->box->has_ntlm ? "NTLM" : "";
}

static struct smtp_caps offered(const struct session *s)
{
    const struct options *o = s->box->options;
    struct smtp_caps caps = { .set = SMTP_CAP_ENHANCEDSTATUSCODES, .size = o->size };
    snprintf(caps.auth, sizeof caps.auth, "%s", auth_offered(s));
    set_caps(&caps, caps.auth[0] != '\0', SMTP_CAP_AUTH);
    set_caps(&caps, o->tls == OPTION_TLS_STARTTLS && !conn_tls(s->conn), SMTP_CAP_STARTTLS);
    set_caps(&caps, !o->no_size, SMTP_CAP_SIZE);
    set_caps(&caps, !o->no_pipelining, SMTP_CAP_PIPELINING);
    set_caps(&caps, !o->no_8bitmime, SMTP_CAP_8BITMIME);
    set_caps(&caps, !o->no_dsn, SMTP_CAP_DSN);
    set_caps(&caps, !o->no_chunking, SMTP_CAP_CHUNKING);
    set_caps(&caps, o->smtputf8, SMTP_CAP_SMTPUTF8);
    return caps;
}

static void on_hello(struct session *s, const struct smtp_event *ev)
{
    s->caps = offered(s);
    smtp_server_hello(s->server, ev->ticket, &s->caps);
}

/* --- login --------------------------------------------------------------------------------- */

void session_give_verdict(struct session *s)
{
    const struct options *o = s->box->options;
    s->verdict_ms = 0;
    s->failures++;
    store_counters(s->box->store)->refused_logins++;
    smtp_server_reply(s->server, s->verdict_ticket, 535, "5.7.3", "Authentication unsuccessful");
    if (o->logon_failures > 0 && s->failures >= o->logon_failures)
        smtp_server_shut_down(
            s->server, "4.7.0", "Too many errors on this connection, closing transmission channel");
}

static void refuse_login(struct session *s, uint32_t ticket)
{
    s->verdict_ticket = ticket;
    if (s->box->options->tarpit == 0)
        session_give_verdict(s);
    else
        s->verdict_ms = session_now_ms(s) + s->box->options->tarpit;
}

static void accept_login(struct session *s, uint32_t ticket)
{
    s->account = s->login.account;
    store_counters(s->box->store)->logins++;
    smtp_server_authenticated(s->server);
    smtp_server_reply(s->server, ticket, 235, "2.7.0", "Authentication successful");
}

static void answer_login(struct session *s, uint32_t ticket, enum login_status status,
    const struct buf *challenge, const struct err *why)
{
    switch (status) {
    case LOGIN_CHALLENGE:
        smtp_server_challenge(s->server, ticket, buf_slice(challenge));
        return;
    case LOGIN_ACCEPTED:
        accept_login(s, ticket);
        return;
    case LOGIN_REFUSED:
        session_trace(s, why->text);
        refuse_login(s, ticket);
        return;
    case LOGIN_MALFORMED:
        smtp_server_reply(s->server, ticket, 501, "5.5.2", "Cannot decode the response");
        return;
    case LOGIN_UNKNOWN:
        smtp_server_reply(s->server, ticket, 504, "5.7.4", "Unrecognized authentication type");
        return;
    }
}

/* What NTLM must be bound to; nothing unless --epa. */
static bool take_binding(struct session *s, struct buf *binding, struct err *e)
{
    if (!s->box->options->epa)
        return true;
    bool is_taken = conn_tls(s->conn) && tls_channel_binding(conn_tls(s->conn), binding);
    return (is_taken && binding->len > 0) ||
           err_set(e, ERR_TLS, "no TLS channel to bind a login to");
}

static void on_auth(struct session *s, const struct smtp_event *ev)
{
    struct err why = { .text = "" };
    struct buf challenge, binding;
    buf_init(&challenge, CHALLENGE_MAX);
    buf_init(&binding, BINDING_MAX);
    char mech[MECH_MAX];
    snprintf(mech, sizeof mech, "%.*s", SLICE_ARG(ev->text));
    enum login_status status;
    if (!smtp_caps_have_mech(&s->caps, mech))
        status = LOGIN_UNKNOWN;
    else if (!take_binding(s, &binding, &why))
        status = LOGIN_REFUSED;
    else
        status = login_begin(
            &s->login, slice_str(mech), ev->response, buf_slice(&binding), &challenge, &why);
    answer_login(s, ev->ticket, status, &challenge, &why);
    buf_fini(&challenge);
    buf_fini(&binding);
}

static void on_auth_data(struct session *s, const struct smtp_event *ev)
{
    struct err why = { .text = "" };
    struct buf challenge;
    buf_init(&challenge, CHALLENGE_MAX);
    enum login_status status = login_answer(&s->login, ev->response, &challenge, &why);
    answer_login(s, ev->ticket, status, &challenge, &why);
    buf_fini(&challenge);
}

/* --- messages ------------------------------------------------------------------------------ */

void session_drop_message(struct session *s)
{
    message_drop(s->message);
    s->message = NULL;
    s->has_data = false;
    s->is_impostor = false;
}

static bool is_impostor(const struct session *s, enum option_send_as when, struct slice mailbox)
{
    return s->box->options->send_as == when && s->account &&
           !accounts_may_send_as(s->box->judges.accounts, s->account, mailbox);
}

static void refuse_impostor(struct session *s, uint32_t ticket)
{
    smtp_server_reply(s->server, ticket, 550, "5.7.60",
        "SMTP; Client does not have permissions to send as this sender");
}

/* Those who did not log in are one user, the last. */
static bool is_within_rate(struct session *s)
{
    const struct sandbox *box = s->box;
    unsigned user = s->account ? s->account->index : accounts_count(box->judges.accounts);
    return limits_take_message(box->limits, user, session_now_ms(s));
}

static void on_mail(struct session *s, const struct smtp_event *ev)
{
    struct slice mailbox = ev->mail->from.mailbox;
    session_drop_message(s);
    if (!is_within_rate(s)) {
        smtp_server_reply(s->server, ev->ticket, 421, "4.4.2",
            "Message submission rate for this client has exceeded the configured limit");
        return;
    }
    if (is_impostor(s, OPTION_SEND_AS_MAIL, mailbox)) {
        refuse_impostor(s, ev->ticket);
        return;
    }
    s->is_impostor = is_impostor(s, OPTION_SEND_AS_DOT, mailbox);
    s->message = message_new(s->box->store, ev->mail);
    if (s->message)
        smtp_server_reply(s->server, ev->ticket, 250, "2.1.0", "Sender OK");
    else
        smtp_server_reply(s->server, ev->ticket, 451, "4.3.0", "The message cannot be kept");
}

static bool is_listed(const struct option_texts *patterns, struct slice mailbox)
{
    for (unsigned i = 0; i < patterns->count; i++) {
        if (str_glob_nocase(patterns->text[i], mailbox))
            return true;
    }
    return false;
}

static void on_rcpt(struct session *s, const struct smtp_event *ev)
{
    const struct options *o = s->box->options;
    struct slice mailbox = ev->rcpt->to.mailbox;
    if (is_listed(&o->reject_rcpt, mailbox))
        smtp_server_reply(s->server, ev->ticket, 550, "5.1.1", "User unknown");
    else if (is_listed(&o->defer_rcpt, mailbox))
        smtp_server_reply(s->server, ev->ticket, 451, "4.3.0", "Mailbox is busy, try again later");
    else if (!message_add_recipient(s->message, ev->rcpt))
        smtp_server_reply(s->server, ev->ticket, 451, "4.3.0", "The recipient cannot be kept");
    else
        smtp_server_reply(s->server, ev->ticket, 250, "2.1.5", "Recipient OK");
}

static void on_data(struct session *s, const struct smtp_event *ev)
{
    s->has_data = true;
    smtp_server_reply(s->server, ev->ticket, 354, NULL, "Start mail input; end with <CRLF>.<CRLF>");
}

static bool commit(struct session *s, uint64_t size)
{
    struct tls_facts tls = { .version = "" };
    bool has_tls = conn_tls(s->conn) != NULL;
    if (has_tls && !s->box->options->discard)
        tls_facts(conn_tls(s->conn), &tls);
    const struct message_facts facts = {
        .account = s->account ? s->account->name : NULL,
        .mechanism = s->account ? login_mech_name(&s->login) : NULL,
        .has_binding = s->account && s->login.has_binding,
        .is_bound = s->account && s->login.has_binding && s->box->options->epa,
        .tls_version = has_tls ? tls.version : NULL,
        .tls_cipher = has_tls ? tls.cipher : NULL,
        .protocol = s->has_data ? "DATA" : "BDAT",
        .helo = smtp_server_helo(s->server),
        .client = conn_peer(s->conn),
        .client_port = conn_peer_port(s->conn),
        .session = s->id,
        .size = size,
        .time = loop_wall_s(s->box->loop),
    };
    struct message *message = s->message;
    s->message = NULL;
    return message_commit(message, &facts);
}

/* True when this is the message that --drop-after-dot leaves without an answer. */
static bool is_to_be_dropped(struct session *s)
{
    uint64_t every = s->box->options->drop_after_dot;
    return every > 0 && ++s->box->dots % every == 0;
}

static void accept_message(struct session *s, const struct smtp_event *ev)
{
    if (!commit(s, ev->text_size)) {
        smtp_server_reply(s->server, ev->ticket, 451, "4.3.0", "The message could not be kept");
        return;
    }
    char text[REPLY_TEXT_MAX];
    snprintf(text, sizeof text, "[InternalId=%" PRIu64 ", Hostname=%s] Queued mail for delivery",
        store_counters(s->box->store)->messages, s->box->options->hostname);
    smtp_server_reply(s->server, ev->ticket, 250, "2.6.0", text);
}

static void on_body_end(struct session *s, const struct smtp_event *ev)
{
    if (ev->is_too_big) {
        session_drop_message(s);
        return;
    }
    if (is_to_be_dropped(s)) {
        s->is_leaving = true; /* without an answer */
        if (s->box->options->keep_dropped)
            commit(s, ev->text_size);
    } else if (s->is_impostor) {
        refuse_impostor(s, ev->ticket);
    } else {
        accept_message(s, ev);
    }
    session_drop_message(s);
}

void session_answer(struct session *s, const struct smtp_event *ev)
{
    switch (ev->kind) {
    case SMTP_EV_HELLO:
        on_hello(s, ev);
        return;
    case SMTP_EV_MAIL:
        on_mail(s, ev);
        return;
    case SMTP_EV_RCPT:
        on_rcpt(s, ev);
        return;
    case SMTP_EV_DATA:
        on_data(s, ev);
        return;
    case SMTP_EV_BODY:
        message_add_text(s->message, ev->text); /* a failure shows at the end */
        return;
    case SMTP_EV_BODY_END:
        on_body_end(s, ev);
        return;
    case SMTP_EV_RESET:
        session_drop_message(s);
        return;
    case SMTP_EV_STARTTLS:
        s->wants_tls = true;
        return;
    case SMTP_EV_AUTH:
        on_auth(s, ev);
        return;
    case SMTP_EV_AUTH_DATA:
        on_auth_data(s, ev);
        return;
    case SMTP_EV_CLOSE:
        s->is_leaving = true;
        return;
    }
}
