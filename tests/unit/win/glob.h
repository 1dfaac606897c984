/* POSIX glob for patterns with a * in the file's name only; mingw-w64 has none. */
#ifndef SUBMITD_TESTS_GLOB_H
#define SUBMITD_TESTS_GLOB_H

#include <stddef.h>

enum { GLOB_NOMATCH = 3 };

typedef struct {
    size_t gl_pathc;
    char **gl_pathv; /* in alphabetical order */
} glob_t;

/* `flags` 0 and `on_error` NULL only. */
int glob(const char *pattern, int flags, int (*on_error)(const char *, int), glob_t *found);
void globfree(glob_t *found);

#endif
