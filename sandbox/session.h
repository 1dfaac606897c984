/*
 * One client connection of the sandbox: joins a net/conn, an smtp/server machine, a login and the
 * store. A session is made for each accepted connection and frees itself when that ends; the struct
 * sandbox that it shares with the others is main's. It decides what Exchange would answer and with
 * which words; how SMTP goes is the machine's business.
 */
#ifndef SUBMITD_SANDBOX_SESSION_H
#define SUBMITD_SANDBOX_SESSION_H

#include "base/list.h"
#include "net/conn.h"
#include "sandbox/limits.h"
#include "sandbox/login.h"
#include "sandbox/options.h"
#include "sandbox/store.h"
#include "smtp/caps.h"

/* What all sessions share. */
struct sandbox {
    const struct options *options;
    struct loop *loop;
    struct tls_identity *identity; /* NULL with --tls off */
    struct login_judges judges;
    struct limits *limits;
    struct store *store;
    struct list sessions;
    uint64_t dots;                     /* messages whose end came, for --drop-after-dot */
    char auth[SMTP_AUTH_LIST_MAX + 1]; /* --auth, as the EHLO line wants it */
    bool has_ntlm;                     /* it has NTLM in it */
};

/* Takes the connection; it answers 421 and closes when there are too many from its source. */
void session_start(struct sandbox *box, struct conn *conn);
/* Says 421 to everyone between commands and closes all sessions. */
void sessions_close(struct sandbox *box);

#endif
