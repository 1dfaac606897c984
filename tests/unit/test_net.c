#include "net/conn_uv.h"
#include "net/dialer.h"
#include "net/file_watch.h"
#include "net/listener.h"

#include <criterion/criterion.h>
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* --- a loop with two ends of a connection
 * ------------------------------------------------------------ */

enum { PATIENCE_MS = 20000, PATTERN = 251 };

struct end {
    struct conn *c;
    size_t take;  /* octets taken per on_input */
    bool resumes; /* calls conn_resume within on_input */
    bool pauses;  /* calls conn_pause within on_input */
    bool closes_on_input, closes_on_secured, closes_on_drain, closes_on_deadline, aborts_on_input;
    bool keeps_after_end;
    struct tls *tls_on_input; /* conn_start_tls with it at the first input */
    struct buf got;           /* what was taken, at most 1 MB of it */
    uint64_t received;
    bool is_damaged; /* not the pattern that pour() writes */
    unsigned inputs, drains, secured, deadlines, ended;
    size_t offered; /* at the last on_input */
    struct err why;
    uint64_t to_pour, poured;
    size_t most_pending;
};

static struct loop *loop;
static struct timer *poll_timer;
static struct listener *listener;
static struct end near_end, far_end; /* the dialer's and the listener's */
static uint64_t give_up_at;
static bool (*is_enough)(void);

static void on_poll(void *user)
{
    (void)user;
    if (is_enough()) {
        loop_stop(loop);
        return;
    }
    cr_assert(loop_now_ms(loop) < give_up_at, "waited in vain");
    timer_set(poll_timer, loop_now_ms(loop) + 1);
}

static void run_until(bool (*condition)(void))
{
    is_enough = condition;
    uv_update_time(&loop->uv);
    give_up_at = loop_now_ms(loop) + PATIENCE_MS;
    timer_set(poll_timer, loop_now_ms(loop) + 1);
    loop_run(loop);
    timer_set(poll_timer, 0);
}

static uint64_t pause_until;

static bool is_later(void)
{
    return loop_now_ms(loop) >= pause_until;
}

static void run_for(uint64_t ms)
{
    uv_update_time(&loop->uv);
    pause_until = loop_now_ms(loop) + ms;
    run_until(is_later);
}

/* Writes while there is room, as an owner should. */
static void pour(struct end *end)
{
    char block[10007];
    while (end->c && end->poured < end->to_pour && conn_pending(end->c) <= CONN_HIGH_WATER) {
        size_t n =
            end->to_pour - end->poured < sizeof block ? end->to_pour - end->poured : sizeof block;
        for (size_t i = 0; i < n; i++)
            block[i] = (char)((end->poured + i) % PATTERN);
        conn_write(end->c, slice_of(block, n));
        end->poured += n;
        size_t pending = conn_pending(end->c);
        end->most_pending = pending > end->most_pending ? pending : end->most_pending;
    }
}

static void take(struct end *end, struct slice *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        end->is_damaged = end->is_damaged || in->p[i] != (char)((end->received + i) % PATTERN);
    if (end->got.len + n <= end->got.max)
        buf_add(&end->got, in->p, n);
    end->received += n;
    *in = slice_skip(*in, n);
}

static void on_input(void *user, struct slice *in)
{
    struct end *end = user;
    end->inputs++;
    end->offered = in->n;
    cr_assert(in->n > 0);
    if (end->closes_on_input || end->aborts_on_input) {
        end->aborts_on_input ? conn_abort(end->c) : conn_close(end->c);
        end->c = NULL;
        return;
    }
    take(end, in, in->n < end->take ? in->n : end->take);
    if (end->tls_on_input) {
        struct tls *t = end->tls_on_input;
        end->tls_on_input = NULL;
        end->take = SIZE_MAX;
        conn_start_tls(end->c, t);
        return;
    }
    if (end->resumes)
        conn_resume(end->c);
    if (end->pauses)
        conn_pause(end->c);
}

static void close_if(struct end *end, bool should)
{
    if (!should)
        return;
    conn_close(end->c);
    end->c = NULL;
}

static void on_drain(void *user)
{
    struct end *end = user;
    end->drains++;
    cr_expect_lt(conn_pending(end->c), (size_t)CONN_LOW_WATER);
    pour(end);
    close_if(end, end->closes_on_drain);
}

static void on_secured(void *user)
{
    struct end *end = user;
    end->secured++;
    close_if(end, end->closes_on_secured);
}

static void on_deadline(void *user)
{
    struct end *end = user;
    end->deadlines++;
    close_if(end, end->closes_on_deadline);
}

static void on_end(void *user, const struct err *why)
{
    struct end *end = user;
    cr_expect_eq(end->ended, 0, "on_end comes once");
    end->ended++;
    end->why = *why;
    close_if(end, !end->keeps_after_end);
}

static const struct conn_events events = {
    .on_input = on_input,
    .on_drain = on_drain,
    .on_secured = on_secured,
    .on_deadline = on_deadline,
    .on_end = on_end,
};

static void init_end(struct end *end)
{
    *end = (struct end){ .take = SIZE_MAX };
    buf_init(&end->got, 1024 * 1024);
}

static void fini_end(struct end *end)
{
    if (end->c)
        conn_close(end->c);
    buf_fini(&end->got);
}

static void own(struct end *end, struct conn *c)
{
    end->c = c;
    conn_set_owner(c, &events, end);
}

