#include "base/str.h"
#include "smtp/bounce.h"
#include "smtp/quoted.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define HEADER                                                                                     \
    "Received: from erp ([192.0.2.7]) by relay.corp.example with ESMTP id 6A1b2c;\r\n"             \
    " Sat, 21 Nov 2026 22:06:22 +0000\r\n"                                                         \
    "From: ERP <erp@corp.example>\r\nTo: jane@corp.example\r\nSubject: Invoice\r\n 4711\r\n"       \
    "Message-ID: <1@erp>\r\n"

static struct slice lit(const char *s)
{
    return slice_str(s);
}

/* The facts that most cases share. */
static struct smtp_bounce facts(const struct smtp_bounce_rcpt *rcpts, size_t count)
{
    return (struct smtp_bounce){
        .hostname = SLICE_LIT("relay.corp.example"),
        .id = SLICE_LIT("7B2c3d"),
        .to = SLICE_LIT("erp@corp.example"),
        .original_id = SLICE_LIT("6A1b2c"),
        .sender = SLICE_LIT("erp@corp.example"),
        .remote_mta = SLICE_LIT("mail.corp.example"),
        .arrived = 1795298782,
        .now = 1795298800,
        .rcpts = rcpts,
        .rcpt_count = count,
        .original = SLICE_LIT(HEADER "\r\nThe body: never shown\r\n"),
    };
}

static struct buf *make(const struct smtp_bounce *b)
{
    static struct buf out;
    buf_init(&out, SMTP_BOUNCE_MAX + b->rcpt_count * SMTP_BOUNCE_RCPT_MAX);
    cr_assert(smtp_bounce_add(b, &out));
    return &out;
}

/* RFC 5322 2.1: lines of at most 998 octets, each with CRLF; RFC 2045 2.7: no NUL, 7-bit. */
static void check_canonical(struct slice text, bool is_7bit)
{
    cr_assert(text.n > 0);
    size_t column = 0;
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        bool is_end = c == '\r' && i + 1 < text.n && text.p[i + 1] == '\n';
        cr_assert(c != '\0' && (c < 0x80 || !is_7bit), "octet %zu is 0x%02X", i, c);
        cr_assert(c != '\r' || is_end, "bare CR at %zu", i);
        cr_assert(c != '\n' || (i > 0 && text.p[i - 1] == '\r'), "bare LF at %zu", i);
        column = c == '\n' ? 0 : column + 1;
        cr_assert_leq(column, 999, "a line is too long, octet %zu", i);
    }
    cr_assert_eq(text.p[text.n - 1], '\n');
}

/* How many lines begin like that. */
static unsigned count_lines(struct slice text, const char *start)
{
    unsigned count = 0;
    while (text.n > 0) {
        count += text.n >= strlen(start) && memcmp(text.p, start, strlen(start)) == 0;
        const char *lf = memchr(text.p, '\n', text.n);
        text = slice_skip(text, lf ? (size_t)(lf - text.p) + 1 : text.n);
    }
    return count;
}

/* Three parts, whatever is in them, and a header of just our fields. */
static void check_structure(struct slice text)
{
    static const char *const once[] = { "Date: ", "To: ", "Subject: ", "Message-ID: <",
        "Auto-Submitted: auto-replied\r\n", "MIME-Version: 1.0\r\n",
        "Content-Type: multipart/report" };
    const char *end = strstr(text.p, "\r\n\r\n");
    cr_assert_not_null(end);
    struct slice header = slice_of(text.p, (size_t)(end - text.p) + 2);
    for (size_t i = 0; i < ARRAY_LEN(once); i++)
        cr_assert_eq(count_lines(header, once[i]), 1, "'%s'", once[i]);
    unsigned lines = count_lines(header, "") - count_lines(header, " ");
    cr_assert_eq(lines, ARRAY_LEN(once) + 1, "%u header fields", lines); /* and From */
    cr_assert_eq(count_lines(text, "--"), 4);
    cr_assert_eq(count_lines(text, "Content-Type: text/plain; charset=utf-8\r\n"), 1);
    cr_assert_eq(count_lines(text, "Content-Type: message/delivery-status\r\n"), 1);
    cr_assert_eq(count_lines(text, "Content-Type: text/rfc822-headers\r\n"), 1);
}

