/*
 * What the files of src/tls share: the structs behind tls.h and a few helpers around GnuTLS.
 * trust.c makes the policy, identity.c a server's certificate, verify.c decides about a peer,
 * facts.c describes it, tls.c runs the session. Nothing of this is for another layer.
 */
#ifndef SUBMITD_TLS_INTERNAL_H
#define SUBMITD_TLS_INTERNAL_H

#include "tls/tls.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

/* TLS 1.2 and 1.3; keys of 2048 bits of RSA at least, no SHA-1 signatures. */
#define TLS_DEFAULT_PRIORITY                                                                       \
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE:%PROFILE_MEDIUM"

enum {
    TLS_RECORD_SIZE = 16384,
    TLS_RECORD_EXTRA = 64,    /* header, nonce, tag, padding */
    TLS_IN_MAX = 1024 * 1024, /* encrypted input that the owner has not read yet */
    TLS_OUT_MAX = 272 * 1024 * 1024,
    TLS_FILE_MAX = 16 * 1024 * 1024, /* a PEM file */
    TLS_KEEP_MEMORY = 4096,          /* an empty buffer larger than this is given back */
    TLS_RENEGOTIATIONS_MAX = 3,
    TLS_CHAIN_MAX = 16,
};

struct tls_trust {
    unsigned refs;
    gnutls_certificate_credentials_t cred;
    gnutls_priority_t priority;
    char *ca_file; /* for the sentences; NULL: the system's store */
    int ca_count;  /* certificates loaded */
    bool has_pin;
    unsigned char pin[TLS_SHA256_SIZE];
};

/* The peer's certificates, its own first. */
struct tls_chain {
    gnutls_x509_crt_t certs[TLS_CHAIN_MAX];
    unsigned count;
};

struct tls_identity {
    gnutls_certificate_credentials_t cred;
    gnutls_priority_t priority;
};

enum tls_state {
    TLS_WANT_HANDSHAKE,
    TLS_SECURE,
    TLS_ENDED,  /* the peer said goodbye */
    TLS_BROKEN, /* `why` says how */
};

struct tls {
    gnutls_session_t session;
    struct tls_trust *trust; /* client only, else NULL */
    char *verify_name;       /* client only, without a dot at the end */
    enum tls_state state;
    struct buf in, out;
    bool is_starved;     /* GnuTLS asked for more than there is since the flag was cleared */
    bool has_put_failed; /* TLS_OUT_MAX or memory */
    bool said_bye;
    unsigned renegotiations;
    struct err why;                   /* set by the verification, or when BROKEN */
    gnutls_alert_description_t alert; /* the one that fits `why` */
    struct tls_facts facts;
};

/* --- file.c --- */
/* Reads all of a file; `what` names it in the error: "tls_ca_file". */
bool tls_read_file(const char *what, const char *path, struct buf *out, struct err *e);

/* --- verify.c --- */
/* GnuTLS calls it with the peer's chain, before anything is sent behind the handshake. */
int tls_verify_peer(gnutls_session_t session);
bool tls_is_address(const char *name);

/* --- system_posix.c, system_win.c --- */
/* Makes the system's authorities known to GnuTLS; how many there are. */
int tls_system_load(gnutls_certificate_credentials_t cred);
/* True: the system has judged the chain itself, GNUTLS_CERT_* into *ret_status, 0 is fine. False:
 * GnuTLS is to do it, with what tls_system_load gave it. */
bool tls_system_judge(struct tls *t, const struct tls_chain *chain, unsigned *ret_status);

/* --- facts.c --- */
void tls_learn_certificate(struct tls *t, gnutls_x509_crt_t leaf);
void tls_learn_session(struct tls *t);
/* The distinguished name, printable, cut to `size`. */
void tls_name_text(gnutls_x509_crt_t cert, bool of_issuer, char *text, size_t size);
bool tls_key_hash(gnutls_x509_crt_t cert, unsigned char hash[TLS_SHA256_SIZE]);
/* "sha256:BASE64" */
void tls_pin_text(const unsigned char hash[TLS_SHA256_SIZE], char *text, size_t size);
/* "2026-11-21" */
void tls_date_text(int64_t when, char *text, size_t size);

#endif