static void on_accept(void *user, struct conn *c)
{
    if (far_end.c)
        conn_close(c);
    else
        own(user, c);
}

static const struct ip_addr loopback = { .len = 4, .bytes = { 127, 0, 0, 1 } };

static struct listener *listen_on(const struct ip_addr *addr)
{
    struct listener *l = NULL;
    struct err e = { .text = "" };
    cr_assert(listener_new(loop, addr, 0, on_accept, &far_end, &l, &e), "%s", e.text);
    return l;
}

static void setup(void)
{
    struct err e;
    cr_assert(loop_new(&loop, &e), "%s", e.text);
    poll_timer = timer_new(loop, on_poll, NULL);
    init_end(&near_end);
    init_end(&far_end);
    listener = listen_on(&loopback);
}

static void teardown(void)
{
    fini_end(&near_end);
    fini_end(&far_end);
    listener_free(listener);
    timer_free(poll_timer);
    loop_free(loop);
}

static unsigned dial_calls;
static struct err dial_why;
static char resolved_text[1024];

static void on_dialed(void *user, struct conn *c, const struct err *why)
{
    dial_calls++;
    cr_assert_eq(c == NULL, why != NULL);
    if (why)
        dial_why = *why;
    else
        own(user, c);
}

static bool are_connected(void)
{
    return near_end.c && far_end.c;
}

static void connect_ends(void)
{
    cr_assert(
        dialer_start(loop, "127.0.0.1", listener_port(listener), 5000, on_dialed, NULL, &near_end));
    run_until(are_connected);
    conn_resume(near_end.c);
    conn_resume(far_end.c);
}

static void write_text(struct end *end, const char *text)
{
    conn_write(end->c, slice_str(text));
}

static bool got(struct end *end, const char *text)
{
    return slice_eq(buf_slice(&end->got), slice_str(text));
}

TestSuite(net, .init = setup, .fini = teardown, .timeout = 60);

/* --- the loop
 * ------------------------------------------------------------------------------------------ */

static char order[16];
static char letters[][2] = { "a", "b", "c", "d", "x" };

static void add_letter(void *user)
{
    strcat(order, user);
}

static struct timer *victim;

static void free_victim(void *user)
{
    add_letter(user);
    timer_free(victim);
}

Test(net, timers_fire_once_in_order_and_can_be_replaced)
{
    uint64_t now = loop_now_ms(loop);
    struct timer *a = timer_new(loop, add_letter, letters[0]),
                 *b = timer_new(loop, add_letter, letters[1]);
    struct timer *c = timer_new(loop, add_letter, letters[2]),
                 *d = timer_new(loop, add_letter, letters[3]);
    timer_set(a, now + 30);
    timer_set(b, now + 20);
    timer_set(c, now + 1);
    timer_set(c, now + 40);
    timer_set(d, now + 5);
    timer_set(d, 0);
    run_for(80);
    cr_expect_str_eq(order, "bac");
    timer_set(d, 1);
    run_for(5);
    cr_expect_str_eq(order, "bacd");
    timer_free(a);
    timer_free(b);
    timer_free(c);
    timer_free(d);
    timer_free(NULL);
}

Test(net, timer_may_free_itself_and_others)
{
    victim = timer_new(loop, free_victim, letters[4]);
    timer_set(victim, loop_now_ms(loop) + 1);
    run_for(20);
    cr_expect_str_eq(order, "x");
}

static int last_signal;

static void on_signal(void *user, int signum)
{
    (void)user;
    last_signal = signum;
}

static bool has_signal(void)
{
    return last_signal != 0;
}

Test(net, signals_come_as_callbacks)
{
    struct err e;
    cr_assert(loop_on_signal(loop, SIGUSR1, on_signal, NULL, &e));
    cr_expect_not(loop_on_signal(loop, SIGKILL, on_signal, NULL, &e));
    raise(SIGUSR1);
    run_until(has_signal);
    cr_expect_eq(last_signal, SIGUSR1);
    raise(SIGPIPE);
}

static pthread_t worker, finisher;
static bool is_worked;

static void work(void *arg)
{
    (void)arg;
    worker = pthread_self();
}

static void worked(void *arg)
{
    (void)arg;
    finisher = pthread_self();
    is_worked = true;
}

static bool has_worked(void)
{
    return is_worked;
}

Test(net, work_runs_elsewhere_and_ends_here)
{
    cr_assert(loop_work(loop, work, worked, NULL));
    run_until(has_worked);
    cr_expect(!pthread_equal(worker, pthread_self()));
    cr_expect(pthread_equal(finisher, pthread_self()));
    cr_expect(llabs(loop_wall_s(loop) - time(NULL)) <= 1);
}

/* --- files --- */

static unsigned changes;

static void count_change(void *user)
{
    (void)user;
    changes++;
}

static bool has_changed(void)
{
    return changes > 0;
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    cr_assert(f);
    fputs(text, f);
    fclose(f);
}

/* It is looked at for a while before it appears, and before it changes. */
Test(net, file_watch_tells_of_a_new_file_and_of_a_changed_one)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/submitd-watch-%d", (int)getpid());
    unlink(path);
    struct file_watch *w = file_watch_new(loop, path, count_change, NULL);
    static const char *const texts[] = { "one", "another", "a third" };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        changes = 0;
        run_for(FILE_WATCH_MS + FILE_WATCH_MS / 4);
        cr_assert_eq(changes, 0, "nothing happened before %s", texts[i]);
        write_file(path, texts[i]);
        run_until(has_changed);
    }
    unlink(path);
    file_watch_free(w);
}

