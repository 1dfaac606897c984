/* submitd service: the Windows service and the files of a new installation. */
#include "app/app.h"
#include "config/edit.h"
#include "config/load.h"
#include "platform/service.h"

#include <stdio.h>
#include <stdlib.h>

enum { INI_SIZE_MAX = 1 << 20, STATUS_MAX = 16 * 1024, EDITS = 2 };

static int fail(int status, const char *why)
{
    fprintf(stderr, "submitd service: %s\n", why);
    return status;
}

/* --- the INI file --- */

/* An installer's property that nobody set comes as an empty word. */
static const char *given(const char *word)
{
    return word && word[0] != '\0' ? word : NULL;
}

/* What an installer fills in. The old values are those of config/submitd.ini. */
static void make_edits(const struct app_options *options, struct config_edit edits[EDITS])
{
    const char *username = given(options->username);
    bool is_own = username && strcmp(username, "-") == 0;
    edits[0] =
        (struct config_edit){ "upstream", "host", "mail.corp.example", given(options->host) };
    edits[1] =
        (struct config_edit){ "account", "username", "CORP\\svc-mail", is_own ? "" : username };
}

static bool check_edits(const struct config_edit edits[EDITS], struct err *e)
{
    bool is_fine = true;
    for (size_t i = 0; is_fine && i < EDITS; i++)
        is_fine =
            !edits[i].value || config_allows(edits[i].section, edits[i].key, edits[i].value, e);
    return is_fine;
}

/* Takes `text` away; false when it would grow too long. */
static bool apply_edits(const struct config_edit edits[EDITS], struct buf *text)
{
    bool fits = true;
    for (size_t i = 0; fits && i < EDITS; i++) {
        struct buf next;
        if (!edits[i].value)
            continue;
        buf_init_secret(&next, INI_SIZE_MAX);
        fits = config_edit(buf_slice(text), &edits[i], &next);
        buf_fini(text);
        *text = next;
    }
    return fits;
}

/* The file that is there, or the sample. */
static bool read_ini(const char *path, struct buf *out, struct err *e)
{
    if (!service_file_exists(path))
        return buf_add_slice(out, service_sample()) || err_set(e, ERR_MEMORY, "memory ran out");
    return load_read_file(path, out, e) || err_prefix(e, "%s", path);
}

static bool put_ini(const char *path, const struct config_edit edits[EDITS], struct err *e)
{
    struct buf old, text;
    buf_init_secret(&old, INI_SIZE_MAX);
    buf_init_secret(&text, INI_SIZE_MAX);
    bool is_new = !service_file_exists(path);
    bool is_done = read_ini(path, &old, e);
    if (is_done && (!buf_add_slice(&text, buf_slice(&old)) || !apply_edits(edits, &text)))
        is_done = err_set(e, ERR_LIMIT, "%s is too long", path);
    if (is_done && (is_new || !slice_eq(buf_slice(&old), buf_slice(&text))))
        is_done = service_write_file(path, buf_slice(&text), e);
    if (is_done)
        printf("configuration: %s (%s)\n", path, is_new ? "new" : "there already");
    buf_fini(&old);
    buf_fini(&text);
    return is_done;
}

static bool is_unedited(const char *path)
{
    struct buf text;
    struct err ignored;
    buf_init_secret(&text, INI_SIZE_MAX);
    bool is_same = service_file_exists(path) && load_read_file(path, &text, &ignored) &&
                   slice_eq(buf_slice(&text), service_sample());
    buf_fini(&text);
    return is_same;
}

/* --- the words --- */

static int install(const struct app_options *options)
{
    struct config_edit edits[EDITS];
    struct err why;
    make_edits(options, edits);
    if (!value_is_full_path(slice_str(options->config)))
        return fail(APP_USAGE, "--config must be a full path: a service starts in no folder");
    if (!check_edits(edits, &why))
        return fail(APP_USAGE, why.text);
    if (!service_install(options->config, &why) || !put_ini(options->config, edits, &why))
        return fail(APP_NOT_FINE, why.text);
    printf("service: submitd is installed and starts with Windows\n"
           "next: fill in the configuration; then submitd check, submitd doctor, submitd service "
           "start\n");
    return APP_FINE;
}

static int uninstall(const struct app_options *options)
{
    struct err why;
    if (!service_uninstall(&why))
        return fail(APP_NOT_FINE, why.text);
    service_remove(is_unedited(options->config) ? options->config : NULL);
    printf("service: submitd is removed\n");
    if (service_file_exists(options->config))
        printf("kept: %s and what waits in the spool\n", options->config);
    return APP_FINE;
}

/* Whoever types the command sees what is wrong; the event log would have it, too. */
static bool is_configured(const char *file)
{
    struct setup *setup = app_load(file);
    setup_unref(setup);
    return setup != NULL;
}

static int finish(bool is_done, const char *said, const struct err *why)
{
    if (!is_done)
        return fail(why->kind == ERR_CONFIG ? APP_USAGE : APP_NOT_FINE, why->text);
    printf("service: submitd %s\n", said);
    return APP_FINE;
}

static int start(const struct app_options *options)
{
    struct err why;
    if (!is_configured(options->config))
        return fail(APP_USAGE, "not started, because the configuration has errors");
    return finish(service_start(&why), "runs", &why);
}

static int stop(const struct app_options *options)
{
    (void)options;
    struct err why;
    return finish(service_stop(&why), "is stopped", &why);
}

static int reload(const struct app_options *options)
{
    struct err why;
    if (!is_configured(options->config))
        return fail(APP_USAGE, "not reloaded, because the configuration has errors");
    return finish(service_reload(&why), "loads its configuration again", &why);
}

static int status(const struct app_options *options)
{
    (void)options;
    struct buf out;
    struct err why;
    bool is_running = false;
    buf_init(&out, STATUS_MAX);
    bool is_there = service_describe(&out, &is_running, &why);
    fputs(buf_cstr(&out), stdout);
    buf_fini(&out);
    if (!is_there)
        return fail(APP_NOT_FINE, why.text);
    return is_running ? APP_FINE : APP_NOT_FINE;
}

static const struct {
    const char *name;
    app_command_fn *run;
} words[] = {
    { "install", install }, { "uninstall", uninstall }, { "start", start }, { "stop", stop },
    { "reload", reload }, { "status", status },
    { "run", app_run_service }, /* for the manager only, and not in the help */
};

/* Without --config every word is about the file that the service has: an installer that brings the
 * program up to date does not know which one that is. */
static int run_word(app_command_fn *run, const struct app_options *options)
{
    struct app_options own = *options;
    char *config = options->has_config ? NULL : service_config();
    own.config = config ? config : options->config;
    int status = run(&own);
    free(config);
    return status;
}

int app_service(const struct app_options *options)
{
    const char *name = options->operand_count > 0 ? options->operands[0] : "";
    struct err why;
    if (!service_has_manager(&why))
        return fail(APP_USAGE, why.text);
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(words[i].name, name) == 0)
            return run_word(words[i].run, options);
    }
    return fail(
        APP_USAGE, "write: submitd service install, uninstall, start, stop, reload or status");
}
