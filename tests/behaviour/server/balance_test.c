/* On which loop a connection lives: the hand-over policies, io loops that listen by themselves, and their threads' start. */
#include "base/endpoint.h"
#include "net/loop/event_loop.h"
#include "tests/behaviour/harness.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

const char *const suite_name = "balance";

enum { THREADS = 3, CROWD = 64 };

/* The loop of each connection, in the order of up; and all that there are. */
static jd_event_loop *loop_of[CROWD];
static _Atomic unsigned noted, placed;

static void note_loop(jd_tcp_connection *connection, void *arg)
{
    loop_of[noted++] = jd_tcp_connection_loop(connection);
    placed++;
}

/* So that the n-th client is on loop_of[n]. */
static int connect_one(void)
{
    unsigned before = placed;
    int client = client_connect();

    PUMP_UNTIL(placed == before + 1);
    return client;
}

static jd_event_loop *connect_and_see_the_loop(void)
{
    connect_one();
    return loop_of[placed - 1];
}

static unsigned count_on(const jd_event_loop *loop)
{
    unsigned count = 0;

    for (unsigned i = 0; i < placed; i++)
        count += loop_of[i] == loop;
    return count;
}

static unsigned distinct_loops(void)
{
    unsigned count = 0;

    for (unsigned i = 0; i < placed; i++) {
        unsigned first = 0;
        while (loop_of[first] != loop_of[i])
            first++;
        count += first == i;
    }
    return count;
}

static jd_endpoint parsed(const char *text)
{
    jd_endpoint endpoint;

    ck_assert_int_eq(jd_endpoint_parse(&endpoint, text, NULL), 0);
    return endpoint;
}

/* ---- least connections ---- */

START_TEST(the_loop_with_the_fewest_connections_gets_the_next)
{
    int clients[2 * THREADS];
    unsigned closed;
    serve(&(struct service){ .options = { .io_threads = THREADS, .load_balance = JD_LOAD_BALANCE_LEAST_CONNECTIONS },
                             .on_up = note_loop });
    for (int i = 0; i < 2 * THREADS; i++)
        clients[i] = connect_one();
    for (int i = 0; i < THREADS; i++)
        ck_assert_uint_eq(count_on(loop_of[i]), 2);

    /* Both of one loop's go: the next two are its own. In turn, they would go to two loops. */
    closed = 1;
    client_close(clients[closed]);
    client_close(clients[closed + THREADS]);
    ck_assert_ptr_eq(loop_of[closed], loop_of[closed + THREADS]);
    PUMP_UNTIL(connections_down() == 2);

    ck_assert_ptr_eq(connect_and_see_the_loop(), loop_of[closed]);
    ck_assert_ptr_eq(connect_and_see_the_loop(), loop_of[closed]);
    connect_and_see_the_loop();
    connect_and_see_the_loop();
    connect_and_see_the_loop();
    ck_assert_uint_eq(count_on(loop_of[0]) + count_on(loop_of[1]) + count_on(loop_of[2]), 2 * THREADS + 5);
    ck_assert_uint_eq(count_on(loop_of[0]), 3);
    ck_assert_uint_eq(count_on(loop_of[2]), 3);
}
END_TEST

static sem_t may_go_on;
static _Atomic bool is_blocked;

static void block_the_first(jd_tcp_connection *connection, void *arg)
{
    note_loop(connection, arg);
    if (placed == 1) {
        is_blocked = true;
        while (sem_wait(&may_go_on) < 0)
            continue;
    }
}

START_TEST(connections_on_their_way_to_a_busy_loop_count)
{
    ck_assert_int_eq(sem_init(&may_go_on, 0, 0), 0);
    serve(&(struct service){ .options = { .io_threads = 2, .load_balance = JD_LOAD_BALANCE_LEAST_CONNECTIONS },
                             .on_up = block_the_first });
    client_connect();
    PUMP_UNTIL(is_blocked);

    for (int i = 0; i < 7; i++)
        client_connect();
    PUMP_UNTIL(placed == 5); /* the first, and the other loop's share */
    PUMP_UNTIL(statistics().connections_accepted == 8);
    ck_assert_int_eq(sem_post(&may_go_on), 0);

    PUMP_UNTIL(placed == 8);
    ck_assert_uint_eq(count_on(loop_of[0]), 4);
    sem_destroy(&may_go_on);
}
END_TEST

/* ---- by the peer's address ---- */

