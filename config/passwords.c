#include "config/load.h"
#include "base/str.h"
#include "platform/platform.h"

#include <stdlib.h>

enum { PASSWORD_TEXT_MAX = 4096, COMMAND_TIMEOUT_MS = 30000 };

/* The file's first line without its end; editors on Windows like to put a mark in front. */
static struct slice first_line(struct slice text)
{
    const struct slice mark = SLICE_LIT("\xef\xbb\xbf");
    if (slice_starts_nocase(text, mark))
        text = slice_skip(text, mark.n);
    const char *lf = text.n > 0 ? memchr(text.p, '\n', text.n) : NULL;
    if (lf)
        text.n = (size_t)(lf - text.p);
    while (text.n > 0 && text.p[text.n - 1] == '\r')
        text.n--;
    return text;
}

/* Mechanisms need UTF-8 (PLAIN) or turn it into UTF-16 (NTLM), and C libraries end at a NUL. */
static bool take_password(struct config_account *a, struct slice text, struct err *e)
{
    struct slice password = first_line(text);
    if (password.n == 0)
        return err_set(e, ERR_CONFIG, "the first line, which should be the password, is empty");
    if (memchr(password.p, '\0', password.n) || !str_is_utf8(password))
        return err_set(e, ERR_CONFIG, "the password is not UTF-8 text; save it as UTF-8");
    a->password = secret_new(password.p, password.n);
    return a->password || err_set(e, ERR_MEMORY, "memory ran out");
}

/* systemd's LoadCredential= puts files where only the service can read them. */
static char *find_file(const struct load *l, const char *path)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    if (folder && folder[0] != '\0' && !value_is_full_path(slice_str(path)))
        return str_format("%s/%s", folder, path);
    return load_resolve(l, path);
}

static bool from_file(struct load *l, struct config_account *a, struct err *e)
{
    struct buf text;
    buf_init_secret(&text, PASSWORD_TEXT_MAX);
    char *path = find_file(l, a->password_file);
    bool is_done =
        path ? platform_file_is_private(path, e) : err_set(e, ERR_MEMORY, "memory ran out");
    if (is_done) {
        is_done = load_read_file(path, &text, e) && take_password(a, buf_slice(&text), e);
        if (!is_done)
            err_prefix(e, "%s", path);
    }
    if (is_done)
        a->password_source = str_format("password_file %s", path);
    a->password_path = path;
    buf_fini(&text);
    return is_done;
}

static bool from_command(struct config_account *a, struct err *e)
{
    struct buf text;
    buf_init_secret(&text, PASSWORD_TEXT_MAX);
    bool is_done = platform_run_command(a->password_command, COMMAND_TIMEOUT_MS, &text, e);
    if (is_done && !take_password(a, buf_slice(&text), e))
        is_done = err_prefix(e, "the command's output");
    if (is_done)
        a->password_source = str_dup("password_command");
    buf_fini(&text);
    return is_done;
}

static bool from_text(struct load *l, struct config_account *a, struct err *e)
{
    if (!l->is_pure && !platform_file_is_private(l->problems.file, e))
        return err_prefix(e, "a password stands in this file");
    a->password_source = str_dup("password");
    return true;
}

/* Pure loading has no password to take from elsewhere. */
static bool from_nowhere(struct config_account *a, const char *source, struct err *e)
{
    a->password = secret_new("", 0);
    a->password_source = str_dup(source);
    return a->password || err_set(e, ERR_MEMORY, "memory ran out");
}

static bool take_literal(struct load *l, struct config_account *a, struct err *e)
{
    return !a->password || from_text(l, a, e); /* NULL: the line was refused, and that was told */
}

static bool take_file(struct load *l, struct config_account *a, struct err *e)
{
    if (a->password_file[0] == '\0')
        return true;
    return l->is_pure ? from_nowhere(a, "password_file", e) : from_file(l, a, e);
}

static bool take_command(struct load *l, struct config_account *a, struct err *e)
{
    if (a->password_command[0] == '\0')
        return true;
    return l->is_pure ? from_nowhere(a, "password_command", e) : from_command(a, e);
}

static bool take_protected(struct load *l, struct config_account *a, struct err *e)
{
    if (!a->password_protected)
        return true; /* the line was refused, and that was told */
    if (l->is_pure)
        return from_nowhere(a, "password_protected", e);
    if (!platform_secret_unprotect(a->password_protected, &a->password, e))
        return false;
    if (!platform_file_is_private(l->problems.file, e))
        return err_prefix(e, "every user of this machine could decrypt it");
    a->password_source = str_dup("password_protected");
    return true;
}

static const struct source {
    const char *key;
    bool (*is_used)(const struct load *l, enum section_id id, size_t i, const char *key);
    bool (*take)(struct load *l, struct config_account *a, struct err *e);
} sources[] = {
    { .key = "password", .is_used = load_is_written, .take = take_literal },
    { .key = "password_file", .is_used = load_is_given, .take = take_file },
    { .key = "password_command", .is_used = load_is_given, .take = take_command },
    { .key = "password_protected", .is_used = load_is_written, .take = take_protected },
};

bool load_has_own_identity(const struct load *l, size_t account)
{
    bool has_password = false;
    for (size_t k = 0; k < ARRAY_LEN(sources); k++)
        has_password = has_password || load_is_written(l, SECTION_ACCOUNT, account, sources[k].key);
    return !has_password && load_is_written(l, SECTION_ACCOUNT, account, "username") &&
           !load_is_given(l, SECTION_ACCOUNT, account, "username");
}

static void load_password(struct load *l, size_t i)
{
    struct config_account *a = &l->config->accounts[i];
    bool has_login = strcmp(l->config->upstream.auth, "none") != 0;
    const struct source *found = NULL;
    struct err e;
    for (size_t k = 0; k < ARRAY_LEN(sources); k++) {
        bool is_used = sources[k].is_used(l, SECTION_ACCOUNT, i, sources[k].key);
        if (is_used && found) {
            load_complain(l, load_spot(l, SECTION_ACCOUNT, i, sources[k].key),
                "%s is there as well; keep one of them", found->key);
            return;
        }
        found = is_used ? &sources[k] : found;
    }
    if (found && !found->take(l, a, &e))
        load_complain(l, load_spot(l, SECTION_ACCOUNT, i, found->key), "%s", e.text);
    if (!found && has_login && !load_has_own_identity(l, i))
        load_complain(l, load_spot(l, SECTION_ACCOUNT, i, NULL),
            "needs password_file, password_command or password");
}

void load_passwords(struct load *l)
{
    for (size_t i = 0; i < l->config->account_count; i++) {
        struct config_account *a = &l->config->accounts[i];
        load_password(l, i);
        if (!a->password_source)
            a->password_source = str_dup("none");
        if (!a->password_source)
            problems_add(&l->problems, 0, "memory ran out");
    }
}
