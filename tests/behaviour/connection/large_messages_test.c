/* Messages of a receive block and more: what arrives together is received by one call, delivered in the same turn and
 * answered by one send. The sizes are around the powers of two, as most buffers are. */
#include "base/posix/system_calls.h"
#include "tests/behaviour/client/client_fixture.h"

#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#if JD_WITH_IO_URING
#include <liburing.h>
#endif

const char *const suite_name = "large_messages";

enum {
    KIB = 1024,
    BUFFER_BYTES = 2 * 1024 * KIB,
    WARM_UP = 4,
    ROUNDS = 8,
    OLD_PIECE_BYTES = 4 * KIB, /* "old_uring" receives into blocks of this size */
    OLD_PIECES_AT_ONCE = 32,   /* Linux, io_uring/net.c: MULTISHOT_MAX_RETRY */
    BLOCK_BYTES = 64 * KIB,
    REACTOR_RECEIVES_BYTES = 192 * KIB, /* at once */
};

static const size_t sizes[] = { 65535, 65536, 65537, 131071, 131072, 131073, 196608, 262144 };

enum { SIZES = sizeof(sizes) / sizeof(*sizes) };

/* ---- counting: also in the simulated engine's workers ---- */

static _Atomic unsigned receives, sends;
static struct system_calls real;

static ssize_t counting_recv(int fd, void *data, size_t size, int flags)
{
    receives++;
    return real.recv(fd, data, size, flags);
}

static ssize_t counting_recvmsg(int fd, struct msghdr *message, int flags)
{
    receives++;
    return real.recvmsg(fd, message, flags);
}

static ssize_t counting_send(int fd, const void *data, size_t size, int flags)
{
    sends++;
    return real.send(fd, data, size, flags);
}

static ssize_t counting_sendmsg(int fd, const struct msghdr *message, int flags)
{
    sends++;
    return real.sendmsg(fd, message, flags);
}

#if JD_WITH_IO_URING
static int counting_enter(struct io_uring *ring, unsigned submissions, unsigned completions, unsigned flags,
                          const void *argument, size_t argument_bytes)
{
    for (unsigned i = 0; i < submissions; i++) {
        uint8_t opcode = ring->sq.sqes[(*ring->sq.khead + i) & ring->sq.ring_mask].opcode;
        sends += opcode == IORING_OP_SEND || opcode == IORING_OP_SENDMSG;
    }
    return real.io_uring_enter(ring, submissions, completions, flags, argument, argument_bytes);
}
#endif

static void begin_to_count(void)
{
    real = system_calls;
    system_calls.recv = counting_recv;
    system_calls.recvmsg = counting_recvmsg;
    system_calls.send = counting_send;
    system_calls.sendmsg = counting_sendmsg;
#if JD_WITH_IO_URING
    system_calls.io_uring_enter = counting_enter;
#endif
}

static void end_to_count(void)
{
    system_calls_reset();
}

/* ---- tests ---- */

/* The server's kernel has the whole message before the loop takes a step. */
static void send_whole(int client, size_t offset, size_t bytes)
{
    static unsigned char data[262144];
    int unacknowledged = 1;

    pattern_fill(data, offset, bytes);
    ck_assert_uint_eq(client_send_some(client, data, bytes), bytes);
    while (unacknowledged > 0)
        ck_assert_int_eq(ioctl(client, SIOCOUTQ, &unacknowledged), 0);
}

static int connect_with_room(void)
{
    const int room = BUFFER_BYTES;
    int client = client_connect_with_receive_buffer(room);

    ck_assert_int_eq(setsockopt(client, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)), 0);
    return client;
}

static void echo_some(int client, size_t *offset, size_t bytes, unsigned messages)
{
    for (unsigned i = 0; i < messages; i++) {
        send_whole(client, *offset, bytes);
        client_expect_pattern(client, *offset, bytes);
        *offset += bytes;
    }
}

/* What the engine may need for one message, at the most. Raw loops with reads of 64 KiB need more: a receive and a send for
 * each block, and another receive behind a full block. */
static unsigned receives_for(size_t bytes)
{
    return engine_is("reactor") ? 1 + (unsigned)(bytes / REACTOR_RECEIVES_BYTES) : (unsigned)(bytes / BLOCK_BYTES) + 2;
}

static unsigned sends_for(size_t bytes)
{
    if (engine_is("reactor"))
        return receives_for(bytes);
    if (engine_is("simulated")) /* its pieces are completions of several turns */
        return (unsigned)(bytes / BLOCK_BYTES) + 1;
    if (getenv("JD_TEST_ENGINE") != NULL && strcmp(getenv("JD_TEST_ENGINE"), "old_uring") == 0)
        return 1 + (unsigned)((bytes + OLD_PIECE_BYTES - 1) / OLD_PIECE_BYTES / OLD_PIECES_AT_ONCE);
    return 1;
}

static const jd_tcp_server_options with_room = { .receive_buffer_bytes = BUFFER_BYTES,
                                                 .send_buffer_bytes = BUFFER_BYTES,
                                                 .budget_bytes = 512 * KIB };

/* No flush because the machine is slow. */
static const jd_event_loop_options flushed_at_any_age = { .flush_age_us = 100 * 1000 * 1000 };

