#include "sandbox/store.h"

#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct store {
    char *dir;          /* NULL: discard */
    uint64_t last;      /* number of the last message kept */
    uint64_t temporary; /* number of the last temporary file */
    struct store_counters counters;
};

struct message {
    struct store *store;
    json_t *envelope;   /* NULL: discard */
    json_t *recipients; /* inside envelope */
    char *path;         /* of the text while it comes */
    int fd;
    bool has_failed;
};

static uint64_t last_number(DIR *d)
{
    uint64_t last = 0;
    for (const struct dirent *entry; (entry = readdir(d));) {
        struct slice name = slice_str(entry->d_name);
        unsigned long long n;
        const char *dot = strchr(entry->d_name, '.');
        if (dot && slice_to_u64(slice_of(name.p, (size_t)(dot - name.p)), &n) && n > last)
            last = n;
    }
    return last;
}

bool store_new(const char *dir, struct store **ret_store, struct err *e)
{
    struct store *store = calloc(1, sizeof *store);
    if (!store)
        return err_set(e, ERR_MEMORY, "out of memory");
    if (dir) {
        DIR *d = mkdir(dir, 0700) == 0 || errno == EEXIST ? opendir(dir) : NULL;
        if (!d) {
            free(store);
            return err_set(e, ERR_IO, "cannot make or read '%s': %s", dir, strerror(errno));
        }
        store->last = last_number(d);
        store->dir = str_dup(dir);
        closedir(d);
        if (!store->dir) {
            free(store);
            return err_set(e, ERR_MEMORY, "out of memory");
        }
    }
    *ret_store = store;
    return true;
}

void store_free(struct store *store)
{
    if (!store)
        return;
    free(store->dir);
    free(store);
}

struct store_counters *store_counters(struct store *store)
{
    return &store->counters;
}

void store_print_counters(const struct store *store)
{
    const struct store_counters *c = &store->counters;
    printf("{\"messages\": %" PRIu64 ", \"octets\": %" PRIu64 ", \"sessions\": %" PRIu64
           ", \"logins\": %" PRIu64 ", \"refused_logins\": %" PRIu64 "}\n",
        c->messages, c->octets, c->sessions, c->logins, c->refused_logins);
    fflush(stdout);
}

/* Peers' bytes: what is not UTF-8 is shown as in the traces. */
static json_t *json_bytes(struct slice s)
{
    json_t *json = json_stringn(s.p ? s.p : "", s.n);
    if (json)
        return json;
    struct buf text;
    buf_init(&text, 6 * s.n + 1);
    str_add_printable(&text, s);
    json = json_stringn(buf_slice(&text).p, text.len);
    buf_fini(&text);
    return json;
}

/* A parameter that was given; nothing for one that was not. */
static bool set_given(json_t *object, const char *key, struct slice value)
{
    return value.n == 0 || json_object_set_new(object, key, json_bytes(value)) == 0;
}

static const char *body_name(enum smtp_body body)
{
    switch (body) {
    case SMTP_BODY_UNSAID:
        return NULL;
    case SMTP_BODY_7BIT:
        return "7BIT";
    case SMTP_BODY_8BITMIME:
        return "8BITMIME";
    }
    return NULL;
}

static bool set_mail(struct message *message, const struct smtp_mail *mail)
{
    json_t *json = json_object();
    message->envelope = json;
    message->recipients = json_array();
    json_t *params = json_object();
    return json && json_object_set_new(json, "from", json_bytes(mail->from.mailbox)) == 0 &&
           json_object_set_new(json, "recipients", message->recipients) == 0 &&
           json_object_set_new(json, "mail_params", params) == 0 &&
           (mail->size == 0 ||
               json_object_set_new(params, "SIZE", json_integer((json_int_t)mail->size)) == 0) &&
           set_given(params, "BODY", slice_str(body_name(mail->body))) &&
           (!mail->smtputf8 || json_object_set_new(params, "SMTPUTF8", json_true()) == 0) &&
           set_given(params, "RET", mail->ret) && set_given(params, "ENVID", mail->envid) &&
           set_given(params, "AUTH", mail->auth);
}