/* --- plain connections
 * ----------------------------------------------------------------------------------- */

static bool far_got_three(void)
{
    return far_end.received >= 14;
}

Test(net, writes_of_one_turn_leave_together)
{
    connect_ends();
    write_text(&near_end, "EHLO ");
    write_text(&near_end, "a.b");
    write_text(&near_end, "\r\nNOOP");
    run_until(far_got_three);
    cr_expect(got(&far_end, "EHLO a.b\r\nNOOP"));
    cr_expect_eq(far_end.inputs, 1);
    char ip[IP_TEXT_MAX];
    ip_format(conn_peer(far_end.c), ip);
    cr_expect_str_eq(ip, "127.0.0.1");
    cr_expect_eq(conn_peer_port(near_end.c), listener_port(listener));
    cr_expect_neq(conn_peer_port(far_end.c), 0);
    cr_expect_eq(conn_loop(far_end.c), loop);
    cr_expect_null(conn_tls(far_end.c));
}

static bool far_was_offered(void)
{
    return far_end.inputs > 0;
}

static bool far_ended(void)
{
    return far_end.ended > 0;
}

static bool near_ended(void)
{
    return near_end.ended > 0;
}

Test(net, what_is_left_is_offered_again_after_resume_only)
{
    connect_ends();
    far_end.take = 3;
    write_text(&near_end, "abcdefgh");
    run_until(far_was_offered);
    cr_expect(got(&far_end, "abc"));
    write_text(&near_end, "ij");
    run_for(30);
    cr_expect_eq(far_end.inputs, 1);
    conn_resume(far_end.c);
    cr_expect_eq(far_end.inputs, 1, "never from inside the call");
    run_for(30);
    cr_expect_eq(far_end.inputs, 2);
    cr_expect(got(&far_end, "abcdef"));
    far_end.take = SIZE_MAX;
    conn_resume(far_end.c);
    run_for(30);
    cr_expect(got(&far_end, "abcdefghij"));
}

Test(net, resume_within_input_goes_on_and_waits_when_nothing_was_taken)
{
    connect_ends();
    far_end.take = 3;
    far_end.resumes = true;
    write_text(&near_end, "abcdefgh");
    run_for(30);
    cr_expect(got(&far_end, "abcdefgh"));
    cr_expect_eq(far_end.inputs, 3);
    far_end.take = 0;
    write_text(&near_end, "ij");
    run_for(30);
    cr_expect_eq(far_end.inputs, 4, "nothing taken: wait for more, do not spin");
    write_text(&near_end, "kl");
    run_for(30);
    cr_expect_eq(far_end.inputs, 5);
    cr_expect_eq(far_end.offered, 4);
    conn_close(near_end.c);
    near_end.c = NULL;
    run_until(far_ended);
    cr_expect_eq(far_end.why.kind, ERR_LOST);
}

Test(net, pause_stops_reading)
{
    connect_ends();
    far_end.pauses = true;
    write_text(&near_end, "ab");
    run_for(20);
    write_text(&near_end, "cd");
    run_for(20);
    cr_expect(got(&far_end, "ab"));
    conn_resume(far_end.c);
    conn_pause(far_end.c);
    run_for(20);
    cr_expect(got(&far_end, "ab"));
    conn_resume(far_end.c);
    run_for(20);
    cr_expect(got(&far_end, "abcd"));
}

static bool far_has_all(void)
{
    return far_end.received == near_end.to_pour;
}

Test(net, slow_reader_bounds_the_writer)
{
    connect_ends();
    conn_pause(far_end.c);
    near_end.to_pour = 50 * 1024 * 1024;
    pour(&near_end);
    uint64_t stuck_at = 0;
    while (stuck_at < near_end.poured) { /* the kernel's buffers fill */
        stuck_at = near_end.poured;
        run_for(100);
    }
    cr_expect_lt(stuck_at, near_end.to_pour);
    cr_expect_lt(near_end.most_pending, (size_t)CONN_HIGH_WATER + 10007 + 1);
    conn_resume(far_end.c);
    run_until(far_has_all);
    cr_expect_not(far_end.is_damaged);
    cr_expect_gt(near_end.drains, 0);
    cr_expect_lt(near_end.most_pending, (size_t)CONN_HIGH_WATER + 10007 + 1);
    cr_expect_eq(conn_pending(near_end.c), 0);
}

Test(net, close_sends_everything_first)
{
    connect_ends();
    conn_pause(far_end.c);
    near_end.to_pour = 5 * 1024 * 1024;
    char block[PATTERN * 100];
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (char)(i % PATTERN);
    for (uint64_t sent = 0; sent < near_end.to_pour; sent += sizeof block) {
        uint64_t left = near_end.to_pour - sent;
        conn_write(near_end.c, slice_of(block, left < sizeof block ? left : sizeof block));
    }
    conn_close(near_end.c);
    near_end.c = NULL;
    run_for(100);
    conn_resume(far_end.c);
    run_until(far_ended);
    cr_expect_eq(far_end.received, near_end.to_pour);
    cr_expect_not(far_end.is_damaged);
    cr_expect_str_eq(far_end.why.text, "the peer closed the connection");
    cr_expect_eq(near_end.ended, 0);
}

