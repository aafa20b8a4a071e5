/* Frames over the wire: however they are cut, they arrive as they were sent; and what is no frame ends its connection
 * and nothing else. */
#include "tests/behaviour/harness.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const suite_name = "framing";

enum { KIB = 1024, MIB = 1024 * 1024 };

/* The frames that came, in brackets. */
struct frames {
    char text[8192];
    size_t length;
};

static void note_frame(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received, void *arg)
{
    struct frames *frames = arg;

    ck_assert_uint_lt(frames->length + length + 2, sizeof(frames->text));
    frames->text[frames->length++] = '[';
    memcpy(frames->text + frames->length, data, length);
    frames->length += length;
    frames->text[frames->length++] = ']';
    frames->text[frames->length] = '\0';
}

static jd_codec *length_codec(jd_length_codec_options options)
{
    jd_codec *codec;

    ck_assert_int_eq(jd_length_codec_create(&codec, &options), 0);
    return codec;
}

static jd_codec *delimiter_codec(jd_delimiter_codec_options options)
{
    jd_codec *codec;

    ck_assert_int_eq(jd_delimiter_codec_create(&codec, &options), 0);
    return codec;
}

/* ---- cutting: pitfall 1 ---- */

static const jd_length_codec_options layouts[] = {
    { .length_bytes = 1, .strip_bytes = JD_STRIP_HEADER },
    { .length_bytes = 2, .strip_bytes = JD_STRIP_HEADER },
    { .length_bytes = 3, .strip_bytes = JD_STRIP_HEADER },
    { .length_bytes = 4, .strip_bytes = JD_STRIP_HEADER },
    { .length_bytes = 8, .strip_bytes = JD_STRIP_HEADER, .byte_order = JD_LITTLE_ENDIAN },
    { .length_bytes = JD_LENGTH_VARINT, .strip_bytes = JD_STRIP_HEADER },
    { .length_bytes = 2, .strip_bytes = 2, .length_adjustment = -2 },
};
enum { LAYOUTS = sizeof(layouts) / sizeof(layouts[0]) };

static const char *const words[] = { "one", "", "two", "a", "three hundred" };
static const char all_words[] = "[one][][two][a][three hundred]";

/* A batch of frames in *batch. */
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

static struct frames frames;

/* Sends bytes from first to last of the batch and lets them arrive. */
static void send_part(int client, const char *batch, size_t first, size_t last)
{
    client_send(client, batch + first, last - first);
    PUMP_UNTIL(statistics().bytes_received >= last);
}

static void cut_batch_at_every_byte(const jd_codec *codec)
{
    char batch[256];
    size_t length = make_batch(codec, batch, sizeof(batch));
    uint64_t received = 0;
    serve(&(struct service){ .codec = codec, .on_frame = note_frame, .arg = &frames });

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
}

START_TEST(a_batch_of_frames_may_be_cut_at_every_byte)
{
    jd_codec *codec = length_codec(layouts[_i]);

    cut_batch_at_every_byte(codec);

    PUMP_UNTIL(connections_down() == connections_up());
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_batch_of_lines_may_be_cut_at_every_byte)
{
    jd_codec *codec = delimiter_codec((jd_delimiter_codec_options){ .delimiter = "\r\n" });

    cut_batch_at_every_byte(codec);

    PUMP_UNTIL(connections_down() == connections_up());
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_batch_of_frames_may_come_byte_by_byte)
{
    jd_codec *codec = length_codec(layouts[_i]);
    char batch[256];
    size_t length = make_batch(codec, batch, sizeof(batch));
    serve(&(struct service){ .codec = codec, .on_frame = note_frame, .arg = &frames });
    int client = client_connect();

    for (size_t i = 0; i < length; i++)
        send_part(client, batch, i, i + 1);

    ck_assert_str_eq(frames.text, all_words);
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_frame_may_be_cut_at_any_two_places)
{
    jd_codec *codec = length_codec((jd_length_codec_options){ .strip_bytes = JD_STRIP_HEADER });
    static const char batch[] = "\0\0\0\5hello\0\0\0\2ok";
    const size_t length = sizeof(batch) - 1;
    uint64_t before = 0;
    serve(&(struct service){ .codec = codec, .on_frame = note_frame, .arg = &frames });
    int client = client_connect();

    for (size_t first = 1; first < length - 1; first++) {
        for (size_t second = first + 1; second < length; second++) {
            frames.length = 0;
            client_send(client, batch, first);
            PUMP_UNTIL(statistics().bytes_received == before + first);
            client_send(client, batch + first, second - first);
            PUMP_UNTIL(statistics().bytes_received == before + second);
            client_send(client, batch + second, length - second);
            before += length;
            PUMP_UNTIL(statistics().bytes_received == before);
            ck_assert_str_eq(frames.text, "[hello][ok]");
        }
    }

    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    jd_codec_destroy(codec);
}
END_TEST

