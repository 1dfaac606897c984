#include "smtp/command.h"
#include "base/str.h"
#include "smtp/caps.h"

#include <assert.h>

enum {
    ENVID_MAX = 100,     /* RFC 3461 4.4 */
    ORCPT_MAX = 500,     /* RFC 3461 4.2 */
    MECH_NAME_MAX = 20,  /* RFC 4422 3.1 */
    SIZE_DIGITS_MAX = 20 /* RFC 1870 4 */
};

/* One line while it is taken apart. */
struct parse {
    struct slice rest; /* behind the verb, blanks trimmed */
    uint32_t caps;
    struct smtp_command cmd;
    struct smtp_syntax_error error;
    uint32_t seen; /* bits of the parameters that came already, by row */
};

static bool fail(struct parse *p, unsigned code, const char *status, const char *text)
{
    p->error = (struct smtp_syntax_error){ .code = code, .status = status, .text = text };
    return false;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Takes what is before the next blank off *text. */
static struct slice take_word(struct slice *text)
{
    size_t n = 0;
    while (n < text->n && !is_blank(text->p[n]))
        n++;
    struct slice word = slice_of(text->p, n);
    *text = slice_trim(slice_skip(*text, n));
    return word;
}

static bool has_byte_above(struct slice s, unsigned char max)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] > max)
            return true;
    }
    return false;
}

static bool has_control(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return true;
    }
    return false;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F');
}

/* RFC 3461 4: "!" to "~" without "+" and "=", and "+" with two hexadecimal digits in capitals. */
static bool is_xtext(struct slice s, bool allow_utf8)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '+') {
            if (s.n - i < 3 || !is_hex(s.p[i + 1]) || !is_hex(s.p[i + 2]))
                return false;
            i += 2;
        } else if (c <= ' ' || c == '=' || c == 0x7f || (c > 0x7f && !allow_utf8)) {
            return false;
        }
    }
    return true;
}

/* ---- Parameters of MAIL and RCPT ----------------------------------------------------- */

typedef bool param_fn(struct parse *p, struct slice value);

/* A size beyond our counting is a valid one, and too large for anybody. */
static bool on_size(struct parse *p, struct slice value)
{
    unsigned long long size = UINT64_MAX;
    bool is_number = value.n <= SIZE_DIGITS_MAX;
    for (size_t i = 0; i < value.n; i++)
        is_number = is_number && value.p[i] >= '0' && value.p[i] <= '9';
    if (!is_number)
        return fail(p, 501, "5.5.4", "SIZE takes a number of octets, as SIZE=12345");
    while (value.n > 1 && value.p[0] == '0')
        value = slice_skip(value, 1);
    slice_to_u64(value, &size);
    p->cmd.mail.size = size;
    return true;
}

static bool on_body(struct parse *p, struct slice value)
{
    if (slice_eq_nocase(value, SLICE_LIT("7BIT")))
        p->cmd.mail.body = SMTP_BODY_7BIT;
    else if (slice_eq_nocase(value, SLICE_LIT("8BITMIME")))
        p->cmd.mail.body = SMTP_BODY_8BITMIME;
    else
        return fail(p, 501, "5.5.4", "BODY takes 7BIT or 8BITMIME");
    return true;
}

static bool on_smtputf8(struct parse *p, struct slice value)
{
    if (value.p)
        return fail(p, 501, "5.5.4", "SMTPUTF8 takes no value");
    p->cmd.mail.smtputf8 = true;
    return true;
}

static bool on_ret(struct parse *p, struct slice value)
{
    if (!slice_eq_nocase(value, SLICE_LIT("FULL")) && !slice_eq_nocase(value, SLICE_LIT("HDRS")))
        return fail(p, 501, "5.5.4", "RET takes FULL or HDRS");
    p->cmd.mail.ret = value;
    return true;
}

static bool on_envid(struct parse *p, struct slice value)
{
    if (value.n > ENVID_MAX || !is_xtext(value, false))
        return fail(p, 501, "5.5.4", "ENVID takes up to 100 characters of xtext (RFC 3461)");
    p->cmd.mail.envid = value;
    return true;
}

