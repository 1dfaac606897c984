#include "config/load.h"

#include "platform/platform.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { TEXT_MAX = 1 << 20 };

#define HOSTS "a host name or an IP address, or several with commas between them"
#define BAD_HOST(value)                                                                            \
    {                                                                                              \
        "[upstream]\nhost = " value "\n" ACCOUNT,                                                  \
            "t.ini:2: [upstream] host = " value ": must be " HOSTS "\n"                            \
    }
#define UP      "[upstream]\nhost = mail.test\n"
#define ACCOUNT "[account]\nusername = u\npassword = hunter2\n"
#ifdef _WIN32
#define HERE     "eventlog"
#define NOT_HERE "syslog"
#else
#define HERE     "syslog"
#define NOT_HERE "eventlog"
#endif
#define GOOD UP ACCOUNT /* 5 lines */

/* ---- wrong texts ---- */

struct row {
    const char *text, *want; /* `want`: every complaint, whole */
};

/* Loads from memory; NULL when it has problems. `out` gets the complaints. */
static struct config *load(const char *text, size_t size, struct buf *out)
{
    buf_init(out, TEXT_MAX);
    return config_load_text("t.ini", slice_of(text, size), out);
}

static void expect_problems(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct buf out;
        struct config *c = load(rows[i].text, strlen(rows[i].text), &out);
        cr_expect_str_eq(buf_cstr(&out), rows[i].want, "for <<%s>>\n got <<%s>>\nwant <<%s>>",
            rows[i].text, buf_cstr(&out), rows[i].want);
        bool is_warning = strncmp(rows[i].want, "warning: ", 9) == 0;
        cr_expect_eq(c != NULL, rows[i].want[0] == '\0' || is_warning, "for <<%s>>", rows[i].text);
        cr_expect_null(strstr(buf_cstr(&out), "hunter2"), "a secret in <<%s>>", buf_cstr(&out));
        config_unref(c);
        buf_fini(&out);
    }
}
#define EXPECT_PROBLEMS(rows) expect_problems((rows), ARRAY_LEN(rows))

