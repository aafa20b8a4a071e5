/* A codec of the program's functions: what the library does with each of their results. */
#include "net/codec/codec.h"
#include "tests/support/buffer_checks.h"
#include "tests/support/check_main.h"
#include "tests/support/checking_memory.h"

#include <jinduo/buffer.h>
#include <jinduo/error.h>
#include <string.h>

const char *const suite_name = "program_codec";

enum { GIVEN = 10, MAX = 20 };

/* ---- results of decode ---- */

/* What the function sets and returns. */
struct answer {
    int result;
    size_t frame_bytes, offset, length, needed_bytes, searched;
    bool has_data;
    const char *reason;
};

static int give_answer(void *arg, const uint8_t *data, size_t length, size_t *searched, jd_frame *frame)
{
    const struct answer *answer = arg;

    ck_assert_ptr_null(frame->connection);
    ck_assert_ptr_null(frame->data);
    ck_assert_uint_eq(frame->frame_bytes + frame->length + frame->needed_bytes + frame->claimed_bytes, 0);
    frame->frame_bytes = answer->frame_bytes;
    frame->needed_bytes = answer->needed_bytes;
    frame->reason = answer->reason;
    if (answer->has_data)
        frame->data = (const void *)((uintptr_t)data + answer->offset); /* perhaps far outside */
    frame->length = answer->length;
    *searched = answer->searched;
    return answer->result;
}

static jd_codec *codec_with(jd_codec_options options)
{
    jd_codec *codec = NULL;

    ck_assert_int_eq(jd_codec_create(&codec, &options), 0);
    return codec;
}

static jd_codec *codec_that_answers(const struct answer *answer)
{
    return codec_with(
        (jd_codec_options){ .decode = give_answer, .arg = (void *)(uintptr_t)answer, .max_frame_bytes = MAX });
}

static const struct {
    struct answer answer;
    size_t offset, length, frame_bytes;
} frames[] = {
    { { .result = 1, .frame_bytes = 1 }, 0, 1, 1 },
    { { .result = 1, .frame_bytes = GIVEN }, 0, GIVEN, GIVEN },
    { { .result = 1, .frame_bytes = 7, .has_data = true, .offset = 2, .length = 5 }, 2, 5, 7 },
    { { .result = 1, .frame_bytes = 7, .has_data = true, .offset = 7, .length = 0 }, 7, 0, 7 },
    { { .result = 1, .frame_bytes = GIVEN, .has_data = true, .offset = 0, .length = 3 }, 0, 3, GIVEN },
};
enum { FRAMES = sizeof(frames) / sizeof(frames[0]) };

