/* The protocol machine's events on an upstream session. */
#include "relay/outbound_internal.h"

#include <stdio.h>

static void caps_to_text(const struct smtp_caps *caps, char *text, size_t size)
{
    struct buf line;
    buf_init(&line, size - 1);
    for (unsigned bit = 0; bit <= SMTP_CAP_BIT_AUTH; bit++) {
        if (!(caps->set & 1U << bit))
            continue;
        if (line.len > 0)
            buf_add_str(&line, ", ");
        smtp_caps_add_keyword(caps, (enum smtp_cap_bit)bit, &line);
    }
    snprintf(text, size, "%s", buf_cstr(&line));
    buf_fini(&line);
}

static void on_banner(struct outbound *o, const struct smtp_client_event *ev)
{
    struct buf words;
    buf_init(&words, SMTP_REPLY_MAX + 64);
    smtp_reply_add_oneline(ev->reply, &words);
    out_tell_step(o, OUTBOUND_BANNER, buf_cstr(&words));
    buf_fini(&words);
}

static void on_hello(struct outbound *o, const struct smtp_client_event *ev)
{
    char detail[OUTBOUND_DETAIL_MAX];
    caps_to_text(smtp_client_caps(o->client), detail, sizeof detail);
    out_tell_step(o, conn_tls(o->conn) ? OUTBOUND_HELLO_SECURED : OUTBOUND_HELLO, detail);
    if (!ev->is_final || o->is_freed)
        return;
    if (strcmp(o->config->auth, "none") == 0) {
        out_be_ready(o);
        return;
    }
    out_set_state(o, WANT_LOGIN);
    struct err why;
    if (!out_begin_login(o, &why)) {
        if (why.kind == ERR_PROTO || why.kind == ERR_REFUSED)
            why.kind = ERR_AUTH;
        out_fail(o, &why, NULL);
    }
}

bool out_start_tls(struct outbound *o, struct err *e)
{
    const char *name = o->config->tls_verify_name;
    struct tls *tls;
    if (!tls_client_new(o->setup->trust, name[0] ? name : o->host->name, &tls, e))
        return false;
    conn_start_tls(o->conn, tls);
    return true;
}

static void on_start_tls(struct outbound *o, const struct smtp_client_event *ev)
{
    (void)ev;
    struct err why;
    if (!out_start_tls(o, &why))
        out_fail(o, &why, NULL);
}

static void on_challenge(struct outbound *o, const struct smtp_client_event *ev)
{
    struct err why;
    if (o->login && !login_step(o->login, ev->text, &why))
        out_fail(o, &why, NULL);
}

static void on_reply(struct outbound *o, const struct smtp_client_event *ev)
{
    if (ev->command == SMTP_CLIENT_AUTH)
        out_on_login_reply(o, ev->reply);
    else if (o->events->on_reply)
        o->events->on_reply(o->user, o, ev->command, ev->reply);
}

static void on_failed(struct outbound *o, const struct smtp_client_event *ev)
{
    out_fail(o, ev->err, ev->reply);
}

typedef void event_fn(struct outbound *o, const struct smtp_client_event *ev);

static event_fn *const event_handlers[] = {
    [SMTP_CL_BANNER] = on_banner,
    [SMTP_CL_HELLO] = on_hello,
    [SMTP_CL_START_TLS] = on_start_tls,
    [SMTP_CL_CHALLENGE] = on_challenge,
    [SMTP_CL_REPLY] = on_reply,
    [SMTP_CL_FAILED] = on_failed,
};

void out_pump(struct outbound *o, struct slice *in)
{
    out_enter(o);
    o->is_pumping = true;
    struct smtp_client_event ev;
    while (o->client && o->state != OVER && !o->is_freed &&
           smtp_client_step(o->client, in, &ev, loop_now_ms(o->loop)) == SMTP_CLIENT_EVENT)
        event_handlers[ev.kind](o, &ev);
    o->is_pumping = false;
    if (!o->is_freed)
        outbound_flush(o);
    out_release_if_drained(o);
    out_leave(o);
}

void outbound_poll(struct outbound *o)
{
    struct slice nothing = SLICE_NONE;
    if (!o->is_pumping) /* else the loop in progress comes to it */
        out_pump(o, &nothing);
}
