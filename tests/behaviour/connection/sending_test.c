/* What is sent arrives: whole, in order, gathered, and within the limits. */
#include "tests/behaviour/harness.h"

#include <poll.h>
#include <string.h>

const char *const suite_name = "sending";

enum {
    MIB = 1024 * 1024,
    ODD_PIECE_BYTES = 1021, /* no divisor of any block */
    TINY_BUFFER_BYTES = 4096,
};

/* Sends bytes first to last of the pattern, in odd pieces. */
static void send_pattern(jd_tcp_connection *connection, size_t offset, size_t length)
{
    unsigned char piece[ODD_PIECE_BYTES];

    while (length > 0) {
        size_t count = length < sizeof(piece) ? length : sizeof(piece);
        pattern_fill(piece, offset, count);
        ck_assert_int_eq(jd_tcp_connection_send(connection, piece, count), 0);
        offset += count;
        length -= count;
    }
}

static void send_as_asked(jd_tcp_connection *connection, void *arg)
{
    const size_t *bytes = arg;

    send_pattern(connection, 0, *bytes);
}

/* Only the turn's end flushes. */
static const jd_event_loop_options flush_late = { .flush_bytes = UINT32_MAX,
                                                  .flush_connections = UINT32_MAX,
                                                  .flush_age_us = 100 * 1000 * 1000 };

/* ---- order ---- */

START_TEST(megabytes_come_back_in_order)
{
    serve(&(struct service){ .on_message = echo });
    int client = client_connect();

    for (size_t offset = 0; offset < 4 * MIB; offset += MIB / 2) {
        client_send_pattern(client, offset, MIB / 2);
        client_expect_pattern(client, offset, MIB / 2);
    }
}
END_TEST

/* Pitfall 9. */
START_TEST(bytes_keep_their_order_through_tiny_send_and_receive_buffers)
{
    size_t bytes = 2 * MIB;
    serve(&(struct service){ .options.send_buffer_bytes = TINY_BUFFER_BYTES, .on_up = send_as_asked, .arg = &bytes });

    int client = client_connect_with_receive_buffer(TINY_BUFFER_BYTES);

    client_expect_pattern(client, 0, bytes);
}
END_TEST

static void send_more(jd_tcp_connection *connection, void *arg)
{
    size_t *sent = arg;

    if (*sent >= MIB)
        return;
    send_pattern(connection, *sent, 10 * ODD_PIECE_BYTES);
    *sent += 10 * ODD_PIECE_BYTES;
}

START_TEST(sending_from_write_complete_keeps_order)
{
    size_t sent = 0;
    serve(&(struct service){ .on_up = send_more, .on_write_complete = send_more, .arg = &sent });

    int client = client_connect();

    client_expect_pattern(client, 0, MIB);
}
END_TEST

/* The peer takes nothing until all has been echoed: receive blocks are passed on whole, the engine gets others. */
START_TEST(blocks_passed_on_by_send_buffer_keep_order_when_the_peer_is_slow)
{
    const size_t bytes = 12 * MIB;
    serve(&(struct service){ .options.above_watermark = JD_ABOVE_WATERMARK_KEEP_READING, .on_message = echo });
    int client = client_connect();

    client_send_pattern(client, 0, bytes);
    PUMP_UNTIL(bytes_received() == bytes);

    client_expect_pattern(client, 0, bytes);
}
END_TEST

/* Pitfall 7, of the pools: memory falls after a burst. */
START_TEST(memory_returns_after_a_burst)
{
    const size_t bytes = 8 * MIB;
    serve(&(struct service){ .options.above_watermark = JD_ABOVE_WATERMARK_KEEP_READING, .on_message = echo });
    int client = client_connect();
    client_send_pattern(client, 0, bytes);
    PUMP_UNTIL(bytes_received() == bytes);

    client_expect_pattern(client, 0, bytes);

    PUMP_UNTIL(statistics().bytes_sent == bytes);
    pump_until_quiet();
    ck_assert_uint_lt(statistics().pool_bytes, 2 * MIB);
}
END_TEST

/* ---- gathering ---- */

static void send_sixteen_times(jd_tcp_connection *connection, void *arg)
{
    for (int i = 0; i < 16; i++)
        ck_assert_int_eq(jd_tcp_connection_send(connection, "0123456789", 10), 0);
}

START_TEST(sixteen_sends_in_one_handler_are_one_flush)
{
    remake_the_loop(&flush_late);
    serve(&(struct service){ .on_up = send_sixteen_times });
    char received[160];

    int client = client_connect();

    client_receive(client, received, sizeof(received));
    ck_assert_uint_eq(statistics().flushes, 1);
}
END_TEST

