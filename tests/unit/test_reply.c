#include "smtp/reply.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

/* What a parser said of some bytes: "250 text|text" per reply, then "more" or "bad". */
static void transcribe(struct slice bytes, size_t piece, struct buf *out)
{
    struct smtp_reply_parser p;
    smtp_reply_parser_init(&p);
    enum smtp_reply_feed result = SMTP_REPLY_MORE;
    while (result != SMTP_REPLY_BAD && bytes.n > 0) {
        size_t n = piece < bytes.n ? piece : bytes.n;
        char *copy = malloc(n); /* of just this size: ASan sees a read behind the piece */
        memcpy(copy, bytes.p, n);
        struct slice in = slice_of(copy, n);
        struct err e = { .kind = ERR_NONE };
        do {
            result = smtp_reply_parser_feed(&p, &in, &e);
            if (result == SMTP_REPLY_DONE)
                buf_addf(out, "%u '%s'\n", p.reply.code, buf_cstr(&p.reply.text));
            if (result == SMTP_REPLY_BAD)
                buf_addf(out, "bad: %s\n", e.text);
        } while (result == SMTP_REPLY_DONE && in.n > 0);
        cr_assert(result == SMTP_REPLY_BAD || in.n == 0);
        free(copy);
        bytes = slice_skip(bytes, n);
    }
    if (result == SMTP_REPLY_MORE)
        buf_add_str(out, "more\n");
    smtp_reply_parser_fini(&p);
}

static void check_transcript(struct slice bytes, const char *want)
{
    static const size_t pieces[] = { 100000, 1, 2, 3, 7 };
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        struct buf out;
        buf_init(&out, 100000);
        transcribe(bytes, pieces[i], &out);
        cr_assert_str_eq(buf_cstr(&out), want, "in pieces of %zu: '%s', want '%s'", pieces[i],
            buf_cstr(&out), want);
        buf_fini(&out);
    }
}

