#include "auth/sasl_internal.h"

#include "base/str.h"
#include "platform/platform.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* Strongest first. NTLM before CRAM-MD5: both can be cracked off line from one recorded exchange,
 * but NTLM can be bound to the TLS channel. LOGIN before PLAIN: Exchange has no PLAIN. */
const struct sasl_mech *const sasl_mechs[] = {
    &sasl_ntlm,
    &sasl_cram_md5,
    &sasl_login,
    &sasl_plain,
    NULL,
};

/* --- accounts ----------------------------------------------------------------------------------
 */

struct sasl_account {
    atomic_uint refs;
    char *username;
    struct secret *password;
    pthread_mutex_t lock;          /* guards ntlm_cred */
    struct secctx_cred *ntlm_cred; /* NULL until the first NTLM step */
};

/* What no mechanism could send, or what would only look like a login. */
static bool account_is_sound(const char *username, const struct secret *password, struct err *e)
{
    bool has_name = username && username[0] != '\0';
    if (!has_name && secret_is_empty(password) && platform_has_identity())
        return true;
    if (!has_name)
        return err_set(
            e, ERR_CONFIG, "username is empty: set it to DOMAIN\\user, user@domain or user");
    if (secret_is_empty(password))
        return err_set(e, ERR_CONFIG,
            "the password of '%s' is empty: set password, password_file or password_command",
            username);
    struct slice bytes = secret_reveal(password);
    if (memchr(bytes.p, '\0', bytes.n))
        return err_set(e, ERR_CONFIG,
            "the password of '%s' has a NUL byte inside: store it as UTF-8, not UTF-16", username);
    return true;
}

bool sasl_account_new(const char *username, const struct secret *password,
    struct sasl_account **ret_account, struct err *e)
{
    if (!account_is_sound(username, password, e))
        return false;
    secctx_prepare();
    struct sasl_account *a = calloc(1, sizeof *a);
    if (!a)
        return err_set(e, ERR_MEMORY, "out of memory for the account");
    atomic_init(&a->refs, 1);
    pthread_mutex_init(&a->lock, NULL);
    a->username = str_dup(username ? username : "");
    a->password = password ? secret_dup(password) : secret_new("", 0);
    if (!a->username || !a->password) {
        sasl_account_unref(a);
        return err_set(e, ERR_MEMORY, "out of memory for the account");
    }
    *ret_account = a;
    return true;
}

struct sasl_account *sasl_account_ref(struct sasl_account *a)
{
    atomic_fetch_add(&a->refs, 1);
    return a;
}

