/* The command line: one table of subcommands, one of options. */
#include "app/app.h"
#include "base/str.h"
#include "platform/platform.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const struct app_command commands[] = {
    { "run", app_run,
        "relay mail until SIGTERM (SIGHUP: load the configuration again, SIGUSR1: open the log "
        "again)",
        "", 0 },
    { "check", app_check, "check the configuration and print it with every default, secrets masked",
        "", 0 },
    { "doctor", app_doctor, "walk the way to Exchange step by step, from DNS to login", "fta", 0 },
    { "queue", app_queue, "show and change what waits in the spool", "jm", 2 },
    { "version", app_version, "print the version", "", 0 },
};

static const struct option long_options[] = {
    { "config", required_argument, NULL, 'c' },
    { "from", required_argument, NULL, 'f' },
    { "to", required_argument, NULL, 't' },
    { "account", required_argument, NULL, 'a' },
    { "json", no_argument, NULL, 'j' },
    { "message", no_argument, NULL, 'm' },
    { "help", no_argument, NULL, 'h' },
    { NULL, 0, NULL, 0 },
};

static void print_usage(FILE *to)
{
    fprintf(to, "usage: submitd COMMAND [--config FILE] [OPTIONS]\n\ncommands:\n");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].sentence);
    fprintf(to,
        "\noptions:\n"
        "  --config FILE     the configuration (default %s)\n"
        "  --help            this text\n"
        "doctor only:\n"
        "  --account NAME    only this account (default: all)\n"
        "  --from ADDRESS    also ask whether this sender is accepted\n"
        "  --to ADDRESS      with --from: send a real message there\n"
        "queue only:\n"
        "  list [--json]     every message: state, tries, next try, last reply\n"
        "  show ID           all that is known of one [--json], or the message itself [--message]\n"
        "  retry ID|all      try at once, those held and failed, too\n"
        "  hold ID|all       keep back, until: release ID|all\n"
        "  cancel ID|all     remove; nobody is told\n"
        "\nexit status: 0 fine, 1 what was asked about is not fine, 2 usage or configuration "
        "error\n",
        platform_default_config());
}

static const struct app_command *find_command(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

static int complain_about_command(const char *name)
{
    const char *nearest = NULL;
    unsigned best = 3;
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        unsigned d = str_distance(name, commands[i].name, best);
        if (d < best) {
            best = d;
            nearest = commands[i].name;
        }
    }
    fprintf(stderr, "submitd: there is no command '%s'", name);
    fprintf(stderr, nearest ? "; did you mean '%s'?\n" : " (see submitd --help)\n", nearest);
    return APP_USAGE;
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
    if (letter == 'j' || letter == 'm') {
        *(letter == 'j' ? &options->is_json : &options->is_message) = true;
        return -1;
    }
    *(letter == 'c'     ? &options->config
        : letter == 'f' ? &options->from
        : letter == 't' ? &options->to
                        : &options->account) = optarg;
    return -1;
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
    const struct app_command *command = find_command(argv[1]);
    if (!command)
        return complain_about_command(argv[1]);
    struct app_options options = { .config = platform_default_config() };
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
    return command->run(&options);
}
