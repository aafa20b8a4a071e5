#include "base/log.h"
#include "base/memory.h"
#include "net/codec/codec.h"

#include <jinduo/error.h>
#include <jinduo/length_codec.h>
#include <string.h>

enum { LENGTH_OFFSET_MAX_BYTES = 65535, VARINT_MAX_BYTES = 10 };

struct length_codec {
    jd_codec codec;
    size_t offset;
    size_t field_bytes; /* or JD_LENGTH_VARINT */
    size_t strip_bytes;
    int64_t adjustment;
    bool little_endian;
};

/* Decodes a varint. Returns its length in bytes; 0 if it is incomplete; -1 if it is longer than VARINT_MAX_BYTES or its
 * value needs more than 64 bits. */
static int read_varint(const uint8_t *data, size_t length, uint64_t *value)
{
    uint64_t result = 0;

    for (unsigned i = 0; i < length; i++) {
        if (i == VARINT_MAX_BYTES - 1 && data[i] > 1)
            return -1;
        result |= (uint64_t)(data[i] & 0x7f) << (7 * i);
        if (data[i] < 0x80) {
            *value = result;
            return (int)i + 1;
        }
    }
    return 0;
}

static uint32_t convert_order(const struct length_codec *codec, uint32_t word)
{
    return codec->little_endian == (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) ? word : __builtin_bswap32(word);
}

static uint32_t read_word(const struct length_codec *codec, const uint8_t *data)
{
    uint32_t word;

    memcpy(&word, data, sizeof(word));
    return convert_order(codec, word);
}

static void write_word(const struct length_codec *codec, uint8_t *data, uint32_t value)
{
    uint32_t word = convert_order(codec, value);

    memcpy(data, &word, sizeof(word));
}

static uint64_t read_field(const struct length_codec *codec, const uint8_t *data)
{
    uint64_t value = 0;

    if (codec->field_bytes == sizeof(uint32_t)) /* the most common width: one load */
        return read_word(codec, data);
    for (size_t i = 0; i < codec->field_bytes; i++)
        value = value << 8 | data[codec->little_endian ? codec->field_bytes - 1 - i : i];
    return value;
}

static int length_fail(jd_frame *frame, int error, uint64_t claimed, const char *reason)
{
    frame->claimed_bytes = claimed;
    frame->reason = reason;
    return error;
}

/* Sets frame->frame_bytes = header + value + adjustment, checked for overflow and for the maximum. Returns 0 or a negative
 * error. */
static int compute_whole(const struct length_codec *codec, uint64_t value, size_t header, jd_frame *frame)
{
    size_t max = codec->codec.max_frame_bytes;
    uint64_t body = value + (uint64_t)codec->adjustment;

    if (codec->adjustment < 0 && value < -(uint64_t)codec->adjustment)
        return length_fail(frame, JD_EPROTO, value, "frame length negative after adjustment");
    frame->needed_bytes = 0;
    if (codec->adjustment > 0 && body < value)
        return length_fail(frame, JD_EMSGSIZE, UINT64_MAX, "frame too long");
    if (header > max || body > max - header) {
        frame->needed_bytes = body <= SIZE_MAX - header ? header + body : 0;
        return length_fail(frame, JD_EMSGSIZE, body <= UINT64_MAX - header ? header + body : UINT64_MAX,
                           "frame too long");
    }
    frame->frame_bytes = header + (size_t)body;
    return 0;
}

/* Decodes the header. Returns its length in bytes, and sets frame->frame_bytes; 0 if it is incomplete; or a negative
 * error. */
