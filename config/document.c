#include "config/document.h"
#include "base/secret.h"
#include "base/str.h"

#include <ini.h>
#include <stdlib.h>

/*
 * libinih splits the lines; four of its habits are made up for here. It gives its handler no line
 * numbers, so the reader below counts. It cuts long lines and long section names silently, so the
 * reader refuses the former and keeps sections to itself (the library sees "[?]"). It reports only
 * the first bad line, so a line that should have reached the handler and did not is noticed here.
 * Its line buffer is on its stack, so the reader, which is handed that buffer, wipes it.
 */
struct reader {
    struct document *document;
    struct problems *problems;
    struct slice rest; /* not read yet */
    struct slice line; /* the one that the library has now, without its end */
    unsigned number;   /* of `line` */
    bool is_expected;  /* the library must call on_pair for `line` */
    bool has_key;      /* an indented line would go on with a value */
    bool is_skipping;  /* the line that indented ones would go on with was refused */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_comment(struct slice trimmed)
{
    return trimmed.n == 0 || trimmed.p[0] == ';' || trimmed.p[0] == '#';
}

/* One more element, zeroed; NULL when out of memory. Grows at powers of two. */
static void *add_element(struct document *d, void *items, size_t *count, size_t size)
{
    bool is_full = (*count & (*count - 1)) == 0;
    size_t room = *count == 0 ? 1 : *count * 2;
    void *grown = is_full ? realloc(items, room * size) : items;
    if (!grown) {
        d->is_out_of_memory = true;
        return NULL;
    }
    memset((char *)grown + *count * size, 0, size);
    ++*count;
    return grown;
}

static void add_section(struct reader *r, struct slice kind, struct slice name)
{
    struct document *d = r->document;
    struct document_section *all = add_element(d, d->sections, &d->count, sizeof *all);
    if (!all)
        return;
    d->sections = all;
    struct document_section *s = &all[d->count - 1];
    s->line = r->number;
    s->kind = slice_dup(kind);
    s->name = slice_dup(name);
    d->is_out_of_memory = d->is_out_of_memory || !s->kind || !s->name;
}

/* True when the library would cut the line at a blank followed by a semicolon. */
static bool has_inline_comment(struct slice line, bool is_more)
{
    size_t i = 0;
    while (!is_more && i < line.n && line.p[i] != '=' && line.p[i] != ':')
        i++;
    struct slice value = is_more ? slice_trim(line) : slice_skip(line, i);
    for (i = 1; i < value.n; i++) {
        if (value.p[i] == ';' && is_blank(value.p[i - 1]))
            return true;
    }
    return false;
}

static bool add_entry(struct reader *r, const char *name, const char *value, bool is_more)
{
    struct document *d = r->document;
    struct document_section *s = &d->sections[d->count - 1];
    struct document_entry *all = add_element(d, s->entries, &s->count, sizeof *all);
    if (!all)
        return false;
    s->entries = all;
    all[s->count - 1] = (struct document_entry){
        .name = str_dup(name),
        .value_at = d->values.len,
        .value_size = strlen(value),
        .line = r->number,
        .is_more = is_more,
        .has_comment = has_inline_comment(r->line, is_more),
    };
    bool fits = buf_add_str(&d->values, value) && all[s->count - 1].name;
    d->is_out_of_memory = d->is_out_of_memory || !fits;
    return fits;
}

/* libinih's handler. What it says about the section is ignored: it knows "?" only. */
static int on_pair(void *user, const char *section, const char *name, const char *value)
{
    (void)section;
    struct reader *r = user;
    r->is_expected = false;
    bool is_more = r->has_key && is_blank(r->line.p[0]);
    r->has_key = name[0] != '\0';
    if (!r->has_key)
        problems_add(r->problems, r->number, "the name in front of the = is missing");
    else if (r->document->count == 0)
        problems_add(r->problems, r->number,
            "this line stands in front of the first section, such as [upstream]");
    else
        add_entry(r, name, value, is_more);
    return 1;
}

/* The library can read it: printable UTF-8 that fits into its buffer together with LF and NUL. */
static bool line_is_fine(struct reader *r, struct slice line, int size)
{
    if (line.n > 0 && memchr(line.p, '\0', line.n)) {
        problems_add(r->problems, r->number, "holds a NUL byte; is this a text file?");
        return false;
    }
    if (!str_is_utf8(line)) {
        problems_add(r->problems, r->number, "is not UTF-8; save the file with UTF-8 encoding");
        return false;
    }
    for (size_t i = 0; i < line.n; i++) {
        unsigned char c = (unsigned char)line.p[i];
        if ((c < ' ' && c != '\t') || c == 0x7f) {
            problems_add(r->problems, r->number, "holds the control character 0x%02X", (unsigned)c);
            return false;
        }
    }
    if (size < 3 || line.n > (size_t)size - 2) {
        problems_add(r->problems, r->number,
            "is %zu bytes long, more than %d; a list may go on in indented lines", line.n,
            size - 2);
        return false;
    }
    return true;
}

/* What is wrong with a section's header, NULL when nothing is. `end` is its ], NULL when there is
 * none. */
static const char *header_problem(struct slice title, const char *end, struct slice behind)
{
    if (!end)
        return "the ] that ends the section's name is missing";
    if (title.n == 0)
        return "the section's name is missing";
    return is_comment(slice_trim(behind)) ? NULL : "nothing but a comment may follow the ]";
}

/* "[kind name]"; one that is not fine, or wrong, becomes a section without a kind, so that its
 * lines have a home. */
static void take_header(struct reader *r, struct slice trimmed, bool is_fine)
{
    const char *end = memchr(trimmed.p, ']', trimmed.n);
    size_t size = end ? (size_t)(end - trimmed.p) - 1 : 0;
    struct slice title = slice_trim(slice_of(trimmed.p + 1, size));
    const char *wrong =
        header_problem(title, end, end ? slice_skip(trimmed, size + 2) : SLICE_NONE);
    size_t n = 0;
    while (n < title.n && !is_blank(title.p[n]))
        n++;
    r->has_key = false;
    if (is_fine && wrong)
        problems_add(r->problems, r->number, "%s", wrong);
    if (is_fine && !wrong)
        add_section(r, slice_of(title.p, n), slice_trim(slice_skip(title, n)));
    else
        add_section(r, SLICE_NONE, SLICE_NONE);
}

static struct slice next_line(struct reader *r)
{
    const char *lf = memchr(r->rest.p, '\n', r->rest.n);
    struct slice line = slice_of(r->rest.p, lf ? (size_t)(lf - r->rest.p) : r->rest.n);
    r->rest = slice_skip(r->rest, line.n + (lf ? 1 : 0));
    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    r->number++;
    return line;
}

/* What the library shall see of a line. */
static struct slice filter(struct reader *r, struct slice line, int size)
{
    struct slice trimmed = slice_trim(line);
    bool is_indented = line.n > 0 && is_blank(line.p[0]);
    bool is_fine = line_is_fine(r, line, size);
    bool is_header = trimmed.n > 0 && trimmed.p[0] == '[' && !(is_indented && r->has_key);
    if (is_fine && (is_comment(trimmed) || (is_indented && r->is_skipping)))
        return SLICE_NONE;
    r->is_skipping = !is_fine && !is_header;
    if (r->is_skipping)
        return SLICE_NONE;
    if (is_header) {
        take_header(r, trimmed, is_fine);
        return SLICE_LIT("[?]");
    }
    r->is_expected = true;
    return line;
}

static void complain_if_ignored(struct reader *r)
{
    if (!r->is_expected)
        return;
    r->is_expected = false;
    r->is_skipping = true;
    problems_add(
        r->problems, r->number, "is neither a [section] nor \"name = value\" nor a comment");
}

/* libinih's reader, in the manner of fgets. Every line that it hands out ends in LF. */
static char *read_line(char *str, int size, void *stream)
{
    struct reader *r = stream;
    complain_if_ignored(r);
    secret_wipe(str, (size_t)size);
    if (r->rest.n == 0)
        return NULL;
    r->line = filter(r, next_line(r), size);
    if (r->line.n > 0)
        memcpy(str, r->line.p, r->line.n);
    str[r->line.n] = '\n';
    str[r->line.n + 1] = '\0';
    return str;
}

void document_init(struct document *d, struct slice text, struct problems *problems)
{
    const struct slice utf8_mark = SLICE_LIT("\xef\xbb\xbf");
    const struct slice utf16_mark = SLICE_LIT("\xff\xfe");
    *d = (struct document){ .count = 0 };
    buf_init_secret(&d->values, text.n);
    if (slice_starts_nocase(text, utf16_mark)) {
        problems_add(problems, 0, "is UTF-16; save the file with UTF-8 encoding");
        return;
    }
    bool is_marked = slice_starts_nocase(text, utf8_mark);
    struct reader r = {
        .document = d,
        .problems = problems,
        .rest = slice_skip(text, is_marked ? utf8_mark.n : 0),
    };
    ini_parse_stream(read_line, &r, on_pair, &r); /* its result repeats what was noticed above */
}

void document_fini(struct document *d)
{
    for (size_t i = 0; i < d->count; i++) {
        struct document_section *s = &d->sections[i];
        for (size_t k = 0; k < s->count; k++)
            free(s->entries[k].name);
        free(s->entries);
        free(s->kind);
        free(s->name);
    }
    free(d->sections);
    buf_fini(&d->values);
    *d = (struct document){ .count = 0 };
}

struct slice document_value(const struct document *d, const struct document_entry *entry)
{
    struct slice all = buf_slice(&d->values); /* no memory at all when every value is empty */
    return all.p ? slice_of(all.p + entry->value_at, entry->value_size) : SLICE_LIT("");
}
