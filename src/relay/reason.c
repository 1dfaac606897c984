#include "relay/reason.h"
#include "base/str.h"

#include <stdio.h>

void reason_of_err(const struct err *why, struct reason *ret_reason)
{
    ret_reason->code = 451;
    ret_reason->status = err_kind_status(why->kind);
    snprintf(ret_reason->text, sizeof ret_reason->text, "not delivered now: %s", why->text);
}

/* code, our status: what the upstream said about our session or login, not about the message. */
static const struct {
    unsigned code;
    const char *status;
} about_us[] = {
    { 421, "4.4.2" },  /* RFC 5321 3.8: service shutting down the channel; Exchange: too fast, too
                          many */
    { 432, "4.7.12" }, /* RFC 4954 6: a password transition is needed; Exchange: concurrent limit */
    { 454, "4.7.0" },  /* RFC 4954 6: temporary authentication failure */
    { 530, "4.7.0" },  /* RFC 4954 6: authentication required */
    { 535, "4.7.8" },  /* RFC 4954 6: credentials invalid */
    { 538, "4.7.11" }, /* RFC 4954: encryption required */
};

bool reason_of_reply(const struct smtp_reply *reply, struct reason *ret_reason)
{
    for (size_t i = 0; i < ARRAY_LEN(about_us); i++) {
        if (about_us[i].code != reply->code)
            continue;
        struct buf words;
        buf_init(&words, SMTP_REPLY_MAX + 64);
        smtp_reply_add_oneline(reply, &words);
        ret_reason->code = 451;
        ret_reason->status = about_us[i].status;
        snprintf(ret_reason->text, sizeof ret_reason->text,
            "not delivered now: the upstream said: %s", buf_cstr(&words));
        buf_fini(&words);
        return true;
    }
    return false;
}

/*
 * First match wins; `code` 0 is any, `status` NULL is any. Exchange: 421 4.4.2 "Message submission
 * rate for this client has exceeded the configured limit", 421 4.3.2 "... exceeded a per-source
 * limit" (and "Service not active", where one session less does no harm), 432 4.3.2 "STOREDRV...
 * sender thread limit exceeded". A bare 421 4.4.2 is a time-out with others.
 */
static const struct {
    unsigned code;
    const char *status, *text;
    enum reason_kind kind;
} kinds[] = {
    { 421, NULL, "*submission rate*", REASON_RATE },
    { 421, NULL, "*rate limit*", REASON_RATE },
    { 421, "4.4.2", "*throttl*", REASON_RATE },
    { 432, NULL, "*", REASON_RATE },
    { 421, "4.3.2", "*", REASON_SESSIONS },
    { 421, NULL, "*too many connections*", REASON_SESSIONS },
};

static bool has_status(const struct smtp_reply *reply, const char *status)
{
    return !status || slice_eq(smtp_reply_status(reply), slice_str(status));
}

enum reason_kind reason_kind(const struct smtp_reply *reply)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (kinds[i].code == reply->code && has_status(reply, kinds[i].status) &&
            str_glob_nocase(kinds[i].text, buf_slice(&reply->text)))
            return kinds[i].kind;
    }
    struct reason unused;
    return reason_of_reply(reply, &unused) ? REASON_SESSION : REASON_MESSAGE;
}
