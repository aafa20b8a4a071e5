/* A reader that pauses: TCP holds the peer back, nothing is lost, and the peer's reset is noticed. Pitfall 35. */
#include "tests/behaviour/harness.h"

#include <jinduo/error.h>
#include <string.h>

const char *const suite_name = "pausing";

enum { KIB = 1024, MIB = 1024 * 1024 };

static size_t offset;
static int down_error = 1;

static void pause_it(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_pause_reading(connection), 0);
}

static void resume_it(jd_tcp_connection *connection, void *arg)
{
    ck_assert_ptr_nonnull(connection);
    ck_assert_int_eq(jd_tcp_connection_resume_reading(connection), 0);
}

static void shut_it_down(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_shutdown(connection), 0);
}

static void close_it(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_close(connection), 0);
}

static void note_error(jd_tcp_connection *connection, void *arg)
{
    down_error = jd_tcp_connection_error(connection);
}

static void expect_pattern(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    size_t length = jd_buffer_readable(input);
    const void *data = jd_buffer_peek(input, length);

    pattern_expect(data, offset, length);
    offset += length;
    jd_buffer_consume(input, length);
}

/* Does function in connection number 0's loop. */
static void ask(jd_connection_task function)
{
    ck_assert_int_eq(jd_tcp_connection_post(connection_id(0), function, NULL), 0);
    pump_turns(2);
}

START_TEST(a_peer_that_sends_without_end_to_a_paused_reader_costs_no_memory_and_loses_nothing)
{
    const size_t most = 512 * KIB; /* a region of blocks, and more */
    static unsigned char data[64 * KIB];
    size_t sent = 0, memory_before;
    serve(&(struct service){ .on_up = pause_it, .on_message = expect_pattern });
    int client = client_connect_up();
    memory_before = jd_memory_in_use();

    for (int i = 0; i < 200; i++) {
        pattern_fill(data, sent, sizeof(data));
        sent += client_send_some(client, data, sizeof(data));
        pump_turns(1);
        ck_assert_uint_lt(jd_memory_in_use(), memory_before + most);
    }
    ck_assert_uint_eq(offset, 0);

    ask(resume_it);
    PUMP_UNTIL(offset == sent);
    client_send_pattern(client, sent, MIB);
    PUMP_UNTIL(offset == sent + MIB);
}
END_TEST

static int gone_error = 1;

static void note_gone(jd_tcp_connection *connection, int error, void *arg)
{
    gone_error = error;
}

START_TEST(a_reset_is_noticed_while_paused)
{
    serve(&(struct service){ .on_up = pause_it, .on_peer_gone = note_gone, .on_down = note_error });
    int client = client_connect_up();
    pump_until_quiet();

    client_reset(client);

    PUMP_UNTIL(gone_error == JD_ECONNRESET);
    ck_assert_str_eq(story(0), "up peer-gone");
    ask(resume_it);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(down_error, JD_ECONNRESET);
    ck_assert_str_eq(story(0), "up peer-gone down");
}
END_TEST

START_TEST(a_reset_behind_unread_bytes_is_noticed_while_paused)
{
    serve(&(struct service){ .on_up = pause_it, .on_peer_gone = note_gone, .on_down = note_error });
    int client = client_connect_up();
    pump_until_quiet();
    client_send(client, "read later", 10);
    pump_until_quiet();

    client_reset(client);

    PUMP_UNTIL(gone_error == JD_ECONNRESET);
    ck_assert_str_eq(story(0), "up peer-gone");
    ask(resume_it);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(down_error, JD_ECONNRESET);
    ck_assert_uint_eq(bytes_received(), 10);
    ck_assert_str_eq(story(0), "up peer-gone message down");
}
END_TEST

