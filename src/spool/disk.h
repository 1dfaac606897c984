/*
 * What the spool asks of the system besides SQLite: a private file, a lock with the owner's pid in
 * it, the room that is left. The store owns the lock. Nothing here reads or writes mail.
 */
#ifndef SUBMITD_SPOOL_DISK_H
#define SUBMITD_SPOOL_DISK_H

#include "base/err.h"
#include "base/slice.h"

#include <stdint.h>

/* Makes an empty file that only its owner can read, whatever the umask is. One that is there
 * already is left alone: opening and closing it would drop SQLite's locks in this process. */
bool disk_make_private(const char *path, struct err *e);
/* Locks PATH.lock until disk_unlock; ERR_CONFIG with the owner's pid when another has it. */
bool disk_lock(const char *path, int *ret_lock, struct err *e);
/* -1 is fine. */
void disk_unlock(int lock);
/* What root was before disk_act_as_owner. */
struct disk_self {
    unsigned group;
    bool is_away; /* the process acts as somebody else */
};
/*
 * Started as root, the process acts as the owner of the file until disk_act_as_self: whatever it
 * makes beside the file is the owner's from the first moment on. SQLite, too, gives its side files
 * to that owner, but only after it has made them, and an owner who opens them in between fails.
 * Without effect for other users, for a file of root's own or that is not there, where its owner
 * may not make files (a copy below /root), and on Windows.
 * Before any thread is started, or in none but this.
 */
void disk_act_as_owner(const char *path, struct disk_self *ret_self);
void disk_act_as_self(struct disk_self *self);
/* A private file without a name, beside `path`; its room is free again when it is closed, however
 * that comes. *ret_fd is 0 or above. */
bool disk_scratch_open(const char *path, int *ret_fd, struct err *e);
/* All of `bytes` from octet `at` on, not fsync'd. */
bool disk_scratch_write(int fd, uint64_t at, struct slice bytes, const char *path, struct err *e);
bool disk_scratch_read(int fd, uint64_t at, char *to, size_t n, const char *path, struct err *e);
/* To `size` octets; the rest of its room is free again. */
bool disk_scratch_shorten(int fd, uint64_t size);
/* -1 is fine. */
void disk_scratch_close(int fd);
/* Octets that this process may still write to the file system of `path`; UINT64_MAX when the
 * system does not say. */
uint64_t disk_free(const char *path);
/* Octets of the write-ahead log beside `path`; 0 when there is none. */
uint64_t disk_journal_size(const char *path);
/* What a code of the system means, as SQLite hands it on: errno, on Windows GetLastError. */
enum disk_trouble {
    DISK_OTHER,
    DISK_FULL, /* or a quota is used up */
    DISK_READ_ONLY,
    DISK_FORBIDDEN,
    DISK_MISSING,
};
enum disk_trouble disk_trouble(int code);
enum { DISK_CODE_TEXT_MAX = 200 };
/* The system's words for such a code. */
const char *disk_code_text(int code, char text[DISK_CODE_TEXT_MAX]);
/* A clock for intervals. */
uint64_t disk_now_ms(void);

#endif