Test(reply, reads_one_and_several_lines)
{
    static const struct {
        const char *bytes, *want;
    } rows[] = {
        { "220 mail.example ESMTP\r\n", "220 'mail.example ESMTP'\n" },
        { "250\r\n", "250 ''\n" },
        { "250 \r\n", "250 ''\n" },
        { "250-\r\n250\r\n", "250 '\n'\n" },
        { "250-a\r\n250-\r\n250 c\r\n", "250 'a\n\nc'\n" },
        { "250 a\n", "250 'a'\n" },
        { "250-a\n250 b\r\n", "250 'a\nb'\n" },
        { "250 a\r\n354 b\r\n", "250 'a'\n354 'b'\n" },
        { "250 a\r\n550-b\r\n550", "250 'a'\nmore\n" },
        { "599 last\r\n", "599 'last'\n" },
        { "200 first\r\n", "200 'first'\n" },
        { "571 Exchange\r\n", "571 'Exchange'\n" },
        { "334 TlRM\r\n", "334 'TlRM'\n" },
        { "334 NTLM supported\r\n", "334 'NTLM supported'\n" },
        { "250  two blanks\r\n", "250 ' two blanks'\n" },
        { "250 tab\tstays\r\n", "250 'tab\tstays'\n" },
        { "250 a\rb\x1b[2J\x7f\r\n", "250 'a?b?[2J?'\n" },
        { "250 a\r\r\n", "250 'a?'\n" },
        { "250 gr\xc3\xbc\xdf\r\n", "250 'gr\xc3\xbc\xdf'\n" },
        { "2", "more\n" },
        { "250-a\r\n", "more\n" },
        { "250 a\r", "more\n" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_transcript(slice_str(rows[i].bytes), rows[i].want);
    check_transcript(SLICE_LIT("250 a\0b\r\n"), "250 'a?b'\n");
}

Test(reply, refuses_what_is_none)
{
#define NONE  "bad: the server sent what is no SMTP reply: "
#define MIXED "bad: the server changed the code within one reply: "
    static const struct {
        const char *bytes, *want;
    } rows[] = {
        { "\r\n", NONE "''\n" },
        { "25\r\n", NONE "'25'\n" },
        { "2500 a\r\n", NONE "'2500 a'\n" },
        { "250a\r\n", NONE "'250a'\n" },
        { "250\ta\r\n", NONE "'250<TAB>a'\n" },
        { "25 0 a\r\n", NONE "'25 0 a'\n" },
        { " 250 a\r\n", NONE "' 250 a'\n" },
        { "999 a\r\n", NONE "'999 a'\n" },
        { "600 a\r\n", NONE "'600 a'\n" },
        { "199 a\r\n", NONE "'199 a'\n" },
        { "000 a\r\n", NONE "'000 a'\n" },
        { "+250 a\r\n", NONE "'+250 a'\n" },
        { "+OK POP3 ready\r\n", NONE "'+OK POP3 ready'\n" },
        { "* OK IMAP4 ready\r\n", NONE "'* OK IMAP4 ready'\n" },
        { "HTTP/1.1 400 Bad Request\r\n", NONE "'HTTP/1.1 400 Bad Request'\n" },
        { "250-a\r\n251 b\r\n", MIXED "'251 b'\n" },
        { "250-a\r\n251-b\r\n", MIXED "'251-b'\n" },
        { "250-a\r\nb\r\n", NONE "'b'\n" },
        { "250-a\r\n\r\n", NONE "''\n" },
        { "250 a\r\nb\r\n", "250 'a'\n" NONE "'b'\n" },
        { "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n",
            NONE "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...'\n" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_transcript(slice_str(rows[i].bytes), rows[i].want);
    check_transcript(SLICE_LIT("\x15\x03\x01\0\n"), NONE "'<0x15><0x03><0x01><0x00>'\n");
}

/* Fed as one line of `n` octets in all, and told apart by one octet. */
static enum smtp_reply_feed feed_line(size_t n, size_t piece)
{
    char *line = malloc(n);
    memset(line, 'x', n);
    memcpy(line, "334 ", 4);
    memcpy(line + n - 2, "\r\n", 2);
    struct smtp_reply_parser p;
    smtp_reply_parser_init(&p);
    enum smtp_reply_feed result = SMTP_REPLY_MORE;
    struct err e = { .kind = ERR_NONE };
    for (struct slice rest = slice_of(line, n); rest.n > 0 && result == SMTP_REPLY_MORE;) {
        struct slice in = slice_of(rest.p, piece < rest.n ? piece : rest.n);
        size_t before = in.n;
        result = smtp_reply_parser_feed(&p, &in, &e);
        rest = slice_skip(rest, before - in.n);
    }
    if (result == SMTP_REPLY_BAD)
        cr_assert(strstr(e.text, "too long") && e.kind == ERR_PROTO, "%s", e.text);
    smtp_reply_parser_fini(&p);
    free(line);
    return result;
}

Test(reply, lines_have_a_limit)
{
    static const size_t pieces[] = { 1, 1000, 100000 };
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        cr_assert_eq(feed_line(SMTP_REPLY_LINE_MAX + 1, pieces[i]), SMTP_REPLY_DONE);
        cr_assert_eq(feed_line(SMTP_REPLY_LINE_MAX + 2, pieces[i]), SMTP_REPLY_BAD);
        cr_assert_eq(feed_line(10 * SMTP_REPLY_LINE_MAX, pieces[i]), SMTP_REPLY_BAD);
    }
}

Test(reply, replies_have_a_limit)
{
    struct smtp_reply_parser p;
    smtp_reply_parser_init(&p);
    struct err e = { .kind = ERR_NONE };
    for (size_t i = 0; i <= SMTP_REPLY_MAX; i++) {
        struct slice in = SLICE_LIT("250-\r\n");
        cr_assert_eq(smtp_reply_parser_feed(&p, &in, &e), SMTP_REPLY_MORE);
    }
    struct slice in = SLICE_LIT("250 \r\n");
    cr_assert_eq(smtp_reply_parser_feed(&p, &in, &e), SMTP_REPLY_BAD);
    cr_assert(strstr(e.text, "too long"));
    smtp_reply_parser_fini(&p);
}

Test(reply, leaves_what_follows_for_the_next_call)
{
    struct smtp_reply_parser p;
    smtp_reply_parser_init(&p);
    struct slice in = SLICE_LIT("220 ready\r\n250 injected\r\n");
    cr_assert_eq(smtp_reply_parser_feed(&p, &in, NULL), SMTP_REPLY_DONE);
    cr_assert(slice_eq(in, SLICE_LIT("250 injected\r\n")));
    cr_assert_eq(p.reply.code, 220);
    cr_assert_eq(smtp_reply_parser_feed(&p, &in, NULL), SMTP_REPLY_DONE);
    cr_assert_eq(p.reply.code, 250);
    cr_assert_eq(smtp_reply_parser_feed(&p, &in, NULL), SMTP_REPLY_MORE);
    cr_assert_eq(p.reply.code, 0);
    smtp_reply_parser_fini(&p);
}

Test(reply, finds_the_enhanced_status)
{
    static const struct {
        unsigned code;
        const char *text, *status;
    } rows[] = {
        { 550, "5.7.60 SMTP; no permission", "5.7.60" },
        { 250, "2.1.0", "2.1.0" },
        { 250, "2.1.0\n2.1.5 second", "2.1.0" },
        { 421, "4.4.2 too fast", "4.4.2" },
        { 550, "5.123.999 long", "5.123.999" },
        { 550, "5.1234.1 too long", "" },
        { 550, "4.7.0 of another class", "" },
        { 250, "ok", "" },
        { 250, "", "" },
        { 250, "2.", "" },
        { 250, "2.1", "" },
        { 250, "2.1.", "" },
        { 250, "2.1.0x", "" },
        { 250, "2.1.0.1", "" },
        { 250, "22.1.0", "" },
        { 250, " 2.1.0", "" },
        { 250, "2..0 x", "" },
        { 354, "3.0.0 go", "3.0.0" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct smtp_reply r;
        smtp_reply_init(&r);
        cr_assert(smtp_reply_set(&r, rows[i].code, rows[i].text));
        cr_assert(slice_eq(smtp_reply_status(&r), slice_str(rows[i].status)), "'%s'", rows[i].text);
        cr_assert_eq(smtp_reply_class(&r), rows[i].code / 100);
        smtp_reply_fini(&r);
    }
}

static const struct {
    unsigned code;
    const char *text, *oneline, *wire;
} shown_rows[] = {
    { 250, "2.1.0 ok", "250 2.1.0 ok", "250 2.1.0 ok\r\n" },
    { 250, "", "250", "250 \r\n" },
    { 550, "a\nb", "550 a / b", "550-a\r\n550 b\r\n" },
    { 550, "a\n\nb\n", "550 a / b", "550-a\r\n550-\r\n550-b\r\n550 \r\n" },
    { 550, "a\r\nRCPT", "550 a / RCPT", "550-a?\r\n550 RCPT\r\n" },
    { 550, "a\rb\x01", "550 a<CR>b<0x01>", "550 a?b?\r\n" },
    { 550, "\xe4 gr\xc3\xbc", "550 <0xE4> gr\xc3\xbc", "550 \xe4 gr\xc3\xbc\r\n" },
};

Test(reply, is_shown_and_sent_without_line_ends_of_its_own)
{
    for (size_t i = 0; i < ARRAY_LEN(shown_rows); i++) {
        struct smtp_reply r;
        smtp_reply_init(&r);
        smtp_reply_set(&r, shown_rows[i].code, shown_rows[i].text);
        struct buf out;
        buf_init(&out, 1000);
        cr_assert(smtp_reply_add_oneline(&r, &out));
        cr_assert_str_eq(buf_cstr(&out), shown_rows[i].oneline);
        buf_clear(&out);
        cr_assert(smtp_reply_add_wire(&r, &out));
        cr_assert_str_eq(buf_cstr(&out), shown_rows[i].wire);
        buf_fini(&out);
        buf_init(&out, 4);
        cr_assert(!smtp_reply_add_wire(&r, &out));
        buf_fini(&out);
        smtp_reply_fini(&r);
    }
}

Test(reply, what_was_written_is_read_again)
{
    struct smtp_reply r;
    smtp_reply_init(&r);
    smtp_reply_set(&r, 550, "5.7.1 first\n\n5.7.1 third\n");
    struct buf wire;
    buf_init(&wire, 1000);
    smtp_reply_add_wire(&r, &wire);
    check_transcript(buf_slice(&wire), "550 '5.7.1 first\n\n5.7.1 third\n'\n");
    buf_fini(&wire);
    smtp_reply_fini(&r);
}

Test(reply, empty_ones_have_no_class)
{
    struct smtp_reply r, copy;
    smtp_reply_init(&r);
    smtp_reply_init(&copy);
    cr_assert_eq(smtp_reply_class(&r), 0);
    cr_assert_eq(smtp_reply_status(&r).n, 0);
    struct buf out;
    buf_init(&out, 100);
    cr_assert(smtp_reply_add_oneline(&r, &out));
    cr_assert_eq(out.len, 0);
    smtp_reply_set(&copy, 250, "older");
    smtp_reply_set(&copy, 250, "old");
    cr_assert(slice_eq(buf_slice(&copy.text), SLICE_LIT("old")));
    cr_assert(smtp_reply_copy(&copy, &r));
    cr_assert(copy.code == 0 && copy.text.len == 0);
    smtp_reply_set(&r, 354, "go\non");
    cr_assert(smtp_reply_copy(&copy, &r));
    smtp_reply_clear(&r);
    cr_assert(copy.code == 354 && slice_eq(buf_slice(&copy.text), SLICE_LIT("go\non")));
    cr_assert(smtp_reply_copy(&copy, &copy));
    cr_assert_eq(copy.code, 354);
    buf_fini(&out);
    smtp_reply_fini(&r);
    smtp_reply_fini(&copy);
}
