#include "base/base64.h"
#include "base/secret.h"
#include "tls/internal.h"

#include <criterion/criterion.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { DAY = 24 * 3600 };

static struct buf pem;    /* of the identity made last */
static char pem_file[64]; /* the same in a file */

static void write_file(char path[64], struct slice bytes)
{
    strcpy(path, "/tmp/submitd-test-XXXXXX");
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    cr_assert_eq(write(fd, bytes.p, bytes.n), (ssize_t)bytes.n);
    close(fd);
}

static struct tls_identity *make_identity(const char *names, int64_t now, int days)
{
    struct tls_identity *id = NULL;
    struct err e = { .text = "" };
    buf_init(&pem, 65536);
    cr_assert(tls_identity_make(names, now, days, &id, &pem, &e), "%s", e.text);
    write_file(pem_file, buf_slice(&pem));
    return id;
}

static void forget_identity(struct tls_identity *id)
{
    tls_identity_free(id);
    buf_fini(&pem);
    unlink(pem_file);
}

static struct tls_trust *make_trust(const struct tls_trust_params *params)
{
    struct tls_trust *trust = NULL;
    struct err e = { .text = "" };
    cr_assert(tls_trust_new(params, &trust, &e), "%s", e.text);
    return trust;
}

struct pair {
    struct tls *client, *server;
    enum tls_status client_status, server_status;
    struct err client_err, server_err;
};

static struct pair make_pair(
    struct tls_identity *id, const struct tls_trust_params *params, const char *name)
{
    struct pair p = { .client_status = TLS_AGAIN, .server_status = TLS_AGAIN };
    struct tls_trust *trust = make_trust(params);
    cr_assert(tls_client_new(trust, name, &p.client, NULL));
    cr_assert(tls_server_new(id, &p.server, NULL));
    tls_trust_unref(trust); /* the session holds it */
    return p;
}

static void free_pair(struct pair *p)
{
    tls_free(p->client);
    tls_free(p->server);
}

/* Moves at most `piece` bytes of output; true when there were some. */
static bool carry(struct tls *from, struct tls *to, size_t piece)
{
    struct slice bytes = buf_slice(tls_output(from));
    if (bytes.n == 0)
        return false;
    bytes.n = bytes.n < piece ? bytes.n : piece;
    cr_assert(tls_put_input(to, bytes));
    buf_consume(tls_output(from), bytes.n);
    return true;
}

static void shake_hands(struct pair *p, size_t piece)
{
    bool moved = true;
    while (moved) {
        if (p->client_status == TLS_AGAIN)
            p->client_status = tls_handshake(p->client, &p->client_err);
        moved = carry(p->client, p->server, piece);
        if (p->server_status == TLS_AGAIN)
            p->server_status = tls_handshake(p->server, &p->server_err);
        moved = carry(p->server, p->client, piece) || moved;
    }
}

/* --- whom to trust
 * --------------------------------------------------------------------------------- */

struct verify_row {
    const char *names, *expected;
    int from_days, days; /* the certificate's life, from today */
    bool is_known;
    const char *error; /* part of the sentence; NULL: accepted */
};

static void check_row(const struct verify_row *row, size_t piece)
{
    struct tls_identity *id =
        make_identity(row->names, time(NULL) + row->from_days * DAY, row->days);
    struct tls_identity *other = NULL;
    if (!row->is_known) {
        char keep[64];
        strcpy(keep, pem_file);
        buf_fini(&pem);
        other = make_identity("other.example", time(NULL), 10);
        unlink(keep);
    }
    struct pair p = make_pair(id, &(struct tls_trust_params){ .ca_file = pem_file }, row->expected);
    shake_hands(&p, piece);
    if (!row->error) {
        cr_expect_eq(p.client_status, TLS_DONE, "%s: %s", row->expected, p.client_err.text);
        cr_expect_eq(p.server_status, TLS_DONE, "%s: %s", row->expected, p.server_err.text);
    } else {
        cr_expect_eq(p.client_status, TLS_FAILED, "%s", row->error);
        cr_expect_eq(p.client_err.kind, ERR_TLS);
        cr_expect(strstr(p.client_err.text, row->error), "'%s' lacks '%s'", p.client_err.text,
            row->error);
        struct buf got;
        buf_init(&got, 100);
        enum tls_status status = p.server_status;
        if (status == TLS_DONE) /* TLS 1.3: the server may be done before the client refuses */
            status = tls_read(p.server, &got, &p.server_err);
        cr_expect_eq(status, TLS_FAILED, "%s", row->error);
        cr_expect(strstr(p.server_err.text, "alert"), "%s", p.server_err.text);
        cr_expect_eq(got.len, 0);
        buf_fini(&got);
    }
    free_pair(&p);
    tls_identity_free(other);
    forget_identity(id);
}

