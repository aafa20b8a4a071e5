/* Clients that try again: when, how often, and why. No test looks at the clock: what is checked is what clients say. */
#include "base/endpoint.h"
#include "base/posix/system_calls.h"
#include "tests/behaviour/client/client_fixture.h"
#include "tests/support/name_service.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

const char *const suite_name = "client_retry";

static unsigned done_count;

static void note_done(void *arg)
{
    done_count++;
}

/* The wait after the attempt, by the rule of the header. */
static void expect_wait(const jd_connect_report *report, unsigned attempt, int64_t initial_ms, int64_t max_ms)
{
    int64_t longest_ms = initial_ms;

    for (unsigned i = 1; i < attempt && longest_ms < max_ms; i++)
        longest_ms *= 2;
    longest_ms = longest_ms < max_ms ? longest_ms : max_ms;
    ck_assert_uint_eq(report->attempt, attempt);
    ck_assert_int_le(report->retry_after_ms, longest_ms);
    ck_assert_int_ge(report->retry_after_ms, longest_ms - longest_ms / 2);
}

/* ---- back-off ---- */

START_TEST(waits_grow_to_their_maximum)
{
    enum { INITIAL_MS = 2, MAX_MS = 13, ATTEMPTS = 10 };
    start_client(&(struct client_use){ .options = { .connect = at_dead_port("127.0.0.1"),
                                                    .reconnect = true,
                                                    .reconnect_initial_ms = INITIAL_MS,
                                                    .reconnect_max_ms = MAX_MS } });

    PUMP_UNTIL(reports_noted() == ATTEMPTS);

    for (unsigned i = 0; i < ATTEMPTS; i++) {
        const struct noted_report *noted = noted_report(i);
        ck_assert_int_eq(noted->report.event, JD_CONNECT_FAILED);
        ck_assert_int_eq(noted->report.error, JD_ECONNREFUSED);
        ck_assert_str_eq(noted->endpoint, at_dead_port("127.0.0.1"));
        expect_wait(&noted->report, i + 1, INITIAL_MS, MAX_MS);
    }
    ck_assert_uint_eq(clients_up(), 0);
}
END_TEST

START_TEST(by_default_the_first_wait_is_half_a_second)
{
    jd_tcp_client *client =
        start_client(&(struct client_use){ .options = { .connect = at_dead_port("127.0.0.1"), .reconnect = true } });

    PUMP_UNTIL(reports_noted() == 1);

    expect_wait(&noted_report(0)->report, 1, 500, 30 * 1000);
    jd_tcp_client_destroy(client, note_done, NULL);
    PUMP_UNTIL(done_count == 1);
}
END_TEST

START_TEST(without_reconnect_there_is_one_attempt)
{
    start_client(&(struct client_use){ .options.connect = at_dead_port("127.0.0.1") });

    PUMP_UNTIL(reports_noted() == 1);
    pump_until_quiet();

    ck_assert_int_lt(noted_report(0)->report.retry_after_ms, 0);
    ck_assert_uint_eq(reports_noted(), 1);
}
END_TEST

static void start_again(jd_tcp_client *client, const jd_connect_report *report, void *arg)
{
    if (reports_noted() < 5)
        ck_assert_int_eq(jd_tcp_client_start(client), 0);
}

START_TEST(a_client_that_has_given_up_may_be_started_in_its_callback)
{
    start_client(&(struct client_use){ .options.connect = at_dead_port("127.0.0.1"), .on_connect = start_again });

    PUMP_UNTIL(reports_noted() == 5);
    pump_until_quiet();

    ck_assert_uint_eq(reports_noted(), 5);
    ck_assert_uint_eq(noted_report(4)->report.attempt, 1);
}
END_TEST

START_TEST(a_server_that_comes_later_is_found)
{
    jd_endpoint dead;
    uint16_t port; /* held at another address, so nobody's at this */
    ck_assert_int_eq(jd_endpoint_parse(&dead, at_dead_port("127.0.0.1"), NULL), 0);
    port = jd_endpoint_port(&dead);
    start_client(&(struct client_use){
        .options = { .connect = own_tcp_endpoint(port), .reconnect = true, .reconnect_initial_ms = 1 } });
    PUMP_UNTIL(reports_noted() == 3);

    serve(&(struct service){ .options.listen = own_tcp_endpoint(port), .on_message = echo });

    PUMP_UNTIL(clients_up() == 1);
}
END_TEST

