#include "base/ring_buffer.h"
#include "net/codec.h"
#include "tests/support/buffer_checks.h"
#include "tests/support/check_main.h"
#include "tests/support/checking_memory.h"

#include <jinduo/error.h>
#include <jinduo/length_codec.h>
#include <jinduo/memory.h>
#include <string.h>

const char *const suite_name = "length_codec";

#define HELLO     "HELLO, WORLD"
#define TEN_BYTES "0123456789"
#define HUNDRED_BYTES                                                                                                  \
    TEN_BYTES TEN_BYTES TEN_BYTES TEN_BYTES TEN_BYTES TEN_BYTES TEN_BYTES TEN_BYTES TEN_BYTES TEN_BYTES
#define THREE_HUNDRED  HUNDRED_BYTES HUNDRED_BYTES HUNDRED_BYTES
#define BYTES(literal) (literal), sizeof(literal) - 1

enum { MAX_DEFAULT_BYTES = 16 * 1024 * 1024 };

static jd_codec *codec_with(const jd_length_codec_options *options)
{
    jd_codec *codec;

    ck_assert_int_eq(jd_length_codec_create(&codec, options), 0);
    return codec;
}

static jd_buffer *buffer_with(const void *bytes, size_t length)
{
    jd_buffer *buffer;

    ck_assert_int_eq(jd_buffer_create(&buffer), 0);
    ck_assert_int_eq(jd_buffer_append(buffer, bytes, length), 0);
    return buffer;
}

/* The first frame in buffer must be this one. Consumes it. */
static void assert_frame(const jd_codec *codec, jd_buffer *buffer, const void *frame, size_t length, size_t whole)
{
    const void *data;
    size_t data_length, used;

    ck_assert_int_eq(jd_codec_decode(codec, buffer, &data, &data_length, &used), 1);
    ck_assert_uint_eq(data_length, length);
    ck_assert_mem_eq(data, frame, length);
    ck_assert_uint_eq(used, whole);
    jd_buffer_consume(buffer, used);
}

static int decode_result(const jd_codec *codec, const void *bytes, size_t length)
{
    jd_buffer *buffer = buffer_with(bytes, length);
    const void *data;
    size_t data_length, whole;
    int result = jd_codec_decode(codec, buffer, &data, &data_length, &whole);

    jd_buffer_destroy(buffer);
    return result;
}

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
    jd_codec *codec = codec_with(&picture->options);
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
    jd_codec *codec = codec_with(&picture->options);

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
    jd_codec *codec = codec_with(&picture->options);

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
    jd_codec *codec = codec_with(&picture->options);

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
    jd_codec *codec = codec_with(&picture->options);
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
    jd_codec *codec = codec_with(&picture->options);
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
    jd_codec *codec = codec_with(&picture->options);
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
    jd_codec *codec = codec_with(NULL);
    jd_buffer *buffer = buffer_with(BYTES("\x00\x00\x00\x0c" HELLO));

    assert_frame(codec, buffer, BYTES("\x00\x00\x00\x0c" HELLO), 16);

    ck_assert_uint_eq(jd_codec_max_frame(codec), MAX_DEFAULT_BYTES);
    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

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
    jd_codec *codec = codec_with(options);
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
    jd_codec *codec = codec_with(&options);
    jd_buffer *buffer = buffer_with("\0\0\0\0\0\0\0", options.length_bytes);

    assert_frame(codec, buffer, "", 0, options.length_bytes);

    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_frame_of_the_maximum_is_let_through)
{
    const jd_length_codec_options options = { .max_frame_bytes = 304, .strip_bytes = JD_STRIP_HEADER };
    jd_codec *codec = codec_with(&options);
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
    jd_codec *codec = codec_with(&options);
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
    jd_codec *codec = codec_with(&options);
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
    jd_codec *codec = codec_with(&four_bytes);
    struct frame frame;
    size_t searched = 0;

    ck_assert_int_eq(codec->decode(codec, (const uint8_t *)"\xff\xff\xff\xff", 4, &searched, &frame), JD_EMSGSIZE);

    ck_assert_uint_eq(frame.claimed, UINT32_MAX);
    ck_assert_str_eq(frame.reason, "frame too long");
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_frame_that_wraps_needs_memory_to_be_one_piece_and_without_it_nothing_is_lost)
{
    jd_codec *codec = codec_with(NULL);
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
    jd_codec *codec = codec_with(&varint);
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
    jd_codec *codec = codec_with(&varint);
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
    jd_codec *codec = codec_with(&options);

    ck_assert_int_eq(decode_result(codec, BYTES("\x80\x80\x00")), 1);
    ck_assert_int_eq(decode_result(codec, BYTES("\x80\x80\x80\x00")), JD_EMSGSIZE);
    ck_assert_int_eq(decode_result(codec, BYTES("\x82\x80\x80\x00")), JD_EMSGSIZE);

    jd_codec_destroy(codec);
}
END_TEST

