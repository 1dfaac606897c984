#include "config/values.h"
#include "config/options.h"

bool value_refuse(const struct option *o, struct err *e)
{
    struct buf allowed;
    buf_init(&allowed, ERR_TEXT_MAX);
    o->kind->allowed(o, &allowed);
    err_set(e, ERR_CONFIG, "must be %s", buf_cstr(&allowed));
    buf_fini(&allowed);
    return false;
}

bool value_out_of_memory(struct err *e)
{
    return err_set(e, ERR_MEMORY, "memory ran out");
}
