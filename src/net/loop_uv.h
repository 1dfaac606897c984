/*
 * What the files of src/net share about the loop; libuv's structs are seen here and not outside.
 * The loop owns the buffers and lists below, connections only link themselves in.
 * Nothing of this is for another layer.
 */
#ifndef SUBMITD_NET_LOOP_UV_H
#define SUBMITD_NET_LOOP_UV_H

#include "base/buf.h"
#include "base/list.h"
#include "net/loop.h"

#include <uv.h>

struct loop {
    uv_loop_t uv;
    uv_idle_t todo_runner; /* active while `todo` holds something: then the loop does not sleep */
    uv_prepare_t dirty_runner; /* runs behind the timers and todo_runner, right before the poll */
    struct list todo;          /* connections whose input must be looked at again */
    struct list dirty;         /* connections with output that was not tried yet */
    struct list closing; /* connections that conn_close was called for, through their `todo` */
    struct list signals;
    char *read_buf;   /* CONN_READ_SIZE octets, used by one read callback at a time */
    struct buf plain; /* what TLS decrypted, used while it is offered */
    bool is_ending;   /* loop_free runs: nobody lingers */
};

/* Makes the next turn come at once, and look into both lists. */
void loop_wake(struct loop *loop);

#endif