Test(config, values_out_of_bounds_name_what_is_allowed)
{
    static const struct row rows[] = {
        { GOOD "[listener]\nport = 70000\n",
            "t.ini:7: [listener] port = 70000: must be 1 to 65535\n" },
        { GOOD "[listener]\nport = 0\n", "t.ini:7: [listener] port = 0: must be 1 to 65535\n" },
        { GOOD "[listener]\nport = 65535\n", "" },
        { GOOD "[listener]\nport = 65536\n",
            "t.ini:7: [listener] port = 65536: must be 1 to 65535\n" },
        { GOOD "[listener]\nport = smtp\n",
            "t.ini:7: [listener] port = smtp: must be 1 to 65535\n" },
        { GOOD "[listener]\nport = -1\n", "t.ini:7: [listener] port = -1: must be 1 to 65535\n" },
        { GOOD "[listener]\nport =\n", "t.ini:7: [listener] port = : must be 1 to 65535\n" },
        { GOOD "[listener]\nport = 25 # smtp\n",
            "t.ini:7: [listener] port = 25 # smtp: must be 1 to 65535\n" },
        { GOOD "[listener]\nport = 25 ; smtp\n", "" },
        { GOOD "[listener scan]\naddress = localhost\n",
            "t.ini:7: [listener scan] address = localhost: must be an IP address\n" },
        { GOOD "[listener]\nmax_errors = 0\n",
            "t.ini:7: [listener] max_errors = 0: must be 1 to 1000\n" },
        { GOOD "[listener]\nmax_clients = 99999999999999999999\n",
            "t.ini:7: [listener] max_clients = 99999999999999999999: must be 1 to 50000\n" },
        { GOOD "[listener]\nmax_message_size = 150X\n",
            "t.ini:7: [listener] max_message_size = 150X: must be a size from 0 to 64G, such as "
            "150M\n" },
        { GOOD "[listener]\nmax_message_size = 64G\n", "" },
        { GOOD "[listener]\nmax_message_size = 65G\n",
            "t.ini:7: [listener] max_message_size = 65G: must be a size from 0 to 64G, such as "
            "150M\n" },
        { GOOD "[listener]\nmax_message_size = 999999999999999999G\n",
            "t.ini:7: [listener] max_message_size = 999999999999999999G: must be a size from 0 to "
            "64G, such as 150M\n" },
        /* 2^34 + 1: in 64 bits it would come out as 1G. */
        { GOOD "[listener]\nmax_message_size = 17179869185G\n",
            "t.ini:7: [listener] max_message_size = 17179869185G: must be a size from 0 to 64G, "
            "such as 150M\n" },
        { GOOD "[listener]\nidle_timeout = 30\n", "t.ini:7: [listener] idle_timeout = 30: the unit "
                                                  "is missing; write 250ms, 30s, 5m, 2h or "
                                                  "3d\n" },
        { GOOD "[listener]\nidle_timeout = 0\n",
            "t.ini:7: [listener] idle_timeout = 0: must be a time from 1s to 1d\n" },
        { GOOD "[listener]\nidle_timeout = 999ms\n",
            "t.ini:7: [listener] idle_timeout = 999ms: must be a time from 1s to 1d\n" },
        { GOOD "[listener]\nidle_timeout = 1.5m\n",
            "t.ini:7: [listener] idle_timeout = 1.5m: must be a time from 1s to 1d\n" },
        { GOOD "[listener]\nidle_timeout = m\n",
            "t.ini:7: [listener] idle_timeout = m: must be a time from 1s to 1d\n" },
        { GOOD "[listener]\nsession_timeout = 0\n", "" },
        { "[upstream]\nhost = mail.test\nidle_close = 4m\n" ACCOUNT, "" },
        { "[upstream]\nhost = mail.test\nidle_close = 241s\n" ACCOUNT,
            "t.ini:3: [upstream] idle_close = 241s: must be a time from 1s to 4m\n" },
        { "[upstream]\nhost = mail.test\ntls = on\n" ACCOUNT,
            "t.ini:3: [upstream] tls = on: must be starttls, implicit or off\n" },
        { "[upstream]\nhost = mail.test\nauth = md5\n" ACCOUNT,
            "t.ini:3: [upstream] auth = md5: must be auto, ntlm, cram-md5, login, plain or "
            "none\n" },
        { "[upstream]\nhost = mail.test\nauth = NTLM\n" ACCOUNT, "" },
        { "[upstream]\nhost = mail test\n" ACCOUNT, "t.ini:2: [upstream] host = mail test: "
                                                    "must be " HOSTS "\n" },
        { "[upstream]\nhost = mail..test\n" ACCOUNT, "t.ini:2: [upstream] host = mail..test: "
                                                     "must be " HOSTS "\n" },
        { "[upstream]\nhost = mail.test # ours\n" ACCOUNT,
            "t.ini:2: [upstream] host = mail.test # ours: "
            "must be " HOSTS "\n" },
        { "[upstream]\nhost = a.test,b.test:25 , [::1]:2525,::1,192.0.2.1:65535\n" ACCOUNT, "" },
        { "[upstream]\nhost = a.test, b.test\ntls = off\n" ACCOUNT,
            "t.ini:3: [upstream] tls = off: is allowed only when host is localhost or a loopback "
            "address\n" },
        { "[upstream]\nhost = localhost, 127.0.0.1:26\ntls = off\n" ACCOUNT, "" },
        { "[upstream]\nhost = localhost, b.test\ntls = off\n" ACCOUNT,
            "t.ini:3: [upstream] tls = off: is allowed only when host is localhost or a loopback "
            "address\n" },
        { "[upstream]\nhost = a.test, A.TEST\n" ACCOUNT,
            "t.ini:2: [upstream] host = a.test, A.TEST: has the same host twice\n" },
        { "[upstream]\nhost = a.test, a.test:25\n" ACCOUNT, "" },
        { "[upstream]\nhost = 1,2,3,4,5,6,7,8\n" ACCOUNT, "" },
        { "[upstream]\nhost = 1,2,3,4,5,6,7,8,9\n" ACCOUNT,
            "t.ini:2: [upstream] host = 1,2,3,4,5,6,7,8,9: has more than 8 hosts\n" },
        BAD_HOST("a.test,"),
        BAD_HOST(","),
        BAD_HOST("a.test,,b.test"),
        BAD_HOST("a.test:"),
        BAD_HOST("a.test:0"),
        BAD_HOST("a.test:65536"),
        BAD_HOST("a.test:000587"),
        BAD_HOST("a.test:25:26"),
        BAD_HOST(":25"),
        BAD_HOST("[::1"),
        BAD_HOST("[::1]25"),
        BAD_HOST("[::1]:"),
        BAD_HOST("[a.test]:25"),
        BAD_HOST("[192.0.2.1]:25"),
        { "[upstream]\nhost =\n" ACCOUNT, "t.ini:2: [upstream] host = : needs a value\n" },
        { GOOD "[log]\ntarget = stdout\n", "t.ini:7: [log] target = stdout: must be stderr, "
                                           "syslog, eventlog or a file's full path\n" },
        { GOOD "[log]\ntarget = /x # y\n", "t.ini:7: [log] target = /x # y: a comment behind a "
                                           "value begins with ; and not with #\n" },
        { GOOD "[log]\ntarget = " NOT_HERE "\n",
            "t.ini:7: [log] target = " NOT_HERE ": is not there on this system; write " HERE "\n" },
        { GOOD "[log]\ntarget = " HERE "\n", "" },
        { GOOD "[log]\nlevel = loud\n",
            "t.ini:7: [log] level = loud: must be error, warning, info or debug\n" },
        { GOOD "[delivery]\nmode = later\n",
            "t.ini:7: [delivery] mode = later: must be relay or queue\n" },
    };
    EXPECT_PROBLEMS(rows);
}

