/*
 * The configuration: every section of the INI file as a struct, loaded and checked by option
 * tables. A struct config is made by config_load, never changed afterwards, counted, and shared by
 * the sessions that were begun under it. Loading reads files and runs password_command, so it
 * belongs on a worker. It opens no socket and never prints a secret.
 */
#ifndef SUBMITD_CONFIG_CONFIG_H
#define SUBMITD_CONFIG_CONFIG_H

#include "base/buf.h"
#include "base/err.h"
#include "base/ip.h"
#include "base/secret.h"

#include <stdint.h>

enum config_tls { CONFIG_TLS_STARTTLS, CONFIG_TLS_IMPLICIT, CONFIG_TLS_OFF };
enum config_chunking { CONFIG_CHUNKING_AUTO, CONFIG_CHUNKING_NO };
enum config_log_format { CONFIG_LOG_TEXT, CONFIG_LOG_JSON };
enum config_log_level { CONFIG_LOG_ERROR, CONFIG_LOG_WARNING, CONFIG_LOG_INFO, CONFIG_LOG_DEBUG };

struct config_nets {
    struct ip_net *items;
    size_t count;
};

struct config_globs {
    char **items;
    size_t count;
};

/* So many messages in so long a time. */
struct config_rate {
    unsigned count; /* 0: no limit */
    uint64_t window_ms;
};

/* One server of the upstream; tried in the order of the list. */
struct config_host {
    char *name;    /* a host name or an address, without brackets */
    uint16_t port; /* 0: [upstream] port */
};

struct config_hosts {
    struct config_host *items;
    size_t count; /* 1 to CONFIG_HOSTS_MAX */
};

enum { CONFIG_HOSTS_MAX = 8 };

struct config_listener {
    char *name; /* "" for [listener] */
    struct ip_addr address;
    uint16_t port;
    struct config_nets allow;  /* never empty: loopback listeners get 127.0.0.0/8 and ::1 */
    uint64_t max_message_size; /* octets; 0: no limit */
    unsigned max_recipients;
    unsigned max_clients;             /* of this listener, in all */
    unsigned max_clients_per_address; /* 0: no limit */
    unsigned max_errors;              /* refused commands in one session */
    uint64_t idle_timeout_ms;
    uint64_t session_timeout_ms; /* 0: none */
};

struct config_upstream {
    struct config_hosts host;
    uint16_t port;
    enum config_tls tls;
    char *tls_ca_file;     /* "" : the system's store */
    char *tls_verify_name; /* "" : the host that is used */
    char *tls_pin;         /* "" : none */
    char *tls_priority;    /* "" : default */
    char *auth;            /* "auto", "none" or a mechanism in lower case */
    enum config_chunking chunking;
    unsigned max_sessions;
    uint64_t connect_timeout_ms;  /* resolve, TCP, TLS and login of one host in all */
    uint64_t command_timeout_ms;  /* a reply to EHLO, MAIL, RCPT */
    uint64_t data_timeout_ms;     /* between blocks of the message */
    uint64_t final_timeout_ms;    /* the reply to the final dot */
    uint64_t wait_timeout_ms;     /* a message's longest wait for a free session */
    uint64_t idle_close_ms;       /* an idle session is closed after this */
    uint64_t session_age_ms;      /* a session takes no new message after this */
    unsigned max_sessions_total;  /* of all accounts together */
    struct config_rate rate;      /* per account; count 0: as the server lets us */
    uint64_t breaker_cooldown_ms; /* no logins for so long after two refused ones */
    char *hostname;               /* our EHLO name; "": the machine's */
};

struct config_account {
    char *name; /* "" for [account] */
    struct config_globs match_sender;
    struct config_nets match_client;
    char *username;                    /* "" with auth = none */
    struct secret *password;           /* from password or one of the three below */
    struct secret *password_protected; /* as written, its lines joined; NULL: none */
    char *password_file;               /* as written; "" : none */
    char *password_path;               /* where that file is; NULL: none */
    char *password_command;            /* "" : none */
    char *password_source; /* "password", "password_file /path", ... for `check`; "none" without one
                            */
    char *force_sender;    /* "" : off */
};

struct config_delivery {
    char *mode;              /* "relay" or "queue" */
    char *on_failure;        /* "spool" or "defer" */
    char *spool;             /* file; "" with mode = relay and on_failure = defer is fine */
    uint64_t expire_ms;      /* how long a message is tried */
    char *bounce_to;         /* "": the sender */
    uint64_t keep_failed_ms; /* how long a failed message is kept */
    char *on_uncertain;      /* "retry" or "hold" */
    uint64_t min_free;       /* octets that stay free on the spool's disk */
};

struct config_log {
    char *target; /* "stderr", "syslog" or a file */
    enum config_log_format format;
    enum config_log_level level;
};

struct config_service {
    char *user; /* whom to become when started as root */
};

struct config {
    char *file;
    struct config_listener *listeners;
    size_t listener_count;
    struct config_upstream upstream;
    struct config_account
        *accounts; /* in file order; the default [account] is last when there is one */
    size_t account_count;
    struct config_delivery delivery;
    struct config_log log;
    struct config_service service;
};

/*
 * Reads and checks everything. On failure `problems` has one line per problem, each naming file,
 * line, section, key, value, what is allowed and the remedy, and the result is NULL. Warnings go
 * there, too (prefixed "warning: "), and do not fail. `problems` never holds a secret.
 */
struct config *config_load(const char *file, struct buf *problems);
struct config *config_ref(struct config *c); /* any thread */
void config_unref(struct config *c);

/* The effective configuration as an INI file, secrets as ***, every option with its value. It loads
 * again, except that *** is not taken for a password. */
bool config_print(const struct config *c, struct buf *out);
/* The reference page (Markdown), made of the option tables. */
bool config_print_reference(struct buf *out);
/* The manual page submitd.ini(5) in roff, made of the same. */
bool config_print_manual(struct buf *out);

/* The account for a client and a sender ("" is the null sender, matched by the pattern "<>" only):
 * the first match in file order, else the default, else NULL. */
const struct config_account *config_route(
    const struct config *c, const struct ip_addr *client, struct slice sender);
/* The port of one of its hosts. */
uint16_t config_host_port(const struct config_upstream *up, const struct config_host *host);
/* True when a client may use this listener. */
bool config_client_is_allowed(const struct config_listener *l, const struct ip_addr *client);

#endif
