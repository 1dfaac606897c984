#include "app/queue_print.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>

/* A literal that can be written to, as the fields of a message want it. */
#define TEXT(s) ((char[]){ s })

enum { NOW = 1795298782 }; /* Sat, 21 Nov 2026 22:06:22 +0000 */

static struct store_rcpt rcpts[] = {
    { .mailbox = TEXT("gone@corp.example"),
        .notify = TEXT(""),
        .orcpt = TEXT(""),
        .is_done = true,
        .is_refused = true,
        .reply = TEXT("550 5.1.1 User unknown") },
    { .mailbox = TEXT("there@corp.example"),
        .notify = TEXT("FAILURE"),
        .orcpt = TEXT("rfc822;there@old.example"),
        .is_done = true,
        .reply = TEXT("250 2.1.5 ok") },
    { .mailbox = TEXT("late@corp.example"),
        .notify = TEXT(""),
        .orcpt = TEXT(""),
        .reply = TEXT("") },
};

static const struct store_message common = {
    .number = 7,
    .id = TEXT("0123456789abcdef"),
    .account = TEXT(""),
    .client = { .len = 4, .bytes = { 192, 0, 2, 7 } },
    .helo = TEXT("erp"),
    .sender = TEXT("erp@corp.example"),
    .ret = TEXT(""),
    .envid = TEXT(""),
    .state = STORE_QUEUED,
    .attempts = 3,
    .arrived = NOW - 200,
    .next_try = NOW + 45,
    .expires = NOW + 3 * 86400,
    .size = 4196,
    .last_reply = TEXT("451 4.7.0 busy"),
    .rcpts = rcpts,
    .rcpt_count = ARRAY_LEN(rcpts),
};

static struct store_message message(void)
{
    return common;
}

static void check_row(const struct store_message *m, const char *want)
{
    struct buf out;
    buf_init(&out, 100000);
    queue_add_row(&out, m, NOW);
    cr_assert_str_eq(buf_cstr(&out), want, "'%s'", buf_cstr(&out));
    buf_fini(&out);
}

Test(queue_print, row_lines_up_with_the_heading)
{
    struct buf out;
    buf_init(&out, 100000);
    queue_add_heading(&out);
    struct store_message m = message();
    queue_add_row(&out, &m, NOW);
    cr_assert_str_eq(buf_cstr(&out),
        "ID                AGE  SIZE STATE    TRIES NEXT ACCOUNT    FROM                     "
        "TO                       LAST REPLY\n"
        "0123456789abcdef   3m    4K queued       3  45s (default)  erp@corp.example         "
        "late@corp.example +2     451 4.7.0 busy\n");
    buf_fini(&out);
}

