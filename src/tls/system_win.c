/*
 * Windows' own judgement of a chain: it knows the authorities that an administrator pushed out, the
 * ones that were taken back, and fetches public ones that it has not needed before.
 */
#include "platform/win/text.h"
#include "tls/internal.h"

#include <stdlib.h>
#include <windows.h>
/* After windows.h. */
#define CERT_CHAIN_PARA_HAS_EXTRA_FIELDS
#include <wincrypt.h>

/* The handshake waits on the loop's thread: only a chain that is bad without the network is worth
 * so much of it. */
enum { FETCH_MS = 3000 };

/* SECURITY_FLAG_IGNORE_CERT_CN_INVALID of wininet.h, which cannot be included beside the rest. */
enum { IGNORE_NAME = 0x1000 };

int tls_system_load(gnutls_certificate_credentials_t cred)
{
    (void)cred; /* nothing is copied into GnuTLS: the stores change while we run */
    return 1;
}

/* --- what Windows says, in GnuTLS's words ------------------------------------------------------
 */

static const struct {
    DWORD error;
    unsigned status;
} verdicts[] = {
    { CERT_TRUST_IS_REVOKED, GNUTLS_CERT_REVOKED },
    { CERT_TRUST_IS_EXPLICIT_DISTRUST, GNUTLS_CERT_REVOKED },
    { CERT_TRUST_IS_NOT_SIGNATURE_VALID, GNUTLS_CERT_SIGNATURE_FAILURE },
    { CERT_TRUST_IS_UNTRUSTED_ROOT, GNUTLS_CERT_SIGNER_NOT_FOUND },
    { CERT_TRUST_IS_PARTIAL_CHAIN, GNUTLS_CERT_SIGNER_NOT_FOUND },
    { CERT_TRUST_IS_NOT_VALID_FOR_USAGE, GNUTLS_CERT_PURPOSE_MISMATCH },
    { CERT_TRUST_INVALID_BASIC_CONSTRAINTS, GNUTLS_CERT_SIGNER_NOT_CA },
    { CERT_TRUST_INVALID_NAME_CONSTRAINTS, GNUTLS_CERT_SIGNER_CONSTRAINTS_FAILURE },
    { CERT_TRUST_HAS_NOT_PERMITTED_NAME_CONSTRAINT, GNUTLS_CERT_SIGNER_CONSTRAINTS_FAILURE },
    { CERT_TRUST_HAS_EXCLUDED_NAME_CONSTRAINT, GNUTLS_CERT_SIGNER_CONSTRAINTS_FAILURE },
    { CERT_TRUST_HAS_WEAK_SIGNATURE, GNUTLS_CERT_INSECURE_ALGORITHM },
};

/* Expired or not valid yet: Windows has one bit for both. */
static unsigned time_status(const CERT_CHAIN_CONTEXT *built)
{
    unsigned status = 0;
    const CERT_SIMPLE_CHAIN *path = built->cChain > 0 ? built->rgpChain[0] : NULL;
    for (DWORD i = 0; path && i < path->cElement; i++) {
        LONG side = CertVerifyTimeValidity(NULL, path->rgpElement[i]->pCertContext->pCertInfo);
        status |= side > 0 ? GNUTLS_CERT_EXPIRED : 0U;
        status |= side < 0 ? GNUTLS_CERT_NOT_ACTIVATED : 0U;
    }
    return status;
}

static unsigned status_of(const CERT_CHAIN_CONTEXT *built)
{
    DWORD errors = built->TrustStatus.dwErrorStatus;
    unsigned status = errors != 0 ? GNUTLS_CERT_INVALID : 0U;
    for (size_t i = 0; i < ARRAYSIZE(verdicts); i++)
        status |= errors & verdicts[i].error ? verdicts[i].status : 0U;
    if (errors & CERT_TRUST_IS_NOT_TIME_VALID)
        status |= time_status(built);
    return status;
}

/* What the policy for TLS servers adds. It alone is not enough: it lets a partial chain pass. The
 * name is looked at by our own check, as on other systems. */