/* ---- sizes ---- */

static void echo_frame(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received, void *arg)
{
    ck_assert_int_eq(jd_codec_send(arg, connection, data, length), 0);
}

START_TEST(frames_of_all_sizes_come_back)
{
    static const size_t sizes[] = { 0, 1, 4, 5, 100, 4096, 65 * KIB, 200 * KIB, MIB, 3, 0, 300 * KIB, 7 };
    jd_codec *codec = length_codec((jd_length_codec_options){ .strip_bytes = JD_STRIP_HEADER });
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

static void count_frame(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received,
                        void *arg)
{
    unsigned *count = arg;
    char expected[16];

    snprintf(expected, sizeof(expected), "%u", (*count)++);
    ck_assert_uint_eq(length, strlen(expected));
    ck_assert_mem_eq(data, expected, length);
}

START_TEST(thousands_of_small_frames_arrive_each_once_and_in_order)
{
    enum { FRAMES = 20000 };
    jd_codec *codec = delimiter_codec((jd_delimiter_codec_options){ .delimiter = "\n" });
    unsigned count = 0;
    char line[16];
    serve(&(struct service){ .codec = codec, .on_frame = count_frame, .arg = &count });
    int client = client_connect();

    for (unsigned i = 0; i < FRAMES; i++)
        client_send(client, line, (size_t)snprintf(line, sizeof(line), "%u\n", i));

    PUMP_UNTIL(count == FRAMES);
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    jd_codec_destroy(codec);
}
END_TEST

/* ---- what is no frame: pitfall 3 ---- */

static const struct bad_frame {
    jd_length_codec_options options;
    const char *bytes;
    size_t length;
    int error;
    uint64_t claimed;
} bad_frames[] = {
    /* One byte over the maximum. */
    { { .max_frame_bytes = 1024 }, "\0\0\3\xfd", 4, JD_EMSGSIZE, 1025 },
    { { .max_frame_bytes = 1024 }, "\x80\0\0\0", 4, JD_EMSGSIZE, (UINT64_C(1) << 31) + 4 },
    { { .max_frame_bytes = 0 }, "\xff\xff\xff\xff", 4, JD_EMSGSIZE, UINT64_C(0x100000003) },
    { { .length_bytes = 8 }, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, JD_EMSGSIZE, UINT64_MAX },
    /* The adjustment makes it overflow; makes it negative. */
    { { .length_bytes = 8, .length_adjustment = 9 }, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, JD_EMSGSIZE, UINT64_MAX },
    { { .length_bytes = 2, .length_adjustment = -2 }, "\0\1", 2, JD_EPROTO, 1 },
    { { .length_bytes = JD_LENGTH_VARINT }, "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\1", 11, JD_EPROTO, UINT64_MAX },
};
enum { BAD_FRAMES = sizeof(bad_frames) / sizeof(bad_frames[0]) };

struct refusal {
    unsigned count;
    jd_frame_error error;
    int down_error;
    size_t memory_before;
    struct frames frames;
};

static void note_refused(jd_tcp_connection *connection, const jd_frame_error *error, void *arg)
{
    struct refusal *refusal = arg;

    refusal->count++;
    refusal->error = *error;
    ck_assert_uint_lt(jd_memory_in_use(), refusal->memory_before + 256 * KIB);
    ck_assert(jd_tcp_connection_is_connected(connection));
}

static void note_refused_frame(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received,
                               void *arg)
{
    struct refusal *refusal = arg;

    note_frame(connection, data, length, received, &refusal->frames);
}

static void note_refused_down(jd_tcp_connection *connection, void *arg)
{
    struct refusal *refusal = arg;

    refusal->down_error = jd_tcp_connection_error(connection);
}

START_TEST(a_bad_length_is_reported_and_logged_and_closes_its_connection_alone)
{
    const struct bad_frame *bad = &bad_frames[_i];
    jd_codec *codec = length_codec(bad->options);
    struct refusal refusal = { .count = 0 };
    char peer[64];
    struct sockaddr_in address;
    socklen_t address_length = sizeof(address);
    serve(&(struct service){ .codec = codec,
                             .on_frame = note_refused_frame,
                             .on_frame_error = note_refused,
                             .on_down = note_refused_down,
                             .arg = &refusal });
    int hostile = client_connect_up(), other = client_connect_up();
    ck_assert_int_eq(getsockname(hostile, (struct sockaddr *)&address, &address_length), 0);
    snprintf(peer, sizeof(peer), "test: 127.0.0.1:%u: ", ntohs(address.sin_port));
    refusal.memory_before = jd_memory_in_use();

    client_send(hostile, bad->bytes, bad->length);

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_uint_eq(refusal.count, 1);
    ck_assert_int_eq(refusal.error.error, bad->error);
    ck_assert_uint_eq(refusal.error.claimed_bytes, bad->claimed);
    ck_assert_uint_eq(refusal.error.limit_bytes, jd_codec_max_frame(codec));
    ck_assert_uint_gt(strlen(refusal.error.reason), 0);
    ck_assert_int_eq(refusal.down_error, bad->error);
    ck_assert_msg(was_logged(peer), "%s not in: %s", peer, logged());
    ck_assert_str_eq(story(0), "up frame-error down");
    ck_assert_str_eq(story(1), "up");

    client_close(other);
    PUMP_UNTIL(connections_down() == 2);
    jd_codec_destroy(codec);
}
END_TEST

static unsigned count_in_log(const char *text)
{
    unsigned count = 0;

    for (const char *at = logged(); (at = strstr(at, text)) != NULL; at++)
        count++;
    return count;
}

/* The sum of the numbers before this text. */
static unsigned sum_in_log(const char *text)
{
    unsigned sum = 0;

    for (const char *at = logged(); (at = strstr(at, text)) != NULL; at++) {
        const char *number = at;
        while (number > logged() && number[-1] != '\n')
            number--;
        sum += (unsigned)strtoul(number, NULL, 10);
    }
    return sum;
}

START_TEST(a_flood_of_bad_frames_does_not_fill_the_log)
{
    enum { FLOOD = 60, LINES_PER_SECOND = 10 };
    jd_codec *codec = length_codec((jd_length_codec_options){ .max_frame_bytes = 100 });
    jd_timestamp begin = jd_event_loop_now(the_loop);
    unsigned seconds, lines;
    serve(&(struct service){ .codec = codec });

    for (int i = 0; i < FLOOD; i++)
        client_send(client_connect(), "\1\1\1\1", 4);
    PUMP_UNTIL(connections_down() == FLOOD);

    seconds = (unsigned)(jd_event_loop_now(the_loop) / 1000000000 - begin / 1000000000) + 1;
    lines = count_in_log("the limit is");
    ck_assert_uint_gt(lines, 0);
    ck_assert_uint_le(lines, seconds * LINES_PER_SECOND);
    /* What is not said is counted, at the loop's end at the latest. */
    ck_assert_int_eq(jd_event_loop_destroy(the_loop), 0);
    the_loop = NULL;
    ck_assert_uint_eq(lines + sum_in_log(" more messages about peers suppressed"), FLOOD);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(frames_before_a_bad_one_are_delivered_and_none_after_it)
{
    jd_codec *codec = length_codec(
        (jd_length_codec_options){ .length_bytes = 1, .strip_bytes = JD_STRIP_HEADER, .max_frame_bytes = 100 });
    struct refusal refusal = { .memory_before = jd_memory_in_use() };
    serve(&(struct service){ .codec = codec,
                             .on_frame = note_refused_frame,
                             .on_frame_error = note_refused,
                             .on_down = note_refused_down,
                             .arg = &refusal });
    int client = client_connect();

    client_send(client, "\3one\3two\xc8\3six", 13);

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_str_eq(refusal.frames.text, "[one][two]");
    ck_assert_uint_eq(refusal.count, 1);
    ck_assert_uint_eq(refusal.error.claimed_bytes, 201);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_frame_of_exactly_the_maximum_passes)
{
    jd_codec *codec = length_codec((jd_length_codec_options){ .max_frame_bytes = 1024, .strip_bytes = 4 });
    struct refusal refusal = { .count = 0 };
    serve(&(struct service){
        .codec = codec, .on_frame = note_refused_frame, .on_frame_error = note_refused, .arg = &refusal });
    int client = client_connect();

    client_send(client, "\0\0\3\xfc", 4);
    client_send_pattern(client, 0, 1020);

    PUMP_UNTIL(bytes_received() == 1020);
    ck_assert_uint_eq(refusal.count, 0);
    client_close(client);
    PUMP_UNTIL(connections_down() == 1);
    jd_codec_destroy(codec);
}
END_TEST

/* Pitfall 5. */
START_TEST(a_line_that_never_ends_meets_the_limit)
{
    jd_codec *codec = delimiter_codec((jd_delimiter_codec_options){ .max_frame_bytes = 10 * KIB });
    struct refusal refusal = { .memory_before = jd_memory_in_use() };
    serve(&(struct service){ .codec = codec,
                             .on_frame = note_refused_frame,
                             .on_frame_error = note_refused,
                             .on_down = note_refused_down,
                             .arg = &refusal });
    int client = client_connect();
    static char line[20 * KIB];
    memset(line, 'x', sizeof(line));

    client_send_some(client, line, sizeof(line));

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_int_eq(refusal.down_error, JD_EMSGSIZE);
    ck_assert_uint_eq(refusal.error.limit_bytes, 10 * KIB);
    ck_assert_uint_ge(refusal.error.claimed_bytes, 10 * KIB);
    ck_assert_str_eq(story(0), "up frame-error down");
    jd_codec_destroy(codec);
}
END_TEST

/* A header that claims much costs what has arrived. */
START_TEST(memory_grows_with_what_arrives_not_with_what_is_claimed)
{
    jd_codec *codec = length_codec((jd_length_codec_options){ .max_frame_bytes = 64 * MIB });
    uint32_t header = htonl(60 * MIB);
    size_t memory_before;
    serve(&(struct service){ .codec = codec });
    int client = client_connect();
    PUMP_UNTIL(connections_up() == 1);
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

/* ---- frames and the connection's life ---- */

static void close_at_second_frame(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received,
                                  void *arg)
{
    note_frame(connection, data, length, received, arg);
    if (strcmp(frames.text, "[one][two]") == 0)
        ck_assert_int_eq(jd_tcp_connection_close(connection), 0);
}

START_TEST(no_frame_comes_after_close_although_it_has_arrived)
{
    jd_codec *codec = delimiter_codec((jd_delimiter_codec_options){ .delimiter = "\n" });
    serve(&(struct service){ .codec = codec, .on_frame = close_at_second_frame, .arg = &frames });
    int client = client_connect();

    client_send(client, "one\ntwo\nthree\nfour\n", 19);

    PUMP_UNTIL(connections_down() == 1);
    ck_assert_str_eq(frames.text, "[one][two]");
    jd_codec_destroy(codec);
}
END_TEST

static void resume(jd_tcp_connection *connection, void *arg)
{
    ck_assert_ptr_nonnull(connection);
    ck_assert_int_eq(jd_tcp_connection_resume_reading(connection), 0);
}

static void pause_after_each_frame(jd_tcp_connection *connection, const void *data, size_t length,
                                   jd_timestamp received, void *arg)
{
    note_frame(connection, data, length, received, arg);
    ck_assert_int_eq(jd_tcp_connection_pause_reading(connection), 0);
    ck_assert_int_eq(jd_tcp_connection_post(jd_tcp_connection_id(connection), resume, NULL), 0);
}

START_TEST(a_pause_after_each_frame_loses_none_of_those_already_arrived)
{
    jd_codec *codec = delimiter_codec((jd_delimiter_codec_options){ .delimiter = "\n" });
    serve(&(struct service){ .codec = codec, .on_frame = pause_after_each_frame, .arg = &frames });
    int client = client_connect();

    client_send(client, "one\ntwo\nthree\nfour\nfive\n", 24);
    client_shutdown(client);

    client_expect_end(client);
    ck_assert_str_eq(frames.text, "[one][two][three][four][five]");
    PUMP_UNTIL(connections_down() == 1);
    jd_codec_destroy(codec);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = harness_case(suite, "framing");

    tcase_add_loop_test(tests, a_batch_of_frames_may_be_cut_at_every_byte, 0, LAYOUTS);
    tcase_add_test(tests, a_batch_of_lines_may_be_cut_at_every_byte);
    tcase_add_loop_test(tests, a_batch_of_frames_may_come_byte_by_byte, 0, LAYOUTS);
    tcase_add_test(tests, a_frame_may_be_cut_at_any_two_places);
    tcase_add_test(tests, frames_of_all_sizes_come_back);
    tcase_add_test(tests, thousands_of_small_frames_arrive_each_once_and_in_order);
    tcase_add_loop_test(tests, a_bad_length_is_reported_and_logged_and_closes_its_connection_alone, 0, BAD_FRAMES);
    tcase_add_test(tests, a_flood_of_bad_frames_does_not_fill_the_log);
    tcase_add_test(tests, frames_before_a_bad_one_are_delivered_and_none_after_it);
    tcase_add_test(tests, a_frame_of_exactly_the_maximum_passes);
    tcase_add_test(tests, a_line_that_never_ends_meets_the_limit);
    tcase_add_test(tests, memory_grows_with_what_arrives_not_with_what_is_claimed);
    tcase_add_test(tests, no_frame_comes_after_close_although_it_has_arrived);
    tcase_add_test(tests, a_pause_after_each_frame_loses_none_of_those_already_arrived);
}
