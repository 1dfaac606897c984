/*
 * What the reference page (reference.c) and the manual page (manual.c) have in common.
 * Constants only.
 */
#ifndef SUBMITD_CONFIG_REFERENCE_H
#define SUBMITD_CONFIG_REFERENCE_H

/* How the file is written: a sentence or two each, with `code` between backticks; ends with NULL.
 */
extern const char *const reference_rules[];

#endif