START_TEST(much_output_is_flushed_while_the_handler_still_sends)
{
    size_t bytes = MIB;
    remake_the_loop(&(jd_event_loop_options){ .flush_age_us = 100 * 1000 * 1000 });
    serve(&(struct service){ .on_up = send_as_asked, .arg = &bytes });

    int client = client_connect();

    client_expect_pattern(client, 0, bytes);
    ck_assert_uint_gt(statistics().flushes, 1);
}
END_TEST

/* ---- answers to one input ---- */

enum { LINES = 20, LINES_BYTES = 2 * LINES, PATIENCE_MS = 20000, AGE_MS = 1000 };

static jd_codec *lines;
static char line_batch[LINES_BYTES];

static void serve_lines(struct service service, jd_event_loop_options options)
{
    ck_assert_int_eq(jd_delimiter_codec_create(&lines, &(jd_delimiter_codec_options){ .delimiter = "\n" }), 0);
    remake_the_loop(&options);
    service.codec = lines;
    serve(&service);
}

static void send_lines(int client)
{
    for (int i = 0; i < LINES; i++)
        memcpy(line_batch + (size_t)i * 2, "x\n", 2);
    client_send(client, line_batch, LINES_BYTES);
}

static void end_lines(int client)
{
    client_close(client);
    PUMP_UNTIL(connections_down() == connections_up());
    jd_codec_destroy(lines);
}

static void answer_line(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received,
                        void *arg)
{
    ck_assert_int_eq(jd_codec_send(lines, connection, data, length), 0);
}

/* Though before each callback there is a connection too many that waits. In two parts they would make the peer go on in two. */
START_TEST(answers_to_one_input_leave_together)
{
    serve_lines((struct service){ .on_frame = answer_line },
                (jd_event_loop_options){ .flush_connections = 1, .flush_age_us = 100 * 1000 * 1000 });
    int client = client_connect();

    send_lines(client);

    client_expect(client, line_batch, LINES_BYTES);
    ck_assert_uint_eq(statistics().flushes, 1);
    end_lines(client);
}
END_TEST

/* One that is slow, of others, makes no difference to them: what they answer is not as old as that. */
static void answer_line_and_wait(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received,
                                 void *arg)
{
    if (length > 1)
        poll(NULL, 0, 2 * AGE_MS);
    answer_line(connection, data, length, received, arg);
}

START_TEST(answers_leave_together_behind_a_slow_handler_of_another_connection)
{
    serve_lines((struct service){ .on_frame = answer_line_and_wait },
                (jd_event_loop_options){ .flush_age_us = AGE_MS * 1000 });
    int other = client_connect(), client = client_connect();
    PUMP_UNTIL(connections_up() == 2);

    client_send(other, "slow\n", 5);
    send_lines(client);

    client_expect(other, "slow\n", 5);
    client_expect(client, line_batch, LINES_BYTES);
    ck_assert_uint_eq(statistics().flushes, 2);
    client_close(other);
    end_lines(client);
}
END_TEST

/* Waits before the last answer until one has arrived. The first connection's line is not answered; each later one is followed
 * by something for that connection. */
struct slow_answers {
    int client, count;
    size_t elsewhere_bytes;
    jd_tcp_connection *elsewhere;
};

static void answer_line_slowly(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received,
                               void *arg)
{
    static const char something[200];
    struct slow_answers *slow = arg;
    struct pollfd readable = { .fd = slow->client, .events = POLLIN };

    if (slow->elsewhere == NULL && slow->elsewhere_bytes > 0) {
        slow->elsewhere = connection;
        return;
    }
    if (++slow->count == LINES)
        ck_assert_int_eq(poll(&readable, 1, PATIENCE_MS), 1);
    else
        poll(&readable, 1, 2);
    if (slow->elsewhere != NULL)
        ck_assert_int_eq(jd_tcp_connection_send(slow->elsewhere, something, slow->elsewhere_bytes), 0);
    answer_line(connection, data, length, received, arg);
}

static const struct {
    jd_event_loop_options options;
    size_t elsewhere_bytes;
} slow_cases[] = {
    { { .flush_age_us = 1 }, 0 },
    { { .flush_age_us = 1, .flush_connections = 1 }, 0 },
    { { .flush_age_us = 500, .flush_connections = 2 }, 2 },
    { { .flush_age_us = 500, .flush_bytes = 100 }, 150 }, /* those leave at once */
};

