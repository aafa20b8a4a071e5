/* The end of servers and loops: everything completes or is cancelled once, and nothing is left. Pitfalls 31 and 32. */
#include "base/endpoint.h"
#include "net/loop/event_loop.h"
#include "tests/behaviour/harness.h"

#include <errno.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

const char *const suite_name = "stopping";

enum { KIB = 1024, MIB = 1024 * 1024, LIVE = 20 };

static unsigned done_count, downs_when_done;

static void note_done(void *arg)
{
    done_count++;
    downs_when_done = connections_down();
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Asked of an address that no other test has: once closed, another's server may get the port. */
static bool is_refused(const jd_endpoint *endpoint)
{
    int probe = socket(AF_INET, SOCK_STREAM, 0);
    bool refused = connect(probe, endpoint_sockaddr(endpoint), endpoint->length) < 0 && errno == ECONNREFUSED;

    close(probe);
    return refused;
}

/* ---- servers ---- */

START_TEST(destroying_a_server_closes_its_connections_then_says_that_it_is_done)
{
    int clients[LIVE];
    jd_tcp_server *server = serve(&(struct service){
        .options = { .listen = own_tcp_endpoint(0), .io_threads = (unsigned)_i }, .on_message = echo });
    for (int i = 0; i < LIVE; i++) {
        clients[i] = client_connect_up();
        client_send(clients[i], "x", 1);
        client_expect(clients[i], "x", 1);
    }
    ck_assert_uint_eq(jd_tcp_server_connection_count(server), LIVE);

    jd_tcp_server_destroy(server, note_done, NULL);
    jd_tcp_server_destroy(server, note_done, NULL);

    PUMP_UNTIL(done_count == 1);
    ck_assert_uint_eq(downs_when_done, LIVE);
    for (int i = 0; i < LIVE; i++)
        client_expect_end(clients[i]);
    ck_assert(is_refused(server_endpoint()));
    pump_until_quiet();
    ck_assert_uint_eq(done_count, 1);
}
END_TEST

static jd_tcp_server *initialized;

static void stop_in_init(jd_event_loop *loop, void *arg)
{
    if (arg == NULL)
        ck_assert_int_eq(jd_tcp_server_stop(initialized, 0, note_done, NULL), 0);
    else
        jd_tcp_server_destroy(initialized, note_done, NULL);
}

START_TEST(a_server_may_be_stopped_or_destroyed_by_its_thread_init_callback)
{
    int destroys = 1;
    initialized = make_server(&(struct service){ .on_thread_init = stop_in_init, .arg = _i == 0 ? NULL : &destroys });

    ck_assert_int_eq(jd_tcp_server_start(initialized, NULL), 0);

    PUMP_UNTIL(done_count == 1);
}
END_TEST

START_TEST(a_stopped_server_refuses_connections_and_a_stopping_one_does_not_start)
{
    jd_tcp_server *server = serve(&(struct service){ .options.listen = own_tcp_endpoint(0), .on_message = echo });
    ck_assert(!is_refused(server_endpoint()));

    ck_assert_int_eq(jd_tcp_server_stop(server, 0, note_done, NULL), 0);

    ck_assert(is_refused(server_endpoint()));
    ck_assert_uint_eq(done_count, 0);
    ck_assert_int_eq(jd_tcp_server_start(server, NULL), JD_EALREADY);
    ck_assert_int_eq(jd_tcp_server_listen(server, server_endpoint(), NULL), JD_EINVAL);
    ck_assert_msg(was_logged("test: listen: the server is stopping"), "%s", logged());
    PUMP_UNTIL(done_count == 1);
    ck_assert_int_eq(jd_tcp_server_stop(server, 0, note_done, NULL), JD_EALREADY);
    ck_assert_uint_eq(jd_tcp_server_connection_count(server), 0);
}
END_TEST

START_TEST(a_server_never_started_can_be_destroyed)
{
    jd_tcp_server *server = make_server(&(struct service){ .on_message = echo });
    ck_assert_int_eq(jd_tcp_server_stop(server, 0, NULL, NULL), JD_EALREADY);

    jd_tcp_server_destroy(server, note_done, NULL);

    PUMP_UNTIL(done_count == 1);
    jd_tcp_server_destroy(NULL, note_done, NULL);
    ck_assert_uint_eq(done_count, 2);
}
END_TEST

START_TEST(connections_waiting_to_be_accepted_end_with_the_server)
{
    jd_tcp_server *server = serve(&(struct service){ .on_message = echo });
    int clients[LIVE];
    for (int i = 0; i < LIVE; i++)
        clients[i] = client_connect();
    pump_turns((unsigned)_i);

    jd_tcp_server_destroy(server, note_done, NULL);

    PUMP_UNTIL(done_count == 1);
    for (int i = 0; i < LIVE; i++)
        PUMP_UNTIL(client_is_over(clients[i]));
}
END_TEST

static jd_tcp_server *to_destroy;

static void destroy_it(void *arg)
{
    jd_event_loop_statistics totals;

    done_count++;
    jd_tcp_server_get_statistics(to_destroy, &totals);
    jd_tcp_server_destroy(to_destroy, NULL, NULL);
}

START_TEST(the_stop_callback_may_destroy_the_server)
{
    to_destroy = serve(&(struct service){ .on_message = echo });
    client_connect_up();

    ck_assert_int_eq(jd_tcp_server_stop(to_destroy, 0, destroy_it, NULL), 0);

    PUMP_UNTIL(done_count == 1);
    pump_until_quiet();
}
END_TEST

START_TEST(the_stop_callback_may_use_a_server_that_is_being_destroyed)
{
    to_destroy = serve(&(struct service){ .options.io_threads = (unsigned)_i, .on_message = echo });
    client_connect_up();
    ck_assert_int_eq(jd_tcp_server_stop(to_destroy, 60 * 1000, destroy_it, NULL), 0);

    jd_tcp_server_destroy(to_destroy, NULL, NULL);

    PUMP_UNTIL(done_count == 1);
    pump_until_quiet();
}
END_TEST

START_TEST(what_the_io_loops_counted_outlasts_them)
{
    jd_tcp_server *server = serve(&(struct service){ .options.io_threads = 2, .on_message = echo });
    jd_event_loop_statistics totals;
    client_close(client_connect_up());
    PUMP_UNTIL(connections_down() == 1);

    ck_assert_int_eq(jd_tcp_server_stop(server, 0, note_done, NULL), 0);
    PUMP_UNTIL(done_count == 1);

    jd_tcp_server_get_statistics(server, &totals);
    ck_assert_uint_eq(totals.connections_opened, 1);
    ck_assert_uint_eq(totals.connections_closed, 1);
}
END_TEST

/* ---- draining: pitfall 32 ---- */

enum { LONG_MS = 60 * 1000, SHORT_MS = 150 };

static void respond(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    static unsigned char response[4 * MIB];

    pattern_fill(response, 0, sizeof(response));
    jd_buffer_consume(input, SIZE_MAX);
    ck_assert_int_eq(jd_tcp_connection_send(connection, response, sizeof(response)), 0);
}

/* Three connections: idle; with a response in flight that is read; with one that is not. */
static jd_tcp_server *serve_three(int clients[3])
{
    jd_tcp_server *server = serve(&(struct service){ .options.send_buffer_bytes = 4 * KIB, .on_message = respond });

    clients[0] = client_connect_up();
    for (int i = 1; i < 3; i++) {
        clients[i] = client_connect_with_receive_buffer(4 * KIB);
        PUMP_UNTIL(connections_up() == (unsigned)i + 1);
        client_send(clients[i], "?", 1);
        PUMP_UNTIL(bytes_received() == (size_t)i);
    }
    return server;
}

START_TEST(draining_ends_the_idle_at_once_the_read_when_sent_and_the_rest_at_the_deadline)
{
    int clients[3];
    int64_t begun;
    jd_tcp_server *server = serve_three(clients);

    ck_assert_int_eq(jd_tcp_server_stop(server, LONG_MS, note_done, NULL), 0);

    client_expect_end(clients[0]);
    client_expect_pattern(clients[1], 0, 4 * MIB);
    client_expect_end(clients[1]);
    client_close(clients[1]);
    PUMP_UNTIL(connections_down() == 2);
    ck_assert_uint_eq(done_count, 0);
    ck_assert_str_eq(story(2), "up message");
    begun = now_ms();
    jd_tcp_server_destroy(server, NULL, NULL); /* for want of time: no more draining */
    PUMP_UNTIL(done_count == 1);
    ck_assert_int_lt(now_ms() - begun, LONG_MS);
    ck_assert_uint_eq(downs_when_done, 3);
}
END_TEST

START_TEST(at_the_drain_deadline_slow_connections_are_closed)
{
    int clients[3];
    int64_t begun;
    jd_tcp_server *server = serve_three(clients);
    begun = now_ms();

    ck_assert_int_eq(jd_tcp_server_stop(server, SHORT_MS, note_done, NULL), 0);
    PUMP_UNTIL(done_count == 1);

    ck_assert_int_ge(now_ms() - begun, SHORT_MS - 1);
    ck_assert_uint_eq(downs_when_done, 3);
    ck_assert_uint_gt(statistics().bytes_dropped, 0);
}
END_TEST

START_TEST(draining_works_on_io_threads_too)
{
    static const unsigned threads = 2;
    jd_tcp_server *server = serve(
        &(struct service){ .options = { .io_threads = threads, .send_buffer_bytes = 4 * KIB }, .on_message = respond });
    int reading = client_connect_up(), idle = client_connect_up();
    client_send(reading, "?", 1);
    client_expect_pattern(reading, 0, 100);

    ck_assert_int_eq(jd_tcp_server_stop(server, LONG_MS, note_done, NULL), 0);

    client_expect_end(idle);
    client_expect_pattern(reading, 100, 4 * MIB - 100);
    client_expect_end(reading);
    client_close(reading);
    PUMP_UNTIL(done_count == 1);
    ck_assert_uint_eq(downs_when_done, 2);
}
END_TEST

/* ---- loops ---- */

static unsigned tasks_run, timers_run;

static void count_task(void *arg)
{
    tasks_run++;
}

static void count_timer(void *arg)
{
    timers_run++;
}

static void queue_another(void *arg)
{
    tasks_run++;
    jd_event_loop_queue_in_loop(the_loop, count_task, NULL);
}

START_TEST(destroying_a_loop_ends_servers_connections_and_timers_and_runs_tasks_once)
{
    enum { TASKS = 1000 };
    jd_timer_id id;
    serve(&(struct service){ .options.io_threads = (unsigned)_i, .on_message = echo });
    for (int i = 0; i < LIVE; i++)
        client_send(client_connect_up(), "x", 1);
    for (int i = 0; i < TASKS; i++)
        ck_assert_int_eq(jd_event_loop_queue_in_loop(the_loop, count_task, NULL), 0);
    for (unsigned i = 0; i < TASKS; i++)
        ck_assert_int_eq(jd_event_loop_run_after(the_loop, 100000 + i * 1000, count_timer, NULL, &id), 0);

    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    the_loop = NULL;

    ck_assert_uint_eq(tasks_run, TASKS);
    ck_assert_uint_eq(timers_run, 0);
    ck_assert_uint_eq(connections_down(), LIVE);
}
END_TEST

/* A task of a task runs or is refused; neither leaks nor hangs. */
START_TEST(a_loop_can_be_destroyed_while_tasks_queue_others)
{
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(jd_event_loop_queue_in_loop(the_loop, queue_another, NULL), 0);

    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    the_loop = NULL;

    ck_assert_uint_ge(tasks_run, 100);
    ck_assert_uint_le(tasks_run, 200);
}
END_TEST

static void queue_forever(void *arg)
{
    tasks_run++;
    jd_event_loop_queue_in_loop(the_loop, queue_forever, NULL);
}

START_TEST(a_loop_can_be_destroyed_although_a_task_queues_itself)
{
    ck_assert_int_eq(jd_event_loop_queue_in_loop(the_loop, queue_forever, NULL), 0);
    pump_turns(3);

    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    the_loop = NULL;

    ck_assert_uint_ge(tasks_run, 3);
}
END_TEST

static void respond_at_up(jd_tcp_connection *connection, void *arg)
{
    static const char data[2 * MIB];

    ck_assert_int_eq(jd_tcp_connection_send(connection, data, sizeof(data)), 0);
}

START_TEST(a_loop_can_be_destroyed_with_output_and_input_in_flight)
{
    serve(&(struct service){ .options.send_buffer_bytes = 4 * KIB, .on_up = respond_at_up });
    for (int i = 0; i < LIVE; i++)
        client_send_some(client_connect_up(), "many bytes", 10);
    pump_turns((unsigned)_i);

    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    the_loop = NULL;

    ck_assert_uint_eq(connections_down(), LIVE);
}
END_TEST

static bool wait_is_broken;

static int wait_that_breaks(struct engine *engine, int64_t timeout_ns)
{
    if (!wait_is_broken)
        return engine_under_test()->wait(engine, timeout_ns);
    event_loop_woke(engine->loop);
    return -EIO;
}

/* The Reactor needs no events to let go of anything; an engine that does gets some time, and another chance. */
START_TEST(destroying_a_loop_that_cannot_wait_any_more_comes_to_an_end)
{
    struct engine_ops ops = *engine_under_test();
    ops.wait = wait_that_breaks;
    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    ck_assert_int_eq(event_loop_create_on(&the_loop, NULL, &ops), 0);
    serve(&(struct service){ .on_message = echo });
    client_connect_up();

    wait_is_broken = true;
    if (engine_is("reactor")) {
        ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    } else {
        ck_assert_int_eq(jd_event_loop_destroy(the_loop), -EIO);
        wait_is_broken = false;
        ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    }

    the_loop = NULL;
    ck_assert_uint_eq(connections_down(), 1);
}
END_TEST

START_TEST(there_may_be_255_loops_and_no_more)
{
    enum { LOOPS = 255 };
    jd_event_loop *loops[LOOPS], *beyond;

    loops[0] = the_loop;
    for (int i = 1; i < LOOPS; i++)
        loops[i] = make_loop(NULL);
    ck_assert_int_eq(event_loop_create_on(&beyond, NULL, engine_under_test()), JD_EMFILE);
    for (int i = 1; i < LOOPS; i++)
        ck_assert_int_eq(jd_event_loop_destroy(loops[i]), 0);
    for (int i = 0; i < 2 * LOOPS; i++)
        ck_assert_int_eq(jd_event_loop_destroy(make_loop(NULL)), 0);
}
END_TEST

START_TEST(one_thread_may_step_several_loops)
{
    jd_event_loop *first = the_loop, *second = make_loop(NULL);
    jd_endpoint one, other;
    serve(&(struct service){ .on_message = echo });
    one = *server_endpoint();
    the_loop = second;
    serve(&(struct service){ .on_message = echo });
    other = *server_endpoint();
    int client_of_one = client_connect_to(&one), client_of_other = client_connect_to(&other);

    for (int i = 0; i < 10; i++) {
        the_loop = first;
        client_send(client_of_one, "one", 3);
        client_expect(client_of_one, "one", 3);
        the_loop = second;
        client_send(client_of_other, "other", 5);
        client_expect(client_of_other, "other", 5);
    }

    ck_assert_int_eq(jd_event_loop_destroy(second), 0);
    the_loop = first;
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "stopping");

    tcase_add_loop_test(tests, destroying_a_server_closes_its_connections_then_says_that_it_is_done, 0, 3);
    tcase_add_loop_test(tests, a_server_may_be_stopped_or_destroyed_by_its_thread_init_callback, 0, 2);
    tcase_add_test(tests, a_stopped_server_refuses_connections_and_a_stopping_one_does_not_start);
    tcase_add_test(tests, a_server_never_started_can_be_destroyed);
    tcase_add_loop_test(tests, connections_waiting_to_be_accepted_end_with_the_server, 0, 4);
    tcase_add_test(tests, the_stop_callback_may_destroy_the_server);
    tcase_add_loop_test(tests, the_stop_callback_may_use_a_server_that_is_being_destroyed, 0, 2);
    tcase_add_test(tests, what_the_io_loops_counted_outlasts_them);
    tcase_add_test(tests, draining_ends_the_idle_at_once_the_read_when_sent_and_the_rest_at_the_deadline);
    tcase_add_test(tests, at_the_drain_deadline_slow_connections_are_closed);
    tcase_add_test(tests, draining_works_on_io_threads_too);
    tcase_add_loop_test(tests, destroying_a_loop_ends_servers_connections_and_timers_and_runs_tasks_once, 0, 3);
    tcase_add_test(tests, a_loop_can_be_destroyed_while_tasks_queue_others);
    tcase_add_test(tests, a_loop_can_be_destroyed_although_a_task_queues_itself);
    tcase_add_loop_test(tests, a_loop_can_be_destroyed_with_output_and_input_in_flight, 0, 8);
    tcase_add_test(tests, destroying_a_loop_that_cannot_wait_any_more_comes_to_an_end);
    tcase_add_test(tests, there_may_be_255_loops_and_no_more);
    tcase_add_test(tests, one_thread_may_step_several_loops);
}
