#include "sandbox/accounts.h"

#include "base/secret.h"
#include "base/str.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { ACCOUNTS_MAX = 1000, LINE_SIZE = 1024 };

struct entry {
    struct account account;
    struct secret *password;
    struct option_texts mailboxes; /* patterns; none: user@* */
};

struct accounts {
    unsigned count;
    struct entry entry[ACCOUNTS_MAX];
};

/* The bytes before `c`; *rest gets those behind it. False when `c` does not occur. */
static bool split(struct slice *rest, char c, struct slice *ret_part)
{
    const char *at = rest->n > 0 ? memchr(rest->p, c, rest->n) : NULL;
    if (!at)
        return false;
    *ret_part = slice_of(rest->p, (size_t)(at - rest->p));
    *rest = slice_skip(*rest, ret_part->n + 1);
    return true;
}

/* gss-ntlmssp takes a colon for the end of the password, so there can be none in it. */
static bool add_line(struct accounts *all, struct slice line)
{
    struct slice domain, user;
    if (!split(&line, ':', &domain) || !split(&line, ':', &user) || user.n == 0 || line.n == 0 ||
        memchr(line.p, ':', line.n))
        return false;
    struct entry *entry = &all->entry[all->count];
    entry->account = (struct account){
        .name = str_format("%.*s\\%.*s", SLICE_ARG(domain), SLICE_ARG(user)),
        .domain = slice_dup(domain),
        .user = slice_dup(user),
        .index = all->count,
    };
    entry->password = secret_new(line.p, line.n);
    all->count++;
    return entry->account.name && entry->account.domain && entry->account.user && entry->password;
}

static bool read_lines(struct accounts *all, FILE *f, const char *file, struct err *e)
{
    char text[LINE_SIZE];
    bool is_good = true;
    for (unsigned n = 1; is_good && fgets(text, sizeof text, f); n++) {
        struct slice line = slice_of(text, strcspn(text, "\r\n"));
        if (line.n == 0 || line.p[0] == '#')
            continue;
        if (all->count == ACCOUNTS_MAX)
            is_good = err_set(e, ERR_CONFIG, "%s:%u: more than %d accounts", file, n, ACCOUNTS_MAX);
        else if (!add_line(all, line))
            is_good = err_set(
                e, ERR_CONFIG, "%s:%u: want DOMAIN:user:password, and no colon in these", file, n);
    }
    secret_wipe(text, sizeof text);
    if (is_good && all->count == 0)
        return err_set(e, ERR_CONFIG, "%s: no account in it", file);
    return is_good;
}

static struct entry *entry_of(struct accounts *all, const struct account *account)
{
    return &all->entry[account->index];
}

/* DOMAIN\user=PATTERN */
static bool add_mailbox(struct accounts *all, const char *text, struct err *e)
{
    const char *equals = strchr(text, '=');
    const struct account *account =
        equals ? accounts_find(all, slice_of(text, (size_t)(equals - text))) : NULL;
    if (!account)
        return err_set(
            e, ERR_CONFIG, "--mailbox: '%s' does not start with an account's name and '='", text);
    struct option_texts *own = &entry_of(all, account)->mailboxes;
    own->text[own->count++] = equals + 1; /* fits: the command line has no more of them either */
    return true;
}

bool accounts_load(const char *file, const struct option_texts *mailboxes,
    struct accounts **ret_accounts, struct err *e)
{
    FILE *f = fopen(file, "re");
    if (!f)
        return err_set(e, ERR_CONFIG, "--users: cannot read '%s': %s", file, strerror(errno));
    struct accounts *all = calloc(1, sizeof *all);
    if (!all) {
        fclose(f);
        return err_set(e, ERR_MEMORY, "out of memory");
    }
    bool is_good = read_lines(all, f, file, e);
    fclose(f);
    for (unsigned i = 0; is_good && i < mailboxes->count; i++)
        is_good = add_mailbox(all, mailboxes->text[i], e);
    if (is_good)
        *ret_accounts = all;
    else
        accounts_free(all);
    return is_good;
}

void accounts_free(struct accounts *accounts)
{
    for (unsigned i = 0; accounts && i < accounts->count; i++) {
        struct entry *entry = &accounts->entry[i];
        free(entry->account.name);
        free(entry->account.domain);
        free(entry->account.user);
        secret_free(entry->password);
    }
    free(accounts);
}

unsigned accounts_count(const struct accounts *accounts)
{
    return accounts->count;
}

const struct account *accounts_first(const struct accounts *accounts)
{
    return &accounts->entry[0].account;
}

const struct account *accounts_find(const struct accounts *accounts, struct slice login)
{
    struct slice user = login, domain = SLICE_NONE;
    bool has_domain = split(&user, '\\', &domain);
    if (!has_domain && split(&user, '@', &domain)) {
        struct slice swap = user;
        user = domain;
        domain = swap;
        has_domain = true;
    }
    for (unsigned i = 0; i < accounts->count; i++) {
        const struct account *account = &accounts->entry[i].account;
        if (slice_eq_nocase(slice_str(account->user), user) &&
            (!has_domain || slice_eq_nocase(slice_str(account->domain), domain)))
            return account;
    }
    return NULL;
}

bool accounts_password_is(
    const struct accounts *accounts, const struct account *account, struct slice password)
{
    struct secret *given = secret_new(password.p, password.n);
    bool is_right = given && secret_eq(accounts->entry[account->index].password, given);
    secret_free(given);
    return is_right;
}

/* The pattern user@* without building it. */
static bool is_users_own(const struct account *account, struct slice mailbox)
{
    struct slice user = slice_str(account->user);
    return slice_starts_nocase(mailbox, user) && mailbox.n > user.n && mailbox.p[user.n] == '@';
}

bool accounts_may_send_as(
    const struct accounts *accounts, const struct account *account, struct slice mailbox)
{
    const struct option_texts *own = &accounts->entry[account->index].mailboxes;
    if (mailbox.n == 0)
        return true;
    if (own->count == 0)
        return is_users_own(account, mailbox);
    for (unsigned i = 0; i < own->count; i++) {
        if (str_glob_nocase(own->text[i], mailbox))
            return true;
    }
    return false;
}
