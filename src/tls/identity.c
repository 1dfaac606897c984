#include "base/ip.h"
#include "base/str.h"
#include "tls/internal.h"

#include <gnutls/crypto.h>
#include <stdlib.h>

enum {
    DAY_S = 24 * 3600,
    SERIAL_SIZE = 16,
    PEM_MAX = 16384,
};

static struct tls_identity *new_identity(void)
{
    struct tls_identity *id = calloc(1, sizeof *id);
    if (!id)
        return NULL;
    if (gnutls_certificate_allocate_credentials(&id->cred) != GNUTLS_E_SUCCESS ||
        gnutls_priority_init(&id->priority, TLS_DEFAULT_PRIORITY, NULL) != GNUTLS_E_SUCCESS) {
        tls_identity_free(id);
        return NULL;
    }
    return id;
}

void tls_identity_free(struct tls_identity *identity)
{
    if (!identity)
        return;
    if (identity->cred)
        gnutls_certificate_free_credentials(identity->cred);
    if (identity->priority)
        gnutls_priority_deinit(identity->priority);
    free(identity);
}

static gnutls_datum_t datum_of(const struct buf *b)
{
    return (gnutls_datum_t){ .data = (unsigned char *)b->data + b->off, .size = (unsigned)b->len };
}

bool tls_identity_load(
    const char *cert_file, const char *key_file, struct tls_identity **ret_identity, struct err *e)
{
    struct tls_identity *id = new_identity();
    if (!id)
        return err_set(e, ERR_MEMORY, "out of memory");
    struct buf cert, key;
    buf_init(&cert, TLS_FILE_MAX);
    buf_init_secret(&key, TLS_FILE_MAX);
    bool done = tls_read_file("certificate", cert_file, &cert, e) &&
                tls_read_file("key", key_file, &key, e);
    if (done) {
        gnutls_datum_t cert_bytes = datum_of(&cert), key_bytes = datum_of(&key);
        int status = gnutls_certificate_set_x509_key_mem(
            id->cred, &cert_bytes, &key_bytes, GNUTLS_X509_FMT_PEM);
        done = status >= 0 || err_set(e, ERR_CONFIG, "certificate '%s' with key '%s': %s",
                                  cert_file, key_file, gnutls_strerror(status));
    }
    buf_fini(&cert);
    buf_fini(&key);
    if (done)
        *ret_identity = id;
    else
        tls_identity_free(id);
    return done;
}

/* --- making a certificate
 * -------------------------------------------------------------------------- */

static bool add_name(gnutls_x509_crt_t cert, struct slice name)
{
    char text[256];
    if (name.n == 0 || name.n >= sizeof text)
        return false;
    memcpy(text, name.p, name.n);
    text[name.n] = '\0';
    struct ip_addr ip;
    if (ip_parse(name, &ip))
        return gnutls_x509_crt_set_subject_alt_name(
                   cert, GNUTLS_SAN_IPADDRESS, ip.bytes, ip.len, GNUTLS_FSAN_APPEND) == 0;
    return gnutls_x509_crt_set_subject_alt_name(
               cert, GNUTLS_SAN_DNSNAME, text, (unsigned)name.n, GNUTLS_FSAN_APPEND) == 0;
}

/* The first name becomes the common name, all become alternative names. */
static bool set_names(gnutls_x509_crt_t cert, const char *names)
{
    struct slice rest = slice_str(names);
    bool is_first = true, is_last = false;
    while (!is_last) {
        const char *comma = rest.n > 0 ? memchr(rest.p, ',', rest.n) : NULL;
        is_last = !comma;
        struct slice name = slice_trim(comma ? slice_of(rest.p, (size_t)(comma - rest.p)) : rest);
        if (!add_name(cert, name))
            return false;
        if (is_first && gnutls_x509_crt_set_dn_by_oid(
                            cert, GNUTLS_OID_X520_COMMON_NAME, 0, name.p, (unsigned)name.n) != 0)
            return false;
        is_first = false;
        if (comma)
            rest = slice_skip(rest, (size_t)(comma - rest.p) + 1);
    }
    return true;
}

