#include "auth/hmac.h"
#include "auth/sasl.h"
#include "base/str.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static bool has(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

/* --- the choice --------------------------------------------------------------------------------
 */

static const struct choice {
    const char *wanted, *offers;
    bool is_confidential;
    const char *mech; /* NULL: refused with */
    const char *why;  /* this in the sentence */
} choices[] = {
    { "auto", "NTLM LOGIN", true, "NTLM", NULL },
    { "auto", "GSSAPI NTLM LOGIN", true, "NTLM", NULL },
    { "auto", "PLAIN LOGIN CRAM-MD5 NTLM", true, "NTLM", NULL },
    { "auto", "plain login cram-md5 digest-md5", true, "CRAM-MD5", NULL },
    { "auto", "PLAIN LOGIN", true, "LOGIN", NULL },
    { "auto", "PLAIN", true, "PLAIN", NULL },
    { "auto", "  PLAIN\t ", true, "PLAIN", NULL },
    { "AUTO", "PLAIN", true, "PLAIN", NULL },
    { "login", "NTLM LOGIN", true, "LOGIN", NULL },
    { "cram-md5", "CRAM-MD5", true, "CRAM-MD5", NULL },
    { "PLAIN", "plain", true, "PLAIN", NULL },
    /* without TLS: what sends the password is skipped by auto, refused by name */
    { "auto", "PLAIN LOGIN NTLM", false, "NTLM", NULL },
    { "auto", "LOGIN CRAM-MD5", false, "CRAM-MD5", NULL },
    { "auto", "LOGIN PLAIN", false, NULL,
        "the server offers LOGIN, PLAIN: LOGIN would send the password over a connection without "
        "TLS" },
    { "login", "LOGIN", false, NULL,
        "auth = login is configured: LOGIN would send the password over a connection without TLS" },
    { "plain", "PLAIN", false, NULL, "PLAIN would send the password" },
    /* nothing in common */
    { "auto", "GSSAPI X-FOO", true, NULL,
        "the server offers GSSAPI, X-FOO and none of ntlm, cram-md5, login, plain" },
    { "ntlm", "LOGIN", true, NULL, "auth = ntlm is configured, but the server offers only LOGIN" },
    { "auto", "", true, NULL, "the server offers no way to log in" },
    { "auto", " \t ", true, NULL, "the server offers no way to log in" },
    { "ntlm", "", false, NULL, "the server offers no way to log in" },
    { "gssapi", "GSSAPI", true, NULL,
        "auth = gssapi is none of auto, ntlm, cram-md5, login, plain" },
    { "", "PLAIN", true, NULL, "is none of auto" },
    /* a name must match whole */
    { "auto", "PLAINX XPLAIN NTLM2 LOGI", true, NULL,
        "the server offers PLAINX, XPLAIN, NTLM2, LOGI and none of" },
    { "auto", "NTLM,LOGIN", true, NULL, "the server offers NTLM,LOGIN and none of" },
    /* hostile names are made printable */
    { "auto", "X\r\n235 X-\x1b[31m", true, NULL,
        "the server offers X<CR><LF>235, X-<0x1B>[31m and none of" },
};

Test(sasl, chooses_by_table)
{
    for (size_t i = 0; i < ARRAY_LEN(choices); i++) {
        const struct choice *c = &choices[i];
        const struct sasl_mech *mech = NULL;
        struct err e = { .kind = ERR_NONE };
        bool done = sasl_choose(c->wanted, c->offers, c->is_confidential, &mech, &e);
        cr_expect_eq(done, c->mech != NULL, "row %zu: %s", i, e.text);
        if (c->mech)
            cr_expect(done && strcmp(mech->name, c->mech) == 0, "row %zu", i);
        else
            cr_expect(!mech && has(e.text, c->why), "row %zu: %s", i, e.text);
    }
}

Test(sasl, cuts_a_long_list_in_its_message)
{
    char offers[3000];
    memset(offers, 'A', sizeof offers - 1);
    offers[sizeof offers - 1] = '\0';
    const struct sasl_mech *mech;
    struct err e = { .kind = ERR_NONE };
    cr_assert_not(sasl_choose("auto", offers, true, &mech, &e));
    cr_expect(has(e.text, "the server offers ... and none of ntlm, cram-md5, login, plain"), "%s",
        e.text);
    for (size_t i = 4; i < sizeof offers - 1; i += 5)
        offers[i] = ' ';
    cr_assert_not(sasl_choose("auto", offers, true, &mech, &e));
    cr_expect(
        has(e.text, "AAAA, AAAA, ... and none of ntlm, cram-md5, login, plain"), "%s", e.text);
}

Test(sasl, finds_mechanisms_in_any_case)
{
    cr_expect_str_eq(sasl_mech_find("cram-Md5")->name, "CRAM-MD5");
    cr_expect_null(sasl_mech_find("cram"));
    cr_expect_null(sasl_mech_find(""));
    cr_expect_null(sasl_mech_find("none"));
}

