#include "auth/secctx.h"

#include "base/str.h"

#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

/* 1.3.6.1.4.1.311.2.2.10, Microsoft's NTLMSSP, as DER without its head. GSSAPI's types are not
 * const. */
static char ntlm_oid_bytes[] = "\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a";
static gss_OID_desc ntlm_oid = { .length = 10, .elements = ntlm_oid_bytes };

/*
 * gss-ntlmssp up to 1.2.0 puts the upper-cased user and the domain into 512 bytes without looking.
 * Upper case can take three times the room in UTF-8 (a user of 170 bytes becomes 510). Active
 * Directory's own limits are 20 characters for a user and 15 for a domain; principal names are as
 * long as mail addresses.
 */
enum { USERNAME_MAX = 170 };

struct secctx_cred {
    atomic_uint refs;
    gss_cred_id_t gss;
};

struct secctx {
    struct secctx_cred *cred;
    gss_name_t target;
    struct buf binding; /* empty: none */
    gss_ctx_id_t gss;
    bool is_over;
};

/* --- errors ------------------------------------------------------------------------------------
 */

/* What an operator can do about it: the first row that fits; a NULL `minor` fits any text. */
static const struct remedy {
    OM_uint32 major;   /* the routine error; 0 fits any */
    const char *minor; /* the mechanism's text */
    enum err_kind kind;
    const char *text;
} remedies[] = {
    { GSS_S_BAD_MECH, NULL, ERR_CONFIG, "install the package gss-ntlmssp" },
    { 0, "Crypto routine failure", ERR_CONFIG,
        "NTLM needs MD4, MD5 and RC4: install OpenSSL's legacy provider (legacy.so) and leave FIPS "
        "mode" },
    { GSS_S_CONTEXT_EXPIRED, NULL, ERR_AUTH,
        "the server's clock is more than 36 hours behind ours: set both clocks right" },
    { GSS_S_BAD_BINDINGS, NULL, ERR_AUTH, "the server's challenge has no target information" },
    { GSS_S_DEFECTIVE_TOKEN, NULL, ERR_PROTO, "the server's challenge is damaged" },
    { 0, NULL, ERR_AUTH, NULL },
};

/* The library's words for a status code, "" when it has none. */
static void status_text(OM_uint32 code, int type, struct buf *out)
{
    OM_uint32 minor, context = 0;
    gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
    if (gss_display_status(&minor, code, type, &ntlm_oid, &context, &text) != GSS_S_COMPLETE)
        return;
    str_add_printable(out, slice_of(text.value, text.length));
    gss_release_buffer(&minor, &text);
}

/* Always false. `what` says what was tried. */
static bool gss_fail(struct err *e, const char *what, OM_uint32 major, OM_uint32 minor)
{
    enum { TEXT_MAX = 200 };
    struct buf text;
    buf_init(&text, TEXT_MAX);
    if (minor != 0)
        status_text(minor, GSS_C_MECH_CODE, &text);
    if (text.len == 0 || GSS_ROUTINE_ERROR(major) == GSS_S_BAD_MECH) {
        buf_clear(&text);
        status_text(major, GSS_C_GSS_CODE, &text);
    }
    const struct remedy *r = remedies;
    while ((r->major != 0 && r->major != GSS_ROUTINE_ERROR(major)) ||
           (r->minor && !strstr(buf_cstr(&text), r->minor)))
        r++;
    err_set(e, r->kind, "%s: %s%s%s", what, buf_cstr(&text), r->text ? "; " : "",
        r->text ? r->text : "");
    buf_fini(&text);
    return false;
}

/* --- the environment ---------------------------------------------------------------------------
 */

/*
 * gss-ntlmssp sends NTLMv1 when LM_COMPAT_LEVEL is below 3, which Active Directory refuses and
 * which anybody can crack; above 5 it does nothing. Its default is 3: NTLMv2 only.
 */
static void pin_lm_compat_level(void)
{
    const char *level = getenv("LM_COMPAT_LEVEL");
    bool is_fine = level && level[0] >= '3' && level[0] <= '5' && level[1] == '\0';
    if (!is_fine)
        setenv("LM_COMPAT_LEVEL", "3", 1);
}

void secctx_prepare(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, pin_lm_compat_level);
}

