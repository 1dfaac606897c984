#include "faulty_disk.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGES_MAX = 8, SECTOR = 512 };

/* A write (or a truncation: `bytes` is NULL) that was not synced yet. */
struct change {
    struct change *next;
    long long offset;
    size_t n;
    char *bytes;
};

/* What a file is after a loss of power, at least. */
struct image {
    char name[160];
    char *bytes;
    size_t size, room;
    struct change *first, **last;
};

struct file {
    sqlite3_file base;
    sqlite3_file *real; /* behind this struct */
    struct image *image;
};

static sqlite3_vfs vfs, *system_vfs;
static sqlite3_io_methods methods;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct image images[IMAGES_MAX];
static unsigned image_count;
static struct {
    unsigned nth[DISK_CALLS]; /* 0: not that one */
    bool stays, is_full, has_failed;
    int code, why;
} fault;

static sqlite3_file *real_of(sqlite3_file *f)
{
    return ((struct file *)f)->real;
}

/* --- faults --- */

static bool meets_fault(enum disk_call call)
{
    pthread_mutex_lock(&mutex);
    bool is_met = fault.nth[call] == 1;
    if (is_met)
        fault.has_failed = true;
    if (fault.nth[call] > 1 || (is_met && !fault.stays))
        fault.nth[call]--;
    pthread_mutex_unlock(&mutex);
    return is_met;
}

void disk_break(enum disk_call call, unsigned nth, bool stays, int code, int why)
{
    pthread_mutex_lock(&mutex);
    memset(&fault, 0, sizeof fault);
    fault.nth[call] = nth;
    fault.stays = stays;
    fault.code = code;
    fault.why = why;
    pthread_mutex_unlock(&mutex);
}

void disk_fill(void)
{
    pthread_mutex_lock(&mutex);
    memset(&fault, 0, sizeof fault);
    fault.is_full = true;
    pthread_mutex_unlock(&mutex);
}

void disk_repair(void)
{
    pthread_mutex_lock(&mutex);
    memset(&fault, 0, sizeof fault);
    pthread_mutex_unlock(&mutex);
}

bool disk_has_failed(void)
{
    pthread_mutex_lock(&mutex);
    bool has = fault.has_failed;
    pthread_mutex_unlock(&mutex);
    return has;
}

void disk_forbid_sharing(void)
{
    methods.iVersion = 1;
}

/* --- images --- */

/* With the mutex. */
static struct image *image_of(const char *name)
{
    for (unsigned i = 0; i < image_count; i++) {
        if (strcmp(images[i].name, name) == 0)
            return &images[i];
    }
    if (image_count == IMAGES_MAX)
        return NULL; /* the stores that are opened behind a loss of power */
    struct image *image = &images[image_count++];
    snprintf(image->name, sizeof image->name, "%s", name);
    image->last = &image->first;
    return image;
}

static void note(struct image *image, const void *bytes, size_t n, long long offset)
{
    if (!image)
        return;
    struct change *c = calloc(1, sizeof *c);
    c->offset = offset;
    c->n = n;
    if (bytes) {
        c->bytes = malloc(n);
        memcpy(c->bytes, bytes, n);
    }
    pthread_mutex_lock(&mutex);
    *image->last = c;
    image->last = &c->next;
    pthread_mutex_unlock(&mutex);
}

static void apply(struct image *to, const struct change *c, size_t n)
{
    size_t end = (size_t)c->offset + (c->bytes ? n : 0);
    if (end > to->room) {
        to->room = end * 2;
        to->bytes = realloc(to->bytes, to->room);
    }
    if (end > to->size)
        memset(to->bytes + to->size, 0, end - to->size);
    if (end > to->size || !c->bytes)
        to->size = end;
    if (c->bytes)
        memcpy(to->bytes + c->offset, c->bytes, n);
}

static void make_durable(struct image *image)
{
    if (!image)
        return;
    pthread_mutex_lock(&mutex);
    for (struct change *c = image->first, *next; c; c = next) {
        next = c->next;
        apply(image, c, c->n);
        free(c->bytes);
        free(c);
    }
    image->first = NULL;
    image->last = &image->first;
    pthread_mutex_unlock(&mutex);
}

/* --- losing power --- */

static unsigned dice;

static unsigned roll(unsigned sides)
{
    dice = dice * 1103515245 + 12345;
    return (dice >> 16) % sides;
}

static void write_image(const struct image *image, const char *to)
{
    struct image after = { .size = image->size, .room = image->size };
    after.bytes = malloc(image->size + 1);
    if (image->size > 0)
        memcpy(after.bytes, image->bytes, image->size);
    unsigned kept = roll(4); /* of four */
    for (const struct change *c = image->first; c; c = c->next) {
        if (roll(4) < kept)
            apply(&after, c, roll(8) > 0 ? c->n : c->n / SECTOR / 2 * SECTOR);
    }
    char name[256];
    snprintf(name, sizeof name, "%s%s", to, strrchr(image->name, '/'));
    FILE *f = fopen(name, "wb");
    cr_assert(f && fwrite(after.bytes, 1, after.size, f) == after.size);
    fclose(f);
    free(after.bytes);
}

void disk_lose_power(const char *from, const char *to, unsigned seed)
{
    pthread_mutex_lock(&mutex);
    dice = seed;
    for (unsigned i = 0; i < image_count; i++) {
        const char *name = images[i].name;
        size_t n = (size_t)(strrchr(name, '/') - name);
        if (n == strlen(from) && strncmp(name, from, n) == 0)
            write_image(&images[i], to);
    }
    pthread_mutex_unlock(&mutex);
}

