/* The command line: parsed by the tables of commands.c. */
#include "app/app.h"
#include "app/commands.h"
#include "base/str.h"
#include "platform/platform.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static app_command_fn *const functions[APP_COMMAND_COUNT] = {
    [APP_RUN] = app_run,
    [APP_CHECK] = app_check,
    [APP_DOCTOR] = app_doctor,
    [APP_QUEUE] = app_queue,
    [APP_SECRET] = app_secret,
    [APP_SERVICE] = app_service,
    [APP_VERSION] = app_version,
};

enum { LONG_OPTIONS_MAX = 32, HELP_WIDTH = 17 };

/* ---- help ---- */

static void print_option(const struct app_option *o, FILE *to)
{
    int shown =
        fprintf(to, "  --%s%s%s", o->name, o->argument ? " " : "", o->argument ? o->argument : "") -
        2;
    fprintf(to, "%*s %s", shown < HELP_WIDTH ? HELP_WIDTH - shown : 0, "", o->sentence);
    if (o->letter == 'c')
        fprintf(to, " (default %s)", platform_default_config());
    fprintf(to, "\n");
}

static void print_word(const struct app_word *w, FILE *to)
{
    int shown =
        fprintf(to, "  %s%s%s", w->name, w->operands[0] != '\0' ? " " : "", w->operands) - 2;
    fprintf(to, "%*s %s\n", shown < HELP_WIDTH ? HELP_WIDTH - shown : 0, "", w->sentence);
}

/* What only this command understands. */
static void print_own(enum app_command_id id, FILE *to)
{
    bool has_heading = false;
    for (size_t i = 0; i < app_option_row_count; i++) {
        if (!strchr(app_commands[id].options, app_option_rows[i].letter))
            continue;
        fprintf(
            to, "%s%s", has_heading ? "" : app_commands[id].name, has_heading ? "" : " only:\n");
        has_heading = true;
        print_option(&app_option_rows[i], to);
    }
    for (size_t i = 0; i < app_word_count; i++) {
        if (app_words[i].command != id)
            continue;
        fprintf(
            to, "%s%s", has_heading ? "" : app_commands[id].name, has_heading ? "" : " only:\n");
        has_heading = true;
        print_word(&app_words[i], to);
    }
}

static void print_usage(FILE *to)
{
    fprintf(to, "usage: submitd COMMAND [--config FILE] [OPTIONS]\n\ncommands:\n");
    for (size_t i = 0; i < APP_COMMAND_COUNT; i++)
        fprintf(to, "  %-8s %s\n", app_commands[i].name, app_commands[i].sentence);
    fprintf(to, "\noptions:\n");
    for (size_t i = 0; i < app_option_row_count; i++) {
        if (strchr("ch", app_option_rows[i].letter))
            print_option(&app_option_rows[i], to);
    }
    for (unsigned id = 0; id < APP_COMMAND_COUNT; id++)
        print_own((enum app_command_id)id, to);
    fprintf(to,
        "\nexit status: 0 fine, 1 what was asked about is not fine, 2 usage or configuration "
        "error\n");
}

/* ---- parsing ---- */

/* The command's place in the table; APP_COMMAND_COUNT: there is none of this name. */
static size_t find_command(const char *name)
{
    size_t i = 0;
    while (i < APP_COMMAND_COUNT && strcmp(app_commands[i].name, name) != 0)
        i++;
    return i;
}

static int complain_about_command(const char *name)
{
    const char *nearest = NULL;
    unsigned best = 3;
    for (size_t i = 0; i < APP_COMMAND_COUNT; i++) {
        unsigned d = str_distance(name, app_commands[i].name, best);
        if (d < best) {
            best = d;
            nearest = app_commands[i].name;
        }
    }
    fprintf(stderr, "submitd: there is no command '%s'", name);
    fprintf(stderr, nearest ? "; did you mean '%s'?\n" : " (see submitd --help)\n", nearest);
    return APP_USAGE;
}

static const char **text_option(int letter, struct app_options *options)
{
    switch (letter) {
    case 'f':
        return &options->from;
    case 't':
        return &options->to;
    case 'a':
        return &options->account;
    case 'H':
        return &options->host;
    case 'u':
        return &options->username;
    default:
        return &options->config;
    }
}

/* NULL: it has a value. */
static bool *flag_option(int letter, struct app_options *options)
{
    switch (letter) {
    case 'j':
        return &options->is_json;
    case 'm':
        return &options->is_message;
    case 'l':
        return &options->is_login;
    default:
        return NULL;
    }
}

/* -1: go on; else the exit status. */
static int take_option(const struct app_command *command, int letter, struct app_options *options)
{
    if (letter == 'h') {
        print_usage(stdout);
        return APP_FINE;
    }
    if (letter == '?' || (letter != 'c' && !strchr(command->options, letter))) {
        fprintf(stderr, "submitd %s: this option is not one of its own (see submitd --help)\n",
            command->name);
        return APP_USAGE;
    }
    if (flag_option(letter, options)) {
        *flag_option(letter, options) = true;
        return -1;
    }
    *text_option(letter, options) = optarg;
    options->has_config = options->has_config || letter == 'c';
    return -1;
}

static void make_long_options(struct option options[LONG_OPTIONS_MAX])
{
    for (size_t i = 0; i < app_option_row_count && i + 1 < LONG_OPTIONS_MAX; i++)
        options[i] = (struct option){ .name = app_option_rows[i].name,
            .has_arg = app_option_rows[i].argument ? required_argument : no_argument,
            .val = app_option_rows[i].letter };
}

int main(int argc, char **argv)
{
    platform_start(&argc, &argv);
    if (argc < 2) {
        print_usage(stderr);
        return APP_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_usage(stdout);
        return APP_FINE;
    }
    if (strcmp(argv[1], "--version") == 0)
        return app_version(NULL);
    size_t id = find_command(argv[1]);
    if (id == APP_COMMAND_COUNT)
        return complain_about_command(argv[1]);
    const struct app_command *command = &app_commands[id];
    struct app_options options = { .config = platform_default_config() };
    struct option long_options[LONG_OPTIONS_MAX] = { 0 };
    make_long_options(long_options);
    int letter;
    while ((letter = getopt_long(argc - 1, argv + 1, "c:h", long_options, NULL)) != -1) {
        int status = take_option(command, letter, &options);
        if (status >= 0)
            return status;
    }
    options.operands = argv + 1 + optind;
    options.operand_count = argc - 1 - optind;
    if (options.operand_count > command->operands_max) {
        fprintf(stderr, "submitd %s: unexpected argument '%s'\n", command->name,
            options.operands[command->operands_max]);
        return APP_USAGE;
    }
    platform_protect_memory();
    return functions[id](&options);
}
