#include "net/codec/codec.h"
#include "tests/support/buffer_checks.h"
#include "tests/support/check_main.h"
#include "tests/support/checking_memory.h"
#include "tests/support/length_codec_checks.h"

#include <jinduo/error.h>
#include <string.h>

const char *const suite_name = "length_codec";

enum { MAX_DEFAULT_BYTES = 16 * 1024 * 1024 };

/* ---- the pictures of length_codec.h ---- */

static const struct picture {
    jd_length_codec_options options;
    const char *arriving;
    size_t arriving_bytes;
    const char *frame;
    size_t frame_bytes;
} pictures[] = {
    /* 1 */ { { .length_bytes = 2 }, BYTES("\x00\x0c" HELLO), BYTES("\x00\x0c" HELLO) },
    /* 2 */ { { .length_bytes = 2, .strip_bytes = 2 }, BYTES("\x00\x0c" HELLO), BYTES(HELLO) },
    /* 2 */ { { .length_bytes = 2, .strip_bytes = JD_STRIP_HEADER }, BYTES("\x00\x0c" HELLO), BYTES(HELLO) },
    /* 3 */ { { .length_bytes = 2, .length_adjustment = -2 }, BYTES("\x00\x0e" HELLO), BYTES("\x00\x0e" HELLO) },
    /* 4 */
    { { .length_offset = 2, .length_bytes = 3 },
      BYTES("\xca\xfe\x00\x00\x0c" HELLO),
      BYTES("\xca\xfe\x00\x00\x0c" HELLO) },
    /* 5 */
    { { .length_bytes = 3, .length_adjustment = 2 },
      BYTES("\x00\x00\x0c\xca\xfe" HELLO),
      BYTES("\x00\x00\x0c\xca\xfe" HELLO) },
    /* 6 */
    { { .length_offset = 1, .length_bytes = 2, .length_adjustment = 1, .strip_bytes = 3 },
      BYTES("\xca\x00\x0c\xfe" HELLO),
      BYTES("\xfe" HELLO) },
    /* 7 */
    { { .length_offset = 1, .length_bytes = 2, .length_adjustment = -3, .strip_bytes = 3 },
      BYTES("\xca\x00\x10\xfe" HELLO),
      BYTES("\xfe" HELLO) },
    /* 8 */
    { { .length_bytes = 4, .byte_order = JD_LITTLE_ENDIAN, .strip_bytes = JD_STRIP_HEADER },
      BYTES("\x0c\x00\x00\x00" HELLO),
      BYTES(HELLO) },
    /* 9 */
    { { .length_bytes = JD_LENGTH_VARINT, .strip_bytes = JD_STRIP_HEADER },
      BYTES("\xac\x02" THREE_HUNDRED),
      BYTES(THREE_HUNDRED) },
};

enum { PICTURES = sizeof(pictures) / sizeof(pictures[0]) };

