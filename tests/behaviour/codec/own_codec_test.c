/* A codec of the program's own functions over the wire: it has all that the library's codecs have. */
#include "tests/behaviour/harness.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const suite_name = "own_codec";

enum { KIB = 1024, MIB = 1024 * 1024, HEADER = 4 };

/* ---- two codecs as a user would write them ---- */

/* A length of four bytes, which is stripped. */
static int decode_length(void *arg, const uint8_t *data, size_t length, size_t *searched, jd_frame *frame)
{
    uint32_t body;

    frame->needed_bytes = HEADER;
    if (length < HEADER)
        return 0;
    memcpy(&body, data, sizeof(body));
    frame->needed_bytes = HEADER + (size_t)ntohl(body);
    if (length < frame->needed_bytes)
        return 0;
    frame->frame_bytes = frame->needed_bytes;
    frame->data = data + HEADER;
    frame->length = frame->frame_bytes - HEADER;
    return 1;
}

static int encode_length(void *arg, const jd_iovec *parts, int count, size_t length, jd_frame_addition *addition)
{
    uint32_t body = htonl((uint32_t)length);

    memcpy(addition->header, &body, sizeof(body));
    addition->header_bytes = sizeof(body);
    return 0;
}

/* A line; how long it is going to be is not known. */
static int decode_line(void *arg, const uint8_t *data, size_t length, size_t *searched, jd_frame *frame)
{
    const uint8_t *end = memchr(data + *searched, '\n', length - *searched);

    *searched = length;
    if (end == NULL)
        return 0;
    frame->frame_bytes = (size_t)(end - data) + 1;
    frame->data = data;
    frame->length = frame->frame_bytes - 1;
    return 1;
}

static int encode_line(void *arg, const jd_iovec *parts, int count, size_t length, jd_frame_addition *addition)
{
    addition->trailer[0] = '\n';
    addition->trailer_bytes = 1;
    return 0;
}

static jd_codec *codec_with(jd_codec_options options)
{
    jd_codec *codec;

    ck_assert_int_eq(jd_codec_create(&codec, &options), 0);
    return codec;
}

static const jd_codec_options kinds[] = {
    { .decode = decode_length, .encode = encode_length },
    { .decode = decode_line, .encode = encode_line },
};
enum { LENGTH, LINE, KINDS };

/* ---- frames however they are cut ---- */

/* The frames that came, in brackets. */
struct frames {
    char text[256];
    size_t length;
};

static struct frames frames;

static void note_frame(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received, void *arg)
{
    frames.length += (size_t)snprintf(frames.text + frames.length, sizeof(frames.text) - frames.length, "[%.*s]",
                                      (int)length, (const char *)data);
}

static const char *const words[] = { "one", "", "two", "a", "three hundred" };
static const char all_words[] = "[one][][two][a][three hundred]";

static size_t make_batch(const jd_codec *codec, char *batch, size_t size)
{
    jd_buffer *buffer;
    size_t length;

    ck_assert_int_eq(jd_buffer_create(&buffer), 0);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        ck_assert_int_eq(jd_codec_encode(codec, buffer, words[i], strlen(words[i])), 0);
    length = jd_buffer_readable(buffer);
    ck_assert_uint_le(length, size);
    ck_assert_int_eq(jd_buffer_copy_out(buffer, 0, batch, length), 0);
    jd_buffer_destroy(buffer);
    return length;
}

