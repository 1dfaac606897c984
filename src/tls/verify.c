#include "base/ip.h"
#include "tls/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

enum { SHOWN_MAX = 120 }; /* of a name from a certificate, so that the whole sentence fits */

bool tls_is_address(const char *name)
{
    struct ip_addr addr;
    return ip_parse(slice_str(name), &addr);
}

static bool refuse(struct tls *t, gnutls_alert_description_t alert, const char *fmt, ...)
    FORMAT_LIKE_PRINTF(3, 4);

static bool refuse(struct tls *t, gnutls_alert_description_t alert, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    t->alert = alert;
    return err_set(&t->why, ERR_TLS, "%s", text);
}

/* "X509 names" may be long: at most SHOWN_MAX bytes of them, with a mark where they were cut. */
static const char *shown(const char *name, char text[SHOWN_MAX + 4])
{
    size_t n = strlen(name);
    if (n > SHOWN_MAX)
        snprintf(text, SHOWN_MAX + 4, "%.*s...", SHOWN_MAX, name);
    else
        memcpy(text, name, n + 1);
    return text;
}

/* --- one sentence per reason
 * ----------------------------------------------------------------------- */

static bool is_self_signed(const struct tls_chain *chain)
{
    return gnutls_x509_crt_check_issuer(chain->certs[0], chain->certs[0]) != 0;
}

static bool refuse_unknown(struct tls *t, const struct tls_chain *chain)
{
    char store[SHOWN_MAX + 4];
    const char *where = t->trust->ca_file ? shown(t->trust->ca_file, store) : "the system's store";
    if (chain->count == 1 && is_self_signed(chain))
        return refuse(t, GNUTLS_A_UNKNOWN_CA,
            "the certificate is self-signed and not in %s: set tls_ca_file to a copy of it, or "
            "tls_pin = %s",
            where, t->facts.pin);
    char issuer[256], text[SHOWN_MAX + 4];
    tls_name_text(chain->certs[chain->count - 1], true, issuer, sizeof issuer);
    return refuse(t, GNUTLS_A_UNKNOWN_CA,
        "the certificate is signed by '%s', which is not in %s: set tls_ca_file to a PEM file with "
        "that authority",
        shown(issuer, text), where);
}

/* The first certificate whose time is over, or has not come: the text says which if it is not the
 * server's. */
static bool refuse_time(struct tls *t, const struct tls_chain *chain, bool is_over)
{
    time_t now = time(NULL);
    unsigned i = 0;
    while (i + 1 < chain->count &&
           (is_over ? gnutls_x509_crt_get_expiration_time(chain->certs[i]) >= now
                    : gnutls_x509_crt_get_activation_time(chain->certs[i]) <= now))
        i++;
    char date[32], today[32], subject[256], text[SHOWN_MAX + 4];
    tls_date_text(now, today, sizeof today);
    tls_date_text(is_over ? gnutls_x509_crt_get_expiration_time(chain->certs[i])
                          : gnutls_x509_crt_get_activation_time(chain->certs[i]),
        date, sizeof date);
    tls_name_text(chain->certs[i], false, subject, sizeof subject);
    if (is_over)
        return refuse(t, GNUTLS_A_CERTIFICATE_EXPIRED,
            "the certificate of '%s' expired on %s: renew it on the server (today is %s here)",
            shown(subject, text), date, today);
    return refuse(t, GNUTLS_A_BAD_CERTIFICATE,
        "the certificate of '%s' is not valid before %s, and today is %s here: check this "
        "machine's "
        "clock",
        shown(subject, text), date, today);
}

static bool refuse_expired(struct tls *t, const struct tls_chain *chain)
{
    return refuse_time(t, chain, true);
}

static bool refuse_early(struct tls *t, const struct tls_chain *chain)
{
    return refuse_time(t, chain, false);
}

static bool refuse_weak(struct tls *t, const struct tls_chain *chain)
{
    (void)chain;
    return refuse(t, GNUTLS_A_INSUFFICIENT_SECURITY,
        "the certificate, or one above it, uses a weak algorithm or key (SHA-1, MD5, RSA below "
        "2048 "
        "bits): renew it on the server");
}

static bool refuse_revoked(struct tls *t, const struct tls_chain *chain)
{
    (void)chain;
    return refuse(t, GNUTLS_A_CERTIFICATE_REVOKED, "the certificate was revoked by its issuer");
}

static bool refuse_purpose(struct tls *t, const struct tls_chain *chain)
{
    (void)chain;
    return refuse(t, GNUTLS_A_UNSUPPORTED_CERTIFICATE,
        "the certificate is not meant for a TLS server (it lacks the purpose 'Server "
        "Authentication'): install another one on the server");
}

static bool refuse_issuer(struct tls *t, const struct tls_chain *chain)
{
    (void)chain;
    return refuse(t, GNUTLS_A_BAD_CERTIFICATE,
        "the certificate was signed by one that must not sign certificates");
}

static bool refuse_signature(struct tls *t, const struct tls_chain *chain)
{
    (void)chain;
    return refuse(t, GNUTLS_A_BAD_CERTIFICATE, "the certificate's signature is wrong");
}