START_TEST(a_client_finds_its_server_when_it_comes_back)
{
    char endpoint[JD_ENDPOINT_TEXT_BYTES];
    jd_tcp_server *server = serve(&(struct service){ .options.listen = own_tcp_endpoint(0), .on_message = echo });
    unsigned failed;
    strcpy(endpoint, text_of_endpoint(server_endpoint()));
    start_client(
        &(struct client_use){ .options = { .reconnect = true, .reconnect_initial_ms = 1, .reconnect_max_ms = 4 } });

    for (unsigned round = 1; round <= 3; round++) {
        PUMP_UNTIL(clients_up() == round);
        failed = reports_noted();
        jd_tcp_server_destroy(server, note_done, NULL);
        PUMP_UNTIL(done_count == round && reports_noted() >= failed + 3);
        ck_assert_uint_eq(clients_down(), round);
        ck_assert_int_eq(noted_report(failed)->report.event, JD_CONNECT_LOST);
        ck_assert_str_eq(noted_report(failed)->report.reason, "the connection was closed in good order");
        ck_assert_str_eq(noted_report(failed)->target, endpoint);
        ck_assert_str_eq(noted_report(failed)->endpoint, endpoint);
        ck_assert_int_eq(noted_report(failed + 1)->report.event, JD_CONNECT_FAILED);
        ck_assert_int_eq(noted_report(failed + 1)->report.error, JD_ECONNREFUSED);
        server = serve(&(struct service){ .options.listen = endpoint, .on_message = echo });
    }
}
END_TEST

static void close_at_once(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_close(connection), 0);
}

/* The series of waits continues; else a client would reconnect without a pause to a server that drops its clients. */
START_TEST(connections_that_end_at_once_do_not_shorten_the_waits)
{
    enum { INITIAL_MS = 1200, MAX_MS = 2 * INITIAL_MS, ROUNDS = 3 }; /* far longer than the connections */
    serve(&(struct service){ .on_up = close_at_once });
    start_client(&(struct client_use){
        .options = { .reconnect = true, .reconnect_initial_ms = INITIAL_MS, .reconnect_max_ms = MAX_MS },
        .on_up = close_at_once });

    PUMP_UNTIL(reports_noted() == ROUNDS);

    for (unsigned i = 0; i < ROUNDS; i++) {
        ck_assert_int_eq(noted_report(i)->report.event, JD_CONNECT_LOST);
        ck_assert_int_eq(noted_report(i)->report.error, 0);
        expect_wait(&noted_report(i)->report, i + 1, INITIAL_MS, MAX_MS);
    }
}
END_TEST

static void close_it(void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_close(jd_tcp_client_connection(*(jd_tcp_client **)arg)), 0);
}

static void close_later(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_event_loop_run_after(the_loop, 20, close_it, arg, NULL), 0);
}

START_TEST(a_connection_that_lasted_begins_the_row_anew)
{
    enum { INITIAL_MS = 2, MAX_MS = 16, ROUNDS = 3 };
    jd_tcp_client *client;
    serve(&(struct service){ .on_message = echo });
    client = start_client(&(struct client_use){
        .options = { .reconnect = true, .reconnect_initial_ms = INITIAL_MS, .reconnect_max_ms = MAX_MS },
        .on_up = close_later,
        .arg = &client });

    PUMP_UNTIL(reports_noted() == ROUNDS);

    for (unsigned i = 0; i < ROUNDS; i++) {
        ck_assert_int_eq(noted_report(i)->report.event, JD_CONNECT_LOST);
        expect_wait(&noted_report(i)->report, 1, INITIAL_MS, MAX_MS);
    }
    jd_tcp_client_destroy(client, note_done, NULL);
    PUMP_UNTIL(done_count == 1);
}
END_TEST

/* ---- disconnecting ---- */

START_TEST(a_client_that_is_disconnected_tries_no_more)
{
    jd_tcp_client *client = start_client(&(struct client_use){
        .options = { .connect = at_dead_port("127.0.0.1"), .reconnect = true, .reconnect_initial_ms = 1 } });
    unsigned attempts;
    PUMP_UNTIL(reports_noted() == 2);

    ck_assert_int_eq(jd_tcp_client_disconnect(client, 0, note_done, NULL), 0);
    attempts = reports_noted();
    PUMP_UNTIL(done_count == 1);
    pump_until_quiet();

    ck_assert_uint_eq(reports_noted(), attempts);
    ck_assert_int_eq(jd_tcp_client_disconnect(client, 0, note_done, NULL), JD_EALREADY);
    ck_assert_int_eq(jd_tcp_client_start(client), 0);
    PUMP_UNTIL(reports_noted() == attempts + 1);
    ck_assert_uint_eq(noted_report(attempts)->report.attempt, 1);
}
END_TEST

