/*
 * TLS over memory buffers with GnuTLS, and the policy of whom to trust.
 * A struct tls belongs to its connection; a struct tls_trust is made once per configuration load,
 * counted, and shared by the sessions made from it. No sockets here: the connection carries the
 * bytes. It never lets application data through before the certificate was verified.
 */
#ifndef SUBMITD_TLS_TLS_H
#define SUBMITD_TLS_TLS_H

#include "base/buf.h"
#include "base/err.h"

#include <stdint.h>

/* --- whom to trust --- */

struct tls_trust;

struct tls_trust_params {
    const char *ca_file;  /* PEM; NULL or "": the system's store. */
    const char *pin;      /* "sha256:BASE64" of the server's SubjectPublicKeyInfo (RFC 7469 2.4);
                             NULL or "": none. With a pin the key alone decides: no chain, no name, no
                             expiry. */
    const char *priority; /* GnuTLS priority string; NULL or "": the default, TLS 1.2 minimum */
};

enum { TLS_SHA256_SIZE = 32 };

/* `e` names the file or value that is wrong. */
bool tls_trust_new(
    const struct tls_trust_params *params, struct tls_trust **ret_trust, struct err *e);
struct tls_trust *tls_trust_ref(struct tls_trust *trust);
void tls_trust_unref(struct tls_trust *trust);
/* Checks the form of a pin; for the configuration's checker. */
bool tls_pin_is_valid(const char *pin);
/* Checks a priority string; for the configuration's checker. */
bool tls_priority_is_valid(const char *priority);

/* --- a server's identity, for the sandbox --- */

struct tls_identity;

/* PEM files; both may be the same file. */
bool tls_identity_load(
    const char *cert_file, const char *key_file, struct tls_identity **ret_identity, struct err *e);
/* A self-signed ECDSA certificate for the comma-separated DNS names and addresses, valid from an
 * hour before `now` for `days` (negative: expired that many days ago). `ca_pem` gets the
 * certificate in PEM. */
bool tls_identity_make(const char *names, int64_t now, int days, struct tls_identity **ret_identity,
    struct buf *ca_pem, struct err *e);
void tls_identity_free(struct tls_identity *identity);

/* --- one session --- */

struct tls;

/* `verify_name` is the DNS name or address that the certificate must carry, also sent as SNI (names
 * only). */
bool tls_client_new(
    struct tls_trust *trust, const char *verify_name, struct tls **ret_tls, struct err *e);
/* The identity must outlive the session. */
bool tls_server_new(struct tls_identity *identity, struct tls **ret_tls, struct err *e);
void tls_free(struct tls *t);

/* Bytes from the network; they are copied until the engine wants them. */
bool tls_put_input(struct tls *t, struct slice bytes);

enum tls_status {
    TLS_DONE,   /* it happened */
    TLS_AGAIN,  /* more input is needed first */
    TLS_CLOSED, /* the peer ended TLS properly (close_notify); tls_read only */
    TLS_FAILED, /* `e` says why; what tls_output holds (an alert) should still be sent */
};

/* Drives the handshake; certificate and name are verified inside it. Call after each tls_put_input.
 */
enum tls_status tls_handshake(struct tls *t, struct err *e);
/* Decrypts into `out` until input or room is used up. DONE: *something* was read. */
enum tls_status tls_read(struct tls *t, struct buf *out, struct err *e);
/* Encrypts all of `text` into the output. */
bool tls_write(struct tls *t, struct slice text, struct err *e);
/* Queues close_notify. */
void tls_bye(struct tls *t);
/* Bytes for the network; the caller consumes them. */
struct buf *tls_output(struct tls *t);
/* True when tls_read may have something to say: bytes that were put in have not been decrypted yet,
 * or the peer's goodbye was read. */
bool tls_has_input(const struct tls *t);

/* "tls-server-end-point:" and the hash of the server's certificate (RFC 5929 4.1), as GSSAPI and
 * SSPI want it; false before the handshake or when the certificate's signature has no hash. */
bool tls_channel_binding(struct tls *t, struct buf *out);

/* What a person wants to know of a finished or failed handshake. */
struct tls_facts {
    char version[16]; /* "TLS1.3" */
    char cipher[64];
    char subject[256]; /* of the server's certificate; all empty when none was seen */
    char issuer[256];
    char names[512];   /* DNS names and addresses it is valid for, ", " between */
    char pin[64];      /* "sha256:..." to put into tls_pin */
    int64_t not_after; /* expiry, seconds since 1970; 0: none seen */
};

void tls_facts(struct tls *t, struct tls_facts *ret_facts);

#endif