START_TEST(a_peer_always_gets_the_same_loop)
{
    enum { PEERS = 32 };
    jd_endpoint server;
    char text[32];
    serve(&(struct service){ .options = { .io_threads = THREADS, .load_balance = JD_LOAD_BALANCE_PEER_ADDRESS },
                             .on_up = note_loop });
    server = *server_endpoint();

    for (int i = 0; i < 2 * PEERS; i++) {
        snprintf(text, sizeof(text), "127.0.0.%d:0", 2 + i % PEERS);
        jd_endpoint source = parsed(text);
        client_connect_from(&source, &server);
        PUMP_UNTIL(placed == (unsigned)i + 1);
    }

    for (int i = 0; i < PEERS; i++)
        ck_assert_ptr_eq(loop_of[i], loop_of[i + PEERS]);
    ck_assert_uint_eq(distinct_loops(), THREADS);
    /* Not only not all on one: with a hash that mixes, none of three gets less than an eighth. */
    for (int i = 0; i < PEERS; i++)
        ck_assert_uint_ge(count_on(loop_of[i]), 2 * PEERS / 8);
}
END_TEST

START_TEST(a_peer_that_comes_over_an_ipv6_socket_is_the_same_by_its_ipv4_address)
{
    enum { PEERS = 8 };
    jd_endpoint everywhere = parsed("*:0"), bound, source, plain, mapped;
    char text[32];
    jd_tcp_server *server = serve(&(struct service){
        .options = { .io_threads = THREADS, .load_balance = JD_LOAD_BALANCE_PEER_ADDRESS }, .on_up = note_loop });
    ck_assert_int_eq(jd_tcp_server_listen(server, &everywhere, &bound), 0);
    plain = *server_endpoint();
    snprintf(text, sizeof(text), "127.0.0.1:%u", jd_endpoint_port(&bound));
    mapped = parsed(text);

    for (int i = 0; i < PEERS; i++) {
        snprintf(text, sizeof(text), "127.0.1.%d:0", i + 1);
        source = parsed(text);
        client_connect_from(&source, &plain);
        PUMP_UNTIL(placed == 2 * (unsigned)i + 1);
        client_connect_from(&source, &mapped);
        PUMP_UNTIL(placed == 2 * (unsigned)i + 2);
        ck_assert_ptr_eq(loop_of[2 * i], loop_of[2 * i + 1]);
    }
}
END_TEST

START_TEST(peers_without_an_address_are_handed_over_in_turn)
{
    serve(&(struct service){ .options = { .listen = own_unix_endpoint("@jinduo-test-"),
                                          .io_threads = THREADS,
                                          .load_balance = JD_LOAD_BALANCE_PEER_ADDRESS },
                             .on_up = note_loop });

    for (int i = 0; i < 2 * THREADS; i++)
        connect_and_see_the_loop();

    ck_assert_uint_eq(distinct_loops(), THREADS);
    for (int i = 0; i < THREADS; i++)
        ck_assert_ptr_eq(loop_of[i], loop_of[i + THREADS]);
}
END_TEST

START_TEST(an_unknown_policy_is_refused)
{
    jd_tcp_server_options options = { .load_balance = (jd_load_balance)(JD_LOAD_BALANCE_PEER_ADDRESS + 1) };
    jd_tcp_server *server = NULL;

    ck_assert_int_eq(jd_tcp_server_create(&server, the_loop, &options), JD_EINVAL);
}
END_TEST

/* ---- io loops that listen ---- */

START_TEST(with_reuse_port_io_loops_accept_by_themselves)
{
    jd_event_loop_statistics all;
    int clients[CROWD];
    jd_tcp_server *server = serve(&(struct service){
        .options = { .io_threads = 2, .reuse_port = true }, .on_up = note_loop, .on_message = echo });

    for (int i = 0; i < CROWD; i++)
        clients[i] = client_connect();
    for (int i = 0; i < CROWD; i++) {
        client_send(clients[i], "x", 1);
        client_expect(clients[i], "x", 1);
    }

    ck_assert_uint_eq(jd_tcp_server_endpoint_count(server), 1);
    PUMP_UNTIL(placed == CROWD);
    ck_assert_uint_eq(statistics().connections_accepted, 0);
    jd_tcp_server_get_statistics(server, &all);
    ck_assert_uint_eq(all.connections_accepted, CROWD);
    ck_assert_uint_eq(distinct_loops(), 2); /* all on one by chance: once in 2^63 */
    for (int i = 0; i < CROWD; i++)
        client_close(clients[i]);
    PUMP_UNTIL(connections_down() == CROWD);
}
END_TEST

