#include "base/base64.h"
#include "base/ip.h"
#include "base/str.h"
#include "tls/internal.h"

#include <stdio.h>
#include <time.h>

/* Certificates are the peer's text: made printable, and cut without splitting a character. */
static void copy_printable(struct slice from, char *to, size_t size)
{
    struct buf text;
    buf_init(&text, 8192);
    str_add_printable(&text, from);
    size_t n = text.len < size ? text.len : size - 1;
    const char *p = buf_cstr(&text);
    while (n > 0 && n < text.len && ((unsigned char)p[n] & 0xc0) == 0x80)
        n--;
    memcpy(to, p, n);
    to[n] = '\0';
    buf_fini(&text);
}

void tls_name_text(gnutls_x509_crt_t cert, bool of_issuer, char *text, size_t size)
{
    gnutls_datum_t name = { .data = NULL, .size = 0 };
    int status = of_issuer ? gnutls_x509_crt_get_issuer_dn3(cert, &name, 0)
                           : gnutls_x509_crt_get_dn3(cert, &name, 0);
    text[0] = '\0';
    if (status != GNUTLS_E_SUCCESS)
        return;
    copy_printable(slice_of((const char *)name.data, name.size), text, size);
    gnutls_free(name.data);
}

bool tls_key_hash(gnutls_x509_crt_t cert, unsigned char hash[TLS_SHA256_SIZE])
{
    size_t size = TLS_SHA256_SIZE;
    return gnutls_x509_crt_get_key_id(cert, GNUTLS_KEYID_USE_SHA256, hash, &size) ==
               GNUTLS_E_SUCCESS &&
           size == TLS_SHA256_SIZE;
}

void tls_pin_text(const unsigned char hash[TLS_SHA256_SIZE], char *text, size_t size)
{
    struct buf b;
    buf_init(&b, size);
    buf_add_str(&b, "sha256:");
    base64_encode(slice_of((const char *)hash, TLS_SHA256_SIZE), &b);
    snprintf(text, size, "%s", buf_cstr(&b));
    buf_fini(&b);
}

void tls_date_text(int64_t when, char *text, size_t size)
{
    time_t t = (time_t)when;
    struct tm tm;
    if (!gmtime_r(&t, &tm) || strftime(text, size, "%Y-%m-%d", &tm) == 0)
        snprintf(text, size, "an unknown date");
}

/* Room for the longest of a name in a certificate; longer ones are passed over. */
enum { ALT_NAME_MAX = 512 };

/* Text of a DNS name or an address; empty for the other kinds. */
static struct slice alt_name(
    gnutls_x509_crt_t leaf, unsigned i, char text[ALT_NAME_MAX], bool *ret_is_last)
{
    unsigned char raw[ALT_NAME_MAX];
    size_t size = sizeof raw;
    int type = gnutls_x509_crt_get_subject_alt_name(leaf, i, raw, &size, NULL);
    *ret_is_last = type < 0 && type != GNUTLS_E_SHORT_MEMORY_BUFFER;
    if (type == GNUTLS_SAN_DNSNAME) {
        size_t n = strnlen((const char *)raw, size);
        memcpy(text, raw, n);
        return slice_of(text, n);
    }
    if (type != GNUTLS_SAN_IPADDRESS || (size != 4 && size != 16))
        return SLICE_NONE;
    struct ip_addr ip = { .len = (uint8_t)size };
    memcpy(ip.bytes, raw, size);
    ip_format(&ip, text);
    return slice_str(text);
}

static void learn_names(struct tls_facts *f, gnutls_x509_crt_t leaf)
{
    enum { NAMES_MAX = 1000 };
    struct buf all;
    buf_init(&all, 8192);
    bool is_last = false;
    for (unsigned i = 0; !is_last && i < NAMES_MAX && all.len < sizeof f->names; i++) {
        char text[ALT_NAME_MAX];
        struct slice name = alt_name(leaf, i, text, &is_last);
        if (name.n > 0 && all.len > 0)
            buf_add_str(&all, ", ");
        buf_add_slice(&all, name);
    }
    copy_printable(buf_slice(&all), f->names, sizeof f->names);
    buf_fini(&all);
}

void tls_learn_certificate(struct tls *t, gnutls_x509_crt_t leaf)
{
    struct tls_facts *f = &t->facts;
    tls_name_text(leaf, false, f->subject, sizeof f->subject);
    tls_name_text(leaf, true, f->issuer, sizeof f->issuer);
    learn_names(f, leaf);
    unsigned char hash[TLS_SHA256_SIZE];
    if (tls_key_hash(leaf, hash))
        tls_pin_text(hash, f->pin, sizeof f->pin);
    time_t expires = gnutls_x509_crt_get_expiration_time(leaf);
    f->not_after = expires == (time_t)-1 ? 0 : (int64_t)expires;
}

void tls_learn_session(struct tls *t)
{
    const char *version = gnutls_protocol_get_name(gnutls_protocol_get_version(t->session));
    const char *cipher = gnutls_cipher_get_name(gnutls_cipher_get(t->session));
    snprintf(t->facts.version, sizeof t->facts.version, "%s", version ? version : "");
    snprintf(t->facts.cipher, sizeof t->facts.cipher, "%s", cipher ? cipher : "");
}

void tls_facts(struct tls *t, struct tls_facts *ret_facts)
{
    *ret_facts = t->facts;
}
