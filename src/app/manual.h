/*
 * The manual page and the shell's completion, made of the tables of commands.c when submitd is
 * built. The program itself does not hold them.
 */
#ifndef SUBMITD_APP_MANUAL_H
#define SUBMITD_APP_MANUAL_H

#include "base/buf.h"

/* submitd(8), in roff. */
bool app_print_manual(struct buf *out);
/* For bash. */
bool app_print_completion(struct buf *out);

#endif
