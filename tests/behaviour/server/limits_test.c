/* How many connections are accepted, and when: pausing to accept, and a limit on their number, exact whatever the number of
 * threads. */
#include "base/endpoint.h"
#include "net/loop/event_loop.h"
#include "tests/behaviour/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

const char *const suite_name = "limits";

enum { LIMIT = 5, CROWD = 12 };

/* On its own loop; with io threads; with io threads that accept by themselves. */
static const struct {
    unsigned io_threads;
    bool reuse_port;
} setups[] = { { 0, false }, { 2, false }, { 3, true } };

enum { SETUPS = sizeof(setups) / sizeof(setups[0]) };

static struct service service_for(int setup)
{
    return (
        struct service){ .options = { .io_threads = setups[setup].io_threads, .reuse_port = setups[setup].reuse_port },
                         .on_message = echo };
}

static jd_event_loop_statistics of_server(jd_tcp_server *server)
{
    jd_event_loop_statistics now;

    jd_tcp_server_get_statistics(server, &now);
    return now;
}

static void expect_echo(int client)
{
    client_send(client, "x", 1);
    client_expect(client, "x", 1);
}

/* ---- pausing ---- */

/* The io loops have got to it when they have run a task queued behind it. */
static unsigned rounds_done;

static void note_round(void *arg)
{
    rounds_done++;
}

static void do_nothing(jd_tcp_connection *connection, void *arg)
{
}

/* Twice: orders reach the io loops by way of the server's own. */
static void let_orders_arrive(jd_tcp_server *server)
{
    for (int i = 0; i < 2; i++) {
        unsigned before = rounds_done;
        ck_assert_int_eq(jd_tcp_server_for_each(server, do_nothing, NULL, note_round, NULL), 0);
        PUMP_UNTIL(rounds_done == before + 1);
    }
}

START_TEST(while_accepting_is_paused_the_kernel_holds_connections_and_resume_serves_them)
{
    struct service service = service_for(_i);
    int connected, waiting[CROWD];
    jd_tcp_server *server = serve(&service);
    connected = client_connect_up();

    jd_tcp_server_pause_accepting(server);
    let_orders_arrive(server);
    for (int i = 0; i < CROWD; i++)
        waiting[i] = client_connect();
    expect_echo(connected);
    pump_until_quiet();
    ck_assert_uint_eq(connections_up(), 1);
    ck_assert_uint_eq(of_server(server).connections_accepted, 1);

    jd_tcp_server_resume_accepting(server);
    for (int i = 0; i < CROWD; i++)
        expect_echo(waiting[i]);
    ck_assert_uint_eq(connections_up(), 1 + CROWD);
}
END_TEST

START_TEST(a_server_may_start_paused)
{
    struct service service = service_for(_i);
    jd_tcp_server *server = make_server(&service);
    int client;

    jd_tcp_server_pause_accepting(server);
    start_server(server);
    client = client_connect();
    client_send(client, "x", 1);
    pump_until_quiet();
    let_orders_arrive(server);
    ck_assert_uint_eq(connections_up(), 0);

    jd_tcp_server_resume_accepting(server);
    client_expect(client, "x", 1);
}
END_TEST

static jd_tcp_server *to_pause;

static void pause_at_once(jd_tcp_connection *connection, void *arg)
{
    jd_tcp_server_pause_accepting(to_pause);
}

START_TEST(pausing_in_the_first_connections_callback_leaves_the_rest_to_the_kernel)
{
    to_pause = make_server(&(struct service){ .on_up = pause_at_once, .on_message = echo });
    start_server(to_pause);
    for (int i = 0; i < CROWD; i++)
        client_connect();

    PUMP_UNTIL(connections_up() > 0);
    pump_until_quiet();
    /* What an engine has accepted ahead comes up all the same. */
    ck_assert_uint_eq(connections_up(), of_server(to_pause).connections_accepted);
    if (engine_is("reactor"))
        ck_assert_uint_eq(connections_up(), 1);

    for (unsigned up = connections_up(); up < CROWD; up = connections_up()) {
        jd_tcp_server_resume_accepting(to_pause);
        PUMP_UNTIL(connections_up() > up);
    }
}
END_TEST

static _Atomic bool stop_flipping;