static const struct verify_row verify_rows[] = {
    { "mail.corp.example", "mail.corp.example", 0, 30, true, NULL },
    { "mail.corp.example", "MAIL.Corp.Example", 0, 30, true, NULL },
    { "mail.corp.example", "mail.corp.example.", 0, 30, true, NULL },
    { "a.example, mail.corp.example", "mail.corp.example", 0, 30, true, NULL },
    { "*.corp.example", "mail.corp.example", 0, 30, true, NULL },
    { "*.corp.example", "a.b.corp.example", 0, 30, true,
        "is for *.corp.example, not a.b.corp.example" },
    { "mail.corp.example,127.0.0.1,::1", "127.0.0.1", 0, 30, true, NULL },
    { "mail.corp.example,127.0.0.1,::1", "::1", 0, 30, true, NULL },
    { "mail.corp.example,127.0.0.1", "127.0.0.2", 0, 30, true,
        "is for mail.corp.example, 127.0.0.1, not 127.0.0.2: set tls_verify_name" },
    { "WX-P-EX2.corp.example", "mail.corp.example", 0, 30, true,
        "the certificate is for WX-P-EX2.corp.example, not mail.corp.example: set "
        "tls_verify_name" },
    { "mail.corp.example", "", 0, 30, true, "set tls_verify_name" },
    { "mail.corp.example", "mail.corp.example", 0, 30, false,
        "self-signed and not in /tmp/submitd" },
    { "mail.corp.example", "mail.corp.example", 0, -3, true, "expired on 20" },
    { "mail.corp.example", "mail.corp.example", 5, 30, true, "is not valid before 20" },
    { "mail.corp.example", "mail.corp.example", 0, -3, false, "self-signed" },
};

Test(tls, verifies_chain_name_and_time)
{
    for (size_t i = 0; i < ARRAY_LEN(verify_rows); i++)
        check_row(&verify_rows[i], SIZE_MAX);
}

Test(tls, verifies_the_same_byte_by_byte)
{
    for (size_t i = 0; i < ARRAY_LEN(verify_rows); i++)
        check_row(&verify_rows[i], 1);
}

Test(tls, system_store_does_not_know_the_sandbox)
{
    struct tls_identity *id = make_identity("mail.corp.example", time(NULL), 30);
    struct pair p = make_pair(id, &(struct tls_trust_params){ .ca_file = "" }, "mail.corp.example");
    shake_hands(&p, SIZE_MAX);
    cr_expect_eq(p.client_status, TLS_FAILED);
    cr_expect(strstr(p.client_err.text, "the system's store"), "%s", p.client_err.text);
    free_pair(&p);
    forget_identity(id);
}

/* --- a certificate signed by an authority
 * ---------------------------------------------------------- */

struct leaf_row {
    const char *purpose; /* NULL: none given */
    gnutls_pk_algorithm_t key;
    unsigned bits;
    gnutls_digest_algorithm_t digest;
    bool is_known;
    const char *error;
};

static gnutls_x509_privkey_t make_key(gnutls_pk_algorithm_t algorithm, unsigned bits)
{
    gnutls_x509_privkey_t key;
    gnutls_x509_privkey_init(&key);
    cr_assert_eq(gnutls_x509_privkey_generate(key, algorithm, bits, 0), 0);
    return key;
}