START_TEST(answers_of_slow_handlers_do_not_wait_for_the_end_of_the_input)
{
    struct slow_answers slow = { .elsewhere_bytes = slow_cases[_i].elsewhere_bytes };
    serve_lines((struct service){ .on_frame = answer_line_slowly, .arg = &slow }, slow_cases[_i].options);
    int elsewhere = client_connect();
    if (slow.elsewhere_bytes > 0) {
        client_send(elsewhere, "x\n", 2);
        PUMP_UNTIL(slow.elsewhere != NULL);
    }
    slow.client = client_connect();

    send_lines(slow.client);

    client_expect(slow.client, line_batch, LINES_BYTES);
    client_close(elsewhere);
    end_lines(slow.client);
}
END_TEST

static void send_nothing(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_send(connection, "", 0), 0);
    ck_assert_uint_eq(jd_tcp_connection_queued_bytes(connection), 0);
}

START_TEST(sending_no_bytes_is_allowed_and_does_nothing)
{
    serve(&(struct service){ .on_up = send_nothing });

    client_connect();

    PUMP_UNTIL(connections_up() == 1);
    pump_until_quiet();
    ck_assert_uint_eq(statistics().flushes, 0);
}
END_TEST

/* ---- send_buffer ---- */

static void echo_and_look(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    ck_assert_int_eq(jd_tcp_connection_send_buffer(connection, input), 0);
    ck_assert_uint_eq(jd_buffer_readable(input), 0);
    ck_assert_int_eq(jd_tcp_connection_send_buffer(connection, input), 0); /* of nothing */
}

START_TEST(send_buffer_leaves_the_buffer_empty)
{
    serve(&(struct service){ .on_message = echo_and_look });
    int client = client_connect();

    client_send_pattern(client, 0, MIB);

    client_expect_pattern(client, 0, MIB);
}
END_TEST

static void send_own_buffer(jd_tcp_connection *connection, void *arg)
{
    jd_buffer *buffer;

    ck_assert_int_eq(jd_buffer_create(&buffer), 0);
    ck_assert_int_eq(jd_buffer_append(buffer, "and back", 8), 0);
    ck_assert_int_eq(jd_buffer_prepend(buffer, "there ", 6), 0);
    ck_assert_int_eq(jd_tcp_connection_send_buffer(connection, buffer), 0);
    ck_assert_uint_eq(jd_buffer_readable(buffer), 0);
    jd_buffer_destroy(buffer);
}

START_TEST(send_buffer_takes_a_buffer_of_the_users_own)
{
    serve(&(struct service){ .on_up = send_own_buffer });

    int client = client_connect();

    client_expect(client, "there and back", 14);
}
END_TEST

/* Each connection's input goes out on the other one. */
static void forward(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    bool is_first = jd_tcp_connection_id(connection) == connection_id(0);
    jd_tcp_connection *other = jd_tcp_connection_find(connection_id(is_first ? 1 : 0));

    ck_assert_ptr_nonnull(other);
    ck_assert_int_eq(jd_tcp_connection_send_buffer(other, input), 0);
}

START_TEST(send_buffer_passes_input_on_to_another_connection)
{
    serve(&(struct service){ .on_message = forward });
    int one = client_connect(), other = client_connect();
    PUMP_UNTIL(connections_up() == 2);

    client_send_pattern(one, 0, MIB);
    client_expect_pattern(other, 0, MIB);
    client_send_pattern(other, MIB, MIB);
    client_expect_pattern(one, MIB, MIB);
}
END_TEST

/* ---- the limit ---- */

enum { LIMIT_BYTES = 100 * 1000 };

static void fill_to_the_limit(jd_tcp_connection *connection, void *arg)
{
    static char data[LIMIT_BYTES];
    jd_buffer *buffer;

    send_pattern(connection, 0, 60 * 1000);
    ck_assert_int_eq(jd_tcp_connection_send(connection, data, 40 * 1000 + 1), JD_ENOBUFS);
    ck_assert_uint_eq(jd_tcp_connection_queued_bytes(connection), 60 * 1000);

    ck_assert_int_eq(jd_buffer_create(&buffer), 0);
    ck_assert_int_eq(jd_buffer_append(buffer, data, 50 * 1000), 0);
    ck_assert_int_eq(jd_tcp_connection_send_buffer(connection, buffer), JD_ENOBUFS);
    ck_assert_uint_eq(jd_buffer_readable(buffer), 50 * 1000);
    jd_buffer_destroy(buffer);

    send_pattern(connection, 60 * 1000, 40 * 1000);
    ck_assert_uint_eq(jd_tcp_connection_queued_bytes(connection), LIMIT_BYTES);
    ck_assert_int_eq(jd_tcp_connection_send(connection, data, 1), JD_ENOBUFS);
    ck_assert_int_eq(jd_tcp_connection_shutdown(connection), 0);
}

