#include "base/base64.h"
#include "base/str.h"
#include "tls/internal.h"

#include <stdlib.h>

static bool is_set(const char *s)
{
    return s && *s != '\0';
}

/* --- the values of the configuration -------------------------------------------------------------
 */

static bool parse_pin(const char *text, unsigned char ret_hash[TLS_SHA256_SIZE])
{
    static const char prefix[] = "sha256:";
    if (strncmp(text, prefix, sizeof prefix - 1) != 0)
        return false;
    struct buf hash;
    buf_init(&hash, TLS_SHA256_SIZE);
    bool is_good =
        base64_decode(slice_str(text + sizeof prefix - 1), &hash) && hash.len == TLS_SHA256_SIZE;
    if (is_good)
        memcpy(ret_hash, buf_slice(&hash).p, TLS_SHA256_SIZE);
    buf_fini(&hash);
    return is_good;
}

bool tls_pin_is_valid(const char *pin)
{
    unsigned char hash[TLS_SHA256_SIZE];
    return parse_pin(pin, hash);
}

bool tls_priority_is_valid(const char *priority)
{
    gnutls_priority_t p;
    if (gnutls_priority_init(&p, priority, NULL) != GNUTLS_E_SUCCESS)
        return false;
    gnutls_priority_deinit(p);
    return true;
}

/* --- making it -----------------------------------------------------------------------------------
 */

static bool load_ca_file(struct tls_trust *trust, const char *path, struct err *e)
{
    trust->ca_file = str_dup(path);
    if (!trust->ca_file)
        return err_set(e, ERR_MEMORY, "out of memory");
    struct buf pem;
    buf_init(&pem, TLS_FILE_MAX);
    bool done = tls_read_file("tls_ca_file", path, &pem, e);
    if (done) {
        gnutls_datum_t bytes = { .data = (unsigned char *)pem.data + pem.off,
            .size = (unsigned)pem.len };
        int n = gnutls_certificate_set_x509_trust_mem(trust->cred, &bytes, GNUTLS_X509_FMT_PEM);
        trust->ca_count = n > 0 ? n : 0;
        if (n == 0 || n == GNUTLS_E_NO_CERTIFICATE_FOUND)
            done =
                err_set(e, ERR_CONFIG, "tls_ca_file '%s': it has no certificate in PEM form", path);
        else if (n < 0)
            done = err_set(e, ERR_CONFIG, "tls_ca_file '%s': %s", path, gnutls_strerror(n));
    }
    buf_fini(&pem);
    return done;
}

static bool load_priority(struct tls_trust *trust, const char *text, struct err *e)
{
    const char *at = NULL;
    int status =
        gnutls_priority_init(&trust->priority, is_set(text) ? text : TLS_DEFAULT_PRIORITY, &at);
    if (status == GNUTLS_E_SUCCESS)
        return true;
    trust->priority = NULL;
    return err_set(
        e, ERR_CONFIG, "tls_priority '%s': not understood from '%s' on", text, at ? at : text);
}

static bool load_trust(
    struct tls_trust *trust, const struct tls_trust_params *params, struct err *e)
{
    if (gnutls_certificate_allocate_credentials(&trust->cred) != GNUTLS_E_SUCCESS)
        return err_set(e, ERR_MEMORY, "out of memory");
    if (!load_priority(trust, params->priority, e))
        return false;
    if (is_set(params->pin)) {
        trust->has_pin = true;
        if (!parse_pin(params->pin, trust->pin))
            return err_set(e, ERR_CONFIG,
                "tls_pin '%s': must be 'sha256:' and the base64 of a SHA-256 hash (44 characters)",
                params->pin);
    }
    if (is_set(params->ca_file))
        return load_ca_file(trust, params->ca_file, e);
    if (!trust->has_pin) {
        /* An empty store is an error of the first handshake that needs it, not of every start. */
        trust->ca_count = tls_system_load(trust->cred);
    }
    return true;
}

bool tls_trust_new(
    const struct tls_trust_params *params, struct tls_trust **ret_trust, struct err *e)
{
    struct tls_trust *trust = calloc(1, sizeof *trust);
    if (!trust)
        return err_set(e, ERR_MEMORY, "out of memory");
    trust->refs = 1;
    if (!load_trust(trust, params, e)) {
        tls_trust_unref(trust);
        return false;
    }
    *ret_trust = trust;
    return true;
}

struct tls_trust *tls_trust_ref(struct tls_trust *trust)
{
    trust->refs++;
    return trust;
}

void tls_trust_unref(struct tls_trust *trust)
{
    if (!trust || --trust->refs > 0)
        return;
    if (trust->cred)
        gnutls_certificate_free_credentials(trust->cred);
    if (trust->priority)
        gnutls_priority_deinit(trust->priority);
    free(trust->ca_file);
    free(trust);
}
