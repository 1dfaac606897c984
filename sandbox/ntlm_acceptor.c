#include "sandbox/ntlm_acceptor.h"

#include "sandbox/ntlm_type3.h"

#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <stdio.h>
#include <stdlib.h>

/* 1.3.6.1.4.1.311.2.2.10 */
static unsigned char ntlm_oid_bytes[] = { 0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 2, 10 };
static gss_OID_desc ntlm_oid = { .length = sizeof ntlm_oid_bytes, .elements = ntlm_oid_bytes };

struct ntlm_acceptor {
    gss_cred_id_t cred;
};

struct ntlm_context {
    struct ntlm_acceptor *acceptor; /* borrowed */
    gss_ctx_id_t gss;
    struct buf binding;
    bool has_challenged; /* the Type 2 was made: a Type 3 comes next */
    bool has_binding;
    char name[NTLM_NAME_MAX];
};

static bool gss_fail(struct err *e, const char *what, OM_uint32 major, OM_uint32 minor)
{
    OM_uint32 ignored, more = 0;
    gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
    bool is_plain =
        gss_display_status(&ignored, minor ? minor : major,
            minor ? GSS_C_MECH_CODE : GSS_C_GSS_CODE, &ntlm_oid, &more, &text) == GSS_S_COMPLETE;
    err_set(e, ERR_AUTH, "%s: %.*s (0x%08x, minor 0x%08x)", what, is_plain ? (int)text.length : 0,
        is_plain ? (const char *)text.value : "", major, minor);
    gss_release_buffer(&ignored, &text);
    return false;
}

/* What gss-ntlmssp takes from the environment. LM_COMPAT_LEVEL 5: NTLMv2 and nothing else. */
static bool set_environment(const char *users_file, const char *domain)
{
    return setenv("NTLM_USER_FILE", users_file, 1) == 0 && setenv("LM_COMPAT_LEVEL", "5", 1) == 0 &&
           setenv("NETBIOS_DOMAIN_NAME", domain, 1) == 0 &&
           setenv("NETBIOS_COMPUTER_NAME", "SANDBOX", 1) == 0;
}

bool ntlm_acceptor_new(
    const char *users_file, const char *domain, struct ntlm_acceptor **ret_acceptor, struct err *e)
{
    struct ntlm_acceptor *acceptor = calloc(1, sizeof *acceptor);
    if (!acceptor || !set_environment(users_file, domain)) {
        free(acceptor);
        return err_set(e, ERR_MEMORY, "out of memory");
    }
    gss_OID_set_desc mechs = { .count = 1, .elements = &ntlm_oid };
    OM_uint32 minor;
    OM_uint32 major = gss_acquire_cred(
        &minor, GSS_C_NO_NAME, GSS_C_INDEFINITE, &mechs, GSS_C_ACCEPT, &acceptor->cred, NULL, NULL);
    if (GSS_ERROR(major)) {
        free(acceptor);
        return gss_fail(e, "NTLM is not available (is gss-ntlmssp installed?)", major, minor);
    }
    *ret_acceptor = acceptor;
    return true;
}

void ntlm_acceptor_free(struct ntlm_acceptor *acceptor)
{
    if (!acceptor)
        return;
    OM_uint32 minor;
    gss_release_cred(&minor, &acceptor->cred);
    free(acceptor);
}

struct ntlm_context *ntlm_context_new(struct ntlm_acceptor *acceptor, struct slice binding)
{
    struct ntlm_context *context = calloc(1, sizeof *context);
    if (!context)
        return NULL;
    context->acceptor = acceptor;
    context->gss = GSS_C_NO_CONTEXT;
    buf_init(&context->binding, binding.n);
    if (!buf_add_slice(&context->binding, binding)) {
        ntlm_context_free(context);
        return NULL;
    }
    return context;
}

