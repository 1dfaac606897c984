#include "smtp/body.h"

enum {
    ROOM_MIN = 4,          /* what one byte can bring: a held dot, CRLF and itself */
    PENDING_MAX = 3,       /* bytes that a state holds back at most */
    PIECE_MAX = 32 * 1024, /* input bytes between two looks at the room */
};

/* ---- Decoder ------------------------------------------------------------------------- */

/* Named for what was read last. */
enum state {
    AT_BOL,      /* CRLF, or nothing yet */
    AT_BARE_BOL, /* a bare LF or a bare CR */
    AT_TEXT,     /* inside a line */
    AT_CR,       /* a CR of which we do not know yet whether it is bare; not passed on yet */
    AT_DOT,      /* CRLF "."; the dot is held */
    AT_DOT_CR,   /* CRLF "." CR; both are held */
    AT_BARE_DOT, /* a "." behind a bare line end; it is held */
};
enum { STATE_COUNT = AT_BARE_DOT + 1 };

enum input { IN_DOT, IN_CR, IN_LF, IN_OTHER };
enum { INPUT_COUNT = IN_OTHER + 1 };

/* What a byte brings, in this order. */
enum action {
    DOT = 1,    /* the held dot is text */
    CRLF = 2,   /* a line ends */
    PASS = 4,   /* the byte is text */
    BARE = 8,   /* that line end was a bare one */
    ALONE = 16, /* the line was a dot alone, and not the end of data */
    END = 32,   /* the end of data */
};

static const struct step {
    uint8_t next, actions;
} steps[STATE_COUNT][INPUT_COUNT] = {
    [AT_BOL] = {
        [IN_DOT] = { AT_DOT, 0 },
        [IN_CR] = { AT_CR, 0 },
        [IN_LF] = { AT_BARE_BOL, CRLF | BARE },
        [IN_OTHER] = { AT_TEXT, PASS },
    },
    [AT_BARE_BOL] = {
        [IN_DOT] = { AT_BARE_DOT, 0 },
        [IN_CR] = { AT_CR, 0 },
        [IN_LF] = { AT_BARE_BOL, CRLF | BARE },
        [IN_OTHER] = { AT_TEXT, PASS },
    },
    [AT_TEXT] = {
        [IN_DOT] = { AT_TEXT, PASS },
        [IN_CR] = { AT_CR, 0 },
        [IN_LF] = { AT_BARE_BOL, CRLF | BARE },
        [IN_OTHER] = { AT_TEXT, PASS },
    },
    [AT_CR] = {
        [IN_DOT] = { AT_BARE_DOT, CRLF | BARE },
        [IN_CR] = { AT_CR, CRLF | BARE },
        [IN_LF] = { AT_BOL, CRLF },
        [IN_OTHER] = { AT_TEXT, CRLF | BARE | PASS },
    },
    /* RFC 5321 4.5.2: a dot at the front of a line with more on it is dropped. */
    [AT_DOT] = {
        [IN_DOT] = { AT_TEXT, PASS },
        [IN_CR] = { AT_DOT_CR, 0 },
        [IN_LF] = { AT_BARE_BOL, DOT | CRLF | BARE | ALONE },
        [IN_OTHER] = { AT_TEXT, PASS },
    },
    [AT_DOT_CR] = {
        [IN_DOT] = { AT_BARE_DOT, DOT | CRLF | BARE | ALONE },
        [IN_CR] = { AT_CR, DOT | CRLF | BARE | ALONE },
        [IN_LF] = { AT_BOL, END },
        [IN_OTHER] = { AT_TEXT, DOT | CRLF | BARE | ALONE | PASS },
    },
    /* Behind a bare line end most senders have not stuffed anything: one dot alone stays. */
    [AT_BARE_DOT] = {
        [IN_DOT] = { AT_TEXT, PASS },
        [IN_CR] = { AT_CR, DOT | ALONE },
        [IN_LF] = { AT_BARE_BOL, DOT | CRLF | BARE | ALONE },
        [IN_OTHER] = { AT_TEXT, DOT | PASS },
    },
};

/* A piece of input and where its text goes; the output has room for all that the piece can bring.
 */
struct cursor {
    const char *p, *end;
    const char *cr, *lf; /* the next of each at or behind p, `end` when there is none */
    char *to;
    bool sees_dots; /* false: a dot is a byte like others (BDAT) */
};

/* Whether BLOCK pairs of neighbours are all clean: a CR before each LF, an LF behind each CR, no
 * dot at the front of a line. Without a branch and of a fixed length, so that compilers make
 * vectors of it: most of a long message is taken by this. One byte behind the block is read. */
enum { BLOCK = 256 };

/* Compiled twice where the program can choose when it is loaded. */
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__)
#define WITH_WIDE_VECTORS __attribute__((target_clones("avx2", "default")))
#else
#define WITH_WIDE_VECTORS
#endif

