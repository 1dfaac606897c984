#include "smtp/body.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- Decoder ------------------------------------------------------------------------- */

struct result {
    struct buf text;
    size_t left; /* bytes behind the end of data */
    bool is_ended, is_repaired, saw_bare_end;
};

static bool skips;     /* what is clean is not copied */
static size_t skipped; /* octets that were not */

/* Feeds `piece` bytes at a time into an output with `room` bytes, emptied whenever it is full. */
static struct result decode(struct slice wire, size_t piece, size_t room)
{
    struct result r = { .is_ended = false };
    buf_init(&r.text, 10 * 1024 * 1024);
    struct buf out;
    buf_init(&out, room);
    struct smtp_body_decoder d;
    smtp_body_decoder_init(&d);
    while (wire.n > 0 && !r.is_ended) {
        struct slice in = slice_of(wire.p, piece < wire.n ? piece : wire.n);
        size_t before = in.n, clean = skips ? smtp_body_skip_clean(&d, in, 1) : 0;
        skipped += clean;
        buf_add(&r.text, in.p, clean);
        in = slice_skip(in, clean);
        r.is_ended = smtp_body_decode(&d, &in, &out);
        cr_assert(!out.failed);
        cr_assert(in.n < before || out.len > 0, "it must get on");
        buf_add_slice(&r.text, buf_slice(&out));
        buf_clear(&out);
        wire = slice_skip(wire, before - in.n);
    }
    r.left = wire.n;
    r.is_repaired = d.repaired;
    r.saw_bare_end = d.saw_bare_end;
    buf_fini(&out);
    return r;
}

static const struct {
    size_t piece, room;
} ways[] = { { 1000000, 1000000 }, { 1, 1000000 }, { 1, 4 }, { 2, 5 }, { 3, 6 }, { 1000000, 4 },
    { 1000000, 7 }, { 1000000, 23 }, { 7, 64 } };

static const struct {
    const char *wire, *text;
    const char *flags; /* r: repaired, b: saw a "." between bare ends, e: ended */
} decode_rows[] = {
    { ".\r\n", "", "e" },
    { "\r\n.\r\n", "\r\n", "e" },
    { "a\r\n.\r\n", "a\r\n", "e" },
    { "a\r\n\r\n.\r\n", "a\r\n\r\n", "e" },
    { "a\r\nb\r\n.\r\n", "a\r\nb\r\n", "e" },
    /* Dots behind CRLF: RFC 5321 4.5.2. */
    { "..\r\n.\r\n", ".\r\n", "e" },
    { "..a\r\n.\r\n", ".a\r\n", "e" },
    { "...\r\n.\r\n", "..\r\n", "e" },
    { ".a\r\n.\r\n", "a\r\n", "e" },
    { "a.\r\n..\r\n.\r\n", "a.\r\n.\r\n", "e" },
    { "a\r\n. \r\n.\r\n", "a\r\n \r\n", "e" },
    /* Bare line ends. */
    { "a\nb\r\n.\r\n", "a\r\nb\r\n", "re" },
    { "a\rb\r\n.\r\n", "a\r\nb\r\n", "re" },
    { "a\r\r\n.\r\n", "a\r\n\r\n", "re" },
    { "a\r\n\n.\r\n\r\n.\r\n", "a\r\n\r\n.\r\n\r\n", "rbe" },
    { "\n\n\r\r\n.\r\n", "\r\n\r\n\r\n\r\n", "re" },
    { "\r\r\r\n.\r\n", "\r\n\r\n\r\n", "re" },
    { "a\n\rb\r\n.\r\n", "a\r\n\r\nb\r\n", "re" },
    /* Dots behind bare line ends: two lose one, one stays. */
    { "a\n..b\r\n.\r\n", "a\r\n.b\r\n", "re" },
    { "a\n.b\r\n.\r\n", "a\r\n.b\r\n", "re" },
    { "a\r..b\r\n.\r\n", "a\r\n.b\r\n", "re" },
    { "a\r.b\r\n.\r\n", "a\r\n.b\r\n", "re" },
    { "a\n...\r\n.\r\n", "a\r\n..\r\n", "re" },
    { "a\n..\r\n.\r\n", "a\r\n.\r\n", "re" },
    /* What other servers take for the end of data. */
    { "a\n.\nMAIL FROM:<x>\r\n.\r\n", "a\r\n.\r\nMAIL FROM:<x>\r\n", "rbe" },
    { "a\n.\r\nMAIL FROM:<x>\r\n.\r\n", "a\r\n.\r\nMAIL FROM:<x>\r\n", "rbe" },
    { "a\r.\r\nMAIL FROM:<x>\r\n.\r\n", "a\r\n.\r\nMAIL FROM:<x>\r\n", "rbe" },
    { "a\r.\rMAIL FROM:<x>\r\n.\r\n", "a\r\n.\r\nMAIL FROM:<x>\r\n", "rbe" },
    { "a\r.\nMAIL FROM:<x>\r\n.\r\n", "a\r\n.\r\nMAIL FROM:<x>\r\n", "rbe" },
    { "a\n.\rMAIL FROM:<x>\r\n.\r\n", "a\r\n.\r\nMAIL FROM:<x>\r\n", "rbe" },
    { "a\r\n.\nMAIL FROM:<x>\r\n.\r\n", "a\r\n.\r\nMAIL FROM:<x>\r\n", "rbe" },
    { "a\r\n.\rMAIL FROM:<x>\r\n.\r\n", "a\r\n.\r\nMAIL FROM:<x>\r\n", "rbe" },
    { "a\r\n.\r\r\nMAIL FROM:<x>\r\n.\r\n", "a\r\n.\r\n\r\nMAIL FROM:<x>\r\n", "rbe" },
    { "a\r\n.\r.\r\n.\r\n", "a\r\n.\r\n.\r\n", "rbe" },
    { "a\r\n.\r..\r\n.\r\n", "a\r\n.\r\n.\r\n", "rbe" },
    { ".\n.\r\n.\r\n", ".\r\n.\r\n", "rbe" },
    { "\n.\n.\r\n.\r\n", "\r\n.\r\n.\r\n", "rbe" },
    { "a\n\r\n.\r\n", "a\r\n\r\n", "re" },
    { "a\n\n.\r\n", "a\r\n\r\n.\r\n", "rb" },
    /* Not ended; what is held back is not text yet. */
    { "a", "a", "" },
    { "a\r", "a", "" },
    { "a\r\n", "a\r\n", "" },
    { "a\r\n.", "a\r\n", "" },
    { "a\r\n.\r", "a\r\n", "" },
    { "a\n.", "a\r\n", "r" },
};

