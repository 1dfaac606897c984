#include "app/commands.h"
#include "app/manual.h"

static bool takes(const struct app_command *c, const struct app_option *o)
{
    return strchr("ch", o->letter) || strchr(c->options, o->letter);
}

/* One line of the case statement: what may follow this command. */
static bool add_command(struct buf *out, unsigned id)
{
    const struct app_command *c = &app_commands[id];
    bool fits = buf_addf(out, "    %s) words='", c->name);
    for (size_t i = 0; fits && i < app_word_count; i++) {
        if ((unsigned)app_words[i].command == id)
            fits = buf_addf(out, "%s ", app_words[i].name);
    }
    for (size_t i = 0; fits && i < app_option_row_count; i++) {
        if (takes(c, &app_option_rows[i]))
            fits = buf_addf(out, "--%s ", app_option_rows[i].name);
    }
    return fits && buf_add_str(out, "' ;;\n");
}

bool app_print_completion(struct buf *out)
{
    bool fits = buf_add_str(out,
        "# bash completion for submitd; made of its tables.\n"
        "_submitd() {\n"
        "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words=\n"
        "    COMPREPLY=()\n"
        "    case $before in\n"
        "    --config) compopt -o filenames 2>/dev/null\n"
        "        mapfile -t COMPREPLY < <(compgen -f -- \"$word\"); return ;;\n");
    for (size_t i = 0; fits && i < app_option_row_count; i++) {
        if (app_option_rows[i].argument && app_option_rows[i].letter != 'c')
            fits = buf_addf(out, "    --%s) return ;;\n", app_option_rows[i].name);
    }
    fits = fits && buf_add_str(out, "    esac\n    case ${COMP_WORDS[1]} in\n");
    for (unsigned id = 0; fits && id < APP_COMMAND_COUNT; id++)
        fits = add_command(out, id);
    fits = fits && buf_add_str(out, "    esac\n    [ \"$COMP_CWORD\" != 1 ] || words='");
    for (unsigned id = 0; fits && id < APP_COMMAND_COUNT; id++)
        fits = buf_addf(out, "%s ", app_commands[id].name);
    return fits && buf_add_str(out, "--help --version'\n"
                                    "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- "
                                    "\"$word\")\n"
                                    "}\n"
                                    "complete -F _submitd submitd\n");
}