START_TEST(a_batch_of_frames_may_be_cut_at_every_byte)
{
    jd_codec *codec = codec_with(kinds[_i]);
    char batch[256];
    size_t length = make_batch(codec, batch, sizeof(batch));
    uint64_t received = 0;
    serve(&(struct service){ .codec = codec, .on_frame = note_frame });

    for (size_t cut = 1; cut < length; cut++) {
        int client = client_connect();
        frames.length = 0;
        client_send(client, batch, cut);
        received += cut;
        PUMP_UNTIL(statistics().bytes_received == received);
        client_send(client, batch + cut, length - cut);
        received += length - cut;
        PUMP_UNTIL(statistics().bytes_received == received);
        ck_assert_str_eq(frames.text, all_words);
        client_close(client);
    }
    PUMP_UNTIL(connections_down() == connections_up());
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_batch_of_frames_may_come_byte_by_byte)
{
    jd_codec *codec = codec_with(kinds[_i]);
    char batch[256];
    size_t length = make_batch(codec, batch, sizeof(batch));
    serve(&(struct service){ .codec = codec, .on_frame = note_frame });
    int client = client_connect();

    for (size_t i = 0; i < length; i++) {
        client_send(client, batch + i, 1);
        PUMP_UNTIL(statistics().bytes_received == i + 1);
    }

    ck_assert_str_eq(frames.text, all_words);
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    jd_codec_destroy(codec);
}
END_TEST

static void echo_frame(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received, void *arg)
{
    jd_iovec halves[] = { { (void *)(uintptr_t)data, length / 2 },
                          { NULL, 0 },
                          { (char *)(uintptr_t)data + length / 2, length - length / 2 } };

    if (length % 2 == 0)
        ck_assert_int_eq(jd_codec_send(arg, connection, data, length), 0);
    else
        ck_assert_int_eq(jd_codec_sendv(arg, connection, halves, 3), 0);
}

START_TEST(frames_of_all_sizes_come_back)
{
    static const size_t sizes[] = { 0, 1, 4, 5, 100, 4096, 65 * KIB, 200 * KIB, MIB, 3, 0, 300 * KIB + 1, 7 };
    jd_codec *codec = codec_with(kinds[LENGTH]);
    serve(&(struct service){ .codec = codec, .on_frame = echo_frame, .arg = codec });
    int client = client_connect();

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint32_t header = htonl((uint32_t)sizes[i]);
        client_send(client, &header, sizeof(header));
        client_send_pattern(client, i, sizes[i]);
    }

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint32_t header = htonl((uint32_t)sizes[i]);
        client_expect(client, &header, sizeof(header));
        client_expect_pattern(client, i, sizes[i]);
    }
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    jd_codec_destroy(codec);
}
END_TEST

/* A header that claims much costs what has arrived. */
START_TEST(memory_grows_with_what_arrives_not_with_what_is_needed)
{
    jd_codec_options options = kinds[LENGTH];
    options.max_frame_bytes = 64 * MIB;
    jd_codec *codec = codec_with(options);
    uint32_t header = htonl(60 * MIB);
    size_t memory_before;
    serve(&(struct service){ .codec = codec });
    int client = client_connect_up();
    memory_before = jd_memory_in_use();

    client_send(client, &header, sizeof(header));
    client_send_pattern(client, 0, 100 * KIB);

    PUMP_UNTIL(statistics().bytes_received == sizeof(header) + 100 * KIB);
    ck_assert_uint_lt(jd_memory_in_use(), memory_before + 512 * KIB);
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    jd_codec_destroy(codec);
}
END_TEST

/* ---- the connection's state ---- */

/* Of each connection: what its codec and its frame callback share. */
struct parser {
    unsigned calls;
    const uint8_t *seen; /* the bytes of the last frame */
    char first;
};

/* Lines again, in the connection's context. */
static int decode_with_context(void *arg, const uint8_t *data, size_t length, size_t *searched, jd_frame *frame)
{
    struct parser *parser = jd_tcp_connection_context(frame->connection);

    parser->calls++;
    parser->seen = data;
    return decode_line(arg, data, length, searched, frame);
}

static void note_parsed(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received,
                        void *arg)
{
    struct parser *parser = jd_tcp_connection_context(connection);

    ck_assert_ptr_eq(parser->seen, data);
    ck_assert_uint_eq(length, 1);
    parser->first = *(const char *)data;
    note_frame(connection, data, length, received, arg);
}

