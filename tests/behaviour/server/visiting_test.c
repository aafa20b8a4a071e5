/* Visiting all connections of a server, whatever happens to them meanwhile. */
#include "net/loop/event_loop.h"
#include "tests/behaviour/harness.h"

#include <pthread.h>
#include <string.h>

const char *const suite_name = "visiting";

enum { CROWD = 30 };

static const unsigned thread_counts[] = { 0, 1, 3 };

static _Atomic unsigned visits, wrong_threads, wrong_servers;
static unsigned done_count, visits_when_done;

static void greet(jd_tcp_connection *connection, void *arg)
{
    wrong_threads += !jd_event_loop_is_in_loop_thread(jd_tcp_connection_loop(connection));
    wrong_servers += jd_tcp_connection_context(connection) != NULL;
    if (jd_tcp_connection_send(connection, arg, strlen(arg)) < 0)
        wrong_servers++;
    visits++;
}

static void note_done(void *arg)
{
    wrong_threads += !jd_event_loop_is_in_loop_thread(arg);
    done_count++;
    visits_when_done = visits;
}

static void mark(jd_tcp_connection *connection, void *arg)
{
    jd_tcp_connection_set_context(connection, the_loop, NULL);
}

static void *visit(void *server)
{
    static char greeting[] = "hello";

    return jd_tcp_server_for_each(server, greet, greeting, note_done, the_loop) == 0 ? NULL : server;
}

START_TEST(each_connection_of_the_server_is_visited_once_in_its_loops_thread)
{
    int clients[CROWD], other;
    pthread_t thread;
    void *failed = NULL;
    serve(&(struct service){ .on_up = mark }); /* another server's are left alone */
    other = client_connect_up();
    jd_tcp_server *server = serve(&(struct service){ .options.io_threads = thread_counts[_i / 2] });
    for (int i = 0; i < CROWD; i++)
        clients[i] = client_connect_up();

    if (_i % 2 == 0) {
        failed = visit(server);
        ck_assert_uint_eq(visits + done_count, 0);
    } else {
        ck_assert_int_eq(pthread_create(&thread, NULL, visit, server), 0);
        pthread_join(thread, &failed);
    }

    ck_assert_ptr_null(failed);
    PUMP_UNTIL(done_count == 1);
    ck_assert_uint_eq(visits_when_done, CROWD);
    for (int i = 0; i < CROWD; i++)
        client_expect(clients[i], "hello", 5);
    pump_until_quiet();
    ck_assert_uint_eq(done_count, 1);
    ck_assert_uint_eq(visits, CROWD);
    ck_assert_uint_eq(wrong_threads + wrong_servers, 0);
    ck_assert_int_lt(client_receive_some(other, &(char){ 0 }, 1), 0);
}
END_TEST

enum { MANY = 1500 };

START_TEST(more_connections_than_fit_a_turn_are_all_visited)
{
    jd_tcp_server *server = serve(&(struct service){ .options = { .io_threads = (unsigned)_i } });
    for (int i = 0; i < MANY; i++) {
        client_connect();
        if (i % 100 == 0)
            PUMP_UNTIL(connections_up() == (unsigned)i + 1);
    }
    PUMP_UNTIL(connections_up() == MANY);

    ck_assert_ptr_null(visit(server));

    PUMP_UNTIL(done_count == 1);
    ck_assert_uint_eq(visits_when_done, MANY);
}
END_TEST

static void close_it(jd_tcp_connection *connection, void *arg)
{
    visits++;
    if (jd_tcp_connection_close(connection) < 0)
        wrong_servers++;
}

