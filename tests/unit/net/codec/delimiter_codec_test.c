#include "base/ring_buffer.h"
#include "net/codec/codec.h"
#include "tests/support/buffer_checks.h"
#include "tests/support/check_main.h"
#include "tests/support/checking_memory.h"

#include <jinduo/delimiter_codec.h>
#include <jinduo/error.h>
#include <string.h>

const char *const suite_name = "delimiter_codec";

enum { MAX_DEFAULT_BYTES = 16 * 1024 * 1024 };

static jd_codec *codec_with(const jd_delimiter_codec_options *options)
{
    jd_codec *codec;

    ck_assert_int_eq(jd_delimiter_codec_create(&codec, options), 0);
    return codec;
}

static jd_codec *codec_of(const char *delimiter)
{
    const jd_delimiter_codec_options options = { .delimiter = delimiter };

    return codec_with(&options);
}

static jd_buffer *empty_buffer(void)
{
    jd_buffer *buffer;

    ck_assert_int_eq(jd_buffer_create(&buffer), 0);
    return buffer;
}

static int decode_result(const jd_codec *codec, jd_buffer *buffer)
{
    const void *data;
    size_t length, whole;

    return jd_codec_decode(codec, buffer, &data, &length, &whole);
}

/* The first frame in buffer must be this text. Consumes it. */
static void assert_frame(const jd_codec *codec, jd_buffer *buffer, const char *frame)
{
    const void *data;
    size_t length, whole;

    ck_assert_int_eq(jd_codec_decode(codec, buffer, &data, &length, &whole), 1);
    ck_assert_uint_eq(length, strlen(frame));
    ck_assert_mem_eq(data, frame, length);
    jd_buffer_consume(buffer, whole);
}

/* ---- the pictures of delimiter_codec.h, and others of their kind ---- */

static const struct picture {
    jd_delimiter_codec_options options;
    const char *arriving;
    const char *frames[4];
} pictures[] = {
    { { .delimiter = "\r\n" }, "HELLO\r\nWORLD\r\n", { "HELLO", "WORLD" } },
    { { .delimiter = "\n", .strip_carriage_return = true }, "HELLO\r\nWORLD\n", { "HELLO", "WORLD" } },
    { { .keep_delimiter = false }, "one\ntwo\r\n", { "one", "two\r" } },
    { { .delimiter = "\r\n", .keep_delimiter = true }, "HELLO\r\nWORLD\r\n", { "HELLO\r\n", "WORLD\r\n" } },
    { { .keep_delimiter = true, .strip_carriage_return = true }, "one\r\ntwo\n", { "one\r\n", "two\n" } },
    { { .strip_carriage_return = true }, "\r\n\n\r\r\nx\n", { "", "", "\r", "x" } },
    { { .delimiter = "\r\n" }, "\r\n\n\r\n\r\r\n", { "", "\n", "\r" } },
    { { .delimiter = "aab" }, "aaabaabaaaaab", { "a", "", "aaa" } },
    { { .delimiter = "abab" }, "abaababab", { "aba" } },
    { { .delimiter = "aa" }, "aaaabaaa", { "", "", "b" } },
    { { .delimiter = "0123456789abcdef" }, "0123456789abcde0123456789abcdef", { "0123456789abcde" } },
};

enum { PICTURES = sizeof(pictures) / sizeof(pictures[0]) };

static void assert_picture(const struct picture *picture, const jd_codec *codec, jd_buffer *buffer)
{
    for (int i = 0; i < 4 && picture->frames[i] != NULL; i++)
        assert_frame(codec, buffer, picture->frames[i]);
    ck_assert_int_eq(decode_result(codec, buffer), 0);
}

