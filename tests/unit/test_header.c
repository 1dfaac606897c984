#include "smtp/header.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define RECEIVED                                                                                   \
    "Received: from pc ([192.0.2.7]) by gw.example with ESMTP id ID1\r\n"                          \
    " for <r@x.example>; Sat, 21 Nov 2026 22:06:22 +0000\r\n"
#define DATE       "Date: Sat, 21 Nov 2026 22:06:22 +0000\r\n"
#define MESSAGE_ID "Message-ID: <ID1@gw.example>\r\n"
/* A header that lacks nothing. */
#define COMPLETE "Date: then\r\nMessage-ID: <old@pc>\r\n"

enum { OUT_MAX = 4 * 1024 * 1024 };

static struct smtp_header_params default_params(void)
{
    return (struct smtp_header_params){
        .helo = SLICE_LIT("pc"),
        .client_ip = SLICE_LIT("192.0.2.7"),
        .hostname = SLICE_LIT("gw.example"),
        .with = SLICE_LIT("ESMTP"),
        .id = SLICE_LIT("ID1"),
        .recipient = SLICE_LIT("r@x.example"),
        .now = 1795298782,
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
    cr_assert_eq(smtp_header_filter_end(&f, out), verdict, "the verdict stays");
    smtp_header_filter_fini(&f);
    return verdict;
}

static void check(
    const struct smtp_header_params *params, const char *text, const char *want, unsigned repairs)
{
    static const size_t pieces[] = { 1000000, 1, 2, 3, 17 };
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        struct buf out;
        buf_init(&out, OUT_MAX);
        unsigned have = 0;
        cr_assert_eq(filter(params, slice_str(text), pieces[i], &out, &have), SMTP_HEADER_OK);
        cr_assert_str_eq(buf_cstr(&out), want, "in pieces of %zu:\nhave [%s]\nwant [%s]", pieces[i],
            buf_cstr(&out), want);
        cr_assert_eq(have, repairs, "repairs 0x%x of [%s]", have, text);
        buf_fini(&out);
    }
}

/* ---- Received, Date, Message-ID ------------------------------------------------------ */

