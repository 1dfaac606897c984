/* Copies of messages in memory. */
#include "base/str.h"
#include "spool/store_internal.h"

#include <stdlib.h>

void store_message_free(struct store_message *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->rcpt_count; i++) {
        free(m->rcpts[i].mailbox);
        free(m->rcpts[i].notify);
        free(m->rcpts[i].orcpt);
        free(m->rcpts[i].reply);
    }
    free(m->rcpts);
    free(m->id);
    free(m->account);
    free(m->helo);
    free(m->sender);
    free(m->ret);
    free(m->envid);
    free(m->last_reply);
    free(m);
}

/* NULL is kept as "". */
static bool copy(char **to, const char *from)
{
    *to = str_dup(from ? from : "");
    return *to != NULL;
}

static bool copy_rcpts(struct store_message *to, const struct store_message *from)
{
    if (from->rcpt_count == 0)
        return true;
    to->rcpts = calloc(from->rcpt_count, sizeof *to->rcpts);
    if (!to->rcpts)
        return false;
    to->rcpt_count = from->rcpt_count;
    for (size_t i = 0; i < from->rcpt_count; i++) {
        const struct store_rcpt *r = &from->rcpts[i];
        struct store_rcpt *mine = &to->rcpts[i];
        mine->is_done = r->is_done;
        mine->is_refused = r->is_refused;
        if (!copy(&mine->mailbox, r->mailbox) || !copy(&mine->notify, r->notify) ||
            !copy(&mine->orcpt, r->orcpt) || !copy(&mine->reply, r->reply))
            return false;
    }
    return true;
}

struct store_message *message_dup(const struct store_message *m)
{
    struct store_message *mine = malloc(sizeof *mine);
    if (!mine)
        return NULL;
    *mine = *m;
    mine->id = mine->account = mine->helo = mine->sender = NULL;
    mine->ret = mine->envid = mine->last_reply = NULL;
    mine->rcpts = NULL;
    mine->rcpt_count = 0;
    if (copy(&mine->id, m->id) && copy(&mine->account, m->account) && copy(&mine->helo, m->helo) &&
        copy(&mine->sender, m->sender) && copy(&mine->ret, m->ret) &&
        copy(&mine->envid, m->envid) && copy(&mine->last_reply, m->last_reply) &&
        copy_rcpts(mine, m))
        return mine;
    store_message_free(mine);
    return NULL;
}
