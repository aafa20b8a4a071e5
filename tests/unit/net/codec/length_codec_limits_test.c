#include "net/codec/codec.h"
#include "tests/support/buffer_checks.h"
#include "tests/support/check_main.h"
#include "tests/support/checking_memory.h"
#include "tests/support/length_codec_checks.h"

#include <jinduo/error.h>
#include <jinduo/memory.h>

const char *const suite_name = "length_codec_limits";

/* ---- lengths at the limits ---- */

static const jd_length_codec_options four_bytes = { .length_bytes = 4, .max_frame_bytes = 1000 };
static const jd_length_codec_options eight_bytes = { .length_bytes = 8, .max_frame_bytes = 1000 };

static jd_length_codec_options adjusted(int64_t adjustment)
{
    return (jd_length_codec_options){ .length_bytes = 8, .length_adjustment = adjustment, .max_frame_bytes = 1000 };
}

/* What comes of a header that claims value, before any of the body has arrived. */
static int claim(const jd_length_codec_options *options, uint64_t value)
{
    jd_codec *codec = length_codec_with(options);
    jd_buffer *buffer;
    const void *data;
    size_t length, whole;
    int result;

    ck_assert_int_eq(jd_buffer_create(&buffer), 0);
    ck_assert_int_eq(jd_buffer_append_uint(buffer, options->length_bytes, options->byte_order, value), 0);
    result = jd_codec_decode(codec, buffer, &data, &length, &whole);
    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
    return result;
}

START_TEST(a_length_of_zero_is_an_empty_frame)
{
    const jd_length_codec_options options = { .length_bytes = 1 + (unsigned)_i, .strip_bytes = JD_STRIP_HEADER };
    jd_codec *codec = length_codec_with(&options);
    jd_buffer *buffer = buffer_with("\0\0\0\0\0\0\0", options.length_bytes);

    assert_frame(codec, buffer, "", 0, options.length_bytes);

    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_frame_of_the_maximum_is_let_through)
{
    const jd_length_codec_options options = { .max_frame_bytes = 304, .strip_bytes = JD_STRIP_HEADER };
    jd_codec *codec = length_codec_with(&options);
    jd_buffer *buffer = buffer_with(BYTES("\x00\x00\x01\x2c" THREE_HUNDRED));

    assert_frame(codec, buffer, BYTES(THREE_HUNDRED), 304);

    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_length_of_the_maximum_waits_for_its_body)
{
    ck_assert_int_eq(claim(&four_bytes, 996), 0);
    ck_assert_int_eq(claim(&eight_bytes, 992), 0);
}
END_TEST

START_TEST(a_length_one_over_the_maximum_fails_with_the_header)
{
    ck_assert_int_eq(claim(&four_bytes, 997), JD_EMSGSIZE);
    ck_assert_int_eq(claim(&eight_bytes, 993), JD_EMSGSIZE);
}
END_TEST

START_TEST(lengths_of_2_to_the_31_and_beyond_fail_with_the_header)
{
    ck_assert_int_eq(claim(&four_bytes, (uint64_t)1 << 31), JD_EMSGSIZE);
    ck_assert_int_eq(claim(&four_bytes, UINT32_MAX), JD_EMSGSIZE);
    ck_assert_int_eq(claim(&eight_bytes, UINT32_MAX), JD_EMSGSIZE);
    ck_assert_int_eq(claim(&eight_bytes, (uint64_t)1 << 32), JD_EMSGSIZE);
    ck_assert_int_eq(claim(&eight_bytes, INT64_MAX), JD_EMSGSIZE);
    ck_assert_int_eq(claim(&eight_bytes, (uint64_t)1 << 63), JD_EMSGSIZE);
    ck_assert_int_eq(claim(&eight_bytes, UINT64_MAX), JD_EMSGSIZE);
}
END_TEST

START_TEST(an_adjustment_that_overflows_the_length_does_not_wrap_around_to_a_short_frame)
{
    static const int64_t adjustments[] = { 1, 2, 8, 9, 100, INT64_MAX };
    const jd_length_codec_options options = adjusted(adjustments[_i]);

    ck_assert_int_eq(claim(&options, UINT64_MAX), JD_EMSGSIZE);
    ck_assert_int_eq(claim(&options, UINT64_MAX - (uint64_t)adjustments[_i] + 1), JD_EMSGSIZE);
    ck_assert_int_eq(claim(&options, UINT64_MAX - (uint64_t)adjustments[_i]), JD_EMSGSIZE);
}
END_TEST

START_TEST(the_largest_adjustment_fails_with_any_length)
{
    const jd_length_codec_options options = adjusted(INT64_MAX);

    ck_assert_int_eq(claim(&options, 0), JD_EMSGSIZE);
    ck_assert_int_eq(claim(&options, 1), JD_EMSGSIZE);
}
END_TEST

