/* A codec of the program's own functions (jd_codec_create). What they return is checked here, so that a mistake ends the
 * connection with a clear reason. */
#include "base/log.h"
#include "base/memory.h"
#include "net/codec/codec.h"

#include <jinduo/error.h>

struct program_codec {
    jd_codec codec;
    jd_codec_decode_function decode;
    jd_codec_encode_function encode;
    jd_codec_end_function find_end;
    void *arg;
};

static int frame_fail(jd_frame *frame, int error, uint64_t claimed, const char *reason)
{
    frame->claimed_bytes = claimed;
    frame->reason = reason;
    return error;
}

static int frame_mistake(jd_frame *frame, uint64_t claimed, const char *reason)
{
    return frame_fail(frame, JD_EINVAL, claimed, reason);
}

static int check_incomplete(size_t max, size_t length, size_t *searched, jd_frame *frame)
{
    if (*searched > length)
        return frame_mistake(frame, *searched, "the codec has searched more bytes than it was given");
    if (frame->needed_bytes != 0 && frame->needed_bytes <= length)
        return frame_mistake(frame, frame->needed_bytes, "the codec needs no more bytes than it was given");
    if (frame->needed_bytes > max)
        return frame_fail(frame, JD_EMSGSIZE, frame->needed_bytes, "frame too long");
    if (length >= max)
        return frame_fail(frame, JD_EMSGSIZE, length, "no end within the longest frame"); /* needed_bytes is 0 */
    return 0;
}

static int check_error(int error, jd_frame *frame)
{
    enum { ERROR_MIN = -4095 }; /* errno(3), the kernel's MAX_ERRNO */

    if (error > 1 || error < ERROR_MIN)
        return frame_mistake(frame, frame->claimed_bytes, "the codec returned neither 1, 0 nor an error");
    if (frame->reason == NULL)
        frame->reason = "invalid frame";
    return error;
}

/* Which rule a complete frame breaks. */
static int frame_refuse(size_t max, size_t length, jd_frame *frame)
{
    if (frame->frame_bytes == 0)
        return frame_mistake(frame, 0, "the codec found a frame of no bytes");
    if (frame->frame_bytes > length)
        return frame_mistake(frame, frame->frame_bytes, "the codec found a frame longer than the bytes given");
    frame->needed_bytes = frame->frame_bytes;
    if (frame->frame_bytes > max)
        return frame_fail(frame, JD_EMSGSIZE, frame->frame_bytes, "frame too long");
    return frame_mistake(frame, frame->length, "the codec's data is not inside its frame");
}

static bool is_inside(const uint8_t *data, const jd_frame *frame)
{
    size_t offset = (size_t)((uintptr_t)frame->data - (uintptr_t)data);

    return offset <= frame->frame_bytes && frame->length <= frame->frame_bytes - offset;
}

static int program_codec_decode(const jd_codec *base, const uint8_t *data, size_t length, size_t *searched,
                                jd_frame *frame)
{
    const struct program_codec *codec = (const struct program_codec *)base;
    size_t max = base->max_frame_bytes;
    int result;

    *frame = (jd_frame){ .connection = frame->connection };
    result = codec->decode(codec->arg, data, length, searched, frame);
    if (result == 0)
        return check_incomplete(max, length, searched, frame);
    if (result != 1)
        return check_error(result, frame);
    if (frame->data == NULL) {
        frame->data = data;
        frame->length = frame->frame_bytes;
    }
    if (frame->frame_bytes - 1 >= (length < max ? length : max) || !is_inside(data, frame))
        return frame_refuse(max, length, frame);
    return 1;
}

static size_t program_codec_find_end(const jd_codec *base, const uint8_t *data, size_t length, bool *found)
{
    const struct program_codec *codec = (const struct program_codec *)base;

    return codec->find_end(codec->arg, data, length, found);
}

static int program_codec_has_own_encode(const jd_codec *codec, struct frame_addition *addition, const void *data,
                                        size_t length)
{
    addition->codec = codec;
    return FRAME_BY_PROGRAM;
}

int program_codec_encode(const jd_codec *base, const jd_iovec *parts, int count, size_t length,
                         jd_frame_addition *addition)
{
    const struct program_codec *codec = (const struct program_codec *)base;
    size_t max = base->max_frame_bytes;
    int result;

    if (codec->encode == NULL)
        return JD_ENOTSUP;
    addition->header_bytes = 0;
    addition->trailer_bytes = 0;
    result = codec->encode(codec->arg, parts, count, length, addition);
    if (result < 0)
        return result;
    if (result > 0 || addition->header_bytes > JD_FRAME_ADDED_MAX_BYTES ||
        addition->trailer_bytes > JD_FRAME_ADDED_MAX_BYTES)
        return JD_EINVAL;
    if (length > max || addition->header_bytes + addition->trailer_bytes > max - length)
        return JD_EMSGSIZE;
    return 0;
}

int jd_codec_create(jd_codec **out, const jd_codec_options *options)
{
    struct program_codec *codec;
    size_t max;

    if (options == NULL || options->decode == NULL)
        return log_invalid("codec: the option decode is missing");
    max = options->max_frame_bytes != 0 ? options->max_frame_bytes : FRAME_MAX_DEFAULT_BYTES;
    if (max > SIZE_MAX / 2)
        return log_invalid("codec: max_frame_bytes %zu: must be at most %zu", max, SIZE_MAX / 2);
    codec = memory_allocate(sizeof(*codec));
    if (codec == NULL)
        return JD_ENOMEM;
    *codec = (struct program_codec){
        .codec = { .decode = program_codec_decode,
                   .encode = program_codec_has_own_encode,
                   .find_end = options->find_end != NULL ? program_codec_find_end : NULL,
                   .skips = options->skip_too_long,
                   .max_frame_bytes = max,
                   .object_bytes = sizeof(*codec) },
        .decode = options->decode,
        .encode = options->encode,
        .find_end = options->find_end,
        .arg = options->arg,
    };
    *out = &codec->codec;
    return 0;
}
