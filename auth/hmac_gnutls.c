#include "auth/hmac.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

bool hmac_md5(const struct secret *key, struct slice text, unsigned char ret_mac[HMAC_MD5_SIZE],
    struct err *e)
{
    struct slice k = secret_reveal(key);
    int rc = gnutls_hmac_fast(GNUTLS_MAC_MD5, k.p, k.n, text.p, text.n, ret_mac);
    if (rc == GNUTLS_E_SUCCESS)
        return true;
    return err_set(e, ERR_AUTH, "the crypto library refuses HMAC-MD5: %s", gnutls_strerror(rc));
}
