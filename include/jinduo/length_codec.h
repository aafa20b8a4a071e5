/* Length codec: frames with a length field. Its parameters are those of Netty's LengthFieldBasedFrameDecoder; they
 * describe most protocols with a length field.
 *
 *   whole frame = length_offset + length_bytes + value of the field + length_adjustment
 *
 * Each picture shows the bytes as they arrive -> the frame that the callback gets. "HELLO, WORLD" has 12 (0x0c) bytes.
 *
 * 1. A field of 2 bytes, all else default: the callback gets the whole frame, header included.
 *
 *      length_bytes = 2
 *      +--------+----------------+      +--------+----------------+
 *      | 0x000c | "HELLO, WORLD" |  ->  | 0x000c | "HELLO, WORLD" |
 *      +--------+----------------+      +--------+----------------+
 *
 * 2. The header is stripped: what most programs need.
 *
 *      length_bytes = 2, strip_bytes = 2 (or JD_STRIP_HEADER)
 *      +--------+----------------+      +----------------+
 *      | 0x000c | "HELLO, WORLD" |  ->  | "HELLO, WORLD" |
 *      +--------+----------------+      +----------------+
 *
 * 3. The field counts the whole frame, itself included.
 *
 *      length_bytes = 2, length_adjustment = -2
 *      +--------+----------------+      +--------+----------------+
 *      | 0x000e | "HELLO, WORLD" |  ->  | 0x000e | "HELLO, WORLD" |
 *      +--------+----------------+      +--------+----------------+
 *
 * 4. Other bytes in front of the field.
 *
 *      length_offset = 2, length_bytes = 3
 *      +--------+----------+----------------+      +--------+----------+----------------+
 *      | 0xcafe | 0x00000c | "HELLO, WORLD" |  ->  | 0xcafe | 0x00000c | "HELLO, WORLD" |
 *      +--------+----------+----------------+      +--------+----------+----------------+
 *
 * 5. Bytes between the field and the body, which the field does not count.
 *
 *      length_bytes = 3, length_adjustment = 2
 *      +----------+--------+----------------+      +----------+--------+----------------+
 *      | 0x00000c | 0xcafe | "HELLO, WORLD" |  ->  | 0x00000c | 0xcafe | "HELLO, WORLD" |
 *      +----------+--------+----------------+      +----------+--------+----------------+
 *
 * 6. One byte in front of the field, one behind it; the first byte and the field are stripped.
 *
 *      length_offset = 1, length_bytes = 2, length_adjustment = 1, strip_bytes = 3
 *      +------+--------+------+----------------+      +------+----------------+
 *      | 0xca | 0x000c | 0xfe | "HELLO, WORLD" |  ->  | 0xfe | "HELLO, WORLD" |
 *      +------+--------+------+----------------+      +------+----------------+
 *
 * 7. As 6, but the field counts the whole frame (16 bytes).
 *
 *      length_offset = 1, length_bytes = 2, length_adjustment = -3, strip_bytes = 3
 *      +------+--------+------+----------------+      +------+----------------+
 *      | 0xca | 0x0010 | 0xfe | "HELLO, WORLD" |  ->  | 0xfe | "HELLO, WORLD" |
 *      +------+--------+------+----------------+      +------+----------------+
 *
 * 8. A little-endian field of 4 bytes.
 *
 *      length_bytes = 4, byte_order = JD_LITTLE_ENDIAN, strip_bytes = JD_STRIP_HEADER
 *      +------------+----------------+      +----------------+
 *      | 0x0c000000 | "HELLO, WORLD" |  ->  | "HELLO, WORLD" |
 *      +------------+----------------+      +----------------+
 *
 * 9. A varint field (Protocol Buffers: base 128, least significant group first), here for a body of 300 bytes. It has at
 *    most 10 bytes. Encodings that are longer than necessary are accepted, as Protocol Buffers does.
 *
 *      length_bytes = JD_LENGTH_VARINT, strip_bytes = JD_STRIP_HEADER
 *      +--------+-------------+      +-------------+
 *      | 0xac02 | 300 bytes   |  ->  | 300 bytes   |
 *      +--------+-------------+      +-------------+
 */
#ifndef JINDUO_LENGTH_CODEC_H
#define JINDUO_LENGTH_CODEC_H

#include <jinduo/buffer.h>
#include <jinduo/codec.h>

JD_BEGIN_DECLS

#define JD_LENGTH_VARINT 255u     /* as length_bytes: a varint */
#define JD_STRIP_HEADER  SIZE_MAX /* as strip_bytes: everything up to the end of the length field */

/* All members zero: the defaults. A big-endian field of 4 bytes at the beginning, which counts the body; nothing is
 * stripped. */
typedef struct jd_length_codec_options {
    size_t length_offset;      /* bytes in front of the length field; at most 65 535 */
    unsigned length_bytes;     /* bytes of the field: 1, 2, 3, 4, 8 or JD_LENGTH_VARINT; 0: 4 */
    jd_byte_order byte_order;  /* of the field; not used for a varint */
    int64_t length_adjustment; /* field's value + this = bytes that follow the field */
    size_t strip_bytes;        /* removed from the frame's beginning; at most max_frame_bytes, or JD_STRIP_HEADER */
    size_t max_frame_bytes;    /* maximum of the whole frame, header included; 0: 16 MiB; at most SIZE_MAX / 2 */

    /* true: a connection lives on after a frame that exceeds the maximum. Its bytes are dropped as they arrive, without memory for
     * them; they count as input (idle_timeout_ms, read_timeout_ms). At its end it is reported once, by the frame-error callback.
     * Other invalid frames, and a length above SIZE_MAX, close the connection as always. Default false. */
    bool skip_too_long;
} jd_length_codec_options;

/* Creates a codec. options are copied; NULL: all defaults.
 *
 * Decoding fails as soon as the header has arrived, before any byte of the body is stored: with JD_EMSGSIZE if the
 * announced frame exceeds the maximum; with JD_EPROTO if its length is negative after the adjustment or below strip_bytes,
 * or if the varint is too long. Encoding puts the first length_offset bytes of the data in front of the field.
 *
 * Returns 0; JD_EINVAL (an option out of range, or max_frame_bytes below the header's length or strip_bytes); JD_ENOMEM.
 * The caller frees the codec with jd_codec_destroy. May be called from any thread. */
JD_API int jd_length_codec_create(jd_codec **codec, const jd_length_codec_options *options);

JD_END_DECLS
#endif