static const struct {
    const char *text, *want;
    unsigned repairs;
} plain_rows[] = {
    { "Subject: x\r\n\r\nbody\r\n", RECEIVED DATE MESSAGE_ID "Subject: x\r\n\r\nbody\r\n",
        SMTP_REPAIR_DATE | SMTP_REPAIR_MESSAGE_ID },
    { COMPLETE "\r\nbody\r\n", RECEIVED COMPLETE "\r\nbody\r\n", 0 },
    /* Present is present, in any case, empty or wrong. */
    { "date:\r\nMESSAGE-id :\r\n\r\n", RECEIVED "date:\r\nMESSAGE-id :\r\n\r\n", 0 },
    /* Only the header counts. */
    { "A: b\r\n\r\nDate: x\r\nBcc: y\r\n",
        RECEIVED DATE MESSAGE_ID "A: b\r\n\r\nDate: x\r\nBcc: y\r\n",
        SMTP_REPAIR_DATE | SMTP_REPAIR_MESSAGE_ID },
    { "X-Date: x\r\nDatex: y\r\n Date: z\r\n\r\n",
        RECEIVED DATE MESSAGE_ID "X-Date: x\r\nDatex: y\r\n Date: z\r\n\r\n",
        SMTP_REPAIR_DATE | SMTP_REPAIR_MESSAGE_ID },
    /* Trace fields stay together. */
    { "Return-Path: <a@b>\r\nReceived: from x\r\n by y\r\nreceived: z\r\nTo: c\r\n\r\n",
        RECEIVED
        "Return-Path: <a@b>\r\nReceived: from x\r\n by y\r\nreceived: z\r\n" DATE MESSAGE_ID
        "To: c\r\n\r\n",
        SMTP_REPAIR_DATE | SMTP_REPAIR_MESSAGE_ID },
    { "Received: z\r\n\r\nbody\r\n", RECEIVED "Received: z\r\n" DATE MESSAGE_ID "\r\nbody\r\n",
        SMTP_REPAIR_DATE | SMTP_REPAIR_MESSAGE_ID },
    /* All header, no body. */
    { COMPLETE "To: a\r\n", RECEIVED COMPLETE "To: a\r\n", 0 },
    { COMPLETE, RECEIVED COMPLETE, 0 },
    { "Received: z\r\n", RECEIVED "Received: z\r\n" DATE MESSAGE_ID,
        SMTP_REPAIR_DATE | SMTP_REPAIR_MESSAGE_ID },
    /* All body, no header. */
    { "", RECEIVED DATE MESSAGE_ID, SMTP_REPAIR_DATE | SMTP_REPAIR_MESSAGE_ID },
    { "\r\n", RECEIVED DATE MESSAGE_ID "\r\n", SMTP_REPAIR_DATE | SMTP_REPAIR_MESSAGE_ID },
    { "\r\nbody\r\n", RECEIVED DATE MESSAGE_ID "\r\nbody\r\n",
        SMTP_REPAIR_DATE | SMTP_REPAIR_MESSAGE_ID },
    { "Hello\r\nBcc: x\r\n", RECEIVED DATE MESSAGE_ID "\r\nHello\r\nBcc: x\r\n",
        SMTP_REPAIR_DATE | SMTP_REPAIR_MESSAGE_ID },
    { " indented: text\r\n", RECEIVED DATE MESSAGE_ID "\r\n indented: text\r\n",
        SMTP_REPAIR_DATE | SMTP_REPAIR_MESSAGE_ID },
    { ": x\r\n", RECEIVED DATE MESSAGE_ID "\r\n: x\r\n",
        SMTP_REPAIR_DATE | SMTP_REPAIR_MESSAGE_ID },
    { "Dear Sir: x\r\n", RECEIVED DATE MESSAGE_ID "\r\nDear Sir: x\r\n",
        SMTP_REPAIR_DATE | SMTP_REPAIR_MESSAGE_ID },
    { "gr\xc3\xbc\xc3\x9f: x\r\n", RECEIVED DATE MESSAGE_ID "\r\ngr\xc3\xbc\xc3\x9f: x\r\n",
        SMTP_REPAIR_DATE | SMTP_REPAIR_MESSAGE_ID },
    /* A line that is no field further down stays, and hides nothing. */
    { COMPLETE "no field\r\nBcc: x\r\nTo: a\r\n\r\nbody\r\n",
        RECEIVED COMPLETE "no field\r\nTo: a\r\n\r\nbody\r\n", SMTP_REPAIR_BCC },
    /* A line of blanks is a continuation, not the end. */
    { COMPLETE " \r\nBcc: x\r\n\r\n", RECEIVED COMPLETE " \r\n\r\n", SMTP_REPAIR_BCC },
    /* mbox. */
    { "From joe Sat Nov 21 22:06:22 2026\r\n" COMPLETE "\r\nb\r\n", RECEIVED COMPLETE "\r\nb\r\n",
        0 },
    { ">From joe Sat Nov 21 22:06:22 2026\r\n" COMPLETE "\r\nb\r\n", RECEIVED COMPLETE "\r\nb\r\n",
        0 },
    { "From here on\r\nit is text\r\n",
        RECEIVED DATE MESSAGE_ID "\r\nFrom here on\r\nit is text\r\n",
        SMTP_REPAIR_DATE | SMTP_REPAIR_MESSAGE_ID },
    { "From here on\r\n\r\ntext\r\n", RECEIVED DATE MESSAGE_ID "\r\nFrom here on\r\n\r\ntext\r\n",
        SMTP_REPAIR_DATE | SMTP_REPAIR_MESSAGE_ID },
    { "From here\r\n", RECEIVED DATE MESSAGE_ID "\r\nFrom here\r\n",
        SMTP_REPAIR_DATE | SMTP_REPAIR_MESSAGE_ID },
    { "From a\r\nFrom b\r\nTo: x\r\n", RECEIVED DATE MESSAGE_ID "\r\nFrom a\r\nFrom b\r\nTo: x\r\n",
        SMTP_REPAIR_DATE | SMTP_REPAIR_MESSAGE_ID },
    { "From a\r\n folded\r\nTo: x\r\n",
        RECEIVED DATE MESSAGE_ID "\r\nFrom a\r\n folded\r\nTo: x\r\n",
        SMTP_REPAIR_DATE | SMTP_REPAIR_MESSAGE_ID },
    { "From : a\r\n" COMPLETE "\r\n", RECEIVED "From : a\r\n" COMPLETE "\r\n", 0 },
    /* Bcc. */
    { COMPLETE "Bcc: a@b\r\n\r\nx\r\n", RECEIVED COMPLETE "\r\nx\r\n", SMTP_REPAIR_BCC },
    { "BCC: a@b,\r\n c@d,\r\n\te@f\r\n" COMPLETE "bcc : g\r\nResent-bcc: h\r\n i\r\nTo: t\r\n\r\n",
        RECEIVED COMPLETE "To: t\r\n\r\n", SMTP_REPAIR_BCC },
    { "Bcc:\r\n" COMPLETE "\r\n", RECEIVED COMPLETE "\r\n", SMTP_REPAIR_BCC },
    { "X-Bcc: a\r\nBccx: b\r\n" COMPLETE "\r\n", RECEIVED "X-Bcc: a\r\nBccx: b\r\n" COMPLETE "\r\n",
        0 },
    { "Bcc: a\r\n", RECEIVED DATE MESSAGE_ID,
        SMTP_REPAIR_BCC | SMTP_REPAIR_DATE | SMTP_REPAIR_MESSAGE_ID },
    /* Others are nobody's business. */
    { COMPLETE "Sender: s\r\nReply-To: r\r\nFrom: f\r\nFrom: g\r\n\r\n",
        RECEIVED COMPLETE "Sender: s\r\nReply-To: r\r\nFrom: f\r\nFrom: g\r\n\r\n", 0 },
    /* A last line without its end. */
    { COMPLETE "To: a", RECEIVED COMPLETE "To: a\r\n", 0 },
    { COMPLETE "Bcc: a", RECEIVED COMPLETE, SMTP_REPAIR_BCC },
    { "text", RECEIVED DATE MESSAGE_ID "\r\ntext\r\n", SMTP_REPAIR_DATE | SMTP_REPAIR_MESSAGE_ID },
};