static void *flip(void *arg)
{
    jd_tcp_server *server = arg;

    while (!stop_flipping) {
        jd_tcp_server_pause_accepting(server);
        jd_tcp_server_resume_accepting(server);
        sched_yield();
    }
    return NULL;
}

START_TEST(another_thread_may_pause_and_resume_while_connections_come)
{
    struct service service = service_for(_i);
    jd_tcp_server *server = serve(&service);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, flip, server), 0);

    for (int i = 0; i < 10 * CROWD; i++) {
        int client = client_connect();
        expect_echo(client);
        client_close(client);
    }

    stop_flipping = true;
    pthread_join(thread, NULL);
    PUMP_UNTIL(connections_down() == 10 * CROWD);
}
END_TEST

static unsigned stops_done;

static void note_stop(void *arg)
{
    stops_done++;
}

START_TEST(a_paused_server_stops)
{
    struct service service = service_for(_i);
    jd_tcp_server *server = serve(&service);
    client_connect_up();
    jd_tcp_server_pause_accepting(server);
    let_orders_arrive(server);
    client_connect();

    ck_assert_int_eq(jd_tcp_server_stop(server, 1000, note_stop, NULL), 0);
    jd_tcp_server_resume_accepting(server);

    PUMP_UNTIL(stops_done == 1);
    ck_assert_uint_eq(connections_up(), 1);
    ck_assert_uint_eq(connections_down(), 1);
    jd_tcp_server_pause_accepting(server);
    pump_until_quiet();
}
END_TEST

/* ---- the limit ---- */

static _Atomic unsigned up_now, most_up;

static void count_up(jd_tcp_connection *connection, void *arg)
{
    unsigned now = ++up_now, most = most_up;

    while (now > most && !atomic_compare_exchange_weak(&most_up, &most, now))
        continue;
}

static void count_down(jd_tcp_connection *connection, void *arg)
{
    up_now--;
}

static struct service limited_service(int setup)
{
    struct service service = service_for(setup);

    service.options.max_connections = LIMIT;
    service.on_up = count_up;
    service.on_down = count_down;
    return service;
}

/* One of those still open that has its answer; or -1. */
static int find_answered(const int *clients)
{
    char byte;

    for (int i = 0; i < CROWD; i++)
        if (clients[i] >= 0 && client_receive_some(clients[i], &byte, 1) == 1)
            return i;
    return -1;
}

START_TEST(at_the_limit_connections_wait_until_others_have_gone)
{
    struct service service = limited_service(_i);
    int clients[CROWD];
    jd_tcp_server *server = serve(&service);
    for (int i = 0; i < CROWD; i++) {
        clients[i] = client_connect();
        client_send(clients[i], "x", 1);
    }

    PUMP_UNTIL(connections_up() == LIMIT);
    pump_until_quiet();
    let_orders_arrive(server);
    ck_assert_uint_eq(connections_up(), LIMIT);
    /* The kernel holds the others, but for one that each of several listening loops may find out with. */
    if (engine_is("reactor"))
        ck_assert_uint_le(of_server(server).connections_accepted,
                          LIMIT + (setups[_i].reuse_port ? setups[_i].io_threads : 0));

    /* Of those that wait any may be next. */
    for (int left = CROWD; left > 0; left--) {
        int answered = -1;
        PUMP_UNTIL((answered = find_answered(clients)) >= 0);
        client_close(clients[answered]);
        clients[answered] = -1;
    }

    PUMP_UNTIL(connections_down() == CROWD);
    ck_assert_uint_eq(most_up, LIMIT);
    ck_assert_uint_eq(of_server(server).connections_refused, 0);
}
END_TEST

/* Connects, and expects a reset. With io threads that accept by themselves the reset may arrive before connect(2) returns:
 * then connect fails with it. */
static void expect_refused(void)
{
    const jd_endpoint *endpoint = server_endpoint();
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(client, 0);
    client_adopt(client);
    if (connect(client, endpoint_sockaddr(endpoint), endpoint->length) < 0) {
        ck_assert_int_eq(errno, ECONNRESET);
        return;
    }
    ck_assert_int_eq(fcntl(client, F_SETFL, O_NONBLOCK), 0);
    client_expect_reset(client);
}