static void start_in_down(jd_tcp_connection *connection, void *arg)
{
    if (clients_down() < 3)
        ck_assert_int_eq(jd_tcp_client_start(*(jd_tcp_client **)arg), 0);
}

START_TEST(without_reconnect_the_down_callback_may_start_it_again)
{
    jd_tcp_client *client;
    serve(&(struct service){ .on_up = close_at_once });
    client = start_client(&(struct client_use){ .on_down = start_in_down, .arg = &client });

    PUMP_UNTIL(clients_down() == 3);
    pump_until_quiet();

    ck_assert_uint_eq(clients_up(), 3);
    ck_assert_uint_eq(reports_noted(), 0);
}
END_TEST

static void disconnect_and_start_in_down(jd_tcp_connection *connection, void *arg)
{
    jd_tcp_client *client = *(jd_tcp_client **)arg;

    if (clients_down() > 1)
        return;
    ck_assert_int_eq(jd_tcp_client_disconnect(client, 0, note_done, NULL), 0);
    ck_assert_int_eq(jd_tcp_client_start(client), 0);
}

/* It is a new start: no wait, and what it was disconnected from is not lost. */
START_TEST(the_down_callback_may_disconnect_and_start_it)
{
    jd_tcp_client *client;
    jd_tcp_server *server = serve(&(struct service){ .options.listen = own_tcp_endpoint(0), .on_message = echo });
    client = start_client(
        &(struct client_use){ .options = { .reconnect = true, .reconnect_initial_ms = 1, .reconnect_max_ms = 1 },
                              .on_down = disconnect_and_start_in_down,
                              .arg = &client });
    PUMP_UNTIL(connections_up() == 2);

    ck_assert_int_eq(jd_tcp_connection_close(jd_tcp_client_connection(client)), 0);
    PUMP_UNTIL(clients_up() == 2);
    pump_until_quiet();

    ck_assert_uint_eq(done_count, 1);
    ck_assert_uint_eq(reports_noted(), 0);
    ck_assert_uint_eq(clients_up(), 2);
    jd_tcp_server_destroy(server, NULL, NULL);
    PUMP_UNTIL(reports_noted() >= 2);
    ck_assert_int_eq(noted_report(0)->report.event, JD_CONNECT_LOST);
    jd_tcp_client_destroy(client, note_done, NULL);
    PUMP_UNTIL(done_count == 2);
}
END_TEST

/* ---- time ---- */

/* A listener whose queue is full drops what asks to be connected (listen(2)), so that TCP asks on. */
static void fill_listener(const jd_endpoint *endpoint, jd_endpoint *bound)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), reuse = 1;

    ck_assert_int_eq(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse)), 0);
    ck_assert_int_eq(bind(listener, endpoint_sockaddr(endpoint), endpoint->length), 0);
    ck_assert_int_eq(listen(listener, 0), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    client_adopt(listener);
    for (int i = 0; i < 4; i++) {
        int filler = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        client_adopt(filler);
        if (connect(filler, (struct sockaddr *)&address, length) < 0)
            ck_assert_int_eq(errno, EINPROGRESS);
    }
    endpoint_from_sockaddr(bound, (const struct sockaddr *)&address, length);
}

static jd_endpoint full_listener(const char *text)
{
    jd_endpoint endpoint, bound;

    ck_assert_int_eq(jd_endpoint_parse(&endpoint, text, NULL), 0);
    fill_listener(&endpoint, &bound);
    return bound;
}

START_TEST(connecting_times_out_and_is_tried_again)
{
    jd_endpoint full = full_listener("127.0.0.1:0");
    start_client(&(struct client_use){ .options = { .connect = text_of_endpoint(&full),
                                                    .connect_timeout_ms = 20,
                                                    .reconnect = true,
                                                    .reconnect_initial_ms = 1 } });

    PUMP_UNTIL(reports_noted() == 3);

    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(noted_report(i)->report.error, JD_ETIMEDOUT);
        ck_assert_uint_eq(noted_report(i)->report.attempt, i + 1);
    }
    ck_assert_uint_eq(clients_up(), 0);
}
END_TEST

START_TEST(an_address_that_does_not_answer_leaves_time_for_the_next)
{
    static const char *const addresses[] = { "127.0.0.2", "127.0.0.1", NULL };
    name_service_install();
    name_service_answer(addresses);
    serve(&(struct service){ .on_message = echo });
    full_listener(at_server_port("127.0.0.2"));

    start_client(
        &(struct client_use){ .options = { .connect = at_server_port("server.test"), .connect_timeout_ms = 1500 } });

    PUMP_UNTIL(clients_up() == 1);
    ck_assert_uint_eq(reports_noted(), 1);
    ck_assert_int_eq(noted_report(0)->report.event, JD_CONNECT_ADDRESS_FAILED);
    ck_assert_int_eq(noted_report(0)->report.error, JD_ETIMEDOUT);
    ck_assert_str_eq(noted_report(0)->endpoint, at_server_port("127.0.0.2"));
    name_service_remove();
}
END_TEST