static bool on_auth_param(struct parse *p, struct slice value)
{
    if (!is_xtext(value, false))
        return fail(p, 501, "5.5.4", "AUTH takes a mailbox in xtext (RFC 4954) or <>");
    p->cmd.mail.auth = value;
    return true;
}

static bool on_notify(struct parse *p, struct slice value)
{
    bool is_good = true;
    unsigned items = 0;
    for (struct slice rest = value; is_good && rest.p; items++) {
        const char *comma = memchr(rest.p, ',', rest.n);
        struct slice item = comma ? slice_of(rest.p, (size_t)(comma - rest.p)) : rest;
        is_good = slice_eq_nocase(item, SLICE_LIT("SUCCESS")) ||
                  slice_eq_nocase(item, SLICE_LIT("FAILURE")) ||
                  slice_eq_nocase(item, SLICE_LIT("DELAY"));
        rest = comma ? slice_skip(rest, item.n + 1) : SLICE_NONE;
    }
    if (!is_good && !slice_eq_nocase(value, SLICE_LIT("NEVER")))
        return fail(p, 501, "5.5.4", "NOTIFY takes NEVER, or a list of SUCCESS, FAILURE and DELAY");
    p->cmd.rcpt.notify = value;
    return true;
}

/* RFC 3461 4.2: addr-type ";" xtext. RFC 6533 3: type "utf-8" may hold UTF-8 as it is. */
static bool on_orcpt(struct parse *p, struct slice value)
{
    const char *semicolon = memchr(value.p, ';', value.n);
    struct slice type = slice_of(value.p, semicolon ? (size_t)(semicolon - value.p) : 0);
    bool is_good = type.n > 0 && value.n <= ORCPT_MAX;
    for (size_t i = 0; i < type.n; i++) {
        char c = type.p[i];
        is_good = is_good && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                                 (c >= '0' && c <= '9') || c == '-');
    }
    bool is_utf8_type = slice_eq_nocase(type, SLICE_LIT("utf-8"));
    if (!is_good || !is_xtext(slice_skip(value, type.n + 1), is_utf8_type))
        return fail(
            p, 501, "5.5.4", "ORCPT takes a type and an address in xtext, as rfc822;a@b.example");
    p->cmd.rcpt.orcpt = value;
    return true;
}

struct param {
    const char *keyword;
    enum smtp_cap cap; /* announced with this extension only */
    bool takes_value;
    param_fn *run;
};

static const struct param mail_params[] = {
    { "SIZE", SMTP_CAP_SIZE, true, on_size },
    { "BODY", SMTP_CAP_8BITMIME, true, on_body },
    { "SMTPUTF8", SMTP_CAP_SMTPUTF8, false, on_smtputf8 },
    { "RET", SMTP_CAP_DSN, true, on_ret },
    { "ENVID", SMTP_CAP_DSN, true, on_envid },
    { "AUTH", SMTP_CAP_AUTH, true, on_auth_param },
};

static const struct param rcpt_params[] = {
    { "NOTIFY", SMTP_CAP_DSN, true, on_notify },
    { "ORCPT", SMTP_CAP_DSN, true, on_orcpt },
};

/* RFC 5321 4.1.2: esmtp-keyword. */
static bool is_keyword(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool is_alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_alnum && (c != '-' || i == 0))
            return false;
    }
    return s.n > 0;
}

/* One "KEYWORD=value" or "KEYWORD". */
static bool parse_param(struct parse *p, const struct param *rows, size_t n, struct slice word)
{
    const char *equals = memchr(word.p, '=', word.n);
    struct slice keyword = equals ? slice_of(word.p, (size_t)(equals - word.p)) : word;
    struct slice value = equals ? slice_skip(word, keyword.n + 1) : SLICE_NONE;
    if (!is_keyword(keyword))
        return fail(p, 501, "5.5.4", "What follows the address is no parameter, as SIZE=12345");
    for (size_t i = 0; i < n; i++) {
        if (!slice_eq_nocase(keyword, slice_str(rows[i].keyword)))
            continue;
        if (!(p->caps & (uint32_t)rows[i].cap))
            return fail(
                p, 555, "5.5.4", "A parameter belongs to an extension that was not offered");
        if (p->seen & 1U << i)
            return fail(p, 501, "5.5.4", "A parameter was given twice");
        if (rows[i].takes_value && value.n == 0)
            return fail(p, 501, "5.5.4", "A parameter has no value");
        p->seen |= 1U << i;
        return rows[i].run(p, value);
    }
    return fail(p, 555, "5.5.4", "A parameter is not known here");
}