Test(config, lists_name_the_item_and_its_line)
{
    static const struct row rows[] = {
        { GOOD "[listener]\nallow = 10.0.0.0/8, lan, ::1\n",
            "t.ini:7: [listener] allow = 10.0.0.0/8, lan, ::1: \"lan\": must be addresses or "
            "networks, "
            "such as 10.1.3.7, 10.1.3.0/24 (the bits behind the prefix are 0)\n" },
        { GOOD "[listener]\nallow = 10.0.0.0/8,\n  10.0.0.1/24\n",
            "t.ini:8: [listener] allow = 10.0.0.1/24: \"10.0.0.1/24\": must be addresses or "
            "networks, "
            "such as 10.1.3.7, 10.1.3.0/24 (the bits behind the prefix are 0)\n" },
        { GOOD "[listener]\nallow = 10.0.0.0/33\n",
            "t.ini:7: [listener] allow = 10.0.0.0/33: \"10.0.0.0/33\": must be addresses or "
            "networks, "
            "such as 10.1.3.7, 10.1.3.0/24 (the bits behind the prefix are 0)\n" },
        { GOOD "[account a]\nusername = u\npassword = x\nmatch_sender = a@b, @hr.test\n",
            "t.ini:9: [account a] match_sender = a@b, @hr.test: \"@hr.test\": must be address "
            "patterns, "
            "such as payroll@corp.example, *@hr.corp.example\n" },
        { GOOD "[account a]\nusername = u\npassword = x\nmatch_sender = payroll\n",
            "t.ini:9: [account a] match_sender = payroll: \"payroll\": must be address patterns, "
            "such "
            "as payroll@corp.example, *@hr.corp.example\n" },
        { GOOD
            "[account a]\nusername = u\npassword = x\nmatch_sender = a@b,\n  match_client = ::1\n",
            "t.ini:10: [account a] match_sender = match_client = ::1: \"match_client = ::1\": must "
            "be "
            "address patterns, such as payroll@corp.example, *@hr.corp.example\n" },
    };
    EXPECT_PROBLEMS(rows);
}

Test(config, unknown_names_get_the_nearest_one)
{
    static const struct row rows[] = {
        { "[upstream]\nhots = mail.test\n" ACCOUNT,
            "t.ini:2: [upstream] hots: unknown option; did you mean \"host\"?\n"
            "t.ini:1: [upstream] host: is missing and has no default\n" },
        { GOOD "[lisener]\nport = 26\n",
            "t.ini:6: [lisener]: unknown section; did you mean [listener]?\n" },
        { GOOD "[smtp]\nport = 26\n", "t.ini:6: [smtp]: unknown section; known are [listener], "
                                      "[upstream], [account], [delivery], "
                                      "[log] and [service]\n" },
        { GOOD "[upstrem]\n", "t.ini:6: [upstrem]: unknown section; did you mean [upstream]?\n" },
        { GOOD "[log]\ncolour = yes\n",
            "t.ini:7: [log] colour: unknown option; known here are target, format, level\n" },
        { GOOD "pasword = hunter2\n",
            "t.ini:6: [account] pasword: unknown option; did you mean \"password\"?\n" },
        { GOOD "port = 12\n",
            "t.ini:6: [account] port: unknown option here; it belongs to [listener]\n" },
        { GOOD "[log]\npassword = hunter2\n",
            "t.ini:7: [log] password: unknown option here; it belongs to [account]\n" },
        { GOOD "[log]\nhunter2== 5\n",
            "t.ini:7: [log]: unknown option; known here are target, format, level\n" },
        { GOOD "[log]\nx = 1\n  hunter2\n  hunter2\n",
            "t.ini:7: [log] x: unknown option; known here are target, format, level\n" },
        { GOOD "[LOG]\nLEVEL = Info\n", "" },
        { "", "t.ini: [upstream] host: is missing and has no default\n"
              "t.ini: [account]: is missing; add it with username and password_file, or set auth = "
              "none "
              "in [upstream]\n" },
        { GOOD "[upstream two]\nhost = b.test\n",
            "t.ini:6: [upstream two]: this section takes no name\n" },
    };
    EXPECT_PROBLEMS(rows);
}

Test(config, twice_is_an_error_that_names_both_lines)
{
    static const struct row rows[] = {
        { "[upstream]\nhost = a.test\nport = 25\nHOST = b.test\n" ACCOUNT,
            "t.ini:4: [upstream] host: given twice, first in line 2\n" },
        { GOOD "password = hunter2\n",
            "t.ini:6: [account] password: given twice, first in line 5\n" },
        { GOOD "[listener]\nallow = ::1\nallow = ::2\n  ::3\n",
            "t.ini:8: [listener] allow: given twice, first in line 7\n" },
        { GOOD "[log]\nlevel = info\n[log]\nformat = json\n",
            "t.ini:8: [log]: there twice, first in line 6; put all its lines into one place\n" },
        { GOOD "[listener a]\n[listener A]\nport = 26\n",
            "t.ini:7: [listener A]: there twice, first in line 6; put all its lines into one "
            "place\n" },
        { GOOD "[listener a]\n[listener b]\nport = 26\n", "" },
        { GOOD "[listener a]\n[listener b]\n",
            "t.ini:7: [listener b]: has the address and port of the listener in line 6\n" },
    };
    EXPECT_PROBLEMS(rows);
}

Test(config, all_problems_are_told_at_once)
{
    static const struct row rows[] = {
        { "[listener]\nport = x\nidle = 5\n[upstream]\ntls = off\nhost = mail.test\n[account]\n",
            "t.ini:2: [listener] port = x: must be 1 to 65535\n"
            "t.ini:3: [listener] idle: unknown option; known here are address, port, allow, "
            "max_message_size, max_recipients, max_clients, max_clients_per_address, max_errors, "
            "idle_timeout, session_timeout\n"
            "t.ini:5: [upstream] tls = off: is allowed only when host is localhost or a loopback "
            "address\n"
            "t.ini:7: [account] username: is missing; a login needs one\n"
            "t.ini:7: [account]: needs password_file, password_command or password\n" },
    };
    EXPECT_PROBLEMS(rows);
}