static int read_header(const struct length_codec *codec, const uint8_t *data, size_t length, jd_frame *frame)
{
    size_t field_bytes = codec->field_bytes;
    uint64_t value;
    int result;

    frame->needed_bytes = codec->offset + (field_bytes == JD_LENGTH_VARINT ? 1 : field_bytes);
    if (length < frame->needed_bytes)
        return 0;
    if (field_bytes == JD_LENGTH_VARINT) {
        int varint_bytes = read_varint(data + codec->offset, length - codec->offset, &value);
        frame->needed_bytes = length + 1;
        if (varint_bytes < 0)
            return length_fail(frame, JD_EPROTO, UINT64_MAX, "varint length too long (at most 10 bytes, 64 bits)");
        if (varint_bytes == 0)
            return 0;
        field_bytes = (size_t)varint_bytes;
    } else {
        value = read_field(codec, data + codec->offset);
    }
    result = compute_whole(codec, value, codec->offset + field_bytes, frame);
    return result < 0 ? result : (int)(codec->offset + field_bytes);
}

static int length_decode(const jd_codec *base, const uint8_t *data, size_t length, size_t *searched, jd_frame *frame)
{
    const struct length_codec *codec = (const struct length_codec *)base;
    int header = read_header(codec, data, length, frame);
    size_t strip;

    if (header <= 0)
        return header;
    strip = codec->strip_bytes == JD_STRIP_HEADER ? (size_t)header : codec->strip_bytes;
    if (strip > frame->frame_bytes)
        return length_fail(frame, JD_EPROTO, frame->frame_bytes, "frame shorter than the bytes to strip");
    if (length < frame->frame_bytes) {
        frame->needed_bytes = frame->frame_bytes;
        return 0;
    }
    frame->data = data + strip;
    frame->length = frame->frame_bytes - strip;
    return 1;
}

static size_t length_missing(const jd_codec *base, const uint8_t *data, size_t length, const uint8_t *more,
                             size_t more_length)
{
    jd_frame frame;
    size_t searched = 0;

    /* A complete or an invalid frame misses no bytes. */
    if (length_decode(base, data, length, &searched, &frame) != 0)
        return 0;
    return frame.needed_bytes - length < more_length ? frame.needed_bytes - length : more_length;
}

static size_t write_varint(uint8_t *field, uint64_t value)
{
    size_t bytes = 0;

    for (; value >= 0x80; value >>= 7)
        field[bytes++] = (uint8_t)(value | 0x80);
    field[bytes++] = (uint8_t)value;
    return bytes;
}

static size_t write_field(const struct length_codec *codec, uint8_t *field, uint64_t value)
{
    if (codec->field_bytes == sizeof(uint32_t)) {
        write_word(codec, field, (uint32_t)value);
        return sizeof(uint32_t);
    }
    if (codec->field_bytes == JD_LENGTH_VARINT)
        return write_varint(field, value);
    for (size_t i = 0; i < codec->field_bytes; i++) {
        size_t shift = 8 * (codec->little_endian ? i : codec->field_bytes - 1 - i);
        field[i] = (uint8_t)(value >> shift);
    }
    return codec->field_bytes;
}

static bool fits_field(const struct length_codec *codec, uint64_t value)
{
    return codec->field_bytes >= 8 || value >> (8 * codec->field_bytes) == 0;
}

static int length_encode(const jd_codec *base, struct frame_addition *addition, const void *data, size_t length)
{
    const struct length_codec *codec = (const struct length_codec *)base;
    size_t max = codec->codec.max_frame_bytes;
    size_t body = length - codec->offset;
    uint64_t value = (uint64_t)body - (uint64_t)codec->adjustment;

    if (length < codec->offset)
        return JD_EINVAL;
    if (length > max)
        return JD_EMSGSIZE;
    if (codec->adjustment > 0 && (uint64_t)codec->adjustment > body)
        return JD_EMSGSIZE;
    if (!fits_field(codec, value))
        return JD_EMSGSIZE;
    addition->at = codec->offset;
    addition->length = write_field(codec, addition->bytes, value);
    return addition->length > max - length ? JD_EMSGSIZE : 0;
}

/* ---- fast path for the most common frame: a field of four bytes, which counts the bytes after it and is stripped
 * ---- */

static bool is_common(const struct length_codec *codec)
{
    return codec->field_bytes == sizeof(uint32_t) && codec->offset == 0 && codec->adjustment == 0 &&
           codec->strip_bytes == JD_STRIP_HEADER;
}