/* Pitfall 33. */
START_TEST(a_send_beyond_the_output_limit_fails_whole)
{
    remake_the_loop(&flush_late);
    serve(&(struct service){ .options.output_limit = LIMIT_BYTES, .on_up = fill_to_the_limit });

    int client = client_connect();

    client_expect_pattern(client, 0, LIMIT_BYTES);
    client_expect_end(client);
}
END_TEST

static void fill(jd_tcp_connection *connection, void *arg)
{
    static const char data[16 * 1024];
    size_t limit = *(size_t *)arg;

    while (jd_tcp_connection_send(connection, data, sizeof(data)) == 0)
        ck_assert_uint_le(jd_tcp_connection_queued_bytes(connection), limit);
    ck_assert_uint_gt(jd_tcp_connection_queued_bytes(connection), limit - sizeof(data));
}

/* Pitfall 33. */
START_TEST(a_peer_that_never_reads_costs_no_more_than_the_output_limit)
{
    /* Uncopied, what the kernel has taken lies in our memory: as much as the socket's buffer may become (tcp(7)). */
    size_t limit = 2 * MIB, kernels = option_is("zero_copy") ? 4 * MIB : 0, memory_before;
    serve(&(struct service){ .options.output_limit = limit });
    int client = client_connect_with_receive_buffer(TINY_BUFFER_BYTES);
    PUMP_UNTIL(connections_up() == 1);
    memory_before = jd_memory_in_use();

    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(jd_tcp_connection_post(connection_id(0), fill, &limit), 0);
        pump_until_quiet();
        ck_assert_uint_lt(jd_memory_in_use(), memory_before + limit + kernels + MIB / 2);
    }

    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    pump_until_quiet();
    ck_assert_uint_lt(statistics().pool_bytes, 2 * MIB);
}
END_TEST

/* ---- write complete ---- */

static void expect_nothing_queued(jd_tcp_connection *connection, void *arg)
{
    ck_assert_uint_eq(jd_tcp_connection_queued_bytes(connection), 0);
    ++*(unsigned *)arg;
}

static void send_a_megabyte(jd_tcp_connection *connection, void *arg)
{
    send_pattern(connection, 0, MIB);
}

START_TEST(write_complete_comes_when_everything_is_with_the_kernel)
{
    unsigned completions = 0;
    serve(&(struct service){ .options.send_buffer_bytes = TINY_BUFFER_BYTES,
                             .on_up = send_a_megabyte,
                             .on_write_complete = expect_nothing_queued,
                             .arg = &completions });
    int client = client_connect_with_receive_buffer(TINY_BUFFER_BYTES);
    PUMP_UNTIL(connections_up() == 1);
    pump_until_quiet();
    ck_assert_uint_eq(completions, 0);

    client_expect_pattern(client, 0, MIB);

    PUMP_UNTIL(completions == 1);
    pump_until_quiet();
    ck_assert_uint_eq(completions, 1);
    ck_assert_str_eq(story(0), "up write-complete");
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "sending");

    tcase_add_test(tests, megabytes_come_back_in_order);
    tcase_add_test(tests, bytes_keep_their_order_through_tiny_send_and_receive_buffers);
    tcase_add_test(tests, sending_from_write_complete_keeps_order);
    tcase_add_test(tests, blocks_passed_on_by_send_buffer_keep_order_when_the_peer_is_slow);
    tcase_add_test(tests, memory_returns_after_a_burst);
    tcase_add_test(tests, sixteen_sends_in_one_handler_are_one_flush);
    tcase_add_test(tests, much_output_is_flushed_while_the_handler_still_sends);
    if (!engine_is("late")) { /* which cuts what arrives and gives what is sent time */
        tcase_add_test(tests, answers_to_one_input_leave_together);
        tcase_add_test(tests, answers_leave_together_behind_a_slow_handler_of_another_connection);
        tcase_add_loop_test(tests, answers_of_slow_handlers_do_not_wait_for_the_end_of_the_input, 0,
                            sizeof(slow_cases) / sizeof(slow_cases[0]));
    }
    tcase_add_test(tests, sending_no_bytes_is_allowed_and_does_nothing);
    tcase_add_test(tests, send_buffer_leaves_the_buffer_empty);
    tcase_add_test(tests, send_buffer_takes_a_buffer_of_the_users_own);
    tcase_add_test(tests, send_buffer_passes_input_on_to_another_connection);
    tcase_add_test(tests, a_send_beyond_the_output_limit_fails_whole);
    tcase_add_test(tests, a_peer_that_never_reads_costs_no_more_than_the_output_limit);
    tcase_add_test(tests, write_complete_comes_when_everything_is_with_the_kernel);
}
