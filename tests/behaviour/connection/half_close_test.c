/* One side ended, the other not: with allow_half_open the user decides when the connection closes. */
#include "tests/behaviour/harness.h"

const char *const suite_name = "half_close";

enum { KIB = 1024, MIB = 1024 * 1024 };

static int down_error = 1;

static void note_error(jd_tcp_connection *connection, void *arg)
{
    down_error = jd_tcp_connection_error(connection);
}

START_TEST(without_the_option_a_fin_closes_and_no_half_close_is_reported)
{
    serve(&(struct service){ .on_message = echo });
    int client = client_connect_up();
    client_send(client, "x", 1);
    client_expect(client, "x", 1);

    client_shutdown(client);

    client_expect_end(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_str_eq(story(0), "up message down");
}
END_TEST

START_TEST(with_it_a_fin_is_reported_once_and_closes_nothing)
{
    serve(&(struct service){ .options.allow_half_open = true });
    int client = client_connect_up();
    client_send(client, "x", 1);

    client_shutdown(client);

    PUMP_UNTIL(bytes_received() == 1);
    pump_until_quiet();
    ck_assert_str_eq(story(0), "up message half-close");
    ck_assert(!client_is_over(client));
}
END_TEST

static void send_a_megabyte_and_finish(jd_tcp_connection *connection, void *arg)
{
    static unsigned char data[MIB];

    pattern_fill(data, 0, sizeof(data));
    ck_assert(jd_tcp_connection_is_connected(connection));
    ck_assert_int_eq(jd_tcp_connection_send(connection, data, sizeof(data)), 0);
    ck_assert_int_eq(jd_tcp_connection_shutdown(connection), 0);
}

START_TEST(the_open_side_still_sends_megabytes_and_closes_after_its_own_shutdown)
{
    serve(&(struct service){ .options = { .allow_half_open = true, .send_buffer_bytes = 4 * KIB },
                             .on_half_close = send_a_megabyte_and_finish,
                             .on_down = note_error });
    int client = client_connect_with_receive_buffer(4 * KIB);
    client_send_pattern(client, 0, 10 * KIB);

    client_shutdown(client);

    client_expect_pattern(client, 0, MIB);
    client_expect_end(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(down_error, 0);
    ck_assert_uint_eq(bytes_received(), 10 * KIB);
    ck_assert_str_eq(story(0), "up message half-close down");
}
END_TEST

static void finish(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_shutdown(connection), 0);
}

START_TEST(a_fin_that_answers_ours_closes_without_half_close)
{
    serve(&(struct service){ .options.allow_half_open = true, .on_up = finish, .on_down = note_error });
    int client = client_connect();
    client_expect_end(client);
    client_send(client, "still here", 10);
    PUMP_UNTIL(bytes_received() == 10);

    client_shutdown(client);

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(down_error, 0);
    ck_assert_str_eq(story(0), "up message down");
}
END_TEST

static void close_it(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_close(connection), 0);
}

START_TEST(closing_in_half_close_ends_the_connection)
{
    serve(&(struct service){ .options.allow_half_open = true, .on_half_close = close_it });
    int client = client_connect_up();

    client_shutdown(client);

    client_expect_end(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_str_eq(story(0), "up half-close down");
}
END_TEST

/* Pitfall 38, the part without time: a reset of the half-open connection is noticed although nothing is read from it. */
START_TEST(a_reset_of_a_half_open_connection_is_noticed)
{
    serve(&(struct service){ .options.allow_half_open = true, .on_down = note_error });
    int client = client_connect_up();
    client_shutdown(client);
    pump_until_quiet();
    ck_assert_str_eq(story(0), "up half-close");

    client_reset(client);

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_lt(down_error, 0);
    ck_assert_str_eq(story(0), "up half-close down");
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "half_close");

    tcase_add_test(tests, without_the_option_a_fin_closes_and_no_half_close_is_reported);
    tcase_add_test(tests, with_it_a_fin_is_reported_once_and_closes_nothing);
    tcase_add_test(tests, the_open_side_still_sends_megabytes_and_closes_after_its_own_shutdown);
    tcase_add_test(tests, a_fin_that_answers_ours_closes_without_half_close);
    tcase_add_test(tests, closing_in_half_close_ends_the_connection);
    tcase_add_test(tests, a_reset_of_a_half_open_connection_is_noticed);
}
