/*
 * HMAC-MD5 (RFC 2104), which CRAM-MD5 is made of.
 * The key stays the caller's; it is revealed to the crypto library and nowhere else.
 * It keeps no state.
 */
#ifndef SUBMITD_AUTH_HMAC_H
#define SUBMITD_AUTH_HMAC_H

#include "base/err.h"
#include "base/secret.h"

enum { HMAC_MD5_SIZE = 16 };

/* Fails where the crypto library forbids MD5 (FIPS mode). */
bool hmac_md5(const struct secret *key, struct slice text, unsigned char ret_mac[HMAC_MD5_SIZE],
    struct err *e);

#endif
