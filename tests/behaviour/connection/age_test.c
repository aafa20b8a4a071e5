/* Connections that have reached their age: max_age_ms, max_age_drain_ms and the asked-to-end callback. */
#include "net/connection/tcp_connection.h"
#include "tests/behaviour/harness.h"

#include <jinduo/error.h>

const char *const suite_name = "age";

enum { AGE_MS = 60, LONG_MS = 10 * 1000 * 1000, DRAIN_MS = 60, CONNECTIONS = 50, NS_PER_MS = 1000000 };

static const char proxy_header[] = "PROXY TCP4 192.0.2.1 192.0.2.2 1000 2000\r\n";

static unsigned asked;
static jd_timestamp up_at, asked_at;
static jd_tcp_connection *latest;

static void forget(void)
{
    asked = 0;
    latest = NULL;
}

static void note_up(jd_tcp_connection *connection, void *arg)
{
    up_at = jd_event_loop_now(the_loop);
    latest = connection;
}

static void note_asked(jd_tcp_connection *connection, void *arg)
{
    asked++;
    asked_at = jd_event_loop_now(the_loop);
}

static void shut_down_when_asked(jd_tcp_connection *connection, void *arg)
{
    note_asked(connection, arg);
    ck_assert_int_eq(jd_tcp_connection_send(connection, "bye", 3), 0);
    ck_assert_int_eq(jd_tcp_connection_shutdown(connection), 0);
}

static int client_of_age(uint32_t age_ms, uint32_t drain_ms, jd_asked_to_end_callback callback)
{
    jd_tcp_server *server = make_server(&(struct service){
        .options = { .max_age_ms = age_ms, .max_age_drain_ms = drain_ms }, .on_message = echo, .on_up = note_up });

    if (callback != NULL)
        jd_tcp_server_set_asked_to_end_callback(server, callback, NULL);
    start_server(server);
    return client_connect_up();
}

START_TEST(at_its_age_a_connection_is_asked_to_end_once_and_goes_on_until_it_does)
{
    int client = client_of_age(AGE_MS, LONG_MS, note_asked);

    PUMP_UNTIL(asked == 1);
    ck_assert_int_ge(asked_at - up_at, (jd_timestamp)(AGE_MS - AGE_MS / 10) * NS_PER_MS);
    client_send(client, "hello", 5);
    client_expect(client, "hello", 5);
    PUMP_UNTIL(jd_event_loop_now(the_loop) - asked_at > (jd_timestamp)2 * AGE_MS * NS_PER_MS);

    ck_assert_uint_eq(asked, 1);
    ck_assert_uint_eq(connections_down(), 0);
}
END_TEST

START_TEST(a_callback_may_say_goodbye_and_shut_the_connection_down)
{
    int client = client_of_age(AGE_MS, LONG_MS, shut_down_when_asked);

    client_expect(client, "bye", 3);
    client_expect_end(client);
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_uint_eq(asked, 1);
    ck_assert_uint_eq(statistics().closed_locally, 1);
}
END_TEST

START_TEST(without_the_callback_it_is_shut_down)
{
    int client = client_of_age(AGE_MS, LONG_MS, NULL);

    client_expect_end(client);
    pump_until_quiet();
    ck_assert_uint_eq(connections_down(), 0); /* the peer has not ended its side */
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_uint_eq(statistics().closed_locally, 1);
}
END_TEST

START_TEST(a_connection_that_does_not_end_is_closed_when_the_drain_is_over)
{
    jd_log_set_level(JD_LOG_INFO);
    int client = client_of_age(AGE_MS, DRAIN_MS, _i == 0 ? NULL : note_asked);

    PUMP_UNTIL(connections_down() == 1);
    client_expect_end(client);
    ck_assert_uint_eq(asked, _i);
    ck_assert_uint_eq(statistics().closed_by_drain_deadline, 1);
    ck_assert(was_logged("max_age_ms of 60 ms has passed"));
}
END_TEST

START_TEST(without_the_callback_answers_that_are_owed_are_waited_for)
{
    int client = client_of_age(LONG_MS, LONG_MS, NULL);

    ck_assert_int_eq(jd_tcp_connection_expect(latest), 0);
    latest->up_ms -= 2 * LONG_MS;
    connection_check_timeouts(latest);
    pump_until_quiet();
    ck_assert_int_eq(jd_tcp_connection_send(latest, "answer", 6), 0);
    ck_assert_int_eq(jd_tcp_connection_answered(latest), 0);

    client_expect(client, "answer", 6);
    client_expect_end(client);
}
END_TEST

