/*
 * Message bodies: the decoder gives the same text whole, byte by byte and with hardly any room;
 * what is encoded again has one end of data, whichever line ends its reader believes in (SMTP
 * smuggling).
 */
#include "fuzz.h"
#include "smtp/body.h"

enum { TEXT_MAX = 1 << 24 };

/* Returns the bytes that are left behind the end of data, -1 when there was no end. */
static long decode(struct slice wire, size_t piece, size_t room, struct buf *text)
{
    bool skips = room == TEXT_MAX && piece == wire.n;
    struct smtp_body_decoder d;
    smtp_body_decoder_init(&d);
    struct buf out;
    buf_init(&out, room);
    bool is_ended = false;
    while (wire.n > 0 && !is_ended) {
        struct slice in = slice_of(wire.p, piece < wire.n ? piece : wire.n);
        size_t before = in.n;
        size_t clean = skips ? smtp_body_skip_clean(&d, in, 1) : 0;
        buf_add(text, in.p, clean);
        in = slice_skip(in, clean);
        is_ended = smtp_body_decode(&d, &in, &out);
        CLAIM(!out.failed && (in.n < before || out.len > 0));
        buf_add_slice(text, buf_slice(&out));
        buf_clear(&out);
        wire = slice_skip(wire, before - in.n);
    }
    buf_fini(&out);
    return is_ended ? (long)wire.n : -1;
}

static bool is_canonical(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\r' && (i + 1 == s.n || s.p[i + 1] != '\n'))
            return false;
        if (s.p[i] == '\n' && (i == 0 || s.p[i - 1] != '\r'))
            return false;
    }
    return s.n == 0 || s.p[s.n - 1] == '\n';
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

static void encode(struct slice text, size_t piece, struct buf *wire)
{
    struct smtp_body_encoder e;
    smtp_body_encoder_init(&e);
    while (text.n > 0) {
        size_t n = piece < text.n ? piece : text.n;
        CLAIM(smtp_body_encode(&e, slice_of(text.p, n), wire));
        text = slice_skip(text, n);
    }
    CLAIM(smtp_body_encode_end(&e, wire));
}

static void check_encoded(struct slice text, size_t piece)
{
    struct buf wire, again;
    buf_init(&wire, TEXT_MAX);
    buf_init(&again, TEXT_MAX);
    encode(text, piece, &wire);
    CLAIM(tolerant_end(buf_slice(&wire)) == wire.len - 3);
    CLAIM(decode(buf_slice(&wire), wire.len, TEXT_MAX, &again) == 0);
    CLAIM(slice_eq(buf_slice(&again), text));
    buf_fini(&wire);
    buf_fini(&again);
}

/* BDAT: the same text however it is cut, canonical, and with the same bytes but for line ends. */
static void check_normalised(struct slice text, size_t piece, struct buf *out)
{
    struct smtp_line_normaliser n;
    smtp_line_normaliser_init(&n);
    while (text.n > 0) {
        struct slice in = slice_of(text.p, piece < text.n ? piece : text.n);
        size_t before = in.n;
        smtp_line_normalise(&n, &in, out);
        CLAIM(in.n < before);
        text = slice_skip(text, before - in.n);
    }
    smtp_line_normalise_end(&n, out);
    CLAIM(is_canonical(buf_slice(out)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct slice wire = fuzz_text(data, size);
    size_t piece = 1 + data[0] % 16, room = 4 + data[0] / 16;
    struct buf whole, bytes, tight;
    buf_init(&whole, TEXT_MAX);
    buf_init(&bytes, TEXT_MAX);
    buf_init(&tight, TEXT_MAX);
    long left = decode(wire, wire.n, TEXT_MAX, &whole);
    CLAIM(decode(wire, 1, TEXT_MAX, &bytes) == left);
    CLAIM(decode(wire, piece, room, &tight) == left);
    CLAIM(slice_eq(buf_slice(&whole), buf_slice(&bytes)));
    CLAIM(slice_eq(buf_slice(&whole), buf_slice(&tight)));
    if (left >= 0) {
        CLAIM(is_canonical(buf_slice(&whole)));
        check_encoded(buf_slice(&whole), piece);
    }
    /* The encoder's promise for text that is not canonical, too: no end before the end. */
    buf_clear(&bytes);
    encode(wire, piece, &bytes);
    CLAIM(tolerant_end(buf_slice(&bytes)) == bytes.len - 3);
    buf_clear(&whole);
    buf_clear(&tight);
    check_normalised(wire, wire.n, &whole);
    check_normalised(wire, piece, &tight);
    CLAIM(slice_eq(buf_slice(&whole), buf_slice(&tight)));
    buf_fini(&whole);
    buf_fini(&bytes);
    buf_fini(&tight);
    return 0;
}
