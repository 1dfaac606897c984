#include "config/options.h"
#include "config/reference.h"
#include "base/roff.h"

static bool print_option(const struct option *o, struct buf *out)
{
    struct buf allowed;
    buf_init(&allowed, out->max);
    bool fits = buf_addf(out, ".TP\n\\fB%s\\fR\n", o->name) && o->kind->allowed(o, &allowed) &&
                roff_add_part(out, "Value: ") && roff_add_part(out, buf_cstr(&allowed));
    buf_fini(&allowed);
    if (!o->preset)
        fits = fits && roff_add(out, "; it is required.");
    else if (o->preset[0] == '\0')
        fits = fits && roff_add(out, "; empty by default.");
    else
        fits = fits && roff_add_part(out, "; by default ") && roff_add_part(out, o->preset) &&
               roff_add(out, ".");
    return fits && buf_add_str(out, ".br\n") && roff_add(out, o->help);
}

static bool print_section(const struct section *s, struct buf *out)
{
    bool fits = buf_addf(out, ".SH \"[%s]\"\n", s->name) && roff_add(out, s->help);
    for (size_t i = 0; fits && i < s->count; i++)
        fits = print_option(&s->options[i], out);
    return fits;
}

static const char heading[] = ".TH SUBMITD.INI 5 \"\" \"submitd " SUBMITD_VERSION "\" \"submitd\"\n"
                              ".SH NAME\n"
                              "submitd.ini \\- configuration of submitd\n"
                              ".SH SYNOPSIS\n"
                              ".I /etc/submitd/submitd.ini\n"
                              ".SH DESCRIPTION\n";

static const char end[] = ".SH EXAMPLE\n"
                          ".EX\n"
                          "[upstream]\n"
                          "host = mail.corp.example\n\n"
                          "[account]\n"
                          "username = CORP\\esvc\\-mail\n"
                          "password_file = /etc/submitd/svc\\-mail.password\n"
                          ".EE\n"
                          ".SH SEE ALSO\n"
                          ".BR submitd (8)\n";

bool config_print_manual(struct buf *out)
{
    bool fits = buf_add_str(out, heading) &&
                roff_add(out, "`submitd` reads this file when it starts and when it is told to "
                              "reload. `submitd check` lists every mistake with its line, and "
                              "prints what is in effect.");
    for (size_t i = 0; fits && reference_rules[i]; i++)
        fits = buf_add_str(out, ".IP \\(bu 2\n") && roff_add(out, reference_rules[i]);
    for (size_t id = 0; fits && id < SECTION_COUNT; id++)
        fits = print_section(&sections[id], out);
    return fits && buf_add_str(out, end);
}