START_TEST(looking_up_times_out_and_a_late_answer_is_dropped)
{
    static const char *const addresses[] = { "127.0.0.1", NULL };
    name_service_install();
    name_service_answer(addresses);
    name_service_block();
    serve(&(struct service){ .on_message = echo });

    jd_tcp_client *client = start_client(
        &(struct client_use){ .options = { .connect = at_server_port("server.test"), .connect_timeout_ms = 5 } });

    PUMP_UNTIL(reports_noted() == 1);
    ck_assert_int_eq(noted_report(0)->report.error, JD_ETIMEDOUT);
    ck_assert_str_eq(noted_report(0)->report.reason, "name lookup timed out: no answer within connect_timeout_ms");
    ck_assert_str_eq(noted_report(0)->endpoint, "none");
    ck_assert_uint_eq(statistics().connects_failed, 1);
    name_service_unblock();
    pump_until_quiet();
    ck_assert_uint_eq(connections_up(), 0);
    ck_assert_uint_eq(reports_noted(), 1);
    jd_tcp_client_destroy(client, note_done, NULL);
    PUMP_UNTIL(done_count == 1);
    name_service_remove();
}
END_TEST

START_TEST(a_name_is_looked_up_anew_for_each_attempt)
{
    static const char *const wrong[] = { "127.0.0.2", NULL }, *const right[] = { "127.0.0.1", NULL };
    name_service_install();
    name_service_fail(EAI_NONAME, 0);
    serve(&(struct service){ .on_message = echo });

    start_client(&(struct client_use){ .options = { .connect = at_server_port("server.test"),
                                                    .reconnect = true,
                                                    .reconnect_initial_ms = 1,
                                                    .reconnect_max_ms = 2 } });
    PUMP_UNTIL(reports_noted() >= 2);
    ck_assert_int_eq(noted_report(1)->report.error, JD_ENOENT);
    ck_assert_str_eq(noted_report(1)->report.reason, "no address is known for the name");
    name_service_answer(wrong);
    PUMP_UNTIL(noted_report(reports_noted() - 1)->report.error == JD_ECONNREFUSED);
    name_service_answer(right);

    PUMP_UNTIL(clients_up() == 1);
    ck_assert_uint_eq(name_service_lookups(), reports_noted() + 1);
    name_service_remove();
}
END_TEST

/* ---- the system ---- */

/* connect(2), EAGAIN: no event reports when there is room. */
START_TEST(a_unix_domain_server_whose_queue_is_full_is_tried_again)
{
    const char *name = own_unix_endpoint("@jinduo-test-");
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), client;
    jd_endpoint endpoint;
    ck_assert_int_eq(jd_endpoint_parse(&endpoint, name, NULL), 0);
    ck_assert_int_eq(bind(listener, endpoint_sockaddr(&endpoint), endpoint.length), 0);
    ck_assert_int_eq(listen(listener, 0), 0);
    client_adopt(listener);
    do {
        client = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        client_adopt(client);
    } while (connect(client, endpoint_sockaddr(&endpoint), endpoint.length) == 0);

    start_client(&(struct client_use){ .options = { .connect = name, .reconnect = true, .reconnect_initial_ms = 1 } });
    PUMP_UNTIL(reports_noted() == 3);
    ck_assert_int_eq(noted_report(2)->report.error, JD_EAGAIN);
    ck_assert_uint_eq(clients_up(), 0);
    ck_assert_int_eq(fcntl(listener, F_SETFL, O_NONBLOCK), 0);
    while ((client = accept(listener, NULL, NULL)) >= 0)
        client_adopt(client);

    PUMP_UNTIL(clients_up() == 1);
}
END_TEST

static int interrupted_connect(int fd, const struct sockaddr *address, socklen_t length)
{
    connect(fd, address, length);
    errno = EINTR;
    return -1;
}

/* connect(2), EINTR: the connection is made all the same. */
START_TEST(an_interrupted_connect_continues)
{
    serve(&(struct service){ .on_message = echo });
    system_calls.connect = interrupted_connect;

    start_client(&(struct client_use){ 0 });

    PUMP_UNTIL(connections_up() == 2);
    ck_assert_uint_eq(reports_noted(), 0);
    system_calls_reset();
}
END_TEST

