/* What secctx_sspi.c hands to Windows and makes of its answers: SSPI is played by this file. Wine's
 * own ignores channel bindings, so nothing else sees them before a real Windows does. */
#include "auth/secctx.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <windows.h>
/* After windows.h. */
#define SECURITY_WIN32
#include <security.h>

/* --- the player --- */

static struct {
    SECURITY_STATUS acquire, step; /* what it answers */
    const char *token;             /* what it gives out */
    wchar_t user[64], domain[64], password[64], target[64];
    bool has_identity;
    unsigned long flags, buffer_count;
    char input[256], bindings[256];
    unsigned long input_size, bindings_size;
    unsigned contexts, credentials; /* alive */
    unsigned steps;
} sspi;

static void copy(wchar_t to[64], const unsigned short *from, unsigned long n)
{
    memcpy(to, from, n * sizeof *to);
    to[n] = L'\0';
}

static SECURITY_STATUS SEC_ENTRY fake_acquire(LPWSTR principal, LPWSTR package, unsigned long use,
    void *logon, void *identity, SEC_GET_KEY_FN get_key, void *argument, PCredHandle ret_handle,
    PTimeStamp ret_expiry)
{
    (void)principal, (void)logon, (void)get_key, (void)argument, (void)ret_expiry;
    const SEC_WINNT_AUTH_IDENTITY_W *id = identity;
    cr_expect(wcscmp(package, L"NTLM") == 0);
    cr_expect_eq(use, SECPKG_CRED_OUTBOUND);
    sspi.has_identity = id != NULL;
    if (id) {
        cr_expect_eq(id->Flags, SEC_WINNT_AUTH_IDENTITY_UNICODE);
        copy(sspi.user, id->User, id->UserLength);
        copy(sspi.domain, id->Domain, id->DomainLength);
        copy(sspi.password, id->Password, id->PasswordLength);
    }
    *ret_handle = (CredHandle){ 1, 2 };
    sspi.credentials += sspi.acquire == SEC_E_OK;
    return sspi.acquire;
}

static SECURITY_STATUS SEC_ENTRY fake_free_credential(PCredHandle handle)
{
    (void)handle;
    sspi.credentials--;
    return SEC_E_OK;
}

static void keep(const SecBuffer *b, char to[256], unsigned long *ret_size)
{
    cr_assert_lt(b->cbBuffer, 256);
    memcpy(to, b->pvBuffer, b->cbBuffer);
    *ret_size = b->cbBuffer;
}

static SECURITY_STATUS SEC_ENTRY fake_step(PCredHandle credential, PCtxtHandle old, LPWSTR target,
    unsigned long flags, unsigned long reserved, unsigned long representation, PSecBufferDesc input,
    unsigned long reserved2, PCtxtHandle ret_context, PSecBufferDesc output,
    unsigned long *ret_flags, PTimeStamp ret_expiry)
{
    (void)credential, (void)reserved, (void)representation, (void)reserved2, (void)ret_flags,
        (void)ret_expiry;
    cr_expect_eq(old != NULL, sspi.steps > 0);
    wcscpy(sspi.target, target);
    sspi.flags = flags;
    sspi.steps++;
    sspi.buffer_count = input ? input->cBuffers : 0;
    sspi.input_size = sspi.bindings_size = 0;
    for (unsigned long i = 0; i < sspi.buffer_count; i++) {
        const SecBuffer *b = &input->pBuffers[i];
        if (b->BufferType == SECBUFFER_TOKEN)
            keep(b, sspi.input, &sspi.input_size);
        else if (b->BufferType == SECBUFFER_CHANNEL_BINDINGS)
            keep(b, sspi.bindings, &sspi.bindings_size);
    }
    bool goes_on = sspi.step == SEC_E_OK || sspi.step == SEC_I_CONTINUE_NEEDED;
    sspi.contexts += goes_on && !old;
    *ret_context = (CtxtHandle){ 3, 4 };
    if (goes_on && sspi.token)
        output->pBuffers[0] =
            (SecBuffer){ (unsigned long)strlen(sspi.token), SECBUFFER_TOKEN, _strdup(sspi.token) };
    return sspi.step;
}

static SECURITY_STATUS SEC_ENTRY fake_delete(PCtxtHandle context)
{
    (void)context;
    sspi.contexts--;
    return SEC_E_OK;
}