START_TEST(a_varint_behind_an_offset_is_read_there)
{
    const jd_length_codec_options options = { .length_offset = 3, .length_bytes = JD_LENGTH_VARINT };
    jd_codec *codec = codec_with(&options);
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

/* ---- encoding ---- */

static const unsigned widths[] = { 1, 2, 3, 4, 8, JD_LENGTH_VARINT };

/* A random description of a frame, and the bytes it must become. */
struct exchange {
    jd_length_codec_options options;
    uint8_t data[600], frame[700];
    size_t length, frame_bytes, header_bytes;
};

static size_t model_varint(uint8_t *field, uint64_t value)
{
    size_t bytes = 0;

    do {
        field[bytes] = (uint8_t)(value % 128);
        value /= 128;
        if (value > 0)
            field[bytes] |= 0x80;
        bytes++;
    } while (value > 0);
    return bytes;
}

static size_t model_field(const jd_length_codec_options *options, uint8_t *field, uint64_t value)
{
    if (options->length_bytes == JD_LENGTH_VARINT)
        return model_varint(field, value);
    for (unsigned i = 0; i < options->length_bytes; i++) {
        unsigned place = options->byte_order == JD_LITTLE_ENDIAN ? i : options->length_bytes - 1 - i;
        field[place] = (uint8_t)(value >> (8 * i));
    }
    return options->length_bytes;
}

static void make_exchange(struct exchange *exchange, uint64_t *random)
{
    jd_length_codec_options *options = &exchange->options;
    size_t body, value;

    *options = (jd_length_codec_options){
        .length_offset = random_below(random, 3) == 0 ? random_below(random, 50) : 0,
        .length_bytes = widths[random_below(random, 6)],
        .byte_order = random_below(random, 2) == 0 ? JD_BIG_ENDIAN : JD_LITTLE_ENDIAN,
        .length_adjustment = random_below(random, 2) == 0 ? (int64_t)random_below(random, 41) - 20 : 0,
    };
    /* A body whose length, adjusted, fits every field. */
    body = 20 + random_below(random, options->length_bytes == 1 ? 216 : 500);
    value = (size_t)((int64_t)body - options->length_adjustment);
    exchange->length = options->length_offset + body;
    for (size_t i = 0; i < exchange->length; i++)
        exchange->data[i] = (uint8_t)random_next(random);
    memcpy(exchange->frame, exchange->data, options->length_offset);
    exchange->header_bytes =
        options->length_offset + model_field(options, exchange->frame + options->length_offset, value);
    memcpy(exchange->frame + exchange->header_bytes, exchange->data + options->length_offset, body);
    exchange->frame_bytes = exchange->header_bytes + body;
    options->strip_bytes = random_below(random, 2) == 0 ? 0 : JD_STRIP_HEADER;
    options->max_frame_bytes = exchange->frame_bytes + random_below(random, 2);
}

START_TEST(what_is_encoded_by_any_description_is_as_described_and_decodes_to_the_same)
{
    enum { EXCHANGES = 5000 };
    uint64_t random = test_seed();

    for (int i = 0; i < EXCHANGES; i++) {
        struct exchange exchange;
        make_exchange(&exchange, &random);
        size_t strip = exchange.options.strip_bytes == JD_STRIP_HEADER ? exchange.header_bytes : 0;
        jd_codec *codec = codec_with(&exchange.options);
        jd_buffer *buffer = buffer_with("", 0);

        ck_assert_int_eq(jd_codec_encode(codec, buffer, exchange.data, exchange.length), 0);
        assert_content(buffer, exchange.frame, exchange.frame_bytes);
        assert_frame(codec, buffer, exchange.frame + strip, exchange.frame_bytes - strip, exchange.frame_bytes);

        jd_buffer_destroy(buffer);
        jd_codec_destroy(codec);
    }
}
END_TEST

static int encode_result(const jd_length_codec_options *options, size_t length)
{
    static const uint8_t data[70000];
    jd_codec *codec = codec_with(options);
    jd_buffer *buffer = buffer_with("x", 1);
    int result = jd_codec_encode(codec, buffer, data, length);

    if (result < 0)
        assert_content(buffer, "x", 1);
    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
    return result;
}

START_TEST(encoding_a_frame_over_the_maximum_is_refused)
{
    const jd_length_codec_options offset = { .length_offset = 3, .max_frame_bytes = 1000 };

    ck_assert_int_eq(encode_result(&four_bytes, 996), 0);
    ck_assert_int_eq(encode_result(&four_bytes, 997), JD_EMSGSIZE);
    ck_assert_int_eq(encode_result(&offset, 996), 0);
    ck_assert_int_eq(encode_result(&offset, 997), JD_EMSGSIZE);
    ck_assert_int_eq(encode_result(&varint, 998), 0);
    ck_assert_int_eq(encode_result(&varint, 999), JD_EMSGSIZE);
}
END_TEST

START_TEST(encoding_a_length_that_does_not_fit_the_field_is_refused)
{
    const jd_length_codec_options one_byte = { .length_bytes = 1 };
    const jd_length_codec_options two_bytes = { .length_bytes = 2 };
    const jd_length_codec_options whole_in_one_byte = { .length_bytes = 1, .length_adjustment = -1 };

    ck_assert_int_eq(encode_result(&one_byte, 255), 0);
    ck_assert_int_eq(encode_result(&one_byte, 256), JD_EMSGSIZE);
    ck_assert_int_eq(encode_result(&two_bytes, 65535), 0);
    ck_assert_int_eq(encode_result(&two_bytes, 65536), JD_EMSGSIZE);
    ck_assert_int_eq(encode_result(&whole_in_one_byte, 254), 0);
    ck_assert_int_eq(encode_result(&whole_in_one_byte, 255), JD_EMSGSIZE);
}
END_TEST

START_TEST(encoding_a_body_shorter_than_the_adjustment_is_refused)
{
    const jd_length_codec_options plus_four = { .length_bytes = widths[_i], .length_adjustment = 4 };
    const jd_length_codec_options most = { .length_bytes = widths[_i], .length_adjustment = INT64_MAX };

    ck_assert_int_eq(encode_result(&plus_four, 4), 0);
    ck_assert_int_eq(encode_result(&plus_four, 3), JD_EMSGSIZE);
    ck_assert_int_eq(encode_result(&most, 1000), JD_EMSGSIZE);
}
END_TEST

START_TEST(encoding_data_shorter_than_the_offset_is_refused)
{
    const jd_length_codec_options options = { .length_bytes = widths[_i], .length_offset = 4 };

    ck_assert_int_eq(encode_result(&options, 4), 0);
    ck_assert_int_eq(encode_result(&options, 3), JD_EMSGSIZE);
    ck_assert_int_eq(encode_result(&options, 0), JD_EMSGSIZE);
}
END_TEST

START_TEST(encoding_with_the_least_adjustment_needs_a_field_of_eight_bytes)
{
    const jd_length_codec_options eight = { .length_bytes = 8, .length_adjustment = INT64_MIN };
    const jd_length_codec_options four = { .length_bytes = 4, .length_adjustment = INT64_MIN };

    ck_assert_int_eq(encode_result(&eight, 10), 0);
    ck_assert_int_eq(encode_result(&four, 10), JD_EMSGSIZE);
}
END_TEST

START_TEST(an_empty_message_is_a_frame_of_nothing_but_its_header)
{
    jd_codec *codec = codec_with(NULL);
    jd_buffer *buffer = buffer_with("", 0);

    ck_assert_int_eq(jd_codec_encode(codec, buffer, NULL, 0), 0);

    assert_content(buffer, "\0\0\0\0", 4);
    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(without_memory_a_frame_is_added_whole_or_not_at_all)
{
    jd_codec *codec = codec_with(NULL);
    jd_buffer *buffer = buffer_with("before", 6);

    checking_memory_fail_at(1);
    ck_assert_int_eq(jd_codec_encode(codec, buffer, BYTES(THREE_HUNDRED)), JD_ENOMEM);

    ck_assert(checking_memory_has_failed());
    assert_text(buffer, "before");
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
    jd_codec_destroy(codec_with(&accepted_options[_i]));
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

static void add_picture_tests(TCase *tests)
{
    tcase_add_loop_test(tests, a_picture_of_the_header_is_cut_as_drawn, 0, PICTURES);
    tcase_add_loop_test(tests, a_frame_split_at_any_byte_waits_for_its_rest_and_nothing_is_consumed, 0, PICTURES);
    tcase_add_loop_test(tests, a_frame_that_wraps_around_the_rings_end_at_any_byte_is_cut_all_the_same, 0, PICTURES);
    tcase_add_loop_test(tests, a_header_at_any_alignment_is_read_right, 0, PICTURES);
    tcase_add_loop_test(tests, a_batch_of_frames_arriving_byte_by_byte_is_cut_into_those_frames, 0, PICTURES);
    tcase_add_loop_test(tests, two_frames_in_one_piece_are_cut_one_after_the_other, 0, PICTURES);
    tcase_add_loop_test(tests, what_a_split_frame_misses_is_asked_for_and_never_a_byte_of_the_next, 0, PICTURES);
    tcase_add_test(tests, no_options_are_four_bytes_big_endian_with_the_header_and_at_most_16_MiB);
}

static void add_limit_tests(TCase *tests)
{
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
}

static void add_varint_tests(TCase *tests)
{
    tcase_add_loop_test(tests, a_varint_longer_than_it_need_be_is_accepted, 0, 5);
    tcase_add_test(tests, a_varint_of_more_than_ten_bytes_is_an_error_of_the_protocol);
    tcase_add_test(tests, a_varint_over_64_bits_is_an_error_of_the_protocol);
    tcase_add_test(tests, a_varint_of_2_to_the_64_less_one_is_too_long_a_frame);
    tcase_add_test(tests, a_varint_cut_at_any_byte_waits_for_its_rest);
    tcase_add_test(tests, a_varint_counts_against_the_maximum);
    tcase_add_test(tests, a_varint_longer_than_the_maximum_frame_is_too_long_a_frame);
    tcase_add_test(tests, a_varint_behind_an_offset_is_read_there);
}

static void add_encode_tests(TCase *tests)
{
    tcase_add_test(tests, what_is_encoded_by_any_description_is_as_described_and_decodes_to_the_same);
    tcase_add_test(tests, encoding_a_frame_over_the_maximum_is_refused);
    tcase_add_test(tests, encoding_a_length_that_does_not_fit_the_field_is_refused);
    tcase_add_loop_test(tests, encoding_a_body_shorter_than_the_adjustment_is_refused, 0, 6);
    tcase_add_loop_test(tests, encoding_data_shorter_than_the_offset_is_refused, 0, 6);
    tcase_add_test(tests, encoding_with_the_least_adjustment_needs_a_field_of_eight_bytes);
    tcase_add_test(tests, an_empty_message_is_a_frame_of_nothing_but_its_header);
    tcase_add_test(tests, without_memory_a_frame_is_added_whole_or_not_at_all);
}

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("length_codec");

    suite_add_tcase(suite, tests);
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, checking_memory_install, checking_memory_remove);
    add_picture_tests(tests);
    add_limit_tests(tests);
    add_varint_tests(tests);
    add_encode_tests(tests);
    tcase_add_loop_test(tests, options_that_make_no_sense_are_refused, 0, 15);
    tcase_add_loop_test(tests, options_at_their_limits_are_accepted, 0, 6);
    tcase_add_test(tests, a_codec_without_memory_is_not_made);
    tcase_add_test(tests, destroying_no_codec_does_nothing);
}
