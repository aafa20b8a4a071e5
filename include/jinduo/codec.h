/* Codec: cuts a stream of bytes into frames, and makes frames of messages. Made by jd_length_codec_create or
 * jd_delimiter_codec_create, used by a server or a client (jd_tcp_server_set_codec, jd_tcp_client_set_codec) or by hand
 * on a buffer. A codec never changes after it is made: any number of threads may use it at once. */
#ifndef JINDUO_CODEC_H
#define JINDUO_CODEC_H

#include <jinduo/types.h>

JD_BEGIN_DECLS

/* A frame that cannot be. */
typedef struct jd_frame_error {
    int error; /* JD_EMSGSIZE: longer than the maximum; JD_EPROTO: a length that makes no sense */

    /* The whole frame as announced, at most 2^64 - 1; for JD_EPROTO the length field's value; for a delimiter what has
     * arrived without one. */
    uint64_t claimed_bytes;

    size_t limit_bytes; /* the codec's maximum frame */
    const char *reason; /* a static phrase */
} jd_frame_error;

/* One whole frame, without what the codec strips; data is valid during the call. */
typedef void (*jd_frame_callback)(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received,
                                  void *arg);

/* The peer sent what is no frame. The connection is being closed: sending is an error already. */
typedef void (*jd_frame_error_callback)(jd_tcp_connection *connection, const jd_frame_error *error, void *arg);

/* Frees the codec; NULL is allowed. Nothing may be using it any more. */
JD_API void jd_codec_destroy(jd_codec *codec);

/* The longest whole frame it lets through, in bytes. */
JD_API size_t jd_codec_max_frame(const jd_codec *codec);

/* Finds the first frame in buffer. Returns 1 and *data, *length are the frame without what is stripped, and *whole the
 * bytes to consume from buffer afterwards; 0 if a whole frame has not arrived yet; JD_EMSGSIZE or JD_EPROTO if it can
 * never be one; JD_ENOMEM. *data is valid until buffer is changed. */
JD_API int jd_codec_decode(const jd_codec *codec, jd_buffer *buffer, const void **data, size_t *length, size_t *whole);

/* Makes one frame of data and queues it, as jd_tcp_connection_send does and with its thread rule and errors; besides,
 * JD_EMSGSIZE if the frame would be longer than the maximum or its length does not fit the length field, JD_EINVAL if
 * data is shorter than what goes in front of the field. */
JD_API int jd_codec_send(const jd_codec *codec, jd_tcp_connection *connection, const void *data, size_t length);

/* The same at the end of a buffer. Returns 0, JD_EMSGSIZE, JD_EINVAL, JD_ENOMEM. */
JD_API int jd_codec_encode(const jd_codec *codec, jd_buffer *buffer, const void *data, size_t length);

JD_END_DECLS
#endif