SECURITY_STATUS SEC_ENTRY FreeContextBuffer(void *buffer)
{
    const char *bytes = buffer;
    cr_expect_eq(bytes[0], '\0', "a token was not wiped");
    free(buffer);
    return SEC_E_OK;
}

/* Where the linker would put the addresses from secur32.dll; FreeContextBuffer above is not
 * imported this way by mingw-w64's header. */
__typeof__(fake_acquire) *__imp_AcquireCredentialsHandleW = fake_acquire;
__typeof__(fake_free_credential) *__imp_FreeCredentialsHandle = fake_free_credential;
__typeof__(fake_step) *__imp_InitializeSecurityContextW = fake_step;
__typeof__(fake_delete) *__imp_DeleteSecurityContext = fake_delete;

static void begin_test(void)
{
    memset(&sspi, 0, sizeof sspi);
    sspi.step = SEC_I_CONTINUE_NEEDED;
    sspi.token = "type 1";
}

static void end_test(void)
{
    cr_expect_eq(sspi.contexts, 0);
    cr_expect_eq(sspi.credentials, 0);
}

TestSuite(sspi, .init = begin_test, .fini = end_test);

/* --- credentials --- */

static bool acquire(
    const char *username, const char *password, struct secctx_cred **ret, struct err *e)
{
    struct secret *secret = password ? secret_new(password, strlen(password)) : NULL;
    bool done = secctx_cred_new_ntlm(username, secret, ret, e);
    secret_free(secret);
    return done;
}