static void check_decoded(size_t row, size_t way)
{
    static const char behind[] = "QUIT\r\n.\r\n";
    const char *want = decode_rows[row].text, *flags = decode_rows[row].flags;
    char wire[200];
    bool is_ended = strchr(flags, 'e') != NULL;
    snprintf(wire, sizeof wire, "%s%s", decode_rows[row].wire, is_ended ? behind : "");
    struct result r = decode(slice_str(wire), ways[way].piece, ways[way].room);
    cr_assert(slice_eq(buf_slice(&r.text), slice_str(want)), "row %zu way %zu: '%.*s'", row, way,
        SLICE_ARG(buf_slice(&r.text)));
    cr_assert_eq(r.is_ended, is_ended, "row %zu way %zu", row, way);
    cr_assert_eq(r.left, is_ended ? sizeof behind - 1 : 0, "row %zu way %zu", row, way);
    cr_assert_eq(r.is_repaired, strchr(flags, 'r') != NULL, "row %zu way %zu", row, way);
    cr_assert_eq(r.saw_bare_end, strchr(flags, 'b') != NULL, "row %zu way %zu", row, way);
    buf_fini(&r.text);
}

Test(body, decodes_the_same_in_all_pieces_and_rooms)
{
    for (size_t row = 0; row < ARRAY_LEN(decode_rows); row++) {
        for (size_t way = 0; way < ARRAY_LEN(ways); way++)
            check_decoded(row, way);
    }
}

Test(body, keeps_nul_and_8bit)
{
    struct slice wire = SLICE_LIT("a\0b\xff\xc3\xbc\0\r\n.\r\n");
    struct result r = decode(wire, 1, 4);
    cr_assert(r.is_ended && !r.is_repaired);
    cr_assert(slice_eq(buf_slice(&r.text), slice_of(wire.p, wire.n - 3)));
    buf_fini(&r.text);
}

Test(body, waits_when_there_is_no_room)
{
    struct buf out;
    buf_init(&out, 3);
    struct smtp_body_decoder d;
    smtp_body_decoder_init(&d);
    struct slice in = SLICE_LIT("abc\r\n.\r\n");
    cr_assert(!smtp_body_decode(&d, &in, &out));
    cr_assert_eq(in.n, 8);
    cr_assert(out.len == 0 && !out.failed);
    buf_fini(&out);
}

