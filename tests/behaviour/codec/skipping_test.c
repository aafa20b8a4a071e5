/* Frames that are too long are skipped, if the codec has that option: dropped as they arrive, reported at their end. */
#include "tests/behaviour/harness.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

const char *const suite_name = "skipping";

enum { KIB = 1024, MIB = 1024 * 1024, MAX = 100, HEADER = 4 };

/* ---- the kinds of codecs ---- */

static int decode_length(void *arg, const uint8_t *data, size_t length, size_t *searched, jd_frame *frame)
{
    uint32_t body;

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

/* A line that ends with "\r\n". */
static int decode_line(void *arg, const uint8_t *data, size_t length, size_t *searched, jd_frame *frame)
{
    const uint8_t *end = memmem(data, length, "\r\n", 2);

    if (end == NULL)
        return 0;
    frame->frame_bytes = (size_t)(end - data) + 2;
    frame->data = data;
    frame->length = frame->frame_bytes - 2;
    return 1;
}

static size_t find_line_end(void *arg, const uint8_t *data, size_t length, bool *found)
{
    const uint8_t *end = memmem(data, length, "\r\n", 2);

    *found = end != NULL;
    return end != NULL ? (size_t)(end - data) + 2 : length - (data[length - 1] == '\r');
}

static int encode_line(void *arg, const jd_iovec *parts, int count, size_t length, jd_frame_addition *addition)
{
    memcpy(addition->trailer, "\r\n", 2);
    addition->trailer_bytes = 2;
    return 0;
}

enum { LENGTH, DELIMITER, OWN_LENGTH, OWN_LINE, KINDS };

static jd_codec *make_codec(int kind, size_t max, bool skips)
{
    jd_codec *codec = NULL;
    int result = JD_EINVAL;

    switch (kind) {
    case LENGTH:
        result = jd_length_codec_create(&codec, &(jd_length_codec_options){ .strip_bytes = JD_STRIP_HEADER,
                                                                            .max_frame_bytes = max,
                                                                            .skip_too_long = skips });
        break;
    case DELIMITER:
        result = jd_delimiter_codec_create(
            &codec,
            &(jd_delimiter_codec_options){ .delimiter = "\r\n", .max_frame_bytes = max, .skip_too_long = skips });
        break;
    case OWN_LENGTH:
        result = jd_codec_create(&codec, &(jd_codec_options){ .decode = decode_length,
                                                              .encode = encode_length,
                                                              .max_frame_bytes = max,
                                                              .skip_too_long = skips });
        break;
    case OWN_LINE:
        result = jd_codec_create(&codec, &(jd_codec_options){ .decode = decode_line,
                                                              .encode = encode_line,
                                                              .find_end = find_line_end,
                                                              .max_frame_bytes = max,
                                                              .skip_too_long = skips });
        break;
    default:
        break;
    }
    ck_assert_int_eq(result, 0);
    return codec;
}

/* Adds a frame with length times x, which may be too long, to bytes. */
static size_t add_frame(int kind, char *bytes, size_t at, size_t length)
{
    uint32_t header = htonl((uint32_t)length);
    bool has_header = kind == LENGTH || kind == OWN_LENGTH;

    if (has_header) {
        memcpy(bytes + at, &header, HEADER);
        at += HEADER;
    }
    memset(bytes + at, 'x', length);
    at += length;
    if (!has_header) {
        memcpy(bytes + at, "\r\n", 2);
        at += 2;
    }
    return at;
}

static size_t whole_length(int kind, size_t length)
{
    return length + (kind == LENGTH || kind == OWN_LENGTH ? HEADER : 2);
}

/* ---- what came: lengths of frames; of skipped ones in brackets ---- */

static struct {
    char text[256];
    unsigned frames, skipped;
} got;

static void note_frame(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received, void *arg)
{
    got.frames++;
    if (strlen(got.text) < sizeof(got.text) - 32)
        sprintf(got.text + strlen(got.text), "%zu ", length);
}

static void note_skipped(jd_tcp_connection *connection, const jd_frame_error *error, void *arg)
{
    got.skipped++;
    ck_assert_int_eq(error->error, JD_EMSGSIZE);
    ck_assert_uint_eq(error->limit_bytes, MAX);
    ck_assert(jd_tcp_connection_is_connected(connection));
    ck_assert_int_eq(jd_tcp_connection_send(connection, "-", 1), 0);
    if (strlen(got.text) < sizeof(got.text) - 32)
        sprintf(got.text + strlen(got.text), "[%llu] ", (unsigned long long)error->claimed_bytes);
}

static void serve_codec(const jd_codec *codec)
{
    serve(&(struct service){ .codec = codec, .on_frame = note_frame, .on_frame_error = note_skipped });
}

START_TEST(the_connection_lives_on_behind_a_frame_that_is_too_long)
{
    jd_codec *codec = make_codec(_i, MAX, true);
    static char bytes[8 * KIB];
    char expected[64];
    size_t length = 0;
    serve_codec(codec);
    int client = client_connect_up();

    length = add_frame(_i, bytes, length, 5);
    length = add_frame(_i, bytes, length, 4000);
    length = add_frame(_i, bytes, length, 7);
    length = add_frame(_i, bytes, length, MAX);
    length = add_frame(_i, bytes, length, 9);
    client_send(client, bytes, length);

    PUMP_UNTIL(got.frames == 3);
    snprintf(expected, sizeof(expected), "5 [%zu] 7 [%zu] 9 ", whole_length(_i, 4000), whole_length(_i, MAX));
    ck_assert_str_eq(got.text, expected);
    ck_assert_str_eq(story(0), "up frame frame-error frame frame-error frame");
    ck_assert_msg(was_logged("frame too long: ") && was_logged("the limit is 100; frame skipped"), "%s", logged());
    client_expect(client, "--", 2);
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_skipped_frame_may_be_cut_anywhere)
{
    jd_codec *codec = make_codec(_i, MAX, true);
    static char bytes[KIB];
    uint64_t received = 0;
    char expected[64];
    size_t length = 0;
    serve_codec(codec);
    length = add_frame(_i, bytes, length, 5);
    length = add_frame(_i, bytes, length, 150);
    length = add_frame(_i, bytes, length, 7);
    snprintf(expected, sizeof(expected), "5 [%zu] 7 ", whole_length(_i, 150));

    for (size_t cut = 1; cut<length; cut += cut> 20 && cut < 140 ? 13 : 1) {
        int client = client_connect();
        memset(&got, 0, sizeof(got));
        client_send(client, bytes, cut);
        received += cut;
        PUMP_UNTIL(statistics().bytes_received == received);
        client_send(client, bytes + cut, length - cut);
        received += length - cut;
        PUMP_UNTIL(got.frames == 2);
        ck_assert_str_eq(got.text, expected);
        client_close(client);
    }
    PUMP_UNTIL(connections_down() == connections_up());
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_skipped_frame_may_come_byte_by_byte)
{
    jd_codec *codec = make_codec(_i, MAX, true);
    static char bytes[KIB];
    size_t length = add_frame(_i, bytes, add_frame(_i, bytes, 0, 150), 7);
    char expected[64];
    serve_codec(codec);
    int client = client_connect();

    for (size_t i = 0; i < length; i++) {
        client_send(client, bytes + i, 1);
        PUMP_UNTIL(statistics().bytes_received == i + 1);
    }

    PUMP_UNTIL(got.frames == 1);
    snprintf(expected, sizeof(expected), "[%zu] 7 ", whole_length(_i, 150));
    ck_assert_str_eq(got.text, expected);
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_skipped_frame_takes_no_memory)
{
    enum { PIECE = 64 * KIB, PIECES = 320 };
    jd_codec *codec = make_codec(_i, MAX, true);
    static char piece[PIECE + HEADER];
    size_t memory_before, first = 0;
    serve_codec(codec);
    int client = client_connect_up();
    memory_before = jd_memory_in_use();

    memset(piece, 'x', sizeof(piece));
    if (_i == LENGTH || _i == OWN_LENGTH) {
        uint32_t header = htonl(PIECE * PIECES);
        memcpy(piece, &header, sizeof(header));
        first = HEADER;
        client_send(client, piece, HEADER);
    }
    for (int i = 0; i < PIECES; i++) {
        client_send(client, piece + first, PIECE);
        ck_assert_uint_lt(jd_memory_in_use(), memory_before + 2 * MIB);
    }
    if (first == 0)
        client_send(client, "\r\n", 2);

    PUMP_UNTIL(got.skipped == 1);
    ck_assert_uint_eq(got.frames, 0);
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(thousands_of_frames_that_are_too_long_need_no_stack)
{
    enum { FRAMES = 20000 };
    jd_codec *codec = make_codec(_i, MAX, true);
    static char bytes[KIB * KIB * 4];
    size_t length = 0;
    serve_codec(codec);
    int client = client_connect();

    for (int i = 0; i < FRAMES; i++)
        length = add_frame(_i, bytes, length, MAX);
    length = add_frame(_i, bytes, length, 1);
    client_send(client, bytes, length);

    PUMP_UNTIL(got.frames == 1);
    ck_assert_uint_eq(got.skipped, FRAMES);
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    jd_codec_destroy(codec);
}
END_TEST

static int down_error;

static void note_down(jd_tcp_connection *connection, void *arg)
{
    down_error = jd_tcp_connection_error(connection);
}

START_TEST(without_the_option_the_connection_closes)
{
    jd_codec *codec = make_codec(_i, MAX, false);
    static char bytes[KIB];
    size_t length = add_frame(_i, bytes, 0, 150);
    serve(&(struct service){ .codec = codec, .on_frame = note_frame, .on_down = note_down });
    int client = client_connect();

    client_send(client, bytes, length);

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(down_error, JD_EMSGSIZE);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_frame_that_is_being_skipped_is_no_first_message)
{
    enum { SHORT_MS = 60 };
    jd_codec *codec = make_codec(_i, MAX, true);
    static char bytes[KIB];
    size_t length = add_frame(_i, bytes, 0, 150);
    serve(&(struct service){ .codec = codec,
                             .on_frame_error = note_skipped,
                             .on_down = note_down,
                             .options.first_message_timeout_ms = SHORT_MS });
    int client = client_connect();

    client_send(client, bytes, length - 3);

    client_receive_to_end(client, NULL, 0);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(down_error, JD_ETIMEDOUT);
    ck_assert_uint_eq(got.skipped, 0);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_frame_that_has_been_skipped_is_a_first_message)
{
    enum { SHORT_MS = 60, NS_PER_MS = 1000000 };
    jd_codec *codec = make_codec(_i, MAX, true);
    static char bytes[KIB];
    size_t length = add_frame(_i, bytes, 0, 150);
    serve(&(struct service){
        .codec = codec, .on_frame_error = note_skipped, .options.first_message_timeout_ms = SHORT_MS });
    int client = client_connect();

    client_send(client, bytes, length);
    PUMP_UNTIL(got.skipped == 1);

    jd_timestamp skipped_at = jd_event_loop_now(the_loop);
    PUMP_UNTIL(jd_event_loop_now(the_loop) - skipped_at > (jd_timestamp)2 * SHORT_MS * NS_PER_MS);
    ck_assert_uint_eq(connections_down(), 0);
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    jd_codec_destroy(codec);
}
END_TEST

static jd_tcp_connection *latest;

static void keep(jd_tcp_connection *connection, void *arg)
{
    latest = connection;
}

START_TEST(the_same_codec_set_within_a_skipped_frame_goes_on_skipping)
{
    jd_codec *codec = make_codec(_i, MAX, true);
    static char bytes[KIB];
    size_t length = add_frame(_i, bytes, 0, 150), end = add_frame(_i, bytes, length, 7);
    char expected[64];
    serve(&(struct service){ .codec = codec, .on_frame = note_frame, .on_frame_error = note_skipped, .on_up = keep });
    int client = client_connect_up();

    client_send(client, bytes, length - 10);
    PUMP_UNTIL(statistics().bytes_received == length - 10);
    ck_assert_int_eq(jd_tcp_connection_set_codec(latest, codec, note_frame, NULL), 0);
    ck_assert_int_eq(jd_tcp_connection_set_frame_error_callback(latest, note_skipped, NULL), 0);
    client_send(client, bytes + length - 10, end - (length - 10));

    PUMP_UNTIL(got.frames == 1);
    snprintf(expected, sizeof(expected), "[%zu] 7 ", whole_length(_i, 150));
    ck_assert_str_eq(got.text, expected);
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(the_peers_end_within_a_skipped_frame_closes_in_good_order)
{
    jd_codec *codec = make_codec(_i, MAX, true);
    static char bytes[KIB];
    size_t length = add_frame(_i, bytes, 0, 150);
    serve(&(struct service){ .codec = codec, .on_frame_error = note_skipped, .on_down = note_down });
    int client = client_connect_up();

    down_error = 1;
    client_send(client, bytes, length - 3);
    client_shutdown(client);

    client_expect_end(client);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(down_error, 0);
    ck_assert_str_eq(story(0), "up down");
    jd_codec_destroy(codec);
}
END_TEST

/* An end of which nothing is known cannot be skipped. */
START_TEST(a_codec_that_cannot_find_the_end_closes_the_connection)
{
    jd_codec *codec;
    static char bytes[KIB];
    size_t length = add_frame(OWN_LINE, bytes, 0, 150);
    ck_assert_int_eq(
        jd_codec_create(&codec,
                        &(jd_codec_options){ .decode = decode_line, .max_frame_bytes = MAX, .skip_too_long = true }),
        0);
    serve(&(struct service){ .codec = codec, .on_down = note_down });
    int client = client_connect();

    client_send(client, bytes, length - 10);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(down_error, JD_EMSGSIZE);
    jd_codec_destroy(codec);
}
END_TEST

static size_t find_nothing(void *arg, const uint8_t *data, size_t length, bool *found)
{
    *found = false;
    return 0;
}

static size_t find_outside(void *arg, const uint8_t *data, size_t length, bool *found)
{
    *found = true;
    return length + 1;
}

static const struct {
    jd_codec_end_function find_end;
    const char *reason;
} bad_ends[] = {
    { find_nothing, "the codec neither finds an end nor lets bytes be dropped" },
    { find_outside, "the codec found an end outside the bytes given" },
};
enum { BAD_ENDS = sizeof(bad_ends) / sizeof(bad_ends[0]) };

START_TEST(a_codec_that_finds_a_wrong_end_closes_the_connection)
{
    jd_codec *codec;
    static char bytes[KIB];
    size_t length = add_frame(OWN_LINE, bytes, 0, 150);
    ck_assert_int_eq(jd_codec_create(&codec, &(jd_codec_options){ .decode = decode_line,
                                                                  .find_end = bad_ends[_i].find_end,
                                                                  .max_frame_bytes = MAX,
                                                                  .skip_too_long = true }),
                     0);
    serve(&(struct service){ .codec = codec, .on_down = note_down });
    int client = client_connect();

    client_send(client, bytes, length - 10);
    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(down_error, JD_EINVAL);
    ck_assert_msg(was_logged(bad_ends[_i].reason), "%s", logged());
    jd_codec_destroy(codec);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "skipping");

    tcase_add_loop_test(tests, the_connection_lives_on_behind_a_frame_that_is_too_long, 0, KINDS);
    tcase_add_loop_test(tests, a_skipped_frame_may_be_cut_anywhere, 0, KINDS);
    tcase_add_loop_test(tests, a_skipped_frame_may_come_byte_by_byte, 0, KINDS);
    tcase_add_loop_test(tests, a_skipped_frame_takes_no_memory, 0, KINDS);
    tcase_add_loop_test(tests, thousands_of_frames_that_are_too_long_need_no_stack, 0, KINDS);
    tcase_add_loop_test(tests, without_the_option_the_connection_closes, 0, KINDS);
    tcase_add_loop_test(tests, a_frame_that_is_being_skipped_is_no_first_message, 0, KINDS);
    tcase_add_loop_test(tests, a_frame_that_has_been_skipped_is_a_first_message, 0, KINDS);
    tcase_add_loop_test(tests, the_same_codec_set_within_a_skipped_frame_goes_on_skipping, 0, KINDS);
    tcase_add_loop_test(tests, the_peers_end_within_a_skipped_frame_closes_in_good_order, 0, KINDS);
    tcase_add_test(tests, a_codec_that_cannot_find_the_end_closes_the_connection);
    tcase_add_loop_test(tests, a_codec_that_finds_a_wrong_end_closes_the_connection, 0, BAD_ENDS);
}
