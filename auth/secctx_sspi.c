#include "auth/secctx.h"

#include "base/str.h"
#include "platform/win/text.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <windows.h>
/* After windows.h. */
#define SECURITY_WIN32
#include <security.h>

/* An account name is at most 20 characters, a principal name as long as a mail address. */
enum { USERNAME_MAX = 320 };

/* The package's name; SSPI's types are not const. */
static wchar_t ntlm_package[] = L"NTLM";

struct secctx_cred {
    atomic_uint refs;
    CredHandle handle;
};

struct secctx {
    struct secctx_cred *cred;
    wchar_t *target;
    struct buf bindings; /* SEC_CHANNEL_BINDINGS and the data behind it; empty: none */
    CtxtHandle handle;
    bool has_handle;
    bool is_over;
};

/* --- errors ------------------------------------------------------------------------------------
 */

static const struct remedy {
    SECURITY_STATUS status; /* 0 fits any */
    enum err_kind kind;
    const char *text;
} remedies[] = {
    { SEC_E_SECPKG_NOT_FOUND, ERR_CONFIG,
        "Windows has NTLM switched off: see the policy 'Network security: Restrict NTLM'" },
    { SEC_E_NO_CREDENTIALS, ERR_CONFIG,
        "the account that submitd runs as cannot log in over the network: set username and a "
        "password" },
    { SEC_E_UNKNOWN_CREDENTIALS, ERR_CONFIG, "set username and a password" },
    { SEC_E_TIME_SKEW, ERR_AUTH, "set both clocks right" },
    { SEC_E_BAD_BINDINGS, ERR_AUTH, "the server's challenge has no target information" },
    { SEC_E_INVALID_TOKEN, ERR_PROTO, "the server's challenge is damaged" },
    { SEC_E_MESSAGE_ALTERED, ERR_PROTO, "the server's challenge is damaged" },
    { 0, ERR_AUTH, NULL },
};

/* Always false. `what` says what was tried. */
static bool sspi_fail(struct err *e, const char *what, SECURITY_STATUS status)
{
    char words[WIN_ERROR_TEXT_MAX];
    const struct remedy *r = remedies;
    while (r->status != 0 && r->status != status)
        r++;
    return err_set(e, r->kind, "%s: %s%s%s", what, win_error_text((unsigned long)status, words),
        r->text ? "; " : "", r->text ? r->text : "");
}

void secctx_prepare(void)
{
    /* SSPI reads its rules (LmCompatibilityLevel: NTLMv2 since Windows 7) from the registry, where
     * they are the administrator's. */
}

bool secctx_has_ntlm(struct err *e)
{
    PSecPkgInfoW info = NULL;
    SECURITY_STATUS status = QuerySecurityPackageInfoW(ntlm_package, &info);
    if (status == SEC_E_OK)
        FreeContextBuffer(info);
    return status == SEC_E_OK || sspi_fail(e, "this system has no NTLM provider", status);
}

/* --- credentials -------------------------------------------------------------------------------
 */

/* What SSPI wants to know of an account. */
struct identity {
    wchar_t *user, *domain, *password;
    size_t user_n, domain_n, password_n;
};

static void identity_fini(struct identity *id)
{
    if (id->password)
        secret_wipe(id->password, id->password_n * sizeof *id->password);
    free(id->user);
    free(id->domain);
    free(id->password);
}

/*
 * DOMAIN\user and user@DOMAIN in two parts. user@dns.domain goes whole into the user field: that is
 * a user principal name, whose suffix need not be the name of a domain.
 */
static bool split_name(
    const char *username, struct slice *ret_user, struct slice *ret_domain, struct err *e)
{
    const char *slash = strchr(username, '\\'), *at = strrchr(username, '@');
    if (strlen(username) > USERNAME_MAX)
        return err_set(e, ERR_CONFIG, "username has more than %d bytes", USERNAME_MAX);
    if (slash ? slash[1] == '\0' || slash[1] == '@' : at == username)
        return err_set(e, ERR_CONFIG, "username '%s' has a domain and no user", username);
    *ret_user = slice_str(username);
    if (slash) {
        *ret_user = slice_str(slash + 1);
        *ret_domain = slice_of(username, (size_t)(slash - username));
    } else if (at && !strchr(at, '.')) {
        *ret_user = slice_of(username, (size_t)(at - username));
        *ret_domain = slice_str(at + 1);
    }
    return true;
}

