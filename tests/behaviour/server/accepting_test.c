/* Accepting continues whatever happens to single connections, and through a shortage of descriptors. Pitfalls 11, 42. */
#include "base/posix/system_calls.h"
#include "net/loop/event_loop.h"
#include "tests/behaviour/harness.h"
#include "tests/support/ring_calls.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

const char *const suite_name = "accepting";

/* ---- accept's errors ---- */

static _Atomic int spared, failures_left, failure; /* an engine may accept by threads of its own */

static bool takes_failure(void)
{
    if (failures_left == 0)
        return false;
    failures_left--;
    return true;
}

static bool listens(int fd)
{
    int answer = 0;
    socklen_t size = sizeof(answer);

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &answer, &size) == 0 && answer;
}

static void require_listener(int fd)
{
    ck_assert_msg(listens(fd), "accept on descriptor %d, which does not listen", fd);
}

/* An accept reaches the kernel with the loop's next wait. If its listener is shut down in between, the descriptor must still
 * be that listener's, which has no connection; and no second accept may follow on it. */
static void require_listener_until_shut_down(int fd)
{
    static unsigned shut_down;
    struct tcp_info state = { 0 };
    socklen_t size = sizeof(state);

    if (listens(fd))
        return;
    ck_assert_msg(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &state, &size) == 0 && state.tcpi_state == TCP_CLOSE,
                  "accept on descriptor %d, which is no listener", fd);
    ck_assert_uint_eq(++shut_down, 1);
}

static int failing_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    int socket;

    require_listener(fd);
    if (spared == 0 && takes_failure()) {
        errno = failure;
        return -1;
    }
    socket = accept4(fd, address, length, flags);
    if (socket >= 0 && spared > 0)
        spared--;
    return socket;
}

/* Asked before the operation begins: each one accepts one connection or fails. */
static int failing_ring_accept(enum ring_call call, int fd)
{
    if (call != RING_ACCEPT)
        return 0;
    require_listener_until_shut_down(fd);
    if (spared == 0)
        return takes_failure() ? -failure : 0;
    spared--;
    return 0;
}

/* On each engine. Before the server starts: an accept in flight already does not fail any more. */
static void watch_accepting(void)
{
    system_calls.accept4 = failing_accept4;
    ring_calls_decide(failing_ring_accept);
}

/* So many times when so many connections have been accepted. */
static void fail_accepting_after(int connections, int error, int times)
{
    spared = connections;
    failure = error;
    failures_left = times;
    watch_accepting();
}

static void fail_accepting(int error, int times)
{
    fail_accepting_after(0, error, times);
}

static const int passing_errors[] = { ECONNABORTED, EPROTO, EPERM, EINTR, ENETDOWN, EHOSTUNREACH };

START_TEST(an_error_of_one_connection_does_not_stop_accepting)
{
    fail_accepting(passing_errors[_i], 3);
    serve(&(struct service){ .on_message = echo });

    int client = client_connect();

    client_send(client, "x", 1);
    client_expect(client, "x", 1);
    ck_assert_int_eq(failures_left, 0);
    ck_assert_uint_eq(statistics().accept_pauses, 0);
    ck_assert_uint_eq(log_messages(), 0);
}
END_TEST

static const int shortages[] = { EMFILE, ENFILE, ENOBUFS, ENOMEM };

START_TEST(a_shortage_pauses_accepting_serves_the_connected_and_ends_by_itself)
{
    fail_accepting_after(1, shortages[_i], 3);
    serve(&(struct service){ .on_message = echo });
    int connected = client_connect_up(), waiting;

    waiting = client_connect();
    PUMP_UNTIL(failures_left < 3);
    client_send(connected, "still served", 12);

    client_expect(connected, "still served", 12);
    client_send(waiting, "x", 1);
    client_expect(waiting, "x", 1);
    PUMP_UNTIL(failures_left == 0);
    ck_assert_uint_ge(statistics().accept_pauses, 1);
    ck_assert(was_logged("accepting paused"));
}
END_TEST

