#include "base/log.h"
#include "base/memory.h"
#include "base/platform/byte_search.h"
#include "net/codec/codec.h"

#include <jinduo/delimiter_codec.h>
#include <jinduo/error.h>
#include <string.h>

struct delimiter_codec {
    jd_codec codec;
    size_t delimiter_bytes;
    bool keep_delimiter;
    bool strip_carriage_return;
    uint8_t delimiter[JD_DELIMITER_MAX_BYTES];
};

/* Returns JD_EMSGSIZE, with its reason: length bytes without a delimiter, or a frame of length bytes. */
static int delimiter_fail(const struct delimiter_codec *codec, size_t length, jd_frame *frame)
{
    frame->claimed_bytes = length;
    frame->reason = "no delimiter within the longest frame";
    return JD_EMSGSIZE;
}

static int delimiter_decode(const jd_codec *base, const uint8_t *data, size_t length, size_t *searched, jd_frame *frame)
{
    const struct delimiter_codec *codec = (const struct delimiter_codec *)base;
    size_t size = codec->delimiter_bytes;
    /* A delimiter may begin in the last bytes that were searched. */
    size_t from = *searched >= size ? *searched - (size - 1) : 0;
    const uint8_t *found = from < length ? byte_search(data + from, length - from, codec->delimiter, size) : NULL;

    if (found == NULL) {
        *searched = length;
        frame->needed_bytes = length + 1;
        return length < base->max_frame_bytes ? 0 : delimiter_fail(codec, length, frame);
    }
    frame->data = data;
    frame->length = (size_t)(found - data);
    frame->frame_bytes = frame->length + size;
    if (frame->frame_bytes > base->max_frame_bytes)
        return delimiter_fail(codec, frame->frame_bytes, frame);
    if (codec->keep_delimiter)
        frame->length = frame->frame_bytes;
    else if (codec->strip_carriage_return && frame->length > 0 && data[frame->length - 1] == '\r')
        frame->length--;
    return 1;
}

/* The bytes up to the next occurrence of the delimiter's last byte, inclusive: the frame cannot end before. */
static size_t delimiter_missing(const jd_codec *base, const uint8_t *data, size_t length, const uint8_t *more,
                                size_t more_length)
{
    const struct delimiter_codec *codec = (const struct delimiter_codec *)base;
    size_t room = length < base->max_frame_bytes ? base->max_frame_bytes - length : 0;
    size_t looked_at = room < more_length ? room : more_length;
    const uint8_t *last = memchr(more, codec->delimiter[codec->delimiter_bytes - 1], looked_at);

    return last != NULL ? (size_t)(last - more) + 1 : looked_at;
}

/* A delimiter may begin in the last bytes. */
static size_t delimiter_find_end(const jd_codec *base, const uint8_t *data, size_t length, bool *found)
{
    const struct delimiter_codec *codec = (const struct delimiter_codec *)base;
    size_t size = codec->delimiter_bytes;
    const uint8_t *end = byte_search(data, length, codec->delimiter, size);

    *found = end != NULL;
    if (end != NULL)
        return (size_t)(end - data) + size;
    return length >= size ? length - (size - 1) : 0;
}

static int delimiter_encode(const jd_codec *base, struct frame_addition *addition, const void *data, size_t length)
{
    const struct delimiter_codec *codec = (const struct delimiter_codec *)base;

    if (length > base->max_frame_bytes || codec->delimiter_bytes > base->max_frame_bytes - length)
        return JD_EMSGSIZE;
    addition->at = length;
    addition->length = codec->delimiter_bytes;
    memcpy(addition->bytes, codec->delimiter, codec->delimiter_bytes);
    return 0;
}

int jd_delimiter_codec_create(jd_codec **out, const jd_delimiter_codec_options *options)
{
    static const jd_delimiter_codec_options defaults;
    const void *delimiter;
    size_t delimiter_bytes, max;
    struct delimiter_codec *codec;

    if (options == NULL)
        options = &defaults;
    delimiter = options->delimiter != NULL ? options->delimiter : "\n";
    delimiter_bytes = options->delimiter_bytes != 0 ? options->delimiter_bytes : strlen(delimiter);
    max = options->max_frame_bytes != 0 ? options->max_frame_bytes : FRAME_MAX_DEFAULT_BYTES;
    if (options->delimiter == NULL && options->delimiter_bytes > 1)
        return log_invalid("delimiter codec: delimiter_bytes %zu without a delimiter", delimiter_bytes);
    if (delimiter_bytes == 0 || delimiter_bytes > JD_DELIMITER_MAX_BYTES)
        return log_invalid("delimiter codec: delimiter of %zu bytes: must have 1 to %d", delimiter_bytes,
                           JD_DELIMITER_MAX_BYTES);
    if (max < delimiter_bytes || max > SIZE_MAX / 2)
        return log_invalid(
            "delimiter codec: max_frame_bytes %zu: must be from %zu, the length of the delimiter, to %zu", max,
            delimiter_bytes, SIZE_MAX / 2);
    codec = memory_allocate_zeroed(sizeof(*codec));
    if (codec == NULL)
        return JD_ENOMEM;
    codec->codec = (jd_codec){ .decode = delimiter_decode,
                               .missing = delimiter_missing,
                               .encode = delimiter_encode,
                               .find_end = delimiter_find_end,
                               .skips = options->skip_too_long,
                               .max_frame_bytes = max,
                               .object_bytes = sizeof(*codec) };
    codec->delimiter_bytes = delimiter_bytes;
    codec->keep_delimiter = options->keep_delimiter;
    codec->strip_carriage_return = options->strip_carriage_return;
    memcpy(codec->delimiter, delimiter, delimiter_bytes);
    *out = &codec->codec;
    return 0;
}
