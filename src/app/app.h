/*
 * What the subcommands share: their table's row, exit codes, and the --config option.
 * main.c owns the table; each cmd_*.c is one subcommand.
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
    const char *config;    /* never NULL */
    const char *from, *to; /* doctor: NULL when not given */
    const char *account;   /* doctor: NULL: all */
};

typedef int app_command_fn(const struct app_options *options);

struct app_command {
    const char *name;
    app_command_fn *run;
    const char *sentence; /* for --help */
    const char *options;  /* the getopt letters it takes beside c and h */
};

app_command_fn app_run, app_check, app_doctor, app_version;

/* Loads and prints the problems to stderr; NULL: they are errors. */
struct setup *app_load(const char *file);

#endif