WITH_WIDE_VECTORS static bool is_clean_block(const char *p, bool sees_dots)
{
    const unsigned char dot = sees_dots ? '.' : '\n'; /* behind an LF, an LF is not clean anyway */
    unsigned char spoiled = 0;
    for (size_t i = 0; i < BLOCK; i++) {
        unsigned char here = (unsigned char)p[i], next = (unsigned char)p[i + 1];
        unsigned char is_cr = here == '\r', is_lf = next == '\n';
        unsigned char is_front_dot = (unsigned char)((here == '\n') & (next == dot));
        spoiled |= (unsigned char)((is_cr ^ is_lf) | is_front_dot);
    }
    return spoiled == 0;
}

/* The octets of clean blocks at the front of `in`, where copy_clean may begin. A CR at the end of
 * the last one is left, because what follows decides about it. */
static size_t count_clean(struct slice in, bool sees_dots)
{
    size_t n = 0;
    while (in.n - n > BLOCK && is_clean_block(in.p + n, sees_dots))
        n += BLOCK;
    return n > 0 && in.p[n - 1] == '\r' ? n - 1 : n;
}

static uint8_t state_behind(char last)
{
    return last == '\n' ? AT_BOL : AT_TEXT;
}

static uint8_t copy_blocks(struct cursor *c, uint8_t state)
{
    size_t n = count_clean(slice_of(c->p, (size_t)(c->end - c->p)), c->sees_dots);
    if (n == 0)
        return state;
    memcpy(c->to, c->p, n);
    c->to += n;
    c->p += n;
    return state_behind(c->p[-1]);
}

static const char *find(const char *from, const char *end, char c)
{
    const char *at = memchr(from, c, (size_t)(end - from));
    return at ? at : end;
}

/*
 * The fast way, from a state that holds nothing back: copies text and clean lines up to the next
 * byte that needs a step of its own, and returns the state behind what was copied. Each byte is
 * searched once for CR and once for LF, whatever the mix of the two.
 */
static uint8_t copy_clean(struct cursor *c, uint8_t state)
{
    const char *p = c->p;
    for (;;) {
        if (c->cr < p)
            c->cr = find(p, c->end, '\r');
        if (c->lf < p)
            c->lf = find(p, c->end, '\n');
        const char *stop = c->cr < c->lf ? c->cr : c->lf;
        if (stop > p)
            state = AT_TEXT;
        p = stop;
        bool is_crlf = c->lf < c->end && c->lf - c->cr == 1;
        if (!is_crlf)
            break;
        p = c->lf + 1;
        state = AT_BOL;
        if (p == c->end || (*p == '.' && c->sees_dots))
            break;
    }
    size_t n = (size_t)(p - c->p);
    memcpy(c->to, c->p, n);
    c->to += n;
    c->p = p;
    return state;
}

static enum input classify(char byte, bool sees_dots)
{
    switch (byte) {
    case '.':
        return sees_dots ? IN_DOT : IN_OTHER;
    case '\r':
        return IN_CR;
    case '\n':
        return IN_LF;
    default:
        return IN_OTHER;
    }
}

/* One byte by the table; returns its actions. */
static unsigned take_byte(struct cursor *c, uint8_t *state)
{
    struct step s = steps[*state][classify(*c->p, c->sees_dots)];
    if (s.actions & DOT)
        *c->to++ = '.';
    if (s.actions & CRLF) {
        *c->to++ = '\r';
        *c->to++ = '\n';
    }
    if (s.actions & PASS)
        *c->to++ = *c->p;
    c->p++;
    *state = s.next;
    return s.actions;
}

/* True where copy_clean may begin; a bare LF would only cost it two searches. */
static bool is_clear(uint8_t state, char next, bool sees_dots)
{
    bool at_front = state == AT_BOL || state == AT_BARE_BOL;
    bool is_dot = classify(next, sees_dots) == IN_DOT;
    return next != '\n' && (state == AT_TEXT || (at_front && !is_dot));
}

/* For both kinds of input: what needs no copy. */
static size_t skip_clean(uint8_t *state, struct slice in, size_t least, bool sees_dots)
{
    if (in.n < least || in.n == 0 || !is_clear(*state, in.p[0], sees_dots))
        return 0;
    size_t n = count_clean(in, sees_dots);
    if (n < least || n == 0)
        return 0;
    *state = state_behind(in.p[n - 1]);
    return n;
}

static unsigned decode_piece(struct cursor *c, uint8_t *state)
{
    unsigned seen = 0;
    while (c->p < c->end && !(seen & END)) {
        if (is_clear(*state, *c->p, c->sees_dots))
            *state = copy_blocks(c, *state);
        if (is_clear(*state, *c->p, c->sees_dots))
            *state = copy_clean(c, *state);
        if (c->p < c->end)
            seen |= take_byte(c, state);
    }
    return seen;
}

/*
 * Takes what surely fits, piece by piece: a byte brings two at most, and what a state holds back
 * was not counted before. Returns all the actions that were seen.
 */