Test(config, options_are_checked_against_each_other)
{
    static const struct row rows[] = {
        { GOOD "[listener]\naddress = 10.0.0.1\n", "t.ini:7: [listener] address = 10.0.0.1: can be "
                                                   "reached from the network; set allow to the "
                                                   "networks that may send\n" },
        { GOOD "[listener]\naddress = ::\nallow =\n",
            "t.ini:7: [listener] address = ::: can be reached from the network; set allow to the "
            "networks that may send\n" },
        { GOOD "[listener]\naddress = 0.0.0.0\nallow =\n   10.0.0.0/8\n", "" },
        { GOOD "[listener]\naddress = 127.1.2.3\n", "" },
        { GOOD "[listener]\naddress = ::1\n", "" },
        { GOOD "[listener]\naddress = 0.0.0.0\nallow = 0.0.0.0/0\n",
            "warning: t.ini:8: [listener] allow = 0.0.0.0/0: everyone who can reach this address "
            "may "
            "send with your accounts\n" },
        { "[upstream]\nhost = 127.0.0.9\ntls = off\n" ACCOUNT, "" },
        { "[upstream]\nhost = ::1\ntls = off\n" ACCOUNT, "" },
        { "[upstream]\nhost = LocalHost\ntls = off\n" ACCOUNT, "" },
        { "[upstream]\nhost = localhost.evil.test\ntls = off\n" ACCOUNT,
            "t.ini:3: [upstream] tls = off: is allowed only when host is localhost or a loopback "
            "address\n" },
        { "[upstream]\nhost = 128.0.0.1\ntls = off\n" ACCOUNT,
            "t.ini:3: [upstream] tls = off: is allowed only when host is localhost or a loopback "
            "address\n" },
        { "[upstream]\nhost = mail.test\ntls = implicit\n" ACCOUNT,
            "warning: t.ini:3: [upstream] tls = implicit: port is 587, where servers expect "
            "starttls; "
            "implicit is usual with port = 465\n" },
        { "[upstream]\nhost = mail.test\nauth = none\n", "" },
        { "[upstream]\nhost = mail.test\nauth = none\n[account]\nforce_sender = a@b.test\n", "" },
        { UP, "t.ini: [account]: is missing; add it with username and password_file, or set auth = "
              "none in [upstream]\n" },
        { UP "[account]\npassword = hunter2\n",
            "t.ini:3: [account] username: is missing; a login needs one\n" },
        { UP "[account]\nusername = u\npassword_file = /x\npassword = hunter2\n",
            "t.ini:5: [account] password_file = /x: password is there as well; keep one of "
            "them\n" },
        { GOOD "[account a]\nusername = u\npassword = x\n",
            "t.ini:6: [account a]: is never used without match_sender or match_client\n" },
        { GOOD "match_client = 10.0.0.0/8\n",
            "t.ini:6: [account] match_client = 10.0.0.0/8: [account] takes what no other account "
            "matches; write [account NAME]\n" },
    };
    EXPECT_PROBLEMS(rows);
}

/* `username =`, written with nothing behind it. */
Test(config, only_windows_logs_in_without_a_username)
{
#define EMPTY       "[account]\nusername =\n"
#define AUTH(value) "[upstream]\nhost = mail.test\nauth = " value "\n" EMPTY
#define NEEDS_ONE                                                                                  \
    " username = : is empty; a login needs one (only on Windows an empty one means the account "   \
    "that "                                                                                        \
    "submitd runs as)\n"
    static const struct row elsewhere[] = {
        { UP EMPTY, "t.ini:4: [account]" NEEDS_ONE },
        { AUTH("ntlm"), "t.ini:5: [account]" NEEDS_ONE },
        { AUTH("none"), "" },
    };
    static const struct row windows[] = {
        { UP EMPTY, "" },
        { AUTH("ntlm"), "" },
        { AUTH("login"), "t.ini:5: [account] username = : is empty, the account that submitd runs "
                         "as; auth = login "
                         "cannot log in as that, set it to ntlm or auto\n" },
        { UP EMPTY "password = hunter2\n",
            "t.ini:4: [account] username = : is missing; a login needs one\n" },
        { UP "[account]\n", "t.ini:3: [account] username: is missing; a login needs one\n"
                            "t.ini:3: [account]: needs password_file, password_command or "
                            "password\n" },
    };
    if (platform_has_identity())
        EXPECT_PROBLEMS(windows);
    else
        EXPECT_PROBLEMS(elsewhere);
#undef EMPTY
#undef AUTH
#undef NEEDS_ONE
}