START_TEST(a_fin_is_reported_at_resume_behind_the_bytes_before_it)
{
    serve(&(struct service){
        .options.allow_half_open = true, .on_up = pause_it, .on_message = expect_pattern, .on_down = note_error });
    int client = client_connect_up();

    client_send_pattern(client, 0, 50 * KIB);
    client_shutdown(client);
    pump_until_quiet();
    ck_assert_str_eq(story(0), "up peer-gone");
    ask(resume_it);

    PUMP_UNTIL(offset == 50 * KIB);
    pump_until_quiet();
    ck_assert_str_eq(story(0), "up peer-gone message half-close");
}
END_TEST

/* No spin on a level that says "hang-up" all the time: both sides have sent their FIN, and no side reads. */
START_TEST(a_fin_from_both_sides_waits_for_resume_and_the_loop_sleeps)
{
    uint64_t turns;
    serve(&(struct service){ .on_up = pause_it, .on_down = note_error });
    int client = client_connect_up();
    pump_until_quiet();
    ask(shut_it_down);
    client_expect_end(client);
    client_shutdown(client);
    pump_until_quiet();
    turns = statistics().turns;

    ck_assert_int_ge(jd_event_loop_run_once(the_loop, 50), 0);
    ck_assert_int_ge(jd_event_loop_run_once(the_loop, 50), 0);

    ck_assert_uint_eq(statistics().turns - turns, 2);
    ck_assert_uint_eq(connections_down(), 0);
    ask(resume_it);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(down_error, 0);
}
END_TEST

static void pause_and_resume(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    pause_it(connection, NULL);
    pause_it(connection, NULL);
    expect_pattern(connection, input, received, NULL);
    resume_it(connection, NULL);
    resume_it(connection, NULL);
}

START_TEST(a_pause_and_resume_in_one_callback_change_nothing)
{
    serve(&(struct service){ .on_message = pause_and_resume });
    int client = client_connect_up();

    client_send_pattern(client, 0, MIB);

    PUMP_UNTIL(offset == MIB);
}
END_TEST

/* Takes a few bytes, leaves the rest, pauses, and resumes. */
static void take_a_few_and_pause(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    size_t length = jd_buffer_readable(input) < 1000 ? jd_buffer_readable(input) : 1000;
    const void *data = jd_buffer_peek(input, length);

    pattern_expect(data, offset, length);
    offset += length;
    jd_buffer_consume(input, length);
    pause_it(connection, NULL);
    ck_assert_int_eq(jd_tcp_connection_post(jd_tcp_connection_id(connection), resume_it, NULL), 0);
}

START_TEST(what_a_pausing_handler_leaves_comes_again_at_resume)
{
    serve(&(struct service){ .on_message = take_a_few_and_pause });
    int client = client_connect_up();

    client_send_pattern(client, 0, 200 * KIB);
    client_shutdown(client);

    PUMP_UNTIL(offset == 200 * KIB);
    client_expect_end(client);
}
END_TEST

static unsigned deliveries;
static uint64_t first_turn, delivered_turn;

/* Checks the next byte and leaves the rest. */
static void take_a_byte(jd_buffer *input)
{
    pattern_expect(jd_buffer_peek(input, 1), offset++, 1);
    jd_buffer_consume(input, 1);
    deliveries++;
}

static void take_a_byte_and_pause_and_resume(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received,
                                             void *arg)
{
    take_a_byte(input);
    pause_it(connection, NULL);
    resume_it(connection, NULL);
}

START_TEST(what_is_left_comes_again_after_a_pause_and_resume_in_each_callback)
{
    serve(&(struct service){ .on_message = take_a_byte_and_pause_and_resume, .on_down = note_error });
    int client = client_connect_up();

    client_send_pattern(client, 0, 4);
    client_shutdown(client);

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_uint_eq(offset, 4);
    ck_assert_uint_eq(deliveries, 4);
    ck_assert_int_eq(down_error, 0);
}
END_TEST

static unsigned bytes_to_take;

static void take_a_byte_if_told_to(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    if (bytes_to_take == 0)
        return;
    bytes_to_take--;
    take_a_byte(input);
}

