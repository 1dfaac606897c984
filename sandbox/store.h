/*
 * Where accepted messages go: N.eml with the exact octets and N.json with the envelope and how the
 * client was authenticated, both complete once N.json is there; or, with --discard, into the
 * counters alone. main makes one store; a session makes a message per transaction and commits or
 * drops it. It answers nobody and keeps no password.
 */
#ifndef SUBMITD_SANDBOX_STORE_H
#define SUBMITD_SANDBOX_STORE_H

#include "base/err.h"
#include "base/ip.h"
#include "smtp/command.h"

struct store;
struct message;

struct store_counters {
    uint64_t messages; /* answered with 250 */
    uint64_t octets;   /* of those */
    uint64_t sessions;
    uint64_t logins;
    uint64_t refused_logins;
};

/* `dir` NULL: messages are counted, not kept. Numbers go on behind those that are in `dir` already.
 */
bool store_new(const char *dir, struct store **ret_store, struct err *e);
void store_free(struct store *store);
struct store_counters *store_counters(struct store *store);
/* One line of JSON with the counters on standard output. */
void store_print_counters(const struct store *store);

/* How a message came; strings are borrowed for the call. */
struct message_facts {
    const char *account; /* DOMAIN\user; NULL: nobody logged in */
    const char *mechanism;
    bool has_binding;        /* the client sent a channel binding */
    bool is_bound;           /* and it was verified (--epa) */
    const char *tls_version; /* NULL: no TLS */
    const char *tls_cipher;
    const char *protocol; /* DATA or BDAT */
    const char *helo;
    const struct ip_addr *client;
    uint16_t client_port;
    uint64_t session;
    uint64_t size;
    int64_t time; /* seconds since 1970 */
};

/* NULL when it could not be made; the other calls take NULL and fail. */
struct message *message_new(struct store *store, const struct smtp_mail *mail);
bool message_add_recipient(struct message *message, const struct smtp_rcpt *rcpt);
bool message_add_text(struct message *message, struct slice text);
/* Takes the message. */
bool message_commit(struct message *message, const struct message_facts *facts);
void message_drop(struct message *message);

#endif