Test(queue_print, notice_says_what_is_wrong_and_what_to_do)
{
    static const struct {
        struct store_notice notice;
        const char *want;
    } rows[] = {
        { { "", "CORP\\svc", NOW + 1800, "535 5.7.3\x1b[31m no", 0 },
            "logins of account (default) (CORP\\svc) are paused for 30m, so that the directory "
            "does "
            "not lock it: 535 5.7.3<0x1B>[31m no\n" },
        { { "payroll", "p@corp", NOW, "535 no", 0 },
            "logins of account payroll (p@corp) were "
            "refused; the next message tries one: 535 no\n" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out;
        buf_init(&out, 10000);
        queue_add_notice(&out, &rows[i].notice, NOW);
        size_t n = strlen(rows[i].want);
        cr_expect_eq(strncmp(buf_cstr(&out), rows[i].want, n), 0, "%s", buf_cstr(&out));
        cr_expect_str_eq(buf_cstr(&out) + n,
            "  remedy: correct username or password, then reload or restart submitd; if they are "
            "right (the account was unlocked, say), reload it: one login is tried\n");
        buf_fini(&out);
    }
}

Test(queue_print, row_of_each_kind)
{
    struct store_message m = message();
    m.is_uncertain = true;
    m.state = STORE_HELD;
    m.account = TEXT("payroll");
    m.sender = TEXT("");
    m.rcpt_count = 1;
    m.last_reply = TEXT("");
    check_row(&m, "0123456789abcdef   3m    4K held*        3    - payroll    <>                "
                  "       gone@corp.example        -\n");
    m.state = STORE_FAILED;
    m.is_uncertain = false;
    m.rcpt_count = 0;
    check_row(&m, "0123456789abcdef   3m    4K failed       3    - payroll    <>                "
                  "       -                        -\n");
    m.state = STORE_QUEUED;
    m.next_try = NOW;
    m.arrived = NOW + 5; /* a clock that was set back */
    m.rcpt_count = 2;    /* nobody waits */
    check_row(&m, "0123456789abcdef   0s    4K queued       3  now payroll    <>                "
                  "       gone@corp.example +1     -\n");
}

Test(queue_print, row_makes_control_bytes_visible)
{
    struct store_message m = message();
    struct store_rcpt evil = {
        .mailbox = TEXT("a\x1b[2Jb@x"), .notify = TEXT(""), .orcpt = TEXT(""), .reply = TEXT("")
    };
    m.rcpts = &evil;
    m.rcpt_count = 1;
    m.sender = TEXT("\xc3\xbc@b\xc3\xbc\xc2\x9b.example");
    m.last_reply = TEXT("\r\nroot");
    m.account = TEXT("a\tb");
    check_row(&m, "0123456789abcdef   3m    4K queued       3  45s a<TAB>b    "
                  "\xc3\xbc@b\xc3\xbc<0xC2><0x9B>.example a<0x1B>[2Jb@x            "
                  "<CR><LF>root\n");
}

Test(queue_print, page_has_every_field)
{
    struct store_message m = message();
    m.is_uncertain = m.is_8bit = m.is_smtputf8 = m.is_bounce = true;
    m.ret = TEXT("HDRS");
    m.envid = TEXT("QQ31\n");
    struct buf out;
    buf_init(&out, 100000);
    queue_add_page(&out, &m, NOW);
    cr_assert_str_eq(buf_cstr(&out),
        "id           0123456789abcdef\n"
        "state        queued\n"
        "uncertain    yes: a connection ended between the message and the reply, it may have "
        "arrived\n"
        "bounce       yes: a report of ours on another message\n"
        "from         erp@corp.example\n"
        "client       192.0.2.7 (erp)\n"
        "account      (default)\n"
        "size         4196 octets, 8BITMIME, SMTPUTF8\n"
        "RET          HDRS\n"
        "ENVID        QQ31<LF>\n"
        "arrived      Sat, 21 Nov 2026 22:03:02 +0000 (3m ago)\n"
        "expires      Tue, 24 Nov 2026 22:06:22 +0000 (in 3d)\n"
        "attempts     3\n"
        "next try     Sat, 21 Nov 2026 22:07:07 +0000 (in 45s)\n"
        "last reply   451 4.7.0 busy\n"
        "recipients\n"
        "  refused    gone@corp.example\n"
        "             550 5.1.1 User unknown\n"
        "  delivered  there@corp.example  NOTIFY=FAILURE  ORCPT=rfc822;there@old.example\n"
        "             250 2.1.5 ok\n"
        "  waiting    late@corp.example\n",
        "%s", buf_cstr(&out));
    buf_fini(&out);
}

Test(queue_print, json_has_every_field)
{
    struct store_message m = message();
    m.sender = TEXT("a\"\\\x01\xff");
    struct buf out;
    buf_init(&out, 100000);
    cr_assert(queue_add_json(&out, &m, NOW, 0));
    cr_assert_not(memchr(out.data, '\n', out.len));
    json_t *o = json_loads(buf_cstr(&out), JSON_REJECT_DUPLICATES, NULL);
    cr_assert_not_null(o);
    cr_assert_eq(json_object_size(o), 21);
    cr_assert(json_is_null(json_object_get(o, "logins_paused_until")));
    cr_assert_str_eq(json_string_value(json_object_get(o, "state")), "queued");
    cr_assert_str_eq(json_string_value(json_object_get(o, "from")), "a\"\\<0x01><0xFF>");
    cr_assert_eq(json_integer_value(json_object_get(o, "age")), 200);
    cr_assert_eq(json_integer_value(json_object_get(o, "next_try")), NOW + 45);
    cr_assert_eq(json_array_size(json_object_get(o, "recipients")), 3);
    json_t *first = json_array_get(json_object_get(o, "recipients"), 0);
    cr_assert_str_eq(json_string_value(json_object_get(first, "state")), "refused");
    cr_assert_str_eq(json_string_value(json_object_get(first, "reply")), "550 5.1.1 User unknown");
    json_decref(o);
    buf_clear(&out);
    m.state = STORE_HELD;
    cr_assert(queue_add_json(&out, &m, NOW, NOW + 1));
    cr_assert(strstr(buf_cstr(&out), "\"next_try\":null"));
    cr_assert(strstr(buf_cstr(&out), "\"logins_paused_until\":1795298783,"));
    buf_clear(&out);
    cr_assert(queue_add_json(&out, &m, NOW, NOW), "a time that is over");
    cr_assert(strstr(buf_cstr(&out), "\"logins_paused_until\":null,"));
    buf_fini(&out);
    buf_init(&out, 100);
    cr_assert_not(queue_add_json(&out, &m, NOW, 0));
    buf_fini(&out);
}

Test(queue_print, units)
{
    static const struct {
        int64_t age;
        uint64_t size;
        const char *want;
    } rows[] = {
        { 0, 0, "  0s     0 " },
        { 59, 1023, " 59s  1023 " },
        { 60, 1024, "  1m    1K " },
        { 3599, 1048575, " 59m 1023K " },
        { 3600, 1048576, "  1h    1M " },
        { 86399, 157286400, " 23h  150M " },
        { 86400, 1073741824, "  1d    1G " },
        { 1000 * 86400, 5368709120, "1000d    5G " },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct store_message m = message();
        m.arrived = NOW - rows[i].age;
        m.size = rows[i].size;
        struct buf out;
        buf_init(&out, 1000);
        queue_add_row(&out, &m, NOW);
        cr_assert_eq(strncmp(buf_cstr(&out) + 17, rows[i].want, strlen(rows[i].want)), 0, "'%s'",
            buf_cstr(&out));
        buf_fini(&out);
    }
}