START_TEST(with_reuse_port_endpoints_can_be_added_and_unix_domain_ones_are_handed_over)
{
    jd_endpoint second = parsed("127.0.0.1:0"), third = parsed(own_unix_endpoint("@jinduo-test-")), bound;
    jd_tcp_server *server = serve(&(struct service){
        .options = { .io_threads = 2, .reuse_port = true }, .on_up = note_loop, .on_message = echo });
    ck_assert_int_eq(jd_tcp_server_listen(server, &second, &bound), 0);
    ck_assert_int_eq(jd_tcp_server_listen(server, &third, NULL), 0);
    ck_assert_uint_eq(jd_tcp_server_endpoint_count(server), 3);

    for (int i = 0; i < CROWD / 2; i++) {
        int client = client_connect_to(&bound);
        client_send(client, "x", 1);
        client_expect(client, "x", 1);
    }
    ck_assert_uint_eq(statistics().connections_accepted, 0);
    for (int i = 0; i < 4; i++)
        client_connect_to(&third);
    PUMP_UNTIL(connections_up() == CROWD / 2 + 4);

    ck_assert_uint_eq(statistics().connections_accepted, 4);
}
END_TEST

static unsigned stops_done;

static void note_stop(void *arg)
{
    stops_done++;
}

START_TEST(a_server_with_reuse_port_stops_and_its_port_is_free)
{
    jd_endpoint endpoint;
    jd_tcp_server *server = serve(&(struct service){
        .options = { .listen = own_tcp_endpoint(0), .io_threads = 2, .reuse_port = true }, .on_message = echo });
    endpoint = *server_endpoint();
    for (int i = 0; i < 16; i++)
        client_connect();
    PUMP_UNTIL(connections_up() == 16);

    if (_i == 0)
        ck_assert_int_eq(jd_tcp_server_stop(server, 1000, note_stop, NULL), 0);
    else
        jd_tcp_server_destroy(server, note_stop, NULL);

    PUMP_UNTIL(stops_done == 1);
    ck_assert_uint_eq(connections_down(), 16);
    char text[JD_ENDPOINT_TEXT_BYTES];
    jd_endpoint_format(&endpoint, text, sizeof(text));
    serve(&(struct service){ .options.listen = text }); /* without reuse_port: nobody else is there */
}
END_TEST

/* ---- threads' start ---- */

static jd_event_loop *started[THREADS];
static char names[THREADS][16];
static _Atomic unsigned starts, wrong_threads, tasks_run;

static void run_in_it(void *arg)
{
    wrong_threads += !jd_event_loop_is_in_loop_thread(arg);
    tasks_run++;
}

static void note_start(jd_event_loop *loop, void *arg)
{
    unsigned which = starts++;

    wrong_threads += !jd_event_loop_is_in_loop_thread(loop) || (bool)(loop == the_loop) != (arg == NULL);
    started[which] = loop;
    pthread_getname_np(pthread_self(), names[which], sizeof(names[which]));
    if (jd_event_loop_queue_in_loop(loop, run_in_it, loop) < 0)
        wrong_threads++;
}

START_TEST(each_io_thread_starts_with_the_init_callback)
{
    int some_arg;
    serve(&(struct service){ .options = { .name = "service", .io_threads = THREADS },
                             .on_thread_init = note_start,
                             .on_up = note_loop,
                             .arg = &some_arg });

    ck_assert_uint_eq(starts, THREADS);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(strncmp(names[i], "service-", 8), 0);
        connect_and_see_the_loop();
    }
    for (int i = 0; i < THREADS; i++)
        ck_assert_uint_eq(count_on(started[i]), 1);
    PUMP_UNTIL(tasks_run == THREADS);
    ck_assert_uint_eq(wrong_threads, 0);
}
END_TEST

START_TEST(without_io_threads_the_init_callback_comes_once_for_the_servers_loop)
{
    jd_tcp_server *server = make_server(&(struct service){ .on_thread_init = note_start });
    ck_assert_uint_eq(starts, 0);

    start_server(server);

    ck_assert_uint_eq(starts, 1);
    ck_assert_ptr_eq(started[0], the_loop);
    PUMP_UNTIL(tasks_run == 1);
    ck_assert_uint_eq(wrong_threads, 0);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "balance");

    tcase_add_test(tests, the_loop_with_the_fewest_connections_gets_the_next);
    tcase_add_test(tests, connections_on_their_way_to_a_busy_loop_count);
    tcase_add_test(tests, a_peer_always_gets_the_same_loop);
    tcase_add_test(tests, a_peer_that_comes_over_an_ipv6_socket_is_the_same_by_its_ipv4_address);
    tcase_add_test(tests, peers_without_an_address_are_handed_over_in_turn);
    tcase_add_test(tests, an_unknown_policy_is_refused);
    tcase_add_test(tests, with_reuse_port_io_loops_accept_by_themselves);
    tcase_add_test(tests, with_reuse_port_endpoints_can_be_added_and_unix_domain_ones_are_handed_over);
    tcase_add_loop_test(tests, a_server_with_reuse_port_stops_and_its_port_is_free, 0, 2);
    tcase_add_test(tests, each_io_thread_starts_with_the_init_callback);
    tcase_add_test(tests, without_io_threads_the_init_callback_comes_once_for_the_servers_loop);
}