static void check_whole(const struct smtp_bounce *b)
{
    struct buf *out = make(b);
    buf_cstr(out);
    check_canonical(buf_slice(out), !smtp_bounce_needs_smtputf8(b));
    check_structure(buf_slice(out));
    buf_fini(out);
}

static void check_has(const struct smtp_bounce *b, const char *want)
{
    struct buf *out = make(b);
    cr_assert(strstr(buf_cstr(out), want), "'%s' is not in\n%s", want, buf_cstr(out));
    check_canonical(buf_slice(out), !smtp_bounce_needs_smtputf8(b));
    check_structure(buf_slice(out));
    buf_fini(out);
}

static void check_has_not(const struct smtp_bounce *b, const char *unwanted)
{
    struct buf *out = make(b);
    cr_assert_not(strstr(buf_cstr(out), unwanted), "'%s' is in\n%s", unwanted, buf_cstr(out));
    buf_fini(out);
}

/* ---- Golden files ---------------------------------------------------------------------------- */

/* The file holds the report without its CRs. SUBMITD_GOLDEN=write makes the files anew. */
static void check_golden(const struct smtp_bounce *b, const char *name)
{
    check_whole(b);
    struct buf *out = make(b), want;
    buf_init(&want, 1024 * 1024);
    struct slice text = buf_slice(out);
    char *lines = malloc(text.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] != '\r')
            lines[n++] = text.p[i];
    }
    lines[n] = '\0';
    char path[200];
    snprintf(path, sizeof path, "tests/unit/data/bounce_%s.eml", name);
    const char *mode = getenv("SUBMITD_GOLDEN");
    bool is_write = mode && strcmp(mode, "write") == 0;
    FILE *f = fopen(path, is_write ? "wb" : "rb");
    cr_assert_not_null(f, "%s", path);
    if (is_write)
        fwrite(lines, 1, n, f);
    int c;
    while (!is_write && (c = fgetc(f)) != EOF)
        buf_add_char(&want, (char)c);
    fclose(f);
    if (!is_write)
        cr_assert_str_eq(buf_cstr(&want), lines, "%s is not what was made:\n%s", path, lines);
    free(lines);
    buf_fini(&want);
    buf_fini(out);
}

Test(bounce, tells_of_one_refused_recipient)
{
    const struct smtp_bounce_rcpt rcpt = { .mailbox = SLICE_LIT("jane@corp.example"),
        .reply = SLICE_LIT("550 5.1.1 User unknown") };
    struct smtp_bounce b = facts(&rcpt, 1);
    check_golden(&b, "refused");
    check_has_not(&b, "never shown");
}

Test(bounce, tells_of_several_recipients_with_dsn_parameters)
{
    const struct smtp_bounce_rcpt rcpts[] = {
        { .mailbox = SLICE_LIT("jane@corp.example"),
            .orcpt = SLICE_LIT("rfc822;jane+2Bbox@old.example"),
            .reply =
                SLICE_LIT("550 5.7.60 SMTP; Client does not have permissions to send as this "
                          "sender / [XCH01.corp.example 2026-11-21T22:06:22.123Z 08DE12345678]") },
        { .mailbox = SLICE_LIT("\"a  b\"@corp.example"), .reply = SLICE_LIT("554 no") },
        { .mailbox = SLICE_LIT("late@corp.example"),
            .reply = SLICE_LIT("451 4.7.0 Temporary server error. Please try again later. PRX5"),
            .is_expired = true },
        { .mailbox = SLICE_LIT("dark@corp.example"),
            .reply = SLICE_LIT("mail.corp.example:587: connection refused"),
            .is_expired = true },
        { .mailbox = SLICE_LIT("mute@corp.example"), .is_expired = true },
    };
    struct smtp_bounce b = facts(rcpts, ARRAY_LEN(rcpts));
    b.envid = SLICE_LIT("QQ314159+2Bx");
    b.from = SLICE_LIT("svc-mail@corp.example");
    b.to = SLICE_LIT("it@corp.example");
    b.remote_mta = SLICE_LIT("2001:db8::1");
    check_golden(&b, "several");
}