/* The age that counts is that of the service, not of the time before: here a PROXY header is awaited. */
START_TEST(before_a_connection_is_up_it_has_no_age)
{
    jd_tcp_server *server = make_server(&(struct service){ .options = { .max_age_ms = AGE_MS,
                                                                        .max_age_drain_ms = LONG_MS,
                                                                        .proxy_sources = "127.0.0.1",
                                                                        .proxy_timeout_ms = LONG_MS },
                                                           .on_message = echo,
                                                           .on_up = note_up });
    jd_timestamp connected_at;
    int client;

    jd_tcp_server_set_asked_to_end_callback(server, note_asked, NULL);
    start_server(server);
    client = client_connect();
    pump_until_quiet();
    connected_at = jd_event_loop_now(the_loop);
    PUMP_UNTIL(jd_event_loop_now(the_loop) - connected_at > (jd_timestamp)2 * AGE_MS * NS_PER_MS);
    ck_assert_uint_eq(asked, 0);
    ck_assert_ptr_null(latest);

    client_send(client, proxy_header, sizeof(proxy_header) - 1);
    PUMP_UNTIL(asked == 1);
    ck_assert_int_ge(asked_at - up_at, (jd_timestamp)(AGE_MS - AGE_MS / 10) * NS_PER_MS);
}
END_TEST

static void close_with_a_long_linger(jd_tcp_connection *connection, void *arg)
{
    note_up(connection, arg);
    ck_assert_int_eq(jd_tcp_connection_send(connection, "bye", 3), 0);
    ck_assert_int_eq(jd_tcp_connection_close_after_output(connection, LONG_MS), 0);
}

START_TEST(a_peer_that_is_waited_for_after_the_output_is_closed_at_its_age)
{
    jd_tcp_server *server = make_server(&(struct service){
        .options = { .max_age_ms = AGE_MS, .max_age_drain_ms = DRAIN_MS }, .on_up = close_with_a_long_linger });
    int client;

    start_server(server);
    client = client_connect_up();
    client_expect(client, "bye", 3);
    client_expect_end(client);

    PUMP_UNTIL(connections_down() == 1); /* the client does not end its side */
    ck_assert_uint_eq(statistics().closed_by_drain_deadline, 1);
}
END_TEST

/* Seen in the timers: waiting for them would take as long as they run. */
START_TEST(ages_differ_by_a_tenth_so_that_not_all_connections_end_together)
{
    uint64_t least = UINT64_MAX, most = 0, now_ms;
    client_of_age(LONG_MS, 0, NULL);

    for (int i = 0; i < CONNECTIONS; i++) {
        client_connect_up();
        now_ms = (uint64_t)(jd_event_loop_now(the_loop) / NS_PER_MS);
        ck_assert_uint_ge(latest->timer.expiry_ms, now_ms + LONG_MS - LONG_MS / 10 - LONG_MS / 100);
        ck_assert_uint_le(latest->timer.expiry_ms, now_ms + LONG_MS + LONG_MS / 10 + 1);
        least = latest->timer.expiry_ms < least ? latest->timer.expiry_ms : least;
        most = latest->timer.expiry_ms > most ? latest->timer.expiry_ms : most;
    }
    ck_assert_uint_gt(most - least, LONG_MS / 10);
}
END_TEST

START_TEST(an_age_and_a_timeout_do_not_get_into_each_others_way)
{
    jd_tcp_server *server = make_server(&(struct service){
        .options = { .max_age_ms = LONG_MS, .idle_timeout_ms = AGE_MS, .first_message_timeout_ms = LONG_MS } });
    start_server(server);

    client_connect_up();

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_uint_eq(statistics().closed_by_idle_timeout, 1);
}
END_TEST

START_TEST(ages_beyond_the_limit_are_refused_with_words)
{
    jd_tcp_server *server;
    const jd_tcp_server_options age = { .max_age_ms = 1U << 30 }, drain = { .max_age_drain_ms = (1U << 29) + 1 };

    ck_assert_int_eq(jd_tcp_server_create(&server, the_loop, &age), JD_EINVAL);
    ck_assert(was_logged("max_age_ms of 1073741824 ms is too long"));
    ck_assert_int_eq(jd_tcp_server_create(&server, the_loop, &drain), JD_EINVAL);
    ck_assert(was_logged("max_age_drain_ms of 536870913 ms is too long"));
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "age");

    tcase_add_checked_fixture(tests, forget, NULL);
    tcase_add_test(tests, at_its_age_a_connection_is_asked_to_end_once_and_goes_on_until_it_does);
    tcase_add_test(tests, a_callback_may_say_goodbye_and_shut_the_connection_down);
    tcase_add_test(tests, without_the_callback_it_is_shut_down);
    tcase_add_loop_test(tests, a_connection_that_does_not_end_is_closed_when_the_drain_is_over, 0, 2);
    tcase_add_test(tests, without_the_callback_answers_that_are_owed_are_waited_for);
    tcase_add_test(tests, before_a_connection_is_up_it_has_no_age);
    tcase_add_test(tests, a_peer_that_is_waited_for_after_the_output_is_closed_at_its_age);
    tcase_add_test(tests, ages_differ_by_a_tenth_so_that_not_all_connections_end_together);
    tcase_add_test(tests, an_age_and_a_timeout_do_not_get_into_each_others_way);
    tcase_add_test(tests, ages_beyond_the_limit_are_refused_with_words);
}
