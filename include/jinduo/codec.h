/* Codec: cuts a stream of bytes into frames, and encodes messages as frames. jd_length_codec_create and
 * jd_delimiter_codec_create make codecs. A server or a client uses one (jd_tcp_server_set_codec,
 * jd_tcp_client_set_codec), or the program decodes a buffer itself. A codec is immutable: any number of threads may use it
 * at once. */
#ifndef JINDUO_CODEC_H
#define JINDUO_CODEC_H

#include <jinduo/types.h>

JD_BEGIN_DECLS

/* Describes an invalid frame. */
typedef struct jd_frame_error {
    int error; /* JD_EMSGSIZE: longer than the maximum; JD_EPROTO: an impossible length */

    /* The whole frame's announced length, at most 2^64 - 1. With JD_EPROTO: the length field's value. With a delimiter
     * codec: the bytes received without a delimiter. */
    uint64_t claimed_bytes;

    size_t limit_bytes; /* the codec's maximum frame */
    const char *reason; /* a static string */
} jd_frame_error;

/* Delivers one complete frame, without the bytes that the codec strips. data is valid during the call. received:
 * the time of the turn (jd_event_loop_now). Invoked in the thread of the connection's loop. */
typedef void (*jd_frame_callback)(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received,
                                  void *arg);

/* Reports that the peer sent an invalid frame. The connection is already closing: a send returns JD_ENOTCONN. error is
 * valid during the call. */
typedef void (*jd_frame_error_callback)(jd_tcp_connection *connection, const jd_frame_error *error, void *arg);

/* Frees the codec; NULL is allowed. No server, client, connection or thread may still use it. */
JD_API void jd_codec_destroy(jd_codec *codec);

/* Returns the maximum length of a whole frame in bytes. May be called from any thread. */
JD_API size_t jd_codec_max_frame(const jd_codec *codec);

/* Decodes the first frame in buffer, without consuming it. Returns
 * - 1: *data and *length are the frame without the stripped bytes, *frame_bytes the whole frame's length: consume that
 *   many bytes next. *data is valid until the buffer is changed;
 * - 0: the frame is not complete yet;
 * - JD_EMSGSIZE or JD_EPROTO: the bytes cannot become a valid frame;
 * - JD_ENOMEM.
 *
 * May be called from any thread, by one thread at a time for each buffer. */
JD_API int jd_codec_decode(const jd_codec *codec, jd_buffer *buffer, const void **data, size_t *length,
                           size_t *frame_bytes);

/* Encodes length bytes of data as one frame and queues it for sending, with the errors and the thread rule of
 * jd_tcp_connection_send. Also returns JD_EMSGSIZE if the frame would exceed the maximum or its length does not fit the
 * length field; JD_EINVAL if data is shorter than the bytes in front of the length field. */
JD_API int jd_codec_send(const jd_codec *codec, jd_tcp_connection *connection, const void *data, size_t length);

/* Encodes length bytes of data as one frame at the end of buffer. Returns 0; or JD_EMSGSIZE, JD_EINVAL (as
 * jd_codec_send), JD_ENOMEM, and then buffer is unchanged. May be called from any thread, by one thread at a time for
 * each buffer. */
JD_API int jd_codec_encode(const jd_codec *codec, jd_buffer *buffer, const void *data, size_t length);

JD_END_DECLS
#endif