/* A client that is still sending must get the last reply, not a reset. */
Test(net, close_does_not_reset_a_talking_peer)
{
    connect_ends();
    conn_pause(far_end.c);
    near_end.keeps_after_end = true;
    near_end.to_pour = 50 * 1024 * 1024;
    pour(&near_end);
    run_for(200);
    cr_expect_gt(conn_pending(near_end.c), 0);
    write_text(&far_end, "554 no access\r\n");
    conn_close(far_end.c);
    far_end.c = NULL;
    run_until(near_ended);
    cr_expect(got(&near_end, "554 no access\r\n"));
    cr_expect_str_eq(near_end.why.text, "the peer closed the connection");
    run_for(300);
    cr_expect_eq(conn_pending(near_end.c), 0, "what it was sending is taken and thrown away");
}

Test(net, abort_resets)
{
    connect_ends();
    write_text(&near_end, "not complete");
    conn_abort(near_end.c);
    near_end.c = NULL;
    run_until(far_ended);
    cr_expect_eq(far_end.why.kind, ERR_LOST);
    cr_expect_str_eq(far_end.why.text, "the peer reset the connection");
    cr_expect_eq(near_end.ended, 0);
}

/* The last words of a server that hangs up while we write must be heard before the end. */
Test(net, failed_write_does_not_hide_unread_input)
{
    connect_ends();
    near_end.keeps_after_end = true;
    run_for(20);
    uv_os_fd_t fd;
    uv_fileno((uv_handle_t *)&far_end.c->tcp, &fd);
    cr_assert_eq(send(fd, "421 too busy\r\n", 14, 0), 14);
    conn_abort(far_end.c); /* closes the socket now */
    far_end.c = NULL;
    write_text(&near_end, "EHLO x\r\n"); /* fails before the loop reads again */
    run_until(near_ended);
    write_text(&near_end, "ignored");
    run_for(20);
    cr_expect(got(&near_end, "421 too busy\r\n"));
    cr_expect_eq(near_end.why.kind, ERR_LOST);
}

Test(net, failed_write_of_a_paused_owner_is_told)
{
    connect_ends();
    conn_pause(near_end.c);
    conn_abort(far_end.c);
    far_end.c = NULL;
    run_for(20);
    cr_expect_eq(near_end.ended, 0);
    write_text(&near_end, "x");
    run_until(near_ended);
    cr_expect_eq(near_end.why.kind, ERR_LOST);
}

Test(net, half_closed_peer_still_gets_the_reply)
{
    connect_ends();
    far_end.keeps_after_end = true;
    write_text(&near_end, "QUIT\r\n");
    run_for(20);
    uv_os_fd_t fd;
    uv_fileno((uv_handle_t *)&near_end.c->tcp, &fd);
    shutdown(fd, SHUT_WR);
    run_until(far_ended);
    write_text(&far_end, "221 bye\r\n");
    conn_close(far_end.c);
    far_end.c = NULL;
    run_until(near_ended);
    cr_expect(got(&near_end, "221 bye\r\n"));
}

Test(net, callbacks_may_close_their_connection)
{
    connect_ends();
    far_end.closes_on_input = true;
    near_end.closes_on_drain = true;
    near_end.to_pour = 1024 * 1024;
    pour(&near_end);
    conn_set_deadline(far_end.c, loop_now_ms(loop) + 10000);
    run_for(100);
    cr_expect_null(far_end.c);
    cr_expect_eq(far_end.inputs, 1);
    cr_expect_null(near_end.c);
}

static bool far_had_deadline(void)
{
    return far_end.deadlines > 0;
}

Test(net, deadline_moves_fires_once_and_can_be_cleared)
{
    connect_ends();
    uint64_t start = loop_now_ms(loop);
    conn_set_deadline(far_end.c, start + 20);
    conn_set_deadline(far_end.c, start + 70);
    conn_set_deadline(near_end.c, start + 500);
    conn_set_deadline(near_end.c, start + 30);
    conn_set_deadline(near_end.c, 0);
    run_until(far_had_deadline);
    cr_expect_geq(loop_now_ms(loop), start + 70);
    cr_expect_lt(loop_now_ms(loop), start + 300);
    run_for(50);
    cr_expect_eq(far_end.deadlines, 1);
    cr_expect_eq(near_end.deadlines, 0);
    far_end.closes_on_deadline = true;
    conn_set_deadline(far_end.c, loop_now_ms(loop) + 5000);
    conn_set_deadline(far_end.c, 1);
    run_for(20);
    cr_expect_null(far_end.c);
}

Test(net, idle_connection_is_small)
{
    connect_ends();
    near_end.to_pour = 3 * 1024 * 1024;
    pour(&near_end);
    run_until(far_has_all);
    far_end.take = 1;
    write_text(&near_end, "ab");
    run_for(20);
    far_end.take = SIZE_MAX;
    conn_resume(far_end.c);
    run_for(20);
    const struct conn *both[] = { near_end.c, far_end.c };
    for (size_t i = 0; i < 2; i++) {
        size_t size = sizeof *both[i] + both[i]->in.cap + both[i]->out.cap + both[i]->text.cap +
                      both[i]->flight.cap;
        cr_expect_lt(size, (size_t)4096, "%zu", size);
    }
}

/* --- TLS
 * -------------------------------------------------------------------------------------------------
 */

static struct tls_identity *identity;
static char ca_file[] = "/tmp/submitd-test-XXXXXX";

