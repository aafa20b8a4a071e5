/* How a connection ends: everything that was to be sent before is sent, and up and down come once each. */
#include "base/posix/system_calls.h"
#include "tests/behaviour/harness.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

const char *const suite_name = "closing";

enum { KIB = 1024, MIB = 1024 * 1024, RESPONSE_BYTES = 6 * MIB };

static unsigned char response[RESPONSE_BYTES];

static int down_error;

static void note_error(jd_tcp_connection *connection, void *arg)
{
    down_error = jd_tcp_connection_error(connection);
}

static void set_up(void)
{
    pattern_fill(response, 0, sizeof(response));
    down_error = 1;
}

/* ---- responses and what follows them: pitfall 27 ---- */

static void respond_and_shut_down(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    jd_buffer_consume(input, SIZE_MAX);
    ck_assert_int_eq(jd_tcp_connection_send(connection, response, sizeof(response)), 0);
    ck_assert_int_eq(jd_tcp_connection_shutdown(connection), 0);
    ck_assert_int_eq(jd_tcp_connection_send(connection, "more", 4), JD_ENOTCONN);
    ck_assert_int_eq(jd_tcp_connection_shutdown(connection), JD_ENOTCONN);
}

START_TEST(a_response_then_shutdown_is_delivered_in_full)
{
    serve(&(struct service){ .on_message = respond_and_shut_down, .on_down = note_error });
    int client = client_connect();

    client_send(client, "?", 1);

    client_expect_pattern(client, 0, RESPONSE_BYTES);
    client_expect_end(client);
    ck_assert_str_eq(story(0), "up message");
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(down_error, 0);
    ck_assert_uint_eq(statistics().bytes_dropped, 0);
}
END_TEST

static void respond_and_close(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    jd_buffer_consume(input, SIZE_MAX);
    ck_assert_int_eq(jd_tcp_connection_send(connection, response, 64 * KIB), 0);
    ck_assert_int_eq(jd_tcp_connection_close(connection), 0);
}

/* The default, and less than the response: the turn's budget does not make it wait for another turn. */
static const size_t response_budgets[] = { 0, 4 * KIB };

/* Close does not wait: what the kernel takes at once is delivered, so the response is one that fits a socket's buffer. */
START_TEST(a_response_then_close_is_delivered_in_full)
{
    serve(&(struct service){ .options = { .send_buffer_bytes = 256 * KIB, .budget_bytes = response_budgets[_i] },
                             .on_message = respond_and_close,
                             .on_down = note_error });
    int client = client_connect();

    client_send(client, "?", 1);

    client_expect_pattern(client, 0, 64 * KIB);
    client_expect_end(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(down_error, 0);
    ck_assert_str_eq(story(0), "up message down");
}
END_TEST

static void respond(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    jd_buffer_consume(input, SIZE_MAX);
    ck_assert_int_eq(jd_tcp_connection_send(connection, response, sizeof(response)), 0);
}

START_TEST(a_response_is_delivered_in_full_although_the_peer_has_sent_its_fin)
{
    serve(&(struct service){ .options.send_buffer_bytes = 4 * KIB, .on_message = respond, .on_down = note_error });
    int client = client_connect_with_receive_buffer(16 * KIB);

    client_send(client, "?", 1);
    client_shutdown(client);

    client_expect_pattern(client, 0, RESPONSE_BYTES);
    client_expect_end(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(down_error, 0);
    ck_assert_uint_eq(statistics().bytes_dropped, 0);
}
END_TEST

START_TEST(a_response_already_on_its_way_is_delivered_in_full_when_the_fin_comes)
{
    serve(&(struct service){ .on_message = respond, .on_down = note_error });
    int client = client_connect_with_receive_buffer(16 * KIB);
    client_send(client, "?", 1);
    client_expect_pattern(client, 0, MIB);

    client_shutdown(client);

    client_expect_pattern(client, MIB, RESPONSE_BYTES - MIB);
    client_expect_end(client);
}
END_TEST

static void send_and_finish(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_send(connection, "bye", 3), 0);
    ck_assert_int_eq(jd_tcp_connection_shutdown(connection), 0);
}

START_TEST(messages_come_after_shutdown_until_the_peer_ends_its_side)
{
    serve(&(struct service){ .on_up = send_and_finish, .on_down = note_error });
    int client = client_connect();
    client_expect(client, "bye", 3);
    client_expect_end(client);

    client_send_pattern(client, 0, 100 * KIB);
    PUMP_UNTIL(bytes_received() == 100 * KIB);
    ck_assert_uint_eq(connections_down(), 0);
    client_close(client);

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(down_error, 0);
    ck_assert_str_eq(story(0), "up message down");
}
END_TEST

static void count(jd_tcp_connection *connection, void *arg)
{
    ++*(unsigned *)arg;
}

static void respond_and_finish(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_send(connection, response, 100 * KIB), 0);
    ck_assert_int_eq(jd_tcp_connection_shutdown(connection), 0);
}

