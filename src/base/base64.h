/*
 * Base64 (RFC 4648 section 4) as RFC 4954 uses it: one line, with padding, no white space.
 * Both functions append to the caller's buffer, which stays the caller's.
 * They never accept what another encoder could not have written (wrong padding, stray bits,
 * blanks).
 */
#ifndef SUBMITD_BASE_BASE64_H
#define SUBMITD_BASE_BASE64_H

#include "base/buf.h"

/* False when the result does not fit into `out`; nothing is added then. */
bool base64_encode(struct slice bytes, struct buf *out);
/* False when `text` is not canonical base64 or does not fit; nothing is added then. */
bool base64_decode(struct slice text, struct buf *out);

#endif