static void give_parser(jd_tcp_connection *connection, void *arg)
{
    jd_tcp_connection_set_context(connection, calloc(1, sizeof(struct parser)), free);
}

static void check_parser(jd_tcp_connection *connection, void *arg)
{
    const struct parser *parser = jd_tcp_connection_context(connection);

    ck_assert_uint_ge(parser->calls, 3); /* a, half of b, b */
    ck_assert_int_eq(parser->first, connection_id(0) == jd_tcp_connection_id(connection) ? 'b' : 'd');
}

START_TEST(the_state_of_a_connection_is_in_its_context_and_its_frames_are_where_they_were_decoded)
{
    jd_codec *codec = codec_with((jd_codec_options){ .decode = decode_with_context });
    serve(&(struct service){ .codec = codec, .on_frame = note_parsed, .on_up = give_parser, .on_down = check_parser });
    int first = client_connect_up(), second = client_connect_up();

    client_send(first, "a\nb", 3);
    client_send(second, "c\nd", 3);
    PUMP_UNTIL(statistics().bytes_received == 6);
    client_send(first, "\n", 1);
    client_send(second, "\n", 1);
    PUMP_UNTIL(statistics().bytes_received == 8);

    client_close(first);
    client_close(second);
    PUMP_UNTIL(connections_down() == 2);
    ck_assert_uint_eq(frames.length, 12);
    jd_codec_destroy(codec);
}
END_TEST

/* ---- limits ---- */

enum { ANSWER = 64 * KIB };

static void answer_much(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received,
                        void *arg)
{
    static const char zeroes[ANSWER];
    unsigned *answers = arg;

    ck_assert(!jd_tcp_connection_is_above_watermark(connection));
    ck_assert_int_eq(jd_tcp_connection_send(connection, zeroes, sizeof(zeroes)), 0);
    ++*answers;
}

START_TEST(delivery_stops_at_the_watermark_and_goes_on)
{
    enum { REQUESTS = 400 };
    jd_codec *codec = codec_with(kinds[_i]);
    unsigned answers = 0;
    serve(&(struct service){ .codec = codec,
                             .on_frame = answer_much,
                             .options = { .high_watermark = ANSWER, .send_buffer_bytes = 4096 },
                             .arg = &answers });
    int client = client_connect_with_receive_buffer(4096);

    for (int i = 0; i < REQUESTS; i++)
        client_send(client, _i == LENGTH ? "\0\0\0\1x" : "x123\n", 5);
    PUMP_UNTIL(answers > 0);
    pump_until_quiet();
    ck_assert_uint_lt(answers, REQUESTS);

    for (int i = 0; i < REQUESTS; i++) {
        static char answer[ANSWER];
        client_receive(client, answer, sizeof(answer));
    }
    ck_assert_uint_eq(answers, REQUESTS);
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    jd_codec_destroy(codec);
}
END_TEST

static int down_error;

static void note_error(jd_tcp_connection *connection, void *arg)
{
    down_error = jd_tcp_connection_error(connection);
}

START_TEST(half_a_frame_is_no_first_message)
{
    enum { SHORT_MS = 60 };
    jd_codec *codec = codec_with(kinds[_i]);
    serve(&(struct service){ .codec = codec, .on_down = note_error, .options.first_message_timeout_ms = SHORT_MS });
    int client = client_connect();

    client_send(client, "\0\0\0\5hell", 8);

    client_receive_to_end(client, NULL, 0);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(down_error, JD_ETIMEDOUT);
    jd_codec_destroy(codec);
}
END_TEST

/* ---- what is no frame, and codecs that break the rules ---- */

/* 'e': no frame can begin so; digits: mistakes of the codec. Any other byte is a frame. */
static int decode_badly(void *arg, const uint8_t *data, size_t length, size_t *searched, jd_frame *frame)
{
    frame->frame_bytes = 1;
    switch (data[0]) {
    case 'e':
        frame->claimed_bytes = 7;
        frame->reason = "no frame begins with e";
        return JD_EPROTO;
    case '0': /* for ever */
        frame->frame_bytes = 0;
        return 1;
    case '1':
        frame->frame_bytes = length + 1;
        return 1;
    case '2':
        frame->needed_bytes = length;
        return 0;
    case '3':
        frame->needed_bytes = 101;
        return 0;
    case '4':
        return 0;
    default:
        return 1;
    }
}