START_TEST(write_complete_is_reported_before_the_close_that_waited_for_it)
{
    unsigned completions = 0;
    serve(&(struct service){ .options.allow_half_open = true,
                             .on_half_close = respond_and_finish,
                             .on_write_complete = count,
                             .arg = &completions });
    int client = client_connect();

    client_shutdown(client);

    client_expect_pattern(client, 0, 100 * KIB);
    client_expect_end(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_uint_eq(completions, 1);
    ck_assert_str_eq(story(0), "up half-close write-complete down");
}
END_TEST

/* ---- resets ---- */

/* Pitfall 26. Whether a connection reset that early is accepted at all is the kernel's choice. */
START_TEST(a_peer_that_resets_at_once_is_seen_up_and_down_once_each)
{
    serve(&(struct service){ .on_down = note_error });

    for (int i = 0; i < 50; i++) {
        client_reset(client_connect());
        if (i % 7 == 0)
            pump_turns(3);
    }

    pump_until_quiet();
    PUMP_UNTIL(connections_down() == connections_up());
    for (unsigned i = 0; i < connections_up(); i++)
        ck_assert_str_eq(story(i), "up down");
    client_connect();
    PUMP_UNTIL(connections_up() == connections_down() + 1);
}
END_TEST

static bool has_ipv6(void)
{
    const struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int handle = socket(AF_INET6, SOCK_STREAM, 0);
    bool has = handle >= 0 && bind(handle, (const struct sockaddr *)&address, sizeof(address)) == 0;

    if (handle >= 0)
        close(handle);
    return has;
}

/* Linux accepts what has been reset already, with its address. */
START_TEST(peers_that_reset_before_the_server_looks_are_seen_up_and_down)
{
    enum { PEERS = 10 };
    serve(&(struct service){ .options.listen = _i == 0 ? NULL : "[::1]:0", .on_down = note_error });

    for (int i = 0; i < PEERS; i++)
        client_reset(client_connect());

    PUMP_UNTIL(connections_down() == PEERS);
    ck_assert_uint_eq(connections_up(), PEERS);
    ck_assert_uint_eq(statistics().closed_by_reset, PEERS);
    ck_assert_uint_eq(statistics().connections_failed, 0);
}
END_TEST

START_TEST(a_reset_by_the_peer_is_the_reason_of_down)
{
    serve(&(struct service){ .on_down = note_error });
    int client = client_connect_up();

    client_reset(client);

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(down_error, JD_ECONNRESET);
}
END_TEST

START_TEST(a_reset_by_the_peer_with_output_queued_drops_and_counts_it)
{
    serve(&(struct service){ .options.send_buffer_bytes = 4 * KIB, .on_message = respond, .on_down = note_error });
    int client = client_connect_with_receive_buffer(4 * KIB);
    client_send(client, "?", 1);
    client_expect_pattern(client, 0, 10);

    client_reset(client);

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(down_error, JD_ECONNRESET);
    ck_assert_uint_gt(statistics().bytes_dropped, 0);
    ck_assert_uint_eq(statistics().bytes_dropped + statistics().bytes_sent, RESPONSE_BYTES);
}
END_TEST

static void send_and_reset(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_send(connection, "lost", 4), 0);
    ck_assert_int_eq(jd_tcp_connection_reset(connection), 0);
    ck_assert(!jd_tcp_connection_is_connected(connection));
    ck_assert_int_eq(jd_tcp_connection_send(connection, "more", 4), JD_ENOTCONN);
}

START_TEST(reset_drops_the_output_and_resets_the_peer)
{
    serve(&(struct service){ .on_up = send_and_reset, .on_down = note_error });

    int client = client_connect();

    client_expect_reset(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(down_error, 0);
    ck_assert_uint_eq(statistics().bytes_dropped, 4);
    ck_assert_uint_eq(statistics().bytes_sent, 0);
}
END_TEST

/* As if a receive of the engine had got the reset in between. */
static int shut_down_after_error_was_taken(int handle, int how)
{
    int error;

    ck_assert_int_eq(getsockopt(handle, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){ sizeof(error) }), 0);
    system_calls_reset();
    return system_calls.shutdown(handle, how);
}

static void reset_and_shut_down(jd_tcp_connection *connection, void *client)
{
    client_reset(*(const int *)client);
    ck_assert_int_eq(jd_tcp_connection_shutdown(connection), 0);
    system_calls.shutdown = shut_down_after_error_was_taken;
}

START_TEST(a_reset_that_only_the_shutdown_meets_is_the_reason_of_down)
{
    serve(&(struct service){ .on_down = note_error });
    int client = client_connect_up();

    ck_assert_int_eq(jd_tcp_connection_post(connection_id(0), reset_and_shut_down, &client), 0);

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(down_error, JD_ECONNRESET);
    ck_assert_uint_eq(statistics().closed_by_reset, 1);
}
END_TEST

/* ---- close ---- */

static void close_many_times(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_close(connection), 0);
    ck_assert_int_eq(jd_tcp_connection_close(connection), 0);
    ck_assert_int_eq(jd_tcp_connection_reset(connection), 0);
    ck_assert_int_eq(jd_tcp_connection_shutdown(connection), JD_ENOTCONN);
    ck_assert_int_eq(jd_tcp_connection_send(connection, "x", 1), JD_ENOTCONN);
    ck_assert_int_eq(jd_tcp_connection_pause_reading(connection), JD_ENOTCONN);
    ck_assert_int_eq(jd_tcp_connection_resume_reading(connection), JD_ENOTCONN);
    ck_assert(!jd_tcp_connection_is_connected(connection));
}