static gnutls_x509_crt_t make_cert(const char *cn, gnutls_x509_privkey_t key, bool is_ca)
{
    gnutls_x509_crt_t cert;
    gnutls_x509_crt_init(&cert);
    gnutls_x509_crt_set_version(cert, 3);
    gnutls_x509_crt_set_serial(cert, "\1\2", 2);
    gnutls_x509_crt_set_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, cn, (unsigned)strlen(cn));
    gnutls_x509_crt_set_key(cert, key);
    gnutls_x509_crt_set_activation_time(cert, time(NULL) - 100);
    gnutls_x509_crt_set_expiration_time(cert, time(NULL) + 100000);
    gnutls_x509_crt_set_basic_constraints(cert, is_ca, -1);
    return cert;
}

static void export_cert(gnutls_x509_crt_t cert, char path[64])
{
    gnutls_datum_t out;
    cr_assert_eq(gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &out), 0);
    write_file(path, slice_of((char *)out.data, out.size));
    gnutls_free(out.data);
}

static void export_key(gnutls_x509_privkey_t key, char path[64])
{
    gnutls_datum_t out;
    cr_assert_eq(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &out), 0);
    write_file(path, slice_of((char *)out.data, out.size));
    gnutls_free(out.data);
}

static void check_leaf(const struct leaf_row *row)
{
    gnutls_x509_privkey_t ca_key = make_key(GNUTLS_PK_RSA, 2048),
                          key = make_key(row->key, row->bits);
    gnutls_x509_crt_t ca = make_cert("Corp CA", ca_key, true), leaf = make_cert("x", key, false);
    gnutls_x509_crt_set_subject_alt_name(leaf, GNUTLS_SAN_DNSNAME, "mail.corp.example", 17, 0);
    if (row->purpose)
        gnutls_x509_crt_set_key_purpose_oid(leaf, row->purpose, 0);
    cr_assert_eq(gnutls_x509_crt_sign2(ca, ca, ca_key, GNUTLS_DIG_SHA256, 0), 0);
    int status = gnutls_x509_crt_sign2(leaf, ca, ca_key, row->digest, 0);
    cr_assert_eq(status, 0, "%s", gnutls_strerror(status));
    char ca_path[64], cert_path[64], key_path[64];
    export_cert(row->is_known ? ca : leaf, ca_path);
    export_cert(leaf, cert_path);
    export_key(key, key_path);
    struct tls_identity *id = NULL, *other = NULL;
    struct err e;
    cr_assert(tls_identity_load(cert_path, key_path, &id, &e), "%s", e.text);
    if (!row->is_known) {
        unlink(ca_path);
        other = make_identity("other.example", time(NULL), 10);
        strcpy(ca_path, pem_file);
    }
    struct pair p =
        make_pair(id, &(struct tls_trust_params){ .ca_file = ca_path }, "mail.corp.example");
    shake_hands(&p, SIZE_MAX);
    if (row->error)
        cr_expect(p.client_status == TLS_FAILED && strstr(p.client_err.text, row->error),
            "%s, not %s", p.client_err.text, row->error);
    else
        cr_expect_eq(p.client_status, TLS_DONE, "%s", p.client_err.text);
    free_pair(&p);
    if (other)
        forget_identity(other);
    tls_identity_free(id);
    unlink(ca_path);
    unlink(cert_path);
    unlink(key_path);
    gnutls_x509_crt_deinit(ca);
    gnutls_x509_crt_deinit(leaf);
    gnutls_x509_privkey_deinit(ca_key);
    gnutls_x509_privkey_deinit(key);
}

