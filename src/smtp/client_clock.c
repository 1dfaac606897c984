/* The machine's clock: how long it waits for what (RFC 5321 4.5.3.2). */
#include "smtp/client_internal.h"

/* RFC 5321 4.5.3.2: banner, MAIL, RCPT; DATA; a block of data; the reply to the end of data. */
enum {
    COMMAND_TIMEOUT_MS = 5 * 60 * 1000,
    DATA_START_TIMEOUT_MS = 2 * 60 * 1000,
    DATA_BLOCK_TIMEOUT_MS = 3 * 60 * 1000,
    FINAL_TIMEOUT_MS = 10 * 60 * 1000,
};

static const char *const awaits[] = {
#define X(name, words) [SMTPC_##name] = (words),
    SMTPC_STATES(X)
#undef X
};

static uint64_t or_default(uint64_t wanted_ms, uint64_t default_ms)
{
    return wanted_ms > 0 ? wanted_ms : default_ms;
}

/* Octets wait to leave, or a chunk waits for its reply. */
static bool is_block_open(const struct smtp_client *c)
{
    return c->out.len > 0 || c->body.chunks_open > 0;
}

/* For the oldest command in the queue. */
static uint64_t reply_limit(const struct smtp_client *c, const struct smtpc_command *head)
{
    switch (head->kind) {
    case SMTP_CLIENT_DATA:
        return or_default(c->params.command_timeout_ms, DATA_START_TIMEOUT_MS);
    case SMTP_CLIENT_MESSAGE:
        if (is_block_open(c))
            return or_default(c->params.data_timeout_ms, DATA_BLOCK_TIMEOUT_MS);
        /* RFC 5321 4.5.3.2.6: ten minutes, because the server may deliver before it answers, and
         * giving up earlier makes duplicates. */
        return or_default(c->params.final_timeout_ms, FINAL_TIMEOUT_MS);
    case SMTP_CLIENT_AUTH:
    case SMTP_CLIENT_MAIL:
    case SMTP_CLIENT_RCPT:
    case SMTP_CLIENT_RSET:
    case SMTP_CLIENT_NOOP:
    case SMTP_CLIENT_QUIT:
        break;
    }
    return or_default(c->params.command_timeout_ms, COMMAND_TIMEOUT_MS);
}

/* RFC 5321 4.5.3.2, by what is awaited; 0: no deadline runs. */
static uint64_t wait_limit(const struct smtp_client *c)
{
    const struct smtpc_command *head = smtpc_head(c);
    switch (c->state) {
    case SMTPC_EXPECT_BANNER:
    case SMTPC_EXPECT_EHLO:
    case SMTPC_EXPECT_HELO:
    case SMTPC_EXPECT_STARTTLS:
    case SMTPC_TLS_HANDSHAKE:
    case SMTPC_EXPECT_AUTH:
        return or_default(c->params.command_timeout_ms, COMMAND_TIMEOUT_MS);
    case SMTPC_WANT_BODY:
        /* The server is measured, not our client: a slow program that brings its message by drops
         * must not look like a server that hangs. So the clock runs only while the server has
         * something to do. */
        return is_block_open(c) ? reply_limit(c, head) : 0;
    case SMTPC_READY:
        return head ? reply_limit(c, head) : 0;
    case SMTPC_WANT_AUTH_ANSWER:
    case SMTPC_SPOILED:
    case SMTPC_OVER:
        break;
    }
    return 0;
}

/* Between messages a session keeps no large buffers: a pool holds many idle ones. */
static void rest_when_idle(struct smtp_client *c)
{
    enum { KEPT = 4096 };
    if (c->state != SMTPC_READY || !list_is_empty(&c->queue))
        return;
    if (c->out.len == 0 && c->out.cap > KEPT)
        buf_release_memory(&c->out);
    if (c->body.text.cap > 0)
        buf_release_memory(&c->body.text);
}

void smtpc_tick(struct smtp_client *c, uint64_t now_ms)
{
    c->now_ms = now_ms;
    c->is_now_fresh = true;
    if (c->made_progress || wait_limit(c) == 0)
        c->since_ms = now_ms;
    c->made_progress = false;
    rest_when_idle(c);
}

uint64_t smtp_client_deadline(const struct smtp_client *c)
{
    if (smtpc_has_pending(c))
        return c->now_ms > 0 ? c->now_ms : 1;
    uint64_t limit = wait_limit(c);
    return limit > 0 ? c->since_ms + limit : 0;
}

static const char *awaited(const struct smtp_client *c)
{
    static const char *const replies[] = {
#define X(name) [SMTP_CLIENT_##name] = "no reply to " #name,
        SMTP_CLIENT_COMMANDS(X)
#undef X
    };
    const struct smtpc_command *head = smtpc_head(c);
    bool is_for_queue = c->state == SMTPC_READY || c->state == SMTPC_WANT_BODY;
    if (!is_for_queue || !head)
        return awaits[c->state];
    if (head->kind != SMTP_CLIENT_MESSAGE)
        return replies[head->kind];
    if (c->out.len > 0)
        return awaits[SMTPC_WANT_BODY];
    if (head->is_chunk)
        return "no reply to BDAT";
    return head->is_alone ? "no reply to BDAT LAST" : "no reply to the final dot";
}

void smtpc_check_deadline(struct smtp_client *c)
{
    uint64_t limit = wait_limit(c);
    if (limit == 0 || c->now_ms < c->since_ms + limit)
        return;
    const char *what = awaited(c);
    if (limit % 1000 == 0)
        smtpc_fail(c, ERR_TIMEOUT, "%s within %llu s", what, (unsigned long long)limit / 1000);
    else
        smtpc_fail(c, ERR_TIMEOUT, "%s within %llu ms", what, (unsigned long long)limit);
}

void smtp_client_sent(struct smtp_client *c, size_t n)
{
    if (n > c->out.len)
        n = c->out.len; /* a failure dropped the output between the taking and this call */
    if (n == 0)
        return;
    buf_consume(&c->out, n);
    c->sent_total += n;
    if (c->is_now_fresh)
        c->since_ms = c->now_ms;
    else
        c->made_progress = true;
    c->is_now_fresh = false;
    if (c->out.len == 0)
        c->out.wipe = false;
}