static unsigned decode(uint8_t *state, bool sees_dots, struct slice *in, struct buf *out)
{
    unsigned seen = 0;
    while (in->n > 0 && !(seen & END)) {
        size_t room = out->max - out->len;
        if (room < ROOM_MIN)
            break;
        size_t n = (room - PENDING_MAX) / 2;
        n = n > 0 ? n : 1;
        n = n < in->n ? n : in->n;
        n = n < PIECE_MAX ? n : PIECE_MAX;
        size_t need = 2 * n + PENDING_MAX;
        need = need < room ? need : room;
        char *to = buf_reserve(out, need);
        if (!to)
            break;
        const char *end = in->p + n;
        struct cursor c = { .p = in->p, .end = end, .to = to, .sees_dots = sees_dots };
        c.cr = find(c.p, end, '\r');
        c.lf = find(c.p, end, '\n');
        seen |= decode_piece(&c, state);
        buf_commit(out, (size_t)(c.to - to));
        *in = slice_skip(*in, (size_t)(c.p - in->p));
    }
    return seen;
}

void smtp_body_decoder_init(struct smtp_body_decoder *d)
{
    *d = (struct smtp_body_decoder){ .state = AT_BOL };
}

bool smtp_body_decode(struct smtp_body_decoder *d, struct slice *in, struct buf *out)
{
    unsigned seen = decode(&d->state, true, in, out);
    d->repaired = d->repaired || (seen & BARE);
    d->saw_bare_end = d->saw_bare_end || (seen & ALONE);
    return (seen & END) != 0;
}

size_t smtp_body_skip_clean(struct smtp_body_decoder *d, struct slice in, size_t least)
{
    return skip_clean(&d->state, in, least, true);
}

/* ---- Encoder ------------------------------------------------------------------------- */

void smtp_body_encoder_init(struct smtp_body_encoder *e)
{
    *e = (struct smtp_body_encoder){ .last = { '\r', '\n' } };
}

static bool is_line_end(char c)
{
    return c == '\r' || c == '\n';
}

/*
 * The next dot at or behind `from` that must be doubled, NULL when there is none: any that follows
 * a CR or an LF, so that nobody can take it for the end, whatever they think of bare ones.
 */
static const char *find_front_dot(char before, struct slice text, size_t from)
{
    while (from < text.n) {
        const char *dot = memchr(text.p + from, '.', text.n - from);
        if (!dot)
            return NULL;
        from = (size_t)(dot - text.p);
        if (is_line_end(from > 0 ? text.p[from - 1] : before))
            return dot;
        from++;
    }
    return NULL;
}

static size_t count_front_dots(char before, struct slice text)
{
    size_t n = 0;
    const char *dot = find_front_dot(before, text, 0);
    for (; dot; dot = find_front_dot(before, text, (size_t)(dot - text.p) + 1))
        n++;
    return n;
}

bool smtp_body_encode(struct smtp_body_encoder *e, struct slice text, struct buf *out)
{
    if (text.n == 0)
        return true;
    char before = e->last[1];
    size_t dots = count_front_dots(before, text);
    char *to = buf_reserve(out, text.n + dots);
    if (!to)
        return false;
    size_t done = 0;
    for (size_t i = 0; i < dots; i++) {
        const char *dot = find_front_dot(before, text, done);
        size_t n = (size_t)(dot - text.p) - done;
        memcpy(to, text.p + done, n);
        to += n;
        *to++ = '.';
        *to++ = '.';
        done += n + 1;
    }
    memcpy(to, text.p + done, text.n - done);
    buf_commit(out, text.n + dots);
    e->last[0] = text.n > 1 ? text.p[text.n - 2] : before;
    e->last[1] = text.p[text.n - 1];
    return true;
}

bool smtp_body_encode_end(struct smtp_body_encoder *e, struct buf *out)
{
    bool at_line_start = e->last[0] == '\r' && e->last[1] == '\n';
    if (!buf_add_str(out, at_line_start ? ".\r\n" : "\r\n.\r\n"))
        return false;
    smtp_body_encoder_init(e);
    return true;
}

/* ---- Normaliser ---------------------------------------------------------------------- */

void smtp_line_normaliser_init(struct smtp_line_normaliser *n)
{
    *n = (struct smtp_line_normaliser){ .state = AT_BOL };
}

void smtp_line_normalise(struct smtp_line_normaliser *n, struct slice *in, struct buf *out)
{
    unsigned seen = decode(&n->state, false, in, out);
    n->repaired = n->repaired || (seen & BARE);
}

size_t smtp_line_skip_clean(struct smtp_line_normaliser *n, struct slice in, size_t least)
{
    return skip_clean(&n->state, in, least, false);
}

void smtp_line_normalise_end(struct smtp_line_normaliser *n, struct buf *out)
{
    bool is_open = n->state == AT_TEXT || n->state == AT_CR;
    if (is_open && !buf_add_str(out, "\r\n"))
        return;
    n->repaired = n->repaired || is_open;
    n->state = AT_BOL;
}
