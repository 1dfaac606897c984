/*
 * What the subcommands share: exit codes, options and operands.
 * commands.c has their table; each cmd_*.c is one subcommand.
 */
#ifndef SUBMITD_APP_APP_H
#define SUBMITD_APP_APP_H

#include "relay/setup.h"

enum app_exit {
    APP_FINE = 0,
    APP_NOT_FINE = 1, /* what was asked about is not fine */
    APP_USAGE = 2,    /* the command line or the configuration is wrong */
};

struct app_options {
    const char *config;          /* never NULL */
    bool has_config;             /* it was given, and is not the default */
    const char *from, *to;       /* doctor: NULL when not given */
    const char *account;         /* doctor: NULL: all */
    const char *host, *username; /* service install: NULL when not given */
    bool is_login;               /* doctor: also with a login that was refused before */
    bool is_json;                /* queue list, show */
    bool is_message;             /* queue show: the message itself */
    char **operands;             /* what follows the command and is no option */
    int operand_count;
};

typedef int app_command_fn(const struct app_options *options);

app_command_fn app_run, app_check, app_doctor, app_queue, app_secret, app_service, app_version;
/* service run: what Windows starts. */
int app_run_service(const struct app_options *options);

/* Loads and prints the problems to stderr; NULL: they are errors. */
struct setup *app_load(const char *file);

#endif
