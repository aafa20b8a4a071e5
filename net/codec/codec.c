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
    jd_frame frame = { .connection = NULL };
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
        *frame_bytes = frame.frame_bytes;
    }
    return result;
}

/* ---- no codec ---- */

static int no_codec_decode(const jd_codec *codec, const uint8_t *data, size_t length, size_t *searched, jd_frame *frame)
{
    frame->needed_bytes = 0;
    return 0;
}

const jd_codec no_codec = { .decode = no_codec_decode };

/* ---- encoding ---- */

int parts_length(const jd_iovec *parts, int count, size_t *length)
{
    size_t sum = 0;

    if (count < 0)
        return JD_EINVAL;
    for (int i = 0; i < count; i++) {
        if (parts[i].length > SIZE_MAX - sum)
            return JD_EMSGSIZE;
        sum += parts[i].length;
    }
    *length = sum;
    return 0;
}

static void frame_parts_add(struct frame_parts *frame, void *data, size_t length)
{
    if (length == 0)
        return;
    frame->parts[frame->count++] = (jd_iovec){ .data = data, .length = length };
    frame->length += length;
}

/* The parts with the inserted bytes, which begin at inserted.at. */
static void frame_parts_insert(struct frame_parts *frame, const jd_iovec *parts, int count)
{
    size_t until = frame->inserted.at;
    int i = 0;

    for (; i < count && parts[i].length <= until; until -= parts[i++].length)
        frame_parts_add(frame, parts[i].data, parts[i].length);
    if (i < count)
        frame_parts_add(frame, parts[i].data, until);
    frame_parts_add(frame, frame->inserted.bytes, frame->inserted.length);
    if (i < count)
        frame_parts_add(frame, (uint8_t *)parts[i].data + until, parts[i].length - until);
    for (i++; i < count; i++)
        frame_parts_add(frame, parts[i].data, parts[i].length);
}

static void frame_parts_enclose(struct frame_parts *frame, const jd_iovec *parts, int count)
{
    frame_parts_add(frame, frame->added.header, frame->added.header_bytes);
    for (int i = 0; i < count; i++)
        frame_parts_add(frame, parts[i].data, parts[i].length);
    frame_parts_add(frame, frame->added.trailer, frame->added.trailer_bytes);
}

/* Sets what is added to the message. Returns 0 or a negative error; *by_program: whether it is added, not inserted. */
static int frame_parts_encode(struct frame_parts *frame, const jd_codec *codec, const jd_iovec *parts, int count,
                              size_t length, bool *by_program)
{
    int result;

    *by_program = false;
    if (codec == NULL) {
        frame->inserted.at = length;
        frame->inserted.length = 0;
        return 0;
    }
    result = codec->encode(codec, &frame->inserted, NULL, length);
    *by_program = result == FRAME_BY_PROGRAM;
    return *by_program ? program_codec_encode(codec, parts, count, length, &frame->added) : result;
}

int frame_parts_make(struct frame_parts *frame, const jd_codec *codec, const jd_iovec *parts, int count)
{
    size_t length;
    int result = parts_length(parts, count, &length);
    bool by_program;

    if (result == 0)
        result = frame_parts_encode(frame, codec, parts, count, length, &by_program);
    if (result < 0)
        return result;
    frame->room = count + FRAME_PARTS - 1;
    frame->parts = (size_t)frame->room <= sizeof(frame->few) / sizeof(frame->few[0])
                       ? frame->few
                       : memory_allocate((size_t)frame->room * sizeof(*frame->parts));
    if (frame->parts == NULL)
        return JD_ENOMEM;
    frame->count = 0;
    frame->length = 0;
    if (by_program)
        frame_parts_enclose(frame, parts, count);
    else
        frame_parts_insert(frame, parts, count);
    return 0;
}

void frame_parts_release(struct frame_parts *frame)
{
    if (frame->parts != frame->few)
        memory_release(frame->parts, (size_t)frame->room * sizeof(*frame->parts));
}

int jd_codec_encode(const jd_codec *codec, jd_buffer *buffer, const void *data, size_t length)
{
    const jd_iovec message = { .data = (void *)(uintptr_t)data, .length = length };
    struct frame_parts frame;
    int result = frame_parts_make(&frame, codec, &message, 1);

    if (result < 0)
        return result;
    /* Reserve the room for all parts first, so that either the complete frame is appended or nothing. */
    result = jd_buffer_reserve(buffer, frame.length) != NULL ? 0 : JD_ENOMEM;
    for (int i = 0; result == 0 && i < frame.count; i++)
        jd_buffer_append(buffer, frame.parts[i].data, frame.parts[i].length);
    frame_parts_release(&frame);
    return result;
}
