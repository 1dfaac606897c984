#include "app/manual.h"
#include "app/commands.h"
#include "base/roff.h"

/* ---- what the tables say ---- */

static bool add_option(struct buf *out, const struct app_option *o)
{
    return buf_addf(out, ".TP\n\\fB\\-\\-%s\\fR", o->name) &&
           (!o->argument || buf_addf(out, " \\fI%s\\fR", o->argument)) && buf_add_char(out, '\n') &&
           roff_add(out, o->sentence);
}

static bool add_word(struct buf *out, const struct app_word *w)
{
    return buf_addf(out, ".TP\n\\fB%s\\fR \\fI%s\\fR\n", w->name, w->operands) &&
           roff_add(out, w->sentence);
}

static bool add_command(struct buf *out, unsigned id)
{
    const struct app_command *c = &app_commands[id];
    bool fits = buf_addf(out, ".TP\n\\fB%s\\fR\n", c->name) && roff_add(out, c->sentence) &&
                buf_add_str(out, ".RS\n");
    for (size_t i = 0; fits && i < app_word_count; i++) {
        if ((unsigned)app_words[i].command == id)
            fits = add_word(out, &app_words[i]);
    }
    for (size_t i = 0; fits && i < app_option_row_count; i++) {
        if (strchr(c->options, app_option_rows[i].letter))
            fits = add_option(out, &app_option_rows[i]);
    }
    return fits && buf_add_str(out, ".RE\n");
}

static bool add_commands(struct buf *out)
{
    bool fits = true;
    for (unsigned id = 0; fits && id < APP_COMMAND_COUNT; id++)
        fits = add_command(out, id);
    return fits;
}

static bool add_options(struct buf *out)
{
    bool fits = true;
    for (size_t i = 0; fits && i < app_option_row_count; i++) {
        if (strchr("ch", app_option_rows[i].letter))
            fits = add_option(out, &app_option_rows[i]);
    }
    return fits;
}

/* ---- what they do not ---- */

struct entry {
    const char *tag; /* NULL: a paragraph */
    const char *text;
};

static const struct entry description[] = {
    { NULL,
        "`submitd` takes mail from programs that only speak plain SMTP, and hands it to a "
        "corporate "
        "Exchange server that takes mail only on port 587, over STARTTLS, after a login. Each "
        "answer that a program gets is Exchange's own. What Exchange cannot take just now waits in "
        "a spool and is sent later." },
    { NULL, "Everything is set in one file, submitd.ini(5)." },
    { NULL, NULL },
};

static const struct entry signals[] = {
    { "SIGTERM, SIGINT", "No new clients; what is under way may end (30 seconds), then submitd "
                         "ends. A second one ends it at once." },
    { "SIGHUP", "Loads the configuration again. One with mistakes is not used." },
    { "SIGUSR1", "Opens the log file again, after it was moved away." },
    { NULL, NULL },
};

static const struct entry statuses[] = {
    { "0", "Fine." },
    { "1", "What was asked about is not fine: a step of doctor fails, a message is not there, a "
           "port is in use." },
    { "2", "The command line or the configuration is wrong." },
    { NULL, NULL },
};

static const struct entry environment[] = {
    { "CREDENTIALS_DIRECTORY", "Where systemd puts what LoadCredential= and "
                               "SetCredentialEncrypted= name; a relative password_file begins "
                               "there." },
    { "NOTIFY_SOCKET, WATCHDOG_USEC", "Set by systemd: submitd says when it is ready, reloads and "
                                      "stops, and that it is alive." },
    { "LISTEN_FDS, LISTEN_FDNAMES", "Set by systemd for socket activation: a socket goes to the "
                                    "listener with its address and port." },
    { NULL, NULL },
};

static const struct entry files[] = {
    { "/etc/submitd/submitd.ini", "The configuration." },
    { "/var/lib/submitd/spool.db", "Messages that wait, with two files of SQLite's and a lock "
                                   "beside it." },
    { NULL, NULL },
};

static const struct entry examples[] = {
    { "submitd doctor --from scanner@corp.example --to me@corp.example",
        "Sends a real message, and says at which step it fails and what to do." },
    { "submitd queue list", "What waits, since when, and Exchange's last word on it." },
    { "systemctl reload submitd", "Takes a changed submitd.ini over." },
    { NULL, NULL },
};

static bool add_entries(struct buf *out, const struct entry *entries)
{
    bool fits = true;
    for (const struct entry *e = entries; fits && e->text; e++) {
        fits = e->tag ? buf_add_str(out, ".TP\n.B ") && roff_add(out, e->tag)
                      : buf_add_str(out, ".PP\n");
        fits = fits && roff_add(out, e->text);
    }
    return fits;
}

static const char heading[] = ".TH SUBMITD 8 \"\" \"submitd " SUBMITD_VERSION "\" \"submitd\"\n"
                              ".SH NAME\n"
                              "submitd \\- authenticated submission proxy for corporate Exchange\n"
                              ".SH SYNOPSIS\n"
                              ".B submitd\n"
                              ".I COMMAND\n"
                              "[\\fB\\-\\-config\\fR \\fIFILE\\fR] [\\fIOPTIONS\\fR]\n";

bool app_print_manual(struct buf *out)
{
    const struct {
        const char *heading;
        bool (*add)(struct buf *out);
        const struct entry *entries;
    } parts[] = {
        { "DESCRIPTION", NULL, description },
        { "COMMANDS", add_commands, NULL },
        { "OPTIONS", add_options, NULL },
        { "SIGNALS", NULL, signals },
        { "EXIT STATUS", NULL, statuses },
        { "ENVIRONMENT", NULL, environment },
        { "FILES", NULL, files },
        { "EXAMPLES", NULL, examples },
    };
    bool fits = buf_add_str(out, heading);
    for (size_t i = 0; fits && i < ARRAY_LEN(parts); i++)
        fits = buf_addf(out, ".SH %s\n", parts[i].heading) &&
               (parts[i].add ? parts[i].add(out) : add_entries(out, parts[i].entries));
    return fits && buf_add_str(out, ".SH SEE ALSO\n.BR submitd.ini (5),\n.BR systemctl (1),\n"
                                    ".BR systemd\\-creds (1)\n");
}
