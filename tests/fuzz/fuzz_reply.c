/* Replies: fed whole and in pieces they are the same, and what is written of them is read again. */
#include "fuzz.h"
#include "smtp/reply.h"

enum { TRANSCRIPT_MAX = 1 << 20 };

static void check_written(const struct smtp_reply *r)
{
    struct buf out;
    buf_init(&out, TRANSCRIPT_MAX);
    CLAIM(smtp_reply_add_oneline(r, &out) && fuzz_is_clean(buf_slice(&out)));
    buf_clear(&out);
    CLAIM(smtp_reply_add_wire(r, &out));
    struct smtp_reply_parser p;
    smtp_reply_parser_init(&p);
    struct slice in = buf_slice(&out);
    CLAIM(smtp_reply_parser_feed(&p, &in, NULL) == SMTP_REPLY_DONE && in.n == 0);
    CLAIM(p.reply.code == r->code && slice_eq(buf_slice(&p.reply.text), buf_slice(&r->text)));
    CLAIM(fuzz_is_inside(smtp_reply_status(r), buf_slice(&r->text)));
    smtp_reply_parser_fini(&p);
    buf_fini(&out);
}

/* All that the parser says, up to the first line that is none. */
static void transcribe(struct slice bytes, size_t piece, struct buf *out)
{
    struct smtp_reply_parser p;
    smtp_reply_parser_init(&p);
    enum smtp_reply_feed result = SMTP_REPLY_MORE;
    while (bytes.n > 0 && result != SMTP_REPLY_BAD) {
        struct slice in = slice_of(bytes.p, piece < bytes.n ? piece : bytes.n);
        size_t before = in.n;
        struct err e;
        result = smtp_reply_parser_feed(&p, &in, &e);
        bytes = slice_skip(bytes, before - in.n);
        if (result == SMTP_REPLY_DONE) {
            CLAIM(p.reply.code >= 200 && p.reply.code <= 599);
            buf_addf(out, "%u ", p.reply.code);
            buf_add_slice(out, buf_slice(&p.reply.text));
            check_written(&p.reply);
        }
        if (result == SMTP_REPLY_BAD) {
            CLAIM(fuzz_is_clean(slice_str(e.text)));
            buf_add_str(out, e.text);
        }
        CLAIM(result != SMTP_REPLY_MORE || in.n == 0);
    }
    smtp_reply_parser_fini(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct slice bytes = fuzz_text(data, size);
    struct buf whole, pieces;
    buf_init(&whole, TRANSCRIPT_MAX);
    buf_init(&pieces, TRANSCRIPT_MAX);
    transcribe(bytes, bytes.n + 1, &whole);
    transcribe(bytes, 1 + data[0] % 16, &pieces);
    CLAIM(slice_eq(buf_slice(&whole), buf_slice(&pieces)));
    buf_fini(&whole);
    buf_fini(&pieces);
    return 0;
}
