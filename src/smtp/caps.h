/*
 * The service extensions that an EHLO reply announces, as one value for both roles.
 * A plain struct that is copied around; it owns nothing.
 * Keywords that are not listed here are ignored (RFC 5321 2.2.1, 4.1.1.1).
 */
#ifndef SUBMITD_SMTP_CAPS_H
#define SUBMITD_SMTP_CAPS_H

#include "base/buf.h"

#include <stdint.h>

/* bit, EHLO keyword, source */
#define SMTP_CAPS(X)                                                                               \
    X(PIPELINING, "PIPELINING")                   /* RFC 2920 */                                   \
    X(SIZE, "SIZE")                               /* RFC 1870 */                                   \
    X(8BITMIME, "8BITMIME")                       /* RFC 6152 */                                   \
    X(SMTPUTF8, "SMTPUTF8")                       /* RFC 6531 */                                   \
    X(DSN, "DSN")                                 /* RFC 3461 */                                   \
    X(ENHANCEDSTATUSCODES, "ENHANCEDSTATUSCODES") /* RFC 2034 */                                   \
    X(CHUNKING, "CHUNKING")                       /* RFC 3030 */                                   \
    X(STARTTLS, "STARTTLS")                       /* RFC 3207 */                                   \
    X(AUTH, "AUTH")                               /* RFC 4954 */

enum smtp_cap_bit {
#define X(name, keyword) SMTP_CAP_BIT_##name,
    SMTP_CAPS(X)
#undef X
};

enum smtp_cap {
#define X(name, keyword) SMTP_CAP_##name = 1 << SMTP_CAP_BIT_##name,
    SMTP_CAPS(X)
#undef X
};

enum { SMTP_AUTH_LIST_MAX = 255 };

struct smtp_caps {
    uint32_t set;  /* SMTP_CAP_... bits */
    uint64_t size; /* octets; 0: no limit announced */
    /* Mechanism names in capitals, one blank between, as "NTLM LOGIN"; empty without AUTH. */
    char auth[SMTP_AUTH_LIST_MAX + 1];
};

static inline bool smtp_caps_have(const struct smtp_caps *caps, enum smtp_cap cap)
{
    return (caps->set & (uint32_t)cap) != 0;
}

/* Takes in one EHLO reply line behind the code, as "SIZE 1000" or "AUTH=LOGIN" (old servers). */
void smtp_caps_learn(struct smtp_caps *caps, struct slice line);
/* True when the list of mechanisms has `mech`, in any case. */
bool smtp_caps_have_mech(const struct smtp_caps *caps, const char *mech);
/* The keyword of one bit with its parameters, as an EHLO line shows it. */
bool smtp_caps_add_keyword(const struct smtp_caps *caps, enum smtp_cap_bit bit, struct buf *out);

#endif