START_TEST(a_frame_is_what_the_function_says)
{
    jd_codec *codec = codec_that_answers(&frames[_i].answer);
    jd_buffer *buffer = buffer_with("0123456789", GIVEN);
    const void *data;
    size_t length, frame_bytes;

    ck_assert_int_eq(jd_codec_decode(codec, buffer, &data, &length, &frame_bytes), 1);
    ck_assert_ptr_eq(data, (const uint8_t *)jd_buffer_peek(buffer, GIVEN) + frames[_i].offset);
    ck_assert_uint_eq(length, frames[_i].length);
    ck_assert_uint_eq(frame_bytes, frames[_i].frame_bytes);

    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

static const struct {
    struct answer answer;
    int result;
    uint64_t claimed;
    const char *reason;
} refusals[] = {
    { { .result = 1, .frame_bytes = 0 }, JD_EINVAL, 0, "a frame of no bytes" },
    { { .result = 1, .frame_bytes = GIVEN + 1 }, JD_EINVAL, GIVEN + 1, "longer than the bytes given" },
    { { .result = 1, .frame_bytes = SIZE_MAX }, JD_EINVAL, SIZE_MAX, "longer than the bytes given" },
    { { .result = 1, .frame_bytes = 5, .has_data = true, .offset = 2, .length = 4 }, JD_EINVAL, 4, "not inside" },
    { { .result = 1, .frame_bytes = 5, .has_data = true, .offset = 6 }, JD_EINVAL, 0, "not inside" },
    { { .result = 1, .frame_bytes = 5, .has_data = true, .offset = SIZE_MAX, .length = 2 },
      JD_EINVAL,
      2,
      "not inside" },
    { { .result = 1, .frame_bytes = 5, .has_data = true, .length = SIZE_MAX }, JD_EINVAL, SIZE_MAX, "not inside" },
    { { .result = 0, .needed_bytes = GIVEN }, JD_EINVAL, GIVEN, "needs no more bytes than it was given" },
    { { .result = 0, .needed_bytes = 1 }, JD_EINVAL, 1, "needs no more bytes than it was given" },
    { { .result = 0, .searched = GIVEN + 1 }, JD_EINVAL, GIVEN + 1, "searched more bytes" },
    { { .result = 0, .needed_bytes = MAX + 1 }, JD_EMSGSIZE, MAX + 1, "frame too long" },
    { { .result = 0, .needed_bytes = SIZE_MAX }, JD_EMSGSIZE, SIZE_MAX, "frame too long" },
    { { .result = 2 }, JD_EINVAL, 0, "neither" },
    { { .result = -4096 }, JD_EINVAL, 0, "neither" },
    { { .result = JD_EPROTO }, JD_EPROTO, 0, "invalid frame" },
    { { .result = JD_EPROTO, .reason = "no digit" }, JD_EPROTO, 0, "no digit" },
    { { .result = JD_EACCES }, JD_EACCES, 0, "invalid frame" },
};
enum { REFUSALS = sizeof(refusals) / sizeof(refusals[0]) };

START_TEST(a_result_that_breaks_a_rule_is_an_error_with_a_reason)
{
    jd_codec *codec = codec_that_answers(&refusals[_i].answer);
    const uint8_t bytes[GIVEN] = { 0 };
    size_t searched = 0;
    jd_frame frame = { .connection = NULL };

    ck_assert_int_eq(codec->decode(codec, bytes, GIVEN, &searched, &frame), refusals[_i].result);
    ck_assert_uint_eq(frame.claimed_bytes, refusals[_i].claimed);
    ck_assert_msg(strstr(frame.reason, refusals[_i].reason) != NULL, "%s", frame.reason);

    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_frame_longer_than_the_maximum_is_refused_also_if_it_is_there)
{
    const struct answer answer = { .result = 1, .frame_bytes = MAX + 1 };
    jd_codec *codec = codec_that_answers(&answer);
    const uint8_t bytes[MAX + 1] = { 0 };
    size_t searched = 0;
    jd_frame frame = { .connection = NULL };

    ck_assert_int_eq(codec->decode(codec, bytes, sizeof(bytes), &searched, &frame), JD_EMSGSIZE);
    ck_assert_uint_eq(frame.claimed_bytes, MAX + 1);
    ck_assert_str_eq(frame.reason, "frame too long");

    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_frame_whose_length_is_not_known_meets_the_maximum)
{
    const struct answer answer = { .result = 0 };
    jd_codec *codec = codec_that_answers(&answer);
    const uint8_t bytes[MAX] = { 0 };
    size_t searched = 0;
    jd_frame frame = { .connection = NULL };

    ck_assert_int_eq(codec->decode(codec, bytes, MAX - 1, &searched, &frame), 0);
    ck_assert_int_eq(codec->decode(codec, bytes, MAX, &searched, &frame), JD_EMSGSIZE);
    ck_assert_uint_eq(frame.claimed_bytes, MAX);

    jd_codec_destroy(codec);
}
END_TEST

static int remember_searched(void *arg, const uint8_t *data, size_t length, size_t *searched, jd_frame *frame)
{
    size_t *seen = arg;

    *seen = *searched;
    *searched = length;
    frame->frame_bytes = length;
    return data[length - 1] == '\n' ? 1 : 0;
}

START_TEST(what_was_searched_is_passed_on_until_the_frame_is_complete)
{
    size_t seen = 99;
    jd_codec *codec = codec_with((jd_codec_options){ .decode = remember_searched, .arg = &seen });
    jd_buffer *buffer = buffer_with("abc", 3);
    const void *data;
    size_t length, frame_bytes;

    ck_assert_int_eq(jd_codec_decode(codec, buffer, &data, &length, &frame_bytes), 0);
    ck_assert_uint_eq(seen, 0);
    jd_buffer_append(buffer, "d\n", 2);
    ck_assert_int_eq(jd_codec_decode(codec, buffer, &data, &length, &frame_bytes), 1);
    ck_assert_uint_eq(seen, 3);
    jd_buffer_consume(buffer, frame_bytes);
    jd_buffer_append(buffer, "e", 1);
    ck_assert_int_eq(jd_codec_decode(codec, buffer, &data, &length, &frame_bytes), 0);
    ck_assert_uint_eq(seen, 0);

    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

/* ---- encode ---- */

static int never(void *arg, const uint8_t *data, size_t length, size_t *searched, jd_frame *frame)
{
    return 0;
}

/* What the function adds and returns. */
struct wrapping {
    const char *header, *trailer;
    size_t header_bytes, trailer_bytes; /* 0: of the strings */
    int result;
};

static int add_wrapping(void *arg, const jd_iovec *parts, int count, size_t length, jd_frame_addition *addition)
{
    const struct wrapping *wrapping = arg;
    size_t sum = 0;

    for (int i = 0; i < count; i++)
        sum += parts[i].length;
    ck_assert_uint_eq(sum, length);
    ck_assert_uint_eq(addition->header_bytes + addition->trailer_bytes, 0);
    addition->header_bytes = wrapping->header_bytes != 0 ? wrapping->header_bytes : strlen(wrapping->header);
    addition->trailer_bytes = wrapping->trailer_bytes != 0 ? wrapping->trailer_bytes : strlen(wrapping->trailer);
    memcpy(addition->header, wrapping->header, strlen(wrapping->header));
    memcpy(addition->trailer, wrapping->trailer, strlen(wrapping->trailer));
    return wrapping->result;
}

static jd_codec *codec_that_wraps(const struct wrapping *wrapping)
{
    return codec_with((jd_codec_options){
        .decode = never, .encode = add_wrapping, .arg = (void *)(uintptr_t)wrapping, .max_frame_bytes = MAX });
}

static void expect_encoded(const jd_codec *codec, const char *message, const char *frame)
{
    jd_buffer *buffer = buffer_with("", 0);

    ck_assert_int_eq(jd_codec_encode(codec, buffer, message, strlen(message)), 0);
    ck_assert_uint_eq(jd_buffer_readable(buffer), strlen(frame));
    ck_assert_mem_eq(jd_buffer_peek(buffer, strlen(frame)), frame, strlen(frame));
    jd_buffer_destroy(buffer);
}

START_TEST(a_message_gets_what_the_function_adds)
{
    static const struct wrapping both = { .header = "<", .trailer = ">" }, front = { .header = "$5:", .trailer = "" },
                                 back = { .header = "", .trailer = "\r\n" };
    static const struct wrapping *const wrappings[] = { &both, &front, &back };
    static const char *const results[][2] = { { "<hello>", "<>" }, { "$5:hello", "$5:" }, { "hello\r\n", "\r\n" } };

    for (int i = 0; i < 3; i++) {
        jd_codec *codec = codec_that_wraps(wrappings[i]);
        expect_encoded(codec, "hello", results[i][0]);
        expect_encoded(codec, "", results[i][1]);
        jd_codec_destroy(codec);
    }
}
END_TEST

static const struct {
    struct wrapping wrapping;
    int result;
} bad_wrappings[] = {
    { { .header = "", .trailer = "", .header_bytes = JD_FRAME_ADDED_MAX_BYTES + 1 }, JD_EINVAL },
    { { .header = "", .trailer = "", .trailer_bytes = SIZE_MAX }, JD_EINVAL },
    { { .header = "", .trailer = "", .result = 1 }, JD_EINVAL },
    { { .header = "", .trailer = "", .result = JD_EPROTO }, JD_EPROTO },
    { { .header = "12345678", .trailer = "12345678" }, JD_EMSGSIZE },
};
enum { BAD_WRAPPINGS = sizeof(bad_wrappings) / sizeof(bad_wrappings[0]) };

START_TEST(nothing_is_encoded_when_the_function_fails_or_breaks_a_rule)
{
    jd_codec *codec = codec_that_wraps(&bad_wrappings[_i].wrapping);
    jd_buffer *buffer = buffer_with("before", 6);

    ck_assert_int_eq(jd_codec_encode(codec, buffer, "hello", 5), bad_wrappings[_i].result);
    ck_assert_uint_eq(jd_buffer_readable(buffer), 6);

    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(without_an_encode_function_encoding_is_not_supported)
{
    jd_codec *codec = codec_with((jd_codec_options){ .decode = never });
    jd_buffer *buffer = buffer_with("", 0);

    ck_assert_int_eq(jd_codec_encode(codec, buffer, "hello", 5), JD_ENOTSUP);
    ck_assert_uint_eq(jd_buffer_readable(buffer), 0);

    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

/* ---- options ---- */

START_TEST(options_out_of_range_are_refused)
{
    jd_codec *codec = NULL;

    ck_assert_int_eq(jd_codec_create(&codec, NULL), JD_EINVAL);
    ck_assert_int_eq(jd_codec_create(&codec, &(jd_codec_options){ .max_frame_bytes = 1 }), JD_EINVAL);
    ck_assert_int_eq(jd_codec_create(&codec, &(jd_codec_options){ .decode = never, .max_frame_bytes = SIZE_MAX }),
                     JD_EINVAL);
    ck_assert_ptr_null(codec);
}
END_TEST

START_TEST(the_maximum_is_16_MiB_by_default)
{
    jd_codec *codec = codec_with((jd_codec_options){ .decode = never });

    ck_assert_uint_eq(jd_codec_max_frame(codec), 16 * 1024 * 1024);

    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_codec_without_memory_is_not_made)
{
    jd_codec *codec = NULL;

    checking_memory_fail_at(1);
    ck_assert_int_eq(jd_codec_create(&codec, &(jd_codec_options){ .decode = never }), JD_ENOMEM);
    ck_assert_ptr_null(codec);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("program codec");

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, checking_memory_install, checking_memory_remove);
    tcase_add_loop_test(tests, a_frame_is_what_the_function_says, 0, FRAMES);
    tcase_add_loop_test(tests, a_result_that_breaks_a_rule_is_an_error_with_a_reason, 0, REFUSALS);
    tcase_add_test(tests, a_frame_longer_than_the_maximum_is_refused_also_if_it_is_there);
    tcase_add_test(tests, a_frame_whose_length_is_not_known_meets_the_maximum);
    tcase_add_test(tests, what_was_searched_is_passed_on_until_the_frame_is_complete);
    tcase_add_test(tests, a_message_gets_what_the_function_adds);
    tcase_add_loop_test(tests, nothing_is_encoded_when_the_function_fails_or_breaks_a_rule, 0, BAD_WRAPPINGS);
    tcase_add_test(tests, without_an_encode_function_encoding_is_not_supported);
    tcase_add_test(tests, options_out_of_range_are_refused);
    tcase_add_test(tests, the_maximum_is_16_MiB_by_default);
    tcase_add_test(tests, a_codec_without_memory_is_not_made);
}