START_TEST(a_visit_may_close_what_it_visits)
{
    jd_tcp_server *server = serve(&(struct service){ .options.io_threads = thread_counts[_i] });
    for (int i = 0; i < CROWD; i++)
        client_connect_up();

    ck_assert_int_eq(jd_tcp_server_for_each(server, close_it, NULL, note_done, the_loop), 0);

    PUMP_UNTIL(done_count == 1 && connections_down() == CROWD);
    ck_assert_uint_eq(visits, CROWD);
    /* No connection is left to be visited. */
    ck_assert_int_eq(jd_tcp_server_for_each(server, close_it, NULL, note_done, the_loop), 0);
    PUMP_UNTIL(done_count == 2);
    ck_assert_uint_eq(visits, CROWD);
    ck_assert_uint_eq(wrong_servers, 0);
}
END_TEST

static jd_tcp_connection *kept[CROWD];

static void keep(jd_tcp_connection *connection, void *arg)
{
    kept[connections_up()] = jd_tcp_connection_ref(connection);
}

static void reset_all(jd_tcp_connection *connection, void *arg)
{
    visits++;
    for (int i = 0; i < CROWD; i++)
        jd_tcp_connection_reset(kept[i]);
}

START_TEST(a_visit_may_close_all_others)
{
    jd_tcp_server *server = serve(&(struct service){ .on_up = keep });
    for (int i = 0; i < CROWD; i++)
        client_connect_up();

    ck_assert_int_eq(jd_tcp_server_for_each(server, reset_all, NULL, note_done, the_loop), 0);

    PUMP_UNTIL(done_count == 1 && connections_down() == CROWD);
    ck_assert_uint_eq(visits, 1);
    for (int i = 0; i < CROWD; i++)
        jd_tcp_connection_unref(kept[i]);
}
END_TEST

static void destroy_server(jd_tcp_connection *connection, void *arg)
{
    visits++;
    jd_tcp_server_destroy(arg, NULL, NULL);
}

START_TEST(a_visit_may_destroy_the_server)
{
    jd_tcp_server *server = serve(&(struct service){ .options.io_threads = thread_counts[_i] });
    for (int i = 0; i < CROWD; i++)
        client_connect_up();

    ck_assert_int_eq(jd_tcp_server_for_each(server, destroy_server, server, note_done, the_loop), 0);

    PUMP_UNTIL(done_count == 1 && connections_down() == CROWD);
    ck_assert_uint_ge(visits, 1);
}
END_TEST

START_TEST(a_visit_of_a_server_that_is_ending_is_done_too)
{
    jd_tcp_server *server = serve(&(struct service){ .options.io_threads = thread_counts[_i] });
    for (int i = 0; i < CROWD; i++)
        client_connect_up();

    ck_assert_ptr_null(visit(server));
    jd_tcp_server_destroy(server, NULL, NULL);

    PUMP_UNTIL(done_count == 1 && connections_down() == CROWD);
}
END_TEST

START_TEST(a_server_without_connections_has_none_to_visit)
{
    jd_tcp_server *never_started = make_server(&(struct service){ .options.io_threads = thread_counts[_i] });
    jd_tcp_server *stopped = serve(&(struct service){ .options.io_threads = thread_counts[_i] });

    ck_assert_ptr_null(visit(never_started));
    PUMP_UNTIL(done_count == 1);
    ck_assert_int_eq(jd_tcp_server_stop(stopped, 0, note_done, the_loop), 0);
    PUMP_UNTIL(done_count == 2);
    ck_assert_ptr_null(visit(stopped));
    PUMP_UNTIL(done_count == 3);
    ck_assert_uint_eq(visits, 0);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "visiting");

    tcase_add_loop_test(tests, each_connection_of_the_server_is_visited_once_in_its_loops_thread, 0, 6);
    tcase_add_loop_test(tests, more_connections_than_fit_a_turn_are_all_visited, 0, 2);
    tcase_add_loop_test(tests, a_visit_may_close_what_it_visits, 0, 3);
    tcase_add_test(tests, a_visit_may_close_all_others);
    tcase_add_loop_test(tests, a_visit_may_destroy_the_server, 0, 3);
    tcase_add_loop_test(tests, a_visit_of_a_server_that_is_ending_is_done_too, 0, 3);
    tcase_add_loop_test(tests, a_server_without_connections_has_none_to_visit, 0, 3);
}
