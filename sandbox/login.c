#include "sandbox/login.h"

#include "base/base64.h"

#include <string.h>

enum { ANSWER_MAX = 12288, USER_MAX = 320, BINDING_MAX = 256 };

/* `answer` is decoded; p == NULL: the client has said nothing yet. */
typedef enum login_status login_step_fn(
    struct login *login, struct slice answer, struct buf *out, struct err *e);

struct login_mech {
    const char *name;
    login_step_fn *step;
};

static enum login_status check_password(
    struct login *login, struct slice user, struct slice password, struct err *e)
{
    const struct account *account = accounts_find(login->judges->accounts, user);
    if (!account || !accounts_password_is(login->judges->accounts, account, password)) {
        err_set(
            e, ERR_AUTH, "%s: %s", login->mech->name, account ? "wrong password" : "unknown user");
        return LOGIN_REFUSED;
    }
    login->account = account;
    return LOGIN_ACCEPTED;
}

static enum login_status ask(struct buf *out, const char *challenge)
{
    return buf_add_str(out, challenge) ? LOGIN_CHALLENGE : LOGIN_REFUSED;
}

/* The user may come as the initial response; the challenges are "Username:" and "Password:". */
static enum login_status login_step(
    struct login *login, struct slice answer, struct buf *out, struct err *e)
{
    if (!answer.p)
        return ask(out, "VXNlcm5hbWU6");
    if (login->step++ > 0)
        return check_password(login, buf_slice(&login->user), answer, e);
    if (!buf_add_slice(&login->user, answer))
        return LOGIN_MALFORMED;
    return ask(out, "UGFzc3dvcmQ6");
}

/* RFC 4616: [authorization identity] NUL user NUL password. Nobody may act for others here. */
static enum login_status plain_step(
    struct login *login, struct slice answer, struct buf *out, struct err *e)
{
    if (!answer.p)
        return ask(out, "");
    const char *first = answer.n > 0 ? memchr(answer.p, '\0', answer.n) : NULL;
    if (!first)
        return LOGIN_MALFORMED;
    struct slice authzid = slice_of(answer.p, (size_t)(first - answer.p));
    struct slice rest = slice_skip(answer, authzid.n + 1);
    const char *second = rest.n > 0 ? memchr(rest.p, '\0', rest.n) : NULL;
    if (!second)
        return LOGIN_MALFORMED;
    struct slice user = slice_of(rest.p, (size_t)(second - rest.p));
    if (authzid.n > 0 && !slice_eq_nocase(authzid, user)) {
        err_set(e, ERR_AUTH, "PLAIN: wants to act for somebody else");
        return LOGIN_REFUSED;
    }
    return check_password(login, user, slice_skip(rest, user.n + 1), e);
}

static enum login_status ntlm_accepted(struct login *login, struct err *e)
{
    const char *name = ntlm_context_name(login->ntlm);
    login->has_binding = ntlm_context_has_binding(login->ntlm);
    login->account = accounts_find(login->judges->accounts, slice_str(name));
    if (login->account)
        return LOGIN_ACCEPTED;
    err_set(e, ERR_AUTH, "NTLM: '%s' is none of the accounts", name);
    return LOGIN_REFUSED;
}

static enum login_status ntlm_step(
    struct login *login, struct slice answer, struct buf *out, struct err *e)
{
    if (!answer.p)
        return ask(out, "NTLM supported");
    if (!login->ntlm)
        login->ntlm = ntlm_context_new(login->judges->ntlm, buf_slice(&login->binding));
    struct buf token;
    buf_init(&token, NTLM_TOKEN_MAX);
    enum ntlm_status status =
        login->ntlm ? ntlm_context_step(login->ntlm, answer, &token, e) : NTLM_REFUSED;
    bool fits = status == NTLM_CONTINUE && base64_encode(buf_slice(&token), out);
    buf_fini(&token);
    if (status == NTLM_ACCEPTED)
        return ntlm_accepted(login, e);
    return fits ? LOGIN_CHALLENGE : LOGIN_REFUSED;
}

static const struct login_mech mechs[] = {
    { .name = "NTLM", .step = ntlm_step },
    { .name = "LOGIN", .step = login_step },
    { .name = "PLAIN", .step = plain_step },
};

static const struct login_mech *find_mech(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(mechs); i++) {
        if (slice_eq_nocase(slice_str(mechs[i].name), name))
            return &mechs[i];
    }
    return NULL;
}

void login_init(struct login *login, const struct login_judges *judges)
{
    *login = (struct login){ .judges = judges };
    buf_init(&login->user, USER_MAX);
    buf_init(&login->binding, BINDING_MAX);
}

void login_fini(struct login *login)
{
    ntlm_context_free(login->ntlm);
    login->ntlm = NULL;
    buf_fini(&login->user);
    buf_fini(&login->binding);
}

bool login_mech_exists(struct slice mech)
{
    return find_mech(mech) != NULL;
}

const char *login_mech_name(const struct login *login)
{
    return login->mech ? login->mech->name : "";
}

static enum login_status take_answer(
    struct login *login, struct slice base64, struct buf *out, struct err *e)
{
    struct buf answer;
    buf_init_secret(&answer, ANSWER_MAX);
    bool is_empty = base64.n == 0 || slice_eq(base64, SLICE_LIT("="));
    enum login_status status = LOGIN_MALFORMED;
    if (is_empty)
        status = login->mech->step(login, SLICE_LIT(""), out, e);
    else if (base64_decode(base64, &answer))
        status = login->mech->step(login, buf_slice(&answer), out, e);
    buf_fini(&answer);
    return status;
}

enum login_status login_begin(struct login *login, struct slice mech, struct slice initial,
    struct slice binding, struct buf *out, struct err *e)
{
    const struct login_judges *judges = login->judges;
    login_fini(login);
    login_init(login, judges);
    login->mech = find_mech(mech);
    if (!login->mech)
        return LOGIN_UNKNOWN;
    if (!buf_add_slice(&login->binding, binding))
        return LOGIN_REFUSED;
    if (!initial.p || initial.n == 0)
        return login->mech->step(login, SLICE_NONE, out, e);
    return take_answer(login, initial, out, e);
}

enum login_status login_answer(
    struct login *login, struct slice base64, struct buf *out, struct err *e)
{
    return take_answer(login, base64, out, e);
}
