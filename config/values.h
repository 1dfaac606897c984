/*
 * The kinds of values that options have: how each is read from text, shown, explained and freed.
 * A kind is a constant; the fields it works on live in the structs of config.h and belong to them.
 * No kind ever puts a value into an error: the caller knows whether it may be shown.
 */
#ifndef SUBMITD_CONFIG_VALUES_H
#define SUBMITD_CONFIG_VALUES_H

#include "base/buf.h"
#include "base/err.h"

struct option;

struct value_kind {
    /* `text` is trimmed. A list adds to what the field holds, all others find it empty (zero). */
    bool (*parse)(const struct option *o, struct slice text, void *field, struct err *e);
    /* In the form that parse reads. */
    bool (*print)(const struct option *o, const void *field, struct buf *out);
    /* What is allowed; goes on with "must be ...". */
    bool (*allowed)(const struct option *o, struct buf *out);
    /* Frees what the field owns and sets it to zero; NULL when there is nothing to free. */
    void (*fini)(void *field);
    bool is_list;          /* may go on in indented lines */
    bool takes_whole_line; /* losing the part behind " ;" as a comment would change it silently */
};

/* For the kinds: "must be" and what is allowed. Both return false. */
bool value_refuse(const struct option *o, struct err *e);
bool value_out_of_memory(struct err *e);
/* True for /x, \x and C:\x: a path that does not depend on where the program was started. */
bool value_is_full_path(struct slice text);

/* A host name or an IP address; "" is one, too: an option that is not set. */
bool value_is_host(struct slice text);

/* values_text.c */
extern const struct value_kind value_text;      /* char *: anything */
extern const struct value_kind value_command;   /* char *: a shell's line */
extern const struct value_kind value_path;      /* char * */
extern const struct value_kind value_host;      /* char *: a name or an address */
extern const struct value_kind value_mailbox;   /* char *: user@domain */
extern const struct value_kind value_pin;       /* char *: sha256:BASE64 */
extern const struct value_kind value_target;    /* char *: where a log goes */
extern const struct value_kind value_word;      /* char *: one of option.words */
extern const struct value_kind value_choice;    /* an enum: the index into option.words */
extern const struct value_kind value_secret;    /* struct secret * */
extern const struct value_kind value_protected; /* struct secret *: base64, over several lines */
/* values_number.c */
extern const struct value_kind value_address; /* struct ip_addr */
extern const struct value_kind value_port;    /* uint16_t */
extern const struct value_kind value_count;   /* unsigned */
extern const struct value_kind value_size;    /* uint64_t, octets */
extern const struct value_kind value_time;    /* uint64_t, milliseconds */
extern const struct value_kind value_rate;    /* struct config_rate */
/* values_list.c */
extern const struct value_kind value_nets;  /* struct config_nets */
extern const struct value_kind value_globs; /* struct config_globs */
/* values_hosts.c */
extern const struct value_kind value_hosts; /* struct config_hosts; all in one line */

#endif
