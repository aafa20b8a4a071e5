/* The members of a codec: functions that cut frames from contiguous bytes, and that make a frame of a message. A codec
 * does not change after its creation: all functions may be called from any thread. */
#ifndef NET_CODEC_CODEC_H
#define NET_CODEC_CODEC_H

#include "base/platform/socket.h"

#include <jinduo/codec.h>

/* The result of decode. */
struct frame {
    /* decode returned 1: a complete frame */
    const uint8_t *data; /* the frame without the stripped bytes */
    size_t length;       /* of data */
    size_t whole;        /* of the frame with the stripped bytes: to be consumed */

    /* decode returned 0: more bytes are needed */
    size_t needed; /* total bytes that the frame is known to need; more than have arrived */

    /* decode returned an error: an invalid frame (jd_frame_error) */
    uint64_t claimed;
    const char *reason; /* static */
};

enum { FRAME_MAX_DEFAULT_BYTES = 16 * 1024 * 1024, FRAME_ADDED_MAX_BYTES = 16 };

/* The bytes that a codec inserts into a message: a length field or a delimiter. */
struct frame_addition {
    size_t at; /* offset in the message */
    size_t length;
    uint8_t bytes[FRAME_ADDED_MAX_BYTES];
};

enum { FRAME_PARTS = 3 }; /* the message before the addition, the addition, the rest of the message */

struct jd_codec {
    /* Decodes the first frame of the length bytes at data. Returns 1: a complete frame; 0: more bytes are needed; or a
     * negative error: an invalid frame. *searched: the bytes that earlier calls with fewer bytes have searched; set if
     * 0 is returned. */
    int (*decode)(const jd_codec *codec, const uint8_t *data, size_t length, size_t *searched, struct frame *frame);

    /* Given the length bytes at data, the beginning of a frame: returns how many of the bytes at more are known to
     * belong to it. */
    size_t (*missing)(const jd_codec *codec, const uint8_t *data, size_t length, const uint8_t *more,
                      size_t more_length);

    /* Sets *addition to the bytes that make a frame of a message of length bytes. Returns 0, JD_EMSGSIZE or
     * JD_EINVAL. */
    int (*encode)(const jd_codec *codec, size_t length, struct frame_addition *addition);

    size_t max_frame_bytes;
    size_t object_bytes; /* size of the derived struct, for memory_release */
};

/* Sets parts (FRAME_PARTS entries) to the frame of a message; *addition contains the inserted bytes and must live as
 * long as the parts. Returns the number of parts, or a negative error as encode. */
static inline int codec_parts(const jd_codec *codec, const void *data, size_t length, struct frame_addition *addition,
                              jd_iovec *parts)
{
    uint8_t *message = (uint8_t *)(uintptr_t)data;
    int result = codec->encode(codec, length, addition), count = 0;

    if (result < 0)
        return result;
    if (addition->at > 0)
        parts[count++] = (jd_iovec){ .data = message, .length = addition->at };
    parts[count++] = (jd_iovec){ .data = addition->bytes, .length = addition->length };
    if (length > addition->at)
        parts[count++] = (jd_iovec){ .data = message + addition->at, .length = length - addition->at };
    return count;
}

#endif
