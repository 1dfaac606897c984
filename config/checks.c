#include "config/load.h"
#include "base/str.h"
#include "platform/platform.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- listeners ---- */

static void check_allow(struct load *l, size_t i)
{
    struct config_listener *listener = &l->config->listeners[i];
    struct err e;
    for (size_t k = 0; k < listener->allow.count; k++) {
        if (listener->allow.items[k].prefix == 0)
            load_warn(l, load_spot(l, SECTION_LISTENER, i, "allow"),
                "everyone who can reach this address may send with your accounts");
    }
    if (listener->allow.count > 0 || load_is_given(l, SECTION_LISTENER, i, "allow"))
        return;
    if (listener->address.len == 0)
        return; /* it was refused */
    if (!ip_is_loopback(&listener->address))
        load_complain(l, load_spot(l, SECTION_LISTENER, i, "address"),
            "can be reached from the network; set allow to the networks that may send");
    else if (!option_set(option_find(&sections[SECTION_LISTENER], "allow"), listener,
                 SLICE_LIT("127.0.0.0/8, ::1"), false, &e))
        load_complain(l, load_spot(l, SECTION_LISTENER, i, "allow"), "%s", e.text);
}

static void check_twin_listener(struct load *l, size_t i)
{
    const struct config_listener *all = l->config->listeners;
    if (all[i].port == 0 || all[i].address.len == 0)
        return; /* it was refused */
    for (size_t k = 0; k < i; k++) {
        bool is_same = all[k].port == all[i].port && all[k].address.len == all[i].address.len &&
                       memcmp(all[k].address.bytes, all[i].address.bytes, all[i].address.len) == 0;
        if (!is_same)
            continue;
        load_complain(l, load_spot(l, SECTION_LISTENER, i, NULL),
            "has the address and port of the listener in line %u",
            load_spot(l, SECTION_LISTENER, k, NULL).line);
        return;
    }
}

static void check_listeners(struct load *l)
{
    for (size_t i = 0; i < l->config->listener_count; i++) {
        check_allow(l, i);
        check_twin_listener(l, i);
    }
}

/* ---- upstream ---- */

static bool is_this_machine(const char *host)
{
    struct ip_addr addr;
    if (ip_parse(slice_str(host), &addr))
        return ip_is_loopback(&addr);
    return slice_eq_nocase(slice_str(host), SLICE_LIT("localhost"));
}

static void check_tls(struct load *l)
{
    const struct config_upstream *up = &l->config->upstream;
    bool is_local = true;
    for (size_t i = 0; i < up->host.count; i++)
        is_local = is_local && is_this_machine(up->host.items[i].name);
    if (up->tls == CONFIG_TLS_OFF && !is_local)
        load_complain(l, load_spot(l, SECTION_UPSTREAM, 0, "tls"),
            "is allowed only when host is localhost or a loopback address");
    if (up->tls == CONFIG_TLS_IMPLICIT && !load_is_given(l, SECTION_UPSTREAM, 0, "port"))
        load_warn(l, load_spot(l, SECTION_UPSTREAM, 0, "tls"),
            "port is 587, where servers expect starttls; implicit is usual with port = 465");
}

static bool can_be_read(const char *path, struct err *e)
{
    enum { CA_FILE_SIZE_MAX = 16 << 20 };
    struct buf content;
    buf_init(&content, CA_FILE_SIZE_MAX);
    bool is_read = load_read_file(path, &content, e);
    buf_fini(&content);
    return is_read;
}

/* From here on it holds the file's full path: the reader of the certificates knows no INI file. */
static void check_ca_file(struct load *l)
{
    struct config_upstream *up = &l->config->upstream;
    struct err e;
    if (up->tls_ca_file[0] == '\0' || l->is_pure)
        return;
    char *path = load_resolve(l, up->tls_ca_file);
    if (!path) {
        load_complain(l, load_spot(l, SECTION_UPSTREAM, 0, "tls_ca_file"), "memory ran out");
        return;
    }
    free(up->tls_ca_file);
    up->tls_ca_file = path;
    if (!can_be_read(path, &e))
        load_complain(l, load_spot(l, SECTION_UPSTREAM, 0, "tls_ca_file"), "%s %s", path, e.text);
}

static void check_upstream(struct load *l)
{
    check_tls(l);
    check_ca_file(l);
}

/* ---- accounts ---- */

static void check_matches(struct load *l, size_t i)
{
    bool is_default = l->config->accounts[i].name[0] == '\0';
    bool has_sender = load_is_given(l, SECTION_ACCOUNT, i, "match_sender");
    bool has_client = load_is_given(l, SECTION_ACCOUNT, i, "match_client");
    if (is_default && (has_sender || has_client))
        load_complain(l,
            load_spot(l, SECTION_ACCOUNT, i, has_sender ? "match_sender" : "match_client"),
            "[account] takes what no other account matches; write [account NAME]");
    if (!is_default && !has_sender && !has_client)
        load_complain(l, load_spot(l, SECTION_ACCOUNT, i, NULL),
            "is never used without match_sender or match_client");
}

/* Windows knows who runs us and can vouch for it, by NTLM. */
static void check_own_identity(struct load *l, size_t i)
{
    const char *auth = l->config->upstream.auth;
    if (!platform_has_identity())
        load_complain(l, load_spot(l, SECTION_ACCOUNT, i, "username"),
            "is empty; a login needs one (only on Windows an empty one means the account that "
            "submitd runs as)");
    else if (strcmp(auth, "auto") != 0 && strcmp(auth, "ntlm") != 0)
        load_complain(l, load_spot(l, SECTION_ACCOUNT, i, "username"),
            "is empty, the account that submitd runs as; auth = %s cannot log in as that, set it "
            "to ntlm or auto",
            auth);
}

static void check_username(struct load *l, size_t i)
{
    if (load_has_own_identity(l, i))
        check_own_identity(l, i);
    else if (!load_is_given(l, SECTION_ACCOUNT, i, "username"))
        load_complain(
            l, load_spot(l, SECTION_ACCOUNT, i, "username"), "is missing; a login needs one");
}

static void check_accounts(struct load *l)
{
    bool has_login = strcmp(l->config->upstream.auth, "none") != 0;
    if (has_login && l->config->account_count == 0)
        problems_add(&l->problems, 0,
            "[account]: is missing; add it with username and password_file, or set auth = none in "
            "[upstream]");
    for (size_t i = 0; i < l->config->account_count; i++) {
        check_matches(l, i);
        if (has_login)
            check_username(l, i);
    }
}

/* ---- log ---- */

static void check_log(struct load *l)
{
    const char *target = l->config->log.target;
    const char *name = platform_syslog_name();
    bool is_system = strcmp(target, "syslog") == 0 || strcmp(target, "eventlog") == 0;
    if (is_system && strcmp(target, name) != 0)
        load_complain(l, load_spot(l, SECTION_LOG, 0, "target"),
            "is not there on this system; write %s", name);
}

void load_check(struct load *l)
{
    check_listeners(l);
    check_upstream(l);
    check_accounts(l);
    check_log(l);
}
