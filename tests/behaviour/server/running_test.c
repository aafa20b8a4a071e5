/* jd_tcp_server_run: start, signals, drain and return in one call. */
#include "base/endpoint.h"
#include "net/server/server.h"
#include "tests/behaviour/harness.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

const char *const suite_name = "running";

/* A peer that does not end its side is waited for, where an engine reports output late: not for long. */
enum { DRAIN_MS = 300, NEVER_MS = 3600 * 1000, MIB = 1024 * 1024 };

static jd_tcp_server *server;
static int client = -1;

static void at_start(void (*task)(void *arg))
{
    ck_assert_int_eq(jd_event_loop_queue_in_loop(the_loop, task, NULL), 0);
}

/* Inside the running loop, where the harness cannot step it: the kernel connects without the server. */
static void connect_client(void *arg)
{
    jd_endpoint endpoint = endpoint_of(server);

    client = socket(AF_INET, SOCK_STREAM, 0);
    client_adopt(client);
    ck_assert_int_eq(connect(client, endpoint_sockaddr(&endpoint), endpoint.length), 0);
    ck_assert_int_eq(send(client, "hello", 5, 0), 5);
}

static bool is_refused(void)
{
    jd_endpoint endpoint = endpoint_of(server);
    int probe = socket(AF_INET, SOCK_STREAM, 0);
    bool refused = connect(probe, endpoint_sockaddr(&endpoint), endpoint.length) < 0 && errno == ECONNREFUSED;

    close(probe);
    return refused;
}

static void (*handlers_before[2])(int);

static void note_handlers(void (**handlers)(int))
{
    struct sigaction action;

    ck_assert_int_eq(sigaction(SIGINT, NULL, &action), 0);
    handlers[0] = action.sa_handler;
    ck_assert_int_eq(sigaction(SIGTERM, NULL, &action), 0);
    handlers[1] = action.sa_handler;
}

static void note_handlers_before(void)
{
    note_handlers(handlers_before);
}

static void expect_signals_to_be_as_before(void)
{
    void (*handlers[2])(int);

    note_handlers(handlers);
    ck_assert(handlers[0] == handlers_before[0] && handlers[1] == handlers_before[1]);
}

/* ---- signals ---- */

static void echo_and_signal(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *signal_number)
{
    if (jd_buffer_readable(input) < 5)
        return;
    echo(connection, input, received, NULL);
    kill(getpid(), *(const int *)signal_number);
}

START_TEST(a_signal_ends_a_running_server_when_its_answers_are_sent)
{
    static const struct {
        int number;
        unsigned threads;
    } cases[] = { { SIGINT, 0 }, { SIGTERM, 0 }, { SIGTERM, 2 } };
    int number = cases[_i].number;
    server = make_server(&(struct service){
        .options = { .listen = own_tcp_endpoint(0), .io_threads = cases[_i].threads },
        .on_message = echo_and_signal,
        .arg = &number,
    });
    at_start(connect_client);

    ck_assert_int_eq(jd_tcp_server_run(server, DRAIN_MS), 0);

    ck_assert_str_eq(story(0), "up message down");
    client_expect(client, "hello", 5);
    client_expect_end(client);
    ck_assert(is_refused());
    expect_signals_to_be_as_before();
    ck_assert_uint_eq(log_messages(), 0);
}
END_TEST

static char filling[16 * MIB];
static jd_timer_id second_signal;

static void signal_when_draining(void *arg)
{
    if (server->state != SERVER_STOPPING)
        return;
    ck_assert_uint_eq(connections_down(), 0);
    jd_event_loop_cancel_timer(the_loop, second_signal);
    kill(getpid(), SIGTERM);
}

static void send_much_and_signal(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_send(connection, filling, sizeof(filling)), 0);
    kill(getpid(), SIGINT);
}

START_TEST(a_second_signal_ends_the_drain_of_a_peer_that_does_not_read)
{
    server = make_server(&(struct service){ .options = { .listen = own_tcp_endpoint(0), .io_threads = (unsigned)_i },
                                            .on_up = send_much_and_signal });
    at_start(connect_client);
    ck_assert_int_eq(jd_event_loop_run_every(the_loop, 1, signal_when_draining, NULL, &second_signal), 0);

    ck_assert_int_eq(jd_tcp_server_run(server, NEVER_MS), 0);

    jd_event_loop_statistics counted;
    jd_tcp_server_get_statistics(server, &counted);
    ck_assert_uint_eq(counted.closed_by_drain_deadline, 1);
    ck_assert_uint_eq(connections_down(), 1);
}
END_TEST