Test(bounce, writes_international_addresses)
{
    const struct smtp_bounce_rcpt rcpts[] = {
        { .mailbox = SLICE_LIT("j\xc3\xbcrgen@b\xc3\xbc"
                               "cher.example"),
            .orcpt = SLICE_LIT("utf-8;j\xc3\xbcrgen\\x{2B}x@b\xc3\xbc"
                               "cher.example"),
            .reply = SLICE_LIT("550 5.1.1 Unbekannt: J\xc3\xbcrgen \xe2\x82\xac") },
        { .mailbox = SLICE_LIT("\"\xe2\x82\xac \\a\"+b=c@corp.example") },
    };
    struct smtp_bounce b = facts(rcpts, ARRAY_LEN(rcpts));
    b.to = b.sender = SLICE_LIT("gr\xc3\xbc\xc3\x9f"
                                "e@corp.example");
    b.original = SLICE_LIT("From: gr\xc3\xbc\xc3\x9f"
                           "e@corp.example\r\nSubject: Gr\xc3\xbc\xc3\x9f"
                           "e \xf0\x9f\x93\xa7\r\n\r\n");
    cr_assert(smtp_bounce_needs_smtputf8(&b));
    check_golden(&b, "international");
}

Test(bounce, survives_hostile_facts)
{
    const struct smtp_bounce_rcpt rcpts[] = {
        { .mailbox = SLICE_LIT("a@b\r\nBcc: x@evil.example"),
            .orcpt = SLICE_LIT("rfc822\r\nX: 1;a+0D+0AX-Evil: 1\r\n\r\n+4"),
            .reply = SLICE_LIT("550 5.1.1 no\r\n\r\n--=_report_7B2c3d--\r\nX-Evil: \x1b[2J\xff") },
        { .mailbox = SLICE_LIT("\xff\xfe@x"), .orcpt = SLICE_LIT("nothing") },
    };
    struct smtp_bounce b = facts(rcpts, ARRAY_LEN(rcpts));
    b.hostname = SLICE_LIT("relay\r\nX-Evil: 1");
    b.id = SLICE_LIT("7B2c3d\"\r\nX-Evil: 1");
    b.to = SLICE_LIT("a@b>\r\nX-Evil: 1\r\n\r\n<c@d");
    b.envid = SLICE_LIT("a+0D+0AX-Evil: 1\r\n\r\n");
    b.remote_mta = SLICE_LIT("mail\r\nX-Evil: 1");
    b.sender = SLICE_LIT("a@b\r\n\r\n--=_report_7B2c3d--\r\n");
    b.original_id = SLICE_LIT("x\r\n--=_report_7B2c3d--\r\n");
    b.original =
        SLICE_LIT("Subject: \x1b[2J\r\n --\r\n--=_report_7B2c3d_--\r\n--=_report_7B2c3d--X-Evil"
                  "--1\r\nX:\tLatin \xe9 = 100%= \r\nBare: \r.\n");
    check_golden(&b, "hostile");
    check_has_not(&b, "\nX-Evil");
    check_has_not(&b, "\nBcc");
    check_has_not(&b, "\x1b");
}

/* ---- Rows ------------------------------------------------------------------------------------ */

