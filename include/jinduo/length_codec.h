/* Length codec: frames with a length field. Its parameters are those of Netty's LengthFieldBasedFrameDecoder, the
 * field's best known, so that any protocol with a length field can be described.
 *
 *   whole frame = length_offset + length_bytes + value of the field + length_adjustment
 *
 * Pictures: bytes as they arrive -> the frame that the callback gets. "HELLO, WORLD" is 12 (0x0c) bytes long. The
 * numbers in a picture are bytes.
 *
 * 1. All defaults, but a field of 2 bytes: the frame as it is, header included.
 *
 *      length_bytes = 2
 *      +--------+----------------+      +--------+----------------+
 *      | 0x000c | "HELLO, WORLD" |  ->  | 0x000c | "HELLO, WORLD" |
 *      +--------+----------------+      +--------+----------------+
 *
 * 2. The header stripped, as most programs want it.
 *
 *      length_bytes = 2, strip_bytes = 2 (or JD_STRIP_HEADER)
 *      +--------+----------------+      +----------------+
 *      | 0x000c | "HELLO, WORLD" |  ->  | "HELLO, WORLD" |
 *      +--------+----------------+      +----------------+
 *
 * 3. The field counts the whole message, itself included.
 *
 *      length_bytes = 2, length_adjustment = -2
 *      +--------+----------------+      +--------+----------------+
 *      | 0x000e | "HELLO, WORLD" |  ->  | 0x000e | "HELLO, WORLD" |
 *      +--------+----------------+      +--------+----------------+
 *
 * 4. Something in front of the field.
 *
 *      length_offset = 2, length_bytes = 3
 *      +--------+----------+----------------+      +--------+----------+----------------+
 *      | 0xcafe | 0x00000c | "HELLO, WORLD" |  ->  | 0xcafe | 0x00000c | "HELLO, WORLD" |
 *      +--------+----------+----------------+      +--------+----------+----------------+
 *
 * 5. Something between the field and the body, which the field does not count.
 *
 *      length_bytes = 3, length_adjustment = 2
 *      +----------+--------+----------------+      +----------+--------+----------------+
 *      | 0x00000c | 0xcafe | "HELLO, WORLD" |  ->  | 0x00000c | 0xcafe | "HELLO, WORLD" |
 *      +----------+--------+----------------+      +----------+--------+----------------+
 *
 * 6. One byte in front, one behind the field; the first byte and the field stripped.
 *
 *      length_offset = 1, length_bytes = 2, length_adjustment = 1, strip_bytes = 3
 *      +------+--------+------+----------------+      +------+----------------+
 *      | 0xca | 0x000c | 0xfe | "HELLO, WORLD" |  ->  | 0xfe | "HELLO, WORLD" |
 *      +------+--------+------+----------------+      +------+----------------+
 *
 * 7. The same, but the field counts the whole message (16 bytes).
 *
 *      length_offset = 1, length_bytes = 2, length_adjustment = -3, strip_bytes = 3
 *      +------+--------+------+----------------+      +------+----------------+
 *      | 0xca | 0x0010 | 0xfe | "HELLO, WORLD" |  ->  | 0xfe | "HELLO, WORLD" |
 *      +------+--------+------+----------------+      +------+----------------+
 *
 * 8. Little-endian, 4 bytes.
 *
 *      length_bytes = 4, byte_order = JD_LITTLE_ENDIAN, strip_bytes = JD_STRIP_HEADER
 *      +------------+----------------+      +----------------+
 *      | 0x0c000000 | "HELLO, WORLD" |  ->  | "HELLO, WORLD" |
 *      +------------+----------------+      +----------------+
 *
 * 9. A varint (Protocol Buffers, base 128, least significant group first), here for a body of 300 bytes. At most 10
 *    bytes; forms longer than need be are accepted, as that encoding's own readers do.
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

#define JD_LENGTH_VARINT 255u
#define JD_STRIP_HEADER  SIZE_MAX /* everything up to the end of the length field */

/* All zero is the default: 4 bytes, big-endian, at the beginning, counting the body, nothing stripped. */
typedef struct jd_length_codec_options {
    size_t length_offset;      /* bytes in front of the length field; at most 65 535 */
    unsigned length_bytes;     /* 1, 2, 3, 4, 8 or JD_LENGTH_VARINT; 0: 4 */
    jd_byte_order byte_order;  /* of the length field; not for varint */
    int64_t length_adjustment; /* added to the field's value to get the bytes that follow the field */
    size_t strip_bytes;        /* taken off the frame's beginning before the callback gets it */
    size_t max_frame_bytes;    /* the whole frame, header included; 0: 16 MiB */
} jd_length_codec_options;

/* Makes a codec. options (copied; NULL: all defaults). A frame whose claimed length is over the maximum fails as soon
 * as its header has arrived, before a byte of its body is stored. When sending, the first length_offset bytes of data
 * go in front of the field. Returns 0, JD_EINVAL (width or offset as above, a maximum shorter than the header or than
 * what is stripped, or over SIZE_MAX / 2), JD_ENOMEM. */
JD_API int jd_length_codec_create(jd_codec **codec, const jd_length_codec_options *options);

JD_END_DECLS
#endif