static bool identity_init(
    struct identity *id, const char *username, const struct secret *password, struct err *e)
{
    struct slice user = SLICE_NONE, domain = SLICE_NONE, bytes = secret_reveal(password);
    if (!str_is_utf8(slice_str(username)))
        return err_set(e, ERR_CONFIG, "username is not valid UTF-8");
    if (!split_name(username, &user, &domain, e))
        return false;
    id->user = win_wide_n(user.p, user.n, &id->user_n);
    id->domain = win_wide_n(domain.p, domain.n, &id->domain_n);
    id->password = win_wide_n(bytes.p, bytes.n, &id->password_n);
    return (id->user && id->domain && id->password) ||
           err_set(e, ERR_MEMORY, "out of memory for a credential");
}

/* `id` NULL: the account that the process runs as. Windows copies what it is given. */
static bool acquire(struct secctx_cred *cred, const struct identity *id, struct err *e)
{
    SEC_WINNT_AUTH_IDENTITY_W given = { .Flags = SEC_WINNT_AUTH_IDENTITY_UNICODE };
    if (id) {
        given.User = (unsigned short *)id->user;
        given.UserLength = (unsigned long)id->user_n;
        given.Domain = (unsigned short *)id->domain;
        given.DomainLength = (unsigned long)id->domain_n;
        given.Password = (unsigned short *)id->password;
        given.PasswordLength = (unsigned long)id->password_n;
    }
    TimeStamp expiry;
    SECURITY_STATUS status = AcquireCredentialsHandleW(NULL, ntlm_package, SECPKG_CRED_OUTBOUND,
        NULL, id ? &given : NULL, NULL, NULL, &cred->handle, &expiry);
    return status == SEC_E_OK || sspi_fail(e, "no NTLM credential can be made", status);
}

static bool acquire_named(
    struct secctx_cred *cred, const char *username, const struct secret *password, struct err *e)
{
    struct identity id = { .user = NULL };
    bool done = identity_init(&id, username, password, e) && acquire(cred, &id, e);
    identity_fini(&id);
    return done;
}

static bool password_is_sound(const char *username, const struct secret *password, struct err *e)
{
    struct slice bytes = secret_reveal(password);
    if (username[0] == '\0')
        return err_set(e, ERR_CONFIG, "username is empty, and there is a password");
    if (secret_is_empty(password))
        return err_set(e, ERR_CONFIG, "the password of '%s' is empty", username);
    if (!str_is_utf8(bytes) || memchr(bytes.p, '\0', bytes.n))
        return err_set(e, ERR_CONFIG, "the password of '%s' is not valid UTF-8", username);
    return true;
}

bool secctx_cred_new_ntlm(const char *username, const struct secret *password,
    struct secctx_cred **ret_cred, struct err *e)
{
    bool is_own = username[0] == '\0' && secret_is_empty(password);
    if (!is_own && !password_is_sound(username, password, e))
        return false;
    struct secctx_cred *cred = calloc(1, sizeof *cred);
    if (!cred)
        return err_set(e, ERR_MEMORY, "out of memory for a credential");
    atomic_init(&cred->refs, 1);
    if (!(is_own ? acquire(cred, NULL, e) : acquire_named(cred, username, password, e))) {
        free(cred);
        return false;
    }
    *ret_cred = cred;
    return true;
}

struct secctx_cred *secctx_cred_ref(struct secctx_cred *cred)
{
    atomic_fetch_add(&cred->refs, 1);
    return cred;
}

void secctx_cred_unref(struct secctx_cred *cred)
{
    if (!cred || atomic_fetch_sub(&cred->refs, 1) > 1)
        return;
    FreeCredentialsHandle(&cred->handle);
    free(cred);
}

/* --- contexts ----------------------------------------------------------------------------------
 */

/* SMTPSVC/host is what Exchange and .NET call the service. */
static bool take_target(struct secctx *ctx, const char *host, struct err *e)
{
    if (host[0] == '\0')
        return err_set(e, ERR_CONFIG, "NTLM needs the server's name, and it is empty");
    char *text = str_format("SMTPSVC/%s", host);
    ctx->target = text ? win_wide(text) : NULL;
    free(text);
    return ctx->target || err_set(e, ERR_MEMORY, "out of memory for a name");
}

/* RFC 5929 and MS-NLMP: no addresses, the application data alone, right behind the header. */
static bool take_binding(struct secctx *ctx, struct slice binding, struct err *e)
{
    const SEC_CHANNEL_BINDINGS header = {
        .cbApplicationDataLength = (unsigned long)binding.n,
        .dwApplicationDataOffset = sizeof header,
    };
    if (binding.n == 0)
        return true;
    return (buf_add(&ctx->bindings, &header, sizeof header) &&
               buf_add_slice(&ctx->bindings, binding)) ||
           err_set(e, ERR_MEMORY, "out of memory for a security context");
}