Test(sasl, table_is_strongest_first)
{
    static const char *const order[] = { "NTLM", "CRAM-MD5", "LOGIN", "PLAIN" };
    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        cr_expect_str_eq(sasl_mechs[i]->name, order[i]);
    cr_expect_null(sasl_mechs[ARRAY_LEN(order)]);
}

Test(sasl, has_nothing_to_note_when_the_strongest_is_used)
{
    struct err e = { .kind = ERR_NONE };
    cr_expect_not(sasl_passed_over("NTLM LOGIN", true, sasl_mech_find("NTLM"), &e));
    cr_expect_not(sasl_passed_over("LOGIN PLAIN", true, sasl_mech_find("LOGIN"), &e));
    cr_expect(sasl_passed_over("LOGIN PLAIN CRAM-MD5", false, sasl_mech_find("PLAIN"), &e));
}

/* --- one login ---------------------------------------------------------------------------------
 */

struct login {
    struct sasl_account *account;
    struct sasl *sasl;
    struct buf out;
    struct err e;
};

static bool begin_with(struct login *l, const char *mech, const char *user, struct slice password,
    bool is_confidential)
{
    *l = (struct login){ .sasl = NULL };
    struct secret *secret = secret_new(password.p, password.n);
    buf_init(&l->out, SASL_TOKEN_MAX);
    struct sasl_channel channel = { .host = "mail.example", .is_confidential = is_confidential };
    bool done = sasl_account_new(user, secret, &l->account, &l->e) &&
                sasl_new(sasl_mech_find(mech), l->account, &channel, &l->sasl, &l->e);
    secret_free(secret);
    return done;
}

static void begin(struct login *l, const char *mech, const char *user, const char *password)
{
    cr_assert(begin_with(l, mech, user, slice_str(password), true), "%s", l->e.text);
}

static void end(struct login *l)
{
    sasl_free(l->sasl);
    sasl_account_unref(l->account);
    buf_fini(&l->out);
}

static void expect_answer(struct login *l, struct slice challenge, struct slice want)
{
    cr_assert_eq(sasl_step(l->sasl, challenge, &l->out, &l->e), SASL_SEND, "%s", l->e.text);
    cr_expect(slice_eq(buf_slice(&l->out), want), "%.*s", SLICE_ARG(buf_slice(&l->out)));
    cr_expect(l->out.wipe, "the answer must be in a buffer for secrets");
}

static void expect_refusal(struct login *l, struct slice challenge, const char *why)
{
    cr_assert_eq(sasl_step(l->sasl, challenge, &l->out, &l->e), SASL_FAILED);
    cr_expect(has(l->e.text, why), "%s", l->e.text);
    cr_expect_eq(l->out.len, 0u);
}

Test(plain, sends_an_empty_identity_user_and_password)
{
    struct login l;
    begin(&l, "PLAIN", "CORP\\tim", "tan sta\xc3\xa4");
    cr_expect(sasl_mech(l.sasl)->client_first);
    expect_answer(&l, SLICE_NONE, SLICE_LIT("\0CORP\\tim\0tan sta\xc3\xa4"));
    expect_refusal(&l, SLICE_NONE, "PLAIN: the server asks for more than 1 answer");
    expect_refusal(&l, SLICE_NONE, "PLAIN: the login has failed already");
    cr_expect_not(sasl_used_binding(l.sasl));
    cr_expect_not(sasl_dropped_binding(l.sasl));
    end(&l);
}

Test(login, answers_in_order_whatever_the_prompts_say)
{
    static const char *const prompts[][2] = {
        { "Username:", "Password:" },
        { "User Name\0", "Password\0" },
        { "Password:", "Username:" },
        { "", "" },
        { "\xff\xfe\r\n", "\x1b[2J" },
    };
    for (size_t i = 0; i < ARRAY_LEN(prompts); i++) {
        struct login l;
        begin(&l, "LOGIN", "CORP\\user", "Secret-Pass1");
        cr_expect_not(sasl_mech(l.sasl)->client_first);
        expect_answer(&l, slice_str(prompts[i][0]), SLICE_LIT("CORP\\user"));
        expect_answer(&l, slice_str(prompts[i][1]), SLICE_LIT("Secret-Pass1"));
        expect_refusal(
            &l, slice_str(prompts[i][1]), "LOGIN: the server asks for more than 2 answers");
        end(&l);
    }
}

Test(cram_md5, gives_the_answer_of_rfc_2195)
{
    struct login l;
    begin(&l, "CRAM-MD5", "tim", "tanstaaftanstaaf");
    expect_answer(&l, SLICE_LIT("<1896.697170952@postoffice.reston.mci.net>"),
        SLICE_LIT("tim b913a602c7eda7a495b4e6e7334d3890"));
    expect_refusal(&l, SLICE_LIT("<1@x>"), "CRAM-MD5: the server asks for more than 1 answer");
    end(&l);
}

