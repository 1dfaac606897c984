#include "config/reference.h"
#include "config/options.h"

static bool print_row(const struct option *o, struct buf *out)
{
    bool fits = buf_addf(out, "| `%s` | ", o->name) && o->kind->allowed(o, out);
    if (!o->preset)
        fits = fits && buf_add_str(out, " | required");
    else
        fits = fits &&
               buf_addf(out, o->preset[0] ? " | `%s`" : " | %s", o->preset[0] ? o->preset : "");
    if (o->preset_windows)
        fits = fits && buf_addf(out, ", on Windows `%s`", o->preset_windows);
    return fits && buf_addf(out, " | %s |\n", o->help);
}

static bool print_table(const struct section *s, struct buf *out)
{
    bool fits = buf_addf(out,
        "\n## [%s]\n\n%s\n\n| option | value | default | meaning |\n| --- | --- | --- | --- |\n",
        s->name, s->help);
    for (size_t row = 0; fits && row < s->count; row++)
        fits = print_row(&s->options[row], out);
    return fits;
}

const char *const reference_rules[] = {
    "The file is UTF-8 text. A line is at most 198 bytes long.",
    "`; text` or `# text` at the start of a line is a comment. Behind a value, a comment begins "
    "with a blank and a semicolon: `port = 587 ; submission`. A password that has a blank and a "
    "semicolon in it therefore goes into a `password_file`.",
    "Lists are separated by commas and may go on in the following lines when those are indented. "
    "Nothing else may be indented below an option.",
    "Times have a unit: `250ms`, `30s`, `5m`, `2h`, `3d`. Sizes may have one: `10K`, `150M`, `2G` "
    "(1K is 1024 octets).",
    "Quotes have no meaning and become part of the value.",
    "Sections and options that are not known, and options that are there twice, are errors.",
    "After a change, `systemctl reload submitd` (SIGHUP), on Windows `submitd service reload`, "
    "takes the file over. A file with mistakes "
    "is not used: the old configuration stays, and the log says why.",
    NULL,
};

static const char heading[] =
    "# Configuration\n\n"
    "<!-- Made by submitd-docs from the option tables in config/options.c; change it there. -->\n\n"
    "The file is `/etc/submitd/submitd.ini`, on Windows `%ProgramData%\\submitd\\submitd.ini`; "
    "`--config FILE` names another. `submitd check` reads "
    "it, lists every mistake with its line, and prints what is in effect.\n\n";

bool config_print_reference(struct buf *out)
{
    bool fits = buf_add_str(out, heading);
    for (size_t i = 0; fits && reference_rules[i]; i++)
        fits = buf_addf(out, "- %s\n", reference_rules[i]);
    for (size_t id = 0; fits && id < SECTION_COUNT; id++)
        fits = print_table(&sections[id], out);
    return fits;
}