/* --- files --- */

static int do_close(sqlite3_file *f)
{
    return real_of(f)->pMethods->xClose(real_of(f));
}

static int do_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
    return real_of(f)->pMethods->xRead(real_of(f), p, n, at);
}

static bool grows_a_full_disk(sqlite3_file *f, sqlite3_int64 end)
{
    sqlite3_int64 size = 0;
    pthread_mutex_lock(&mutex);
    bool is_full = fault.is_full;
    pthread_mutex_unlock(&mutex);
    if (!is_full || real_of(f)->pMethods->xFileSize(real_of(f), &size) != SQLITE_OK || end <= size)
        return false;
    pthread_mutex_lock(&mutex);
    fault.has_failed = true;
    pthread_mutex_unlock(&mutex);
    return true;
}

static int do_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    if (grows_a_full_disk(f, at + n))
        return SQLITE_FULL;
    bool fails = meets_fault(DISK_WRITE);
    int done = fails ? n / 2 : n;
    note(((struct file *)f)->image, p, (size_t)done, at);
    int code = real_of(f)->pMethods->xWrite(real_of(f), p, done, at);
    return fails ? fault.code : code;
}

static int do_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    if (meets_fault(DISK_TRUNCATE))
        return fault.code;
    note(((struct file *)f)->image, NULL, 0, size);
    return real_of(f)->pMethods->xTruncate(real_of(f), size);
}

static int do_sync(sqlite3_file *f, int flags)
{
    if (meets_fault(DISK_SYNC))
        return fault.code;
    int code = real_of(f)->pMethods->xSync(real_of(f), flags);
    if (code == SQLITE_OK)
        make_durable(((struct file *)f)->image);
    return code;
}

static int do_size(sqlite3_file *f, sqlite3_int64 *size)
{
    return real_of(f)->pMethods->xFileSize(real_of(f), size);
}

static int do_lock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xLock(real_of(f), level);
}

static int do_unlock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xUnlock(real_of(f), level);
}

static int do_check_lock(sqlite3_file *f, int *is_locked)
{
    return real_of(f)->pMethods->xCheckReservedLock(real_of(f), is_locked);
}

static int do_control(sqlite3_file *f, int what, void *arg)
{
    if (what == SQLITE_FCNTL_LAST_ERRNO && disk_has_failed()) {
        *(int *)arg = fault.why;
        return SQLITE_OK;
    }
    return real_of(f)->pMethods->xFileControl(real_of(f), what, arg);
}

static int do_sector_size(sqlite3_file *f)
{
    return real_of(f)->pMethods->xSectorSize(real_of(f));
}

/* None: a disk that promises nothing about torn or reordered writes. */
static int do_traits(sqlite3_file *f)
{
    (void)f;
    return 0;
}

static int do_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **p)
{
    return real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, p);
}

static int do_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
    return real_of(f)->pMethods->xShmLock(real_of(f), offset, n, flags);
}

static void do_shm_barrier(sqlite3_file *f)
{
    real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int do_shm_unmap(sqlite3_file *f, int deletes)
{
    return real_of(f)->pMethods->xShmUnmap(real_of(f), deletes);
}

static sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = do_close,
    .xRead = do_read,
    .xWrite = do_write,
    .xTruncate = do_truncate,
    .xSync = do_sync,
    .xFileSize = do_size,
    .xLock = do_lock,
    .xUnlock = do_unlock,
    .xCheckReservedLock = do_check_lock,
    .xFileControl = do_control,
    .xSectorSize = do_sector_size,
    .xDeviceCharacteristics = do_traits,
    .xShmMap = do_shm_map,
    .xShmLock = do_shm_lock,
    .xShmBarrier = do_shm_barrier,
    .xShmUnmap = do_shm_unmap,
};

/* --- the VFS --- */

/* A file that is empty now begins anew, whatever was there by this name before. */
static struct image *find_image(const char *name, sqlite3_file *real)
{
    sqlite3_int64 size = 0;
    real->pMethods->xFileSize(real, &size);
    pthread_mutex_lock(&mutex);
    struct image *image = image_of(name);
    if (image && size == 0)
        image->size = 0;
    pthread_mutex_unlock(&mutex);
    return image;
}

static int do_open(sqlite3_vfs *self, const char *name, sqlite3_file *f, int flags, int *ret_flags)
{
    (void)self;
    struct file *file = (struct file *)f;
    *file = (struct file){ .real = (sqlite3_file *)(void *)(file + 1) };
    int code = system_vfs->xOpen(system_vfs, name, file->real, flags, ret_flags);
    if (code != SQLITE_OK)
        return code;
    file->base.pMethods = &methods;
    if (name && (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL)))
        file->image = find_image(name, file->real);
    return SQLITE_OK;
}

static int do_last_error(sqlite3_vfs *self, int n, char *text)
{
    (void)self;
    (void)n;
    (void)text;
    return disk_has_failed() ? fault.why : errno;
}

void disk_install(void)
{
    system_vfs = sqlite3_vfs_find(NULL);
    vfs = *system_vfs;
    vfs.zName = "faulty";
    vfs.szOsFile = (int)sizeof(struct file) + system_vfs->szOsFile;
    vfs.xOpen = do_open;
    vfs.xGetLastError = do_last_error;
    cr_assert(sqlite3_vfs_register(&vfs, 1) == SQLITE_OK);
}
