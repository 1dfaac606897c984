/*
 * Reverse-paths, forward-paths and mailboxes (RFC 5321 4.1.2, RFC 6531 3.3 for UTF-8).
 * Results are slices into the caller's text. Nothing is copied, folded or looked up.
 */
#ifndef SUBMITD_SMTP_ADDRESS_H
#define SUBMITD_SMTP_ADDRESS_H

#include "base/slice.h"

enum {
    SMTP_LOCAL_PART_MAX = 64, /* octets, RFC 5321 4.5.3.1.1 */
    SMTP_DOMAIN_MAX = 255,    /* octets, RFC 5321 4.5.3.1.2 */
    SMTP_PATH_MAX = 256,      /* octets with < and >, RFC 5321 4.5.3.1.3 */
};

enum smtp_address_flag {
    SMTP_ADDRESS_ALLOW_NULL = 1, /* "<>" (reverse-path) */
    SMTP_ADDRESS_ALLOW_LOCAL =
        2, /* no domain: "<postmaster>", and what old programs send, "<root>" */
    SMTP_ADDRESS_ALLOW_UTF8 = 4, /* RFC 6531 */
    SMTP_ADDRESS_ALLOW_BARE = 8, /* "MAIL FROM:a@b" without the brackets, as old programs send it */
};

struct smtp_path {
    struct slice mailbox; /* without < > and without a source route; empty: the null path */
    struct slice local;   /* as written, quotes included */
    struct slice
        domain;   /* empty when the mailbox has none; an address literal keeps its brackets */
    bool is_utf8; /* has a byte above 127 */
};

/*
 * Parses a path at the front of `text`; *ret_rest is what follows it. A source route "@a,@b:" is
 * accepted and dropped (RFC 5321 appendix C). On failure *ret_why is a static sentence for the
 * client and nothing else is set.
 */
bool smtp_path_parse(struct slice text, unsigned flags, struct smtp_path *ret_path,
    struct slice *ret_rest, const char **ret_why);
/* A mailbox without brackets and nothing behind it, as in the configuration. */
bool smtp_mailbox_is_valid(struct slice text);
/* A domain name or an address literal (RFC 5321 4.1.2), or any host name an EHLO may carry. */
bool smtp_domain_is_valid(struct slice text, bool allow_utf8);

#endif