Test(cram_md5, refuses_an_empty_challenge_and_takes_the_longest)
{
    struct login l;
    begin(&l, "CRAM-MD5", "tim", "tanstaaftanstaaf");
    expect_refusal(&l, SLICE_NONE, "CRAM-MD5: the server sent an empty challenge");
    end(&l);
    static char bytes[SASL_TOKEN_MAX + 1];
    begin(&l, "CRAM-MD5", "tim", "x");
    cr_expect_eq(sasl_step(l.sasl, slice_of(bytes, SASL_TOKEN_MAX), &l.out, &l.e), SASL_SEND);
    end(&l);
    begin(&l, "CRAM-MD5", "tim", "x");
    expect_refusal(&l, slice_of(bytes, SASL_TOKEN_MAX + 1), "the server's challenge has more than");
    end(&l);
}

/* RFC 2202 2, cases 2, 6 and 1's key with no text. */
Test(hmac, gives_the_digests_of_rfc_2202)
{
    static const struct {
        char key_byte;
        size_t key_size;
        const char *key, *text;
        unsigned char first, last;
    } rows[] = {
        { 0, 4, "Jefe", "what do ya want for nothing?", 0x75, 0x38 },
        { '\xaa', 80, NULL, "Test Using Larger Than Block-Size Key - Hash Key First", 0x6b, 0xcd },
        { '\x0b', 16, NULL, "Hi There", 0x92, 0x9d },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char key[80];
        memset(key, rows[i].key_byte, sizeof key);
        struct secret *secret = secret_new(rows[i].key ? rows[i].key : key, rows[i].key_size);
        unsigned char mac[HMAC_MD5_SIZE];
        struct err e;
        cr_assert(hmac_md5(secret, slice_str(rows[i].text), mac, &e));
        cr_expect_eq(mac[0], rows[i].first, "row %zu", i);
        cr_expect_eq(mac[HMAC_MD5_SIZE - 1], rows[i].last, "row %zu", i);
        secret_free(secret);
    }
}

Test(sasl, never_sends_a_password_without_tls)
{
    static const struct {
        const char *mech;
        bool is_allowed;
    } rows[] = { { "PLAIN", false }, { "LOGIN", false }, { "CRAM-MD5", true }, { "NTLM", true } };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct login l;
        bool done = begin_with(&l, rows[i].mech, "user", SLICE_LIT("Secret-Pass1"), false);
        cr_expect_eq(done, rows[i].is_allowed, "%s", rows[i].mech);
        if (!done)
            cr_expect(has(l.e.text, "would send the password over a connection without TLS"));
        end(&l);
    }
}

Test(sasl, fails_when_the_answer_has_no_room)
{
    struct login l;
    begin(&l, "PLAIN", "user", "Secret-Pass1");
    struct buf small;
    buf_init(&small, 17);
    cr_expect_eq(sasl_step(l.sasl, SLICE_NONE, &small, &l.e), SASL_FAILED);
    cr_expect_eq(l.e.kind, ERR_LIMIT);
    cr_expect_eq(small.len, 0u);
    buf_fini(&small);
    end(&l);
    begin(&l, "PLAIN", "user", "Secret-Pass1");
    buf_init(&small, 18);
    cr_expect_eq(sasl_step(l.sasl, SLICE_NONE, &small, &l.e), SASL_SEND);
    buf_fini(&small);
    end(&l);
}

/* --- accounts ----------------------------------------------------------------------------------
 */

Test(account, refuses_what_no_mechanism_can_send)
{
    static const struct {
        const char *user;
        struct slice password;
        const char *why;
    } rows[] = {
        { "", { "x", 1 }, "username is empty" },
        { NULL, { "x", 1 }, "username is empty" },
        { "CORP\\user", { "", 0 }, "the password of 'CORP\\user' is empty" },
        { "user", { "a\0b", 3 }, "the password of 'user' has a NUL byte inside" },
        { "user", { "S\0e\0", 4 }, "store it as UTF-8, not UTF-16" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct login l;
        cr_expect_not(begin_with(&l, "PLAIN", rows[i].user, rows[i].password, true), "row %zu", i);
        cr_expect(has(l.e.text, rows[i].why), "row %zu: %s", i, l.e.text);
        cr_expect_eq(l.e.kind, ERR_CONFIG);
        end(&l);
    }
    struct sasl_account *a = NULL;
    struct err e;
    cr_expect_not(sasl_account_new("user", NULL, &a, &e));
}

Test(account, lives_as_long_as_its_last_reference)
{
    struct login l;
    begin(&l, "LOGIN", "user", "Secret-Pass1");
    sasl_account_unref(sasl_account_ref(l.account));
    cr_expect_str_eq(sasl_account_username(l.account), "user");
    sasl_account_unref(l.account); /* the login has its own */
    l.account = NULL;
    expect_answer(&l, SLICE_NONE, SLICE_LIT("user"));
    expect_answer(&l, SLICE_NONE, SLICE_LIT("Secret-Pass1"));
    end(&l);
    sasl_account_unref(NULL);
    sasl_free(NULL);
}