void sasl_account_unref(struct sasl_account *a)
{
    if (!a || atomic_fetch_sub(&a->refs, 1) > 1)
        return;
    secctx_cred_unref(a->ntlm_cred);
    secret_free(a->password);
    free(a->username);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

const char *sasl_account_username(const struct sasl_account *a)
{
    return a->username;
}

const struct secret *sasl_account_password(const struct sasl_account *a)
{
    return a->password;
}

bool sasl_account_ntlm_cred(struct sasl_account *a, struct secctx_cred **ret_cred, struct err *e)
{
    /* Others wait here while the first acquires: one credential per account, because each that
     * gss-ntlmssp makes costs memory that it never gives back. A failure is not kept: the next
     * login tries again, the cause may have been mended. */
    pthread_mutex_lock(&a->lock);
    bool is_there =
        a->ntlm_cred || secctx_cred_new_ntlm(a->username, a->password, &a->ntlm_cred, e);
    if (is_there)
        *ret_cred = secctx_cred_ref(a->ntlm_cred);
    pthread_mutex_unlock(&a->lock);
    return is_there;
}

/* --- the choice --------------------------------------------------------------------------------
 */

const struct sasl_mech *sasl_mech_find(const char *name)
{
    for (const struct sasl_mech *const *m = sasl_mechs; *m; m++) {
        if (slice_eq_nocase(slice_str((*m)->name), slice_str(name)))
            return *m;
    }
    return NULL;
}

/* True when the blank-separated list has the name, in any case. */
static bool list_has(const char *list, const char *name)
{
    while (*list) {
        size_t n = strcspn(list, " \t");
        if (slice_eq_nocase(slice_of(list, n), slice_str(name)))
            return true;
        list += n + strspn(list + n, " \t");
    }
    return false;
}

static bool is_usable(const struct sasl_mech *m, bool is_confidential, struct err *e)
{
    if (m->sends_password && !is_confidential)
        return err_set(
            e, ERR_AUTH, "%s would send the password over a connection without TLS", m->name);
    return !m->is_available || m->is_available(e);
}

enum { OFFERS_SHOWN_SIZE = 160, KNOWN_SHOWN_SIZE = 64 }; /* both fit into one struct err */

/* "NTLM, LOGIN" for messages: what the server said, made printable; names that do not fit become
 * "...". */
static void show_offers(const char *offers, char *text, size_t size)
{
    struct buf b;
    buf_init(&b, size - sizeof ", ...");
    size_t fits = 0;
    for (size_t n = 0; *offers && !b.failed; offers += n) {
        fits = b.len;
        offers += strspn(offers, " \t");
        n = strcspn(offers, " \t");
        if (n > 0 && b.len > 0)
            buf_add_str(&b, ", ");
        str_add_printable(&b, slice_of(offers, n));
    }
    if (b.failed)
        snprintf(text, size, "%.*s%s...", (int)fits, buf_cstr(&b), fits > 0 ? ", " : "");
    else
        snprintf(text, size, "%s", buf_cstr(&b));
    buf_fini(&b);
}

/* "ntlm, cram-md5, login, plain": the table's names as the option has them. */
static void show_known(char *text, size_t size)
{
    size_t n = 0;
    text[0] = '\0';
    for (const struct sasl_mech *const *m = sasl_mechs; *m && n < size; m++)
        n += (size_t)snprintf(text + n, size - n, "%s%s", n > 0 ? ", " : "", (*m)->name);
    for (char *c = text; *c; c++)
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + ('a' - 'A') : *c);
}

static bool choose_strongest(
    const char *offers, bool is_confidential, const struct sasl_mech **ret_mech, struct err *e)
{
    struct err why = { .kind = ERR_NONE };
    for (const struct sasl_mech *const *m = sasl_mechs; *m; m++) {
        struct err *first_why = why.kind == ERR_NONE ? &why : NULL;
        if (list_has(offers, (*m)->name) && is_usable(*m, is_confidential, first_why)) {
            *ret_mech = *m;
            return true;
        }
    }
    char offered[OFFERS_SHOWN_SIZE], known[KNOWN_SHOWN_SIZE];
    show_offers(offers, offered, sizeof offered);
    show_known(known, sizeof known);
    if (why.kind != ERR_NONE)
        return err_set(e, why.kind, "the server offers %s: %s", offered, why.text);
    return err_set(e, ERR_AUTH, "the server offers %s and none of %s", offered, known);
}

static bool choose_named(const char *wanted, const char *offers, bool is_confidential,
    const struct sasl_mech **ret_mech, struct err *e)
{
    const struct sasl_mech *m = sasl_mech_find(wanted);
    if (!m) {
        char known[KNOWN_SHOWN_SIZE];
        show_known(known, sizeof known);
        return err_set(e, ERR_CONFIG, "auth = %s is none of auto, %s", wanted, known);
    }
    if (!list_has(offers, m->name)) {
        char offered[OFFERS_SHOWN_SIZE];
        show_offers(offers, offered, sizeof offered);
        return err_set(
            e, ERR_AUTH, "auth = %s is configured, but the server offers only %s", wanted, offered);
    }
    if (!is_usable(m, is_confidential, e))
        return err_prefix(e, "auth = %s is configured", wanted);
    *ret_mech = m;
    return true;
}