static bool open_text(struct message *message)
{
    struct store *store = message->store;
    message->path =
        str_format("%s/.%ld-%" PRIu64 ".tmp", store->dir, (long)getpid(), ++store->temporary);
    message->fd =
        message->path ? open(message->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    return message->fd >= 0;
}

struct message *message_new(struct store *store, const struct smtp_mail *mail)
{
    struct message *message = calloc(1, sizeof *message);
    if (!message)
        return NULL;
    message->store = store;
    message->fd = -1;
    if (store->dir && (!set_mail(message, mail) || !open_text(message))) {
        message_drop(message);
        return NULL;
    }
    return message;
}

bool message_add_recipient(struct message *message, const struct smtp_rcpt *rcpt)
{
    if (!message)
        return false;
    if (!message->envelope)
        return true;
    json_t *json = json_object();
    message->has_failed =
        message->has_failed || json_array_append_new(message->recipients, json) != 0 ||
        json_object_set_new(json, "address", json_bytes(rcpt->to.mailbox)) != 0 ||
        !set_given(json, "NOTIFY", rcpt->notify) || !set_given(json, "ORCPT", rcpt->orcpt);
    return !message->has_failed;
}

static bool write_all(int fd, struct slice text)
{
    while (text.n > 0) {
        ssize_t n = write(fd, text.p, text.n);
        if (n < 0 && errno != EINTR)
            return false;
        text = slice_skip(text, n > 0 ? (size_t)n : 0);
    }
    return true;
}

bool message_add_text(struct message *message, struct slice text)
{
    if (!message)
        return false;
    if (!message->envelope)
        return true;
    message->has_failed = message->has_failed || !write_all(message->fd, text);
    return !message->has_failed;
}

static json_t *json_time(int64_t seconds)
{
    time_t t = (time_t)seconds;
    struct tm utc;
    char text[32] = "";
    if (gmtime_r(&t, &utc))
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    return json_string(text);
}

static bool set_facts(json_t *json, const struct message_facts *facts, uint64_t number)
{
    char address[IP_TEXT_MAX];
    ip_format(facts->client, address);
    json_t *more =
        json_pack("{s:I, s:s?, s:s?, s:b, s:b, s:s?, s:s?, s:s, s:I, s:o, s:o, s:s, s:i, s:I}",
            "number", (json_int_t)number, "account", facts->account, "mechanism", facts->mechanism,
            "channel_binding", facts->has_binding, "channel_binding_verified", facts->is_bound,
            "tls_version", facts->tls_version, "tls_cipher", facts->tls_cipher, "protocol",
            facts->protocol, "size", (json_int_t)facts->size, "time", json_time(facts->time),
            "helo", json_bytes(slice_str(facts->helo)), "client_address", address, "client_port",
            (int)facts->client_port, "session", (json_int_t)facts->session);
    bool is_set = more && json_object_update(json, more) == 0;
    json_decref(more);
    return is_set;
}

/* Text first, envelope last: who sees N.json finds both complete. */
static bool keep(struct message *message, const struct message_facts *facts)
{
    struct store *store = message->store;
    uint64_t number = store->last + 1;
    char *text = str_format("%s/%" PRIu64 ".eml", store->dir, number);
    char *envelope = str_format("%s/%" PRIu64 ".json", store->dir, number);
    char *draft = str_format("%s/.%" PRIu64 ".json.tmp", store->dir, number);
    bool is_kept =
        text && envelope && draft && set_facts(message->envelope, facts, number) &&
        json_dump_file(message->envelope, draft, JSON_INDENT(2) | JSON_PRESERVE_ORDER) == 0 &&
        rename(message->path, text) == 0 && rename(draft, envelope) == 0;
    if (is_kept)
        store->last = number;
    free(text);
    free(envelope);
    free(draft);
    return is_kept;
}

bool message_commit(struct message *message, const struct message_facts *facts)
{
    if (!message)
        return false;
    struct store *store = message->store;
    bool is_kept = !message->has_failed && (!message->envelope || keep(message, facts));
    message_drop(message);
    if (!is_kept)
        return false;
    store->counters.messages++;
    store->counters.octets += facts->size;
    return true;
}

void message_drop(struct message *message)
{
    if (!message)
        return;
    if (message->fd >= 0)
        close(message->fd);
    if (message->path)
        unlink(message->path);
    free(message->path);
    json_decref(message->envelope);
    free(message);
}
