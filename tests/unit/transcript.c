#include "transcript.h"

#include "base/base64.h"
#include "base/str.h"

#include <criterion/criterion.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

enum { FILE_MAX = 1 << 20 };

static const char *const mode_names[] = {
#define X(name, text) [TRANSCRIPT_##name] = text,
    TRANSCRIPT_MODES(X)
#undef X
};

void transcript_fail(const struct transcript *t, const struct transcript_line *line,
    enum transcript_mode mode, const char *fmt, ...)
{
    struct buf text;
    buf_init(&text, TRANSCRIPT_TEXT_MAX);
    va_list ap;
    va_start(ap, fmt);
    buf_vaddf(&text, fmt, ap);
    va_end(ap);
    cr_expect(false, "%s:%u (%s): %s", t->path, line ? line->number : 0, mode_names[mode],
        buf_cstr(&text));
    buf_fini(&text);
}

/* ---- files ----------------------------------------------------------------------------------- */

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    char *text = f ? calloc(1, FILE_MAX + 1) : NULL;
    if (text)
        (void)!fread(text, 1, FILE_MAX, f);
    if (f)
        fclose(f);
    return text;
}

static void add_line(struct transcript *t, char *text, unsigned number)
{
    if (text[0] == '\0' || text[0] == '#')
        return;
    char *blank = strchr(text, ' ');
    if (blank)
        *blank = '\0';
    t->lines = realloc(t->lines, (t->count + 1) * sizeof *t->lines);
    t->lines[t->count++] =
        (struct transcript_line){ .number = number, .word = text, .rest = blank ? blank + 1 : "" };
}

bool transcript_load(struct transcript *t, const char *path)
{
    *t = (struct transcript){ .memory = read_file(path) };
    snprintf(t->path, sizeof t->path, "%s", path);
    cr_expect_not_null(t->memory, "%s cannot be read", path);
    unsigned number = 1;
    for (char *line = t->memory; line && *line; number++) {
        char *end = strchr(line, '\n');
        if (end)
            *end = '\0';
        add_line(t, line, number);
        line = end ? end + 1 : NULL;
    }
    return t->memory != NULL;
}

void transcript_free(struct transcript *t)
{
    free(t->lines);
    free(t->memory);
    *t = (struct transcript){ .count = 0 };
}

void transcript_run_folder(const char *folder, enum transcript_mode mode, transcript_run_fn *run)
{
    char pattern[TRANSCRIPT_PATH_MAX];
    snprintf(pattern, sizeof pattern, "%s/*.txt", folder);
    glob_t found = { .gl_pathc = 0 };
    cr_assert_eq(glob(pattern, 0, NULL, &found), 0, "%s: no transcript", pattern);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct transcript t;
        if (transcript_load(&t, found.gl_pathv[i]))
            run(&t, mode);
        transcript_free(&t);
    }
    globfree(&found);
}

/* ---- text ------------------------------------------------------------------------------------ */

/* The escape behind a backslash; returns what follows it. */
static const char *decode_escape(const char *p, struct buf *out)
{
    static const struct {
        char name, value;
    } escapes[] = { { 'r', '\r' }, { 'n', '\n' }, { 't', '\t' }, { '0', '\0' }, { '\\', '\\' } };
    for (size_t i = 0; i < ARRAY_LEN(escapes); i++) {
        if (*p == escapes[i].name) {
            buf_add_char(out, escapes[i].value);
            return p + 1;
        }
    }
    unsigned byte = 0;
    cr_assert_eq(sscanf(p, "x%2x", &byte), 1, "unknown escape \\%s", p);
    buf_add_char(out, (char)byte);
    return p + 3;
}

static void decode_slice(struct slice text, struct buf *out)
{
    char *copy = slice_dup(text);
    transcript_decode(copy, out);
    free(copy);
}

/* {b64:TEXT} or {rep:N:TEXT}; NULL when it is neither. */
static const char *decode_braces(const char *p, struct buf *out)
{
    const char *end = strchr(p, '}');
    if (!end || (strncmp(p, "{b64:", 5) != 0 && strncmp(p, "{rep:", 5) != 0))
        return NULL;
    struct buf inner;
    buf_init(&inner, TRANSCRIPT_TEXT_MAX);
    const char *text = p + 5;
    unsigned long times = 0;
    if (p[1] == 'r') {
        char *colon;
        times = strtoul(text, &colon, 10);
        text = colon + 1;
    }
    decode_slice(slice_of(text, (size_t)(end - text)), &inner);
    if (p[1] == 'b')
        cr_assert(base64_encode(buf_slice(&inner), out));
    for (; times > 0; times--)
        buf_add_slice(out, buf_slice(&inner));
    buf_fini(&inner);
    return end + 1;
}

void transcript_decode(const char *text, struct buf *out)
{
    for (const char *p = text; *p;) {
        const char *behind = *p == '{' ? decode_braces(p, out) : NULL;
        if (behind) {
            p = behind;
        } else if (*p == '\\') {
            p = decode_escape(p + 1, out);
        } else {
            buf_add_char(out, *p++);
        }
    }
    cr_assert(!out->failed, "decoded text is longer than %d octets", TRANSCRIPT_TEXT_MAX);
}

void transcript_encode(struct slice bytes, struct buf *out)
{
    for (size_t i = 0; i < bytes.n; i++) {
        unsigned char c = (unsigned char)bytes.p[i];
        if (c == '\r')
            buf_add_str(out, "\\r");
        else if (c == '\n')
            buf_add_str(out, "\\n");
        else if (c == '\\')
            buf_add_str(out, "\\\\");
        else if (c < ' ' || c == 0x7f)
            buf_addf(out, "\\x%02x", c);
        else
            buf_add_char(out, (char)c);
    }
}

bool transcript_word(const char **text, char *word, size_t size)
{
    const char *p = *text + strspn(*text, " ");
    size_t n = strcspn(p, " ");
    *text = p + n;
    snprintf(word, size, "%.*s", (int)n, p);
    return n > 0;
}

void transcript_pair(char *word, const char **ret_value)
{
    char *equals = strchr(word, '=');
    *ret_value = equals ? equals + 1 : "";
    if (equals)
        *equals = '\0';
}

bool transcript_take_line(struct buf *from, struct buf *line)
{
    struct slice s = buf_slice(from);
    const char *lf = s.n > 0 ? memchr(s.p, '\n', s.n) : NULL;
    if (!lf)
        return false;
    size_t n = (size_t)(lf - s.p);
    buf_clear(line);
    /* Only CRLF ends a line that we write; anything else stays visible and makes the comparison
     * fail. */
    buf_add(line, s.p, n > 0 && s.p[n - 1] == '\r' ? n - 1 : n + 1);
    buf_consume(from, n + 1);
    return true;
}
