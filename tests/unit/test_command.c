#include "smtp/caps.h"
#include "smtp/command.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define X10  "xxxxxxxxxx"
#define X50  X10 X10 X10 X10 X10
#define X100 X50 X50
#define X60  X50 X10

enum {
    ALL = SMTP_CAP_SIZE | SMTP_CAP_8BITMIME | SMTP_CAP_SMTPUTF8 | SMTP_CAP_DSN | SMTP_CAP_AUTH |
          SMTP_CAP_CHUNKING | SMTP_CAP_STARTTLS | SMTP_CAP_PIPELINING
};

static void check_slice(struct slice have, const char *want, const char *line)
{
    cr_assert(slice_eq(have, slice_str(want)), "'%s': have '%.*s', want '%s'", line,
        SLICE_ARG(have), want);
}

static struct smtp_command parse(const char *line)
{
    struct smtp_command c;
    struct smtp_syntax_error e;
    bool is_command = smtp_command_parse(slice_str(line), ALL, &c, &e);
    cr_assert(is_command, "'%s': %u %s %s", line, e.code, e.status, e.text);
    return c;
}

/* The status and, where the row names one, a part of the sentence. */
static void check_refused(
    struct slice line, uint32_t caps, unsigned code, const char *status, const char *part)
{
    struct smtp_command c = { .chunk = 4711 };
    struct smtp_syntax_error e = { .code = 0 };
    cr_assert(!smtp_command_parse(line, caps, &c, &e), "accepted '%.*s'", SLICE_ARG(line));
    cr_assert_eq(e.code, code, "'%.*s': %u %s %s", SLICE_ARG(line), e.code, e.status, e.text);
    cr_assert_str_eq(e.status, status, "'%.*s': %s %s", SLICE_ARG(line), e.status, e.text);
    cr_assert(strstr(e.text, part), "'%.*s': %s", SLICE_ARG(line), e.text);
    cr_assert_eq(c.chunk, 4711, "the result is set only on success");
}

