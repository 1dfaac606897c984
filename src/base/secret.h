/*
 * A secret is a password or a token. It has no printf form and no way into a log.
 * The owner calls secret_free; the bytes are overwritten before their memory is given back.
 * Bytes leave through secret_reveal only, which is called where they go to the wire or to a
 * security library, and nowhere else.
 */
#ifndef SUBMITD_BASE_SECRET_H
#define SUBMITD_BASE_SECRET_H

#include "base/slice.h"

struct secret;

/* Copies the bytes; NULL when out of memory. A NUL is kept behind the bytes for C libraries. */
struct secret *secret_new(const void *bytes, size_t n);
struct secret *secret_dup(const struct secret *s);
void secret_free(struct secret *s);
/* Valid until secret_free; never copy it anywhere but to the wire. */
struct slice secret_reveal(const struct secret *s);
bool secret_is_empty(const struct secret *s);
/* In time that does not depend on where they differ. */
bool secret_eq(const struct secret *a, const struct secret *b);
/* Overwrites memory in a way the compiler keeps. */
void secret_wipe(void *p, size_t n);

#endif