START_TEST(beyond_the_limit_connections_are_reset_when_so_asked)
{
    struct service service = limited_service(_i);
    int clients[LIMIT];
    jd_tcp_server *server;
    service.options.refuse_above_max = true;
    server = serve(&service);
    for (int i = 0; i < LIMIT; i++)
        clients[i] = client_connect_up();

    for (int i = 0; i < CROWD; i++)
        expect_refused();
    ck_assert_uint_eq(of_server(server).connections_refused, CROWD);
    ck_assert_uint_eq(of_server(server).connections_accepted, LIMIT + CROWD);
    ck_assert_uint_eq(connections_up(), LIMIT);

    /* A place that is free again is given away: behind the callback, in the connection's thread. */
    client_close(clients[0]);
    PUMP_UNTIL(connections_down() == 1);
    let_orders_arrive(server);
    expect_echo(client_connect_up());
    expect_refused();
}
END_TEST

static void *come_and_go(void *arg)
{
    const jd_endpoint *endpoint = arg;

    for (int i = 0; i < 100; i++) {
        int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        char byte = 'x';
        if (connect(client, (const struct sockaddr *)endpoint->address.bytes, endpoint->length) == 0 &&
            send(client, &byte, 1, MSG_NOSIGNAL) == 1)
            recv(client, &byte, 1, 0);
        close(client);
    }
    return NULL;
}

static _Atomic unsigned crowds_done;

static void *crowd(void *arg)
{
    come_and_go(arg);
    crowds_done++;
    return NULL;
}

START_TEST(the_limit_is_exact_with_several_threads_accepting)
{
    enum { CROWDS = 8 };
    struct service service = limited_service(_i);
    pthread_t threads[CROWDS];
    jd_endpoint endpoint;
    serve(&service);
    endpoint = *server_endpoint();

    for (int i = 0; i < CROWDS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, crowd, &endpoint), 0);
    PUMP_UNTIL(crowds_done == CROWDS);
    for (int i = 0; i < CROWDS; i++)
        pthread_join(threads[i], NULL);

    PUMP_UNTIL(connections_down() == CROWDS * 100);
    ck_assert_uint_le(most_up, LIMIT);
    ck_assert_uint_ge(most_up, 1);
}
END_TEST

START_TEST(a_full_server_stops_with_connections_waiting)
{
    struct service service = limited_service(_i / 2);
    jd_tcp_server *server = serve(&service);
    for (int i = 0; i < CROWD; i++)
        client_connect();
    PUMP_UNTIL(connections_up() == LIMIT);

    ck_assert_int_eq(jd_tcp_server_stop(server, _i % 2 == 0 ? 0 : 1000, note_stop, NULL), 0);

    PUMP_UNTIL(stops_done == 1);
    ck_assert_uint_eq(connections_down(), connections_up());
    ck_assert_uint_le(most_up, LIMIT);
}
END_TEST

START_TEST(a_limit_of_one_serves_one_after_the_other)
{
    struct service service = limited_service(_i);
    service.options.max_connections = 1;
    serve(&service);

    for (int i = 0; i < CROWD; i++) {
        int client = client_connect();
        expect_echo(client);
        client_reset(client);
    }

    PUMP_UNTIL(connections_down() == CROWD);
    ck_assert_uint_eq(most_up, 1);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "limits");

    tcase_add_loop_test(tests, while_accepting_is_paused_the_kernel_holds_connections_and_resume_serves_them, 0,
                        SETUPS);
    tcase_add_loop_test(tests, a_server_may_start_paused, 0, SETUPS);
    tcase_add_test(tests, pausing_in_the_first_connections_callback_leaves_the_rest_to_the_kernel);
    tcase_add_loop_test(tests, another_thread_may_pause_and_resume_while_connections_come, 0, SETUPS);
    tcase_add_loop_test(tests, a_paused_server_stops, 0, SETUPS);
    tcase_add_loop_test(tests, at_the_limit_connections_wait_until_others_have_gone, 0, SETUPS);
    tcase_add_loop_test(tests, beyond_the_limit_connections_are_reset_when_so_asked, 0, SETUPS);
    tcase_add_loop_test(tests, the_limit_is_exact_with_several_threads_accepting, 0, SETUPS);
    tcase_add_loop_test(tests, a_full_server_stops_with_connections_waiting, 0, 2 * SETUPS);
    tcase_add_loop_test(tests, a_limit_of_one_serves_one_after_the_other, 0, SETUPS);
}