START_TEST(a_length_below_zero_after_adjustment_is_an_error_of_the_protocol)
{
    const jd_length_codec_options minus_four = adjusted(-4), least = adjusted(INT64_MIN);

    ck_assert_int_eq(claim(&minus_four, 3), JD_EPROTO);
    ck_assert_int_eq(claim(&minus_four, 0), JD_EPROTO);
    ck_assert_int_eq(claim(&least, 0), JD_EPROTO);
    ck_assert_int_eq(claim(&least, INT64_MAX), JD_EPROTO);
}
END_TEST

START_TEST(a_length_of_zero_after_adjustment_is_an_empty_frame)
{
    const jd_length_codec_options minus_four = adjusted(-4), least = adjusted(INT64_MIN);

    ck_assert_int_eq(claim(&minus_four, 4), 1);
    ck_assert_int_eq(claim(&least, (uint64_t)1 << 63), 1);
}
END_TEST

START_TEST(a_long_length_that_a_negative_adjustment_makes_short_waits_for_its_body)
{
    const jd_length_codec_options options = adjusted(INT64_MIN);

    ck_assert_int_eq(claim(&options, ((uint64_t)1 << 63) + 992), 0);
    ck_assert_int_eq(claim(&options, ((uint64_t)1 << 63) + 993), JD_EMSGSIZE);
}
END_TEST

START_TEST(a_frame_shorter_than_what_is_stripped_is_an_error_of_the_protocol)
{
    const jd_length_codec_options options = { .length_bytes = 2, .strip_bytes = 6 };

    ck_assert_int_eq(claim(&options, 3), JD_EPROTO);
    ck_assert_int_eq(claim(&options, 4), 0);
}
END_TEST

