#include <glob.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int add(glob_t *found, const char *folder, size_t folder_n, const char *name)
{
    char **grown = realloc(found->gl_pathv, (found->gl_pathc + 1) * sizeof *grown);
    char *path = malloc(folder_n + strlen(name) + 1);
    found->gl_pathv = grown ? grown : found->gl_pathv;
    if (!grown || !path) {
        free(path);
        return 0;
    }
    memcpy(path, folder, folder_n);
    strcpy(path + folder_n, name);
    found->gl_pathv[found->gl_pathc++] = path;
    return 1;
}

int glob(const char *pattern, int flags, int (*on_error)(const char *, int), glob_t *found)
{
    (void)flags;
    (void)on_error;
    const char *slash = strrchr(pattern, '/');
    size_t folder_n = slash ? (size_t)(slash - pattern) + 1 : 0;
    WIN32_FIND_DATAA entry;
    HANDLE search = FindFirstFileA(pattern, &entry);
    *found = (glob_t){ .gl_pathc = 0 };
    if (search == INVALID_HANDLE_VALUE)
        return GLOB_NOMATCH;
    do {
        if (!add(found, pattern, folder_n, entry.cFileName))
            abort();
    } while (FindNextFileA(search, &entry));
    FindClose(search);
    qsort(found->gl_pathv, found->gl_pathc, sizeof *found->gl_pathv, compare);
    return 0;
}

void globfree(glob_t *found)
{
    for (size_t i = 0; i < found->gl_pathc; i++)
        free(found->gl_pathv[i]);
    free(found->gl_pathv);
}