START_TEST(a_picture_of_the_header_is_cut_as_drawn)
{
    const struct picture *picture = &pictures[_i];
    jd_codec *codec = length_codec_with(&picture->options);
    jd_buffer *buffer = buffer_with(picture->arriving, picture->arriving_bytes);

    assert_frame(codec, buffer, picture->frame, picture->frame_bytes, picture->arriving_bytes);

    ck_assert_uint_eq(jd_buffer_readable(buffer), 0);
    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_frame_split_at_any_byte_waits_for_its_rest_and_nothing_is_consumed)
{
    const struct picture *picture = &pictures[_i];
    jd_codec *codec = length_codec_with(&picture->options);

    for (size_t cut = 0; cut < picture->arriving_bytes; cut++) {
        jd_buffer *buffer = buffer_with(picture->arriving, cut);
        const void *data;
        size_t length, whole;
        ck_assert_int_eq(jd_codec_decode(codec, buffer, &data, &length, &whole), 0);
        assert_content(buffer, picture->arriving, cut);
        jd_buffer_append(buffer, picture->arriving + cut, picture->arriving_bytes - cut);
        assert_frame(codec, buffer, picture->frame, picture->frame_bytes, picture->arriving_bytes);
        jd_buffer_destroy(buffer);
    }
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_frame_that_wraps_around_the_rings_end_at_any_byte_is_cut_all_the_same)
{
    const struct picture *picture = &pictures[_i];
    jd_codec *codec = length_codec_with(&picture->options);

    for (size_t offset = 0; offset <= picture->arriving_bytes; offset++) {
        jd_buffer *buffer = buffer_with_wrap(picture->arriving, picture->arriving_bytes, offset);
        assert_frame(codec, buffer, picture->frame, picture->frame_bytes, picture->arriving_bytes);
        jd_buffer_destroy(buffer);
    }
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_header_at_any_alignment_is_read_right)
{
    const struct picture *picture = &pictures[_i];
    jd_codec *codec = length_codec_with(&picture->options);

    for (size_t shift = 0; shift < 16; shift++) {
        jd_buffer *buffer = buffer_with(TEN_BYTES TEN_BYTES, shift);
        jd_buffer_append(buffer, picture->arriving, picture->arriving_bytes);
        jd_buffer_consume(buffer, shift);
        assert_frame(codec, buffer, picture->frame, picture->frame_bytes, picture->arriving_bytes);
        jd_buffer_destroy(buffer);
    }
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_batch_of_frames_arriving_byte_by_byte_is_cut_into_those_frames)
{
    const struct picture *picture = &pictures[_i];
    jd_codec *codec = length_codec_with(&picture->options);
    jd_buffer *buffer;
    unsigned frames = 0;
    ck_assert_int_eq(jd_buffer_create(&buffer), 0);

    for (size_t i = 0; i < 3 * picture->arriving_bytes; i++) {
        jd_buffer_append(buffer, picture->arriving + i % picture->arriving_bytes, 1);
        if (jd_buffer_readable(buffer) == picture->arriving_bytes) {
            assert_frame(codec, buffer, picture->frame, picture->frame_bytes, picture->arriving_bytes);
            frames++;
        }
    }

    ck_assert_uint_eq(frames, 3);
    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(two_frames_in_one_piece_are_cut_one_after_the_other)
{
    const struct picture *picture = &pictures[_i];
    jd_codec *codec = length_codec_with(&picture->options);
    jd_buffer *buffer = buffer_with(picture->arriving, picture->arriving_bytes);
    jd_buffer_append(buffer, picture->arriving, picture->arriving_bytes);

    assert_frame(codec, buffer, picture->frame, picture->frame_bytes, picture->arriving_bytes);
    assert_frame(codec, buffer, picture->frame, picture->frame_bytes, picture->arriving_bytes);

    ck_assert_uint_eq(jd_buffer_readable(buffer), 0);
    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(what_a_split_frame_misses_is_asked_for_and_never_a_byte_of_the_next)
{
    const struct picture *picture = &pictures[_i];
    jd_codec *codec = length_codec_with(&picture->options);
    char stream[2 * 302];
    memcpy(stream, picture->arriving, picture->arriving_bytes);
    memcpy(stream + picture->arriving_bytes, picture->arriving, picture->arriving_bytes);

    for (size_t cut = 0; cut < picture->arriving_bytes; cut++) {
        size_t pending = cut;
        while (pending < picture->arriving_bytes) {
            const uint8_t *data = (const uint8_t *)stream;
            size_t left = 2 * picture->arriving_bytes - pending;
            size_t missing = codec->missing(codec, data, pending, data + pending, left);
            ck_assert_uint_ge(missing, 1);
            pending += missing;
        }
        ck_assert_uint_eq(pending, picture->arriving_bytes);
    }
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(no_options_are_four_bytes_big_endian_with_the_header_and_at_most_16_MiB)
{
    jd_codec *codec = length_codec_with(NULL);
    jd_buffer *buffer = buffer_with(BYTES("\x00\x00\x00\x0c" HELLO));

    assert_frame(codec, buffer, BYTES("\x00\x00\x00\x0c" HELLO), 16);

    ck_assert_uint_eq(jd_codec_max_frame(codec), MAX_DEFAULT_BYTES);
    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

/* ---- options ---- */

static const jd_length_codec_options refused_options[] = {
    { .length_bytes = 5 },
    { .length_bytes = 6 },
    { .length_bytes = 7 },
    { .length_bytes = 9 },
    { .length_bytes = 254 },
    { .length_bytes = 256 },
    { .length_offset = 65536 },
    { .length_offset = SIZE_MAX },
    { .byte_order = (jd_byte_order)2 },
    { .max_frame_bytes = 3 },
    { .length_bytes = 1, .length_offset = 10, .max_frame_bytes = 10 },
    { .length_bytes = JD_LENGTH_VARINT, .length_offset = 10, .max_frame_bytes = 10 },
    { .max_frame_bytes = SIZE_MAX / 2 + 1 },
    { .max_frame_bytes = SIZE_MAX },
    { .strip_bytes = 101, .max_frame_bytes = 100 },
};

START_TEST(options_that_make_no_sense_are_refused)
{
    jd_codec *codec = NULL;

    ck_assert_int_eq(jd_length_codec_create(&codec, &refused_options[_i]), JD_EINVAL);
    ck_assert_ptr_null(codec);
}
END_TEST

static const jd_length_codec_options accepted_options[] = {
    { .length_offset = 65535 },
    { .max_frame_bytes = 4 },
    { .length_bytes = 1, .max_frame_bytes = 1 },
    { .length_bytes = JD_LENGTH_VARINT, .max_frame_bytes = 1 },
    { .max_frame_bytes = SIZE_MAX / 2 },
    { .strip_bytes = 100, .max_frame_bytes = 100 },
};

START_TEST(options_at_their_limits_are_accepted)
{
    jd_codec_destroy(length_codec_with(&accepted_options[_i]));
}
END_TEST

START_TEST(a_codec_without_memory_is_not_made)
{
    jd_codec *codec = NULL;

    checking_memory_fail_at(1);
    ck_assert_int_eq(jd_length_codec_create(&codec, NULL), JD_ENOMEM);

    ck_assert(checking_memory_has_failed());
    ck_assert_ptr_null(codec);
}
END_TEST

START_TEST(destroying_no_codec_does_nothing)
{
    jd_codec_destroy(NULL);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("length_codec");

    suite_add_tcase(suite, tests);
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, checking_memory_install, checking_memory_remove);
    tcase_add_loop_test(tests, a_picture_of_the_header_is_cut_as_drawn, 0, PICTURES);
    tcase_add_loop_test(tests, a_frame_split_at_any_byte_waits_for_its_rest_and_nothing_is_consumed, 0, PICTURES);
    tcase_add_loop_test(tests, a_frame_that_wraps_around_the_rings_end_at_any_byte_is_cut_all_the_same, 0, PICTURES);
    tcase_add_loop_test(tests, a_header_at_any_alignment_is_read_right, 0, PICTURES);
    tcase_add_loop_test(tests, a_batch_of_frames_arriving_byte_by_byte_is_cut_into_those_frames, 0, PICTURES);
    tcase_add_loop_test(tests, two_frames_in_one_piece_are_cut_one_after_the_other, 0, PICTURES);
    tcase_add_loop_test(tests, what_a_split_frame_misses_is_asked_for_and_never_a_byte_of_the_next, 0, PICTURES);
    tcase_add_test(tests, no_options_are_four_bytes_big_endian_with_the_header_and_at_most_16_MiB);
    tcase_add_loop_test(tests, options_that_make_no_sense_are_refused, 0, 15);
    tcase_add_loop_test(tests, options_at_their_limits_are_accepted, 0, 6);
    tcase_add_test(tests, a_codec_without_memory_is_not_made);
    tcase_add_test(tests, destroying_no_codec_does_nothing);
}
