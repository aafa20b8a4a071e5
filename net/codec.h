/* What a codec is inside: cutting frames from bytes that lie in one piece, and the pieces a frame is made of. */
#ifndef NET_CODEC_H
#define NET_CODEC_H

#include <jinduo/codec.h>
#include <sys/uio.h>

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

enum {
    FRAME_PARTS = 3,        /* a frame is sent as at most so many pieces */
    FRAME_FIELD_BYTES = 16, /* room for what the codec adds */
    FRAME_MAX_DEFAULT_BYTES = 16 * 1024 * 1024,
};

struct jd_codec {
    /* 1: a frame; 0: not all has arrived; or a negative error. *searched: how many bytes earlier calls, with fewer bytes,
     * have searched; set when 0 is returned. */
    int (*decode)(const jd_codec *codec, const uint8_t *data, size_t length, size_t *searched, struct frame *frame);

    /* How many of more's bytes belong to the frame that begins with the length bytes at data, as far as can be told. */
    size_t (*missing)(const jd_codec *codec, const uint8_t *data, size_t length, const uint8_t *more,
                      size_t more_length);

    /* Fills parts (FRAME_PARTS) with a frame of data, what the codec adds being in field (FRAME_FIELD_BYTES). Returns
     * their number or JD_EMSGSIZE. */
    int (*encode)(const jd_codec *codec, const void *data, size_t length, struct iovec *parts, uint8_t *field);

    size_t max_frame_bytes;
    size_t object_bytes; /* of the whole object, to free it */
};

#endif
