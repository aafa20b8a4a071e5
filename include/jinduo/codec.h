/* Codec: cuts a stream of bytes into frames, and encodes messages as frames. jd_length_codec_create and
 * jd_delimiter_codec_create make codecs; jd_codec_create makes one of the program's own functions. A server, a client or a
 * connection uses one (jd_tcp_server_set_codec, jd_tcp_client_set_codec, jd_tcp_connection_set_codec), or the program
 * decodes a buffer itself. A codec is immutable: any number of threads may use it at once. */
#ifndef JINDUO_CODEC_H
#define JINDUO_CODEC_H

#include <jinduo/types.h>

JD_BEGIN_DECLS

/* Describes an invalid frame. */
typedef struct jd_frame_error {
    /* JD_EMSGSIZE: longer than the maximum; JD_EPROTO: an impossible length. With jd_codec_create also any error of the
     * decode function, and JD_EINVAL: the function has broken its rules. */
    int error;

    /* The whole frame's announced length, at most 2^64 - 1. With JD_EPROTO: the length field's value. With a delimiter
     * codec: the bytes received without a delimiter. With jd_codec_create: what its decode function says; with JD_EINVAL
     * the number that breaks the rules. */
    uint64_t claimed_bytes;

    size_t limit_bytes; /* the codec's maximum frame */
    const char *reason; /* a static string */
    bool skipped;       /* true: only this frame is dropped (skip_too_long); false: the connection closes */
} jd_frame_error;

/* Delivers one complete frame, without the bytes that the codec strips. data is valid during the call. received:
 * the time of the turn (jd_event_loop_now). Invoked in the thread of the connection's loop. */
typedef void (*jd_frame_callback)(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received,
                                  void *arg);

/* Reports that the peer sent an invalid frame, behind the frames before it. The connection closes when the callback returns.
 * For a protocol that answers such a frame: send the answer and call jd_tcp_connection_close_after_output in the callback; the
 * connection then closes behind the answer, with JD_EPROTO. Or, with skip_too_long, reports that the end of a frame that was too
 * long (JD_EMSGSIZE) has arrived and been dropped, and claimed_bytes with it: then skipped is true, and the connection lives on.
 * error is valid during the call. */
typedef void (*jd_frame_error_callback)(jd_tcp_connection *connection, const jd_frame_error *error, void *arg);

/* ---- a codec of the program's own ---- */

/* What a decode function has found. All members are zero or NULL before the call, except connection. */
typedef struct jd_frame {
    /* Set by the library: the connection whose input it is; NULL in jd_codec_decode. State that a codec keeps from one call to
     * the next belongs in its context (jd_tcp_connection_context). The function must not change the connection. */
    jd_tcp_connection *connection;

    /* With 1: a complete frame. */
    size_t frame_bytes; /* the whole frame's length, from 1 to the bytes given; they are consumed */
    const void *data;   /* what the frame callback gets, inside the frame; NULL: the whole frame */
    size_t length;      /* of data */

    /* With 0: more bytes are needed. */
    size_t needed_bytes; /* the whole bytes that the frame is known to need, more than are given; 0: not known */

    /* With an error. */
    uint64_t claimed_bytes; /* for jd_frame_error and the log */
    const char *reason;     /* a static string for jd_frame_error and the log; NULL: "invalid frame" */
} jd_frame;

/* Decodes the first frame of the length (>= 1) bytes at data, which begin a frame. Returns
 * - 1: the frame is complete: frame_bytes and, unless it is the whole frame, data and length are set. With a connection its
 *   frame callback follows at once, with the same bytes at the same address;
 * - 0: more bytes are needed. They follow the same bytes in the next call, perhaps at another address. The function may be
 *   called again with no more bytes than before. With needed_bytes the library calls again when that many bytes are there, or
 *   earlier;
 * - a negative error, such as JD_EPROTO: no frame can begin so.
 *
 * *searched: a number for the function's own use, at most length: how many of these bytes need not be searched again. 0 in the
 * first call for a frame; later what the last call for the frame has set.
 *
 * The library checks the result. JD_EMSGSIZE ends the connection if the frame, or needed_bytes, exceeds max_frame_bytes, and if
 * max_frame_bytes have arrived without a frame. JD_EINVAL does if a rule above is broken, such as a frame of 0 bytes or longer
 * than given. Invoked in any thread that uses the codec, in several at once. */
typedef int (*jd_codec_decode_function)(void *arg, const uint8_t *data, size_t length, size_t *searched,
                                        jd_frame *frame);

/* The bytes in front of a message and behind it that make it a frame. */
enum { JD_FRAME_ADDED_MAX_BYTES = 64 };