START_TEST(a_message_of_several_blocks_costs_one_receive_and_one_send)
{
    size_t bytes = sizes[_i], offset = 0;
    unsigned receives_before, sends_before;
    remake_the_loop(&flushed_at_any_age);
    serve(&(struct service){ .options = with_room, .on_message = echo });
    int client = connect_with_room();
    echo_some(client, &offset, bytes, WARM_UP);
    receives_before = receives;
    sends_before = sends;

    echo_some(client, &offset, bytes, ROUNDS);

    if (engine_is("late")) /* receives and sends single bytes at random */
        return;
    ck_assert_uint_le(receives - receives_before, ROUNDS * receives_for(bytes));
    ck_assert_uint_le(sends - sends_before, ROUNDS * sends_for(bytes));
}
END_TEST

static jd_tcp_connection *other;

static void keep_the_second(jd_tcp_connection *connection, void *arg)
{
    if (connections_up() == 1)
        other = connection;
}

static void relay(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    ck_assert_ptr_ne(connection, other);
    ck_assert_int_eq(jd_tcp_connection_send_buffer(other, input), 0);
}

START_TEST(a_relay_sends_on_in_one_send_what_arrives_together)
{
    size_t bytes = sizes[_i], offset = 0;
    unsigned sends_before = 0;
    remake_the_loop(&flushed_at_any_age);
    serve(&(struct service){ .options = with_room, .on_up = keep_the_second, .on_message = relay });
    int from = connect_with_room(), to;
    PUMP_UNTIL(connections_up() == 1);
    to = connect_with_room();
    PUMP_UNTIL(connections_up() == 2);

    for (unsigned i = 0; i < WARM_UP + ROUNDS; i++) {
        if (i == WARM_UP)
            sends_before = sends;
        send_whole(from, offset, bytes);
        client_expect_pattern(to, offset, bytes);
        offset += bytes;
    }

    if (engine_is("late"))
        return;
    ck_assert_uint_le(sends - sends_before, ROUNDS * sends_for(bytes));
}
END_TEST

/* The callback that gets the first block pauses, closes, or consumes a part. */
static enum { CONSUMES_ODD_PIECES, PAUSES, CLOSES, MANNERS } manner;
static size_t consumed;

static void resume_it(jd_tcp_connection *connection, void *arg)
{
    if (connection != NULL && jd_tcp_connection_is_connected(connection))
        ck_assert_int_eq(jd_tcp_connection_resume_reading(connection), 0);
}

static void misbehave(jd_tcp_connection *connection, jd_buffer *input, jd_timestamp received, void *arg)
{
    enum { ODD_BYTES = 50021 };
    size_t length = jd_buffer_readable(input);

    if (manner == CONSUMES_ODD_PIECES)
        length = length < ODD_BYTES ? length : ODD_BYTES;
    pattern_expect(jd_buffer_peek(input, length), consumed, length);
    consumed += length;
    jd_buffer_consume(input, length);
    if (manner == CONSUMES_ODD_PIECES && jd_buffer_readable(input) > 0)
        ck_assert_int_eq(jd_tcp_connection_deliver_again(connection), 0);
    if (manner == PAUSES) {
        ck_assert_int_eq(jd_tcp_connection_pause_reading(connection), 0);
        ck_assert_int_eq(jd_tcp_connection_post(jd_tcp_connection_id(connection), resume_it, NULL), 0);
    }
    if (manner == CLOSES)
        ck_assert_int_eq(jd_tcp_connection_close(connection), 0);
}

START_TEST(the_blocks_of_one_receive_obey_what_the_callback_of_the_first_asks_for)
{
    enum { MESSAGES = 6, BYTES = 262144 };
    consumed = 0;
    manner = CONSUMES_ODD_PIECES;
    serve(&(struct service){ .options = with_room, .on_message = misbehave });
    int client = connect_with_room();

    for (size_t i = 0; i < MESSAGES; i++) {
        if (i == 1) /* from now on several blocks at once */
            manner = _i;
        send_whole(client, i * BYTES, BYTES);
        if (manner != CLOSES)
            PUMP_UNTIL(consumed == (i + 1) * BYTES);
        else
            break;
    }

    if (manner == CLOSES) {
        PUMP_UNTIL(connections_down() == 1);
        ck_assert_uint_lt(consumed, 2 * BYTES);
    }
}
END_TEST

/* Bytes that no callback has seen yet are not what callbacks have left. */
START_TEST(what_arrives_with_the_bytes_at_which_a_callback_pauses_does_not_count_for_input_limit)
{
    enum { MESSAGES = 6, BYTES = 262144 };
    jd_tcp_server_options options = with_room;
    consumed = 0;
    manner = PAUSES;
    options.input_limit = BLOCK_BYTES;
    serve(&(struct service){ .options = options, .on_message = misbehave });
    int client = connect_with_room();

    for (size_t i = 0; i < MESSAGES; i++) {
        send_whole(client, i * BYTES, BYTES);
        PUMP_UNTIL(consumed == (i + 1) * BYTES || connections_down() > 0);
    }

    ck_assert_uint_eq(connections_down(), 0);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "large messages");

    tcase_add_checked_fixture(tests, begin_to_count, end_to_count);
    tcase_add_loop_test(tests, a_message_of_several_blocks_costs_one_receive_and_one_send, 0, SIZES);
    tcase_add_loop_test(tests, a_relay_sends_on_in_one_send_what_arrives_together, 0, SIZES);
    tcase_add_test(tests, what_arrives_with_the_bytes_at_which_a_callback_pauses_does_not_count_for_input_limit);
    tcase_add_loop_test(tests, the_blocks_of_one_receive_obey_what_the_callback_of_the_first_asks_for, 0, MANNERS);
}
