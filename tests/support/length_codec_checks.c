#include "tests/support/length_codec_checks.h"

#include "tests/support/buffer_checks.h"

#include <check.h>

jd_codec *length_codec_with(const jd_length_codec_options *options)
{
    jd_codec *codec;

    ck_assert_int_eq(jd_length_codec_create(&codec, options), 0);
    return codec;
}

void assert_frame(const jd_codec *codec, jd_buffer *buffer, const void *frame, size_t length, size_t frame_bytes)
{
    const void *data;
    size_t data_length, used;

    ck_assert_int_eq(jd_codec_decode(codec, buffer, &data, &data_length, &used), 1);
    ck_assert_uint_eq(data_length, length);
    ck_assert_mem_eq(data, frame, length);
    ck_assert_uint_eq(used, frame_bytes);
    jd_buffer_consume(buffer, used);
}

int decode_result(const jd_codec *codec, const void *bytes, size_t length)
{
    jd_buffer *buffer = buffer_with(bytes, length);
    const void *data;
    size_t data_length, used;
    int result = jd_codec_decode(codec, buffer, &data, &data_length, &used);

    jd_buffer_destroy(buffer);
    return result;
}
