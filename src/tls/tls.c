#include "base/str.h"
#include "tls/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* --- carrying bytes between GnuTLS and the two buffers
 * --------------------------------------------- */

static ssize_t pull(gnutls_transport_ptr_t ptr, void *to, size_t size)
{
    struct tls *t = ptr;
    if (t->in.len == 0) {
        t->is_starved = true;
        gnutls_transport_set_errno(t->session, EAGAIN);
        return -1;
    }
    size_t n = size < t->in.len ? size : t->in.len;
    memcpy(to, buf_slice(&t->in).p, n);
    buf_consume(&t->in, n);
    return (ssize_t)n;
}

static int pull_timeout(gnutls_transport_ptr_t ptr, unsigned ms)
{
    (void)ms; /* there is nothing to wait for */
    struct tls *t = ptr;
    return t->in.len > 0;
}

static ssize_t push(gnutls_transport_ptr_t ptr, const void *from, size_t size)
{
    struct tls *t = ptr;
    if (buf_add(&t->out, from, size))
        return (ssize_t)size;
    t->has_put_failed = true;
    gnutls_transport_set_errno(t->session, EIO);
    return -1;
}

static void give_back(struct buf *b)
{
    if (b->len == 0 && b->cap > TLS_KEEP_MEMORY)
        buf_release_memory(b);
}

/* --- making and freeing
 * ---------------------------------------------------------------------------- */

static struct tls *new_session(
    unsigned flags, gnutls_certificate_credentials_t cred, gnutls_priority_t priority)
{
    struct tls *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    buf_init(&t->in, TLS_IN_MAX);
    buf_init(&t->out, TLS_OUT_MAX);
    if (gnutls_init(&t->session, flags | GNUTLS_NONBLOCK | GNUTLS_NO_TICKETS) != GNUTLS_E_SUCCESS) {
        t->session = NULL;
        tls_free(t);
        return NULL;
    }
    gnutls_session_set_ptr(t->session, t);
    gnutls_transport_set_ptr(t->session, t);
    gnutls_transport_set_pull_function(t->session, pull);
    gnutls_transport_set_pull_timeout_function(t->session, pull_timeout);
    gnutls_transport_set_push_function(t->session, push);
    if (gnutls_priority_set(t->session, priority) != GNUTLS_E_SUCCESS ||
        gnutls_credentials_set(t->session, GNUTLS_CRD_CERTIFICATE, cred) != GNUTLS_E_SUCCESS) {
        tls_free(t);
        return NULL;
    }
    return t;
}

/* A certificate carries "mail.corp.example", whoever wrote "mail.corp.example." means the same. */
static char *without_dot(const char *name)
{
    size_t n = strlen(name);
    return slice_dup(slice_of(name, n > 0 && name[n - 1] == '.' ? n - 1 : n));
}

bool tls_client_new(
    struct tls_trust *trust, const char *verify_name, struct tls **ret_tls, struct err *e)
{
    struct tls *t = new_session(GNUTLS_CLIENT, trust->cred, trust->priority);
    if (!t)
        return err_set(e, ERR_MEMORY, "out of memory");
    t->trust = tls_trust_ref(trust);
    t->verify_name = without_dot(verify_name);
    if (!t->verify_name) {
        tls_free(t);
        return err_set(e, ERR_MEMORY, "out of memory");
    }
    gnutls_session_set_verify_function(t->session, tls_verify_peer);
    /* RFC 6066 3: literal addresses are not permitted in SNI. A name that GnuTLS cannot encode is
     * not sent and then does not match the certificate either. */
    if (!tls_is_address(t->verify_name))
        gnutls_server_name_set(t->session, GNUTLS_NAME_DNS, t->verify_name, strlen(t->verify_name));
    *ret_tls = t;
    return true;
}

bool tls_server_new(struct tls_identity *identity, struct tls **ret_tls, struct err *e)
{
    struct tls *t = new_session(GNUTLS_SERVER, identity->cred, identity->priority);
    if (!t)
        return err_set(e, ERR_MEMORY, "out of memory");
    gnutls_certificate_server_set_request(t->session, GNUTLS_CERT_IGNORE);
    *ret_tls = t;
    return true;
}