START_TEST(what_was_left_before_the_pause_comes_again_at_resume)
{
    serve(&(struct service){ .on_message = take_a_byte_if_told_to });
    int client = client_connect_up();
    client_send_pattern(client, 0, 3);
    PUMP_UNTIL(strcmp(story(0), "up message") == 0);
    pump_until_quiet();
    bytes_to_take = 1;

    ask(pause_it);
    ask(resume_it);
    PUMP_UNTIL(offset == 1);

    bytes_to_take = 1;
    ask(pause_it);
    ask(pause_it);
    pump_until_quiet();
    ck_assert_uint_eq(offset, 1);
    ask(resume_it);
    PUMP_UNTIL(offset == 2);
}
END_TEST

/* The half-close callback's promise: no more messages come. */
static void pause_and_resume_behind_the_end(jd_tcp_connection *connection, void *arg)
{
    bytes_to_take = 1;
    pause_it(connection, NULL);
    resume_it(connection, NULL);
    ck_assert_int_eq(jd_tcp_connection_deliver_again(connection), 0);
}

START_TEST(what_is_left_does_not_come_again_behind_the_fin)
{
    serve(&(struct service){ .options.allow_half_open = true,
                             .on_message = take_a_byte_if_told_to,
                             .on_half_close = pause_and_resume_behind_the_end });
    int client = client_connect_up();

    client_send_pattern(client, 0, 3);
    client_shutdown(client);
    PUMP_UNTIL(strcmp(story(0), "up message half-close") == 0);
    pump_until_quiet();

    ck_assert_uint_eq(offset, 0);
    ck_assert_str_eq(story(0), "up message half-close");
}
END_TEST

/* The next delivery is not of the same turn. */
static void expect_another_turn(void)
{
    ck_assert(deliveries == 0 || statistics().turns > delivered_turn);
    delivered_turn = statistics().turns;
    first_turn = deliveries == 0 ? delivered_turn : first_turn;
}

static void take_a_byte_and_ask_again(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    expect_another_turn();
    take_a_byte(input);
    ck_assert_int_eq(jd_tcp_connection_deliver_again(connection), 0);
}

START_TEST(what_is_left_comes_again_in_the_next_turn_if_asked_for)
{
    serve(&(struct service){ .on_message = take_a_byte_and_ask_again, .on_down = note_error });
    int client = client_connect_up();

    client_send_pattern(client, 0, 10);
    client_shutdown(client);

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_uint_eq(deliveries, 10);
    if (!engine_is("late")) /* which delivers in pieces of its own */
        ck_assert_uint_eq(delivered_turn - first_turn, 9);
    ck_assert_int_eq(down_error, 0);
    ck_assert_str_eq(story(0), "up message down");
}
END_TEST

/* The callback takes less in a turn than the peer can send: TCP holds the peer back, and the input does not grow. */
static void take_little_and_ask_again(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    size_t length = jd_buffer_readable(input) < 16 * KIB ? jd_buffer_readable(input) : 16 * KIB;

    expect_another_turn();
    deliveries++;
    pattern_expect(jd_buffer_peek(input, length), offset, length);
    offset += length;
    jd_buffer_consume(input, length);
    ck_assert_int_eq(jd_tcp_connection_deliver_again(connection), 0);
}

START_TEST(a_callback_that_asks_again_is_not_overrun_by_its_peer)
{
    serve(&(struct service){ .options.input_limit = MIB, .on_message = take_little_and_ask_again });
    int client = client_connect_up();

    client_send_pattern(client, 0, 8 * MIB);

    PUMP_UNTIL(offset == 8 * MIB);
}
END_TEST

static void pause_and_ask_again(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    take_a_byte(input);
    ck_assert_int_eq(jd_tcp_connection_deliver_again(connection), 0);
    pause_it(connection, NULL);
}

