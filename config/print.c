#include "config/options.h"

/* document.c refuses longer lines; a value that fitted tightly must be printed tightly. */
enum { LINE_SIZE_MAX = 198 };

/* A password is printed (as ***) only when it was in the INI file: masked twice it would not load.
 */
static bool is_printed(const struct option *o, const void *base)
{
    const struct config_account *account = base;
    return !o->is_secret ||
           (account->password_source && strcmp(account->password_source, "password") == 0);
}

static bool print_option(const struct option *o, void *base, struct buf *out)
{
    struct buf value;
    buf_init(&value, out->max);
    o->kind->print(o, option_field(o, base), &value);
    size_t loose = strlen(o->name) + strlen(" = ") + value.len;
    bool is_tight = loose > LINE_SIZE_MAX && !o->kind->is_list;
    bool fits = !value.failed && buf_addf(out, "%s%s%s\n", o->name,
                                     is_tight        ? "="
                                     : value.len > 0 ? " = "
                                                     : " =",
                                     buf_cstr(&value));
    buf_fini(&value);
    return fits;
}

static bool print_section(
    const struct section *s, const struct config *c, size_t i, struct buf *out)
{
    void *base = section_at(s, c, i);
    const char *name = s->is_many ? *(char **)base : "";
    bool fits = buf_addf(
        out, "%s[%s%s%s]\n", out->len > 0 ? "\n" : "", s->name, name[0] != '\0' ? " " : "", name);
    for (size_t row = 0; fits && row < s->count; row++) {
        if (is_printed(&s->options[row], base))
            fits = print_option(&s->options[row], base, out);
    }
    return fits;
}

bool config_print(const struct config *c, struct buf *out)
{
    bool fits = true;
    for (size_t id = 0; id < SECTION_COUNT; id++) {
        for (size_t i = 0; fits && i < section_count(&sections[id], c); i++)
            fits = print_section(&sections[id], c, i, out);
    }
    return fits;
}

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

static const char introduction[] =
    "# Configuration\n\n"
    "<!-- Made by submitd-docs from the option tables in config/options.c; change it there. -->\n\n"
    "The file is `/etc/submitd/submitd.ini`, on Windows `%ProgramData%\\submitd\\submitd.ini`; "
    "`--config FILE` names another. `submitd check` reads "
    "it, lists every "
    "mistake with its line, and prints what is in effect.\n\n"
    "- The file is UTF-8 text. A line is at most 198 bytes long.\n"
    "- `; text` or `# text` at the start of a line is a comment. Behind a value, a comment begins "
    "with a blank and "
    "a semicolon: `port = 587 ; submission`. A password that has a blank and a semicolon in it "
    "therefore "
    "goes into a `password_file`.\n"
    "- Lists are separated by commas and may go on in the following lines when those are indented. "
    "Nothing else may "
    "be indented below an option.\n"
    "- Times have a unit: `250ms`, `30s`, `5m`, `2h`, `3d`. Sizes may have one: `10K`, `150M`, "
    "`2G` (1K is 1024 "
    "octets).\n"
    "- Quotes have no meaning and become part of the value.\n"
    "- Sections and options that are not known, and options that are there twice, are errors.\n"
    "- After a change, `systemctl reload submitd` (SIGHUP) takes the file over. A file with "
    "mistakes is not used: "
    "the old configuration stays, and the log says why.\n";

bool config_print_reference(struct buf *out)
{
    bool fits = buf_add_str(out, introduction);
    for (size_t id = 0; fits && id < SECTION_COUNT; id++)
        fits = print_table(&sections[id], out);
    return fits;
}