START_TEST(without_time_to_drain_the_first_signal_ends_at_once)
{
    server = make_server(&(struct service){ .options.listen = own_tcp_endpoint(0), .on_up = send_much_and_signal });
    at_start(connect_client);

    ck_assert_int_eq(jd_tcp_server_run(server, 0), 0);

    ck_assert_uint_eq(statistics().closed_locally, 1);
}
END_TEST

static unsigned own_signals;

static void stop_by_own_callback(int number, void *arg)
{
    own_signals++;
    ck_assert_int_eq(jd_tcp_server_stop(server, 0, NULL, NULL), 0);
}

START_TEST(a_signal_that_the_program_watches_keeps_its_callback)
{
    int number = SIGTERM;
    ck_assert_int_eq(jd_event_loop_watch_signal(the_loop, SIGTERM, stop_by_own_callback, NULL), 0);
    server = make_server(&(struct service){ .on_message = echo_and_signal, .arg = &number });
    at_start(connect_client);

    ck_assert_int_eq(jd_tcp_server_run(server, DRAIN_MS), 0);

    ck_assert_uint_eq(own_signals, 1);
    raise(SIGTERM); /* still watched, else it would end the test */
}
END_TEST

START_TEST(two_loops_cannot_watch_the_signals_at_once)
{
    jd_event_loop *other = make_loop(NULL);
    ck_assert_int_eq(jd_event_loop_watch_signal(other, SIGTERM, stop_by_own_callback, NULL), 0);
    server = make_server(&(struct service){ .options.listen = own_tcp_endpoint(0) });

    ck_assert_int_eq(jd_tcp_server_run(server, 0), JD_EBUSY);

    ck_assert_msg(was_logged("test: cannot watch the signals that end it: in use"), "%s", logged());
    ck_assert_int_eq(jd_event_loop_watch_signal(other, SIGTERM, NULL, NULL), 0);
    expect_signals_to_be_as_before();
    start_server(server); /* the run did not start it */
    ck_assert_int_eq(jd_event_loop_destroy(other), 0);
}
END_TEST

/* ---- other ends ---- */

static unsigned done_count;

static void note_done(void *arg)
{
    done_count++;
}

static void stop(void *arg)
{
    ck_assert_int_eq(jd_tcp_server_stop(server, DRAIN_MS, note_done, NULL), 0);
}

static void destroy(void *arg)
{
    jd_tcp_server_destroy(server, note_done, NULL);
}

static void *stop_in_a_thread(void *arg)
{
    stop(NULL);
    return NULL;
}

static pthread_t stopper;

static void start_a_thread_that_stops(void *arg)
{
    ck_assert_int_eq(pthread_create(&stopper, NULL, stop_in_a_thread, NULL), 0);
}

START_TEST(a_server_that_is_stopped_or_destroyed_by_something_else_has_run)
{
    static void (*const ends[])(void *arg) = { stop, destroy, start_a_thread_that_stops };
    server = make_server(&(struct service){ .options.io_threads = _i == 1 ? 2 : 0 });
    at_start(ends[_i]);

    ck_assert_int_eq(jd_tcp_server_run(server, DRAIN_MS), 0);

    PUMP_UNTIL(done_count == 1);
    expect_signals_to_be_as_before();
    if (stopper != 0)
        pthread_join(stopper, NULL);
}
END_TEST

static void start_again(void *arg)
{
    if (++done_count == 1) {
        ck_assert_int_eq(jd_tcp_server_start(server, NULL), 0);
        at_start(stop);
    }
}

static void stop_to_start_again(void *arg)
{
    ck_assert_int_eq(jd_tcp_server_stop(server, DRAIN_MS, start_again, NULL), 0);
}

START_TEST(a_server_that_done_starts_again_runs_on_until_it_stops_again)
{
    server = make_server(&(struct service){ .options.io_threads = (unsigned)_i });
    at_start(stop_to_start_again);

    ck_assert_int_eq(jd_tcp_server_run(server, DRAIN_MS), 0);

    ck_assert_uint_eq(done_count, 2);
    expect_signals_to_be_as_before();
}
END_TEST