Test(body, can_decode_the_next_message_at_once)
{
    struct smtp_body_decoder d;
    smtp_body_decoder_init(&d);
    struct buf out;
    buf_init(&out, 100);
    struct slice in = SLICE_LIT("one\r\n.\r\n.\r\n..two\r\n.\r\n");
    cr_assert(smtp_body_decode(&d, &in, &out));
    cr_assert(smtp_body_decode(&d, &in, &out));
    cr_assert(smtp_body_decode(&d, &in, &out));
    cr_assert(slice_eq(buf_slice(&out), SLICE_LIT("one\r\n.two\r\n")));
    cr_assert_eq(in.n, 0);
    buf_fini(&out);
}

/* ---- Encoder ------------------------------------------------------------------------- */

static void encode(struct slice text, size_t piece, struct buf *out)
{
    struct smtp_body_encoder e;
    smtp_body_encoder_init(&e);
    while (text.n > 0) {
        size_t n = piece < text.n ? piece : text.n;
        cr_assert(smtp_body_encode(&e, slice_of(text.p, n), out));
        text = slice_skip(text, n);
    }
    cr_assert(smtp_body_encode_end(&e, out));
}

Test(body, stuffs_dots_and_ends)
{
    static const struct {
        const char *text, *wire;
    } rows[] = {
        { "", ".\r\n" },
        { "\r\n", "\r\n.\r\n" },
        { "a\r\n", "a\r\n.\r\n" },
        { "a", "a\r\n.\r\n" },
        { ".", "..\r\n.\r\n" },
        { ".\r\n", "..\r\n.\r\n" },
        { "..\r\n", "...\r\n.\r\n" },
        { "a.b\r\n.c\r\n\r\n.\r\n", "a.b\r\n..c\r\n\r\n..\r\n.\r\n" },
        { "a\r\n\r\n", "a\r\n\r\n.\r\n" },
        /* Not canonical: sent as it is, but never as an end. */
        { "a\n.\nb\r\n", "a\n..\nb\r\n.\r\n" },
        { "a\r.\rb\r\n", "a\r..\rb\r\n.\r\n" },
        { "a\n", "a\n\r\n.\r\n" },
        { "a\r", "a\r\r\n.\r\n" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t piece = 1; piece < 20; piece++) {
            struct buf out;
            buf_init(&out, 100);
            encode(slice_str(rows[i].text), piece, &out);
            cr_assert_str_eq(buf_cstr(&out), rows[i].wire, "row %zu piece %zu", i, piece);
            buf_fini(&out);
        }
    }
}

Test(body, adds_nothing_when_the_encoded_text_does_not_fit)
{
    struct smtp_body_encoder e;
    smtp_body_encoder_init(&e);
    struct buf out;
    buf_init(&out, 8);
    cr_assert(!smtp_body_encode(&e, SLICE_LIT(".a\r\n.b\r\n"), &out));
    cr_assert(out.failed && out.len == 0);
    buf_clear(&out);
    cr_assert(smtp_body_encode(&e, SLICE_LIT(".a\r\n.b"), &out));
    cr_assert(!smtp_body_encode_end(&e, &out));
    buf_consume(&out, 5);
    cr_assert(smtp_body_encode_end(&e, &out));
    cr_assert(slice_eq(buf_slice(&out), SLICE_LIT("..b\r\n.\r\n")));
    buf_fini(&out);
}

/* ---- Properties ---------------------------------------------------------------------- */

static unsigned seed = 12345;

static unsigned draw(unsigned n)
{
    seed = seed * 1103515245 + 12345;
    return (seed >> 16) % n;
}

/* Text of the bytes that matter, so that every short sequence comes up. */
static size_t draw_text(char *text, size_t max)
{
    size_t n = draw((unsigned)max);
    for (size_t i = 0; i < n; i++)
        text[i] = "\r\n..a\r\n.\r"[draw(9)];
    return n;
}

/*
 * The rules once more, as a person would write them down: line by line, the whole text at hand.
 * `wire` ends in the end of data. Returns the length of the wire up to behind the end.
 */