/* Pitfall 28. The first close counts: a reset after it changes nothing. */
START_TEST(closing_twice_is_closing_once)
{
    serve(&(struct service){ .on_up = close_many_times, .on_down = close_many_times });

    int client = client_connect();

    client_expect_end(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_str_eq(story(0), "up down");
}
END_TEST

static void respond_and_close_much(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_send(connection, response, sizeof(response)), 0);
    ck_assert_int_eq(jd_tcp_connection_close(connection), 0);
}

START_TEST(close_drops_and_counts_what_the_kernel_does_not_take_at_once)
{
    serve(&(struct service){ .options.send_buffer_bytes = 4 * KIB, .on_up = respond_and_close_much });
    int client = client_connect_with_receive_buffer(4 * KIB);
    size_t received;

    PUMP_UNTIL(connections_down() == 1);
    received = client_receive_to_end(client, NULL, 0);

    ck_assert_uint_gt(received, 0);
    ck_assert_uint_lt(received, RESPONSE_BYTES);
    ck_assert_uint_eq(statistics().bytes_dropped + statistics().bytes_sent, RESPONSE_BYTES);
    ck_assert_uint_eq(statistics().bytes_sent, received);
}
END_TEST

START_TEST(a_peers_fin_closes_an_idle_connection)
{
    serve(&(struct service){ .on_down = note_error });
    int client = client_connect_up();

    client_shutdown(client);

    client_expect_end(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(down_error, 0);
    ck_assert_str_eq(story(0), "up down");
}
END_TEST

START_TEST(connections_come_and_go_by_the_hundred)
{
    serve(&(struct service){ .on_message = echo });

    for (int i = 0; i < 300; i++) {
        int client = client_connect();
        client_send(client, "x", 1);
        if (i % 3 > 0)
            client_expect(client, "x", 1);
        if (i % 2 > 0)
            client_reset(client);
        else
            client_close(client);
    }

    pump_until_quiet();
    PUMP_UNTIL(connections_down() == connections_up());
    ck_assert_uint_eq(statistics().connections_opened, statistics().connections_closed);
}
END_TEST

static jd_tcp_connection *paused;

static void pause_it(jd_tcp_connection *connection, void *arg)
{
    paused = connection;
    ck_assert_int_eq(jd_tcp_connection_pause_reading(connection), 0);
}

static void respond_and_close_it(void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_send(paused, "response", 8), 0);
    ck_assert_int_eq(jd_tcp_connection_close(paused), 0);
}

/* Pitfall 27: closing over unread input would send RST (RFC 2525, 2.17). */
START_TEST(a_response_is_delivered_although_input_was_left_unread)
{
    int client;
    serve(&(struct service){ .on_up = pause_it });
    client = client_connect();
    PUMP_UNTIL(connections_up() == 1);
    client_send(client, "a request that nobody reads", 27);

    ck_assert_int_eq(jd_event_loop_queue_in_loop(the_loop, respond_and_close_it, NULL), 0);
    PUMP_UNTIL(connections_down() == 1);

    client_expect(client, "response", 8);
    client_expect_end(client);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "closing");

    tcase_add_checked_fixture(tests, set_up, NULL);
    tcase_add_test(tests, a_response_is_delivered_although_input_was_left_unread);
    tcase_add_test(tests, a_response_then_shutdown_is_delivered_in_full);
    tcase_add_loop_test(tests, a_response_then_close_is_delivered_in_full, 0, 2);
    tcase_add_test(tests, a_response_is_delivered_in_full_although_the_peer_has_sent_its_fin);
    tcase_add_test(tests, a_response_already_on_its_way_is_delivered_in_full_when_the_fin_comes);
    tcase_add_test(tests, messages_come_after_shutdown_until_the_peer_ends_its_side);
    tcase_add_test(tests, write_complete_is_reported_before_the_close_that_waited_for_it);
    tcase_add_test(tests, a_peer_that_resets_at_once_is_seen_up_and_down_once_each);
    tcase_add_loop_test(tests, peers_that_reset_before_the_server_looks_are_seen_up_and_down, 0, has_ipv6() ? 2 : 1);
    tcase_add_test(tests, a_reset_by_the_peer_is_the_reason_of_down);
    tcase_add_test(tests, a_reset_by_the_peer_with_output_queued_drops_and_counts_it);
    tcase_add_test(tests, a_reset_that_only_the_shutdown_meets_is_the_reason_of_down);
    tcase_add_test(tests, reset_drops_the_output_and_resets_the_peer);
    tcase_add_test(tests, closing_twice_is_closing_once);
    tcase_add_test(tests, close_drops_and_counts_what_the_kernel_does_not_take_at_once);
    tcase_add_test(tests, a_peers_fin_closes_an_idle_connection);
    tcase_add_test(tests, connections_come_and_go_by_the_hundred);
}
