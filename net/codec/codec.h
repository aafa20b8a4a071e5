/* The members of a codec: functions that cut frames from contiguous bytes, and that make a frame of a message. A codec
 * does not change after its creation: all functions may be called from any thread. */
#ifndef NET_CODEC_CODEC_H
#define NET_CODEC_CODEC_H

#include "base/platform/socket.h"

#include <jinduo/codec.h>

enum { FRAME_MAX_DEFAULT_BYTES = 16 * 1024 * 1024, FRAME_ADDED_MAX_BYTES = 16 };

/* The result of encode of a codec of the program's own: its frames are made by frame_parts_make, because its encode function needs
 * the message. Below every error (errno(3)). */
enum { FRAME_BY_PROGRAM = -0x10000 };

/* The result of decode while a connection skips a frame: frame_bytes of it are dropped (connection_skip.c). */
enum { FRAME_SKIPPED = -0x10001 };

/* The bytes that a codec inserts into a message: a length field or a delimiter; of a codec of the program's own, itself: so
 * that a caller need not remember it for this case alone. */
struct frame_addition {
    size_t at; /* offset in the message */
    size_t length;
    union {
        uint8_t bytes[FRAME_ADDED_MAX_BYTES];
        const jd_codec *codec; /* FRAME_BY_PROGRAM: the codec */
    };
};

enum { FRAME_PARTS = 3 }; /* the message before the addition, the addition, the rest of the message */

struct jd_codec {
    /* Decodes the first frame of the length bytes at data. Returns 1: a complete frame; 0: more bytes are needed; or a
     * negative error: an invalid frame (jd_frame). *searched: the bytes that earlier calls with fewer bytes have searched; set
     * if 0 is returned. Of frame only connection is set before. */
    int (*decode)(const jd_codec *codec, const uint8_t *data, size_t length, size_t *searched, jd_frame *frame);

    /* Given the length bytes at data, the beginning of a frame: returns how many of the bytes at more are known to
     * belong to it. NULL: needed_bytes of the last decode says it. */
    size_t (*missing)(const jd_codec *codec, const uint8_t *data, size_t length, const uint8_t *more,
                      size_t more_length);

    /* Sets *addition to the bytes that make a frame of a message of length bytes. data is not used: the arguments are
     * those of jd_codec_send, in its order, so that they need not be moved for each frame. Returns 0, JD_EMSGSIZE, JD_EINVAL or
     * FRAME_BY_PROGRAM. */
    int (*encode)(const jd_codec *codec, struct frame_addition *addition, const void *data, size_t length);

    /* The length bytes at data continue a frame that is skipped: returns how many of them can be dropped, and sets *found if the
     * frame ends with them. Bytes with which its end may begin must stay. NULL: the length of a frame is known at its beginning,
     * and needed_bytes is that length, or 0, if decode returns JD_EMSGSIZE. */
    size_t (*find_end)(const jd_codec *codec, const uint8_t *data, size_t length, bool *found);

    bool skips; /* skip_too_long */
    size_t max_frame_bytes;
    size_t object_bytes; /* size of the derived struct, for memory_release */
};

/* Stands for no codec where a decode function must exist: no frame is ever complete. */
extern const jd_codec no_codec;

/* Sets parts (FRAME_PARTS entries) to the frame of a message; *addition contains the inserted bytes and must live as
 * long as the parts. Returns the number of parts, or a negative error as encode. */
static inline int codec_parts(const jd_codec *codec, const void *data, size_t length, struct frame_addition *addition,
                              jd_iovec *parts)
{
    uint8_t *message = (uint8_t *)(uintptr_t)data;
    int result = codec->encode(codec, addition, data, length), count = 0;

    if (result < 0)
        return result;
    if (addition->at > 0)
        parts[count++] = (jd_iovec){ .data = message, .length = addition->at };
    parts[count++] = (jd_iovec){ .data = addition->bytes, .length = addition->length };
    if (length > addition->at)
        parts[count++] = (jd_iovec){ .data = message + addition->at, .length = length - addition->at };
    return count;
}

/* A frame made of the parts of a message. Small: in the caller's memory. */
struct frame_parts {
    union {
        struct frame_addition inserted;
        jd_frame_addition added;
    };
    jd_iovec few[16];
    jd_iovec *parts;
    int count;
    int room;      /* of parts */
    size_t length; /* bytes of all parts */
};

/* Makes a frame of the message in count parts; without a codec (NULL) of the message alone. Parts of no bytes are left out.
 * Returns 0: frame_parts_release must follow; or a negative error. Any codec. */
int frame_parts_make(struct frame_parts *frame, const jd_codec *codec, const jd_iovec *parts, int count);
void frame_parts_release(struct frame_parts *frame);

/* Calls the encode function of a codec of the program's own. Returns 0, JD_ENOTSUP, JD_EMSGSIZE, JD_EINVAL or the function's
 * error. */
int program_codec_encode(const jd_codec *codec, const jd_iovec *parts, int count, size_t length,
                         jd_frame_addition *addition);

/* The bytes of count parts together. Returns 0; JD_EINVAL if count is negative; JD_EMSGSIZE if they are more than SIZE_MAX. */
int parts_length(const jd_iovec *parts, int count, size_t *length);

#endif
