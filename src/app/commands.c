#include "app/commands.h"
#include "base/slice.h"

const struct app_command app_commands[APP_COMMAND_COUNT] = {
    [APP_RUN] = { "run",
        "relay mail until SIGTERM (SIGHUP: load the configuration again, SIGUSR1: open the log "
        "again)",
        "", 0 },
    [APP_CHECK] = { "check",
        "check the configuration and print it with every default, secrets masked", "", 0 },
    [APP_DOCTOR] = { "doctor", "walk the way to Exchange step by step, from DNS to login", "ftal",
        0 },
    [APP_QUEUE] = { "queue", "show and change what waits in the spool", "jm", 2 },
    [APP_SECRET] = { "secret", "encrypt a password, so that only the service can read it", "", 2 },
    [APP_SERVICE] = { "service", "Windows: install, start and stop the service", "Hu", 1 },
    [APP_VERSION] = { "version", "print the version", "", 0 },
};

const struct app_option app_option_rows[] = {
    { 'c', "config", "FILE", "the configuration" },
    { 'h', "help", NULL, "this text" },
    { 'a', "account", "NAME", "only this account (default: all)" },
    { 'f', "from", "ADDRESS", "also ask whether this sender is accepted" },
    { 't', "to", "ADDRESS", "with --from: send a real message there" },
    { 'l', "login", NULL, "log in although logins of this account are paused; it may lock it" },
    { 'j', "json", NULL, "list and show: as JSON, for scripts" },
    { 'H', "host", "NAME", "install: the server, for an INI file that has none yet" },
    { 'u', "username", "NAME", "install: the login; - is the account of the service itself" },
    { 'm', "message", NULL, "show: the message itself" },
};
const size_t app_option_row_count = ARRAY_LEN(app_option_rows);

const struct app_word app_words[] = {
    { APP_QUEUE, "list", "", "every message: state, tries, next try, last reply" },
    { APP_QUEUE, "show", "ID", "all that is known of one" },
    { APP_QUEUE, "retry", "ID|all", "try at once, those held and failed, too" },
    { APP_QUEUE, "hold", "ID|all", "keep back, until it is released" },
    { APP_QUEUE, "release", "ID|all", "end a hold" },
    { APP_QUEUE, "cancel", "ID|all", "remove; nobody is told" },
    { APP_SECRET, "protect", "[NAME]",
        "read a password from the terminal or standard input, print the lines to configure" },
    { APP_SERVICE, "install", "", "make the service and, when there is none, the INI file" },
    { APP_SERVICE, "uninstall", "", "stop and remove it; an edited INI file and the spool stay" },
    { APP_SERVICE, "start", "", "start it, unless the configuration has errors" },
    { APP_SERVICE, "stop", "", "let what is under way end, and stop it" },
    { APP_SERVICE, "reload", "", "have it load the configuration again" },
    { APP_SERVICE, "status", "", "its state, account and program; exit status 0: it runs" },
};
const size_t app_word_count = ARRAY_LEN(app_words);