static bool parse_params(struct parse *p, const struct param *rows, size_t n)
{
    while (p->rest.n > 0) {
        if (!parse_param(p, rows, n, take_word(&p->rest)))
            return false;
    }
    return true;
}

/* Takes "FROM:" or "TO:" off; blanks around the colon are a common fault of old programs. */
static bool take_prefix(struct parse *p, struct slice prefix)
{
    if (!slice_starts_nocase(p->rest, prefix))
        return false;
    struct slice rest = slice_trim(slice_skip(p->rest, prefix.n));
    if (rest.n == 0 || rest.p[0] != ':')
        return false;
    p->rest = slice_trim(slice_skip(rest, 1));
    return true;
}

static bool take_path(
    struct parse *p, unsigned flags, const char *status, struct smtp_path *ret_path)
{
    flags |= SMTP_ADDRESS_ALLOW_LOCAL | SMTP_ADDRESS_ALLOW_BARE | SMTP_ADDRESS_ALLOW_UTF8;
    const char *why;
    struct slice rest;
    if (!smtp_path_parse(p->rest, flags, ret_path, &rest, &why))
        return fail(p, 501, status, why);
    if (rest.n > 0 && !is_blank(rest.p[0]))
        return fail(p, 501, status, "A blank is missing behind the address");
    p->rest = slice_trim(rest);
    return true;
}

/* ---- Commands ------------------------------------------------------------------------ */

static bool on_mail(struct parse *p)
{
    struct smtp_mail *mail = &p->cmd.mail;
    if (!take_prefix(p, SLICE_LIT("FROM")))
        return fail(p, 501, "5.5.4", "Syntax: MAIL FROM:<address>");
    if (!take_path(p, SMTP_ADDRESS_ALLOW_NULL, "5.1.7", &mail->from) ||
        !parse_params(p, mail_params, ARRAY_LEN(mail_params)))
        return false;
    /* RFC 6531 3.5: who sends such an address must say SMTPUTF8. */
    if (mail->from.is_utf8 && !mail->smtputf8)
        return fail(p, 550, "5.6.7", "An address outside ASCII needs the parameter SMTPUTF8");
    return true;
}

/* Whether MAIL said SMTPUTF8 is for the machine to check, which knows it. */
static bool on_rcpt(struct parse *p)
{
    if (!take_prefix(p, SLICE_LIT("TO")))
        return fail(p, 501, "5.5.4", "Syntax: RCPT TO:<address>");
    return take_path(p, 0, "5.1.3", &p->cmd.rcpt.to) &&
           parse_params(p, rcpt_params, ARRAY_LEN(rcpt_params));
}

/*
 * RFC 5321 4.1.4: a server must not refuse mail because the name is wrong, and old programs send
 * all kinds. Only what could break our lines is refused.
 */
static bool on_hello(struct parse *p)
{
    if (p->rest.n == 0)
        return fail(p, 501, "5.5.4", "The name of your computer is missing behind EHLO or HELO");
    struct slice name = take_word(&p->rest);
    if (p->rest.n > 0 || has_byte_above(name, 0x7e))
        return fail(p, 501, "5.5.4", "The name behind EHLO or HELO must be one word in ASCII");
    if (name.n > SMTP_DOMAIN_MAX)
        return fail(p, 501, "5.5.4", "The name behind EHLO or HELO is longer than 255 octets");
    return true;
}

static bool on_no_arg(struct parse *p)
{
    return p->rest.n == 0 || fail(p, 501, "5.5.4", "This command takes no argument");
}

static bool on_any_arg(struct parse *p)
{
    (void)p;
    return true;
}

static bool on_string(struct parse *p)
{
    return p->rest.n > 0 || fail(p, 501, "5.5.4", "This command needs an argument");
}