START_TEST(a_frame_of_nothing_but_what_is_stripped_is_empty)
{
    const jd_length_codec_options options = { .length_bytes = 2, .strip_bytes = 6 };
    jd_codec *codec = length_codec_with(&options);
    jd_buffer *buffer = buffer_with(BYTES("\x00\x04"
                                          "abcd"));

    assert_frame(codec, buffer, "", 0, 6);

    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(nothing_is_allocated_for_a_claimed_length)
{
    const jd_length_codec_options options = { .max_frame_bytes = SIZE_MAX / 2 };
    jd_codec *codec = length_codec_with(&options);
    jd_buffer *buffer = buffer_with(BYTES("\x7f\xff\xff\xff"
                                          "b"));
    size_t before = jd_memory_in_use();
    const void *data;
    size_t length, whole;

    ck_assert_int_eq(jd_codec_decode(codec, buffer, &data, &length, &whole), 0);

    ck_assert_uint_eq(jd_memory_in_use(), before);
    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_refusal_says_what_was_claimed_and_why)
{
    jd_codec *codec = length_codec_with(&four_bytes);
    jd_frame frame;
    size_t searched = 0;

    ck_assert_int_eq(codec->decode(codec, (const uint8_t *)"\xff\xff\xff\xff", 4, &searched, &frame), JD_EMSGSIZE);

    ck_assert_uint_eq(frame.claimed_bytes, (uint64_t)UINT32_MAX + 4);
    ck_assert_str_eq(frame.reason, "frame too long");
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_frame_that_wraps_needs_memory_to_be_one_piece_and_without_it_nothing_is_lost)
{
    jd_codec *codec = length_codec_with(NULL);
    jd_buffer *buffer = buffer_with_wrap(BYTES("\x00\x00\x00\x0c" HELLO), 5);
    const void *data;
    size_t length, whole;

    checking_memory_fail_at(1);
    ck_assert_int_eq(jd_codec_decode(codec, buffer, &data, &length, &whole), JD_ENOMEM);

    ck_assert(checking_memory_has_failed());
    assert_frame(codec, buffer, BYTES("\x00\x00\x00\x0c" HELLO), 16);
    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

/* ---- varints ---- */

static const jd_length_codec_options varint = {
    .length_bytes = JD_LENGTH_VARINT,
    .strip_bytes = JD_STRIP_HEADER,
    .max_frame_bytes = 1000,
};

static int varint_result(const char *bytes, size_t length)
{
    jd_codec *codec = length_codec_with(&varint);
    int result = decode_result(codec, bytes, length);

    jd_codec_destroy(codec);
    return result;
}

START_TEST(a_varint_longer_than_it_need_be_is_accepted)
{
    static const struct {
        const char *bytes;
        size_t length;
    } forms_of_two[] = {
        { BYTES("\x02"
                "ab") },
        { BYTES("\x82\x00"
                "ab") },
        { BYTES("\x82\x80\x00"
                "ab") },
        { BYTES("\x82\x80\x80\x80\x80\x80\x80\x80\x00"
                "ab") },
        { BYTES("\x82\x80\x80\x80\x80\x80\x80\x80\x80\x00"
                "ab") },
    };
    jd_codec *codec = length_codec_with(&varint);
    jd_buffer *buffer = buffer_with(forms_of_two[_i].bytes, forms_of_two[_i].length);

    assert_frame(codec, buffer, "ab", 2, forms_of_two[_i].length);

    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_varint_of_more_than_ten_bytes_is_an_error_of_the_protocol)
{
    ck_assert_int_eq(varint_result(BYTES("\x82\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00")), JD_EPROTO);
    ck_assert_int_eq(varint_result(BYTES("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80")), JD_EPROTO);
}
END_TEST

START_TEST(a_varint_over_64_bits_is_an_error_of_the_protocol)
{
    ck_assert_int_eq(varint_result(BYTES("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02")), JD_EPROTO);
    ck_assert_int_eq(varint_result(BYTES("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f")), JD_EPROTO);
}
END_TEST

START_TEST(a_varint_of_2_to_the_64_less_one_is_too_long_a_frame)
{
    ck_assert_int_eq(varint_result(BYTES("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")), JD_EMSGSIZE);
}
END_TEST

START_TEST(a_varint_cut_at_any_byte_waits_for_its_rest)
{
    static const char longest[] = "\x82\x80\x80\x80\x80\x80\x80\x80\x80\x00";

    for (size_t cut = 0; cut < sizeof(longest) - 1; cut++)
        ck_assert_int_eq(varint_result(longest, cut), 0);
}
END_TEST

START_TEST(a_varint_counts_against_the_maximum)
{
    ck_assert_int_eq(varint_result(BYTES("\xe6\x07")), 0);               /* 998 and 2 */
    ck_assert_int_eq(varint_result(BYTES("\xe7\x07")), JD_EMSGSIZE);     /* 999 and 2 */
    ck_assert_int_eq(varint_result(BYTES("\xe6\x87\x00")), JD_EMSGSIZE); /* 998 and 3 */
}
END_TEST

START_TEST(a_varint_longer_than_the_maximum_frame_is_too_long_a_frame)
{
    const jd_length_codec_options options = { .length_bytes = JD_LENGTH_VARINT, .max_frame_bytes = 3 };
    jd_codec *codec = length_codec_with(&options);

    ck_assert_int_eq(decode_result(codec, BYTES("\x80\x80\x00")), 1);
    ck_assert_int_eq(decode_result(codec, BYTES("\x80\x80\x80\x00")), JD_EMSGSIZE);
    ck_assert_int_eq(decode_result(codec, BYTES("\x82\x80\x80\x00")), JD_EMSGSIZE);

    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_varint_behind_an_offset_is_read_there)
{
    const jd_length_codec_options options = { .length_offset = 3, .length_bytes = JD_LENGTH_VARINT };
    jd_codec *codec = length_codec_with(&options);
    jd_buffer *buffer = buffer_with(BYTES("\xff\xff\xff\x02"
                                          "ab"));

    assert_frame(codec, buffer,
                 BYTES("\xff\xff\xff\x02"
                       "ab"),
                 6);

    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

/* ---- the usual frame ---- */

/* Both described, so that one goes the short way and one, whose stripping is counted out, the general one. */
static void make_both(jd_codec *codecs[2], jd_byte_order order, size_t max)
{
    for (int i = 0; i < 2; i++)
        codecs[i] = length_codec_with(&(jd_length_codec_options){
            .byte_order = order, .strip_bytes = i == 0 ? JD_STRIP_HEADER : 4, .max_frame_bytes = max });
    ck_assert(codecs[0]->decode != codecs[1]->decode);
    ck_assert(codecs[0]->encode != codecs[1]->encode);
}

static void compare_decoding(jd_codec *const codecs[2], const uint8_t *data, size_t length)
{
    jd_frame frames[2] = { { 0 } };
    size_t searched = 0;
    int results[2];

    for (int i = 0; i < 2; i++)
        results[i] = codecs[i]->decode(codecs[i], data, length, &searched, &frames[i]);
    ck_assert_int_eq(results[0], results[1]);
    if (results[0] == 1) {
        ck_assert_ptr_eq(frames[0].data, frames[1].data);
        ck_assert_uint_eq(frames[0].length, frames[1].length);
        ck_assert_uint_eq(frames[0].frame_bytes, frames[1].frame_bytes);
    } else if (results[0] == 0) {
        ck_assert_uint_eq(frames[0].needed_bytes, frames[1].needed_bytes);
    } else {
        ck_assert_uint_eq(frames[0].claimed_bytes, frames[1].claimed_bytes);
        ck_assert_str_eq(frames[0].reason, frames[1].reason);
    }
}

static void compare_encoding(jd_codec *const codecs[2], size_t length)
{
    struct frame_addition additions[2] = { { 0 } };
    int results[2];

    for (int i = 0; i < 2; i++)
        results[i] = codecs[i]->encode(codecs[i], &additions[i], NULL, length);
    ck_assert_int_eq(results[0], results[1]);
    if (results[0] < 0)
        return;
    ck_assert_uint_eq(additions[0].at, additions[1].at);
    ck_assert_uint_eq(additions[0].length, additions[1].length);
    ck_assert_mem_eq(additions[0].bytes, additions[1].bytes, additions[0].length);
}

START_TEST(the_fast_path_of_the_usual_frame_gives_the_same_result)
{
    static const size_t maxima[] = { 4, 5, 300, UINT32_MAX, SIZE_MAX / 2 };
    static const size_t steps[] = { 0, 4, 5, 296, 300, UINT32_MAX - 4u, UINT32_MAX };
    static uint8_t data[310];
    jd_byte_order order = _i == 0 ? JD_BIG_ENDIAN : JD_LITTLE_ENDIAN;
    jd_codec *codecs[2];
    for (size_t m = 0; m < sizeof(maxima) / sizeof(maxima[0]); m++) {
        make_both(codecs, order, maxima[m]);
        for (size_t s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
            for (int off = -2; off <= 2; off++) {
                size_t value = steps[s] + (size_t)off;
                for (int i = 0; i < 4; i++)
                    data[i] = (uint8_t)(value >> 8 * (order == JD_LITTLE_ENDIAN ? i : 3 - i));
                for (size_t length = 0; length <= sizeof(data); length++)
                    compare_decoding(codecs, data, length);
                compare_encoding(codecs, value);
                compare_encoding(codecs, maxima[m] - value);
            }
        }
        jd_codec_destroy(codecs[0]);
        jd_codec_destroy(codecs[1]);
    }
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("length_codec_limits");

    suite_add_tcase(suite, tests);
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, checking_memory_install, checking_memory_remove);
    tcase_add_loop_test(tests, a_length_of_zero_is_an_empty_frame, 0, 4);
    tcase_add_test(tests, a_frame_of_the_maximum_is_let_through);
    tcase_add_test(tests, a_length_of_the_maximum_waits_for_its_body);
    tcase_add_test(tests, a_length_one_over_the_maximum_fails_with_the_header);
    tcase_add_test(tests, lengths_of_2_to_the_31_and_beyond_fail_with_the_header);
    tcase_add_loop_test(tests, an_adjustment_that_overflows_the_length_does_not_wrap_around_to_a_short_frame, 0, 6);
    tcase_add_test(tests, the_largest_adjustment_fails_with_any_length);
    tcase_add_test(tests, a_length_below_zero_after_adjustment_is_an_error_of_the_protocol);
    tcase_add_test(tests, a_length_of_zero_after_adjustment_is_an_empty_frame);
    tcase_add_test(tests, a_long_length_that_a_negative_adjustment_makes_short_waits_for_its_body);
    tcase_add_test(tests, a_frame_shorter_than_what_is_stripped_is_an_error_of_the_protocol);
    tcase_add_test(tests, a_frame_of_nothing_but_what_is_stripped_is_empty);
    tcase_add_test(tests, nothing_is_allocated_for_a_claimed_length);
    tcase_add_test(tests, a_refusal_says_what_was_claimed_and_why);
    tcase_add_test(tests, a_frame_that_wraps_needs_memory_to_be_one_piece_and_without_it_nothing_is_lost);
    tcase_add_loop_test(tests, the_fast_path_of_the_usual_frame_gives_the_same_result, 0, 2);
    tcase_add_loop_test(tests, a_varint_longer_than_it_need_be_is_accepted, 0, 5);
    tcase_add_test(tests, a_varint_of_more_than_ten_bytes_is_an_error_of_the_protocol);
    tcase_add_test(tests, a_varint_over_64_bits_is_an_error_of_the_protocol);
    tcase_add_test(tests, a_varint_of_2_to_the_64_less_one_is_too_long_a_frame);
    tcase_add_test(tests, a_varint_cut_at_any_byte_waits_for_its_rest);
    tcase_add_test(tests, a_varint_counts_against_the_maximum);
    tcase_add_test(tests, a_varint_longer_than_the_maximum_frame_is_too_long_a_frame);
    tcase_add_test(tests, a_varint_behind_an_offset_is_read_there);
}
