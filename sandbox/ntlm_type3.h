/*
 * Reads what the sandbox must know of an NTLM Type 3 message (MS-NLMP 2.2.1.3): which kind of
 * response it carries, and the channel binding inside an NTLMv2 response. Results are slices into
 * the caller's token. It verifies nothing and keeps nothing: the GSSAPI acceptor checks the proof,
 * which covers all that is read here.
 */
#ifndef SUBMITD_SANDBOX_NTLM_TYPE3_H
#define SUBMITD_SANDBOX_NTLM_TYPE3_H

#include "base/slice.h"

enum {
    NTLM_TYPE3_HEADER_SIZE = 64, /* octets up to and with the flags */
    NTLM_V1_RESPONSE_SIZE = 24,  /* octets, MS-NLMP 2.2.2.6 */
    NTLM_BINDING_SIZE = 16,      /* octets, an MD5 (MS-NLMP 2.2.2.1, MsvAvChannelBindings) */
};

struct ntlm_type3 {
    bool is_v2;           /* false: NTLMv1, LM only, or anonymous */
    struct slice binding; /* NTLM_BINDING_SIZE octets; empty when there is none or it is all zero */
};

/* False when `token` is not a well-formed Type 3; *ret_why is a static sentence then. */
bool ntlm_type3_parse(struct slice token, struct ntlm_type3 *ret_type3, const char **ret_why);

#endif