/* A connection's end frees a descriptor: accepting does not wait for the next try by the clock. */
START_TEST(accepting_resumes_in_the_turns_after_a_connection_has_ended)
{
    fail_accepting_after(1, EMFILE, INT_MAX);
    serve(&(struct service){ .on_message = echo });
    int connected = client_connect_up();
    client_connect();
    PUMP_UNTIL(statistics().accept_pauses > 0);
    pump_until_quiet();
    ck_assert_uint_eq(connections_up(), 1);

    failures_left = 0;
    client_close(connected);
    PUMP_UNTIL(connections_down() == 1);
    pump_until_quiet(); /* well before the next try by the clock */

    ck_assert_uint_eq(connections_up(), 2);
}
END_TEST

/* Nothing else happens: one that slept without end would be ended by the test's time limit. */
START_TEST(a_sleeping_loop_wakes_by_itself_to_try_accepting_again)
{
    fail_accepting(ENFILE, 2);
    serve(&(struct service){ .on_message = echo });
    client_connect();

    while (connections_up() == 0)
        ck_assert_int_ge(jd_event_loop_run_once(the_loop, -1), 0);

    ck_assert_int_eq(failures_left, 0);
}
END_TEST

/* ---- stopped meanwhile ---- */

/* More than are accepted in one turn: the rest waits for the next, when the listener is closed. */
START_TEST(a_server_destroyed_with_connections_left_for_the_next_turn_accepts_no_other)
{
    enum { MANY = 150 };
    unsigned accepted;
    watch_accepting();
    jd_tcp_server *server = serve(&(struct service){ .on_message = echo });
    for (int i = 0; i < MANY; i++)
        client_connect_to(server_endpoint());
    while (connections_up() == 0)
        pump_turns(1);
    accepted = connections_up();
    ck_assert_uint_lt(accepted, MANY);

    jd_tcp_server_destroy(server, NULL, NULL);

    PUMP_UNTIL(connections_down() == accepted);
    pump_until_quiet();
    ck_assert_uint_eq(connections_up(), accepted);
    serve(&(struct service){ .on_message = echo });
    int client = client_connect();
    client_send(client, "x", 1);
    client_expect(client, "x", 1);
}
END_TEST

/* docs/engines.md */
START_TEST(of_connections_that_come_at_once_a_turn_accepts_what_its_engine_does)
{
    enum { MANY = 150, REACTOR_ACCEPTS = 64 };
    serve(&(struct service){ .on_message = echo });
    for (int i = 0; i < MANY; i++)
        client_connect_to(server_endpoint());

    while (connections_up() == 0)
        pump_turns(1);

    if (engine_is("io_uring"))
        ck_assert_uint_eq(connections_up(), MANY);
    else if (engine_is("simulated"))
        ck_assert_uint_eq(connections_up(), 1);
    else
        ck_assert_uint_le(connections_up(), REACTOR_ACCEPTS);
    PUMP_UNTIL(connections_up() == MANY);
}
END_TEST

START_TEST(a_server_destroyed_while_accepting_pauses_is_not_tried_again)
{
    enum { LONGER_THAN_A_PAUSE_MS = 250 };
    jd_timestamp destroyed_at;
    fail_accepting(EMFILE, INT_MAX);
    jd_tcp_server *server = serve(&(struct service){ .on_message = echo });
    client_connect();
    PUMP_UNTIL(statistics().accept_pauses > 0);

    jd_tcp_server_destroy(server, NULL, NULL);

    destroyed_at = jd_event_loop_now(the_loop);
    failures_left = 0;
    PUMP_UNTIL(jd_event_loop_now(the_loop) - destroyed_at > LONGER_THAN_A_PAUSE_MS * (jd_timestamp)1000000);
    ck_assert_uint_eq(connections_up(), 0);
}
END_TEST

/* ---- out of descriptors, really ---- */

enum { DESCRIPTOR_LIMIT = 64, CLIENTS = 34, QUIET_MS = 500 };

static void limit_descriptors(rlim_t limit)
{
    struct rlimit limits;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limits), 0);
    limits.rlim_cur = limit;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limits), 0);
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