static const struct {
    const char *bytes; /* of one a frame comes first */
    size_t repeats;    /* of the last byte */
    int error;
    uint64_t claimed;
    const char *reason;
} bad_bytes[] = {
    { "ae", 1, JD_EPROTO, 7, "no frame begins with e" },
    { "a0", 1, JD_EINVAL, 0, "the codec found a frame of no bytes" },
    { "a1", 1, JD_EINVAL, 2, "the codec found a frame longer than the bytes given" },
    { "a2", 1, JD_EINVAL, 1, "the codec needs no more bytes than it was given" },
    { "a3", 1, JD_EMSGSIZE, 101, "frame too long" },
    { "a4", 100, JD_EMSGSIZE, 100, "no end within the longest frame" },
};
enum { BAD_BYTES = sizeof(bad_bytes) / sizeof(bad_bytes[0]) };

static jd_frame_error reported;

static void note_frame_error(jd_tcp_connection *connection, const jd_frame_error *error, void *arg)
{
    ck_assert_int_eq(reported.error, 0);
    ck_assert(jd_tcp_connection_is_connected(connection));
    reported = *error;
}

START_TEST(what_is_no_frame_is_reported_and_logged_and_closes_its_connection_alone)
{
    jd_codec *codec = codec_with((jd_codec_options){ .decode = decode_badly, .max_frame_bytes = 100 });
    char bytes[256];
    size_t length = strlen(bad_bytes[_i].bytes) - 1 + bad_bytes[_i].repeats;
    reported = (jd_frame_error){ 0 };
    memset(bytes, bad_bytes[_i].bytes[1], sizeof(bytes));
    bytes[0] = 'a';
    serve(&(struct service){
        .codec = codec, .on_frame = note_frame, .on_frame_error = note_frame_error, .on_down = note_error });
    int hostile = client_connect_up(), other = client_connect_up();

    client_send(hostile, bytes, length);

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_str_eq(story(0), "up frame frame-error down");
    ck_assert_str_eq(frames.text, "[a]");
    ck_assert_int_eq(reported.error, bad_bytes[_i].error);
    ck_assert_int_eq(down_error, bad_bytes[_i].error);
    ck_assert_uint_eq(reported.claimed_bytes, bad_bytes[_i].claimed);
    ck_assert_uint_eq(reported.limit_bytes, 100);
    ck_assert_str_eq(reported.reason, bad_bytes[_i].reason);
    ck_assert_msg(was_logged(bad_bytes[_i].reason), "%s", logged());
    ck_assert_str_eq(story(1), "up");
    client_close(other);
    PUMP_UNTIL(connections_down() == 2);
    jd_codec_destroy(codec);
}
END_TEST

enum { LINGER_MS = 600000 };

static void answer_frame_error(jd_tcp_connection *connection, const jd_frame_error *error, void *arg)
{
    reported = *error;
    ck_assert_int_eq(jd_tcp_connection_send(connection, "sorry", 5), 0);
    ck_assert_int_eq(jd_tcp_connection_close_after_output(connection, LINGER_MS), 0);
    ck_assert_int_eq(jd_tcp_connection_send(connection, "again", 5), JD_ENOTCONN);
}