/* By an address, and by a name, for which the system's name service has no descriptor either. */
START_TEST(a_client_out_of_descriptors_says_so_and_tries_again)
{
    struct rlimit limit, none;
    char target[64];
    int lowest;
    serve(&(struct service){ .on_message = echo });
    snprintf(target, sizeof(target), "%s:%u", _i == 0 ? "127.0.0.1" : "localhost", jd_endpoint_port(server_endpoint()));
    jd_tcp_client *client = make_client(
        &(struct client_use){ .options = { .connect = target, .reconnect = true, .reconnect_initial_ms = 1 } });
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    lowest = fcntl(0, F_DUPFD, 0);
    close(lowest);
    none = limit;
    none.rlim_cur = (rlim_t)lowest;

    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    ck_assert_int_eq(jd_tcp_client_start(client), 0);
    PUMP_UNTIL(reports_noted() == 3);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);

    ck_assert_int_eq(noted_report(2)->report.error, JD_EMFILE);
    ck_assert_str_eq(noted_report(2)->report.reason, jd_strerror(JD_EMFILE));
    ck_assert_str_eq(noted_report(2)->target, target);
    PUMP_UNTIL(connections_up() == 2);
}
END_TEST

/* ---- a loop that is taken over ---- */

static _Atomic(jd_event_loop *) to_run;

static void quit_loop(void *loop)
{
    jd_event_loop_quit(loop);
}

static void *run_and_destroy(void *failure)
{
    jd_event_loop *loop;

    while ((loop = to_run) == NULL)
        continue;
    return jd_event_loop_run(loop) == 0 && jd_event_loop_destroy(loop) == 0 ? NULL : failure;
}

/* The thread that made the loop uses its client when another thread runs the loop for the first time. */
START_TEST(a_client_may_be_started_and_destroyed_while_another_thread_takes_the_loop_over)
{
    for (int round = 0; round < 600; round++) {
        jd_event_loop *loop = make_loop(NULL);
        jd_tcp_client *client;
        pthread_t thread;
        void *failed;
        to_run = NULL;
        ck_assert_int_eq(
            jd_tcp_client_create(&client, loop, &(jd_tcp_client_options){ .connect = at_dead_port("127.0.0.1") }), 0);
        ck_assert_int_eq(pthread_create(&thread, NULL, run_and_destroy, &failed), 0);
        if (round % 2 != 0)
            ck_assert_int_eq(jd_tcp_client_start(client), 0);
        to_run = loop;
        for (volatile int pause = 0; pause < round; pause++)
            continue;
        if (round % 2 == 0)
            ck_assert_int_eq(jd_tcp_client_start(client), 0);
        if (round % 4 == 0)
            jd_tcp_client_disconnect(client, 0, NULL, NULL); /* it may have given up by now */
        jd_tcp_client_destroy(client, quit_loop, loop);
        pthread_join(thread, &failed);
        ck_assert_ptr_null(failed);
    }
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = client_case(suite, "client retry");

    tcase_add_test(tests, waits_grow_to_their_maximum);
    tcase_add_test(tests, by_default_the_first_wait_is_half_a_second);
    tcase_add_test(tests, without_reconnect_there_is_one_attempt);
    tcase_add_test(tests, a_client_that_has_given_up_may_be_started_in_its_callback);
    tcase_add_test(tests, a_server_that_comes_later_is_found);
    tcase_add_test(tests, a_client_finds_its_server_when_it_comes_back);
    tcase_add_test(tests, connections_that_end_at_once_do_not_shorten_the_waits);
    tcase_add_test(tests, a_connection_that_lasted_begins_the_row_anew);
    tcase_add_test(tests, a_client_that_is_disconnected_tries_no_more);
    tcase_add_test(tests, without_reconnect_the_down_callback_may_start_it_again);
    tcase_add_test(tests, the_down_callback_may_disconnect_and_start_it);
    tcase_add_test(tests, connecting_times_out_and_is_tried_again);
    tcase_add_test(tests, an_address_that_does_not_answer_leaves_time_for_the_next);
    tcase_add_test(tests, looking_up_times_out_and_a_late_answer_is_dropped);
    tcase_add_test(tests, a_name_is_looked_up_anew_for_each_attempt);
    tcase_add_test(tests, a_unix_domain_server_whose_queue_is_full_is_tried_again);
    tcase_add_test(tests, an_interrupted_connect_continues);
    tcase_add_loop_test(tests, a_client_out_of_descriptors_says_so_and_tries_again, 0, 2);
    tcase_add_test(tests, a_client_may_be_started_and_destroyed_while_another_thread_takes_the_loop_over);
}
