#include "smtp/header_from.h"

enum { DISPLAY_MAX = 800 }; /* octets of a name that is kept, well below the 998 of a line */

enum token_kind { TOKEN_END, TOKEN_ATOM, TOKEN_QUOTED, TOKEN_COMMENT, TOKEN_ANGLE, TOKEN_BAD };

struct token {
    enum token_kind kind;
    struct slice text; /* without parentheses and angle brackets, with quotation marks */
};

/* Bytes of an atom, and those that addresses and sloppy display names have besides. */
static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~.@", c));
}

/* Up to the closing byte; a backslash hides the next one. 0: it is never closed. */
static size_t enclosed_length(struct slice s, char opens, char closes)
{
    size_t depth = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\\' && opens != '<')
            i++;
        else if (s.p[i] == closes && i > 0 && --depth == 0)
            return i + 1;
        else if (s.p[i] == opens)
            depth++;
    }
    return 0;
}

static const struct enclosure {
    char opens, closes;
    enum token_kind kind;
    size_t strip; /* bytes at each end that are no part of the text */
} enclosures[] = {
    { '"', '"', TOKEN_QUOTED, 0 },
    { '(', ')', TOKEN_COMMENT, 1 },
    { '<', '>', TOKEN_ANGLE, 1 },
};

/* Takes the next token of an address field (RFC 5322 3.2) off *rest. */
static struct token take_token(struct slice *rest)
{
    *rest = slice_trim(*rest);
    struct slice text = *rest;
    if (text.n == 0)
        return (struct token){ .kind = TOKEN_END };
    for (size_t i = 0; i < ARRAY_LEN(enclosures); i++) {
        const struct enclosure *e = &enclosures[i];
        size_t n = text.p[0] == e->opens ? enclosed_length(text, e->opens, e->closes) : 0;
        if (n == 0)
            continue;
        *rest = slice_skip(text, n);
        return (struct token){ e->kind, slice_of(text.p + e->strip, n - 2 * e->strip) };
    }
    size_t n = 0;
    while (n < text.n && is_word_char(text.p[n]))
        n++;
    *rest = slice_skip(text, n > 0 ? n : 1);
    return (struct token){ n > 0 ? TOKEN_ATOM : TOKEN_BAD, slice_of(text.p, n > 0 ? n : 1) };
}

static bool is_printable(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool is_fold = c == '\r' || c == '\n' || c == '\t';
        if (!is_fold && (c < ' ' || c > '~'))
            return false;
    }
    return true;
}

/* What was seen of a field so far. */
struct reading {
    struct smtp_from from;
    struct slice first_word;
    const char *words_end;
    unsigned words;
    bool has_angle;
    bool has_at;   /* in a word that is not quoted: as a name it would look like an address */
    bool has_8bit; /* outside quoted strings */
};

/* False when the field is no single mailbox. */
static bool take(struct reading *r, struct token t)
{
    switch (t.kind) {
    case TOKEN_ATOM:
    case TOKEN_QUOTED:
        if (r->words++ == 0)
            r->first_word = t.text;
        r->words_end = t.text.p + t.text.n;
        r->has_at = r->has_at || (t.kind == TOKEN_ATOM && memchr(t.text.p, '@', t.text.n));
        return !r->has_angle;
    case TOKEN_COMMENT:
        r->from.comment = t.text;
        return true;
    case TOKEN_ANGLE:
        if (r->has_angle)
            return false;
        r->has_angle = true;
        r->from.address = slice_trim(t.text);
        return true;
    case TOKEN_BAD:
        /* Unencoded characters in the name leave the address clear; the comma of a list does not.
         */
        r->has_8bit = true;
        return (unsigned char)t.text.p[0] >= 0x80;
    case TOKEN_END:
        break;
    }
    return true;
}

bool smtp_from_parse(struct slice value, struct smtp_from *ret_from)
{
    struct reading r = { .words = 0 };
    struct slice rest = value;
    for (struct token t = take_token(&rest); t.kind != TOKEN_END; t = take_token(&rest)) {
        if (!take(&r, t))
            return false;
    }
    if (!r.has_angle && r.words == 1 && !r.has_8bit)
        r.from.address = r.first_word;
    if (r.has_angle && r.words > 0 && !r.has_8bit && !r.has_at)
        r.from.display = slice_of(r.first_word.p, (size_t)(r.words_end - r.first_word.p));
    if (!is_printable(r.from.display) || r.from.display.n > DISPLAY_MAX)
        r.from.display = SLICE_NONE;
    if (r.from.address.n == 0)
        return false;
    *ret_from = r.from;
    return true;
}

/* A quoted string may be folded inside: the line ends go, the blanks behind them stay. */
static void add_unfolded(struct smtp_header_line *line, struct slice word)
{
    char text[DISPLAY_MAX];
    size_t n = 0;
    for (size_t i = 0; i < word.n && i < DISPLAY_MAX; i++) {
        if (word.p[i] != '\r' && word.p[i] != '\n')
            text[n++] = word.p[i] == '\t' ? ' ' : word.p[i];
    }
    smtp_header_line_add(line, "", slice_of(text, n), "");
}

/* True when it can stand in a quoted string as it is, and has no encoded word (RFC 2047 5). */
static bool is_plain(struct slice comment)
{
    for (size_t i = 0; i < comment.n; i++) {
        char c = comment.p[i];
        if (c < ' ' || c > '~' || strchr("()\"\\?", c))
            return false;
    }
    return comment.n > 0 && comment.n <= DISPLAY_MAX;
}

void smtp_from_add_name(const struct smtp_from *from, struct smtp_header_line *line)
{
    struct slice rest = from->display;
    for (struct token t = take_token(&rest); t.kind != TOKEN_END; t = take_token(&rest)) {
        if (t.kind != TOKEN_COMMENT)
            add_unfolded(line, t.text);
    }
    if (from->display.n == 0 && is_plain(from->comment))
        smtp_header_line_add(line, "\"", from->comment, "\"");
}
