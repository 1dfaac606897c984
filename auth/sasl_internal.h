/*
 * What the SASL driver (sasl.c) and the mechanisms share.
 * A mechanism's struct begins with a struct sasl, which sasl_new fills and sasl_free releases.
 * Nobody outside auth/ includes this.
 */
#ifndef SUBMITD_AUTH_SASL_INTERNAL_H
#define SUBMITD_AUTH_SASL_INTERNAL_H

#include "auth/sasl.h"

struct sasl {
    const struct sasl_mech *mech;
    struct sasl_account *account;
    char *host;
    struct buf binding; /* empty: none */
    unsigned step;      /* the running step, counted from 1 */
    bool is_over;       /* a step failed */
    bool used_binding;
    bool dropped_binding;
};

extern const struct sasl_mech sasl_ntlm, sasl_cram_md5, sasl_login, sasl_plain;

const struct secret *sasl_account_password(const struct sasl_account *a);
/* The account's only NTLM credential, acquired by the first call (which blocks). A reference for
 * the caller. */
bool sasl_account_ntlm_cred(struct sasl_account *a, struct secctx_cred **ret_cred, struct err *e);

#endif
