/* Timeouts and heartbeat of connections: what they close, what they leave alone. */
#include "tests/behaviour/harness.h"

#include <jinduo/error.h>
#include <jinduo/length_codec.h>
#include <time.h>

const char *const suite_name = "timeouts";

/* What is not to happen gets a timeout that a process meets hardly ever by getting no turn. */
enum { SHORT_MS = 60, SAFE_MS = 600, LONG_MS = 20 * 1000, NS_PER_MS = 1000000 };

static int last_error;
static jd_timestamp up_at, down_at;

static void note_up(jd_tcp_connection *connection, void *arg)
{
    up_at = jd_event_loop_now(the_loop);
}

static void note_down(jd_tcp_connection *connection, void *arg)
{
    down_at = jd_event_loop_now(the_loop);
    last_error = jd_tcp_connection_error(connection);
}

static int connected_client(const struct service *service)
{
    int client;

    serve(service);
    client = client_connect();
    PUMP_UNTIL(connections_up() == 1);
    return client;
}

/* Pitfall 34, 38. */
START_TEST(an_idle_connection_is_closed_with_a_timeout_error)
{
    int client = connected_client(
        &(struct service){ .options.idle_timeout_ms = SHORT_MS, .on_up = note_up, .on_down = note_down });

    client_expect_end(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(last_error, JD_ETIMEDOUT);
    ck_assert_int_ge(down_at - up_at, (jd_timestamp)SHORT_MS * NS_PER_MS);
}
END_TEST

START_TEST(a_connection_that_is_talked_to_is_not_idle)
{
    int client = connected_client(&(struct service){
        .options.idle_timeout_ms = SAFE_MS, .on_message = echo, .on_up = note_up, .on_down = note_down });
    jd_timestamp begun = jd_event_loop_now(the_loop), talked;

    while ((talked = jd_event_loop_now(the_loop)) - begun < 3 * (jd_timestamp)SAFE_MS * NS_PER_MS) {
        client_send(client, "x", 1);
        client_expect(client, "x", 1);
        PUMP_UNTIL(jd_event_loop_now(the_loop) - talked > (jd_timestamp)SHORT_MS * NS_PER_MS);
    }

    ck_assert_uint_eq(connections_down(), 0);
}
END_TEST

/* Pitfall 34: a byte now and then does not help. */
START_TEST(a_first_frame_that_never_gets_whole_meets_its_deadline)
{
    jd_codec *codec;
    int client;

    ck_assert_int_eq(jd_length_codec_create(&codec, NULL), 0);
    client = connected_client(&(struct service){
        .options.first_message_timeout_ms = SHORT_MS, .codec = codec, .on_up = note_up, .on_down = note_down });
    client_send(client, "\0\017\0\0", 4); /* 983 040 bytes announced */
    while (connections_down() == 0) {
        client_send_some(client, "x", 1);
        pump_turns(1);
    }

    ck_assert_int_eq(last_error, JD_ETIMEDOUT);
    ck_assert_int_ge(down_at - up_at, (jd_timestamp)SHORT_MS * NS_PER_MS);
    jd_event_loop_destroy(the_loop);
    the_loop = NULL;
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(after_the_first_message_its_deadline_is_off)
{
    int client = connected_client(
        &(struct service){ .options.first_message_timeout_ms = SAFE_MS, .on_message = echo, .on_down = note_down });
    jd_timestamp begun;

    client_send(client, "hello", 5);
    client_expect(client, "hello", 5);
    begun = jd_event_loop_now(the_loop);
    PUMP_UNTIL(jd_event_loop_now(the_loop) - begun > 2 * (jd_timestamp)SAFE_MS * NS_PER_MS);

    ck_assert_uint_eq(connections_down(), 0);
}
END_TEST

START_TEST(an_idle_peer_meets_the_read_timeout)
{
    int client = connected_client(
        &(struct service){ .options.read_timeout_ms = SHORT_MS, .on_up = note_up, .on_down = note_down });

    client_expect_end(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(last_error, JD_ETIMEDOUT);
}
END_TEST

static void pause_it(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_pause_reading(connection), 0);
}

START_TEST(while_reading_is_paused_there_is_no_read_timeout)
{
    connected_client(&(struct service){ .options.read_timeout_ms = SHORT_MS, .on_up = pause_it });
    jd_timestamp begun = jd_event_loop_now(the_loop);

    PUMP_UNTIL(jd_event_loop_now(the_loop) - begun > 3 * (jd_timestamp)SHORT_MS * NS_PER_MS);

    ck_assert_uint_eq(connections_down(), 0);
}
END_TEST

static void send_much(jd_tcp_connection *connection, void *arg)
{
    static const char zeroes[512 * 1024];

    up_at = jd_event_loop_now(the_loop);
    for (int i = 0; i < 16; i++)
        ck_assert_int_eq(jd_tcp_connection_send(connection, zeroes, sizeof(zeroes)), 0);
}

START_TEST(a_peer_that_takes_no_output_meets_the_write_timeout)
{
    serve(&(struct service){ .options.write_timeout_ms = SHORT_MS,
                             .options.send_buffer_bytes = 4096,
                             .on_up = send_much,
                             .on_down = note_down });
    client_connect_with_receive_buffer(4096);

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(last_error, JD_ETIMEDOUT);
    ck_assert_int_ge(down_at - up_at, (jd_timestamp)SHORT_MS * NS_PER_MS);
    ck_assert_uint_gt(statistics().bytes_dropped, 0);
}
END_TEST

static void send_beat(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_send(connection, "beat", 4), 0);
}

START_TEST(a_heartbeat_comes_again_and_again_when_nothing_else_is_sent)
{
    int client = connected_client(
        &(struct service){ .options.heartbeat_ms = SHORT_MS / 4, .on_heartbeat = send_beat, .on_down = note_down });

    for (int i = 0; i < 5; i++)
        client_expect(client, "beat", 4);

    ck_assert_uint_eq(connections_down(), 0);
}
END_TEST

START_TEST(heartbeats_do_not_hide_an_idle_peer_from_the_read_timeout)
{
    enum { MANY = 20 }; /* so that a process that gets no turn for a while still sends one */
    int client = connected_client(&(struct service){ .options.heartbeat_ms = SHORT_MS / 4,
                                                     .options.read_timeout_ms = MANY * SHORT_MS,
                                                     .on_heartbeat = send_beat,
                                                     .on_up = note_up,
                                                     .on_down = note_down });

    client_expect(client, "beat", 4);
    client_receive_to_end(client, NULL, 0);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(last_error, JD_ETIMEDOUT);
    ck_assert_int_ge(down_at - up_at, MANY * (jd_timestamp)SHORT_MS * NS_PER_MS);
}
END_TEST

START_TEST(heartbeats_do_not_keep_a_peer_alive_that_takes_nothing)
{
    serve(&(struct service){
        .options = { .write_timeout_ms = 4 * SHORT_MS, .heartbeat_ms = SHORT_MS, .send_buffer_bytes = 4096 },
        .on_up = send_much,
        .on_heartbeat = send_beat,
        .on_down = note_down });
    client_connect_with_receive_buffer(4096);

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(last_error, JD_ETIMEDOUT);
}
END_TEST

START_TEST(a_heartbeat_callback_that_sends_nothing_hides_no_idleness)
{
    int client = connected_client(&(struct service){
        .options = { .idle_timeout_ms = 4 * SHORT_MS, .heartbeat_ms = SHORT_MS }, .on_down = note_down });

    client_expect_end(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(last_error, JD_ETIMEDOUT);
}
END_TEST

static jd_tcp_connection *paused;

static void pause_and_remember(jd_tcp_connection *connection, void *arg)
{
    pause_it(connection, arg);
    paused = connection;
}

static jd_timestamp resumed_at;

static void resume_it(void *arg)
{
    resumed_at = jd_event_loop_now(the_loop);
    ck_assert_int_eq(jd_tcp_connection_resume_reading(paused), 0);
}

START_TEST(the_read_timeout_begins_anew_after_a_pause)
{
    connected_client(&(struct service){
        .options.read_timeout_ms = 4 * SHORT_MS, .on_up = pause_and_remember, .on_down = note_down });
    jd_timestamp begun = jd_event_loop_now(the_loop);

    PUMP_UNTIL(jd_event_loop_now(the_loop) - begun > 6 * (jd_timestamp)SHORT_MS * NS_PER_MS);
    ck_assert_int_eq(jd_event_loop_queue_in_loop(the_loop, resume_it, NULL), 0);
    PUMP_UNTIL(connections_down() == 1);

    ck_assert_int_eq(last_error, JD_ETIMEDOUT);
    ck_assert_int_ge(down_at - resumed_at, 4 * (jd_timestamp)SHORT_MS * NS_PER_MS);
}
END_TEST

static void send_after_a_while(jd_tcp_connection *connection, void *arg)
{
    struct timespec slow = { .tv_nsec = 2 * (long)SHORT_MS * NS_PER_MS };

    nanosleep(&slow, NULL); /* a slow handler */
    clock_gettime(CLOCK_MONOTONIC, &slow);
    send_much(connection, arg);
    up_at = (jd_timestamp)slow.tv_sec * 1000000000 + slow.tv_nsec;
}

START_TEST(a_slow_handler_takes_nothing_from_the_write_timeout)
{
    serve(&(struct service){ .options = { .write_timeout_ms = SHORT_MS, .send_buffer_bytes = 4096 },
                             .on_up = send_after_a_while,
                             .on_down = note_down });
    client_connect_with_receive_buffer(4096);

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(last_error, JD_ETIMEDOUT);
    ck_assert_int_ge(down_at - up_at, (jd_timestamp)(SHORT_MS - 1) * NS_PER_MS);
}
END_TEST

START_TEST(timeouts_of_twelve_days_and_more_are_refused)
{
    jd_tcp_server *server;
    jd_tcp_server_options options = { .idle_timeout_ms = 1u << 30 };

    ck_assert_int_eq(jd_tcp_server_create(&server, the_loop, &options), JD_EINVAL);
}
END_TEST

START_TEST(a_connection_with_long_timeouts_lives_and_closes_as_any_other)
{
    int client = connected_client(&(struct service){ .options.idle_timeout_ms = LONG_MS,
                                                     .options.first_message_timeout_ms = LONG_MS,
                                                     .options.read_timeout_ms = LONG_MS,
                                                     .options.write_timeout_ms = LONG_MS,
                                                     .options.heartbeat_ms = LONG_MS,
                                                     .on_message = echo,
                                                     .on_down = note_down });

    client_send(client, "hello", 5);
    client_expect(client, "hello", 5);
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(last_error, 0);
    ck_assert_str_eq(story(0), "up message down");
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "timeouts");

    tcase_add_test(tests, an_idle_connection_is_closed_with_a_timeout_error);
    tcase_add_test(tests, a_connection_that_is_talked_to_is_not_idle);
    tcase_add_test(tests, a_first_frame_that_never_gets_whole_meets_its_deadline);
    tcase_add_test(tests, after_the_first_message_its_deadline_is_off);
    tcase_add_test(tests, an_idle_peer_meets_the_read_timeout);
    tcase_add_test(tests, while_reading_is_paused_there_is_no_read_timeout);
    tcase_add_test(tests, a_peer_that_takes_no_output_meets_the_write_timeout);
    tcase_add_test(tests, a_heartbeat_comes_again_and_again_when_nothing_else_is_sent);
    tcase_add_test(tests, heartbeats_do_not_hide_an_idle_peer_from_the_read_timeout);
    tcase_add_test(tests, heartbeats_do_not_keep_a_peer_alive_that_takes_nothing);
    tcase_add_test(tests, a_heartbeat_callback_that_sends_nothing_hides_no_idleness);
    tcase_add_test(tests, the_read_timeout_begins_anew_after_a_pause);
    tcase_add_test(tests, a_slow_handler_takes_nothing_from_the_write_timeout);
    tcase_add_test(tests, timeouts_of_twelve_days_and_more_are_refused);
    tcase_add_test(tests, a_connection_with_long_timeouts_lives_and_closes_as_any_other);
}
