/* A server that has stopped starts again, as if it were new, but at the same endpoints and with its counts; and what begins
 * in each thread with it also ends with it. */
#include "base/endpoint.h"
#include "tests/behaviour/harness.h"

#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

const char *const suite_name = "restarting";

/* A peer that does not end its side is waited for, where an engine reports output late: not for long. */
enum { ROUNDS = 3, DRAIN_MS = 200, NEVER_MS = 3600 * 1000 };

static unsigned done_count;

static void note_done(void *arg)
{
    done_count++;
}

static void stop(jd_tcp_server *server, uint64_t drain_ms)
{
    unsigned before = done_count;

    ck_assert_int_eq(jd_tcp_server_stop(server, drain_ms, note_done, NULL), 0);
    PUMP_UNTIL(done_count == before + 1);
}

static void expect_service_at(const jd_endpoint *endpoint)
{
    int client = client_connect_to(endpoint);

    client_send(client, "x", 1);
    client_expect(client, "x", 1);
}

static bool is_refused(const jd_endpoint *endpoint)
{
    int probe = socket(endpoint_sockaddr(endpoint)->sa_family, SOCK_STREAM, 0);
    bool refused =
        connect(probe, endpoint_sockaddr(endpoint), endpoint->length) < 0 && (errno == ECONNREFUSED || errno == ENOENT);

    close(probe);
    return refused;
}

/* ---- restarts ---- */

static const struct restart {
    unsigned threads;
    bool reuse_port;
    const char *unix_prefix; /* NULL: TCP */
} restarts[] = { { 0, false, NULL }, { 2, false, NULL }, { 2, true, NULL }, { 0, false, "/tmp/jinduo-test-" } };

enum { RESTARTS = sizeof(restarts) / sizeof(restarts[0]) };

START_TEST(a_stopped_server_serves_again_at_the_same_endpoint)
{
    const struct restart *restart = &restarts[_i];
    jd_endpoint endpoint, again;
    jd_tcp_server *server = make_server(
        &(struct service){ .options = { .listen = restart->unix_prefix != NULL ? own_unix_endpoint(restart->unix_prefix)
                                                                               : own_tcp_endpoint(0),
                                        .io_threads = restart->threads,
                                        .reuse_port = restart->reuse_port },
                           .on_message = echo });

    for (unsigned round = 0; round < ROUNDS; round++) {
        start_server(server);
        if (round == 0)
            endpoint = endpoint_of(server);
        again = endpoint_of(server);
        ck_assert(jd_endpoint_equal(&again, &endpoint));
        expect_service_at(&endpoint);
        expect_service_at(&endpoint);
        ck_assert_uint_eq(jd_tcp_server_connection_count(server), 2);

        stop(server, round % 2 == 0 ? 0 : DRAIN_MS);

        ck_assert(is_refused(&endpoint));
        ck_assert_uint_eq(jd_tcp_server_connection_count(server), 0);
        ck_assert_uint_eq(connections_down(), 2 * (round + 1));
        again = endpoint_of(server);
        ck_assert(jd_endpoint_equal(&again, &endpoint));
    }
}
END_TEST

START_TEST(the_statistics_go_on)
{
    jd_tcp_server *server = make_server(&(struct service){ .options.io_threads = (unsigned)_i, .on_message = echo });
    jd_event_loop_statistics now;

    for (unsigned round = 1; round <= ROUNDS; round++) {
        start_server(server);
        jd_endpoint endpoint = endpoint_of(server);
        expect_service_at(&endpoint);
        jd_tcp_server_get_statistics(server, &now);
        ck_assert_uint_eq(now.connections_accepted, round);
        ck_assert_uint_eq(now.connections_opened, round);
        ck_assert_uint_eq(now.connections_open, 1);
        stop(server, 0);
        jd_tcp_server_get_statistics(server, &now);
        ck_assert_uint_eq(now.connections_closed, round);
        ck_assert_uint_eq(now.connections_open, 0);
        ck_assert_uint_eq(now.bytes_received, round);
    }
}
END_TEST

