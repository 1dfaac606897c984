/* What a client hears of our trouble: never 5xx, always a reason. */
#include "relay/reason.h"

#include <criterion/criterion.h>
#include <stdio.h>

Test(reason, is_451_with_a_4xx_status_for_every_kind_of_error)
{
#define X(name, what, status) ERR_##name,
    static const enum err_kind kinds[] = { ERR_KINDS(X) };
#undef X
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct err why;
        err_set(&why, kinds[i], "the cause");
        struct reason r;
        reason_of_err(&why, &r);
        cr_assert_eq(r.code, 451);
        cr_assert_eq(r.status[0], '4', "%s", err_kind_name(kinds[i]));
        cr_assert_str_eq(r.text, "not delivered now: the cause");
    }
}

Test(reason, keeps_verdicts_on_the_message_and_rewrites_words_about_us)
{
    static const struct {
        unsigned code;
        const char *text, *status; /* status NULL: a verdict, passed on as it is */
    } rows[] = {
        { 250, "2.6.0 queued", NULL },
        { 550, "5.7.60 SMTP; Client does not have permissions to send as this sender", NULL },
        { 452, "4.5.3 Too many recipients", NULL },
        { 451, "4.7.1 greylisted", NULL },
        { 552, "5.3.4 too large", NULL },
        { 421, "4.4.2 Message submission rate for this client has exceeded the configured limit",
            "4.4.2" },
        { 432, "4.3.2 concurrent", "4.7.12" },
        { 530, "5.7.57 Client not authenticated to send mail", "4.7.0" },
        { 535, "5.7.3 Authentication unsuccessful", "4.7.8" },
        { 454, "4.7.0 Temporary authentication failure", "4.7.0" },
        { 538, "5.7.11 Encryption required", "4.7.11" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct smtp_reply reply;
        smtp_reply_init(&reply);
        smtp_reply_set(&reply, rows[i].code, rows[i].text);
        struct reason r;
        bool is_about_us = reason_of_reply(&reply, &r);
        cr_assert_eq(is_about_us, rows[i].status != NULL, "%u", rows[i].code);
        if (is_about_us) {
            char want[512];
            snprintf(want, sizeof want, "not delivered now: the upstream said: %u %s", rows[i].code,
                rows[i].text);
            cr_assert_eq(r.code, 451);
            cr_assert_str_eq(r.status, rows[i].status);
            cr_assert_str_eq(r.text, want);
        }
        smtp_reply_fini(&reply);
    }
}

Test(reason, cuts_long_words_to_a_reply_line)
{
    struct err why = { .kind = ERR_TLS };
    memset(why.text, 'x', sizeof why.text - 1);
    struct reason r;
    reason_of_err(&why, &r);
    cr_assert_lt(strlen(r.text), REASON_TEXT_MAX);
}

Test(reason, tells_which_limit_the_upstream_means)
{
    static const struct {
        unsigned code;
        const char *text;
        enum reason_kind kind;
    } rows[] = {
        { 421, "4.4.2 Message submission rate for this client has exceeded the configured limit",
            REASON_RATE },
        { 432, "4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", REASON_RATE },
        { 421, "4.4.2 Connection throttled", REASON_RATE },
        { 421, "4.7.28 our system has detected a rate limit", REASON_RATE },
        { 421,
            "4.3.2 The maximum number of concurrent server connections has exceeded a per-source "
            "limit, closing transmission channel",
            REASON_SESSIONS },
        { 421, "4.3.2 Service not active", REASON_SESSIONS },
        { 421, "4.7.0 Error: too many connections from 10.0.0.1", REASON_SESSIONS },
        { 421, "4.4.1 Connection timed out", REASON_SESSION },
        { 421, "4.4.2 mail.test Error: timeout exceeded", REASON_SESSION },
        { 535, "5.7.3 Authentication unsuccessful", REASON_SESSION },
        { 451, "4.7.0 submission rate", REASON_MESSAGE },
        { 250, "2.6.0 rate limit", REASON_MESSAGE },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct smtp_reply reply;
        smtp_reply_init(&reply);
        smtp_reply_set(&reply, rows[i].code, rows[i].text);
        cr_expect_eq(reason_kind(&reply), rows[i].kind, "%s", rows[i].text);
        smtp_reply_fini(&reply);
    }
}