static void quit(void *arg)
{
    jd_event_loop_quit(the_loop);
}

START_TEST(quitting_the_loop_ends_the_run_and_leaves_the_server_as_it_is)
{
    server = make_server(&(struct service){ .on_message = echo });
    at_start(quit);
    ck_assert_int_eq(jd_tcp_server_run(server, DRAIN_MS), 0);
    expect_signals_to_be_as_before();

    /* Started still: it serves, and may run again. */
    jd_endpoint endpoint = endpoint_of(server);
    int other = client_connect_to(&endpoint);
    client_send(other, "x", 1);
    client_expect(other, "x", 1);
    at_start(stop);
    ck_assert_int_eq(jd_tcp_server_run(server, DRAIN_MS), 0);

    ck_assert_str_eq(story(0), "up message down");
    ck_assert_uint_eq(done_count, 1);
}
END_TEST

START_TEST(a_server_that_was_started_before_is_only_run)
{
    server = serve(&(struct service){ .on_message = echo });
    at_start(stop);

    ck_assert_int_eq(jd_tcp_server_run(server, 0), 0);

    ck_assert_uint_eq(done_count, 1);
}
END_TEST

/* ---- errors ---- */

START_TEST(a_failed_start_is_logged_with_its_endpoint)
{
    char text[JD_ENDPOINT_TEXT_BYTES], message[JD_ENDPOINT_TEXT_BYTES + 64];
    jd_tcp_server *first = serve(&(struct service){ .options.listen = own_tcp_endpoint(0) });
    jd_endpoint taken = endpoint_of(first);
    server = make_server(&(struct service){ 0 });
    ck_assert_int_eq(jd_tcp_server_listen(server, &taken, NULL), 0);

    ck_assert_int_eq(jd_tcp_server_run(server, 0), JD_EADDRINUSE);

    jd_endpoint_format(&taken, text, sizeof(text));
    snprintf(message, sizeof(message), "test: cannot listen on %s: address already in use", text);
    ck_assert_msg(was_logged(message), "%s", logged());
    ck_assert_uint_eq(log_messages(), 1);
    expect_signals_to_be_as_before();
}
END_TEST

static void run_inside(void *arg)
{
    ck_assert_int_eq(jd_tcp_server_run(server, 0), JD_EBUSY);
    stop(NULL);
}

static void *run_elsewhere(void *arg)
{
    *(int *)arg = jd_tcp_server_run(server, 0);
    return NULL;
}

START_TEST(a_run_inside_a_callback_or_in_another_thread_is_refused)
{
    pthread_t thread;
    int result = 0;
    server = make_server(&(struct service){ 0 });
    ck_assert_int_eq(pthread_create(&thread, NULL, run_elsewhere, &result), 0);
    pthread_join(thread, NULL);
    ck_assert_int_eq(result, JD_EPERM);
    at_start(run_inside);

    ck_assert_int_eq(jd_tcp_server_run(server, 0), 0);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "running");

    tcase_add_checked_fixture(tests, note_handlers_before, NULL);
    tcase_add_loop_test(tests, a_signal_ends_a_running_server_when_its_answers_are_sent, 0, 3);
    tcase_add_loop_test(tests, a_second_signal_ends_the_drain_of_a_peer_that_does_not_read, 0, 2);
    tcase_add_test(tests, without_time_to_drain_the_first_signal_ends_at_once);
    tcase_add_test(tests, a_signal_that_the_program_watches_keeps_its_callback);
    tcase_add_test(tests, two_loops_cannot_watch_the_signals_at_once);
    tcase_add_loop_test(tests, a_server_that_is_stopped_or_destroyed_by_something_else_has_run, 0, 3);
    tcase_add_loop_test(tests, a_server_that_done_starts_again_runs_on_until_it_stops_again, 0, 2);
    tcase_add_test(tests, quitting_the_loop_ends_the_run_and_leaves_the_server_as_it_is);
    tcase_add_test(tests, a_server_that_was_started_before_is_only_run);
    tcase_add_test(tests, a_failed_start_is_logged_with_its_endpoint);
    tcase_add_test(tests, a_run_inside_a_callback_or_in_another_thread_is_refused);
}