START_TEST(a_stream_is_cut_at_its_delimiters)
{
    jd_codec *codec = codec_with(&pictures[_i].options);
    jd_buffer *buffer = empty_buffer();
    put_text(buffer, pictures[_i].arriving);

    assert_picture(&pictures[_i], codec, buffer);

    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_stream_split_at_any_byte_is_cut_into_the_same_frames)
{
    const struct picture *picture = &pictures[_i];
    jd_codec *codec = codec_with(&picture->options);
    size_t length = strlen(picture->arriving);

    for (size_t cut = 0; cut <= length; cut++) {
        jd_buffer *buffer = empty_buffer();
        int next = 0;
        jd_buffer_append(buffer, picture->arriving, cut);
        while (decode_result(codec, buffer) == 1)
            assert_frame(codec, buffer, picture->frames[next++]);
        jd_buffer_append(buffer, picture->arriving + cut, length - cut);
        for (; next < 4 && picture->frames[next] != NULL; next++)
            assert_frame(codec, buffer, picture->frames[next]);
        ck_assert_int_eq(decode_result(codec, buffer), 0);
        jd_buffer_destroy(buffer);
    }
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_stream_that_comes_byte_by_byte_is_cut_into_the_same_frames)
{
    const struct picture *picture = &pictures[_i];
    jd_codec *codec = codec_with(&picture->options);
    jd_buffer *buffer = empty_buffer();
    int next = 0;

    for (const char *byte = picture->arriving; *byte != '\0'; byte++) {
        jd_buffer_append(buffer, byte, 1);
        if (decode_result(codec, buffer) == 1)
            assert_frame(codec, buffer, picture->frames[next++]);
    }

    ck_assert(next == 4 || picture->frames[next] == NULL);
    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_stream_that_wraps_around_the_rings_end_at_any_byte_is_cut_into_the_same_frames)
{
    const struct picture *picture = &pictures[_i];
    jd_codec *codec = codec_with(&picture->options);

    for (size_t offset = 0; offset <= strlen(picture->arriving); offset++) {
        jd_buffer *buffer = buffer_wrapped_at(picture->arriving, offset);
        assert_picture(picture, codec, buffer);
        jd_buffer_destroy(buffer);
    }
    jd_codec_destroy(codec);
}
END_TEST

/* Takes what codec->missing asks for until the first frame is whole; returns its length as far as that went. */
static size_t fill_by_missing(const jd_codec *codec, const uint8_t *stream, size_t length, size_t pending)
{
    size_t searched = 0;
    jd_frame frame;

    while (codec->decode(codec, stream, pending, &searched, &frame) == 0 && pending < length) {
        size_t missing = codec->missing(codec, stream, pending, stream + pending, length - pending);
        ck_assert_uint_ge(missing, 1);
        pending += missing;
    }
    return pending;
}

START_TEST(what_a_split_frame_misses_is_asked_for_and_never_a_byte_of_the_next)
{
    const struct picture *picture = &pictures[_i];
    jd_codec *codec = codec_with(&picture->options);
    const uint8_t *stream = (const uint8_t *)picture->arriving;
    size_t length = strlen(picture->arriving), searched = 0;
    jd_frame frame;
    ck_assert_int_eq(codec->decode(codec, stream, length, &searched, &frame), 1);

    for (size_t cut = 1; cut < frame.frame_bytes; cut++)
        ck_assert_uint_eq(fill_by_missing(codec, stream, length, cut), frame.frame_bytes);

    jd_codec_destroy(codec);
}
END_TEST