START_TEST(what_is_no_frame_can_be_answered_before_the_connection_closes)
{
    jd_codec *codec = codec_with((jd_codec_options){ .decode = decode_badly, .max_frame_bytes = 100 });
    jd_event_loop_statistics statistics;
    char bytes[KIB];
    reported = (jd_frame_error){ 0 };
    memset(bytes, 'e', sizeof(bytes));
    bytes[0] = 'a';
    serve(&(struct service){
        .codec = codec, .on_frame = note_frame, .on_frame_error = answer_frame_error, .on_down = note_error });
    int client = client_connect_up();

    client_send(client, bytes, sizeof(bytes));
    PUMP_UNTIL(reported.error != 0);
    client_expect(client, "sorry", 5);
    client_expect_end(client);
    client_send(client, bytes, sizeof(bytes)); /* dropped, and not answered by a reset */
    ck_assert_uint_eq(connections_down(), 0);
    client_close(client);

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_str_eq(story(0), "up frame frame-error down");
    ck_assert_int_eq(down_error, JD_EPROTO);
    jd_event_loop_get_statistics(the_loop, &statistics);
    ck_assert_uint_eq(statistics.closed_by_frame_error, 1);
    jd_codec_destroy(codec);
}
END_TEST

/* ---- sending ---- */

static void try_to_send(jd_tcp_connection *connection, void *arg)
{
    ck_assert_int_eq(jd_codec_send(arg, connection, "hello", 5), JD_ENOTSUP);
    ck_assert_uint_eq(jd_tcp_connection_queued_bytes(connection), 0);
}

START_TEST(a_codec_without_encode_cannot_send)
{
    jd_codec *codec = codec_with((jd_codec_options){ .decode = decode_line });
    serve(&(struct service){ .codec = codec, .on_up = try_to_send, .arg = codec });
    int client = client_connect_up();

    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    jd_codec_destroy(codec);
}
END_TEST

static jd_tcp_connection *kept;

static void keep(jd_tcp_connection *connection, void *arg)
{
    kept = jd_tcp_connection_ref(connection);
}

static void *send_lines(void *codec)
{
    jd_iovec parts[] = { { (void *)(uintptr_t) "wor", 3 }, { (void *)(uintptr_t) "ld", 2 } };

    ck_assert_int_eq(jd_codec_send(codec, kept, "hello", 5), 0);
    ck_assert_int_eq(jd_codec_sendv(codec, kept, parts, 2), 0);
    ck_assert_int_eq(jd_codec_sendv(codec, kept, NULL, 0), 0);
    ck_assert_int_eq(jd_codec_sendv(codec, kept, parts, -1), JD_EINVAL);
    jd_tcp_connection_unref(kept);
    return NULL;
}

START_TEST(frames_are_sent_from_another_thread_too)
{
    jd_codec *codec = codec_with(kinds[LINE]);
    pthread_t thread;
    serve(&(struct service){ .codec = codec, .on_up = keep });
    int client = client_connect_up();

    ck_assert_int_eq(pthread_create(&thread, NULL, send_lines, codec), 0);
    client_expect(client, "hello\nworld\n\n", 13);

    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    jd_codec_destroy(codec);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "own codec");

    tcase_add_loop_test(tests, a_batch_of_frames_may_be_cut_at_every_byte, 0, KINDS);
    tcase_add_loop_test(tests, a_batch_of_frames_may_come_byte_by_byte, 0, KINDS);
    tcase_add_test(tests, frames_of_all_sizes_come_back);
    tcase_add_test(tests, memory_grows_with_what_arrives_not_with_what_is_needed);
    tcase_add_test(tests, the_state_of_a_connection_is_in_its_context_and_its_frames_are_where_they_were_decoded);
    tcase_add_loop_test(tests, delivery_stops_at_the_watermark_and_goes_on, 0, KINDS);
    tcase_add_loop_test(tests, half_a_frame_is_no_first_message, 0, KINDS);
    tcase_add_loop_test(tests, what_is_no_frame_is_reported_and_logged_and_closes_its_connection_alone, 0, BAD_BYTES);
    tcase_add_test(tests, what_is_no_frame_can_be_answered_before_the_connection_closes);
    tcase_add_test(tests, a_codec_without_encode_cannot_send);
    tcase_add_test(tests, frames_are_sent_from_another_thread_too);
}