void tls_free(struct tls *t)
{
    if (!t)
        return;
    if (t->session)
        gnutls_deinit(t->session);
    tls_trust_unref(t->trust);
    free(t->verify_name);
    buf_fini(&t->in);
    buf_fini(&t->out);
    free(t);
}

/* --- failures
 * -------------------------------------------------------------------------------------- */

static const struct {
    int error;
    const char *text;
} sentences[] = {
    { GNUTLS_E_UNSUPPORTED_VERSION_PACKET,
        "the peer speaks no TLS version that is allowed here (the default is 1.2 and 1.3; "
        "tls_priority can allow others)" },
    { GNUTLS_E_NO_CIPHER_SUITES, "the peer and tls_priority have no cipher in common" },
    { GNUTLS_E_INSUFFICIENT_SECURITY, "the peer's cipher or key is too weak for tls_priority" },
    { GNUTLS_E_DH_PRIME_UNACCEPTABLE,
        "the peer's Diffie-Hellman group is too small (less than 2048 bits)" },
    { GNUTLS_E_UNEXPECTED_PACKET_LENGTH, "the peer answered with something that is not TLS" },
    { GNUTLS_E_RECORD_OVERFLOW, "the peer answered with something that is not TLS" },
    { GNUTLS_E_UNEXPECTED_PACKET, "the peer sent something that is not TLS, or not at this point" },
    { GNUTLS_E_DECRYPTION_FAILED, "a TLS record was damaged on its way" },
};

static void explain(struct tls *t, int error)
{
    if (error == GNUTLS_E_FATAL_ALERT_RECEIVED) {
        gnutls_alert_description_t alert = gnutls_alert_get(t->session);
        const char *name = gnutls_alert_get_name(alert);
        err_set(&t->why, ERR_TLS, "the peer ended TLS with the alert '%s' (%d)",
            name ? name : "unknown", (int)alert);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(sentences); i++) {
        if (sentences[i].error == error) {
            err_set(&t->why, ERR_TLS, "%s", sentences[i].text);
            return;
        }
    }
    err_set(&t->why, ERR_TLS, "TLS failed: %s", gnutls_strerror(error));
}

/* The session is over: the reason is kept, the peer gets an alert unless it sent one. */
static enum tls_status fail(struct tls *t, int error, struct err *e)
{
    if (t->state != TLS_BROKEN) {
        t->state = TLS_BROKEN;
        bool is_verdict =
            error == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR && t->why.kind != ERR_NONE;
        if (t->has_put_failed)
            err_set(&t->why, ERR_LIMIT, "too much is waiting to be sent");
        else if (!is_verdict)
            explain(t, error);
        if (is_verdict)
            gnutls_alert_send(t->session, GNUTLS_AL_FATAL, t->alert);
        else if (error != GNUTLS_E_FATAL_ALERT_RECEIVED)
            gnutls_alert_send_appropriate(t->session, error);
        buf_release_memory(&t->in);
    }
    if (e)
        *e = t->why;
    return TLS_FAILED;
}

/* --- the session
 * ------------------------------------------------------------------------------------ */

bool tls_put_input(struct tls *t, struct slice bytes)
{
    if (t->state == TLS_BROKEN || t->state == TLS_ENDED)
        return true; /* nobody will read it */
    return buf_add_slice(&t->in, bytes);
}

enum tls_status tls_handshake(struct tls *t, struct err *e)
{
    if (t->state == TLS_BROKEN)
        return fail(t, GNUTLS_E_INVALID_SESSION, e);
    while (t->state == TLS_WANT_HANDSHAKE) {
        t->is_starved = false;
        int status = gnutls_handshake(t->session);
        if (status == GNUTLS_E_AGAIN && t->is_starved)
            return TLS_AGAIN;
        if (status == GNUTLS_E_SUCCESS) {
            t->state = TLS_SECURE;
            tls_learn_session(t);
        } else if (status != GNUTLS_E_WARNING_ALERT_RECEIVED && status != GNUTLS_E_AGAIN) {
            return fail(t, status, e);
        }
    }
    return TLS_DONE;
}

