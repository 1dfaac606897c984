/*
 * A look at the server's NTLM Type 2 message before the security provider parses it.
 * It owns nothing and keeps nothing.
 * It never judges the server, only the form: what passes here is safe to hand to gss-ntlmssp.
 */
#ifndef SUBMITD_AUTH_NTLM_CHALLENGE_H
#define SUBMITD_AUTH_NTLM_CHALLENGE_H

#include "base/err.h"
#include "base/slice.h"

/*
 * True for a well-formed Type 2 (MS-NLMP 2.2.1.2), target information or not. It is needed because
 * of gss-ntlmssp up to 1.2.0: an empty target name that the flags announce crashes it, and a
 * repeated AV pair leaks memory there.
 */
bool ntlm_challenge_check(struct slice token, struct err *e);

#endif