static void make_sessions(
    const char *name, const char *expected, struct tls **ret_client, struct tls **ret_server)
{
    struct buf pem;
    buf_init(&pem, 65536);
    cr_assert(tls_identity_make(name, time(NULL), 10, &identity, &pem, NULL));
    int fd = mkstemp(ca_file);
    cr_assert_eq(write(fd, buf_slice(&pem).p, pem.len), (ssize_t)pem.len);
    close(fd);
    struct tls_trust *trust = NULL;
    cr_assert(tls_trust_new(&(struct tls_trust_params){ .ca_file = ca_file }, &trust, NULL));
    cr_assert(tls_client_new(trust, expected, ret_client, NULL));
    cr_assert(tls_server_new(identity, ret_server, NULL));
    tls_trust_unref(trust);
    buf_fini(&pem);
    unlink(ca_file);
    far_end.take = sizeof "STARTTLS" - 1; /* the handshake may follow in the same segment */
}

static void forget_sessions(void)
{
    fini_end(&near_end); /* sessions first */
    fini_end(&far_end);
    init_end(&near_end);
    init_end(&far_end);
    run_for(50);
}

static bool are_secure(void)
{
    return near_end.secured > 0 && far_end.secured > 0;
}

static void connect_with_tls(void)
{
    connect_ends();
    struct tls *client = NULL;
    make_sessions("localhost", "localhost", &client, &far_end.tls_on_input);
    write_text(&near_end, "STARTTLS");
    conn_start_tls(near_end.c, client); /* the command leaves in plain text */
    write_text(&near_end, " first text");
    cr_assert_eq(far_end.tls_on_input ? 1 : 0, 1);
    run_until(are_secure);
    cr_expect(slice_eq(slice_of(buf_slice(&far_end.got).p, 8), SLICE_LIT("STARTTLS")));
}

Test(net, tls_begins_in_mid_connection)
{
    connect_with_tls();
    cr_expect_not_null(conn_tls(near_end.c));
    write_text(&near_end, ", second");
    write_text(&far_end, "250 ok");
    run_for(50);
    cr_expect(got(&far_end, "STARTTLS first text, second"));
    cr_expect(got(&near_end, "250 ok"));
    write_text(&far_end, " 221 bye");
    conn_close(far_end.c);
    far_end.c = NULL;
    run_until(near_ended);
    cr_expect(got(&near_end, "250 ok 221 bye"));
    cr_expect_str_eq(near_end.why.text, "the peer closed the connection");
    forget_sessions();
    tls_identity_free(identity);
}

/* The command takes its 8 octets; what follows in the same segment is the handshake. */
static void check_bytes_behind(bool are_left_first)
{
    connect_ends();
    struct tls *client = NULL;
    make_sessions("localhost", "localhost", &client, &far_end.tls_on_input);
    struct tls *server = far_end.tls_on_input;
    if (are_left_first) {
        far_end.take = 0;
        far_end.tls_on_input = NULL;
    }
    struct err e;
    struct buf both;
    buf_init(&both, 10000);
    buf_add_str(&both, "STARTTLS");
    tls_handshake(client, &e);
    buf_add_slice(&both, buf_slice(tls_output(client)));
    buf_clear(tls_output(client));
    conn_write(near_end.c, buf_slice(&both));
    buf_fini(&both);
    conn_pause(near_end.c); /* the answer is TLS already */
    run_for(30);
    if (are_left_first) {
        far_end.take = sizeof "STARTTLS" - 1;
        far_end.tls_on_input = server;
        conn_resume(far_end.c);
        run_for(30);
    }
    conn_start_tls(near_end.c, client);
    run_until(are_secure);
    cr_expect_eq(far_end.inputs, are_left_first ? 2 : 1);
    forget_sessions();
    tls_identity_free(identity);
}

Test(net, bytes_behind_the_command_are_the_handshake)
{
    check_bytes_behind(false);
}

Test(net, bytes_left_behind_the_command_are_the_handshake)
{
    check_bytes_behind(true);
}

Test(net, tls_carries_much_both_ways_under_back_pressure)
{
    connect_with_tls();
    run_for(20);
    far_end.received = 0;
    far_end.is_damaged = false;
    near_end.to_pour = far_end.to_pour = 20 * 1024 * 1024;
    conn_pause(far_end.c);
    pour(&near_end);
    pour(&far_end);
    run_for(50);
    cr_expect_lt(near_end.poured, near_end.to_pour);
    cr_expect_lt(near_end.most_pending, (size_t)CONN_HIGH_WATER + 20000);
    far_end.take = 30011;
    far_end.resumes = true;
    conn_resume(far_end.c);
    run_until(far_has_all);
    cr_expect_not(far_end.is_damaged);
    cr_expect_lt(near_end.most_pending, (size_t)CONN_HIGH_WATER + 20000);
    run_for(100);
    cr_expect_eq(near_end.received, far_end.to_pour);
    cr_expect_not(near_end.is_damaged);
    forget_sessions();
    tls_identity_free(identity);
}