Test(tls, verifies_what_an_authority_signed)
{
    static const struct leaf_row rows[] = {
        { NULL, GNUTLS_PK_RSA, 2048, GNUTLS_DIG_SHA256, true, NULL },
        { GNUTLS_KP_TLS_WWW_SERVER, GNUTLS_PK_RSA, 2048, GNUTLS_DIG_SHA384, true, NULL },
        { GNUTLS_KP_TLS_WWW_CLIENT, GNUTLS_PK_RSA, 2048, GNUTLS_DIG_SHA256, true,
            "not meant for a TLS server" },
        { NULL, GNUTLS_PK_RSA, 1024, GNUTLS_DIG_SHA256, true, "weak" },
        { NULL, GNUTLS_PK_RSA, 2048, GNUTLS_DIG_SHA1, true, "weak" },
        { NULL, GNUTLS_PK_RSA, 2048, GNUTLS_DIG_SHA256, false,
            "signed by 'CN=Corp CA', which is not in /tmp/submitd-test-" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_leaf(&rows[i]);
}

/* --- the pin
 * ----------------------------------------------------------------------------------------- */

/* Computed from the PEM text by other means than the code under test. */
static void hash_of_pem(bool of_key, unsigned char hash[32])
{
    gnutls_datum_t text = { .data = (unsigned char *)pem.data + pem.off,
        .size = (unsigned)pem.len };
    gnutls_datum_t der;
    if (!of_key) {
        cr_assert_eq(gnutls_pem_base64_decode2("CERTIFICATE", &text, &der), 0);
    } else {
        gnutls_x509_crt_t cert;
        gnutls_pubkey_t key;
        gnutls_x509_crt_init(&cert);
        gnutls_pubkey_init(&key);
        cr_assert_eq(gnutls_x509_crt_import(cert, &text, GNUTLS_X509_FMT_PEM), 0);
        cr_assert_eq(gnutls_pubkey_import_x509(key, cert, 0), 0);
        cr_assert_eq(gnutls_pubkey_export2(key, GNUTLS_X509_FMT_DER, &der), 0);
        gnutls_pubkey_deinit(key);
        gnutls_x509_crt_deinit(cert);
    }
    gnutls_hash_fast(GNUTLS_DIG_SHA256, der.data, der.size, hash);
    gnutls_free(der.data);
}

Test(tls, pin_alone_decides)
{
    struct tls_identity *id =
        make_identity("other.example", time(NULL), -3); /* expired, other name */
    unsigned char hash[32];
    hash_of_pem(true, hash);
    struct buf pin;
    buf_init(&pin, 100);
    buf_add_str(&pin, "sha256:");
    base64_encode(slice_of((char *)hash, 32), &pin);
    cr_expect(tls_pin_is_valid(buf_cstr(&pin)));

    struct pair p =
        make_pair(id, &(struct tls_trust_params){ .pin = buf_cstr(&pin) }, "mail.example");
    shake_hands(&p, SIZE_MAX);
    cr_expect_eq(p.client_status, TLS_DONE, "%s", p.client_err.text);
    struct tls_facts facts;
    tls_facts(p.client, &facts);
    cr_expect_str_eq(facts.pin, buf_cstr(&pin));
    free_pair(&p);

    p = make_pair(id,
        &(struct tls_trust_params){
            .ca_file = pem_file, .pin = "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" },
        "other.example");
    shake_hands(&p, SIZE_MAX);
    cr_expect_eq(p.client_status, TLS_FAILED);
    cr_expect(strstr(p.client_err.text, buf_cstr(&pin)), "%s", p.client_err.text);
    free_pair(&p);
    buf_fini(&pin);
    forget_identity(id);
}

Test(tls, knows_valid_pins_and_priorities)
{
    cr_expect(tls_pin_is_valid("sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="));
    static const char *const bad[] = { "", "sha256:", "AAAA", "sha256:AAAA", "SHA256:AAAA",
        "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "sha256://AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= " };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_expect_not(tls_pin_is_valid(bad[i]), "'%s'", bad[i]);
    cr_expect(tls_priority_is_valid("NORMAL:-VERS-TLS1.2"));
    cr_expect(tls_priority_is_valid(TLS_DEFAULT_PRIORITY));
    cr_expect_not(tls_priority_is_valid("NORMAAL"));
}

Test(tls, names_the_file_or_value_that_is_wrong)
{
    struct tls_trust *trust = NULL;
    struct err e;
    cr_expect_not(
        tls_trust_new(&(struct tls_trust_params){ .ca_file = "/nowhere/ca.pem" }, &trust, &e));
    cr_expect_str_eq(e.text, "tls_ca_file '/nowhere/ca.pem': No such file or directory");
    cr_expect_not(tls_trust_new(&(struct tls_trust_params){ .ca_file = "/tmp" }, &trust, &e));
    cr_expect(strstr(e.text, "tls_ca_file '/tmp': "), "%s", e.text); /* Windows has other words */
    cr_expect_not(tls_trust_new(&(struct tls_trust_params){ .ca_file = "/dev/null" }, &trust, &e));
    cr_expect(strstr(e.text, "no certificate in PEM form"), "%s", e.text);
    cr_expect_not(tls_trust_new(&(struct tls_trust_params){ .pin = "sha1:x" }, &trust, &e));
    cr_expect(strstr(e.text, "tls_pin 'sha1:x'"), "%s", e.text);
    cr_expect_not(tls_trust_new(&(struct tls_trust_params){ .priority = "NORMAL:+X" }, &trust, &e));
    cr_expect(strstr(e.text, "not understood from '+X'"), "%s", e.text);
    cr_expect_null(trust);
    struct tls_identity *id = NULL;
    cr_expect_not(tls_identity_load("/dev/null", "/dev/null", &id, &e));
    cr_expect_null(id);
    tls_trust_unref(NULL);
    tls_identity_free(NULL);
    tls_free(NULL);
}

/* --- versions, channel binding, facts
 * ---------------------------------------------------------------- */

static const char *const versions[] = { "NORMAL:-VERS-ALL:+VERS-TLS1.2",
    "NORMAL:-VERS-ALL:+VERS-TLS1.3" };
static const char *const version_names[] = { "TLS1.2", "TLS1.3" };

static struct pair make_version(struct tls_identity *id, size_t version)
{
    struct tls_trust_params params = { .ca_file = pem_file, .priority = versions[version] };
    struct pair p = make_pair(id, &params, "mail.corp.example");
    shake_hands(&p, SIZE_MAX);
    cr_assert_eq(p.client_status, TLS_DONE, "%s", p.client_err.text);
    cr_assert_eq(p.server_status, TLS_DONE, "%s", p.server_err.text);
    return p;
}

Test(tls, binds_the_channel_to_the_certificate)
{
    struct tls_identity *id = make_identity("mail.corp.example", time(NULL), 30);
    unsigned char hash[32];
    hash_of_pem(false, hash);
    struct buf expected, ours, theirs;
    buf_init(&expected, 100);
    buf_init(&ours, 100);
    buf_init(&theirs, 100);
    buf_add_str(&expected, "tls-server-end-point:");
    buf_add(&expected, hash, 32);
    for (size_t i = 0; i < 2; i++) {
        struct pair p = make_version(id, i);
        buf_clear(&ours);
        buf_clear(&theirs);
        cr_expect(tls_channel_binding(p.client, &ours));
        cr_expect(tls_channel_binding(p.server, &theirs));
        cr_expect(slice_eq(buf_slice(&ours), buf_slice(&expected)));
        cr_expect(slice_eq(buf_slice(&theirs), buf_slice(&expected)));
        struct buf small;
        buf_init(&small, 52);
        cr_expect_not(tls_channel_binding(p.client, &small));
        cr_expect_eq(small.len, 0);
        buf_fini(&small);
        free_pair(&p);
    }
    struct pair p = make_pair(id, &(struct tls_trust_params){ .ca_file = pem_file }, "x");
    cr_expect_not(tls_channel_binding(p.client, &ours));
    free_pair(&p);
    buf_fini(&expected);
    buf_fini(&ours);
    buf_fini(&theirs);
    forget_identity(id);
}

Test(tls, knows_the_facts_even_of_a_refused_server)
{
    struct tls_identity *id = make_identity("wx.corp.example, 10.1.2.3", time(NULL), 30);
    struct pair p =
        make_pair(id, &(struct tls_trust_params){ .ca_file = pem_file }, "mail.corp.example");
    struct tls_facts facts;
    tls_facts(p.client, &facts);
    cr_expect_str_eq(facts.subject, "");
    shake_hands(&p, SIZE_MAX);
    cr_expect_eq(p.client_status, TLS_FAILED);
    tls_facts(p.client, &facts);
    cr_expect_str_eq(facts.version, "TLS1.3");
    cr_expect(facts.cipher[0] != '\0');
    cr_expect_str_eq(facts.subject, "CN=wx.corp.example");
    cr_expect_str_eq(facts.issuer, "CN=wx.corp.example");
    cr_expect_str_eq(facts.names, "wx.corp.example, 10.1.2.3");
    cr_expect(tls_pin_is_valid(facts.pin));
    cr_expect(facts.not_after > time(NULL) + 29 * DAY && facts.not_after < time(NULL) + 31 * DAY);
    free_pair(&p);
    forget_identity(id);
}

Test(tls, refuses_a_client_of_tls_1_1)
{
    struct tls_identity *id = make_identity("mail.corp.example", time(NULL), 30);
    struct tls_trust_params params = { .ca_file = pem_file,
        .priority = "NORMAL:-VERS-ALL:+VERS-TLS1.1" };
    struct pair p = make_pair(id, &params, "mail.corp.example");
    shake_hands(&p, SIZE_MAX);
    cr_expect_eq(p.server_status, TLS_FAILED);
    cr_expect(strstr(p.server_err.text, "no TLS version that is allowed"), "%s", p.server_err.text);
    cr_expect_eq(p.client_status, TLS_FAILED);
    cr_expect(strstr(p.client_err.text, "alert"), "%s", p.client_err.text);
    free_pair(&p);
    forget_identity(id);
}

/* --- hostile servers
 * ----------------------------------------------------------------------------------- */

static void answer(struct slice bytes, size_t piece, const char *error)
{
    struct tls_trust *trust = make_trust(
        &(struct tls_trust_params){ .pin = "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" });
    struct tls *t = NULL;
    cr_assert(tls_client_new(trust, "mail.corp.example", &t, NULL));
    tls_trust_unref(trust);
    struct err e = { .text = "" };
    enum tls_status status = tls_handshake(t, &e);
    cr_expect_eq(status, TLS_AGAIN);
    while (bytes.n > 0 && status == TLS_AGAIN) {
        struct slice now = slice_of(bytes.p, bytes.n < piece ? bytes.n : piece);
        cr_assert(tls_put_input(t, now));
        bytes = slice_skip(bytes, now.n);
        buf_clear(tls_output(t));
        status = tls_handshake(t, &e);
    }
    cr_expect_eq(status, TLS_FAILED, "%.*s", SLICE_ARG(bytes));
    cr_expect(strstr(e.text, error), "'%s' lacks '%s'", e.text, error);
    cr_expect_gt(tls_output(t)->len, 0, "an alert for: %s", error);
    struct err again;
    struct buf out;
    buf_init(&out, 100);
    cr_expect_eq(tls_handshake(t, &again), TLS_FAILED);
    cr_expect_str_eq(again.text, e.text);
    cr_expect_eq(tls_read(t, &out, &again), TLS_FAILED);
    cr_expect_not(tls_write(t, SLICE_LIT("secret"), &again));
    cr_expect(tls_put_input(t, SLICE_LIT("more")));
    cr_expect_eq(out.len, 0);
    tls_bye(t);
    buf_fini(&out);
    tls_free(t);
}

/* ServerHello of TLS 1.1 with TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA. */
static const char old_server[] = "\x16\x03\x02\x00\x2a\x02\x00\x00\x26\x03\x02"
                                 "0123456789abcdef0123456789abcdef"
                                 "\x00\xc0\x14\x00";

Test(tls, survives_garbage_instead_of_a_handshake)
{
    const struct {
        struct slice bytes;
        const char *error;
    } rows[] = {
        { SLICE_LIT("220 hello, this is SMTP and no TLS\r\n"), "not TLS" },
        { SLICE_LIT("HTTP/1.1 400 Bad Request\r\n\r\n"), "not TLS" },
        { SLICE_LIT("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), "TLS" },
        { SLICE_LIT("\x16\x03\x03\xff\xff\x02\xff\xff\xff"), "TLS" },
        { SLICE_LIT("\x16\x03\x03\x00\x00\x16\x03\x03\x00\x04\x0e\x00\x00\x00"), "TLS" },
        { SLICE_LIT("\x17\x03\x03\x00\x05hello"), "TLS" },
        { SLICE_LIT(old_server), "no TLS version that is allowed here" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        answer(rows[i].bytes, SIZE_MAX, rows[i].error);
        answer(rows[i].bytes, 1, rows[i].error);
    }
}

Test(tls, reports_the_alert_of_the_peer)
{
    struct tls_trust *trust = make_trust(&(struct tls_trust_params){ .ca_file = NULL });
    struct tls *t = NULL;
    struct err e;
    cr_assert(tls_client_new(trust, "mail.corp.example", &t, NULL));
    tls_trust_unref(trust);
    tls_handshake(t, &e);
    buf_clear(tls_output(t));
    tls_put_input(t, SLICE_LIT("\x15\x03\x03\x00\x02\x02\x28"));
    cr_expect_eq(tls_handshake(t, &e), TLS_FAILED);
    cr_expect_str_eq(e.text, "the peer ended TLS with the alert 'Handshake failed' (40)");
    cr_expect_eq(tls_output(t)->len, 0, "an alert is not answered with one");
    tls_free(t);
}

/* Each byte of the server's first flight damaged once: never a crash, never a handshake that both
 * believe. */
Test(tls, survives_every_damaged_byte)
{
    struct tls_identity *id = make_identity("mail.corp.example", time(NULL), 30);
    for (size_t version = 0; version < 2; version++) {
        struct tls_trust_params params = { .ca_file = pem_file, .priority = versions[version] };
        size_t size = 1;
        for (size_t at = 0; at < size; at += 3) {
            struct pair p = make_pair(id, &params, "mail.corp.example");
            p.client_status = tls_handshake(p.client, &p.client_err);
            carry(p.client, p.server, SIZE_MAX);
            p.server_status = tls_handshake(p.server, &p.server_err);
            struct buf *flight = tls_output(p.server);
            size = flight->len;
            if (at < size)
                flight->data[flight->off + at] ^= 0x41;
            shake_hands(&p, SIZE_MAX);
            cr_expect(p.client_status != TLS_DONE || p.server_status != TLS_DONE || at >= size,
                "version %zu byte %zu", version, at);
            free_pair(&p);
        }
    }
    forget_identity(id);
}

/* --- application data
 * -------------------------------------------------------------------------------- */

static void move_text(struct pair *p, size_t total, size_t piece, size_t room)
{
    struct buf got;
    buf_init(&got, room);
    char block[50000];
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (char)(i * 7 + i / 251);
    size_t written = 0, seen = 0;
    bool is_same = true;
    while (seen < total) {
        size_t at = written % sizeof block;
        size_t n = sizeof block - at < total - written ? sizeof block - at : total - written;
        if (n > 0) {
            cr_assert(tls_write(p->client, slice_of(block + at, n), NULL));
            written += n;
        }
        while (carry(p->client, p->server, piece) || tls_has_input(p->server)) {
            struct err e;
            enum tls_status status = tls_read(p->server, &got, &e);
            cr_assert(status == TLS_DONE || status == TLS_AGAIN);
            cr_assert((status == TLS_DONE) == (got.len > 0));
            struct slice s = buf_slice(&got);
            for (size_t i = 0; i < s.n; i++)
                is_same = is_same && s.p[i] == block[(seen + i) % sizeof block];
            seen += s.n;
            buf_clear(&got);
            if (status == TLS_AGAIN && tls_output(p->client)->len == 0)
                break;
        }
    }
    cr_expect(is_same);
    cr_expect_eq(seen, total);
    buf_fini(&got);
}

Test(tls, carries_ten_megabytes)
{
    struct tls_identity *id = make_identity("mail.corp.example", time(NULL), 30);
    for (size_t version = 0; version < 2; version++) {
        struct pair p = make_version(id, version);
        move_text(&p, 10 * 1024 * 1024, 65536, 65536);
        move_text(&p, 200000, 1, 65536);
        move_text(&p, 200000, 65536, 1);
        move_text(&p, 200000, 1000, 16383);
        struct tls_facts facts;
        tls_facts(p.client, &facts);
        cr_expect_str_eq(facts.version, version_names[version]);
        free_pair(&p);
    }
    forget_identity(id);
}

Test(tls, ends_with_close_notify)
{
    struct tls_identity *id = make_identity("mail.corp.example", time(NULL), 30);
    struct buf got;
    buf_init(&got, 1000);
    for (size_t version = 0; version < 2; version++) {
        struct pair p = make_version(id, version);
        struct err e;
        cr_assert(tls_write(p.client, SLICE_LIT("last words"), &e));
        tls_bye(p.client);
        tls_bye(p.client);
        carry(p.client, p.server, SIZE_MAX);
        buf_clear(&got);
        cr_expect_eq(tls_read(p.server, &got, &e), TLS_DONE);
        cr_expect(slice_eq(buf_slice(&got), SLICE_LIT("last words")));
        cr_expect_eq(tls_read(p.server, &got, &e), TLS_CLOSED);
        cr_expect_eq(tls_read(p.server, &got, &e), TLS_CLOSED);
        cr_expect(
            tls_write(p.server, SLICE_LIT("221 bye"), &e), "the other direction is still open");
        carry(p.server, p.client, SIZE_MAX);
        buf_clear(&got);
        cr_expect_eq(tls_read(p.client, &got, &e), TLS_DONE);
        cr_expect(slice_eq(buf_slice(&got), SLICE_LIT("221 bye")));
        free_pair(&p);
    }
    buf_fini(&got);
    forget_identity(id);
}

Test(tls, damaged_record_fails_with_an_alert)
{
    struct tls_identity *id = make_identity("mail.corp.example", time(NULL), 30);
    struct buf got;
    buf_init(&got, 1000);
    for (size_t version = 0; version < 2; version++) {
        struct pair p = make_version(id, version);
        struct err e;
        tls_write(p.client, SLICE_LIT("good"), &e);
        carry(p.client, p.server, SIZE_MAX);
        tls_write(p.client, SLICE_LIT("bad"), &e);
        struct buf *out = tls_output(p.client);
        out->data[out->off + out->len - 1] ^= 1;
        carry(p.client, p.server, SIZE_MAX);
        buf_clear(&got);
        cr_expect_eq(tls_read(p.server, &got, &e), TLS_DONE, "what came before is good");
        cr_expect(slice_eq(buf_slice(&got), SLICE_LIT("good")));
        cr_expect_eq(tls_read(p.server, &got, &e), TLS_FAILED);
        cr_expect_gt(tls_output(p.server)->len, 0);
        cr_expect_not(tls_write(p.server, SLICE_LIT("x"), &e));
        free_pair(&p);
    }
    buf_fini(&got);
    forget_identity(id);
}

Test(tls, survives_empty_records_key_updates_and_renegotiation)
{
    struct tls_identity *id = make_identity("mail.corp.example", time(NULL), 30);
    struct buf got;
    buf_init(&got, 1000);
    for (size_t version = 0; version < 2; version++) {
        struct pair p = make_version(id, version);
        struct err e;
        for (int i = 0; i < 3; i++)
            gnutls_record_send(p.server->session, "", 0);
        if (version == 1)
            cr_assert_eq(gnutls_session_key_update(p.server->session, GNUTLS_KU_PEER), 0);
        else
            gnutls_rehandshake(p.server->session);
        cr_assert(tls_write(p.server, SLICE_LIT("250 ok"), &e));
        carry(p.server, p.client, SIZE_MAX);
        buf_clear(&got);
        cr_expect_eq(tls_read(p.client, &got, &e), TLS_DONE, "version %zu", version);
        cr_expect(slice_eq(buf_slice(&got), SLICE_LIT("250 ok")));
        cr_assert(tls_write(p.client, SLICE_LIT("QUIT"), &e));
        free_pair(&p);
    }
    buf_fini(&got);
    forget_identity(id);
}
