/*
 * Scratch files: where copies of relayed messages go, which are thrown away when the upstream has
 * the message. A new file costs the system more than what is written into it (every page and block
 * is found for it, and given back at its end), so while messages come one after the other a few
 * files are used again.
 */
#include "spool/disk.h"
#include "spool/store_internal.h"

enum {
    SPARE_SIZE_MAX = 64 * 1024 * 1024, /* octets; a larger file is not kept */
    SPARE_MS = 5000,                   /* nor is one that nobody wants for so long */
};

int scratch_take(struct store *s)
{
    int file = -1;
    if (s->spare_count > 0)
        return s->spares[--s->spare_count];
    return disk_scratch_open(s->path, &file, NULL) ? file : -1;
}

void scratch_give_back(struct store *s, int file, uint64_t size)
{
    s->spared_ms = disk_now_ms();
    if (s->spare_count < ARRAY_LEN(s->spares) && size <= SPARE_SIZE_MAX)
        s->spares[s->spare_count++] = file;
    else
        disk_scratch_close(file);
}

unsigned scratch_rest(struct store *s)
{
    uint64_t unused = disk_now_ms() - s->spared_ms;
    if (s->spare_count == 0)
        return 0;
    if (unused < SPARE_MS)
        return (unsigned)(SPARE_MS - unused);
    scratch_close_spares(s);
    return 0;
}

void scratch_close_spares(struct store *s)
{
    while (s->spare_count > 0)
        disk_scratch_close(s->spares[--s->spare_count]);
}