Test(config, senders_and_pins_have_a_form)
{
#define SENDER(value) GOOD "force_sender = " value "\n"
#define BAD_SENDER(value)                                                                          \
    {                                                                                              \
        SENDER(value), "t.ini:6: [account] force_sender = " value                                  \
                       ": must be one mail address, such as payroll@corp.example\n"                \
    }
#define PIN(value) "[upstream]\nhost = mail.test\ntls_pin = " value "\n" ACCOUNT
#define BAD_PIN(value)                                                                             \
    {                                                                                              \
        PIN(value), "t.ini:3: [upstream] tls_pin = " value                                         \
                    ": must be sha256: and the base64 of 32 bytes\n"                               \
    }
    static const struct row rows[] = {
        { SENDER("a@b"), "" },
        { SENDER("first.last+tag@corp.example"), "" },
        BAD_SENDER("ab"),
        BAD_SENDER("@b"),
        BAD_SENDER("a@"),
        BAD_SENDER("a@b@c"),
        BAD_SENDER("a b@c"),
        BAD_SENDER("<a@b>"),
        BAD_SENDER("a@b, c@d"),
        BAD_SENDER("a@b>\\r\\nRCPT"),
        { PIN("sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="), "" },
        BAD_PIN("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
        BAD_PIN("sha256:"),
        BAD_PIN("sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuF=="),
        BAD_PIN("sha256:AAAA47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
        BAD_PIN("sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"),
        BAD_PIN("sha1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
    };
    EXPECT_PROBLEMS(rows);
}

/* ---- the text itself ---- */

#define X50  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X190 X50 X50 X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

Test(config, lines_that_libinih_would_drop_or_cut_are_told)
{
    static const struct row rows[] = {
        { GOOD "[log]\nlevel\n",
            "t.ini:7: is neither a [section] nor \"name = value\" nor a comment\n" },
        { GOOD "[log]\nlevel\nformat\n[listener]\nport = x\n",
            "t.ini:7: is neither a [section] nor \"name = value\" nor a comment\n"
            "t.ini:8: is neither a [section] nor \"name = value\" nor a comment\n"
            "t.ini:10: [listener] port = x: must be 1 to 65535\n" },
        { GOOD "[log\nlevel = info\n", "t.ini:6: the ] that ends the section's name is missing\n" },
        { GOOD "[log] level = info\n", "t.ini:6: nothing but a comment may follow the ]\n" },
        { GOOD "[log] ; here\nlevel = loud\n",
            "t.ini:7: [log] level = loud: must be error, warning, info or debug\n" },
        { GOOD "[]\nlevel = info\n", "t.ini:6: the section's name is missing\n" },
        { GOOD "= 5\n", "t.ini:6: the name in front of the = is missing\n" },
        { "level = info\n" GOOD,
            "t.ini:1: this line stands in front of the first section, such as [upstream]\n" },
        { GOOD "[log]\n" X190 "12345678",
            "t.ini:7: is neither a [section] nor \"name = value\" nor a comment\n" },
        { GOOD "[log]\n" X190 "123456789\nlevel = x\n",
            "t.ini:7: is 199 bytes long, more than 198; a list may go on in indented lines\n"
            "t.ini:8: [log] level = x: must be error, warning, info or debug\n" },
        { GOOD "; " X190 X190 "\n",
            "t.ini:6: is 382 bytes long, more than 198; a list may go on in indented lines\n" },
        { GOOD "[account " X190 "]\nusername = v\n",
            "t.ini:6: is 200 bytes long, more than 198; a list may go on in indented lines\n" },
        /* Longer than libinih's own 50 bytes for section names. */
        { GOOD "[listener " X50 "1]\n[listener " X50 "2]\nport = x\n",
            "t.ini:8: [listener " X50 "2] port = x: must be 1 to 65535\n" },
        { GOOD "[log]\nlevel = \x01\n", "t.ini:7: holds the control character 0x01\n" },
        { GOOD "[log]\nlevel = in\rfo\n", "t.ini:7: holds the control character 0x0D\n" },
        { GOOD "[log]\nlevel = \xff\n",
            "t.ini:7: is not UTF-8; save the file with UTF-8 encoding\n" },
        { GOOD "; na\xefve\n", "t.ini:6: is not UTF-8; save the file with UTF-8 encoding\n" },
        { GOOD "; na\xc3\xafve\n", "" },
        { "\xff\xfe[\n",
            "t.ini: is UTF-16; save the file with UTF-8 encoding\n"
            "t.ini: [upstream] host: is missing and has no default\n"
            "t.ini: [account]: is missing; add it with username and password_file, or set "
            "auth = none in [upstream]\n" },
        { "\xef\xbb\xbf" GOOD, "" },
        { "[upstream]\r\nhost = mail.test\r\n[account]\r\nusername = u\r\npassword = p\r\n", "" },
        { "[upstream]\n  host = mail.test\n# c\n\n; c\n" ACCOUNT, "" },
        { "[upstream]\nhost: mail.test\n" ACCOUNT, "" },
        { "  [upstream]\n  host = mail.test\n  port = 26\n" ACCOUNT,
            "t.ini:3: [upstream] host: only a list goes on in an indented line; let the line begin "
            "at "
            "the left edge\n" },
        { "[upstream]\nhost = mail.test\n  [account]\nusername = u\n",
            "t.ini:3: [upstream] host: only a list goes on in an indented line; let the line begin "
            "at "
            "the left edge\n"
            "t.ini:4: [upstream] username: unknown option here; it belongs to [account]\n"
            "t.ini: [account]: is missing; add it with username and password_file, or set auth = "
            "none "
            "in [upstream]\n" },
    };
    EXPECT_PROBLEMS(rows);
}

Test(config, nul_bytes_are_told)
{
    static const char text[] = GOOD "[log]\nlevel = info\0debug\n";
    struct buf out;
    cr_expect_null(load(text, sizeof text - 1, &out));
    cr_expect_str_eq(buf_cstr(&out), "t.ini:7: holds a NUL byte; is this a text file?\n");
    buf_fini(&out);
}

/* Each text but the last has no mistake, so that every cut is one, or is none for a good reason. */
Test(config, every_cut_of_a_file_is_judged_without_harm)
{
    static const char text[] =
        "\xef\xbb\xbf[listener office]\naddress = 10.0.0.1\nallow = 10.0.0.0/8,\n"
        "  ::1 ; x\n" GOOD;
    for (size_t n = 0; n < sizeof text; n++) {
        struct buf out;
        struct config *c = load(text, n, &out);
        cr_expect_eq(c == NULL, out.len > 0, "%zu bytes: %s", n, buf_cstr(&out));
        config_unref(c);
        buf_fini(&out);
    }
}

/* ---- secrets ---- */

Test(config, no_complaint_shows_a_password)
{
#define SECRET(line) UP "[account]\nusername = u\n" line
    static const struct row rows[] = {
        { SECRET("password = hunter2 ;x\n"), "t.ini:5: [account] password: what stands behind \" "
                                             ";\" would be lost as a comment; use "
                                             "password_file\n" },
        { SECRET("password = ;hunter2\n"),
            "t.ini:5: [account] password: what stands behind \" ;\" would be lost as a comment; "
            "use password_file\n" },
        { SECRET("password =;hunter2;x\n"), "" },
        { SECRET("password = hunter2\n  hunter2\n"),
            "t.ini:6: [account] password: only a list goes on in an indented line; let the line "
            "begin "
            "at the left edge\n" },
        { SECRET("password = " X190 "hunter2\n  hunter2\n"),
            "t.ini:5: is 208 bytes long, more than 198; a list may go on in indented lines\n"
            "t.ini:3: [account]: needs password_file, password_command or password\n" },
        { SECRET("password hunter2\n  hunter2\n"),
            "t.ini:5: is neither a [section] nor \"name = value\" nor a comment\n"
            "t.ini:3: [account]: needs password_file, password_command or password\n" },
        { SECRET("password = \xff hunter2\n  hunter2\n"),
            "t.ini:5: is not UTF-8; save the file with UTF-8 encoding\n"
            "t.ini:3: [account]: needs password_file, password_command or password\n" },
        { SECRET("password = hunter2\x01\n"),
            "t.ini:5: holds the control character 0x01\n"
            "t.ini:3: [account]: needs password_file, password_command or password\n" },
        { SECRET("password = ***\n"),
            "t.ini:5: [account] password: holds the mask of a printed password, not a password\n" },
        { SECRET("password =\n"), "t.ini:5: [account] password: needs a value\n" },
        { SECRET("password = \"hunter2\"\n"), "warning: t.ini:5: [account] password: the quotes "
                                              "are taken as part of the password\n" },
        { SECRET("password_command = echo hunter2 ; true\n"),
            "t.ini:5: [account] password_command: what stands behind \" ;\" would be lost as a "
            "comment; use a script\n" },
        { SECRET("password_command = echo hunter2\npassword = hunter2\n"),
            "t.ini:5: [account] password_command: password is there as well; keep one of them\n" },
        { SECRET("password_command = echo hunter2\n"), "" },
        { SECRET("password_protected = AQAA+/==\n"), "" },
        { SECRET("password_protected = AQAA\n    hunter2==\n\tAQAA\n"), "" },
        { SECRET("password_protected = AQAA\n    hunter2*\n"),
            "t.ini:6: [account] password_protected: must be what `submitd secret protect` printed, "
            "all of its lines\n" },
        { SECRET("password_protected =\n"),
            "t.ini:5: [account] password_protected: needs a value\n" },
        { SECRET("password_protected = ***\n"),
            "t.ini:5: [account] password_protected: must be what `submitd secret protect` printed, "
            "all of its lines\n" },
        { SECRET("password = hunter2\npassword_protected = hunter2\n"),
            "t.ini:6: [account] password_protected: password is there as well; keep one of "
            "them\n" },
    };
    EXPECT_PROBLEMS(rows);
}

Test(config, protected_password_is_joined_and_masked)
{
    struct buf out;
    const char *text =
        UP "[account]\nusername = u\npassword_protected = AQAA\n    hunter2\n  B==\n";
    struct config *c = load(text, strlen(text), &out);
    cr_assert(c, "%s", buf_cstr(&out));
    struct slice joined = secret_reveal(c->accounts[0].password_protected);
    cr_expect(slice_eq(joined, SLICE_LIT("AQAAhunter2B==")), "%.*s", SLICE_ARG(joined));
    buf_clear(&out);
    config_print(c, &out);
    cr_expect(strstr(buf_cstr(&out), "\npassword_protected = ***\n"), "%s", buf_cstr(&out));
    cr_expect_null(strstr(buf_cstr(&out), "hunter2"), "%s", buf_cstr(&out));
    cr_expect_null(strstr(buf_cstr(&out), "\npassword ="), "%s", buf_cstr(&out));
    config_unref(c);
    buf_fini(&out);
}

/* ---- good texts ---- */

Test(config, defaults_are_as_documented)
{
    struct buf out;
    struct config *c = load(GOOD, strlen(GOOD), &out);
    cr_assert(c, "%s", buf_cstr(&out));
    cr_expect_eq(out.len, 0);
    cr_expect_eq(c->listener_count, 1);
    const struct config_listener *l = &c->listeners[0];
    cr_expect_str_eq(l->name, "");
    cr_expect(ip_is_loopback(&l->address));
    cr_expect_eq(l->port, 25);
    cr_expect_eq(l->allow.count, 2);
    cr_expect_eq(l->max_message_size, 150ULL << 20);
    cr_expect_eq(l->max_recipients, 1000);
    cr_expect_eq(l->max_clients, 1000);
    cr_expect_eq(l->max_clients_per_address, 500);
    cr_expect_eq(l->max_errors, 20);
    cr_expect_eq(l->idle_timeout_ms, 300000);
    cr_expect_eq(l->session_timeout_ms, 86400000);
    const struct config_upstream *u = &c->upstream;
    cr_assert_eq(u->host.count, 1);
    cr_expect_str_eq(u->host.items[0].name, "mail.test");
    cr_expect_eq(config_host_port(u, &u->host.items[0]), 587);
    cr_expect_eq(u->port, 587);
    cr_expect_eq(u->tls, CONFIG_TLS_STARTTLS);
    cr_expect_str_eq(u->auth, "auto");
    cr_expect_eq(u->chunking, CONFIG_CHUNKING_AUTO);
    cr_expect_eq(u->max_sessions, 8);
    cr_expect_eq(u->max_sessions_total, 16);
    cr_expect_eq(u->rate.count, 0);
    cr_expect_eq(u->breaker_cooldown_ms, 1800000);
    cr_expect_eq(u->connect_timeout_ms, 30000);
    cr_expect_eq(u->command_timeout_ms, 300000);
    cr_expect_eq(u->data_timeout_ms, 180000);
    cr_expect_eq(u->final_timeout_ms, 600000);
    cr_expect_eq(u->wait_timeout_ms, 30000);
    cr_expect_eq(u->idle_close_ms, 200000);
    cr_expect_eq(u->session_age_ms, 480000);
    cr_expect_str_eq(u->hostname, "");
    cr_expect_str_eq(c->delivery.mode, "relay");
    cr_expect_str_eq(c->delivery.on_failure, "spool");
    cr_expect_str_eq(c->log.target, "stderr");
    cr_expect_eq(c->log.format, CONFIG_LOG_TEXT);
    cr_expect_eq(c->log.level, CONFIG_LOG_INFO);
    config_unref(config_ref(c));
    config_unref(c);
    config_unref(NULL);
    buf_fini(&out);
}

static const char full[] =
    "[listener]\n"
    "[listener office]\naddress = 2001:db8::5 ; six\nport = 2525\n"
    "allow = 2001:db8::/32,\n    10.0.0.0/8,\n\t::1\n"
    "max_message_size = 10K\nidle_timeout = 90s\nsession_timeout = 3d\n"
    "[upstream]\nhost = 10.0.0.1,mail2.test:2465, [2001:db8::1]:465\nport = 465\ntls = "
    "implicit\nchunking = no\n"
    "tls_verify_name = mail.corp.example\ntls_priority = NORMAL:-VERS-TLS1.2\n"
    "auth = Cram-MD5\nrate = 100/H\nwait_timeout = 250ms\nhostname = me.corp.example\n"
    "[account]\nusername = CORP\\svc mail\npassword_file = pw\n"
    "[account b c]\nmatch_sender = *@b.test, <>\nmatch_client = 10.0.0.0/8, ::1\n"
    "username = b@corp.test\npassword_command = pass show b; true\n"
    "force_sender = b@b.test\n"
    "[log]\ntarget = /var/log/submitd.log\nformat = json\nlevel = debug\n";

Test(config, values_arrive)
{
    struct buf out;
    struct config *c = load(full, strlen(full), &out);
    cr_assert(c, "%s", buf_cstr(&out));
    cr_assert_eq(c->listener_count, 2);
    cr_expect_str_eq(c->listeners[1].name, "office");
    cr_expect_eq(c->listeners[1].address.len, 16);
    cr_expect_eq(c->listeners[1].allow.count, 3);
    cr_expect_eq(c->listeners[1].max_message_size, 10240);
    cr_expect_eq(c->listeners[1].idle_timeout_ms, 90000);
    cr_expect_eq(c->listeners[1].session_timeout_ms, 3 * 86400000ULL);
    const struct config_upstream *up = &c->upstream;
    cr_assert_eq(up->host.count, 3);
    cr_expect_str_eq(up->host.items[1].name, "mail2.test");
    cr_expect_str_eq(up->host.items[2].name, "2001:db8::1");
    cr_expect_eq(config_host_port(up, &up->host.items[0]), 465);
    cr_expect_eq(config_host_port(up, &up->host.items[1]), 2465);
    cr_expect_eq(c->upstream.tls, CONFIG_TLS_IMPLICIT);
    cr_expect_eq(c->upstream.chunking, CONFIG_CHUNKING_NO);
    cr_expect_str_eq(c->upstream.auth, "cram-md5");
    cr_expect_eq(c->upstream.rate.count, 100);
    cr_expect_eq(c->upstream.rate.window_ms, 3600000);
    cr_expect_eq(c->upstream.wait_timeout_ms, 250);
    cr_assert_eq(c->account_count, 2);
    cr_expect_str_eq(c->accounts[0].name, "b c");
    cr_expect_eq(c->accounts[0].match_sender.count, 2);
    cr_expect_str_eq(c->accounts[0].password_command, "pass show b; true");
    cr_expect_str_eq(c->accounts[1].name, "");
    cr_expect_str_eq(c->accounts[1].username, "CORP\\svc mail");
    cr_expect_eq(c->log.format, CONFIG_LOG_JSON);
    cr_expect_eq(c->log.level, CONFIG_LOG_DEBUG);
    config_unref(c);
    buf_fini(&out);
}

Test(config, what_is_printed_loads_again_and_prints_the_same)
{
    struct buf out, first, second;
    buf_init(&first, TEXT_MAX);
    buf_init(&second, TEXT_MAX);
    struct config *c = load(full, strlen(full), &out);
    cr_assert(c && config_print(c, &first));
    struct config *again = load(buf_cstr(&first), first.len, &out);
    cr_assert(again, "%s\n%s", buf_cstr(&out), buf_cstr(&first));
    cr_assert(config_print(again, &second));
    cr_expect_str_eq(buf_cstr(&second), buf_cstr(&first));
    cr_expect(strstr(buf_cstr(&first), "\nmax_message_size = 10K\nmax_recipients = 1000\n"));
    cr_expect(strstr(
        buf_cstr(&first), "\nhost = 10.0.0.1, mail2.test:2465, [2001:db8::1]:465\nport = 465\n"));
    cr_expect(strstr(buf_cstr(&first), "\nidle_timeout = 90s\nsession_timeout = 3d\n"));
    cr_expect(strstr(buf_cstr(&first), "[account b c]\nmatch_sender = *@b.test,\n    <>\n"));
    cr_expect_null(strstr(buf_cstr(&first), "\npassword ="));
    config_unref(c);
    config_unref(again);
    buf_fini(&first);
    buf_fini(&second);
    buf_fini(&out);
}

Test(config, every_option_is_printed_and_secrets_are_masked)
{
    struct buf out, text;
    buf_init(&text, TEXT_MAX);
    struct config *c = load(GOOD, strlen(GOOD), &out);
    cr_assert(c && config_print(c, &text));
    cr_expect(strstr(buf_cstr(&text), "\npassword = ***\n"));
    cr_expect_null(strstr(buf_cstr(&text), "hunter2"));
    for (size_t id = 0; id < SECTION_COUNT; id++) {
        for (size_t row = 0; row < sections[id].count; row++) {
            char line[64];
            snprintf(line, sizeof line, "\n%s =", sections[id].options[row].name);
            bool is_other = sections[id].options[row].kind == &value_protected; /* one password */
            cr_expect_eq(strstr(buf_cstr(&text), line) == NULL, is_other, "%s", line);
        }
    }
    struct buf tiny;
    buf_init(&tiny, 100);
    cr_expect_not(config_print(c, &tiny));
    buf_fini(&tiny);
    config_unref(c);
    buf_fini(&text);
    buf_fini(&out);
}

Test(config, every_row_of_the_tables_is_complete)
{
    for (size_t id = 0; id < SECTION_COUNT; id++) {
        for (size_t row = 0; row < sections[id].count; row++) {
            const struct option *o = &sections[id].options[row];
            bool has_bounds = o->kind == &value_count || o->kind == &value_size ||
                              o->kind == &value_time || o->kind == &value_rate;
            bool has_words = o->kind == &value_word || o->kind == &value_choice;
            cr_expect_eq(o->max > 0, has_bounds, "%s", o->name);
            cr_expect_eq(o->words != NULL, has_words, "%s", o->name);
            cr_expect_eq(o->is_secret, o->kind == &value_secret || o->kind == &value_protected,
                "%s", o->name);
            cr_expect_eq(o->help[strlen(o->help) - 1], '.', "%s", o->name);
        }
    }
}

/* ---- pages ---- */

static char *read_page(const char *path)
{
    struct buf text;
    struct err e;
    buf_init(&text, TEXT_MAX);
    cr_assert(load_read_file(path, &text, &e), "%s %s", path, e.text);
    char *copy = slice_dup(buf_slice(&text));
    buf_fini(&text);
    return copy;
}

Test(config, reference_page_is_up_to_date)
{
    struct buf page;
    buf_init(&page, TEXT_MAX);
    cr_assert(config_print_reference(&page));
    char *committed = read_page("docs/CONFIGURATION.md");
    cr_expect(strcmp(committed, buf_cstr(&page)) == 0,
        "docs/CONFIGURATION.md is old: write it again with submitd-docs > docs/CONFIGURATION.md");
    free(committed);
    buf_fini(&page);
}

Test(config, sample_loads_and_shows_every_option_with_its_default)
{
    char *text = read_page("config/submitd.ini");
    struct buf out;
    struct config *c = load(text, strlen(text), &out);
    cr_expect(c, "%s", buf_cstr(&out));
    for (size_t id = 0; id < SECTION_COUNT; id++) {
        char header[64];
        snprintf(header, sizeof header, "\n[%s]\n", sections[id].name);
        const char *section = strstr(text, header);
        cr_assert(section, "%s", header);
        for (size_t row = 0; row < sections[id].count; row++) {
            const struct option *o = &sections[id].options[row];
            char line[128], live[128];
            const char *preset = o->preset ? o->preset : "";
            snprintf(line, sizeof line, "\n;%s =%s%s\n", o->name, preset[0] ? " " : "", preset);
            snprintf(live, sizeof live, "\n%s = ", o->name);
            bool is_match = strncmp(o->name, "match_", 6) == 0; /* not for the default account */
            cr_expect(is_match || strstr(section, line) || strstr(section, live), "%s", line);
        }
    }
    config_unref(c);
    buf_fini(&out);
    free(text);
}