START_TEST(out_of_descriptors_the_loop_sleeps_and_accepts_again_when_some_are_free)
{
    int clients[CLIENTS];
    unsigned accepted;
    uint64_t turns_before;
    int64_t until;
    limit_descriptors(DESCRIPTOR_LIMIT);
    serve(&(struct service){ .on_message = echo });
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = client_connect();
    PUMP_UNTIL(statistics().accept_pauses > 0);
    pump_until_quiet();
    accepted = connections_up();
    ck_assert_uint_gt(accepted, 0);
    ck_assert_uint_lt(accepted, CLIENTS);

    /* No spin: the loop wakes up for its retries, ten a second, and little else. */
    turns_before = statistics().turns;
    until = now_ms() + QUIET_MS;
    while (now_ms() < until)
        ck_assert_int_ge(jd_event_loop_run_once(the_loop, QUIET_MS), 0);
    ck_assert_uint_le(statistics().turns - turns_before, QUIET_MS / 100 * 3 + 3);

    /* Freed by a connection's end, and by someone else. */
    client_close(clients[CLIENTS - 1]);
    client_close(clients[CLIENTS - 2]);
    PUMP_UNTIL(connections_up() >= accepted + 1);
    limit_descriptors(4 * DESCRIPTOR_LIMIT);
    PUMP_UNTIL(connections_up() >= CLIENTS - 2);
    for (int i = 0; i < CLIENTS - 2; i++) {
        client_send(clients[i], "x", 1);
        client_expect(clients[i], "x", 1);
    }
}
END_TEST

START_TEST(connections_are_served_while_descriptors_are_short)
{
    int clients[CLIENTS];
    unsigned answered = 0;
    limit_descriptors(DESCRIPTOR_LIMIT);
    serve(&(struct service){ .on_message = echo });
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = client_connect();
        client_send_some(clients[i], "x", 1);
    }

    PUMP_UNTIL(statistics().accept_pauses > 0);
    pump_until_quiet();

    for (int i = 0; i < CLIENTS; i++) {
        char byte;
        answered += client_receive_some(clients[i], &byte, 1) == 1;
    }
    ck_assert_uint_eq(answered, connections_up());
    ck_assert_uint_gt(answered, 0);
    ck_assert_uint_lt(answered, CLIENTS);
}
END_TEST

START_TEST(a_loop_without_descriptors_is_an_error_and_leaks_nothing)
{
    struct rlimit before;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);

    for (unsigned room = 0; room < 3; room++) {
        jd_event_loop *loop = NULL;
        int last = dup(0);
        close(last);
        limit_descriptors((rlim_t)last + room);
        int result = event_loop_create_on(&loop, NULL, engine_under_test());
        ck_assert_int_eq(result, room < 2 ? JD_EMFILE : 0);
        if (result == 0)
            ck_assert_int_eq(jd_event_loop_destroy(loop), 0);
        limit_descriptors(before.rlim_cur);
    }
}
END_TEST

/* ---- many ---- */

START_TEST(hundreds_that_connect_at_once_are_all_accepted)
{
    enum { MANY = 400 };
    serve(&(struct service){ .on_message = echo });

    for (int i = 0; i < MANY; i++)
        client_connect();

    PUMP_UNTIL(connections_up() == MANY);
    ck_assert_uint_eq(statistics().connections_opened, MANY);
}
END_TEST

static void accept_no_more(jd_tcp_connection *connection, void *arg)
{
    jd_tcp_server **server = arg;

    if (*server != NULL)
        jd_tcp_server_destroy(*server, NULL, NULL);
    *server = NULL;
}

START_TEST(a_server_destroyed_by_the_first_connection_accepts_no_other)
{
    jd_tcp_server *server;
    watch_accepting();
    server = serve(&(struct service){ .on_up = accept_no_more, .arg = &server });

    for (int i = 0; i < 20; i++)
        client_connect();

    PUMP_UNTIL(connections_down() == 1);
    pump_until_quiet();
    ck_assert_uint_eq(connections_up(), 1);
}
END_TEST

static void close_at_once(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_close(connection), 0);
}

START_TEST(connections_closed_in_up_do_not_stop_the_others)
{
    enum { MANY = 150 };
    serve(&(struct service){ .on_up = close_at_once });

    for (int i = 0; i < MANY; i++)
        client_connect();

    PUMP_UNTIL(connections_down() == MANY);
}
END_TEST

/* ---- the queue at the end ---- */

enum { IO_LOOPS = 3, QUEUED = 24 };

static jd_event_loop *io_loops[IO_LOOPS];
static _Atomic unsigned io_loop_count, blocked_loops;
static _Atomic bool may_go_on;
static unsigned stops_done;

static void note_io_loop(jd_event_loop *loop, void *arg)
{
    io_loops[io_loop_count++] = loop;
}