Test(command, knows_its_verbs_in_any_case)
{
    static const struct {
        const char *line;
        enum smtp_verb verb;
        const char *arg;
    } rows[] = {
        { "EHLO pc.example", SMTP_VERB_EHLO, "pc.example" },
        { "ehlo PC_12", SMTP_VERB_EHLO, "PC_12" },
        { "HELO [192.0.2.7]", SMTP_VERB_HELO, "[192.0.2.7]" },
        { "HELO *(any);junk=\"it\"", SMTP_VERB_HELO, "*(any);junk=\"it\"" },
        { "helo\tx ", SMTP_VERB_HELO, "x" },
        { "Data", SMTP_VERB_DATA, "" },
        { "DATA  ", SMTP_VERB_DATA, "" },
        { " RSET", SMTP_VERB_RSET, "" },
        { "RSET", SMTP_VERB_RSET, "" },
        { "QUIT", SMTP_VERB_QUIT, "" },
        { "NOOP", SMTP_VERB_NOOP, "" },
        { "NOOP are you there", SMTP_VERB_NOOP, "are you there" },
        { "HELP", SMTP_VERB_HELP, "" },
        { "HELP MAIL", SMTP_VERB_HELP, "MAIL" },
        { "VRFY joe", SMTP_VERB_VRFY, "joe" },
        { "EXPN list of friends", SMTP_VERB_EXPN, "list of friends" },
        { "starttls", SMTP_VERB_STARTTLS, "" },
        { "MAIL FROM:<>", SMTP_VERB_MAIL, "FROM:<>" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct smtp_command c = parse(rows[i].line);
        cr_assert_eq(c.verb, rows[i].verb, "'%s'", rows[i].line);
        check_slice(c.arg, rows[i].arg, rows[i].line);
    }
    for (unsigned v = 0; v < SMTP_VERB_COUNT; v++)
        cr_assert_geq(strlen(smtp_verb_name((enum smtp_verb)v)), 4);
}

Test(command, reads_mail)
{
    static const struct {
        const char *line, *mailbox;
    } rows[] = {
        { "MAIL FROM:<a@b>", "a@b" },
        { "mail from:<a@b>", "a@b" },
        { "MAIL FROM: <a@b>", "a@b" },
        { "MAIL FROM :<a@b>", "a@b" },
        { "MAIL FROM : \t<a@b> ", "a@b" },
        { "MAIL  FROM:<a@b>", "a@b" },
        { "MAIL FROM:a@b", "a@b" },
        { "MAIL FROM: a@b SIZE=1", "a@b" },
        { "MAIL FROM:<root>", "root" },
        { "MAIL FROM:root", "root" },
        { "MAIL FROM:<@x,@y:a@b> BODY=7BIT", "a@b" },
        { "MAIL FROM:<\"FROM:<x> SIZE=1\"@b>", "\"FROM:<x> SIZE=1\"@b" },
        { "MAIL FROM:<>", "" },
        { "MAIL FROM: <> SIZE=7", "" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct smtp_command c = parse(rows[i].line);
        cr_assert_eq(c.verb, SMTP_VERB_MAIL);
        check_slice(c.mail.from.mailbox, rows[i].mailbox, rows[i].line);
    }
}

Test(command, reads_the_parameters_of_mail)
{
    struct smtp_command c = parse("MAIL FROM:<a@b> size=1000  BODY=8bitmime\tSMTPUTF8 RET=hdrs "
                                  "ENVID=QQ+09+AF AUTH=joe+40example.com");
    cr_assert_eq(c.mail.size, 1000);
    cr_assert_eq(c.mail.body, SMTP_BODY_8BITMIME);
    cr_assert(c.mail.smtputf8);
    check_slice(c.mail.ret, "hdrs", "RET");
    check_slice(c.mail.envid, "QQ+09+AF", "ENVID");
    check_slice(c.mail.auth, "joe+40example.com", "AUTH");
    c = parse("MAIL FROM:<a@b> BODY=7BIT AUTH=<> RET=FULL");
    cr_assert_eq(c.mail.body, SMTP_BODY_7BIT);
    check_slice(c.mail.auth, "<>", "AUTH");
    c = parse("MAIL FROM:<a@b>");
    cr_assert(c.mail.size == 0 && c.mail.body == SMTP_BODY_UNSAID && !c.mail.smtputf8);
    cr_assert(c.mail.ret.n == 0 && c.mail.envid.n == 0 && c.mail.auth.n == 0);
    check_slice(parse("MAIL FROM:<a@b> ENVID=" X100).mail.envid, X100, "the longest");
}

Test(command, counts_sizes_of_up_to_20_digits)
{
    cr_assert_eq(parse("MAIL FROM:<a@b> SIZE=0").mail.size, 0);
    cr_assert_eq(parse("MAIL FROM:<a@b> SIZE=00000000000000000012").mail.size, 12);
    cr_assert_eq(parse("MAIL FROM:<a@b> SIZE=999999999999999999").mail.size, 999999999999999999);
    cr_assert_eq(parse("MAIL FROM:<a@b> SIZE=99999999999999999999").mail.size, UINT64_MAX);
    check_refused(
        SLICE_LIT("MAIL FROM:<a@b> SIZE=000000000000000000001"), ALL, 501, "5.5.4", "SIZE");
}

Test(command, reads_rcpt)
{
    struct smtp_command c = parse("RCPT TO:<c@d>");
    cr_assert_eq(c.verb, SMTP_VERB_RCPT);
    check_slice(c.rcpt.to.mailbox, "c@d", "RCPT");
    cr_assert(c.rcpt.notify.n == 0 && c.rcpt.orcpt.n == 0);
    check_slice(parse("rcpt to: Postmaster").rcpt.to.mailbox, "Postmaster", "RCPT");
    c = parse("RCPT TO:<c@d> NOTIFY=SUCCESS,failure,DELAY ORCPT=rfc822;c+2Bx@d");
    check_slice(c.rcpt.notify, "SUCCESS,failure,DELAY", "NOTIFY");
    check_slice(c.rcpt.orcpt, "rfc822;c+2Bx@d", "ORCPT");
    check_slice(parse("RCPT TO:<c@d> NOTIFY=never").rcpt.notify, "never", "NOTIFY");
    check_slice(
        parse("RCPT TO:<c@d> ORCPT=utf-8;j\xc3\xb6@d").rcpt.orcpt, "utf-8;j\xc3\xb6@d", "ORCPT");
    check_slice(parse("RCPT TO:<j\xc3\xb6@d>").rcpt.to.local, "j\xc3\xb6", "RCPT");
}

Test(command, reads_bdat)
{
    struct smtp_command c = parse("BDAT 1000");
    cr_assert(c.verb == SMTP_VERB_BDAT && c.chunk == 1000 && !c.is_last);
    c = parse("bdat 0 last");
    cr_assert(c.chunk == 0 && c.is_last);
    cr_assert_eq(parse("BDAT 999999999999999999 LAST").chunk, 999999999999999999);
}

Test(command, reads_auth)
{
    struct smtp_command c = parse("AUTH NTLM");
    cr_assert_eq(c.verb, SMTP_VERB_AUTH);
    check_slice(c.arg, "NTLM", "AUTH");
    cr_assert_eq(c.initial.n, 0);
    c = parse("auth cram-md5 =");
    check_slice(c.arg, "cram-md5", "AUTH");
    check_slice(c.initial, "=", "AUTH");
    check_slice(parse("AUTH PLAIN AHVzZXIAc2VjcmV0 ").initial, "AHVzZXIAc2VjcmV0", "AUTH");
}

static const struct {
    const char *line;
    unsigned code;
    const char *status, *part;
} bad_rows[] = {
    { "", 500, "5.5.2", "not known" },
    { "   ", 500, "5.5.2", "not known" },
    { "MAI", 500, "5.5.2", "not known" },
    { "MAILX FROM:<a@b>", 500, "5.5.2", "not known" },
    { "MAIL\xc3\xbc", 500, "5.5.2", "not known" },
    { "GET / HTTP/1.1", 500, "5.5.2", "not known" },
    { "EHLO", 501, "5.5.4", "name of your computer" },
    { "HELO  ", 501, "5.5.4", "name of your computer" },
    { "EHLO my pc", 501, "5.5.4", "one word" },
    { "EHLO b\xc3\xbc"
      "ro",
        501, "5.5.4", "ASCII" },
    { "DATA now", 501, "5.5.4", "no argument" },
    { "RSET x", 501, "5.5.4", "no argument" },
    { "QUIT x", 501, "5.5.4", "no argument" },
    { "STARTTLS now", 501, "5.5.4", "no argument" },
    { "VRFY", 501, "5.5.4", "argument" },
    { "EXPN", 501, "5.5.4", "argument" },
    { "MAIL", 501, "5.5.4", "MAIL FROM:<address>" },
    { "MAIL FROM", 501, "5.5.4", "MAIL FROM:<address>" },
    { "MAIL FROM <a@b>", 501, "5.5.4", "MAIL FROM:<address>" },
    { "MAIL TO:<a@b>", 501, "5.5.4", "MAIL FROM:<address>" },
    { "MAIL <a@b>", 501, "5.5.4", "MAIL FROM:<address>" },
    { "MAIL FROM:", 501, "5.1.7", "missing" },
    { "MAIL FROM:<a@b", 501, "5.1.7", ">" },
    { "MAIL FROM:Joe Doe <a@b>", 501, "5.1.7", "without a name" },
    { "MAIL FROM:<a@b>SIZE=1", 501, "5.1.7", "blank is missing" },
    { "MAIL FROM:<a@b>> SIZE=1", 501, "5.1.7", "blank is missing" },
    { "MAIL FROM:<a@b> SIZE", 501, "5.5.4", "no value" },
    { "MAIL FROM:<a@b> SIZE=", 501, "5.5.4", "no value" },
    { "MAIL FROM:<a@b> SIZE=-1", 501, "5.5.4", "SIZE" },
    { "MAIL FROM:<a@b> SIZE=1k", 501, "5.5.4", "SIZE" },
    { "MAIL FROM:<a@b> SIZE=1 SIZE=1", 501, "5.5.4", "twice" },
    { "MAIL FROM:<a@b> BODY=BINARYMIME", 501, "5.5.4", "BODY" },
    { "MAIL FROM:<a@b> BODY", 501, "5.5.4", "no value" },
    { "MAIL FROM:<a@b> SMTPUTF8=", 501, "5.5.4", "no value" },
    { "MAIL FROM:<a@b> SMTPUTF8=yes", 501, "5.5.4", "no value" },
    { "MAIL FROM:<a@b> RET=ALL", 501, "5.5.4", "RET" },
    { "MAIL FROM:<a@b> ENVID=" X100 "x", 501, "5.5.4", "ENVID" },
    { "MAIL FROM:<a@b> ENVID=a=b", 501, "5.5.4", "ENVID" },
    { "MAIL FROM:<a@b> ENVID=a+2", 501, "5.5.4", "ENVID" },
    { "MAIL FROM:<a@b> ENVID=a+2b", 501, "5.5.4", "ENVID" },
    { "MAIL FROM:<a@b> ENVID=a+", 501, "5.5.4", "ENVID" },
    { "MAIL FROM:<a@b> ENVID=\xc3\xb6", 501, "5.5.4", "ENVID" },
    { "MAIL FROM:<a@b> AUTH=a=b", 501, "5.5.4", "AUTH" },
    { "MAIL FROM:<a@b> FOO=1", 555, "5.5.4", "not known" },
    { "MAIL FROM:<a@b> NOTIFY=NEVER", 555, "5.5.4", "not known" },
    { "MAIL FROM:<a@b> =1", 501, "5.5.4", "no parameter" },
    { "MAIL FROM:<a@b> <c@d>", 501, "5.5.4", "no parameter" },
    { "MAIL FROM:<a@b> A_B=1", 501, "5.5.4", "no parameter" },
    { "MAIL FROM:<a@b> azAZ09-=1", 555, "5.5.4", "not known" },
    { "MAIL FROM:<a@b> -X", 501, "5.5.4", "no parameter" },
    { "MAIL FROM:<j\xc3\xb6@b>", 550, "5.6.7", "SMTPUTF8" },
    { "MAIL FROM:<j\xf6@b> SMTPUTF8", 500, "5.5.2", "UTF-8" },
    { "RCPT TO", 501, "5.5.4", "RCPT TO:<address>" },
    { "RCPT FROM:<a@b>", 501, "5.5.4", "RCPT TO:<address>" },
    { "RCPT TO:<>", 501, "5.1.3", "empty" },
    { "RCPT TO:<a@b>,<c@d>", 501, "5.1.3", "blank is missing" },
    { "RCPT TO:a@b,c@d", 501, "5.1.3", "does not belong" },
    { "RCPT TO:<" X60 "xxxxx@b>", 501, "5.1.3", "64 octets" },
    { "RCPT TO:<a@b> SIZE=1", 555, "5.5.4", "not known" },
    { "RCPT TO:<a@b> NOTIFY=NEVER,SUCCESS", 501, "5.5.4", "NOTIFY" },
    { "RCPT TO:<a@b> NOTIFY=SUCCESS,", 501, "5.5.4", "NOTIFY" },
    { "RCPT TO:<a@b> NOTIFY=,SUCCESS", 501, "5.5.4", "NOTIFY" },
    { "RCPT TO:<a@b> NOTIFY=OFTEN", 501, "5.5.4", "NOTIFY" },
    { "RCPT TO:<a@b> NOTIFY=NEVER NOTIFY=NEVER", 501, "5.5.4", "twice" },
    { "RCPT TO:<a@b> ORCPT=rfc822", 501, "5.5.4", "ORCPT" },
    { "RCPT TO:<a@b> ORCPT=;a@b", 501, "5.5.4", "ORCPT" },
    { "RCPT TO:<a@b> ORCPT=rfc/822;a@b", 501, "5.5.4", "ORCPT" },
    { "RCPT TO:<a@b> ORCPT=rfc822;\xc3\xb6@b", 501, "5.5.4", "ORCPT" },
    { "RCPT TO:<a@b> ORCPT=rfc822;" X100 X100 X100 X100 X60 X10 X10 X10 "xxxx", 501, "5.5.4",
        "ORCPT" },
    { "BDAT", 501, "5.5.4", "BDAT" },
    { "BDAT LAST", 501, "5.5.4", "BDAT" },
    { "BDAT -1", 501, "5.5.4", "BDAT" },
    { "BDAT 1000000000000000000", 501, "5.5.4", "BDAT" },
    { "BDAT 1 FIRST", 501, "5.5.4", "BDAT" },
    { "BDAT 1 LAST x", 501, "5.5.4", "BDAT" },
    { "BDAT 0x10", 501, "5.5.4", "BDAT" },
    { "AUTH", 501, "5.5.4", "AUTH" },
    { "AUTH NT/LM", 501, "5.5.4", "AUTH" },
    { "AUTH PLAIN a b", 501, "5.5.4", "AUTH" },
    { "AUTH " X10 X10 "x", 501, "5.5.4", "AUTH" },
    { "QUIT\r", 500, "5.5.2", "control" },
    { "QUIT\n", 500, "5.5.2", "control" },
    { "NOOP a\rMAIL FROM:<a@b>", 500, "5.5.2", "control" },
    { "EHLO \x1b[2J", 500, "5.5.2", "control" },
    { "NOOP \x7f", 500, "5.5.2", "control" },
    { "\x16\x03\x01\x02", 500, "5.5.2", "control" },
};

Test(command, refuses_with_a_reason)
{
    for (size_t i = 0; i < ARRAY_LEN(bad_rows); i++)
        check_refused(slice_str(bad_rows[i].line), ALL, bad_rows[i].code, bad_rows[i].status,
            bad_rows[i].part);
    check_refused(SLICE_LIT("NOOP a\0b"), ALL, 500, "5.5.2", "control");
    check_refused(SLICE_LIT("QUIT\0"), ALL, 500, "5.5.2", "control");
    check_refused(SLICE_NONE, ALL, 500, "5.5.2", "not known");
}

Test(command, hello_names_have_a_length)
{
    char line[5 + 256 + 1] = "EHLO ";
    memset(line + 5, 'x', 256);
    check_refused(slice_of(line, 5 + 256), ALL, 501, "5.5.4", "255");
    struct smtp_command c;
    struct smtp_syntax_error e;
    cr_assert(smtp_command_parse(slice_of(line, 5 + 255), ALL, &c, &e));
    cr_assert_eq(c.arg.n, 255);
}

Test(command, the_longest_orcpt_is_taken)
{
    const char *line = "RCPT TO:<a@b> ORCPT=rfc822;" X100 X100 X100 X100 X60 X10 X10 X10 "xxx";
    cr_assert_eq(parse(line).rcpt.orcpt.n, 500);
}

Test(command, parameters_need_their_extension)
{
    static const struct {
        const char *line;
        uint32_t cap;
    } rows[] = {
        { "MAIL FROM:<a@b> SIZE=1", SMTP_CAP_SIZE },
        { "MAIL FROM:<a@b> BODY=7BIT", SMTP_CAP_8BITMIME },
        { "MAIL FROM:<a@b> SMTPUTF8", SMTP_CAP_SMTPUTF8 },
        { "MAIL FROM:<a@b> RET=FULL", SMTP_CAP_DSN },
        { "MAIL FROM:<a@b> ENVID=x", SMTP_CAP_DSN },
        { "MAIL FROM:<a@b> AUTH=<>", SMTP_CAP_AUTH },
        { "RCPT TO:<a@b> NOTIFY=NEVER", SMTP_CAP_DSN },
        { "RCPT TO:<a@b> ORCPT=rfc822;a@b", SMTP_CAP_DSN },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct smtp_command c;
        struct smtp_syntax_error e;
        cr_assert(
            smtp_command_parse(slice_str(rows[i].line), rows[i].cap, &c, &e), "%s", rows[i].line);
        check_refused(slice_str(rows[i].line), ALL & ~rows[i].cap, 555, "5.5.4", "not offered");
    }
}

Test(command, is_ascii_without_smtputf8)
{
    uint32_t caps = ALL & ~(uint32_t)SMTP_CAP_SMTPUTF8;
    check_refused(SLICE_LIT("MAIL FROM:<j\xc3\xb6@b>"), caps, 550, "5.6.7", "ASCII");
    check_refused(SLICE_LIT("RCPT TO:<j\xc3\xb6@b>"), caps, 553, "5.6.7", "ASCII");
    check_refused(SLICE_LIT("NOOP j\xf6"), caps, 500, "5.5.2", "ASCII");
    struct smtp_command c = parse("MAIL FROM:<j\xc3\xb6@b> SMTPUTF8");
    cr_assert(c.mail.from.is_utf8 && c.mail.smtputf8);
}

/* Slices point into the line; a cut line never makes the parser read on (ASan looks on). */
Test(command, survives_being_cut_anywhere)
{
    static const char *const lines[] = {
        "MAIL FROM:<\"a\\\"b\"@[IPv6:::1]> SIZE=1 BODY=8BITMIME RET=FULL ENVID=a+20 AUTH=<> "
        "SMTPUTF8",
        "RCPT TO:<@x,@y:a@b> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb",
        "BDAT 1000 LAST",
        "AUTH PLAIN AAAA",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        for (size_t n = 0; n <= strlen(lines[i]); n++) {
            char *copy = slice_dup(slice_of(lines[i], n));
            char *exact = malloc(n ? n : 1);
            memcpy(exact, copy, n);
            struct smtp_command c;
            struct smtp_syntax_error e;
            smtp_command_parse(slice_of(exact, n), ALL, &c, &e);
            free(exact);
            free(copy);
        }
    }
}
