/* The functions of a codec that do not depend on its kind. */
#include "net/codec/codec.h"

#include "base/memory.h"
#include "base/platform/socket.h"
#include "base/ring_buffer.h"

#include <jinduo/error.h>

void jd_codec_destroy(jd_codec *codec)
{
    memory_release(codec, codec != NULL ? codec->object_bytes : 0);
}

size_t jd_codec_max_frame(const jd_codec *codec)
{
    return codec->max_frame_bytes;
}

int jd_codec_decode(const jd_codec *codec, jd_buffer *buffer, const void **data, size_t *length, size_t *frame_bytes)
{
    size_t readable = jd_buffer_readable(buffer);
    const uint8_t *bytes = readable > 0 ? jd_buffer_peek(buffer, readable) : NULL;
    struct frame frame;
    int result;

    if (readable == 0)
        return 0;
    if (bytes == NULL)
        return JD_ENOMEM;
    if (buffer->searched_by != codec)
        buffer->searched = 0;
    buffer->searched_by = codec;
    result = codec->decode(codec, bytes, readable, &buffer->searched, &frame);
    if (result == 1) {
        *data = frame.data;
        *length = frame.length;
        *frame_bytes = frame.whole;
    }
    return result;
}

int jd_codec_encode(const jd_codec *codec, jd_buffer *buffer, const void *data, size_t length)
{
    struct frame_addition addition;
    jd_iovec parts[FRAME_PARTS];
    int count = codec_parts(codec, data, length, &addition, parts);

    if (count < 0)
        return count;
    /* Reserve the room for all parts first, so that either the complete frame is appended or nothing. */
    if (jd_buffer_reserve(buffer, length + addition.length) == NULL)
        return JD_ENOMEM;
    for (int i = 0; i < count; i++)
        jd_buffer_append(buffer, parts[i].data, parts[i].length);
    return 0;
}