Test(header, repairs_what_a_submission_server_repairs)
{
    struct smtp_header_params p = default_params();
    for (size_t i = 0; i < ARRAY_LEN(plain_rows); i++)
        check(&p, plain_rows[i].text, plain_rows[i].want, plain_rows[i].repairs);
}

Test(header, leaves_a_signed_message_as_it_is)
{
    static const char signed_message[] =
        "DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=corp.example; s=sel;\r\n"
        "\th=from:to:subject:date:message-id; bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
        "  b=AAAA \t BBBB\r\n"
        "From:   \"J\xc3\xb6rg\" <joerg@corp.example> (a  comment)\r\n"
        "To:a@b.example ,  c@d.example\r\n"
        "Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=  two  blanks \r\n"
        "\t folded with tab\r\n"
        "date: 1 Jan 99 1:2 MEZ\r\n"
        "MESSAGE-ID:<not good>\r\n"
        "MIME-Version: 1.0\r\n"
        "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\";\r\n"
        "\tmicalg=sha-256; boundary=\"--=_B\"\r\n"
        "X-Empty:\r\n"
        "x-8bit: \xe4\xf6\xfc\r\n"
        "\r\n"
        "preamble \t \r\n\r\n----=_B\r\nContent-Type: text/plain\r\nBcc: stays@body\r\n\r\n"
        "trailing blanks   \r\n.\r\n..\r\nFrom here\r\n\r\n----=_B\r\n"
        "Content-Transfer-Encoding: base64\r\n\r\nMIIGkAYJKoZIhvcNAQcCoIIGgTCCBn0=\r\n\r\n"
        "----=_B--\r\n\r\n\r\n";
    char want[sizeof signed_message + sizeof RECEIVED];
    snprintf(want, sizeof want, "%s%s", RECEIVED, signed_message);
    struct smtp_header_params p = default_params();
    check(&p, signed_message, want, 0);
}

Test(header, passes_every_byte_of_a_body)
{
    char text[sizeof COMPLETE + 2 + 256 * 2];
    size_t n = (size_t)snprintf(text, sizeof text, "%s\r\n", COMPLETE);
    for (unsigned c = 0; c < 256; c++) {
        text[n++] = (char)c;
        text[n++] = (char)(255 - c);
    }
    struct smtp_header_params p = default_params();
    for (size_t piece = 1; piece < 600; piece += 13) {
        struct buf out;
        buf_init(&out, OUT_MAX);
        unsigned repairs;
        filter(&p, slice_of(text, n), piece, &out, &repairs);
        struct slice have = slice_skip(buf_slice(&out), sizeof RECEIVED - 1);
        cr_assert(slice_eq(have, slice_of(text, n)));
        buf_fini(&out);
    }
}