void ntlm_context_free(struct ntlm_context *context)
{
    if (!context)
        return;
    OM_uint32 minor;
    gss_delete_sec_context(&minor, &context->gss, GSS_C_NO_BUFFER);
    buf_fini(&context->binding);
    free(context);
}

/* Reads what GSSAPI would let pass: NTLMv1, and a response without a channel binding. */
static bool check_type3(struct ntlm_context *context, struct slice token, struct err *e)
{
    struct ntlm_type3 type3;
    const char *why;
    if (!ntlm_type3_parse(token, &type3, &why))
        return err_set(e, ERR_PROTO, "NTLM: %s", why);
    if (!type3.is_v2)
        return err_set(e, ERR_AUTH, "NTLM: the response is not NTLMv2");
    context->has_binding = type3.binding.n > 0;
    if (context->binding.len > 0 && !context->has_binding)
        return err_set(e, ERR_AUTH, "NTLM: the response carries no channel binding");
    return true;
}

static bool take_name(struct ntlm_context *context, gss_name_t client, struct err *e)
{
    OM_uint32 minor, ignored;
    gss_buffer_desc name = GSS_C_EMPTY_BUFFER;
    OM_uint32 major = gss_display_name(&minor, client, &name, NULL);
    if (GSS_ERROR(major))
        return gss_fail(e, "NTLM: the client's name", major, minor);
    bool fits = name.length < sizeof context->name;
    if (fits)
        memcpy(context->name, name.value, name.length);
    gss_release_buffer(&ignored, &name);
    return fits || err_set(e, ERR_AUTH, "NTLM: the client's name is too long");
}

/* GSSAPI knows no const; it only reads these bytes. */
static gss_buffer_desc gss_bytes(struct slice s)
{
    union {
        const char *given;
        void *wanted;
    } p = { .given = s.p };
    return (gss_buffer_desc){ .length = s.n, .value = p.wanted };
}

/* One call of the acceptor; *ret_client is the caller's to release. */
static OM_uint32 accept_token(struct ntlm_context *context, struct slice token,
    OM_uint32 *ret_minor, gss_name_t *ret_client, gss_buffer_t ret_token)
{
    struct gss_channel_bindings_struct bindings = {
        .application_data = gss_bytes(buf_slice(&context->binding)),
    };
    gss_buffer_desc in = gss_bytes(token);
    return gss_accept_sec_context(ret_minor, &context->gss, context->acceptor->cred, &in,
        context->binding.len > 0 ? &bindings : GSS_C_NO_CHANNEL_BINDINGS, ret_client, NULL,
        ret_token, NULL, NULL, NULL);
}

enum ntlm_status ntlm_context_step(
    struct ntlm_context *context, struct slice token, struct buf *out, struct err *e)
{
    if (context->has_challenged && !check_type3(context, token, e))
        return NTLM_REFUSED;
    OM_uint32 minor = 0, ignored;
    gss_name_t client = GSS_C_NO_NAME;
    gss_buffer_desc answer = GSS_C_EMPTY_BUFFER;
    OM_uint32 major = accept_token(context, token, &minor, &client, &answer);
    bool is_done = major == GSS_S_COMPLETE && context->has_challenged;
    bool is_challenge = major == GSS_S_CONTINUE_NEEDED && !context->has_challenged;
    bool is_good = false;
    if (is_done)
        is_good = take_name(context, client, e);
    else if (is_challenge)
        is_good = buf_add(out, answer.value, answer.length);
    else
        gss_fail(e, "NTLM", major, minor);
    gss_release_name(&ignored, &client);
    gss_release_buffer(&ignored, &answer);
    context->has_challenged = true;
    if (!is_good)
        return NTLM_REFUSED;
    return is_done ? NTLM_ACCEPTED : NTLM_CONTINUE;
}

const char *ntlm_context_name(const struct ntlm_context *context)
{
    return context->name;
}

bool ntlm_context_has_binding(const struct ntlm_context *context)
{
    return context->has_binding;
}