/* A TLS 1.2 peer wants to renegotiate: RFC 5746 4.5 lets us say no. */
static bool decline_renegotiation(struct tls *t)
{
    return ++t->renegotiations <= TLS_RENEGOTIATIONS_MAX &&
           gnutls_alert_send(t->session, GNUTLS_AL_WARNING, GNUTLS_A_NO_RENEGOTIATION) ==
               GNUTLS_E_SUCCESS;
}

/* What to do about a result of gnutls_record_recv that is no data: DONE means go on reading. GnuTLS
 * says AGAIN behind a key update or a ticket, too, while more records wait. */
static enum tls_status no_data(struct tls *t, ssize_t n, struct err *e)
{
    if (n == GNUTLS_E_AGAIN)
        return t->is_starved ? TLS_AGAIN : TLS_DONE;
    if (n == 0) {
        t->state = TLS_ENDED;
        return TLS_CLOSED;
    }
    if (n == GNUTLS_E_REHANDSHAKE && decline_renegotiation(t))
        return TLS_DONE;
    if (n != GNUTLS_E_REHANDSHAKE && gnutls_error_is_fatal((int)n) == 0)
        return TLS_DONE;
    return fail(t, (int)n, e);
}

enum tls_status tls_read(struct tls *t, struct buf *out, struct err *e)
{
    if (t->state == TLS_ENDED)
        return TLS_CLOSED;
    if (t->state != TLS_SECURE)
        return fail(t, GNUTLS_E_INVALID_SESSION, e);
    size_t before = out->len;
    enum tls_status status = TLS_DONE;
    while (status == TLS_DONE && out->len < out->max) {
        size_t room = out->max - out->len;
        room = room < TLS_RECORD_SIZE ? room : TLS_RECORD_SIZE;
        char *to = buf_reserve(out, room);
        if (!to)
            return fail(t, GNUTLS_E_MEMORY_ERROR, e);
        t->is_starved = false;
        ssize_t n = gnutls_record_recv(t->session, to, room);
        if (n > 0)
            buf_commit(out, (size_t)n);
        else
            status = no_data(t, n, e);
        if (n > 0 && !tls_has_input(t))
            break; /* asking GnuTLS for what is not there costs as much as a small record */
    }
    give_back(&t->in);
    return out->len > before ? TLS_DONE : status;
}

bool tls_write(struct tls *t, struct slice text, struct err *e)
{
    if (t->state != TLS_SECURE && t->state != TLS_ENDED) {
        fail(t, GNUTLS_E_INVALID_SESSION, e);
        return false;
    }
    size_t records = text.n / TLS_RECORD_SIZE + 1;
    buf_reserve(&t->out, text.n + records * TLS_RECORD_EXTRA); /* one allocation instead of many */
    while (text.n > 0) {
        ssize_t n = gnutls_record_send(t->session, text.p, text.n);
        if (n < 0) {
            fail(t, (int)n, e);
            return false;
        }
        text = slice_skip(text, (size_t)n);
    }
    return true;
}

void tls_bye(struct tls *t)
{
    bool may_speak = t->state == TLS_SECURE || t->state == TLS_ENDED;
    if (!may_speak || t->said_bye)
        return;
    t->said_bye = true;
    gnutls_bye(t->session, GNUTLS_SHUT_WR);
}

struct buf *tls_output(struct tls *t)
{
    return &t->out;
}

bool tls_has_input(const struct tls *t)
{
    return t->in.len > 0 || t->state == TLS_ENDED || gnutls_record_check_pending(t->session) > 0;
}

bool tls_channel_binding(struct tls *t, struct buf *out)
{
    static const char prefix[] = "tls-server-end-point:";
    gnutls_datum_t hash = { .data = NULL, .size = 0 };
    if (t->state != TLS_SECURE || gnutls_session_channel_binding(t->session,
                                      GNUTLS_CB_TLS_SERVER_END_POINT, &hash) != GNUTLS_E_SUCCESS)
        return false;
    bool fits = buf_reserve(out, sizeof prefix - 1 + hash.size) && buf_add_str(out, prefix) &&
                buf_add(out, hash.data, hash.size);
    gnutls_free(hash.data);
    return fits;
}
