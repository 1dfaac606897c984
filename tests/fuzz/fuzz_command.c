/* Command lines: every slice of the result lies inside the line, and nothing dangerous gets
 * through. */
#include "base/str.h"
#include "fuzz.h"
#include "smtp/caps.h"
#include "smtp/command.h"

static void check_parts(const struct smtp_command *c, struct slice line)
{
    const struct slice parts[] = { c->arg, c->initial, c->mail.from.mailbox, c->mail.from.local,
        c->mail.from.domain, c->mail.ret, c->mail.envid, c->mail.auth, c->rcpt.to.mailbox,
        c->rcpt.to.local, c->rcpt.to.domain, c->rcpt.notify, c->rcpt.orcpt };
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        CLAIM(fuzz_is_inside(parts[i], line));
        CLAIM(fuzz_is_clean(parts[i]) && str_is_utf8(parts[i]));
    }
    const struct slice words[] = { c->mail.ret, c->mail.envid, c->mail.auth, c->rcpt.notify,
        c->rcpt.orcpt, c->initial };
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        CLAIM(words[i].n == 0 || !memchr(words[i].p, ' ', words[i].n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    uint32_t caps = data[0] | (uint32_t)data[1] << 8;
    struct slice line = fuzz_text(data + 1, size - 1);
    struct smtp_command c;
    struct smtp_syntax_error e;
    if (!smtp_command_parse(line, caps, &c, &e)) {
        CLAIM(e.code >= 500 && e.code <= 555 && e.status[0] == '5' && e.text[0]);
        return 0;
    }
    CLAIM((unsigned)c.verb < SMTP_VERB_COUNT);
    CLAIM((caps & SMTP_CAP_DSN) || (c.mail.ret.n == 0 && c.rcpt.orcpt.n == 0));
    CLAIM((caps & SMTP_CAP_SMTPUTF8) || !c.mail.smtputf8);
    CLAIM(c.verb != SMTP_VERB_RCPT || c.rcpt.to.mailbox.n > 0);
    CLAIM(c.mail.smtputf8 || !c.mail.from.is_utf8);
    check_parts(&c, line);
    return 0;
}
