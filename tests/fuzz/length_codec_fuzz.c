/* The length codec: any options, any stream, any split. The model follows the definition in <jinduo/length_codec.h> with
 * integers of 128 bits, which cannot overflow. */
#include "tests/fuzz/codec_checks.h"

#include <jinduo/error.h>
#include <jinduo/length_codec.h>
#include <jinduo/log.h>

__extension__ typedef __int128 wide;

enum { DEFAULT_FIELD_BYTES = 4, DEFAULT_MAX_BYTES = 16 * 1024 * 1024, OFFSET_MAX_BYTES = 65535, VARINT_MAX_BYTES = 10 };

/* Returns the bytes of the field; 0: more are needed; -1: a varint that is too long. */
static int read_field(const jd_length_codec_options *options, const uint8_t *data, size_t length, wide *value)
{
    size_t bytes = options->length_bytes != 0 ? options->length_bytes : DEFAULT_FIELD_BYTES;

    *value = 0;
    if (bytes == JD_LENGTH_VARINT) {
        for (size_t i = 0; i < length; i++) {
            *value += (wide)(data[i] & 0x7f) << (7 * i);
            if (i == VARINT_MAX_BYTES - 1 && (data[i] >= 0x80 || *value > UINT64_MAX))
                return -1;
            if (data[i] < 0x80)
                return (int)i + 1;
        }
        return 0;
    }
    if (length < bytes)
        return 0;
    for (size_t i = 0; i < bytes; i++)
        *value += (wide)data[i] << (8 * (options->byte_order == JD_LITTLE_ENDIAN ? i : bytes - 1 - i));
    return (int)bytes;
}

static size_t max_frame(const jd_length_codec_options *options)
{
    return options->max_frame_bytes != 0 ? options->max_frame_bytes : DEFAULT_MAX_BYTES;
}

static int decode(const void *model, const uint8_t *data, size_t length, struct model_frame *frame)
{
    const jd_length_codec_options *options = model;
    int field_bytes;
    wide value, whole;
    size_t header;

    if (length < options->length_offset)
        return 0;
    field_bytes = read_field(options, data + options->length_offset, length - options->length_offset, &value);
    if (field_bytes <= 0)
        return field_bytes == 0 ? 0 : JD_EPROTO;
    header = options->length_offset + (size_t)field_bytes;
    whole = (wide)header + value + options->length_adjustment;
    if (value + options->length_adjustment < 0)
        return JD_EPROTO;
    if (whole > (wide)max_frame(options))
        return JD_EMSGSIZE;
    frame->begin = options->strip_bytes == JD_STRIP_HEADER ? header : options->strip_bytes;
    if ((wide)frame->begin > whole)
        return JD_EPROTO;
    frame->whole = (size_t)whole;
    frame->length = frame->whole - frame->begin;
    return frame->whole <= length;
}

static bool are_valid(const jd_length_codec_options *options)
{
    size_t bytes = options->length_bytes == 0                  ? DEFAULT_FIELD_BYTES
                   : options->length_bytes == JD_LENGTH_VARINT ? 1
                                                               : options->length_bytes;

    return (bytes <= 4 || bytes == 8) && options->length_offset <= OFFSET_MAX_BYTES &&
           options->byte_order <= JD_LITTLE_ENDIAN && max_frame(options) >= options->length_offset + bytes &&
           max_frame(options) <= SIZE_MAX / 2 &&
           (options->strip_bytes == JD_STRIP_HEADER || options->strip_bytes <= max_frame(options));
}

/* Mostly small values, so that frames fit an input; a byte of 240 or more is followed by a number of 8 bytes. */
static uint64_t read_value(struct fuzz_input *input)
{
    enum { LARGE = 240 };
    uint8_t byte = fuzz_byte(input);

    return byte >= LARGE ? fuzz_number(input, 8) : byte;
}

static jd_length_codec_options read_options(struct fuzz_input *input)
{
    static const unsigned widths[] = { 0, 1, 2, 3, 4, 8, JD_LENGTH_VARINT, 5 };
    jd_length_codec_options options = { 0 };
    uint8_t choice = fuzz_byte(input);

    options.length_bytes = widths[choice & 7];
    options.byte_order = (choice & 8) != 0 ? JD_LITTLE_ENDIAN : JD_BIG_ENDIAN;
    options.strip_bytes = (choice & 16) != 0 ? JD_STRIP_HEADER : read_value(input);
    if ((choice & 32) != 0)
        options.length_offset = read_value(input);
    if ((choice & 64) != 0)
        options.length_adjustment = (int64_t)(read_value(input) - 120);
    if ((choice & 128) != 0)
        options.max_frame_bytes = read_value(input);
    return options;
}

/* The bytes of a field with this value; 0: the field is too short for it. */
static size_t field_bytes_of(const jd_length_codec_options *options, wide value)
{
    size_t bytes = options->length_bytes != 0 ? options->length_bytes : DEFAULT_FIELD_BYTES;

    if (bytes != JD_LENGTH_VARINT)
        return value < (wide)1 << (8 * bytes) ? bytes : 0;
    for (bytes = 1; value >= (wide)1 << (7 * bytes); bytes++)
        ;
    return bytes;
}

static int encoding_result(const jd_length_codec_options *options, size_t length)
{
    wide value = (wide)length - (wide)options->length_offset - options->length_adjustment;
    size_t field_bytes;

    if (length < options->length_offset)
        return JD_EINVAL;
    field_bytes = value >= 0 ? field_bytes_of(options, value) : 0;
    return field_bytes > 0 && (wide)length + (wide)field_bytes <= (wide)max_frame(options) ? 0 : JD_EMSGSIZE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = { data, size };
    jd_length_codec_options options = read_options(&input);
    const uint8_t *message;
    jd_codec *codec;
    size_t length;
    int result;

    jd_log_set_level(JD_LOG_NONE);
    result = jd_length_codec_create(&codec, &options);
    REQUIRE(result == (are_valid(&options) ? 0 : JD_EINVAL));
    if (result < 0)
        return 0;
    REQUIRE(jd_codec_max_frame(codec) == max_frame(&options));
    length = fuzz_byte(&input);
    message = fuzz_take(&input, &length);
    check_encoding(codec, decode, &options, message, length, encoding_result(&options, length));
    check_splits(codec, decode, &options, &input);
    jd_codec_destroy(codec);
    return 0;
}
