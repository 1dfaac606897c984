/*
 * Header repairs: the same however the text is cut, canonical, and complete: a second pass finds
 * nothing left to repair.
 */
#include "fuzz.h"
#include "smtp/body.h"
#include "smtp/header.h"

enum { TEXT_MAX = 1 << 24 };

static struct smtp_header_params make_params(bool is_forced, struct slice evil)
{
    return (struct smtp_header_params){
        .helo = evil,
        .client_ip = SLICE_LIT("192.0.2.7"),
        .hostname = SLICE_LIT("gw.example"),
        .with = SLICE_LIT("ESMTP"),
        .id = SLICE_LIT("ID1"),
        .recipient = evil,
        .now = 1795298782,
        .force_sender = is_forced ? SLICE_LIT("fs@corp.example") : SLICE_NONE,
    };
}

static enum smtp_header_verdict filter(const struct smtp_header_params *params, struct slice text,
    size_t piece, struct buf *out, unsigned *ret_repairs)
{
    struct smtp_header_filter f;
    smtp_header_filter_init(&f, params);
    enum smtp_header_verdict verdict = SMTP_HEADER_OK;
    while (text.n > 0 && verdict == SMTP_HEADER_OK) {
        size_t n = piece < text.n ? piece : text.n;
        verdict = smtp_header_filter_feed(&f, slice_of(text.p, n), out);
        text = slice_skip(text, n);
    }
    if (verdict == SMTP_HEADER_OK)
        verdict = smtp_header_filter_end(&f, out);
    *ret_repairs = f.repairs;
    smtp_header_filter_fini(&f);
    CLAIM(!out->failed);
    return verdict;
}

static bool is_canonical(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\r' && (i + 1 == s.n || s.p[i + 1] != '\n'))
            return false;
        if (s.p[i] == '\n' && (i == 0 || s.p[i - 1] != '\r'))
            return false;
    }
    return true;
}

static void check(struct slice text, size_t piece, bool is_forced)
{
    struct smtp_header_params params =
        make_params(is_forced, slice_of(text.p, text.n < 40 ? text.n : 40));
    struct buf whole, pieces, again;
    buf_init(&whole, TEXT_MAX);
    buf_init(&pieces, TEXT_MAX);
    buf_init(&again, TEXT_MAX);
    unsigned repairs, repairs_again;
    enum smtp_header_verdict verdict = filter(&params, text, text.n, &whole, &repairs);
    CLAIM(filter(&params, text, piece, &pieces, &repairs_again) == verdict);
    CLAIM(slice_eq(buf_slice(&whole), buf_slice(&pieces)) && repairs == repairs_again);
    if (verdict == SMTP_HEADER_OK) {
        CLAIM(slice_starts_nocase(buf_slice(&whole), SLICE_LIT("Received: from ")));
        CLAIM(is_canonical(buf_slice(&whole)));
        CLAIM(whole.len <= text.n + SMTP_HEADER_ADDED_MAX);
        /* Only hops may stop it the second time. */
        if (filter(&params, buf_slice(&whole), piece, &again, &repairs_again) == SMTP_HEADER_OK)
            CLAIM(repairs_again == 0);
    }
    buf_fini(&whole);
    buf_fini(&pieces);
    buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct slice in = fuzz_text(data, size);
    struct buf text;
    buf_init(&text, TEXT_MAX);
    struct smtp_line_normaliser n;
    smtp_line_normaliser_init(&n);
    smtp_line_normalise(&n, &in, &text);
    smtp_line_normalise_end(&n, &text);
    check(buf_slice(&text), 1 + data[0] % 64, (data[0] & 128) != 0);
    buf_fini(&text);
    return 0;
}