bool secctx_has_ntlm(struct err *e)
{
    OM_uint32 minor, ignored;
    gss_OID_set types = GSS_C_NO_OID_SET;
    OM_uint32 major = gss_inquire_names_for_mech(&minor, &ntlm_oid, &types);
    gss_release_oid_set(&ignored, &types);
    if (GSS_ROUTINE_ERROR(major) != GSS_S_BAD_MECH)
        return true;
    return gss_fail(e, "this system has no NTLM provider", major, minor);
}

/* --- names -------------------------------------------------------------------------------------
 */

/*
 * The name as gss-ntlmssp wants it. It splits user@domain itself, at the first @, into user and
 * domain; a backslash in front keeps a user principal name whole.
 */
static bool spell_user(const char *username, struct buf *out, struct err *e)
{
    const char *slash = strchr(username, '\\'), *at = strrchr(username, '@');
    if (strlen(username) > USERNAME_MAX)
        return err_set(e, ERR_CONFIG, "username has more than %d bytes", USERNAME_MAX);
    if (!str_is_utf8(slice_str(username)))
        return err_set(e, ERR_CONFIG, "username is not valid UTF-8");
    if (slash ? slash[1] == '\0' || slash[1] == '@' : at == username)
        return err_set(e, ERR_CONFIG, "username '%s' has a domain and no user", username);
    if (slash || !at)
        return buf_add_str(out, username);
    if (strchr(at, '.'))
        return buf_addf(out, "\\%s", username);
    return buf_addf(out, "%s\\%.*s", at + 1, (int)(at - username), username);
}

static bool import_name(
    const char *text, gss_OID type, const char *what, gss_name_t *ret_name, struct err *e)
{
    OM_uint32 minor;
    gss_buffer_desc bytes = { .length = strlen(text), .value = str_dup(text) };
    if (!bytes.value)
        return err_set(e, ERR_MEMORY, "out of memory for a name");
    OM_uint32 major = gss_import_name(&minor, &bytes, type, ret_name);
    free(bytes.value);
    return !GSS_ERROR(major) || gss_fail(e, what, major, minor);
}

static bool import_user(const char *username, gss_name_t *ret_name, struct err *e)
{
    struct buf spelled;
    buf_init(&spelled, USERNAME_MAX + 1); /* and a backslash */
    bool done = spell_user(username, &spelled, e) &&
                import_name(buf_cstr(&spelled), GSS_C_NT_USER_NAME, "username", ret_name, e);
    buf_fini(&spelled);
    return done;
}

/* --- credentials -------------------------------------------------------------------------------
 */

static bool acquire(
    gss_name_t user, const struct secret *password, gss_cred_id_t *ret_cred, struct err *e)
{
    /* gss-ntlmssp ignores the length and reads to the NUL, which a secret keeps behind its bytes.
     */
    struct slice bytes = secret_reveal(password);
    char *p = (char *)(uintptr_t)bytes.p; /* GSSAPI has no const; the bytes are only read */
    gss_buffer_desc buffer = { .length = bytes.n, .value = p };
    gss_OID_set_desc mechs = { .count = 1, .elements = &ntlm_oid };
    OM_uint32 minor;
    OM_uint32 major = gss_acquire_cred_with_password(
        &minor, user, &buffer, GSS_C_INDEFINITE, &mechs, GSS_C_INITIATE, ret_cred, NULL, NULL);
    return !GSS_ERROR(major) || gss_fail(e, "no NTLM credential can be made", major, minor);
}

