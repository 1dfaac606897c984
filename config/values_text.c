#include "config/values.h"
#include "config/options.h"
#include "base/base64.h"

#include <stdlib.h>

static bool store_text(struct slice text, void *field, struct err *e)
{
    char *copy = slice_dup(text);
    if (!copy)
        return value_out_of_memory(e);
    *(char **)field = copy;
    return true;
}

/* libinih knows ';' only; an operator who wrote '#' would be surprised by the value. */
static bool has_hash_comment(struct slice text)
{
    for (size_t i = 1; i < text.n; i++) {
        if (text.p[i] == '#' && (text.p[i - 1] == ' ' || text.p[i - 1] == '\t'))
            return true;
    }
    return false;
}

/* "name =;x" is no comment, but printed as "name = ;x" it would be one. */
static bool starts_like_comment(struct slice text)
{
    return text.n > 0 && text.p[0] == ';';
}

static bool parse_command(const struct option *o, struct slice text, void *field, struct err *e)
{
    (void)o;
    if (starts_like_comment(text))
        return err_set(e, ERR_CONFIG, "must not begin with ;");
    return store_text(text, field, e);
}

static bool parse_text(const struct option *o, struct slice text, void *field, struct err *e)
{
    (void)o;
    if (has_hash_comment(text))
        return err_set(e, ERR_CONFIG, "a comment behind a value begins with ; and not with #");
    if (starts_like_comment(text))
        return err_set(e, ERR_CONFIG, "must not begin with ;");
    return store_text(text, field, e);
}

static bool print_text(const struct option *o, const void *field, struct buf *out)
{
    (void)o;
    return buf_add_slice(out, slice_str(*(char *const *)field));
}

static bool allowed_text(const struct option *o, struct buf *out)
{
    (void)o;
    return buf_add_str(out, "text");
}

static bool allowed_command(const struct option *o, struct buf *out)
{
    (void)o;
    return buf_add_str(out, "a shell command");
}

static bool allowed_path(const struct option *o, struct buf *out)
{
    (void)o;
    return buf_add_str(out, "a file's path");
}

static void fini_text(void *field)
{
    free(*(char **)field);
    *(char **)field = NULL;
}

static bool consists_of(struct slice text, const char *extra)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        bool is_alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_alnum && (c == '\0' || !strchr(extra, c)))
            return false;
    }
    return true;
}

/* RFC 1035 2.3.4: 255 octets on the wire are 253 characters in text. */
bool value_is_host(struct slice text)
{
    enum { NAME_MAX_LENGTH = 253 };
    struct ip_addr addr;
    if (ip_parse(text, &addr))
        return true;
    bool has_empty_label = text.n > 0 && text.p[0] == '.';
    for (size_t i = 1; i < text.n; i++)
        has_empty_label = has_empty_label || (text.p[i] == '.' && text.p[i - 1] == '.');
    return text.n <= NAME_MAX_LENGTH && !has_empty_label && consists_of(text, "-._");
}

static bool parse_host(const struct option *o, struct slice text, void *field, struct err *e)
{
    return value_is_host(text) ? store_text(text, field, e) : value_refuse(o, e);
}

static bool allowed_host(const struct option *o, struct buf *out)
{
    (void)o;
    return buf_add_str(out, "a host name or an IP address");
}

/* Enough to keep it one harmless SMTP path (RFC 5321 4.1.2 Dot-string and Domain); the server
 * judges the rest. */
static bool is_mailbox(struct slice text)
{
    enum { PATH_MAX_LENGTH = 254 };
    const char *at = text.n > 0 ? memchr(text.p, '@', text.n) : NULL;
    if (!at || text.n > PATH_MAX_LENGTH)
        return false;
    struct slice local = slice_of(text.p, (size_t)(at - text.p));
    struct slice domain = slice_skip(text, local.n + 1);
    return local.n > 0 && domain.n > 0 && consists_of(local, "!#$%&'*+-/=?^_`{|}~.") &&
           consists_of(domain, "-._");
}

static bool parse_mailbox(const struct option *o, struct slice text, void *field, struct err *e)
{
    return text.n == 0 || is_mailbox(text) ? store_text(text, field, e) : value_refuse(o, e);
}

static bool allowed_mailbox(const struct option *o, struct buf *out)
{
    (void)o;
    return buf_add_str(out, "one mail address, such as payroll@corp.example");
}

static bool is_pin(struct slice text)
{
    enum { HASH_SIZE = 32 };
    const struct slice prefix = SLICE_LIT("sha256:");
    if (text.n < prefix.n || memcmp(text.p, prefix.p, prefix.n) != 0)
        return false;
    struct buf hash;
    buf_init(&hash, HASH_SIZE);
    bool is_good = base64_decode(slice_skip(text, prefix.n), &hash) && hash.len == HASH_SIZE;
    buf_fini(&hash);
    return is_good;
}

static bool parse_pin(const struct option *o, struct slice text, void *field, struct err *e)
{
    return text.n == 0 || is_pin(text) ? store_text(text, field, e) : value_refuse(o, e);
}

static bool allowed_pin(const struct option *o, struct buf *out)
{
    (void)o;
    return buf_add_str(out, "sha256: and the base64 of 32 bytes");
}

bool value_is_full_path(struct slice text)
{
    bool has_drive = text.n > 2 && text.p[1] == ':' && (text.p[2] == '\\' || text.p[2] == '/');
    return has_drive || (text.n > 1 && (text.p[0] == '/' || text.p[0] == '\\'));
}