START_TEST(what_is_asked_for_again_waits_for_resume)
{
    serve(&(struct service){ .on_message = pause_and_ask_again });
    int client = client_connect_up();

    client_send_pattern(client, 0, 2);
    PUMP_UNTIL(deliveries == 1);
    pump_until_quiet();
    ck_assert_uint_eq(deliveries, 1);

    ask(resume_it);
    PUMP_UNTIL(deliveries == 2);
}
END_TEST

static void ask_again_for_frames(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received,
                                 void *arg)
{
    expect_another_turn();
    deliveries++;
    ck_assert_int_eq(jd_tcp_connection_deliver_again(connection), 0);
}

START_TEST(frames_come_one_in_a_turn_if_asked_for_again)
{
    jd_codec *lines;
    ck_assert_int_eq(jd_delimiter_codec_create(&lines, &(jd_delimiter_codec_options){ .delimiter = "\n" }), 0);
    serve(&(struct service){ .codec = lines, .on_frame = ask_again_for_frames });
    int client = client_connect_up();

    client_send(client, "1\n2\n3\n", 6);
    client_shutdown(client);

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_uint_eq(deliveries, 3);
    jd_event_loop_destroy(the_loop);
    the_loop = NULL;
    jd_codec_destroy(lines);
}
END_TEST

static void ask_again_when_closing(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_deliver_again(connection), 0);
    close_it(connection, NULL);
    ck_assert_int_eq(jd_tcp_connection_deliver_again(connection), JD_ENOTCONN);
}

START_TEST(a_closing_connection_delivers_nothing_again)
{
    serve(&(struct service){ .on_message = ask_again_when_closing });
    int client = client_connect_up();

    client_send(client, "12", 2);

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_str_eq(story(0), "up message down");
}
END_TEST

static void answer(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_send(connection, "answer", 6), 0);
}

START_TEST(a_paused_connection_still_sends)
{
    serve(&(struct service){ .on_up = pause_it });
    int client = client_connect_up();
    client_send(client, "unread", 6);

    ask(answer);

    client_expect(client, "answer", 6);
    ck_assert_str_eq(story(0), "up");
}
END_TEST

START_TEST(a_paused_connection_can_be_closed)
{
    serve(&(struct service){ .on_up = pause_it });
    int client = client_connect_up();
    client_send(client, "unread", 6);
    pump_until_quiet();

    ask(close_it);

    PUMP_UNTIL(connections_down() == 1);
    PUMP_UNTIL(client_is_over(client));
    ck_assert_str_eq(story(0), "up down");
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "pausing");

    tcase_add_test(tests, a_peer_that_sends_without_end_to_a_paused_reader_costs_no_memory_and_loses_nothing);
    tcase_add_test(tests, a_reset_is_noticed_while_paused);
    tcase_add_test(tests, a_reset_behind_unread_bytes_is_noticed_while_paused);
    tcase_add_test(tests, a_fin_is_reported_at_resume_behind_the_bytes_before_it);
    tcase_add_test(tests, a_fin_from_both_sides_waits_for_resume_and_the_loop_sleeps);
    tcase_add_test(tests, a_pause_and_resume_in_one_callback_change_nothing);
    tcase_add_test(tests, what_a_pausing_handler_leaves_comes_again_at_resume);
    tcase_add_test(tests, what_is_left_comes_again_after_a_pause_and_resume_in_each_callback);
    tcase_add_test(tests, what_was_left_before_the_pause_comes_again_at_resume);
    tcase_add_test(tests, what_is_left_does_not_come_again_behind_the_fin);
    tcase_add_test(tests, what_is_left_comes_again_in_the_next_turn_if_asked_for);
    tcase_add_test(tests, a_callback_that_asks_again_is_not_overrun_by_its_peer);
    tcase_add_test(tests, what_is_asked_for_again_waits_for_resume);
    tcase_add_test(tests, frames_come_one_in_a_turn_if_asked_for_again);
    tcase_add_test(tests, a_closing_connection_delivers_nothing_again);
    tcase_add_test(tests, a_paused_connection_still_sends);
    tcase_add_test(tests, a_paused_connection_can_be_closed);
}
