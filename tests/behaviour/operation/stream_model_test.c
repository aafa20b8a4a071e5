/* Whatever mixture of operations receives a stream, and however they are timed and cancelled: its bytes arrive once, in order
 * and whole. The right bytes are known from the sender: a counter modulo a prime. */
#include "tests/behaviour/operation/operation_record.h"

#include <jinduo/error.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

const char *const suite_name = "stream_model";

enum {
    STREAMS = 6,
    STREAM_BYTES = 2 * 1024 * 1024,
    ROOM_BYTES = 70000,
    BUFFERS = 5,
    SEND_MAX_BYTES = 90000,
    PERIOD = 251, /* of the pattern: no power of two, and below 256 */
    DELIMITER = PERIOD - 1,
    LINE_MAX_BYTES = 5000,
};

enum receive_kind {
    BY_RECEIVE,
    BY_TIMED_RECEIVE,
    BY_BUFFERS,
    BY_MULTISHOT,
    BY_READ_EXACTLY,
    BY_READ_UNTIL,
    RECEIVE_KINDS,
};

static struct stream_model {
    int sender, receiver;
    size_t sent, received;
    jd_operation operation, timer;
    enum receive_kind kind;
    jd_buffer *lines; /* of read_until */
    jd_iovec buffers[BUFFERS];
    uint8_t room[ROOM_BYTES];
    bool in_flight, timing, ended, cancelled;
} streams[STREAMS];

static uint64_t random_state;

static uint32_t below(uint32_t bound)
{
    return (uint32_t)random_below(&random_state, bound);
}

static uint32_t random_size(void)
{
    switch (below(3)) {
    case 0:
        return 1 + below(5);
    case 1:
        return 1 + below(3000);
    default:
        return 1 + below(60000);
    }
}

/* ---- what is sent, and checked ---- */

static uint8_t all_bytes[STREAM_BYTES];

static void make_bytes(void)
{
    for (size_t i = 0; i < STREAM_BYTES; i++)
        all_bytes[i] = (uint8_t)(i % PERIOD);
}