Test(net, wrong_name_ends_both_sides_with_the_reason)
{
    connect_ends();
    near_end.keeps_after_end = true; /* the alert does not wait for conn_close */
    struct tls *client = NULL;
    make_sessions("wx.example", "mail.example", &client, &far_end.tls_on_input);
    write_text(&near_end, "STARTTLS");
    conn_start_tls(near_end.c, client);
    write_text(&near_end, "secret");
    run_until(near_ended);
    cr_expect_eq(near_end.why.kind, ERR_TLS);
    cr_expect(
        strstr(near_end.why.text, "is for wx.example, not mail.example"), "%s", near_end.why.text);
    run_until(far_ended);
    cr_expect_eq(far_end.why.kind, ERR_TLS);
    cr_expect(strstr(far_end.why.text, "alert"), "%s", far_end.why.text);
    cr_expect(got(&far_end, "STARTTLS"), "nothing that was meant for TLS");
    cr_expect_eq(near_end.secured, 0);
    forget_sessions();
    tls_identity_free(identity);
}

Test(net, end_without_goodbye_is_told)
{
    connect_with_tls();
    uv_os_fd_t fd;
    uv_fileno((uv_handle_t *)&near_end.c->tcp, &fd);
    run_for(20);
    shutdown(fd, SHUT_WR);
    run_until(far_ended);
    cr_expect_eq(far_end.why.kind, ERR_LOST);
    cr_expect(strstr(far_end.why.text, "without ending TLS"), "%s", far_end.why.text);
    forget_sessions();
    tls_identity_free(identity);
}

Test(net, end_within_the_handshake_is_told)
{
    connect_ends();
    struct tls *client = NULL;
    make_sessions("localhost", "localhost", &client, &far_end.tls_on_input);
    write_text(&near_end, "STARTTLS");
    run_until(far_was_offered);
    conn_close(near_end.c);
    near_end.c = NULL;
    tls_free(client);
    run_until(far_ended);
    cr_expect(strstr(far_end.why.text, "within the TLS handshake"), "%s", far_end.why.text);
    forget_sessions();
    tls_identity_free(identity);
}

Test(net, garbage_instead_of_the_handshake_is_told)
{
    connect_ends();
    struct tls *client = NULL;
    make_sessions("localhost", "localhost", &client, &far_end.tls_on_input);
    conn_start_tls(near_end.c, client);
    tls_free(far_end.tls_on_input);
    far_end.tls_on_input = NULL;
    write_text(&far_end, "500 5.5.1 what is that?\r\n");
    run_until(near_ended);
    cr_expect_eq(near_end.why.kind, ERR_TLS);
    cr_expect(strstr(near_end.why.text, "not TLS"), "%s", near_end.why.text);
    forget_sessions();
    tls_identity_free(identity);
}

Test(net, secured_may_close)
{
    near_end.closes_on_secured = far_end.closes_on_secured = true;
    connect_ends();
    struct tls *client = NULL;
    make_sessions("localhost", "localhost", &client, &far_end.tls_on_input);
    write_text(&near_end, "STARTTLS");
    conn_start_tls(near_end.c, client);
    run_for(100);
    cr_expect_null(near_end.c);
    forget_sessions();
    tls_identity_free(identity);
}

/* --- the dialer
 * -------------------------------------------------------------------------------------------- */

static bool was_dialed(void)
{
    return dial_calls > 0;
}

static void on_resolved(void *user, const char *addresses)
{
    (void)user;
    snprintf(resolved_text, sizeof resolved_text, "%s", addresses);
}

static uint16_t closed_port(void)
{
    struct listener *l = listen_on(&loopback);
    uint16_t port = listener_port(l);
    listener_free(l);
    run_for(5);
    return port;
}

Test(net, dialer_names_the_refused_address)
{
    uint16_t port = closed_port();
    char expected[200];
    snprintf(expected, sizeof expected,
        "cannot connect to '127.0.0.1': 127.0.0.1:%u connection refused", (unsigned)port);
    cr_assert(dialer_start(loop, "127.0.0.1", port, 5000, on_dialed, on_resolved, &near_end));
    cr_expect_eq(dial_calls, 0);
    run_until(was_dialed);
    cr_expect_eq(dial_why.kind, ERR_CONNECT);
    cr_expect_str_eq(dial_why.text, expected);
    cr_expect_str_eq(resolved_text, "127.0.0.1");
}

Test(net, dialer_tries_each_address_of_localhost)
{
    cr_assert(dialer_start(
        loop, "localhost", listener_port(listener), 5000, on_dialed, on_resolved, &near_end));
    run_until(are_connected);
    cr_expect(strstr(resolved_text, "127.0.0.1"), "%s", resolved_text);
    cr_expect_eq(dial_calls, 1);
}

Test(net, dialer_names_all_addresses_of_localhost)
{
    cr_assert(
        dialer_start(loop, "localhost", closed_port(), 5000, on_dialed, on_resolved, &near_end));
    run_until(was_dialed);
    cr_expect(strstr(dial_why.text, "127.0.0.1:"), "%s", dial_why.text);
    if (strstr(resolved_text, "::1")) {
        cr_expect_eq(strncmp(resolved_text, "::1, 127.0.0.1", 14), 0, "%s", resolved_text);
        cr_expect(strstr(dial_why.text, "[::1]:"), "%s", dial_why.text);
    }
}

Test(net, dialer_reaches_ipv6)
{
    struct ip_addr six = { .len = 16, .bytes = { [15] = 1 } };
    struct listener *l = NULL;
    struct err e;
    if (!listener_new(loop, &six, 0, on_accept, &far_end, &l, &e))
        return; /* a machine without IPv6 */
    cr_assert(dialer_start(loop, "::1", listener_port(l), 5000, on_dialed, NULL, &near_end));
    run_until(are_connected);
    cr_expect(ip_is_loopback(conn_peer(near_end.c)));
    cr_expect_eq(conn_peer(far_end.c)->len, 16);
    listener_free(l);
}