Test(sspi, names_are_split_as_the_server_sees_them)
{
    static const struct {
        const char *username;
        const wchar_t *user, *domain;
    } rows[] = {
        { "CORP\\user", L"user", L"CORP" },
        { "user@CORP", L"user", L"CORP" },
        { "corp.example\\user", L"user", L"corp.example" },
        { "user@corp.example", L"user@corp.example", L"" },
        { "CORP\\user@corp.example", L"user@corp.example", L"CORP" },
        { "user", L"user", L"" },
        { "C\xc3\x96RP\\m\xc3\xbcller", L"m\u00fcller", L"C\u00d6RP" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct secctx_cred *cred = NULL;
        struct err e = { .text = "" };
        cr_assert(acquire(rows[i].username, "p\xc3\xa4ss \xe2\x82\xac", &cred, &e), "%s", e.text);
        cr_expect(sspi.has_identity);
        cr_expect(wcscmp(sspi.user, rows[i].user) == 0, "%s", rows[i].username);
        cr_expect(wcscmp(sspi.domain, rows[i].domain) == 0, "%s", rows[i].username);
        cr_expect(wcscmp(sspi.password, L"p\u00e4ss \u20ac") == 0);
        secctx_cred_unref(cred);
    }
}

Test(sspi, without_a_name_the_process_logs_in)
{
    struct secctx_cred *cred = NULL;
    struct err e;
    sspi.has_identity = true;
    cr_assert(acquire("", NULL, &cred, &e), "%s", e.text);
    cr_expect_not(sspi.has_identity);
    secctx_cred_unref(secctx_cred_ref(cred));
    cr_expect_eq(sspi.credentials, 1);
    secctx_cred_unref(cred);
}

Test(sspi, a_refused_credential_has_its_remedy)
{
    struct secctx_cred *cred = NULL;
    struct err e;
    sspi.acquire = SEC_E_SECPKG_NOT_FOUND;
    cr_expect_not(acquire("user", "hunter2", &cred, &e));
    cr_expect(strstr(e.text, "0x80090305"), "%s", e.text);
    cr_expect(strstr(e.text, "Restrict NTLM"), "%s", e.text);
    cr_expect_eq(e.kind, ERR_CONFIG);
    cr_expect_null(strstr(e.text, "hunter2"));
}

/* --- contexts --- */

static struct secctx *make_context(struct slice binding)
{
    struct secctx_cred *cred = NULL;
    struct secctx *ctx = NULL;
    struct err e;
    cr_assert(acquire("CORP\\user", "hunter2", &cred, &e), "%s", e.text);
    cr_assert(secctx_new_ntlm(cred, "mail.test", binding, &ctx, &e), "%s", e.text);
    secctx_cred_unref(cred);
    return ctx;
}

static enum secctx_status step(struct secctx *ctx, const char *in, const char *want, struct err *e)
{
    struct buf out;
    buf_init_secret(&out, 64);
    enum secctx_status status = secctx_step(ctx, slice_str(in), &out, e);
    cr_expect_str_eq(buf_cstr(&out), want);
    buf_fini(&out);
    return status;
}

Test(sspi, the_binding_goes_with_the_challenge)
{
    const struct slice binding = SLICE_LIT("tls-server-end-point:\x01\x02\x00\xff");
    struct secctx *ctx = make_context(binding);
    struct err e;
    cr_expect_eq(step(ctx, NULL, "type 1", &e), SECCTX_CONTINUE);
    cr_expect_eq(sspi.buffer_count, 0);
    cr_expect(wcscmp(sspi.target, L"SMTPSVC/mail.test") == 0);
    cr_expect_eq(sspi.flags, ISC_REQ_ALLOCATE_MEMORY);
    sspi.step = SEC_E_OK;
    sspi.token = "type 3";
    cr_expect_eq(step(ctx, "type 2", "type 3", &e), SECCTX_DONE);
    cr_expect_eq(sspi.buffer_count, 2);
    cr_expect_eq(sspi.input_size, 6);
    cr_expect(memcmp(sspi.input, "type 2", 6) == 0);
    SEC_CHANNEL_BINDINGS header;
    cr_assert_eq(sspi.bindings_size, sizeof header + binding.n);
    memcpy(&header, sspi.bindings, sizeof header);
    cr_expect_eq(header.cbInitiatorLength + header.cbAcceptorLength, 0);
    cr_expect_eq(header.dwInitiatorAddrType + header.dwAcceptorAddrType, 0);
    cr_expect_eq(header.cbApplicationDataLength, binding.n);
    cr_expect_eq(header.dwApplicationDataOffset, sizeof header);
    cr_expect(memcmp(sspi.bindings + sizeof header, binding.p, binding.n) == 0);
    secctx_free(ctx);
}

Test(sspi, without_a_binding_there_is_the_challenge_alone)
{
    struct secctx *ctx = make_context(SLICE_NONE);
    struct err e;
    cr_expect_eq(step(ctx, NULL, "type 1", &e), SECCTX_CONTINUE);
    cr_expect_eq(step(ctx, "type 2", "type 1", &e), SECCTX_CONTINUE);
    cr_expect_eq(sspi.buffer_count, 1);
    cr_expect_eq(sspi.bindings_size, 0);
    secctx_free(ctx);
}

Test(sspi, failures_end_the_context)
{
    static const struct {
        SECURITY_STATUS status;
        enum secctx_status want;
        enum err_kind kind;
    } rows[] = {
        { SEC_E_BAD_BINDINGS, SECCTX_BAD_BINDINGS, ERR_AUTH },
        { SEC_E_INVALID_TOKEN, SECCTX_FAILED, ERR_PROTO },
        { SEC_E_NO_CREDENTIALS, SECCTX_FAILED, ERR_CONFIG },
        { SEC_E_LOGON_DENIED, SECCTX_FAILED, ERR_AUTH },
        { SEC_I_COMPLETE_NEEDED, SECCTX_FAILED, ERR_AUTH },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e = { .kind = ERR_NONE };
        begin_test();
        struct secctx *ctx = make_context(SLICE_NONE);
        cr_expect_eq(step(ctx, NULL, "type 1", &e), SECCTX_CONTINUE);
        sspi.step = rows[i].status;
        cr_expect_eq(step(ctx, "type 2", "", &e), rows[i].want, "row %zu", i);
        cr_expect_eq(e.kind, rows[i].kind, "row %zu: %s", i, e.text);
        unsigned steps = sspi.steps;
        cr_expect_eq(step(ctx, "type 2", "", &e), SECCTX_FAILED);
        cr_expect_eq(sspi.steps, steps, "Windows is not asked again");
        secctx_free(ctx);
    }
}

Test(sspi, a_server_without_a_name_is_refused)
{
    struct secctx_cred *cred = NULL;
    struct secctx *ctx = NULL;
    struct err e;
    cr_assert(acquire("user", "hunter2", &cred, &e));
    cr_expect_not(secctx_new_ntlm(cred, "", SLICE_NONE, &ctx, &e));
    secctx_cred_unref(cred);
}
