/*
 * The command line as data: the subcommands, their words and their options. `--help`, the manual
 * page and the shell's completion are made of it; main.c knows which function runs which. It does
 * nothing by itself.
 */
#ifndef SUBMITD_APP_COMMANDS_H
#define SUBMITD_APP_COMMANDS_H

#include <stddef.h>

enum app_command_id {
    APP_RUN,
    APP_CHECK,
    APP_DOCTOR,
    APP_QUEUE,
    APP_SECRET,
    APP_SERVICE,
    APP_VERSION
};
enum { APP_COMMAND_COUNT = APP_VERSION + 1 };

struct app_command {
    const char *name;
    const char *sentence; /* for --help */
    const char *options;  /* the letters of app_options_table it takes beside c and h */
    int operands_max;     /* how many operands it takes at most */
};

/* An option; `letter` is also getopt's value for it. */
struct app_option {
    char letter;
    const char *name;
    const char *argument; /* its name in the help; NULL: it takes none */
    const char *sentence;
};

/* What a command with words understands: "queue list". */
struct app_word {
    enum app_command_id command;
    const char *name;
    const char *operands; /* as shown behind the name; "" : none */
    const char *sentence;
};

extern const struct app_command app_commands[APP_COMMAND_COUNT];
extern const struct app_option app_option_rows[];
extern const size_t app_option_row_count;
extern const struct app_word app_words[];
extern const size_t app_word_count;

#endif