static size_t decode_by_lines(struct slice wire, struct buf *text)
{
    bool is_bare = false;
    size_t i = 0;
    for (;;) {
        if (!is_bare && wire.n - i >= 3 && memcmp(wire.p + i, ".\r\n", 3) == 0)
            return i + 3;
        size_t end = i;
        while (wire.p[end] != '\r' && wire.p[end] != '\n')
            end++;
        bool is_stuffed =
            end > i && wire.p[i] == '.' && end - i > 1 && (!is_bare || wire.p[i + 1] == '.');
        i += is_stuffed;
        buf_add(text, wire.p + i, end - i);
        buf_add_str(text, "\r\n");
        is_bare = wire.p[end] == '\n' || wire.p[end + 1] != '\n';
        i = end + (is_bare ? 1 : 2);
    }
}

Test(body, agrees_with_the_rules_written_line_by_line)
{
    for (unsigned round = 0; round < 20000; round++) {
        char wire[80];
        size_t n = draw_text(wire, 60);
        memcpy(wire + n, "x\r\n.\r\n", 7);
        struct buf want;
        buf_init(&want, 1000);
        size_t end = decode_by_lines(slice_of(wire, n + 6), &want);
        struct result r = decode(slice_of(wire, n + 6), 1 + draw(8), 4 + draw(8));
        cr_assert(r.is_ended);
        cr_assert(slice_eq(buf_slice(&r.text), buf_slice(&want)), "round %u", round);
        cr_assert_eq(r.left, n + 6 - end);
        buf_fini(&r.text);
        buf_fini(&want);
    }
}

/* Where a reader that takes CR, LF and CRLF all for line ends sees the end of data. */
static size_t tolerant_end(struct slice wire)
{
    for (size_t i = 0; i < wire.n; i++) {
        bool at_front = i == 0 || wire.p[i - 1] == '\r' || wire.p[i - 1] == '\n';
        bool is_alone = i + 1 == wire.n || wire.p[i + 1] == '\r' || wire.p[i + 1] == '\n';
        if (wire.p[i] == '.' && at_front && is_alone)
            return i;
    }
    return wire.n;
}

/* SMTP smuggling: nobody behind us may see an end that we did not see. */
Test(body, what_leaves_has_one_end_for_every_reader)
{
    for (unsigned round = 0; round < 20000; round++) {
        char wire[80];
        size_t n = draw_text(wire, 60);
        memcpy(wire + n, "\r\n.\r\n", 6);
        struct result r = decode(slice_of(wire, n + 5), 1 + draw(8), 100);
        cr_assert(r.is_ended);
        struct buf out;
        buf_init(&out, 1000);
        encode(buf_slice(&r.text), 1 + draw(8), &out);
        cr_assert_eq(tolerant_end(buf_slice(&out)), out.len - 3, "round %u", round);
        struct result again = decode(buf_slice(&out), 1 + draw(8), 4 + draw(100));
        cr_assert(again.is_ended && again.left == 0 && !again.is_repaired && !again.saw_bare_end);
        cr_assert(slice_eq(buf_slice(&again.text), buf_slice(&r.text)), "round %u", round);
        buf_fini(&out);
        buf_fini(&r.text);
        buf_fini(&again.text);
    }
}

/* ---- Large --------------------------------------------------------------------------- */

Test(body, carries_large_text_and_hostile_line_ends)
{
    static const char *const units[] = { "0123456789012345678901234567890123456789\r\n", "\r\n",
        "x", "a\n", "a\r", "\n", "\r", "..x\r\n", "\n..x", "\r..x", ".x\r\n.y\n.z\r" };
    enum { SIZE = 2 * 1024 * 1024 };
    char *wire = malloc(SIZE + 8);
    for (size_t u = 0; u < ARRAY_LEN(units); u++) {
        size_t n = 0, unit = strlen(units[u]);
        for (; n + unit <= SIZE; n += unit)
            memcpy(wire + n, units[u], unit);
        memcpy(wire + n, "x\r\n.\r\n", 6);
        struct buf want;
        buf_init(&want, 4 * SIZE + 100);
        decode_by_lines(slice_of(wire, n + 6), &want);
        struct result r = decode(slice_of(wire, n + 6), 65536, 65536);
        cr_assert(r.is_ended && r.left == 0);
        cr_assert(slice_eq(buf_slice(&r.text), buf_slice(&want)), "unit %zu", u);
        buf_fini(&r.text);
        buf_fini(&want);
    }
    free(wire);
}

/* Clean lines with up to three bytes among them that are not, so that they fall everywhere: into a
 * block, between two, to the end of a piece. */