bool secctx_new_ntlm(struct secctx_cred *cred, const char *host, struct slice binding,
    struct secctx **ret_ctx, struct err *e)
{
    struct secctx *ctx = calloc(1, sizeof *ctx);
    if (!ctx)
        return err_set(e, ERR_MEMORY, "out of memory for a security context");
    ctx->cred = secctx_cred_ref(cred);
    buf_init(&ctx->bindings, sizeof(SEC_CHANNEL_BINDINGS) + binding.n);
    if (!take_target(ctx, host, e) || !take_binding(ctx, binding, e)) {
        secctx_free(ctx);
        return false;
    }
    *ret_ctx = ctx;
    return true;
}

void secctx_free(struct secctx *ctx)
{
    if (!ctx)
        return;
    if (ctx->has_handle)
        DeleteSecurityContext(&ctx->handle);
    free(ctx->target);
    buf_fini(&ctx->bindings);
    secctx_cred_unref(ctx->cred);
    free(ctx);
}

static enum secctx_status status_of(SECURITY_STATUS status, struct err *e)
{
    if (status == SEC_E_OK)
        return SECCTX_DONE;
    if (status == SEC_I_CONTINUE_NEEDED)
        return SECCTX_CONTINUE;
    sspi_fail(e, "the security provider failed", status);
    return status == SEC_E_BAD_BINDINGS ? SECCTX_BAD_BINDINGS : SECCTX_FAILED;
}

/* The server's token, and the bindings with it: NTLM puts them into the Type 3. Nothing for the
 * first step. */
static unsigned long fill_input(struct secctx *ctx, struct slice in, SecBuffer buffers[2])
{
    unsigned long n = 0;
    void *p = (void *)(uintptr_t)in.p; /* SSPI has no const; the bytes are only read */
    if (in.n == 0)
        return 0;
    buffers[n++] = (SecBuffer){ (unsigned long)in.n, SECBUFFER_TOKEN, p };
    struct slice bindings = buf_slice(&ctx->bindings);
    p = (void *)(uintptr_t)bindings.p;
    if (bindings.n > 0)
        buffers[n++] = (SecBuffer){ (unsigned long)bindings.n, SECBUFFER_CHANNEL_BINDINGS, p };
    return n;
}

static SECURITY_STATUS initialize(struct secctx *ctx, struct slice in, SecBuffer *token)
{
    SecBuffer inputs[2];
    SecBufferDesc input = { SECBUFFER_VERSION, fill_input(ctx, in, inputs), inputs };
    SecBufferDesc output = { SECBUFFER_VERSION, 1, token };
    CtxtHandle *old = ctx->has_handle ? &ctx->handle : NULL;
    ULONG granted = 0;
    TimeStamp expiry;
    /* No request flags but the one about memory: integrity and its like fail against a server that
     * does not offer them. */
    SECURITY_STATUS status = InitializeSecurityContextW(&ctx->cred->handle, old, ctx->target,
        ISC_REQ_ALLOCATE_MEMORY, 0, SECURITY_NATIVE_DREP, input.cBuffers > 0 ? &input : NULL, 0,
        &ctx->handle, &output, &granted, &expiry);
    ctx->has_handle = ctx->has_handle || status == SEC_E_OK || status == SEC_I_CONTINUE_NEEDED;
    return status;
}

/* Takes the provider's token over into `out`, and leaves nothing of it on the heap. */
static void take_token(SecBuffer *token, struct buf *out)
{
    if (!token->pvBuffer)
        return;
    buf_add(out, token->pvBuffer, token->cbBuffer);
    secret_wipe(token->pvBuffer, token->cbBuffer);
    FreeContextBuffer(token->pvBuffer);
}

enum secctx_status secctx_step(struct secctx *ctx, struct slice in, struct buf *out, struct err *e)
{
    if (ctx->is_over) {
        err_set(e, ERR_AUTH, "the security context has ended already");
        return SECCTX_FAILED;
    }
    SecBuffer token = { 0, SECBUFFER_TOKEN, NULL };
    SECURITY_STATUS result = initialize(ctx, in, &token);
    take_token(&token, out);
    enum secctx_status status = status_of(result, e);
    ctx->is_over = status != SECCTX_CONTINUE;
    return status;
}
