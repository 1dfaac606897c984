/*
 * Scratch files: where copies of relayed messages go, which are thrown away when the upstream has
 * the message. A new file costs the system more than what is written into it (every page and block
 * is found for it, and given back at its end), so a few files are used again while messages come
 * one after the other. One that is used again stays as long as its longest user was.
 */
#include "spool/disk.h"
#include "spool/store_internal.h"

enum {
    KEPT_SIZE_MAX = 40 * 1024 * 1024, /* octets; a longer file is not kept */
    KEPT_MS = 5000,                   /* nor is one that nobody wants for so long */
};

/* -1: an empty place. NULL: there is none. */
static struct scratch *find(struct store *s, int file)
{
    for (size_t i = 0; i < ARRAY_LEN(s->scratches); i++) {
        if (s->scratches[i].file == file)
            return &s->scratches[i];
    }
    return NULL;
}

static struct scratch *find_spare(struct store *s)
{
    for (size_t i = 0; i < ARRAY_LEN(s->scratches); i++) {
        if (s->scratches[i].file >= 0 && !s->scratches[i].is_used)
            return &s->scratches[i];
    }
    return NULL;
}

static void empty(struct scratch *place)
{
    place->file = -1;
    place->is_used = false;
}

void scratch_init(struct store *s)
{
    for (size_t i = 0; i < ARRAY_LEN(s->scratches); i++)
        empty(&s->scratches[i]);
}

int scratch_take(struct store *s)
{
    struct scratch *place = find_spare(s);
    int file = -1;
    if (place) {
        place->is_used = true;
        return place->file;
    }
    if (!disk_scratch_open(s->path, &file, NULL))
        return -1;
    place = find(s, -1);
    if (place)
        *place = (struct scratch){ .file = file, .is_used = true };
    return file;
}

void scratch_keep_out(struct store *s, int file)
{
    struct scratch *place = find(s, file);
    if (place)
        empty(place);
}

void scratch_give_back(struct store *s, int file, uint64_t size)
{
    struct scratch *place = find(s, file);
    if (place && size <= KEPT_SIZE_MAX) {
        place->is_used = false;
        place->spared_ms = disk_now_ms();
        return;
    }
    if (place)
        empty(place);
    disk_scratch_close(file);
}

static void close_place(struct scratch *place)
{
    disk_scratch_close(place->file);
    empty(place);
}

bool scratch_has_spares(struct store *s)
{
    return find_spare(s) != NULL;
}

void scratch_close_spares(struct store *s)
{
    for (struct scratch *place; (place = find_spare(s));)
        close_place(place);
}

unsigned scratch_rest(struct store *s)
{
    uint64_t now = disk_now_ms(), soonest = 0;
    for (size_t i = 0; i < ARRAY_LEN(s->scratches); i++) {
        struct scratch *each = &s->scratches[i];
        if (each->file < 0 || each->is_used)
            continue;
        uint64_t unused = now - each->spared_ms;
        if (unused >= KEPT_MS)
            close_place(each);
        else if (soonest == 0 || KEPT_MS - unused < soonest)
            soonest = KEPT_MS - unused;
    }
    return (unsigned)soonest;
}