typedef struct jd_frame_addition {
    size_t header_bytes, trailer_bytes; /* 0 before the call; at most JD_FRAME_ADDED_MAX_BYTES each */
    uint8_t header[JD_FRAME_ADDED_MAX_BYTES];
    uint8_t trailer[JD_FRAME_ADDED_MAX_BYTES];
} jd_frame_addition;

/* Makes a frame of the message in count parts of together length bytes: sets what is added to it. Returns 0; or a negative
 * error, which jd_codec_send returns. Invoked in any thread that uses the codec, in several at once. */
typedef int (*jd_codec_encode_function)(void *arg, const jd_iovec *parts, int count, size_t length,
                                        jd_frame_addition *addition);

/* Given the length (>= 1) bytes at data, which continue a frame that is skipped: returns how many of them belong to it and are
 * dropped, at least 1 if the frame ends with them, and sets *found if it does. Bytes with which its end may begin are left: they
 * come again with those that follow. Invoked in any thread that uses the codec, in several at once. */
typedef size_t (*jd_codec_end_function)(void *arg, const uint8_t *data, size_t length, bool *found);

typedef struct jd_codec_options {
    jd_codec_decode_function decode; /* required */
    jd_codec_encode_function encode; /* NULL: jd_codec_send, jd_codec_sendv and jd_codec_encode return JD_ENOTSUP */
    void *arg;                       /* of the functions; must outlive the codec */
    size_t max_frame_bytes;          /* maximum of the whole frame; 0: 16 MiB; at most SIZE_MAX / 2 */

    /* true: a frame that is too long (JD_EMSGSIZE) is skipped; see jd_length_codec_options. Its length must be known (needed_bytes,
     * also with the error), or find_end must be given, which is then used for all of them; else the connection closes. */
    bool skip_too_long;
    jd_codec_end_function find_end;
} jd_codec_options;

/* Creates a codec of the program's functions. It has all that other codecs have: limits, frame errors, delivery in place and
 * up to the watermark, the first-message timeout. options are copied. Returns 0; JD_EINVAL (decode is missing, or
 * max_frame_bytes out of range); JD_ENOMEM. The caller frees the codec with jd_codec_destroy. May be called from any thread. */
JD_API int jd_codec_create(jd_codec **codec, const jd_codec_options *options);

/* ---- any codec ---- */

/* Frees the codec; NULL is allowed. No server, client, connection or thread may still use it. */
JD_API void jd_codec_destroy(jd_codec *codec);

/* Returns the maximum length of a whole frame in bytes. May be called from any thread. */
JD_API size_t jd_codec_max_frame(const jd_codec *codec);

/* Decodes the first frame in buffer, without consuming it. Returns
 * - 1: *data and *length are the frame without the stripped bytes, *frame_bytes the whole frame's length: consume that
 *   many bytes next. *data is valid until the buffer is changed;
 * - 0: the frame is not complete yet;
 * - JD_EMSGSIZE, JD_EPROTO or the error of a decode function: the bytes cannot become a valid frame;
 * - JD_ENOMEM.
 *
 * May be called from any thread, by one thread at a time for each buffer. */
JD_API int jd_codec_decode(const jd_codec *codec, jd_buffer *buffer, const void **data, size_t *length,
                           size_t *frame_bytes);

/* Encodes length bytes of data as one frame and queues it for sending, with the errors and the thread rule of
 * jd_tcp_connection_send. Also returns JD_EMSGSIZE if the frame would exceed the maximum or its length does not fit the
 * length field; JD_EINVAL if data is shorter than the bytes in front of the length field; JD_ENOTSUP or the error of the encode
 * function (jd_codec_create). */
JD_API int jd_codec_send(const jd_codec *codec, jd_tcp_connection *connection, const void *data, size_t length);

/* As jd_codec_send, for a message in count parts: all of the frame is queued, or nothing. Also returns JD_EINVAL if count is
 * negative. A part of 0 bytes is allowed. */
JD_API int jd_codec_sendv(const jd_codec *codec, jd_tcp_connection *connection, const jd_iovec *parts, int count);

/* Encodes length bytes of data as one frame at the end of buffer. Returns 0; or JD_EMSGSIZE, JD_EINVAL, JD_ENOTSUP (as
 * jd_codec_send), JD_ENOMEM, and then buffer is unchanged. May be called from any thread, by one thread at a time for
 * each buffer. */
JD_API int jd_codec_encode(const jd_codec *codec, jd_buffer *buffer, const void *data, size_t length);

JD_END_DECLS
#endif