Test(net, dialer_tells_unknown_names)
{
    static const char *const names[] = { "no-such-host.invalid", "", "a..b", "-" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        dial_calls = 0;
        cr_assert(dialer_start(loop, names[i], 25, 10000, on_dialed, NULL, &near_end));
        run_until(was_dialed);
        cr_expect(dial_why.kind == ERR_DNS, "'%s': %s", names[i], dial_why.text);
        cr_expect_eq(strncmp(dial_why.text, "cannot resolve '", 16), 0, "%s", dial_why.text);
    }
    char longest[400];
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    dial_calls = 0;
    cr_assert(dialer_start(loop, longest, 25, 10000, on_dialed, NULL, &near_end));
    run_until(was_dialed);
    cr_expect_eq(dial_why.kind, ERR_DNS);
}

Test(net, dialer_can_be_cancelled_at_any_time)
{
    static const char *const hosts[] = { "127.0.0.1", "localhost", "no-such-host.invalid" };
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        for (uint64_t wait = 0; wait < 4; wait++) {
            struct dialer *d =
                dialer_start(loop, hosts[i], closed_port(), 5000, on_dialed, NULL, &near_end);
            if (wait > 0) {
                dial_calls = 0;
                run_for(wait - 1);
            }
            if (dial_calls == 0)
                dialer_cancel(d);
            dial_calls = 0;
            run_for(10);
            cr_expect_eq(dial_calls, 0);
        }
    }
    dialer_cancel(NULL);
    dialer_cancel(dialer_start(loop, "localhost", 9, 5000, on_dialed, NULL, &near_end));
}

static struct dialer *to_cancel;

static void cancel_when_resolved(void *user, const char *addresses)
{
    (void)user;
    (void)addresses;
    dialer_cancel(to_cancel);
    to_cancel = NULL;
}

static bool is_cancelled(void)
{
    return !to_cancel;
}

Test(net, dialer_can_be_cancelled_when_resolved)
{
    static const char *const hosts[] = { "127.0.0.1", "localhost" };
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        to_cancel = dialer_start(
            loop, hosts[i], closed_port(), 5000, on_dialed, cancel_when_resolved, &near_end);
        run_until(is_cancelled);
        run_for(20);
        cr_expect_eq(dial_calls, 0);
    }
}

/* Names that only this test resolves. */
static const struct {
    const char *name;
    unsigned wait_ms;
    const char *addresses[5];
} hosts_file[] = {
    { "order.test", 0, { "127.0.0.3", "127.0.0.4", "127.0.0.3", "::1", "::2" } },
    { "race.test", 0, { "127.0.0.2", "127.0.0.1" } },
    { "refused.test", 0, { "127.0.0.4", "127.0.0.1" } },
    { "silent.test", 0, { "127.0.0.2", "127.0.0.4" } },
    { "slow.test", 300, { "127.0.0.1" } },
};

typedef int resolve_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);

/* libuv's worker calls it instead of the C library's. */
int getaddrinfo(const char *restrict node, const char *restrict service,
    const struct addrinfo *restrict hints, struct addrinfo **restrict ret_list)
{
    resolve_fn *real = NULL;
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    size_t row = 0;
    while (row < ARRAY_LEN(hosts_file) && (!node || strcmp(hosts_file[row].name, node) != 0))
        row++;
    if (row == ARRAY_LEN(hosts_file))
        return real(node, service, hints, ret_list);
    usleep(hosts_file[row].wait_ms * 1000);
    struct addrinfo **end = ret_list;
    for (size_t i = 0; i < 5 && hosts_file[row].addresses[i]; i++) {
        int status = real(hosts_file[row].addresses[i], service, hints, end);
        if (status != 0)
            return status;
        while (*end)
            end = &(*end)->ai_next;
    }
    return 0;
}

/* A socket at 127.0.0.2 that nobody accepts from, its queue full: a SYN to it is not answered. */
static int black_hole[6];

static void dig_black_hole(uint16_t port)
{
    struct sockaddr_in name = { .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1) };
    black_hole[0] = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(black_hole[0], (struct sockaddr *)&name, sizeof name), 0);
    cr_assert_eq(listen(black_hole[0], 0), 0);
    for (size_t i = 1; i < ARRAY_LEN(black_hole); i++) {
        black_hole[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(black_hole[i], (struct sockaddr *)&name, sizeof name);
    }
}

static void fill_black_hole(void)
{
    for (size_t i = 0; i < ARRAY_LEN(black_hole); i++)
        close(black_hole[i]);
}

Test(net, dialer_alternates_families_and_drops_doubles)
{
    cr_assert(
        dialer_start(loop, "order.test", closed_port(), 5000, on_dialed, on_resolved, &near_end));
    run_until(was_dialed);
    cr_expect_str_eq(resolved_text, "::1, 127.0.0.3, ::2, 127.0.0.4");
    cr_expect(strstr(dial_why.text, "'order.test': [::1]:"), "%s", dial_why.text);
    cr_expect(strstr(dial_why.text, "; 127.0.0.4:"), "%s", dial_why.text);
}