Test(bounce, derives_the_status_from_the_reply)
{
    static const struct {
        const char *reply;
        bool is_expired;
        const char *want;
    } rows[] = {
        { "550 5.1.1 User unknown", false,
            "Status: 5.1.1\r\nRemote-MTA: dns; mail.corp.example\r\n"
            "Diagnostic-Code: smtp; 550 5.1.1 User unknown\r\n\r\n" },
        { "550", false,
            "Status: 5.0.0\r\nRemote-MTA: dns; mail.corp.example\r\nDiagnostic-Code: smtp; "
            "550\r\n\r\n" },
        { "550 ", false, "Status: 5.0.0\r\n" },
        { "550 5.1.1", false, "Status: 5.1.1\r\n" },
        { "550 5.100.999 x", false, "Status: 5.100.999\r\n" },
        { "550 5.1000.1 x", false, "Status: 5.0.0\r\n" },
        { "550 4.1.1 x", false, "Status: 5.0.0\r\n" }, /* RFC 2034 4: the classes must agree */
        { "550 5.1.1User", false, "Status: 5.0.0\r\n" },
        { "550 User unknown", false, "Status: 5.0.0\r\n" },
        { "5500 5.1.1 x", false, "Status: 5.0.0\r\nDiagnostic-Code: X-submitd; 5500 5.1.1 x\r\n" },
        { "450 4.2.1 x", false, "Status: 5.0.0\r\nRemote-MTA: dns; mail.corp.example\r\n" },
        { "450 4.2.1 x", true, "Status: 4.4.7\r\nRemote-MTA: dns; mail.corp.example\r\n" },
        { "550 5.2.1 x", true, "Status: 4.4.7\r\n" },
        { "no route", true, "Status: 4.4.7\r\nDiagnostic-Code: X-submitd; no route\r\n\r\n" },
        { "", true, "Action: failed\r\nStatus: 4.4.7\r\n\r\n" },
        { " \t ", false, "Action: failed\r\nStatus: 5.0.0\r\n\r\n" },
        { "250 2.0.0 ok", false, "Status: 5.0.0\r\nDiagnostic-Code: X-submitd; 250" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct smtp_bounce_rcpt rcpt = { .mailbox = SLICE_LIT("a@b"),
            .reply = lit(rows[i].reply),
            .is_expired = rows[i].is_expired };
        struct smtp_bounce b = facts(&rcpt, 1);
        check_has(&b, rows[i].want);
    }
}

Test(bounce, decodes_what_the_client_called_its_recipient)
{
    static const struct {
        const char *orcpt, *want;
    } rows[] = {
        { "rfc822;a@b", "Original-Recipient: rfc822; a@b\r\n" },
        { "RFC822;a+2Bc+3Dd@b", "Original-Recipient: RFC822; a+c=d@b\r\n" },
        { "rfc822;+22a+20b+22@c", "Original-Recipient: rfc822; \"a b\"@c\r\n" },
        { "rfc822;a+0D+0Ab", "Original-Recipient: rfc822; a+0D+0Ab\r\n" },
        { "rfc822;a+C3+A9", "Original-Recipient: rfc822; a+C3+A9\r\n" },
        { "rfc822;a+2", "Original-Recipient: rfc822; a+2\r\n" },
        { "rfc822;", "Original-Recipient: rfc822; \r\n" },
        { "utf-8;a\\x{E9}@b", "Original-Recipient: utf-8; a\\x{E9}@b\r\n" },
        { "utf-8;a\xc3\xa9@b", "Original-Recipient: utf-8; a\\x{E9}@b\r\n" },
        { "utf-8;\xf0\x9f\x93\xa7@b", "Original-Recipient: utf-8; \\x{1F4E7}@b\r\n" },
        { "utf-8;a\xc3@b", "Original-Recipient: utf-8; a?@b\r\n" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct smtp_bounce_rcpt rcpt = { .mailbox = SLICE_LIT("a@b"),
            .orcpt = lit(rows[i].orcpt) };
        struct smtp_bounce b = facts(&rcpt, 1);
        check_has(&b, rows[i].want);
    }
    const struct smtp_bounce_rcpt rcpt = { .mailbox = SLICE_LIT("a@b"), .orcpt = SLICE_LIT("a@b") };
    struct smtp_bounce b = facts(&rcpt, 1);
    check_has_not(&b, "Original-Recipient");
}

Test(bounce, names_servers_by_name_or_address)
{
    const struct smtp_bounce_rcpt rcpt = { .mailbox = SLICE_LIT("a@b"), .reply = SLICE_LIT("550") };
    struct smtp_bounce b = facts(&rcpt, 1);
    b.remote_mta = SLICE_LIT("192.0.2.1");
    check_has(&b, "Remote-MTA: dns; [192.0.2.1]\r\n");
    b.remote_mta = SLICE_LIT("2001:db8::1");
    check_has(&b, "Remote-MTA: dns; [IPv6:2001:db8::1]\r\n");
    b.remote_mta = SLICE_NONE;
    check_has_not(&b, "Remote-MTA");
    check_has(&b, "Refused by the mail server:\r\n");
}

#define TEN "0123456789"

Test(bounce, folds_before_a_long_address)
{
    /* "Final-Recipient: rfc822; " has 25 octets. */
    struct smtp_bounce_rcpt rcpt = { .mailbox = SLICE_LIT("a@" TEN TEN TEN TEN TEN "b") };
    struct smtp_bounce b = facts(&rcpt, 1);
    check_has(&b, "Final-Recipient: rfc822; a@" TEN TEN TEN TEN TEN "b\r\n");
    rcpt.mailbox = SLICE_LIT("a@" TEN TEN TEN TEN TEN "bc");
    check_has(&b, "Final-Recipient: rfc822;\r\n a@" TEN TEN TEN TEN TEN "bc\r\n");
}

Test(bounce, is_from_the_relay_or_whom_it_is_told)
{
    const struct smtp_bounce_rcpt rcpt = { .mailbox = SLICE_LIT("a@b") };
    struct smtp_bounce b = facts(&rcpt, 1);
    check_has(&b, "\r\nFrom: Mail Delivery System\r\n <MAILER-DAEMON@relay.corp.example>\r\n");
    b.from = SLICE_LIT("svc@corp.example");
    check_has(&b, "\r\nFrom: Mail Delivery System\r\n <svc@corp.example>\r\n");
    cr_assert_not(smtp_bounce_needs_smtputf8(&b));
    b.from = SLICE_LIT("\xc3\xa9@corp.example");
    cr_assert(smtp_bounce_needs_smtputf8(&b));
    b.from = SLICE_LIT("\xe9@corp.example");
    check_has(&b, "\r\n <?@corp.example>\r\n");
}

Test(bounce, advises_what_to_do)
{
    static const struct {
        const char *reply, *want;
    } rows[] = {
        { "550 5.1.1 x", "how the address is written" },
        { "550 5.1.10 x", "how the address is written" },
        { "550 5.1.8 x", "The sender's address" },
        { "552 5.2.2 x", "The mailbox is full" },
        { "552 5.3.4 x", "too large" },
        { "550 5.7.60 x", "Send As" },
        { "550 5.7.1 x", "does not allow" },
        { "550 x", "Show this message" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct smtp_bounce_rcpt rcpt = { .mailbox = SLICE_LIT("a@b"),
            .reply = lit(rows[i].reply) };
        struct smtp_bounce b = facts(&rcpt, 1);
        check_has(&b, rows[i].want);
    }
}

Test(bounce, shows_a_subject_that_can_be_read)
{
    const struct smtp_bounce_rcpt rcpt = { .mailbox = SLICE_LIT("a@b") };
    struct smtp_bounce b = facts(&rcpt, 1);
    check_has(&b, "\r\n  Subject:   Invoice 4711\r\n");
    static const char *const none[] = { "", "\r\n", "\r\nSubject: body\r\n", "Subject:\r\n\r\n",
        "Subject: =?utf-8?Q?x?=\r\n\r\n", "Subject: \xe9\r\n\r\n", "X-Subject: x\r\n\r\n" };
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        b.original = lit(none[i]);
        check_has_not(&b, "  Subject:   ");
    }
}

Test(bounce, lists_every_recipient_for_programs_and_some_for_people)
{
    enum { COUNT = 5000 };
    struct smtp_bounce_rcpt *rcpts = calloc(COUNT, sizeof *rcpts);
    for (size_t i = 0; i < COUNT; i++)
        rcpts[i] = (struct smtp_bounce_rcpt){ .mailbox = SLICE_LIT("a@b"),
            .reply = SLICE_LIT("550 5.1.1 x") };
    struct smtp_bounce b = facts(rcpts, COUNT);
    check_has(&b, "... and 4980 more;");
    struct buf *out = make(&b);
    cr_assert_eq(count_lines(buf_slice(out), "Final-Recipient: rfc822; a@b"), COUNT);
    cr_assert_eq(count_lines(buf_slice(out), "  a@b"), 20);
    buf_fini(out);
    free(rcpts);
}

/* ---- Sizes ----------------------------------------------------------------------------------- */

Test(bounce, cuts_the_header_at_a_line)
{
    static const struct {
        size_t lines, shown;
    } rows[] = { { 0, 0 }, { 1, 1 }, { 4096, 4096 }, { 4097, 4096 }, { 10000, 4096 } };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf original; /* lines of 16 octets: 4096 are 64 KB */
        buf_init(&original, 1024 * 1024);
        for (size_t line = 0; line < rows[i].lines; line++)
            buf_addf(&original, "X-Fill: %06zu\r\n", line);
        const struct smtp_bounce_rcpt rcpt = { .mailbox = SLICE_LIT("a@b") };
        struct smtp_bounce b = facts(&rcpt, 1);
        b.original = buf_slice(&original);
        struct buf *out = make(&b);
        cr_assert_eq(count_lines(buf_slice(out), "X-Fill: "), rows[i].shown);
        buf_fini(out);
        b.original.n -= b.original.n > 0 ? 2 : 0; /* a line that is not whole is not shown */
        out = make(&b);
        size_t whole = rows[i].lines > 4096 ? 4096 : rows[i].lines - (rows[i].lines > 0);
        cr_assert_eq(count_lines(buf_slice(out), "X-Fill: "), whole);
        buf_fini(out);
        buf_fini(&original);
    }
}

Test(bounce, keeps_to_the_size_it_promises)
{
    enum { COUNT = 300, LONG = 70000 };
    static char worst[LONG];
    memset(worst, '\xff', sizeof worst); /* every one becomes <0xFF>, and =FF */
    struct smtp_bounce_rcpt *rcpts = calloc(COUNT, sizeof *rcpts);
    static char orcpt[LONG] = "utf-8;";
    for (size_t i = 6; i + 1 < sizeof orcpt; i += 2)
        memcpy(orcpt + i, "\xc2\xa0", 2);
    static const char *const fills[] = { "\xff", "x", "= ", "\r\n", "--", "\xc3\xa9" };
    for (size_t fill = 0; fill < ARRAY_LEN(fills); fill++) {
        for (size_t i = 0; i < LONG; i++)
            worst[i] = fills[fill][i % strlen(fills[fill])];
        struct slice any = slice_of(worst, LONG);
        for (size_t i = 0; i < COUNT; i++)
            rcpts[i] = (struct smtp_bounce_rcpt){
                .mailbox = any, .orcpt = slice_of(orcpt, LONG), .reply = any
            };
        struct smtp_bounce b = facts(rcpts, COUNT);
        b.hostname = b.id = b.original_id = b.to = b.sender = b.envid = b.remote_mta = any;
        b.original = any;
        check_whole(&b);
        worst[2] = ' ';
        memcpy(worst, "550", 3);
        check_whole(&b);
        memcpy(worst, "Subject:", 8);
        for (size_t i = 80; i + 1 < LONG; i += 80)
            memcpy(worst + i, "\r\n", 2);
        b.original = slice_of(worst, 65522);
        check_whole(&b);
    }
    free(rcpts);
}

Test(bounce, cuts_a_reply_between_characters)
{
    for (size_t n = 990; n <= 1000; n++) {
        struct buf reply;
        buf_init(&reply, 2000);
        buf_add_str(&reply, "550 ");
        while (reply.len < n)
            buf_add_str(&reply, reply.len % 50 == 0 ? " " : "x");
        for (size_t i = 0; i < 10; i++)
            buf_add_str(&reply, "\xe2\x82\xac");
        const struct smtp_bounce_rcpt rcpt = { .mailbox = SLICE_LIT("a@b"),
            .reply = buf_slice(&reply) };
        struct smtp_bounce b = facts(&rcpt, 1);
        check_has_not(&b, "<0xE2>");
        buf_fini(&reply);
    }
}

Test(bounce, says_when_it_does_not_fit)
{
    const struct smtp_bounce_rcpt rcpt = { .mailbox = SLICE_LIT("a@b"), .reply = SLICE_LIT("550") };
    struct smtp_bounce b = facts(&rcpt, 1);
    struct buf *whole = make(&b);
    size_t n = whole->len;
    buf_fini(whole);
    for (size_t max = 0; max <= n; max++) {
        struct buf out;
        buf_init(&out, max);
        cr_assert_eq(smtp_bounce_add(&b, &out), max == n);
        buf_fini(&out);
    }
}

/* ---- NOTIFY ---------------------------------------------------------------------------------- */

Test(bounce, goes_to_those_who_want_it)
{
    static const struct {
        const char *notify;
        bool want;
    } rows[] = {
        { "", true },
        { "NEVER", false },
        { "never", false },
        { "FAILURE", true },
        { "Failure", true },
        { "SUCCESS", false },
        { "DELAY", false },
        { "SUCCESS,DELAY", false },
        { "SUCCESS,FAILURE", true },
        { "SUCCESS, failure ,DELAY", true },
        { "FAILURES", false },
        { ",", false },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        cr_assert_eq(smtp_bounce_wants(lit(rows[i].notify)), rows[i].want, "%s", rows[i].notify);
}

/* ---- Quoted-printable ------------------------------------------------------------------------ */

#define X75 TEN TEN TEN TEN TEN TEN TEN "01234"

Test(quoted, encodes)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        { "", "" },
        { "a", "a" },
        { "a\r\n", "a\r\n" },
        { "a\nb\r\n", "a\r\nb\r\n" },
        { "\r\n\r\n", "\r\n\r\n" },
        { "a=b", "a=3Db" },
        { "caf\xc3\xa9\r\n", "caf=C3=A9\r\n" },
        { "a \r\n", "a=20\r\n" },
        { "a\t", "a=09" },
        { "a b\tc", "a b\tc" },
        { "a\rb", "a=0Db" },
        { "a\r\r\n", "a=0D\r\n" },
        { "--x\r\n-\r\n", "=2D-x\r\n=2D\r\n" },
        { X75, X75 },
        { X75 "a", X75 "=\r\na" },
        { X75 "--", X75 "=\r\n=2D-" },
        { TEN TEN TEN TEN TEN TEN TEN "01=", TEN TEN TEN TEN TEN TEN TEN "01=3D" },
        { TEN TEN TEN TEN TEN TEN TEN "012=", TEN TEN TEN TEN TEN TEN TEN "012=\r\n=3D" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out;
        buf_init(&out, 1000);
        cr_assert(smtp_quoted_add(&out, lit(rows[i].text)));
        cr_assert_str_eq(buf_cstr(&out), rows[i].want, "row %zu", i);
        cr_assert_not(smtp_quoted_is_needed(buf_slice(&out)));
        buf_fini(&out);
        buf_init(&out, strlen(rows[i].want) > 0 ? strlen(rows[i].want) - 1 : 0);
        cr_assert_eq(smtp_quoted_add(&out, lit(rows[i].text)), rows[i].want[0] == '\0');
        buf_fini(&out);
    }
}

Test(quoted, knows_when_it_is_needed)
{
    static const struct {
        struct slice text;
        bool want;
    } rows[] = {
        { { "", 0 }, false },
        { { "a\t~\r\n", 5 }, false },
        { { "a", 1 }, false },
        { { "a\n", 2 }, true },
        { { "a\rb\r\n", 5 }, true },
        { { "a\0b", 3 }, true },
        { { "\x7f", 1 }, true },
        { { "\xe9", 1 }, true },
        { { "-\r\n", 3 }, false },
        { { "a--\r\n", 5 }, false },
        { { "a\r\n--", 5 }, true },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        cr_assert_eq(smtp_quoted_is_needed(rows[i].text), rows[i].want, "row %zu", i);
    char line[1001];
    memset(line, 'x', sizeof line);
    memcpy(line + 998, "\r\n", 2);
    cr_assert_not(smtp_quoted_is_needed(slice_of(line, 1000)));
    memcpy(line + 998, "x\r\n", 3);
    cr_assert(smtp_quoted_is_needed(slice_of(line, 1001)));
}