bool secctx_cred_new_ntlm(const char *username, const struct secret *password,
    struct secctx_cred **ret_cred, struct err *e)
{
    secctx_prepare();
    struct slice bytes = secret_reveal(password);
    if (username[0] == '\0')
        return err_set(e, ERR_CONFIG, "username is empty, and this system cannot log in without");
    if (secret_is_empty(password)) /* gss-ntlmssp says only "invalid argument" */
        return err_set(e, ERR_CONFIG, "the password of '%s' is empty", username);
    if (!str_is_utf8(bytes) || memchr(bytes.p, '\0', bytes.n))
        return err_set(e, ERR_CONFIG, "the password of '%s' is not valid UTF-8", username);
    struct secctx_cred *cred = calloc(1, sizeof *cred);
    if (!cred)
        return err_set(e, ERR_MEMORY, "out of memory for a credential");
    atomic_init(&cred->refs, 1);
    OM_uint32 ignored;
    gss_name_t user = GSS_C_NO_NAME;
    bool done = import_user(username, &user, e) && acquire(user, password, &cred->gss, e);
    gss_release_name(&ignored, &user);
    if (!done) {
        secctx_cred_unref(cred);
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
    OM_uint32 ignored;
    gss_release_cred(&ignored, &cred->gss);
    free(cred);
}

/* --- contexts ----------------------------------------------------------------------------------
 */

/* smtp@host becomes smtp/host in AV pair 9. A target is mandatory in gss-ntlmssp. */
static bool import_target(const char *host, gss_name_t *ret_name, struct err *e)
{
    if (host[0] == '\0')
        return err_set(e, ERR_CONFIG, "NTLM needs the server's name, and it is empty");
    char *text = str_format("smtp@%s", host);
    if (!text)
        return err_set(e, ERR_MEMORY, "out of memory for a name");
    bool done = import_name(text, GSS_C_NT_HOSTBASED_SERVICE, "the server's name", ret_name, e);
    free(text);
    return done;
}

bool secctx_new_ntlm(struct secctx_cred *cred, const char *host, struct slice binding,
    struct secctx **ret_ctx, struct err *e)
{
    struct secctx *ctx = calloc(1, sizeof *ctx);
    if (!ctx)
        return err_set(e, ERR_MEMORY, "out of memory for a security context");
    ctx->cred = secctx_cred_ref(cred);
    buf_init(&ctx->binding, binding.n);
    if (!import_target(host, &ctx->target, e)) {
        secctx_free(ctx);
        return false;
    }
    if (!buf_add_slice(&ctx->binding, binding)) {
        secctx_free(ctx);
        return err_set(e, ERR_MEMORY, "out of memory for a security context");
    }
    *ret_ctx = ctx;
    return true;
}

void secctx_free(struct secctx *ctx)
{
    if (!ctx)
        return;
    OM_uint32 ignored;
    gss_delete_sec_context(&ignored, &ctx->gss, GSS_C_NO_BUFFER);
    gss_release_name(&ignored, &ctx->target);
    buf_fini(&ctx->binding);
    secctx_cred_unref(ctx->cred);
    free(ctx);
}

/* Takes the provider's token over into `out`, and leaves nothing of it on the heap. */
static void take_token(gss_buffer_t token, struct buf *out)
{
    OM_uint32 ignored;
    buf_add(out, token->value, token->length);
    if (token->value)
        secret_wipe(token->value, token->length);
    gss_release_buffer(&ignored, token);
}

static enum secctx_status status_of(OM_uint32 major, OM_uint32 minor, struct err *e)
{
    if (major == GSS_S_COMPLETE)
        return SECCTX_DONE;
    if (major == GSS_S_CONTINUE_NEEDED)
        return SECCTX_CONTINUE;
    gss_fail(e, "the security provider failed", major, minor);
    return GSS_ROUTINE_ERROR(major) == GSS_S_BAD_BINDINGS ? SECCTX_BAD_BINDINGS : SECCTX_FAILED;
}

enum secctx_status secctx_step(struct secctx *ctx, struct slice in, struct buf *out, struct err *e)
{
    if (ctx->is_over) {
        err_set(e, ERR_AUTH, "the security context has ended already");
        return SECCTX_FAILED;
    }
    /* RFC 5929 and MS-NLMP: no addresses, the application data alone. */
    struct gss_channel_bindings_struct bindings = {
        .application_data = { .length = ctx->binding.len, .value = ctx->binding.data },
    };
    char *p = (char *)(uintptr_t)in.p; /* GSSAPI has no const; the bytes are only read */
    gss_buffer_desc token_in = { .length = in.n, .value = p };
    gss_buffer_desc token_out = GSS_C_EMPTY_BUFFER;
    OM_uint32 minor;
    /* No request flags: INTEG, CONF and their like fail against a server that does not offer them.
     */
    OM_uint32 major =
        gss_init_sec_context(&minor, ctx->cred->gss, &ctx->gss, ctx->target, &ntlm_oid, 0,
            GSS_C_INDEFINITE, ctx->binding.len > 0 ? &bindings : GSS_C_NO_CHANNEL_BINDINGS,
            &token_in, NULL, &token_out, NULL, NULL);
    take_token(&token_out, out);
    enum secctx_status status = status_of(major, minor, e);
    ctx->is_over = status != SECCTX_CONTINUE;
    return status;
}