START_TEST(a_full_server_admits_connections_again)
{
    jd_tcp_server *server = make_server(&(struct service){
        .options = { .max_connections = 1, .refuse_above_max = _i % 2 == 1, .io_threads = _i < 2 ? 0 : 2 },
        .on_message = echo });

    for (unsigned round = 1; round <= ROUNDS; round++) {
        start_server(server);
        jd_endpoint endpoint = endpoint_of(server);
        /* At once, so that an engine may have accepted more than one before it can be paused: they wait, or are refused. */
        jd_tcp_server_pause_accepting(server);
        for (int i = 0; i < 3; i++)
            client_connect_to(&endpoint);
        jd_tcp_server_resume_accepting(server);
        PUMP_UNTIL(connections_up() == round);
        pump_until_quiet();
        ck_assert_uint_eq(connections_up(), round);
        jd_event_loop_statistics now;
        jd_tcp_server_get_statistics(server, &now);
        ck_assert_uint_eq(now.connections_refused, _i % 2 == 1 ? 2 * round : 0);
        stop(server, 0);
        ck_assert_uint_eq(connections_down(), round);
    }
}
END_TEST

START_TEST(a_server_paused_when_it_stops_starts_paused)
{
    jd_tcp_server *server = serve(&(struct service){ .on_message = echo });
    jd_endpoint endpoint = endpoint_of(server);
    jd_tcp_server_pause_accepting(server);
    stop(server, 0);
    start_server(server);
    int client = client_connect_to(&endpoint);
    client_send(client, "x", 1);
    pump_until_quiet();
    ck_assert_uint_eq(connections_up(), 0);

    jd_tcp_server_resume_accepting(server);

    client_expect(client, "x", 1);
}
END_TEST

START_TEST(an_endpoint_added_while_the_server_ran_or_was_stopped_is_served_too)
{
    jd_endpoint any = endpoint_of(serve(&(struct service){ 0 })), first, second, third;
    jd_tcp_server *server = serve(&(struct service){ .on_message = echo });
    ck_assert_int_eq(jd_endpoint_parse(&any, "127.0.0.1:0", NULL), 0);
    ck_assert_int_eq(jd_tcp_server_listen(server, &any, &first), 0);
    stop(server, 0);
    ck_assert_int_eq(jd_tcp_server_listen(server, &any, NULL), 0);

    start_server(server);

    ck_assert_uint_eq(jd_tcp_server_endpoint_count(server), 3);
    ck_assert_int_eq(jd_tcp_server_endpoint(server, 1, &second), 0);
    ck_assert(jd_endpoint_equal(&second, &first));
    ck_assert_int_eq(jd_tcp_server_endpoint(server, 2, &third), 0);
    expect_service_at(&second);
    expect_service_at(&third);
}
END_TEST

START_TEST(a_restart_that_fails_changes_nothing)
{
    jd_endpoint endpoint, failed = { 0 }, again;
    char text[JD_ENDPOINT_TEXT_BYTES];
    struct service service = { .options = { .listen = own_tcp_endpoint(0), .io_threads = (unsigned)_i },
                               .on_message = echo };
    jd_tcp_server *server = serve(&service);
    endpoint = endpoint_of(server);
    jd_endpoint_format(&endpoint, text, sizeof(text));
    stop(server, 0);
    service.options.listen = text;
    jd_tcp_server *taker = serve(&service);

    ck_assert_int_eq(jd_tcp_server_start(server, &failed), JD_EADDRINUSE);
    ck_assert(jd_endpoint_equal(&failed, &endpoint));
    ck_assert_int_eq(jd_tcp_server_stop(server, 0, note_done, NULL), JD_EALREADY);
    stop(taker, 0);
    start_server(server);

    again = endpoint_of(server);
    ck_assert(jd_endpoint_equal(&again, &endpoint));
    expect_service_at(&endpoint);
}
END_TEST