static size_t draw_lines(char *text, size_t max)
{
    size_t n = 1 + draw((unsigned)max);
    for (size_t i = 0; i < n; i++)
        text[i] = i % 62 < 60 ? 'a' : "\r\n"[i % 62 - 60];
    for (unsigned spoils = draw(4); spoils > 0; spoils--)
        text[draw((unsigned)n)] = "\r\n.a"[draw(4)];
    for (unsigned dots = draw(3); dots > 0; dots--)
        text[draw((unsigned)n) / 62 * 62] = '.';
    return n;
}

Test(body, is_the_same_when_clean_text_is_not_copied)
{
    static char wire[4100];
    for (unsigned round = 0; round < 20000; round++) {
        size_t n = draw_lines(wire, 4000), piece = 1 + draw(2000);
        memcpy(wire + n, "\r\n.\r\n", 6);
        struct result want = decode(slice_of(wire, n + 5), 1000000, 1000000);
        skips = true;
        struct result r = decode(slice_of(wire, n + 5), piece, 1000000);
        skips = false;
        cr_assert(slice_eq(buf_slice(&r.text), buf_slice(&want.text)), "round %u", round);
        cr_assert(r.is_ended == want.is_ended && r.left == want.left, "round %u", round);
        cr_assert(r.is_repaired == want.is_repaired && r.saw_bare_end == want.saw_bare_end,
            "round %u", round);
        buf_fini(&r.text);
        buf_fini(&want.text);
    }
    cr_assert_gt(skipped, 1000000);
}

/* ---- Normaliser ---------------------------------------------------------------------- */

static bool normalise(struct slice in, size_t piece, bool skips_clean, struct buf *text)
{
    struct smtp_line_normaliser n;
    smtp_line_normaliser_init(&n);
    while (in.n > 0) {
        struct slice part = slice_of(in.p, piece < in.n ? piece : in.n);
        in = slice_skip(in, part.n);
        size_t clean = skips_clean ? smtp_line_skip_clean(&n, part, 1) : 0;
        buf_add(text, part.p, clean);
        part = slice_skip(part, clean);
        smtp_line_normalise(&n, &part, text);
    }
    smtp_line_normalise_end(&n, text);
    return n.repaired;
}

Test(body, normalises_the_same_when_clean_text_is_not_copied)
{
    static char text[4100];
    for (unsigned round = 0; round < 20000; round++) {
        struct slice in = slice_of(text, draw_lines(text, 4000));
        struct buf want, have;
        buf_init(&want, 10000);
        buf_init(&have, 10000);
        bool is_repaired = normalise(in, in.n, false, &want);
        cr_assert_eq(normalise(in, 1 + draw(2000), true, &have), is_repaired, "round %u", round);
        cr_assert(slice_eq(buf_slice(&have), buf_slice(&want)), "round %u", round);
        buf_fini(&want);
        buf_fini(&have);
    }
}

Test(body, normalises_line_ends_and_leaves_dots_alone)
{
    static const struct {
        const char *in, *want;
        bool is_repaired;
    } rows[] = {
        { "", "", false },
        { "a\r\n", "a\r\n", false },
        { "a", "a\r\n", true },
        { "a\r", "a\r\n", true },
        { "a\n", "a\r\n", true },
        { ".\r\n", ".\r\n", false },
        { "a\r\n.\r\n..b\r\n", "a\r\n.\r\n..b\r\n", false },
        { "a\n.\n..b\r.\r", "a\r\n.\r\n..b\r\n.\r\n", true },
        { "\n\r\r\n", "\r\n\r\n\r\n", true },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t way = 0; way < ARRAY_LEN(ways); way++) {
            struct buf all, out;
            buf_init(&all, 1000);
            buf_init(&out, ways[way].room);
            struct smtp_line_normaliser n;
            smtp_line_normaliser_init(&n);
            for (struct slice rest = slice_str(rows[i].in); rest.n > 0;) {
                size_t piece = ways[way].piece < rest.n ? ways[way].piece : rest.n;
                struct slice in = slice_of(rest.p, piece);
                smtp_line_normalise(&n, &in, &out);
                rest = slice_skip(rest, piece - in.n);
                buf_add_slice(&all, buf_slice(&out));
                buf_clear(&out);
            }
            smtp_line_normalise_end(&n, &all);
            cr_assert_str_eq(buf_cstr(&all), rows[i].want, "row %zu way %zu", i, way);
            cr_assert_eq(n.repaired, rows[i].is_repaired, "row %zu way %zu", i, way);
            buf_fini(&all);
            buf_fini(&out);
        }
    }
}