bool sasl_choose(const char *wanted, const char *offers, bool is_confidential,
    const struct sasl_mech **ret_mech, struct err *e)
{
    if (offers[strspn(offers, " \t")] == '\0')
        return err_set(
            e, ERR_AUTH, "the server offers no way to log in (no AUTH in its EHLO reply)");
    if (slice_eq_nocase(slice_str(wanted), SLICE_LIT("auto")))
        return choose_strongest(offers, is_confidential, ret_mech, e);
    return choose_named(wanted, offers, is_confidential, ret_mech, e);
}

bool sasl_passed_over(
    const char *offers, bool is_confidential, const struct sasl_mech *chosen, struct err *ret_why)
{
    for (const struct sasl_mech *const *m = sasl_mechs; *m && *m != chosen; m++) {
        if (list_has(offers, (*m)->name) && !is_usable(*m, is_confidential, ret_why)) {
            err_prefix(ret_why, "%s is used though the server offers %s", chosen->name, (*m)->name);
            return true;
        }
    }
    return false;
}

/* --- one login ---------------------------------------------------------------------------------
 */

bool sasl_new(const struct sasl_mech *mech, struct sasl_account *account,
    const struct sasl_channel *channel, struct sasl **ret_sasl, struct err *e)
{
    /* sasl_choose has said so already; this is the last gate in front of the password. */
    if (mech->sends_password && !channel->is_confidential)
        return is_usable(mech, false, e);
    if (mech != &sasl_ntlm && account->username[0] == '\0')
        return err_set(e, ERR_CONFIG,
            "%s needs a username and a password; as the account that submitd runs as, only NTLM "
            "can log in",
            mech->name);
    struct sasl *s = calloc(1, mech->size);
    if (!s)
        return err_set(e, ERR_MEMORY, "out of memory for the login");
    s->mech = mech;
    s->account = sasl_account_ref(account);
    s->host = str_dup(channel->host);
    buf_init(&s->binding, SASL_TOKEN_MAX);
    if (!s->host || !buf_add_slice(&s->binding, channel->binding)) {
        sasl_free(s);
        return err_set(e, ERR_MEMORY, "out of memory for the login");
    }
    *ret_sasl = s;
    return true;
}

void sasl_free(struct sasl *s)
{
    if (!s)
        return;
    if (s->mech->fini)
        s->mech->fini(s);
    sasl_account_unref(s->account);
    buf_fini(&s->binding);
    free(s->host);
    free(s);
}

static bool run_step(struct sasl *s, struct slice challenge, struct buf *out, struct err *e)
{
    unsigned answers = s->mech->answers;
    if (s->is_over)
        return err_set(e, ERR_AUTH, "the login has failed already");
    if (s->step >= answers)
        return err_set(e, ERR_PROTO, "the server asks for more than %u answer%s", answers,
            answers == 1 ? "" : "s");
    if (challenge.n > SASL_TOKEN_MAX)
        return err_set(
            e, ERR_PROTO, "the server's challenge has more than %d bytes", SASL_TOKEN_MAX);
    s->step++;
    if (!s->mech->step(s, challenge, out, e))
        return false;
    return !out->failed ||
           err_set(e, ERR_LIMIT, "the answer to the server is longer than %zu bytes", out->max);
}

enum sasl_status sasl_step(struct sasl *s, struct slice challenge, struct buf *out, struct err *e)
{
    out->wipe = true;
    buf_clear(out);
    if (run_step(s, challenge, out, e))
        return SASL_SEND;
    s->is_over = true;
    buf_clear(out);
    err_prefix(e, "%s", s->mech->name);
    return SASL_FAILED;
}

const struct sasl_mech *sasl_mech(const struct sasl *s)
{
    return s->mech;
}

bool sasl_used_binding(const struct sasl *s)
{
    return s->used_binding;
}

bool sasl_dropped_binding(const struct sasl *s)
{
    return s->dropped_binding;
}
