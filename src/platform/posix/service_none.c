/* The Windows service's side of service.h: there is none. systemd's is in platform.h. */
#include "platform/service.h"

static bool refuse(struct err *e)
{
    return err_set(e, ERR_CONFIG,
        "systemd does that here: systemctl enable, start, stop, reload or status submitd");
}

bool service_has_manager(struct err *e)
{
    return refuse(e);
}

bool service_install(const char *config, struct err *e)
{
    (void)config;
    return refuse(e);
}

bool service_uninstall(struct err *e)
{
    return refuse(e);
}

bool service_start(struct err *e)
{
    return refuse(e);
}

bool service_stop(struct err *e)
{
    return refuse(e);
}

bool service_reload(struct err *e)
{
    return refuse(e);
}

bool service_describe(struct buf *out, bool *ret_is_running, struct err *e)
{
    (void)out;
    *ret_is_running = false;
    return refuse(e);
}

char *service_config(void)
{
    return NULL;
}

struct slice service_sample(void)
{
    return SLICE_NONE;
}

bool service_write_file(const char *path, struct slice text, struct err *e)
{
    (void)path;
    (void)text;
    return refuse(e);
}

bool service_file_exists(const char *path)
{
    (void)path;
    return false;
}

void service_remove(const char *path)
{
    (void)path;
}

bool service_is_this(void)
{
    return false;
}

bool service_be(const struct service_life *life, int *ret_status, struct err *e)
{
    (void)life;
    *ret_status = 1;
    return refuse(e);
}
