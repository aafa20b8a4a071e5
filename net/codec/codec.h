/* What a codec is inside: cutting frames from bytes that lie in one piece, and what makes a frame of a message. */
#ifndef NET_CODEC_CODEC_H
#define NET_CODEC_CODEC_H

#include "base/platform/socket.h"

#include <jinduo/codec.h>

/* What decoding found. */
struct frame {
    const uint8_t *data; /* the frame without what is stripped */
    size_t length;
    size_t whole; /* bytes of the whole frame */

    /* when it has not all arrived */
    size_t needed; /* bytes known to be needed in all, more than there are */

    /* when it can be none */
    uint64_t claimed;
    const char *reason;
};

enum { FRAME_MAX_DEFAULT_BYTES = 16 * 1024 * 1024, FRAME_ADDED_MAX_BYTES = 16 };

/* The bytes that a codec adds to a message, all in one place. */
struct frame_addition {
    size_t at; /* behind so many bytes of the message */
    size_t length;
    uint8_t bytes[FRAME_ADDED_MAX_BYTES];
};

enum { FRAME_PARTS = 3 }; /* the message before what is added, that, the rest */

struct jd_codec {
    /* 1: a frame; 0: not all has arrived; or a negative error. *searched: how many bytes earlier calls, with fewer bytes,
     * have searched; set when 0 is returned. */
    int (*decode)(const jd_codec *codec, const uint8_t *data, size_t length, size_t *searched, struct frame *frame);

    /* How many of more's bytes belong to the frame that begins with the length bytes at data, as far as can be told. */
    size_t (*missing)(const jd_codec *codec, const uint8_t *data, size_t length, const uint8_t *more,
                      size_t more_length);

    /* What makes a frame of a message of length bytes. Returns 0, JD_EMSGSIZE or JD_EINVAL. */
    int (*encode)(const jd_codec *codec, size_t length, struct frame_addition *addition);

    size_t max_frame_bytes;
    size_t object_bytes; /* of the whole object, to free it */
};

/* Fills parts (FRAME_PARTS) with the frame of a message; addition holds the bytes that the codec adds. Returns the number of
 * parts, or a negative error. */
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