static unsigned policy_status(const CERT_CHAIN_CONTEXT *built)
{
    SSL_EXTRA_CERT_CHAIN_POLICY_PARA server = {
        .cbSize = sizeof server,
        .dwAuthType = AUTHTYPE_SERVER,
        .fdwChecks = IGNORE_NAME,
    };
    CERT_CHAIN_POLICY_PARA rules = { .cbSize = sizeof rules, .pvExtraPolicyPara = &server };
    CERT_CHAIN_POLICY_STATUS result = { .cbSize = sizeof result };
    bool is_asked = CertVerifyCertificateChainPolicy(CERT_CHAIN_POLICY_SSL, built, &rules, &result);
    return is_asked && result.dwError == 0 ? 0U : GNUTLS_CERT_INVALID;
}

/* --- what GnuTLS's profile asks for and Windows does not ----------------------------------------
 */

/* The same bounds as in TLS_DEFAULT_PRIORITY. A root's own signature proves nothing and is left
 * out: it is not even in most chains. */
static unsigned weakness(const struct tls_chain *chain)
{
    for (unsigned i = 0; i < chain->count; i++) {
        unsigned bits = 0;
        int key = gnutls_x509_crt_get_pk_algorithm(chain->certs[i], &bits);
        int signature = gnutls_x509_crt_get_signature_algorithm(chain->certs[i]);
        bool is_root = gnutls_x509_crt_check_issuer(chain->certs[i], chain->certs[i]) != 0;
        gnutls_sec_param_t strength = gnutls_pk_bits_to_sec_param(key, bits);
        bool is_weak = key < 0 || strength < GNUTLS_SEC_PARAM_MEDIUM ||
                       (!is_root && (signature < 0 || !gnutls_sign_is_secure2(signature,
                                                          GNUTLS_SIGN_FLAG_SECURE_FOR_CERTS)));
        if (is_weak)
            return GNUTLS_CERT_INVALID | GNUTLS_CERT_INSECURE_ALGORITHM;
    }
    return 0;
}

/* --- asking -------------------------------------------------------------------------------------
 */

/* The server's certificate with the ones it sent along. NULL: Windows cannot read them. */
static PCCERT_CONTEXT open_chain(struct tls *t, HCERTSTORE store)
{
    unsigned n = 0;
    const gnutls_datum_t *der = gnutls_certificate_get_peers(t->session, &n);
    PCCERT_CONTEXT leaf = NULL;
    for (unsigned i = 0; i < n; i++) {
        PCCERT_CONTEXT *ret = i == 0 ? &leaf : NULL;
        if (!CertAddEncodedCertificateToStore(
                store, X509_ASN_ENCODING, der[i].data, der[i].size, CERT_STORE_ADD_ALWAYS, ret)) {
            if (leaf)
                CertFreeCertificateContext(leaf);
            return NULL;
        }
    }
    return leaf;
}

static bool build(PCCERT_CONTEXT leaf, HCERTSTORE store, DWORD flags, unsigned *ret_status)
{
    char purpose[] = szOID_PKIX_KP_SERVER_AUTH;
    LPSTR purposes[] = { purpose };
    CERT_CHAIN_PARA wanted = {
        .cbSize = sizeof wanted,
        .RequestedUsage = { .dwType = USAGE_MATCH_TYPE_OR,
            .Usage = { .cUsageIdentifier = 1, .rgpszUsageIdentifier = purposes } },
        .dwUrlRetrievalTimeout = FETCH_MS,
    };
    PCCERT_CHAIN_CONTEXT built = NULL;
    if (!CertGetCertificateChain(NULL, leaf, NULL, store, &wanted, flags, NULL, &built))
        return false;
    *ret_status = status_of(built);
    if (*ret_status == 0)
        *ret_status = policy_status(built);
    CertFreeCertificateChain(built);
    return true;
}

bool tls_system_judge(struct tls *t, const struct tls_chain *chain, unsigned *ret_status)
{
    unsigned status = GNUTLS_CERT_INVALID;
    HCERTSTORE store = CertOpenStore(CERT_STORE_PROV_MEMORY, 0, 0, 0, NULL);
    PCCERT_CONTEXT leaf = store ? open_chain(t, store) : NULL;
    if (leaf) {
        bool is_built = build(leaf, store, CERT_CHAIN_CACHE_ONLY_URL_RETRIEVAL, &status);
        if (is_built && (status & GNUTLS_CERT_SIGNER_NOT_FOUND))
            build(leaf, store, 0, &status);
        CertFreeCertificateContext(leaf);
    }
    if (store)
        CertCloseStore(store, 0);
    *ret_status = status | weakness(chain);
    return true;
}
