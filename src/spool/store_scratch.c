/*
 * Scratch files: where copies of relayed messages go, which are thrown away when the upstream has
 * the message. A new file costs the system more than what is written into it (every page and block
 * is found for it, and given back at its end), so a few files are used again while messages come
 * one after the other. One that is used again stays as long as its longest user was, until the room
 * is wanted.
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
    *place = (struct scratch){ .file = -1 };
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
        place->used = 0;
        return place->file;
    }
    if (!disk_scratch_open(s->path, &file, NULL))
        return -1;
    place = find(s, -1);
    if (place)
        *place = (struct scratch){ .file = file, .is_used = true };
    return file;
}

bool scratch_write(struct store *s, int file, uint64_t at, struct slice bytes, struct err *e)
{
    if (!disk_scratch_write(file, at, bytes, s->path, e) &&
        (e->kind != ERR_LIMIT || !scratch_make_room(s) ||
            !disk_scratch_write(file, at, bytes, s->path, e)))
        return false;
    struct scratch *place = find(s, file);
    if (place) {
        place->used = at + bytes.n;
        place->length = place->length > place->used ? place->length : place->used;
    }
    return true;
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

void scratch_close_spares(struct store *s)
{
    for (struct scratch *place; (place = find_spare(s));)
        close_place(place);
}

/* What a longer user left behind the present one's end. */
static bool shorten(struct scratch *place)
{
    if (place->file < 0 || place->length == place->used ||
        !disk_scratch_shorten(place->file, place->used))
        return false;
    place->length = place->used;
    return true;
}

bool scratch_make_room(struct store *s)
{
    bool has_made = find_spare(s) != NULL;
    scratch_close_spares(s);
    for (size_t i = 0; i < ARRAY_LEN(s->scratches); i++)
        has_made = shorten(&s->scratches[i]) || has_made;
    return has_made;
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
