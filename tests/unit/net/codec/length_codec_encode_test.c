#include "tests/support/buffer_checks.h"
#include "tests/support/check_main.h"
#include "tests/support/checking_memory.h"
#include "tests/support/length_codec_checks.h"

#include <jinduo/error.h>
#include <string.h>

const char *const suite_name = "length_codec_encode";

static const jd_length_codec_options four_bytes = { .length_bytes = 4, .max_frame_bytes = 1000 };
static const jd_length_codec_options varint = { .length_bytes = JD_LENGTH_VARINT, .max_frame_bytes = 1000 };
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
        jd_codec *codec = length_codec_with(&exchange.options);
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
    jd_codec *codec = length_codec_with(options);
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
    ck_assert_int_eq(encode_result(&options, 3), JD_EINVAL);
    ck_assert_int_eq(encode_result(&options, 0), JD_EINVAL);
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
    jd_codec *codec = length_codec_with(NULL);
    jd_buffer *buffer = buffer_with("", 0);

    ck_assert_int_eq(jd_codec_encode(codec, buffer, NULL, 0), 0);

    assert_content(buffer, "\0\0\0\0", 4);
    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

START_TEST(without_memory_a_frame_is_added_whole_or_not_at_all)
{
    jd_codec *codec = length_codec_with(NULL);
    jd_buffer *buffer = buffer_with("before", 6);

    checking_memory_fail_at(1);
    ck_assert_int_eq(jd_codec_encode(codec, buffer, BYTES(THREE_HUNDRED)), JD_ENOMEM);

    ck_assert(checking_memory_has_failed());
    assert_text(buffer, "before");
    jd_buffer_destroy(buffer);
    jd_codec_destroy(codec);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("length_codec_encode");

    suite_add_tcase(suite, tests);
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, checking_memory_install, checking_memory_remove);
    tcase_add_test(tests, what_is_encoded_by_any_description_is_as_described_and_decodes_to_the_same);
    tcase_add_test(tests, encoding_a_frame_over_the_maximum_is_refused);
    tcase_add_test(tests, encoding_a_length_that_does_not_fit_the_field_is_refused);
    tcase_add_loop_test(tests, encoding_a_body_shorter_than_the_adjustment_is_refused, 0, 6);
    tcase_add_loop_test(tests, encoding_data_shorter_than_the_offset_is_refused, 0, 6);
    tcase_add_test(tests, encoding_with_the_least_adjustment_needs_a_field_of_eight_bytes);
    tcase_add_test(tests, an_empty_message_is_a_frame_of_nothing_but_its_header);
    tcase_add_test(tests, without_memory_a_frame_is_added_whole_or_not_at_all);
}