/* A service has no folder of its own that a relative path could begin at. */
static bool parse_target(const struct option *o, struct slice text, void *field, struct err *e)
{
    bool is_word = slice_eq(text, SLICE_LIT("stderr")) || slice_eq(text, SLICE_LIT("syslog")) ||
                   slice_eq(text, SLICE_LIT("eventlog"));
    return is_word || value_is_full_path(text) ? parse_text(o, text, field, e) : value_refuse(o, e);
}

static bool allowed_target(const struct option *o, struct buf *out)
{
    (void)o;
    return buf_add_str(out, "stderr, syslog, eventlog or a file's full path");
}

const struct value_kind value_text = {
    .parse = parse_text,
    .print = print_text,
    .allowed = allowed_text,
    .fini = fini_text,
};
const struct value_kind value_command = {
    .parse = parse_command,
    .print = print_text,
    .allowed = allowed_command,
    .fini = fini_text,
    .takes_whole_line = true,
};
const struct value_kind value_path = {
    .parse = parse_text,
    .print = print_text,
    .allowed = allowed_path,
    .fini = fini_text,
};
const struct value_kind value_host = {
    .parse = parse_host,
    .print = print_text,
    .allowed = allowed_host,
    .fini = fini_text,
};
const struct value_kind value_mailbox = {
    .parse = parse_mailbox,
    .print = print_text,
    .allowed = allowed_mailbox,
    .fini = fini_text,
};
const struct value_kind value_pin = {
    .parse = parse_pin,
    .print = print_text,
    .allowed = allowed_pin,
    .fini = fini_text,
};
const struct value_kind value_target = {
    .parse = parse_target,
    .print = print_text,
    .allowed = allowed_target,
    .fini = fini_text,
};

static bool find_word(const struct option *o, struct slice text, unsigned *ret_index)
{
    for (unsigned i = 0; o->words[i]; i++) {
        if (slice_eq_nocase(text, slice_str(o->words[i]))) {
            *ret_index = i;
            return true;
        }
    }
    return false;
}

static bool parse_choice(const struct option *o, struct slice text, void *field, struct err *e)
{
    return find_word(o, text, field) || value_refuse(o, e);
}

static bool parse_word(const struct option *o, struct slice text, void *field, struct err *e)
{
    unsigned index = 0;
    return find_word(o, text, &index) ? store_text(slice_str(o->words[index]), field, e)
                                      : value_refuse(o, e);
}

static bool print_choice(const struct option *o, const void *field, struct buf *out)
{
    return buf_add_str(out, o->words[*(const unsigned *)field]);
}

static bool allowed_words(const struct option *o, struct buf *out)
{
    bool fits = true;
    for (unsigned i = 0; fits && o->words[i]; i++) {
        const char *joint = i == 0 ? "" : o->words[i + 1] ? ", " : " or ";
        fits = buf_addf(out, "%s%s", joint, o->words[i]);
    }
    return fits;
}

const struct value_kind value_word = {
    .parse = parse_word,
    .print = print_text,
    .allowed = allowed_words,
    .fini = fini_text,
};
const struct value_kind value_choice = {
    .parse = parse_choice,
    .print = print_choice,
    .allowed = allowed_words,
};

/* "***" is what `submitd check` prints: trying it as a password would count as a failed login. */
static bool parse_secret(const struct option *o, struct slice text, void *field, struct err *e)
{
    (void)o;
    if (text.n == 0)
        return true;
    if (slice_eq(text, SLICE_LIT("***")))
        return err_set(e, ERR_CONFIG, "holds the mask of a printed password, not a password");
    struct secret *secret = secret_new(text.p, text.n);
    if (!secret)
        return value_out_of_memory(e);
    *(struct secret **)field = secret;
    return true;
}

static bool print_secret(const struct option *o, const void *field, struct buf *out)
{
    (void)o;
    (void)field;
    return buf_add_str(out, "***");
}

static bool allowed_secret(const struct option *o, struct buf *out)
{
    (void)o;
    return buf_add_str(out, "the password, without \" ;\" in it and without blanks at its ends");
}

static void fini_secret(void *field)
{
    secret_free(*(struct secret **)field);
    *(struct secret **)field = NULL;
}

const struct value_kind value_secret = {
    .parse = parse_secret,
    .print = print_secret,
    .allowed = allowed_secret,
    .fini = fini_secret,
    .takes_whole_line = true,
};

static bool is_base64(struct slice text)
{
    return consists_of(text, "+/=");
}

/* Each line is a piece; what comes out of all of them is judged where it is decrypted. */
static bool parse_protected(const struct option *o, struct slice text, void *field, struct err *e)
{
    enum { WHOLE_MAX = 64 * 1024 };
    struct secret **whole = field;
    struct buf joined;
    if (text.n == 0)
        return true;
    if (!is_base64(text))
        return value_refuse(o, e);
    buf_init_secret(&joined, WHOLE_MAX);
    struct secret *longer = NULL;
    bool fits =
        (!*whole || buf_add_slice(&joined, secret_reveal(*whole))) && buf_add_slice(&joined, text);
    if (fits)
        longer = secret_new(buf_cstr(&joined), joined.len);
    buf_fini(&joined);
    if (!longer)
        return fits ? value_out_of_memory(e) : value_refuse(o, e);
    secret_free(*whole);
    *whole = longer;
    return true;
}

static bool allowed_protected(const struct option *o, struct buf *out)
{
    (void)o;
    return buf_add_str(out, "what `submitd secret protect` printed, all of its lines");
}

const struct value_kind value_protected = {
    .parse = parse_protected,
    .print = print_secret,
    .allowed = allowed_protected,
    .fini = fini_secret,
    .is_list = true,
};