Test(header, writes_dates)
{
    static const struct {
        int64_t now;
        const char *want;
    } rows[] = {
        { 0, "Thu, 1 Jan 1970 00:00:00 +0000" },
        { 86399, "Thu, 1 Jan 1970 23:59:59 +0000" },
        { 951782400, "Tue, 29 Feb 2000 00:00:00 +0000" },
        { 951868800, "Wed, 1 Mar 2000 00:00:00 +0000" },
        { 1709210096, "Thu, 29 Feb 2024 12:34:56 +0000" },
        { 1735689599, "Tue, 31 Dec 2024 23:59:59 +0000" },
        { 1735689600, "Wed, 1 Jan 2025 00:00:00 +0000" },
        { 1795298782, "Sat, 21 Nov 2026 22:06:22 +0000" },
        { 2147483648, "Tue, 19 Jan 2038 03:14:08 +0000" },
        { 4107542400, "Mon, 1 Mar 2100 00:00:00 +0000" },
        { 253402300799, "Fri, 31 Dec 9999 23:59:59 +0000" },
        { INT64_MAX, "Fri, 31 Dec 9999 23:59:59 +0000" },
        { -1, "Thu, 1 Jan 1970 00:00:00 +0000" },
        { INT64_MIN, "Thu, 1 Jan 1970 00:00:00 +0000" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out;
        buf_init(&out, 100);
        cr_assert(smtp_date_add(&out, rows[i].now));
        cr_assert_str_eq(buf_cstr(&out), rows[i].want);
        buf_fini(&out);
    }
}

Test(header, received_names_what_is_known)
{
    struct smtp_header_params p = default_params();
    p.recipient = SLICE_NONE;
    p.client_ip = SLICE_LIT("IPv6:2001:db8::1");
    p.helo = SLICE_LIT("a-rather-long-name-of-a-machine.in.some.department.of.corp.example");
    check(&p, COMPLETE "\r\n",
        "Received: from\r\n a-rather-long-name-of-a-machine.in.some.department.of.corp.example\r\n"
        " ([IPv6:2001:db8::1]) by gw.example with ESMTP id ID1;\r\n"
        " Sat, 21 Nov 2026 22:06:22 +0000\r\n" COMPLETE "\r\n",
        0);
    p = default_params();
    p.helo = SLICE_NONE;
    p.recipient = SLICE_LIT("\"a b\"@[192.0.2.1]");
    check(&p, COMPLETE "\r\n",
        "Received: from unknown ([192.0.2.7]) by gw.example with ESMTP id ID1\r\n"
        " for <\"a b\"@[192.0.2.1]>; Sat, 21 Nov 2026 22:06:22 +0000\r\n" COMPLETE "\r\n",
        0);
}

/* ---- force_sender -------------------------------------------------------------------- */

#define FORCED "fs@corp.example"
enum { FROM_AND_REPLY = SMTP_REPAIR_FROM | SMTP_REPAIR_REPLY_TO };

static const struct {
    const char *fields, *want;
    unsigned repairs;
} from_rows[] = {
    { "From: a@b\r\n", "From: <" FORCED ">\r\nReply-To: a@b\r\n", FROM_AND_REPLY },
    { "From:a@b\r\n", "From: <" FORCED ">\r\nReply-To:a@b\r\n", FROM_AND_REPLY },
    { "From: <a@b>\r\n", "From: <" FORCED ">\r\nReply-To: <a@b>\r\n", FROM_AND_REPLY },
    { "FROM : Joe Doe <a@b>\r\n", "From: Joe Doe <" FORCED ">\r\nReply-To: Joe Doe <a@b>\r\n",
        FROM_AND_REPLY },
    { "From: azAZ09!#$%&'*+-/=?^_`{|}~. <a@b>\r\n",
        "From: azAZ09!#$%&'*+-/=?^_`{|}~. <" FORCED
        ">\r\nReply-To: azAZ09!#$%&'*+-/=?^_`{|}~. <a@b>\r\n",
        FROM_AND_REPLY },
    { "From: Joe<a@b>\r\n", "From: Joe <" FORCED ">\r\nReply-To: Joe<a@b>\r\n", FROM_AND_REPLY },
    { "From: \"Doe, Joe\" <a@b>\r\n",
        "From: \"Doe, Joe\" <" FORCED ">\r\nReply-To: \"Doe, Joe\" <a@b>\r\n", FROM_AND_REPLY },
    { "From: \"a \\\"b\\\\\" c. <a@b>\r\n",
        "From: \"a \\\"b\\\\\" c. <" FORCED ">\r\nReply-To: \"a \\\"b\\\\\" c. <a@b>\r\n",
        FROM_AND_REPLY },
    { "From: =?utf-8?Q?J=C3=B6rg?=\r\n =?utf-8?B?w7Y=?= <a@b>\r\n",
        "From: =?utf-8?Q?J=C3=B6rg?= =?utf-8?B?w7Y=?= <" FORCED ">\r\n"
        "Reply-To: =?utf-8?Q?J=C3=B6rg?=\r\n =?utf-8?B?w7Y=?= <a@b>\r\n",
        FROM_AND_REPLY },
    { "From: \"folded\r\n inside\" <a@b>\r\n",
        "From: \"folded inside\" <" FORCED ">\r\nReply-To: \"folded\r\n inside\" <a@b>\r\n",
        FROM_AND_REPLY },
    { "From:\r\n a@b\r\n", "From: <" FORCED ">\r\nReply-To:\r\n a@b\r\n", FROM_AND_REPLY },
    { "From: root@pc (Cron Daemon)\r\n",
        "From: \"Cron Daemon\" <" FORCED ">\r\nReply-To: root@pc (Cron Daemon)\r\n",
        FROM_AND_REPLY },
    { "From: root (Cron Daemon)\r\n", "From: \"Cron Daemon\" <" FORCED ">\r\n", SMTP_REPAIR_FROM },
    { "From: a@b (say \"x\")\r\n", "From: <" FORCED ">\r\nReply-To: a@b (say \"x\")\r\n",
        FROM_AND_REPLY },
    { "From: a@b (x (y))\r\n", "From: <" FORCED ">\r\nReply-To: a@b (x (y))\r\n", FROM_AND_REPLY },
    { "From: a@b (=?utf-8?Q?x?=)\r\n", "From: <" FORCED ">\r\nReply-To: a@b (=?utf-8?Q?x?=)\r\n",
        FROM_AND_REPLY },
    { "From: Joe (his comment) Doe <a@b>\r\n",
        "From: Joe Doe <" FORCED ">\r\nReply-To: Joe (his comment) Doe <a@b>\r\n", FROM_AND_REPLY },
    /* Names that cannot be kept safely. */
    { "From: J\xc3\xb6rg <a@b>\r\n", "From: <" FORCED ">\r\nReply-To: J\xc3\xb6rg <a@b>\r\n",
        FROM_AND_REPLY },
    { "From: \"J\xc3\xb6rg\" <a@b>\r\n",
        "From: <" FORCED ">\r\nReply-To: \"J\xc3\xb6rg\" <a@b>\r\n", FROM_AND_REPLY },
    { "From: \xc3\xb6 Joe <a@b>\r\n", "From: <" FORCED ">\r\nReply-To: \xc3\xb6 Joe <a@b>\r\n",
        FROM_AND_REPLY },
    { "From: x@y <a@b>\r\n", "From: <" FORCED ">\r\nReply-To: x@y <a@b>\r\n", FROM_AND_REPLY },
    { "From: \"bell\x07\" <a@b>\r\n", "From: <" FORCED ">\r\nReply-To: \"bell\x07\" <a@b>\r\n",
        FROM_AND_REPLY },
    { "From: \"open <a@b>\r\n", "From: <" FORCED ">\r\nReply-To: \"open <a@b>\r\n",
        FROM_AND_REPLY },
    { "From: A <a@b>, B <c@d>\r\n", "From: <" FORCED ">\r\nReply-To: A <a@b>, B <c@d>\r\n",
        FROM_AND_REPLY },
    { "From: Group: a@b, c@d;\r\n", "From: <" FORCED ">\r\nReply-To: Group: a@b, c@d;\r\n",
        FROM_AND_REPLY },
    { "From: <a@b> behind\r\n", "From: <" FORCED ">\r\nReply-To: <a@b> behind\r\n",
        FROM_AND_REPLY },
    { "From: <a@b> <c@d>\r\n", "From: <" FORCED ">\r\nReply-To: <a@b> <c@d>\r\n", FROM_AND_REPLY },
    /* What is no address is no Reply-To. */
    { "From: root\r\n", "From: <" FORCED ">\r\n", SMTP_REPAIR_FROM },
    { "From:\r\n", "From: <" FORCED ">\r\n", SMTP_REPAIR_FROM },
    { "From: <>\r\n", "From: <" FORCED ">\r\n", SMTP_REPAIR_FROM },
    { "From: Scanner <>\r\n", "From: <" FORCED ">\r\n", SMTP_REPAIR_FROM },
    { "", "From: <" FORCED ">\r\n", SMTP_REPAIR_FROM },
    /* A Reply-To that is there stays. */
    { "Reply-To: r@s\r\nFrom: a@b\r\n", "Reply-To: r@s\r\nFrom: <" FORCED ">\r\n",
        SMTP_REPAIR_FROM },
    { "From: a@b\r\nreply-to: r@s\r\n", "From: <" FORCED ">\r\nreply-to: r@s\r\n",
        SMTP_REPAIR_FROM },
    /* Already the right one: byte for byte. */
    { "From:  Joe\t<FS@corp.EXAMPLE> (x)\r\n", "From:  Joe\t<FS@corp.EXAMPLE> (x)\r\n", 0 },
    { "From: fs@corp.example\r\n", "From: fs@corp.example\r\n", 0 },
    /* One From and no Sender. */
    { "From: a@b\r\nFrom: c@d\r\n", "From: <" FORCED ">\r\nReply-To: a@b\r\n", FROM_AND_REPLY },
    { "From: fs@corp.example\r\nFrom: c@d\r\n", "From: <" FORCED ">\r\n", SMTP_REPAIR_FROM },
    { "Sender: s@t\r\n u\r\nFrom: fs@corp.example\r\n", "From: fs@corp.example\r\n",
        SMTP_REPAIR_FROM },
    { "From: a@b\r\nSender: s@t\r\n", "From: <" FORCED ">\r\nReply-To: a@b\r\n", FROM_AND_REPLY },
};

Test(header, force_sender_replaces_from_and_keeps_the_way_back)
{
    struct smtp_header_params p = default_params();
    p.force_sender = SLICE_LIT(FORCED);
    for (size_t i = 0; i < ARRAY_LEN(from_rows); i++) {
        char text[400], want[800];
        bool has_from = from_rows[i].fields[0] != '\0';
        snprintf(text, sizeof text, COMPLETE "%sTo: t\r\n\r\nFrom: body\r\n", from_rows[i].fields);
        snprintf(want, sizeof want,
            has_from ? RECEIVED COMPLETE "%sTo: t\r\n\r\nFrom: body\r\n"
                     : RECEIVED "%s" COMPLETE "To: t\r\n\r\nFrom: body\r\n",
            from_rows[i].want);
        check(&p, text, want, from_rows[i].repairs);
    }
}

static size_t longest_line(struct slice s)
{
    size_t longest = 0, n = 0;
    for (size_t i = 0; i < s.n; i++) {
        n = s.p[i] == '\n' ? 0 : n + 1;
        longest = n > longest ? n : longest;
    }
    return longest - 1; /* without the CR */
}

Test(header, force_sender_folds_long_names)
{
    struct smtp_header_params p = default_params();
    p.force_sender = SLICE_LIT(FORCED);
    check(&p,
        COMPLETE
        "From: The Quite Long Name Of A Department That Likes To Be Mentioned In Full Length\r\n"
        " <a@b>\r\n\r\n",
        RECEIVED COMPLETE
        "From: The Quite Long Name Of A Department That Likes To Be Mentioned In Full\r\n"
        " Length <" FORCED ">\r\n"
        "Reply-To: The Quite Long Name Of A Department That Likes To Be Mentioned In Full "
        "Length\r\n"
        " <a@b>\r\n\r\n",
        FROM_AND_REPLY);
}

Test(header, force_sender_writes_no_line_over_the_limit)
{
    struct smtp_header_params p = default_params();
    p.force_sender = SLICE_LIT(FORCED);
    for (size_t n = 700; n < 1100; n += 7) {
        char text[1400], name[1101];
        memset(name, 'x', n);
        name[n] = '\0';
        snprintf(text, sizeof text, COMPLETE "From: \"%s\" <a@b>\r\n\r\n", name);
        struct buf out;
        buf_init(&out, OUT_MAX);
        unsigned repairs;
        cr_assert_eq(filter(&p, slice_str(text), 1000, &out, &repairs), SMTP_HEADER_OK);
        cr_assert_leq(longest_line(buf_slice(&out)), SMTP_HEADER_LINE_MAX);
        cr_assert(strstr(buf_cstr(&out), "Reply-To:") && strstr(buf_cstr(&out), "<a@b>"));
        buf_fini(&out);
    }
}

Test(header, force_sender_drops_a_way_back_that_is_endless)
{
    struct smtp_header_params p = default_params();
    p.force_sender = SLICE_LIT(FORCED);
    struct buf text, out;
    buf_init(&text, OUT_MAX);
    buf_init(&out, OUT_MAX);
    buf_add_str(&text, COMPLETE "From: a@b");
    for (unsigned i = 0; i < 10000; i++)
        buf_addf(&text, ",\r\n x%u@y", i);
    buf_add_str(&text, "\r\n\r\n");
    unsigned repairs;
    cr_assert_eq(filter(&p, buf_slice(&text), 5000, &out, &repairs), SMTP_HEADER_OK);
    cr_assert_str_eq(buf_cstr(&out), RECEIVED COMPLETE "From: <" FORCED ">\r\n\r\n");
    cr_assert_eq(repairs, SMTP_REPAIR_FROM);
    buf_fini(&text);
    buf_fini(&out);
}

/* ---- Limits and hostility ------------------------------------------------------------ */

Test(header, parameters_cannot_break_lines)
{
    static const char evil[] = "x\r\nBcc: v@v\r\n\r\nbody\n.\r\n\x01\xff(c)<y>;";
    for (unsigned which = 0; which < 7; which++) {
        struct smtp_header_params p = default_params();
        struct slice *slices[] = { &p.helo, &p.client_ip, &p.hostname, &p.with, &p.id, &p.recipient,
            &p.force_sender };
        *slices[which] = slice_of(evil, sizeof evil); /* with its NUL */
        struct buf out;
        buf_init(&out, OUT_MAX);
        unsigned repairs;
        cr_assert_eq(
            filter(&p, SLICE_LIT("A: b\r\n\r\ntext\r\n"), 100, &out, &repairs), SMTP_HEADER_OK);
        cr_assert_null(strstr(buf_cstr(&out), "\nBcc"), "parameter %u:\n%s", which, buf_cstr(&out));
        const char *end = strstr(buf_cstr(&out), "\r\n\r\n");
        cr_assert_str_eq(end, "\r\n\r\ntext\r\n");
        cr_assert_eq(memchr(out.data, '\0', out.len), NULL);
        buf_fini(&out);
    }
}

Test(header, our_lines_stay_short_whatever_the_parameters)
{
    char big[5000];
    memset(big, 'x', sizeof big);
    struct slice s = slice_of(big, sizeof big);
    struct smtp_header_params p = {
        .helo = s, .client_ip = s, .hostname = s, .with = s, .id = s, .recipient = s, .now = 0
    };
    struct buf out;
    buf_init(&out, SMTP_HEADER_ADDED_MAX);
    unsigned repairs;
    cr_assert_eq(filter(&p, SLICE_LIT("A: b\r\n"), 100, &out, &repairs), SMTP_HEADER_OK);
    cr_assert(!out.failed);
    cr_assert_leq(longest_line(buf_slice(&out)), SMTP_HEADER_LINE_MAX);
    buf_fini(&out);
}

Test(header, counts_hops)
{
    for (unsigned hops = SMTP_HOPS_MAX - 1; hops <= SMTP_HOPS_MAX; hops++) {
        char text[4000] = "";
        for (unsigned i = 0; i < hops; i++)
            strcat(text, i % 2 ? "Received: from x\r\n by y\r\n" : "RECEIVED:\r\n");
        strcat(text, "X-Received: z\r\n\r\nReceived: body\r\n");
        struct smtp_header_params p = default_params();
        for (size_t piece = 1; piece < 4000; piece += 1333) {
            struct buf out;
            buf_init(&out, OUT_MAX);
            unsigned repairs;
            enum smtp_header_verdict verdict = filter(&p, slice_str(text), piece, &out, &repairs);
            cr_assert_eq(verdict, hops < SMTP_HOPS_MAX ? SMTP_HEADER_OK : SMTP_HEADER_LOOP);
            cr_assert(
                verdict == SMTP_HEADER_OK || out.len == 0, "a refused message passes nothing");
            buf_fini(&out);
        }
    }
}

/* A header of exactly `n` octets, then the empty line. */
static enum smtp_header_verdict filter_long(size_t n, bool has_junk, size_t piece, size_t *ret_n)
{
    char *text = malloc(n + 8);
    memset(text, 'x', n);
    size_t at = (size_t)snprintf(text, n, has_junk ? "A: b\r\njunk\r\n" : "A: b\r\n");
    text[at] = 'B';
    text[at + 1] = ':';
    for (size_t i = at + 900; i + 900 < n; i += 900)
        memcpy(text + i, "\r\n ", 3);
    memcpy(text + n - 2, "\r\n\r\n", 4);
    struct smtp_header_params p = default_params();
    struct buf out;
    buf_init(&out, OUT_MAX);
    unsigned repairs;
    enum smtp_header_verdict verdict = filter(&p, slice_of(text, n + 2), piece, &out, &repairs);
    *ret_n = out.len;
    buf_fini(&out);
    free(text);
    return verdict;
}

Test(header, has_a_limit)
{
    static const size_t pieces[] = { 1000000, 65536, 1000 };
    size_t added = sizeof RECEIVED DATE MESSAGE_ID - 1;
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        size_t n;
        cr_assert_eq(filter_long(SMTP_HEADER_MAX - 2, false, pieces[i], &n), SMTP_HEADER_OK);
        cr_assert_eq(n, SMTP_HEADER_MAX + added);
        cr_assert_eq(filter_long(SMTP_HEADER_MAX - 1, false, pieces[i], &n), SMTP_HEADER_TOO_LONG);
        cr_assert_eq(n, 0);
        cr_assert_eq(filter_long(2 * SMTP_HEADER_MAX, false, pieces[i], &n), SMTP_HEADER_TOO_LONG);
        /* Text without the empty line before it is no header. */
        cr_assert_eq(filter_long(2 * SMTP_HEADER_MAX, true, pieces[i], &n), SMTP_HEADER_OK);
        cr_assert_eq(n, 2 * SMTP_HEADER_MAX + 2 + added);
    }
}

