/*
 * The sandbox's accounts, read from a file of DOMAIN:user:password lines (the form of
 * NTLM_USER_FILE), and the addresses that each may send as. Made once at start, owned by main,
 * never changed afterwards. A password never leaves it: callers ask whether theirs is right.
 */
#ifndef SUBMITD_SANDBOX_ACCOUNTS_H
#define SUBMITD_SANDBOX_ACCOUNTS_H

#include "base/err.h"
#include "base/slice.h"
#include "sandbox/options.h"

struct accounts;

struct account {
    char *name; /* DOMAIN\user */
    char *domain;
    char *user;
    unsigned index; /* 0 .. accounts_count - 1 */
};

bool accounts_load(const char *file, const struct option_texts *mailboxes,
    struct accounts **ret_accounts, struct err *e);
void accounts_free(struct accounts *accounts);
unsigned accounts_count(const struct accounts *accounts);
const struct account *accounts_first(const struct accounts *accounts);

/* `login` as DOMAIN\user, user@DOMAIN or user, in any case; NULL when there is none. */
const struct account *accounts_find(const struct accounts *accounts, struct slice login);
bool accounts_password_is(
    const struct accounts *accounts, const struct account *account, struct slice password);
/* True when the account may send as `mailbox`; the null sender is everyone's. */
bool accounts_may_send_as(
    const struct accounts *accounts, const struct account *account, struct slice mailbox);

#endif