static void block(void *arg)
{
    blocked_loops++;
    while (!may_go_on)
        sched_yield();
}

static void say_hello(jd_tcp_connection *connection, void *arg)
{
    jd_tcp_connection_send(connection, "hello", 5);
}

static void note_stop(void *arg)
{
    stops_done++;
}

/* On the server's own loop, with io threads, and with listeners on these. No loop accepts until the server is stopped. */
START_TEST(a_server_that_drains_accepts_what_is_queued_before_it_closes_its_listeners)
{
    unsigned io_threads = _i == 0 ? 0 : IO_LOOPS;
    int clients[QUEUED];
    jd_tcp_server *server = serve(&(struct service){ .options = { .io_threads = io_threads, .reuse_port = _i == 2 },
                                                     .on_thread_init = _i == 2 ? note_io_loop : NULL,
                                                     .on_up = say_hello });
    for (unsigned i = 0; i < io_loop_count; i++)
        ck_assert_int_eq(jd_event_loop_queue_in_loop(io_loops[i], block, NULL), 0);
    PUMP_UNTIL(blocked_loops == io_loop_count);
    for (int i = 0; i < QUEUED; i++)
        clients[i] = client_connect();

    ck_assert_int_eq(jd_tcp_server_stop(server, 10000, note_stop, NULL), 0);
    if (_i != 1)
        ck_assert_uint_eq(connections_up(), 0); /* no callback from inside, nor before the io loops continue */
    may_go_on = true;

    for (int i = 0; i < QUEUED; i++) {
        client_expect(clients[i], "hello", 5);
        client_expect_end(clients[i]);
        client_close(clients[i]);
    }
    PUMP_UNTIL(stops_done == 1);
    ck_assert_uint_eq(connections_up(), QUEUED);
    ck_assert_uint_eq(connections_down(), QUEUED);
}
END_TEST

START_TEST(a_server_that_stops_at_once_resets_what_is_queued)
{
    int clients[QUEUED];
    jd_tcp_server *server = serve(&(struct service){ .on_up = say_hello });
    for (int i = 0; i < QUEUED; i++)
        clients[i] = client_connect();

    ck_assert_int_eq(jd_tcp_server_stop(server, 0, note_stop, NULL), 0);

    PUMP_UNTIL(stops_done == 1);
    for (int i = 0; i < QUEUED; i++)
        client_expect_reset(clients[i]);
    ck_assert_uint_eq(connections_up(), 0);
}
END_TEST

static void put_system_calls_back(void)
{
    system_calls_reset();
}

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "accepting");

    tcase_add_checked_fixture(tests, NULL, put_system_calls_back);
    tcase_add_loop_test(tests, an_error_of_one_connection_does_not_stop_accepting, 0,
                        sizeof(passing_errors) / sizeof(passing_errors[0]));
    tcase_add_loop_test(tests, a_shortage_pauses_accepting_serves_the_connected_and_ends_by_itself, 0,
                        sizeof(shortages) / sizeof(shortages[0]));
    tcase_add_test(tests, accepting_resumes_in_the_turns_after_a_connection_has_ended);
    tcase_add_test(tests, a_sleeping_loop_wakes_by_itself_to_try_accepting_again);
    tcase_add_test(tests, a_server_destroyed_with_connections_left_for_the_next_turn_accepts_no_other);
    tcase_add_test(tests, of_connections_that_come_at_once_a_turn_accepts_what_its_engine_does);
    tcase_add_test(tests, a_server_destroyed_while_accepting_pauses_is_not_tried_again);
    tcase_add_test(tests, out_of_descriptors_the_loop_sleeps_and_accepts_again_when_some_are_free);
    tcase_add_test(tests, connections_are_served_while_descriptors_are_short);
    tcase_add_test(tests, a_loop_without_descriptors_is_an_error_and_leaks_nothing);
    tcase_add_test(tests, hundreds_that_connect_at_once_are_all_accepted);
    tcase_add_test(tests, a_server_destroyed_by_the_first_connection_accepts_no_other);
    tcase_add_test(tests, connections_closed_in_up_do_not_stop_the_others);
    tcase_add_loop_test(tests, a_server_that_drains_accepts_what_is_queued_before_it_closes_its_listeners, 0, 3);
    tcase_add_test(tests, a_server_that_stops_at_once_resets_what_is_queued);
}