Test(net, dialer_tries_the_next_address_after_a_quarter_second)
{
    dig_black_hole(listener_port(listener));
    uint64_t start = loop_now_ms(loop);
    cr_assert(
        dialer_start(loop, "race.test", listener_port(listener), 5000, on_dialed, NULL, &near_end));
    run_until(are_connected);
    cr_expect_geq(loop_now_ms(loop), start + 250);
    cr_expect_lt(loop_now_ms(loop), start + 1000);
    cr_expect_eq(dial_calls, 1);
    fill_black_hole();
}

Test(net, dialer_tries_the_next_address_at_once_after_a_failure)
{
    uint64_t start = loop_now_ms(loop);
    cr_assert(dialer_start(
        loop, "refused.test", listener_port(listener), 5000, on_dialed, NULL, &near_end));
    run_until(are_connected);
    cr_expect_lt(loop_now_ms(loop), start + 200);
}

Test(net, dialer_gives_up_after_its_time)
{
    uint16_t port = listener_port(listener);
    dig_black_hole(port);
    uint64_t start = loop_now_ms(loop);
    cr_assert(dialer_start(loop, "silent.test", port, 600, on_dialed, NULL, &near_end));
    run_until(was_dialed);
    cr_expect_geq(loop_now_ms(loop), start + 600);
    cr_expect_lt(loop_now_ms(loop), start + 2000);
    char expected[200];
    snprintf(expected, sizeof expected,
        "cannot connect to 'silent.test': 127.0.0.2:%u timed out; 127.0.0.4:%u connection refused",
        (unsigned)port, (unsigned)port);
    cr_expect_str_eq(dial_why.text, expected);
    cr_expect_eq(dial_why.kind, ERR_CONNECT);
    fill_black_hole();
}

Test(net, slow_resolver_is_a_dns_error_and_can_be_cancelled)
{
    cr_assert(dialer_start(loop, "slow.test", 25, 50, on_dialed, NULL, &near_end));
    run_until(was_dialed);
    cr_expect_eq(dial_why.kind, ERR_DNS);
    cr_expect_str_eq(dial_why.text, "cannot resolve 'slow.test': no answer within 1 s");
    struct dialer *d = dialer_start(loop, "slow.test", 25, 5000, on_dialed, NULL, &near_end);
    run_for(50);
    dialer_cancel(d);
    run_for(500);
    cr_expect_eq(dial_calls, 1);
}

/* --- the listener
 * -------------------------------------------------------------------------------------------- */

static void expect_refusal(const struct ip_addr *addr, uint16_t port, const char *text)
{
    struct listener *l = NULL;
    struct err e = { .text = "" };
    cr_expect_not(listener_new(loop, addr, port, on_accept, NULL, &l, &e));
    cr_expect_null(l);
    cr_expect(strstr(e.text, text), "'%s' lacks '%s'", e.text, text);
    cr_expect_eq(e.kind, ERR_CONFIG);
}

Test(net, listener_names_the_remedy)
{
    char in_use[100];
    snprintf(in_use, sizeof in_use, "find it with: ss -ltnp 'sport = :%u'",
        (unsigned)listener_port(listener));
    expect_refusal(&loopback, listener_port(listener), in_use);
    struct ip_addr nowhere = { .len = 4, .bytes = { 192, 0, 2, 1 } };
    expect_refusal(&nowhere, 0, "cannot listen on 192.0.2.1:0: this machine has no such address");
}

/* In a process of its own, which gives up root. */
Test(net, listener_tells_what_a_low_port_needs)
{
    pid_t pid = fork();
    cr_assert(pid >= 0);
    if (pid == 0) {
        struct listener *l = NULL;
        struct err e = { .text = "" };
        if (geteuid() == 0 && seteuid(65534) != 0)
            _exit(1);
        bool is_allowed = listener_new(loop, &loopback, 1, on_accept, NULL, &l, &e);
        /* Systems may allow it: net.ipv4.ip_unprivileged_port_start */
        _exit(is_allowed || strstr(e.text, "CAP_NET_BIND_SERVICE") ? 0 : 2);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    cr_expect_eq(status, 0);
}

Test(net, paused_listener_accepts_later)
{
    listener_pause(listener);
    cr_assert(
        dialer_start(loop, "127.0.0.1", listener_port(listener), 5000, on_dialed, NULL, &near_end));
    run_for(50);
    cr_expect_not_null(near_end.c);
    cr_expect_null(far_end.c);
    listener_resume(listener);
    run_until(are_connected);
}

static bool far_is_there(void)
{
    return far_end.c != NULL;
}

Test(net, listener_survives_running_out_of_descriptors)
{
    struct rlimit old, few;
    getrlimit(RLIMIT_NOFILE, &old);
    int clients[8];
    struct sockaddr_in name = { .sin_family = AF_INET,
        .sin_port = htons(listener_port(listener)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    few = old;
    few.rlim_cur = (rlim_t)clients[7] + 1;
    setrlimit(RLIMIT_NOFILE, &few);
    for (size_t i = 0; i < 7; i++)
        connect(clients[i], (struct sockaddr *)&name, sizeof name);
    struct timespec before, after;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    run_for(300);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    double used =
        (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) / 1e9;
    cr_expect_lt(used, 0.15, "it spins: %.3f s of 0.3", used);
    setrlimit(RLIMIT_NOFILE, &old);
    connect(clients[7], (struct sockaddr *)&name, sizeof name);
    run_until(far_is_there);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        close(clients[i]);
}