/* RFC 3030 2: the size must be understood exactly, or the chunk would be read as commands. */
static bool on_bdat(struct parse *p)
{
    unsigned long long chunk;
    if (!slice_to_u64(take_word(&p->rest), &chunk))
        return fail(p, 501, "5.5.4", "Syntax: BDAT octets [LAST]");
    struct slice last = take_word(&p->rest);
    p->cmd.is_last = slice_eq_nocase(last, SLICE_LIT("LAST"));
    if ((last.n > 0 && !p->cmd.is_last) || p->rest.n > 0)
        return fail(p, 501, "5.5.4", "Syntax: BDAT octets [LAST]");
    p->cmd.chunk = chunk;
    return true;
}

static bool is_mech_name(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            c != '-' && c != '_')
            return false;
    }
    return s.n > 0 && s.n <= MECH_NAME_MAX;
}

static bool on_auth(struct parse *p)
{
    struct slice mech = take_word(&p->rest);
    p->cmd.initial = take_word(&p->rest);
    if (!is_mech_name(mech) || p->rest.n > 0)
        return fail(p, 501, "5.5.4", "Syntax: AUTH mechanism [initial-response]");
    p->cmd.arg = mech;
    return true;
}

typedef bool command_fn(struct parse *p);

static const struct {
    const char *name;
    command_fn *run;
} commands[] = {
    [SMTP_VERB_EHLO] = { "EHLO", on_hello },
    [SMTP_VERB_HELO] = { "HELO", on_hello },
    [SMTP_VERB_MAIL] = { "MAIL", on_mail },
    [SMTP_VERB_RCPT] = { "RCPT", on_rcpt },
    [SMTP_VERB_DATA] = { "DATA", on_no_arg },
    [SMTP_VERB_BDAT] = { "BDAT", on_bdat },
    [SMTP_VERB_RSET] = { "RSET", on_no_arg },
    [SMTP_VERB_NOOP] = { "NOOP", on_any_arg },
    [SMTP_VERB_VRFY] = { "VRFY", on_string },
    [SMTP_VERB_EXPN] = { "EXPN", on_string },
    [SMTP_VERB_HELP] = { "HELP", on_any_arg },
    [SMTP_VERB_QUIT] = { "QUIT", on_no_arg },
    [SMTP_VERB_STARTTLS] = { "STARTTLS", on_no_arg },
    [SMTP_VERB_AUTH] = { "AUTH", on_auth },
};
static_assert(ARRAY_LEN(commands) == SMTP_VERB_COUNT, "every verb has a row");

static bool take_verb(struct parse *p)
{
    struct slice word = take_word(&p->rest);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (slice_eq_nocase(word, slice_str(commands[i].name))) {
            p->cmd.verb = (enum smtp_verb)i;
            p->cmd.arg = p->rest;
            return true;
        }
    }
    return fail(p, 500, "5.5.2", "This command is not known");
}

/* RFC 5321 2.4: commands are ASCII; RFC 6531 3.5: these are the replies where addresses are not. */
static bool refuse_8bit(struct parse *p)
{
    static const char why[] = "Addresses outside ASCII are not supported here";
    if (p->cmd.verb == SMTP_VERB_MAIL)
        return fail(p, 550, "5.6.7", why);
    if (p->cmd.verb == SMTP_VERB_RCPT)
        return fail(p, 553, "5.6.7", why);
    return fail(p, 500, "5.5.2", "The command has characters outside ASCII");
}

static bool parse_line(struct parse *p)
{
    /* Before anything is trimmed: a CR must not get lost unseen. */
    if (has_control(p->rest))
        return fail(p, 500, "5.5.2", "The command has a control character");
    p->rest = slice_trim(p->rest);
    if (!take_verb(p))
        return false;
    if (has_byte_above(p->rest, 0x7f) && !(p->caps & SMTP_CAP_SMTPUTF8))
        return refuse_8bit(p);
    if (!str_is_utf8(p->rest))
        return fail(p, 500, "5.5.2", "The command is not valid UTF-8");
    return commands[p->cmd.verb].run(p);
}

bool smtp_command_parse(struct slice line, uint32_t caps, struct smtp_command *ret_command,
    struct smtp_syntax_error *ret_error)
{
    struct parse p = { .rest = line, .caps = caps };
    if (!parse_line(&p)) {
        *ret_error = p.error;
        return false;
    }
    *ret_command = p.cmd;
    return true;
}

const char *smtp_verb_name(enum smtp_verb verb)
{
    return commands[verb].name;
}