static void set_times(gnutls_x509_crt_t cert, int64_t now, int days)
{
    enum { LIFE_OF_EXPIRED = 30 };
    int64_t from = now - 3600, until = now + (int64_t)days * DAY_S;
    if (days < 0)
        from = until - (int64_t)LIFE_OF_EXPIRED * DAY_S;
    gnutls_x509_crt_set_activation_time(cert, (time_t)from);
    gnutls_x509_crt_set_expiration_time(cert, (time_t)until);
}

/* An authority of its own, so that every TLS library takes it as a CA file. */
static bool set_extensions(gnutls_x509_crt_t cert, gnutls_x509_privkey_t key)
{
    unsigned char serial[SERIAL_SIZE], key_id[64];
    size_t key_id_size = sizeof key_id;
    if (gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof serial) != 0)
        return false;
    serial[0] = (serial[0] & 0x3f) | 0x40; /* RFC 5280 4.1.2.2: positive */
    return gnutls_x509_crt_set_version(cert, 3) == 0 &&
           gnutls_x509_crt_set_serial(cert, serial, sizeof serial) == 0 &&
           gnutls_x509_crt_set_key(cert, key) == 0 &&
           gnutls_x509_crt_set_basic_constraints(cert, 1, 0) == 0 &&
           gnutls_x509_crt_set_key_usage(
               cert, GNUTLS_KEY_DIGITAL_SIGNATURE | GNUTLS_KEY_KEY_CERT_SIGN) == 0 &&
           gnutls_x509_crt_set_key_purpose_oid(cert, GNUTLS_KP_TLS_WWW_SERVER, 0) == 0 &&
           gnutls_x509_crt_get_key_id(cert, 0, key_id, &key_id_size) == 0 &&
           gnutls_x509_crt_set_subject_key_id(cert, key_id, key_id_size) == 0 &&
           gnutls_x509_crt_set_authority_key_id(cert, key_id, key_id_size) == 0;
}

static bool sign_and_use(
    gnutls_x509_crt_t cert, gnutls_x509_privkey_t key, struct tls_identity *id, struct buf *ca_pem)
{
    if (gnutls_x509_crt_sign2(cert, cert, key, GNUTLS_DIG_SHA256, 0) != 0 ||
        gnutls_certificate_set_x509_key(id->cred, &cert, 1, key) < 0)
        return false;
    gnutls_datum_t pem = { .data = NULL, .size = 0 };
    if (gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &pem) != 0)
        return false;
    bool fits = buf_add(ca_pem, pem.data, pem.size);
    gnutls_free(pem.data);
    return fits;
}

bool tls_identity_make(const char *names, int64_t now, int days, struct tls_identity **ret_identity,
    struct buf *ca_pem, struct err *e)
{
    gnutls_x509_crt_t cert = NULL;
    gnutls_x509_privkey_t key = NULL;
    struct tls_identity *id = new_identity();
    bool done = id && gnutls_x509_crt_init(&cert) == 0 && gnutls_x509_privkey_init(&key) == 0 &&
                gnutls_x509_privkey_generate2(key, GNUTLS_PK_ECDSA,
                    GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0, NULL, 0) == 0 &&
                set_names(cert, names) && set_extensions(cert, key);
    if (done) {
        set_times(cert, now, days);
        done = sign_and_use(cert, key, id, ca_pem);
    }
    if (cert)
        gnutls_x509_crt_deinit(cert);
    if (key)
        gnutls_x509_privkey_deinit(key);
    if (done) {
        *ret_identity = id;
        return true;
    }
    tls_identity_free(id);
    return err_set(e, ERR_TLS, "cannot make a certificate for '%s'", names);
}
