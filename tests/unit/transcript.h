/*
 * Transcript files (tests/transcripts): a dialogue written down, one directive a line, run against
 * a machine. This is what their runners share: reading files, escapes, key=value words, reports
 * with file and line. What a directive means is the runner's business. Blank lines and lines that
 * start with # are left out.
 *
 * Text may hold \r \n \t \0 \\ \xHH, {b64:TEXT} for its base64 and {rep:N:TEXT} for N times TEXT.
 */
#ifndef SUBMITD_TESTS_TRANSCRIPT_H
#define SUBMITD_TESTS_TRANSCRIPT_H

#include "base/buf.h"

enum {
    TRANSCRIPT_PATH_MAX = 256,
    TRANSCRIPT_TEXT_MAX = 1 << 22, /* octets of one decoded text */
};

/* How the peer's bytes are fed. Every transcript must hold in each way. */
#define TRANSCRIPT_MODES(X)                                                                        \
    X(LINES, "line by line")                                                                       \
    X(BYTES, "byte by byte")                                                                       \
    X(GROUPS, "all lines up to the next expectation at once")

enum transcript_mode {
#define X(name, text) TRANSCRIPT_##name,
    TRANSCRIPT_MODES(X)
#undef X
};

struct transcript_line {
    unsigned number;
    const char *word; /* the directive, as "C:" or "event" */
    const char *rest; /* what follows it and one blank, as written */
};

struct transcript {
    char path[TRANSCRIPT_PATH_MAX];
    struct transcript_line *lines;
    size_t count;
    char *memory; /* the words and rests */
};

/* Fails the running test when the file cannot be read. */
bool transcript_load(struct transcript *t, const char *path);
void transcript_free(struct transcript *t);

/* Calls run for each *.txt of the folder, in the order of names; fails the test when there is none.
 */
typedef void transcript_run_fn(const struct transcript *t, enum transcript_mode mode);
void transcript_run_folder(const char *folder, enum transcript_mode mode, transcript_run_fn *run);

/* Marks the running test as failed and goes on: "PATH:LINE (mode): ...". */
void transcript_fail(const struct transcript *t, const struct transcript_line *line,
    enum transcript_mode mode, const char *fmt, ...) FORMAT_LIKE_PRINTF(4, 5);

/* Appends the text with its escapes decoded. */
void transcript_decode(const char *text, struct buf *out);
/* The opposite, for messages and comparisons: bytes that cannot be seen become escapes. */
void transcript_encode(struct slice bytes, struct buf *out);

/* Takes the next blank-separated word off *text; false when there is none. */
bool transcript_word(const char **text, char *word, size_t size);
/* Splits "key=value" in place; *ret_value is "" without "=". */
void transcript_pair(char *word, const char **ret_value);

/* Takes one line with its line end off the front of `from`, without the end; false when none is
 * complete. */
bool transcript_take_line(struct buf *from, struct buf *line);

#endif