START_TEST(no_options_are_lines_of_at_most_16_MiB_without_their_end)
{
    jd_codec *codec = codec_with(NULL);
    jd_buffer *buffer = empty_buffer();
    put_text(buffer, "a line\n");

    assert_frame(codec, buffer, "a line");

    ck_assert_uint_eq(jd_codec_max_frame(codec), MAX_DEFAULT_BYTES);
    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_delimiter_may_contain_zeros)
{
    const jd_delimiter_codec_options options = { .delimiter = "\0\1", .delimiter_bytes = 2 };
    jd_codec *codec = codec_with(&options);
    jd_buffer *buffer = empty_buffer();
    jd_buffer_append(buffer, "\0x\0\1", 4);
    const void *data;
    size_t length, whole;

    ck_assert_int_eq(jd_codec_decode(codec, buffer, &data, &length, &whole), 1);

    ck_assert_uint_eq(length, 2);
    ck_assert_mem_eq(data, "\0x", 2);
    ck_assert_uint_eq(whole, 4);
    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

/* ---- the limit ---- */

static const jd_delimiter_codec_options ten_bytes = { .delimiter = "\r\n", .max_frame_bytes = 10 };

START_TEST(a_never_ending_line_fails_when_the_maximum_has_arrived_and_not_a_byte_earlier)
{
    jd_codec *codec = codec_with(&ten_bytes);
    jd_buffer *buffer = empty_buffer();

    for (int i = 0; i < 9; i++) {
        put_text(buffer, "x");
        ck_assert_int_eq(decode_result(codec, buffer), 0);
    }
    put_text(buffer, "x");
    ck_assert_int_eq(decode_result(codec, buffer), JD_EMSGSIZE);

    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_line_of_the_maximum_is_let_through_however_it_arrives)
{
    static const char line[] = "12345678\r\n";
    jd_codec *codec = codec_with(&ten_bytes);

    for (size_t cut = 0; cut < 10; cut++) {
        jd_buffer *buffer = empty_buffer();
        jd_buffer_append(buffer, line, cut);
        ck_assert_int_eq(decode_result(codec, buffer), 0);
        jd_buffer_append(buffer, line + cut, 10 - cut);
        assert_frame(codec, buffer, "12345678");
        jd_buffer_destroy(buffer);
    }
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_line_one_byte_over_the_maximum_fails_however_it_arrives)
{
    static const char line[] = "123456789\r\n";
    jd_codec *codec = codec_with(&ten_bytes);

    for (size_t cut = 0; cut < 10; cut++) {
        jd_buffer *buffer = empty_buffer();
        jd_buffer_append(buffer, line, cut);
        ck_assert_int_eq(decode_result(codec, buffer), 0);
        jd_buffer_append(buffer, line + cut, 11 - cut);
        ck_assert_int_eq(decode_result(codec, buffer), JD_EMSGSIZE);
        jd_buffer_destroy(buffer);
    }
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(half_a_delimiter_at_the_maximum_is_none)
{
    jd_codec *codec = codec_with(&ten_bytes);
    jd_buffer *buffer = empty_buffer();
    put_text(buffer, "123456789\r");

    ck_assert_int_eq(decode_result(codec, buffer), JD_EMSGSIZE);

    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(many_lines_may_be_longer_together_than_the_maximum)
{
    jd_codec *codec = codec_with(&ten_bytes);
    jd_buffer *buffer = empty_buffer();
    put_text(buffer, "12345678\r\n12345678\r\n1\r\n");

    assert_frame(codec, buffer, "12345678");
    assert_frame(codec, buffer, "12345678");
    assert_frame(codec, buffer, "1");

    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_refusal_says_how_much_arrived_and_why)
{
    jd_codec *codec = codec_with(&ten_bytes);
    jd_frame frame;
    size_t searched = 0;

    ck_assert_int_eq(codec->decode(codec, (const uint8_t *)"123456789012", 12, &searched, &frame), JD_EMSGSIZE);

    ck_assert_uint_eq(frame.claimed_bytes, 12);
    ck_assert_str_eq(frame.reason, "no delimiter within the longest frame");
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(what_is_missing_never_goes_beyond_the_maximum)
{
    jd_codec *codec = codec_with(&ten_bytes);
    const uint8_t *stream = (const uint8_t *)"xxxxxxxxxxxxxxxxxxxx";

    for (size_t pending = 0; pending < 10; pending++)
        ck_assert_uint_eq(codec->missing(codec, stream, pending, stream + pending, 10), 10 - pending);

    jd_codec_destroy(codec);
}
END_TEST

/* ---- the cost of searching ---- */

START_TEST(bytes_once_searched_are_not_looked_at_again_but_for_half_a_delimiter)
{
    enum { READS = 500, READ_BYTES = 7 };
    static const char delimiter[] = "||||";
    jd_codec *codec = codec_of(delimiter);
    static uint8_t line[READS * READ_BYTES];
    jd_frame frame;
    size_t searched = 0;

    for (size_t length = READ_BYTES; length <= sizeof(line); length += READ_BYTES) {
        memset(line + length - READ_BYTES, 'x', READ_BYTES);
        ck_assert_int_eq(codec->decode(codec, line, length, &searched, &frame), 0);
        ck_assert_uint_eq(searched, length);
        /* Delimiters all over what need not be looked at again: whoever looked would find one. */
        memset(line, '|', length - (sizeof(delimiter) - 2));
    }

    jd_codec_destroy(codec);
}
END_TEST

START_TEST(the_buffer_remembers_how_far_it_was_searched)
{
    jd_codec *codec = codec_of("\r\n");
    jd_buffer *buffer = empty_buffer();

    put_text(buffer, "one\r\ntwo");
    assert_frame(codec, buffer, "one");
    ck_assert_int_eq(decode_result(codec, buffer), 0);
    ck_assert_uint_eq(buffer->searched, 3);
    put_text(buffer, " and a half\r");
    ck_assert_int_eq(decode_result(codec, buffer), 0);
    ck_assert_uint_eq(buffer->searched, 15);
    put_text(buffer, "\nthree\r\n");
    assert_frame(codec, buffer, "two and a half");
    assert_frame(codec, buffer, "three");

    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

/* ---- encoding ---- */

START_TEST(encoding_adds_the_delimiter)
{
    jd_codec *codec = codec_of("\r\n");
    jd_buffer *buffer = empty_buffer();

    ck_assert_int_eq(jd_codec_encode(codec, buffer, "HELLO", 5), 0);
    ck_assert_int_eq(jd_codec_encode(codec, buffer, "", 0), 0);

    assert_text(buffer, "HELLO\r\n\r\n");
    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(what_is_encoded_decodes_to_the_same)
{
    enum { FRAMES = 200 };
    static const char *const delimiters[] = { "\n", "\r\n", "0123456789abcdef" };
    uint64_t random = test_seed();
    jd_codec *codec = codec_of(delimiters[_i]);
    jd_buffer *buffer = empty_buffer();
    char frames[FRAMES][40];

    for (int i = 0; i < FRAMES; i++) {
        size_t length = random_below(&random, sizeof(frames[i]));
        memset(frames[i], 'A' + i % 20, sizeof(frames[i]));
        frames[i][length] = '\0';
        ck_assert_int_eq(jd_codec_encode(codec, buffer, frames[i], length), 0);
    }

    for (int i = 0; i < FRAMES; i++)
        assert_frame(codec, buffer, frames[i]);
    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(data_that_contains_the_delimiter_becomes_several_frames)
{
    jd_codec *codec = codec_of("\n");
    jd_buffer *buffer = empty_buffer();

    ck_assert_int_eq(jd_codec_encode(codec, buffer, "one\ntwo", 7), 0);

    assert_frame(codec, buffer, "one");
    assert_frame(codec, buffer, "two");
    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(encoding_a_frame_over_the_maximum_is_refused)
{
    jd_codec *codec = codec_with(&ten_bytes);
    jd_buffer *buffer = empty_buffer();

    ck_assert_int_eq(jd_codec_encode(codec, buffer, "123456789", 9), JD_EMSGSIZE);
    ck_assert_int_eq(jd_codec_encode(codec, buffer, "123456789012", 12), JD_EMSGSIZE);
    assert_text(buffer, "");
    ck_assert_int_eq(jd_codec_encode(codec, buffer, "12345678", 8), 0);

    assert_frame(codec, buffer, "12345678");
    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

/* ---- options ---- */

static const jd_delimiter_codec_options refused_options[] = {
    { .delimiter = "" },
    { .delimiter = "0123456789abcdefg" },
    { .delimiter = "x", .delimiter_bytes = 17 },
    { .delimiter = NULL, .delimiter_bytes = 2 },
    { .delimiter = "\r\n", .max_frame_bytes = 1 },
    { .max_frame_bytes = SIZE_MAX / 2 + 1 },
};

START_TEST(options_that_make_no_sense_are_refused)
{
    jd_codec *codec = NULL;

    ck_assert_int_eq(jd_delimiter_codec_create(&codec, &refused_options[_i]), JD_EINVAL);
    ck_assert_ptr_null(codec);
}
END_TEST

static const jd_delimiter_codec_options accepted_options[] = {
    { .delimiter = NULL, .delimiter_bytes = 1 }, { .delimiter = "\0", .delimiter_bytes = 1 },
    { .delimiter = "0123456789abcdef" },         { .delimiter = "\r\n", .max_frame_bytes = 2 },
    { .max_frame_bytes = SIZE_MAX / 2 },
};

START_TEST(options_at_their_limits_are_accepted)
{
    jd_codec_destroy(codec_with(&accepted_options[_i]));
}
END_TEST

START_TEST(a_codec_without_memory_is_not_made)
{
    jd_codec *codec = NULL;

    checking_memory_fail_at(1);
    ck_assert_int_eq(jd_delimiter_codec_create(&codec, NULL), JD_ENOMEM);

    ck_assert(checking_memory_has_failed());
    ck_assert_ptr_null(codec);
}
END_TEST

static void add_picture_tests(TCase *tests)
{
    tcase_add_loop_test(tests, a_stream_is_cut_at_its_delimiters, 0, PICTURES);
    tcase_add_loop_test(tests, a_stream_split_at_any_byte_is_cut_into_the_same_frames, 0, PICTURES);
    tcase_add_loop_test(tests, a_stream_that_comes_byte_by_byte_is_cut_into_the_same_frames, 0, PICTURES);
    tcase_add_loop_test(tests, a_stream_that_wraps_around_the_rings_end_at_any_byte_is_cut_into_the_same_frames, 0,
                        PICTURES);
    tcase_add_loop_test(tests, what_a_split_frame_misses_is_asked_for_and_never_a_byte_of_the_next, 0, PICTURES);
    tcase_add_test(tests, no_options_are_lines_of_at_most_16_MiB_without_their_end);
    tcase_add_test(tests, a_delimiter_may_contain_zeros);
}

static void add_limit_tests(TCase *tests)
{
    tcase_add_test(tests, a_never_ending_line_fails_when_the_maximum_has_arrived_and_not_a_byte_earlier);
    tcase_add_test(tests, a_line_of_the_maximum_is_let_through_however_it_arrives);
    tcase_add_test(tests, a_line_one_byte_over_the_maximum_fails_however_it_arrives);
    tcase_add_test(tests, half_a_delimiter_at_the_maximum_is_none);
    tcase_add_test(tests, many_lines_may_be_longer_together_than_the_maximum);
    tcase_add_test(tests, a_refusal_says_how_much_arrived_and_why);
    tcase_add_test(tests, what_is_missing_never_goes_beyond_the_maximum);
}

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("delimiter_codec");

    suite_add_tcase(suite, tests);
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, checking_memory_install, checking_memory_remove);
    add_picture_tests(tests);
    add_limit_tests(tests);
    tcase_add_test(tests, bytes_once_searched_are_not_looked_at_again_but_for_half_a_delimiter);
    tcase_add_test(tests, the_buffer_remembers_how_far_it_was_searched);
    tcase_add_test(tests, encoding_adds_the_delimiter);
    tcase_add_loop_test(tests, what_is_encoded_decodes_to_the_same, 0, 3);
    tcase_add_test(tests, data_that_contains_the_delimiter_becomes_several_frames);
    tcase_add_test(tests, encoding_a_frame_over_the_maximum_is_refused);
    tcase_add_loop_test(tests, options_that_make_no_sense_are_refused, 0, 6);
    tcase_add_loop_test(tests, options_at_their_limits_are_accepted, 0, 5);
    tcase_add_test(tests, a_codec_without_memory_is_not_made);
}