Test(header, is_read_in_linear_time)
{
    /* One line without an end, and many short ones, byte by byte. */
    for (unsigned kind = 0; kind < 2; kind++) {
        struct smtp_header_params p = default_params();
        struct smtp_header_filter f;
        smtp_header_filter_init(&f, &p);
        struct buf out;
        buf_init(&out, OUT_MAX);
        cr_assert_eq(smtp_header_filter_feed(&f, SLICE_LIT("A:"), &out), SMTP_HEADER_OK);
        for (size_t i = 2; i < SMTP_HEADER_MAX - 2; i++) {
            struct slice c = slice_of(kind == 0 ? "x" : &"\r\n "[(i - 2) % 3], 1);
            cr_assert_eq(smtp_header_filter_feed(&f, c, &out), SMTP_HEADER_OK);
        }
        smtp_header_filter_end(&f, &out);
        smtp_header_filter_fini(&f);
        buf_fini(&out);
    }
}

Test(header, says_when_the_output_has_no_room)
{
    struct smtp_header_params p = default_params();
    for (size_t max = 0; max < 300; max++) {
        struct buf out;
        buf_init(&out, max);
        unsigned repairs;
        filter(&p, SLICE_LIT("A: b\r\n\r\nbody\r\n"), 5, &out, &repairs);
        size_t want = sizeof RECEIVED DATE MESSAGE_ID "A: b\r\n\r\nbody\r\n" - 1;
        cr_assert_eq(out.failed, max < want, "%zu", max);
        buf_fini(&out);
    }
}