static jd_tcp_server *restarted;
static unsigned starts_left = ROUNDS;

static void start_again(void *arg)
{
    done_count++;
    if (--starts_left == 0)
        return;
    ck_assert_int_eq(jd_tcp_server_start(restarted, NULL), 0);
    ck_assert_int_eq(jd_tcp_server_stop(restarted, 0, start_again, NULL), 0);
}

START_TEST(the_stop_callback_may_start_the_server_again)
{
    restarted = serve(&(struct service){ .options.io_threads = (unsigned)_i, .on_message = echo });
    ck_assert_int_eq(jd_tcp_server_stop(restarted, 0, start_again, NULL), 0);

    PUMP_UNTIL(done_count == ROUNDS);

    start_server(restarted);
    jd_endpoint endpoint = endpoint_of(restarted);
    expect_service_at(&endpoint);
}
END_TEST

START_TEST(a_server_may_be_destroyed_in_any_state_of_its_later_lives)
{
    jd_tcp_server *server = serve(&(struct service){ .options.io_threads = 2, .on_message = echo });
    stop(server, 0);
    if (_i > 0)
        start_server(server);
    if (_i > 1)
        ck_assert_int_eq(jd_tcp_server_stop(server, NEVER_MS, NULL, NULL), 0);
    unsigned before = done_count;

    jd_tcp_server_destroy(server, note_done, NULL);
    ck_assert_int_eq(jd_tcp_server_start(server, NULL), JD_EALREADY);

    PUMP_UNTIL(done_count == before + 1);
}
END_TEST

static void upper_case(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    jd_buffer_consume(input, SIZE_MAX);
    ck_assert_int_eq(jd_tcp_connection_send(connection, "X", 1), 0);
}

START_TEST(a_stopped_server_takes_other_callbacks)
{
    jd_tcp_server *server = serve(&(struct service){ .on_message = echo });
    jd_endpoint endpoint = endpoint_of(server);
    expect_service_at(&endpoint);
    stop(server, 0);
    jd_tcp_server_set_message_callback(server, upper_case, NULL);
    start_server(server);

    int client = client_connect_to(&endpoint);
    client_send(client, "x", 1);

    client_expect(client, "X", 1);
}
END_TEST

/* ---- threads ---- */

static struct thread_record {
    jd_event_loop *loop;
    pthread_t thread;
    jd_timer_id timer;
} records[8];

static _Atomic unsigned inits, exits, wrong;
static pthread_mutex_t records_lock = PTHREAD_MUTEX_INITIALIZER;

static void never_run(void *arg)
{
    wrong++;
}

static void begin_in_thread(jd_event_loop *loop, void *arg)
{
    unsigned index = inits++;

    pthread_mutex_lock(&records_lock);
    records[index].loop = loop;
    records[index].thread = pthread_self();
    wrong += jd_event_loop_run_after(loop, NEVER_MS, never_run, NULL, &records[index].timer) < 0;
    pthread_mutex_unlock(&records_lock);
}

static void end_in_thread(jd_event_loop *loop, void *arg)
{
    struct thread_record *record = NULL;

    exits++;
    pthread_mutex_lock(&records_lock);
    for (unsigned i = 0; i < inits; i++)
        if (records[i].loop == loop)
            record = &records[i];
    wrong += record == NULL || !pthread_equal(record->thread, pthread_self()) ||
             !jd_event_loop_is_in_loop_thread(loop) || connections_up() != connections_down() ||
             jd_event_loop_cancel_timer(loop, record->timer) != 0;
    if (record != NULL)
        record->loop = NULL; /* another may get its memory */
    pthread_mutex_unlock(&records_lock);
}