/* An incomplete or invalid frame is left to length_decode. */
static int common_decode(const jd_codec *base, const uint8_t *data, size_t length, size_t *searched, jd_frame *frame)
{
    enum { HEADER = sizeof(uint32_t) };
    uint32_t body;

    if (length < HEADER)
        return length_decode(base, data, length, searched, frame);
    body = read_word((const struct length_codec *)base, data);
    if (body > base->max_frame_bytes - HEADER || body > length - HEADER)
        return length_decode(base, data, length, searched, frame);
    frame->data = data + HEADER;
    frame->length = body;
    frame->frame_bytes = HEADER + (size_t)body;
    return 1;
}

static int common_encode(const jd_codec *base, struct frame_addition *addition, const void *data, size_t length)
{
    if (length > base->max_frame_bytes - sizeof(uint32_t) || length > UINT32_MAX)
        return JD_EMSGSIZE;
    addition->at = 0;
    addition->length = sizeof(uint32_t);
    write_word((const struct length_codec *)base, addition->bytes, (uint32_t)length);
    return 0;
}

static int options_check(const jd_length_codec_options *options, unsigned field_bytes, size_t max)
{
    size_t header = options->length_offset + (field_bytes == JD_LENGTH_VARINT ? 1 : field_bytes);
    bool width_is_known = (field_bytes >= 1 && field_bytes <= 4) || field_bytes == 8 || field_bytes == JD_LENGTH_VARINT;

    if (!width_is_known)
        return log_invalid("length codec: length_bytes %u: must be 1, 2, 3, 4, 8 or JD_LENGTH_VARINT", field_bytes);
    if (options->length_offset > LENGTH_OFFSET_MAX_BYTES)
        return log_invalid("length codec: length_offset %zu: must be at most %d", (size_t)options->length_offset,
                           LENGTH_OFFSET_MAX_BYTES);
    if (options->byte_order != JD_BIG_ENDIAN && options->byte_order != JD_LITTLE_ENDIAN)
        return log_invalid("length codec: byte_order %d is none of the values of jd_byte_order",
                           (int)options->byte_order);
    if (max < header || max > SIZE_MAX / 2)
        return log_invalid("length codec: max_frame_bytes %zu: must be from %zu, the length of the header, to %zu", max,
                           header, SIZE_MAX / 2);
    if (options->strip_bytes != JD_STRIP_HEADER && options->strip_bytes > max)
        return log_invalid("length codec: strip_bytes %zu is above max_frame_bytes %zu", (size_t)options->strip_bytes,
                           max);
    return 0;
}

int jd_length_codec_create(jd_codec **out, const jd_length_codec_options *options)
{
    static const jd_length_codec_options defaults;
    struct length_codec *codec;
    unsigned field_bytes;
    size_t max;
    int result;

    if (options == NULL)
        options = &defaults;
    field_bytes = options->length_bytes != 0 ? options->length_bytes : 4;
    max = options->max_frame_bytes != 0 ? options->max_frame_bytes : FRAME_MAX_DEFAULT_BYTES;
    result = options_check(options, field_bytes, max);
    if (result < 0)
        return result;
    codec = memory_allocate(sizeof(*codec));
    if (codec == NULL)
        return JD_ENOMEM;
    *codec = (struct length_codec){
        .codec = { .decode = length_decode,
                   .missing = length_missing,
                   .encode = length_encode,
                   .skips = options->skip_too_long,
                   .max_frame_bytes = max,
                   .object_bytes = sizeof(*codec) },
        .offset = options->length_offset,
        .field_bytes = field_bytes,
        .strip_bytes = options->strip_bytes,
        .adjustment = options->length_adjustment,
        .little_endian = options->byte_order == JD_LITTLE_ENDIAN,
    };
    if (is_common(codec)) {
        codec->codec.decode = common_decode;
        codec->codec.encode = common_encode;
    }
    *out = &codec->codec;
    return 0;
}