/* GnuTLS may report several; the first row that fits is told. */
static const struct {
    unsigned flag;
    bool (*refuse)(struct tls *t, const struct tls_chain *chain);
} reasons[] = {
    { GNUTLS_CERT_REVOKED, refuse_revoked },
    { GNUTLS_CERT_SIGNATURE_FAILURE, refuse_signature },
    { GNUTLS_CERT_SIGNER_NOT_FOUND, refuse_unknown },
    { GNUTLS_CERT_EXPIRED, refuse_expired },
    { GNUTLS_CERT_NOT_ACTIVATED, refuse_early },
    { GNUTLS_CERT_SIGNER_NOT_CA, refuse_issuer },
    { GNUTLS_CERT_SIGNER_CONSTRAINTS_FAILURE, refuse_issuer },
    { GNUTLS_CERT_INSECURE_ALGORITHM, refuse_weak },
    { GNUTLS_CERT_PURPOSE_MISMATCH, refuse_purpose },
};

static bool refuse_status(struct tls *t, const struct tls_chain *chain, unsigned status)
{
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        if (status & reasons[i].flag)
            return reasons[i].refuse(t, chain);
    }
    gnutls_datum_t text = { .data = NULL, .size = 0 };
    gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0);
    refuse(t, GNUTLS_A_BAD_CERTIFICATE, "the certificate was not accepted: %s",
        text.data ? (const char *)text.data : "unknown reason");
    gnutls_free(text.data);
    return false;
}

/* --- the checks
 * ------------------------------------------------------------------------------------ */

static bool check_pin(struct tls *t, const struct tls_chain *chain)
{
    unsigned char hash[TLS_SHA256_SIZE];
    if (tls_key_hash(chain->certs[0], hash) && memcmp(hash, t->trust->pin, sizeof hash) == 0)
        return true;
    return refuse(t, GNUTLS_A_CERTIFICATE_UNKNOWN,
        "the server's key is not the one of tls_pin: it has the key %s; if the server got a new "
        "key "
        "on purpose, put that into tls_pin",
        t->facts.pin);
}

static bool check_chain(struct tls *t, const struct tls_chain *chain)
{
    if (t->trust->ca_count == 0)
        return refuse(t, GNUTLS_A_UNKNOWN_CA,
            "the system's store of certificates is empty: install the package ca-certificates or "
            "set "
            "tls_ca_file");
    unsigned status = 0;
    if (!t->trust->ca_file && tls_system_judge(t, chain, &status))
        return status == 0 || refuse_status(t, chain, status);
    static char purpose[] = GNUTLS_KP_TLS_WWW_SERVER;
    gnutls_typed_vdata_st wanted = { .type = GNUTLS_DT_KEY_PURPOSE_OID,
        .data = (unsigned char *)purpose };
    int error = gnutls_certificate_verify_peers(t->session, &wanted, 1, &status);
    if (error != GNUTLS_E_SUCCESS)
        return refuse(t, GNUTLS_A_BAD_CERTIFICATE, "the certificate could not be verified: %s",
            gnutls_strerror(error));
    return status == 0 || refuse_status(t, chain, status);
}

static bool check_name(struct tls *t, const struct tls_chain *chain)
{
    if (gnutls_x509_crt_check_hostname2(chain->certs[0], t->verify_name, 0) != 0)
        return true;
    char names[SHOWN_MAX + 4], expected[SHOWN_MAX + 4];
    const char *has = t->facts.names[0] != '\0' ? t->facts.names : t->facts.subject;
    return refuse(t, GNUTLS_A_BAD_CERTIFICATE,
        "the certificate is for %s, not %s: set tls_verify_name or get a certificate with that "
        "name",
        shown(has, names), shown(t->verify_name, expected));
}

static void free_chain(struct tls_chain *chain)
{
    while (chain->count > 0)
        gnutls_x509_crt_deinit(chain->certs[--chain->count]);
}

static bool import_chain(struct tls *t, struct tls_chain *chain)
{
    unsigned n = 0;
    const gnutls_datum_t *der = gnutls_certificate_get_peers(t->session, &n);
    if (!der || n == 0 || gnutls_certificate_type_get(t->session) != GNUTLS_CRT_X509)
        return refuse(t, GNUTLS_A_CERTIFICATE_REQUIRED, "the server sent no certificate");
    if (n > TLS_CHAIN_MAX)
        return refuse(t, GNUTLS_A_BAD_CERTIFICATE, "the server sent more than %d certificates",
            TLS_CHAIN_MAX);
    while (chain->count < n) {
        gnutls_x509_crt_t cert;
        if (gnutls_x509_crt_init(&cert) != GNUTLS_E_SUCCESS)
            return refuse(t, GNUTLS_A_INTERNAL_ERROR, "out of memory");
        chain->certs[chain->count++] = cert;
        int error = gnutls_x509_crt_import(cert, &der[chain->count - 1], GNUTLS_X509_FMT_DER);
        if (error != GNUTLS_E_SUCCESS)
            return refuse(t, GNUTLS_A_BAD_CERTIFICATE, "the certificate cannot be read: %s",
                gnutls_strerror(error));
    }
    return true;
}

int tls_verify_peer(gnutls_session_t session)
{
    struct tls *t = gnutls_session_get_ptr(session);
    tls_learn_session(t);
    struct tls_chain chain = { .count = 0 };
    bool is_good = import_chain(t, &chain);
    if (is_good) {
        tls_learn_certificate(t, chain.certs[0]);
        is_good = t->trust->has_pin ? check_pin(t, &chain)
                                    : check_chain(t, &chain) && check_name(t, &chain);
    }
    free_chain(&chain);
    return is_good ? GNUTLS_E_SUCCESS : GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR;
}