START_TEST(each_thread_ends_with_the_exit_callback_when_its_connections_are_down)
{
    unsigned per_start = _i == 0 ? 1 : (unsigned)_i;
    jd_tcp_server *server = make_server(&(struct service){ .options.io_threads = (unsigned)_i,
                                                           .on_message = echo,
                                                           .on_thread_init = begin_in_thread,
                                                           .on_thread_exit = end_in_thread });
    for (unsigned round = 1; round <= 2; round++) {
        start_server(server);
        jd_endpoint endpoint = endpoint_of(server);
        expect_service_at(&endpoint);
        ck_assert_uint_eq(inits, round * per_start);
        ck_assert_uint_eq(exits, (round - 1) * per_start);

        stop(server, round == 1 ? 0 : DRAIN_MS);

        ck_assert_uint_eq(exits, round * per_start);
    }
    ck_assert_uint_eq(wrong, 0);
}
END_TEST

START_TEST(the_exit_callback_comes_when_the_loop_is_destroyed_too)
{
    serve(&(struct service){ .options.io_threads = (unsigned)_i,
                             .on_message = echo,
                             .on_thread_init = begin_in_thread,
                             .on_thread_exit = end_in_thread });
    client_connect_up();

    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);

    the_loop = NULL;
    ck_assert_uint_eq(exits, inits);
    ck_assert_uint_eq(wrong, 0);
}
END_TEST

START_TEST(a_server_that_never_served_has_nothing_to_end)
{
    jd_tcp_server *server = make_server(&(struct service){ .on_thread_exit = end_in_thread });

    jd_tcp_server_destroy(server, note_done, NULL);

    PUMP_UNTIL(done_count == 1);
    ck_assert_uint_eq(exits, 0);
}
END_TEST

static jd_tcp_server *ending;

static void destroy_at_exit(jd_event_loop *loop, void *arg)
{
    exits++;
    jd_tcp_server_destroy(ending, note_done, NULL);
}

START_TEST(the_exit_callback_may_destroy_the_server)
{
    ending = serve(&(struct service){ .options.io_threads = (unsigned)_i, .on_thread_exit = destroy_at_exit });

    ck_assert_int_eq(jd_tcp_server_stop(ending, 0, NULL, NULL), 0);

    PUMP_UNTIL(done_count == 1);
    ck_assert_uint_eq(exits, 1);
}
END_TEST

START_TEST(a_server_knows_its_loop)
{
    ck_assert_ptr_eq(jd_tcp_server_loop(serve(&(struct service){ 0 })), the_loop);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "restarting");

    tcase_add_loop_test(tests, a_stopped_server_serves_again_at_the_same_endpoint, 0, RESTARTS);
    tcase_add_loop_test(tests, the_statistics_go_on, 0, 3);
    tcase_add_loop_test(tests, a_full_server_admits_connections_again, 0, 4);
    tcase_add_test(tests, a_server_paused_when_it_stops_starts_paused);
    tcase_add_test(tests, an_endpoint_added_while_the_server_ran_or_was_stopped_is_served_too);
    tcase_add_loop_test(tests, a_restart_that_fails_changes_nothing, 0, 3);
    tcase_add_loop_test(tests, the_stop_callback_may_start_the_server_again, 0, 3);
    tcase_add_loop_test(tests, a_server_may_be_destroyed_in_any_state_of_its_later_lives, 0, 3);
    tcase_add_test(tests, a_stopped_server_takes_other_callbacks);
    tcase_add_loop_test(tests, each_thread_ends_with_the_exit_callback_when_its_connections_are_down, 0, 3);
    tcase_add_loop_test(tests, the_exit_callback_comes_when_the_loop_is_destroyed_too, 0, 3);
    tcase_add_test(tests, a_server_that_never_served_has_nothing_to_end);
    tcase_add_loop_test(tests, the_exit_callback_may_destroy_the_server, 0, 2);
    tcase_add_test(tests, a_server_knows_its_loop);
}
