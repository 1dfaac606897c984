#include "tls/internal.h"

int tls_system_load(gnutls_certificate_credentials_t cred)
{
    int n = gnutls_certificate_set_x509_system_trust(cred);
    return n > 0 ? n : 0;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): it is another system that sets it. */
bool tls_system_judge(struct tls *t, const struct tls_chain *chain, unsigned *ret_status)
{
    (void)t;
    (void)chain;
    (void)ret_status;
    return false;
}