static void send_some(struct stream_model *stream)
{
    size_t left = STREAM_BYTES - stream->sent, length = 1 + below(SEND_MAX_BYTES);
    ssize_t sent;

    if (left == 0)
        return;
    length = length < left ? length : left;
    sent = send(stream->sender, all_bytes + stream->sent, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    stream->sent += sent > 0 ? (size_t)sent : 0;
    if (stream->sent == STREAM_BYTES)
        ck_assert_int_eq(shutdown(stream->sender, SHUT_WR), 0);
}

static void check(struct stream_model *stream, const uint8_t *bytes, size_t length)
{
    const uint8_t *expected = all_bytes + stream->received;
    bool differs;

    ck_assert_uint_le(length, STREAM_BYTES - stream->received);
    differs = memcmp(bytes, expected, length) != 0;
    for (size_t i = 0; differs && i < length; i++)
        if (bytes[i] != expected[i])
            ck_abort_msg("stream %td, kind %d: byte %zu of %zu at %zu is %d", stream - streams, stream->kind, i, length,
                         stream->received, bytes[i]);
    stream->received += length;
}

/* ---- completions ---- */

/* A cancelled operation, and one whose time is up, end with these errors and no others. */
static void check_error(const struct stream_model *stream, int64_t error)
{
    if (error == JD_ETIMEDOUT && (stream->kind == BY_RECEIVE || stream->kind == BY_TIMED_RECEIVE))
        return;
    ck_assert_msg(error == JD_ECANCELED && stream->cancelled, "kind %d: %s", stream->kind, jd_strerror((int)error));
}

static void note_end(struct stream_model *stream, int64_t result)
{
    stream->in_flight = false;
    stream->ended |= result == 0;
    if (result < 0)
        check_error(stream, result);
}

static void on_received(jd_operation *operation, int64_t result, void *arg)
{
    struct stream_model *stream = arg;
    size_t arrived = result > 0 ? (size_t)result : jd_operation_transferred(operation);

    check(stream, stream->room, arrived);
    if (stream->kind == BY_READ_EXACTLY && result > 0 && stream->received == STREAM_BYTES)
        result = 0; /* fewer than asked for: the end came */
    note_end(stream, result);
}

static void on_buffers(jd_operation *operation, int64_t result, void *arg)
{
    struct stream_model *stream = arg;
    size_t left = result > 0 ? (size_t)result : 0;

    for (int i = 0; i < BUFFERS && left > 0; i++) {
        size_t length = left < stream->buffers[i].length ? left : stream->buffers[i].length;
        check(stream, stream->buffers[i].data, length);
        left -= length;
    }
    ck_assert_uint_eq(left, 0);
    note_end(stream, result);
}

static void cancel(struct stream_model *stream)
{
    stream->cancelled = true;
    jd_operation_cancel(&stream->operation);
}

static void on_multishot(jd_operation *operation, int64_t result, void *arg)
{
    struct stream_model *stream = arg;

    if (result > 0)
        check(stream, jd_operation_data(operation), (size_t)result);
    if (!jd_operation_has_more(operation))
        note_end(stream, result > 0 ? JD_ECANCELED : result);
    else if (below(3) == 0)
        cancel(stream);
}

static void take_lines(struct stream_model *stream, size_t length)
{
    ck_assert_int_eq(jd_buffer_copy_out(stream->lines, 0, stream->room, length), 0);
    jd_buffer_consume(stream->lines, length);
    check(stream, stream->room, length);
}

static void on_line(jd_operation *operation, int64_t result, void *arg)
{
    struct stream_model *stream = arg;
    uint8_t last;

    if (result > 0) {
        ck_assert_int_eq(jd_buffer_copy_out(stream->lines, (size_t)result - 1, &last, 1), 0);
        ck_assert_int_eq(last, DELIMITER);
        take_lines(stream, (size_t)result);
    }
    if (result == JD_EMSGSIZE)
        take_lines(stream, jd_buffer_readable(stream->lines));
    note_end(stream, result == JD_EMSGSIZE ? JD_ECANCELED : result);
    if (result == 0)
        take_lines(stream, jd_buffer_readable(stream->lines));
}

static void on_time(jd_operation *operation, int64_t result, void *arg)
{
    struct stream_model *stream = arg;

    stream->timing = false;
    if (stream->in_flight)
        cancel(stream);
}

/* ---- operations ---- */

static void cut_room(struct stream_model *stream)
{
    size_t at = 0;

    for (int i = 0; i < BUFFERS; i++) {
        size_t length = 1 + below(below(3) == 0 ? 2000 : 10);
        stream->buffers[i] = (jd_iovec){ .data = stream->room + at, .length = length };
        at += length;
    }
}

static int begin(struct stream_model *stream)
{
    static const uint8_t delimiter = DELIMITER;
    jd_operation *operation = &stream->operation;
    size_t kept = jd_buffer_readable(stream->lines), size = random_size();

    switch (stream->kind) {
    case BY_RECEIVE:
        return jd_async_receive(the_loop, operation, stream->receiver, stream->room, size, below(4), on_received,
                                stream);
    case BY_TIMED_RECEIVE:
        return jd_async_receive(the_loop, operation, stream->receiver, stream->room, size, 1, on_received, stream);
    case BY_BUFFERS:
        cut_room(stream);
        return jd_async_receive_buffers(the_loop, operation, stream->receiver, stream->buffers, BUFFERS, on_buffers,
                                        stream);
    case BY_MULTISHOT:
        return jd_async_receive_multishot(the_loop, operation, stream->receiver, on_multishot, stream);
    case BY_READ_EXACTLY:
        return jd_async_read_exactly(the_loop, operation, stream->receiver, stream->room, size, on_received, stream);
    default:
        return jd_async_read_until(the_loop, operation, stream->receiver, stream->lines, &delimiter, 1,
                                   kept + (below(4) == 0 ? 300 : LINE_MAX_BYTES), on_line, stream);
    }
}

/* Bytes that read_until has left in its buffer come first: only another read_until may follow, until they are taken. */
static void begin_next(struct stream_model *stream)
{
    if (jd_buffer_readable(stream->lines) > 0 && below(2) == 0)
        take_lines(stream, jd_buffer_readable(stream->lines));
    stream->kind = jd_buffer_readable(stream->lines) > 0 ? BY_READ_UNTIL : (enum receive_kind)below(RECEIVE_KINDS);
    stream->in_flight = true;
    stream->cancelled = false;
    ck_assert_int_eq(begin(stream), 0);
    if (below(3) == 0)
        cancel(stream);
    else if (!stream->timing) {
        stream->timing = true;
        ck_assert_int_eq(jd_async_timeout(the_loop, &stream->timer, below(3), on_time, stream), 0);
    }
}

static bool step(void)
{
    bool all_ended = true;

    for (struct stream_model *stream = streams; stream < streams + STREAMS; stream++) {
        send_some(stream);
        if (!stream->in_flight && !stream->ended)
            begin_next(stream);
        all_ended &= stream->ended && !stream->timing;
    }
    return all_ended;
}

static void set_up(void)
{
    for (int i = 0; i < STREAMS; i++) {
        struct socket_ends ends = tcp_ends();
        int local[2];

        ck_assert_int_eq(jd_buffer_create(&streams[i].lines), 0);
        streams[i].receiver = ends.ours;
        streams[i].sender = ends.theirs;
        if (i % 2 == 0)
            continue;
        close(ends.ours);
        client_close(ends.theirs);
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, local), 0);
        streams[i].receiver = local[0];
        streams[i].sender = local[1];
    }
}

static void tear_down(void)
{
    for (int i = 0; i < STREAMS; i++) {
        close(streams[i].receiver);
        if (i % 2 == 0)
            client_close(streams[i].sender);
        else
            close(streams[i].sender);
        jd_buffer_destroy(streams[i].lines);
    }
}

START_TEST(streams_arrive_whole_whatever_mixture_of_operations_receives_them)
{
    random_state = test_seed() + (uint64_t)_i;
    make_bytes();

    PUMP_UNTIL(step());

    for (int i = 0; i < STREAMS; i++)
        ck_assert_uint_eq(streams[i].received, STREAM_BYTES);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "stream model");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, streams_arrive_whole_whatever_mixture_of_operations_receives_them, 0, 4);
}
