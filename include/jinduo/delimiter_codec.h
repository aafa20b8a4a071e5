/* Delimiter codec: frames that end with a delimiter, such as lines.
 *
 *   delimiter = "\r\n", keep_delimiter = false
 *   "HELLO\r\nWORLD\r\n"  ->  "HELLO", "WORLD"
 *
 *   delimiter = "\n", strip_carriage_return = true: lines of either kind
 *   "HELLO\r\nWORLD\n"    ->  "HELLO", "WORLD"
 */
#ifndef JINDUO_DELIMITER_CODEC_H
#define JINDUO_DELIMITER_CODEC_H

#include <jinduo/codec.h>

JD_BEGIN_DECLS

#define JD_DELIMITER_MAX_BYTES 16

/* All zero is the default: lines ended by "\n", without it, of at most 16 MiB. */
typedef struct jd_delimiter_codec_options {
    const void *delimiter;      /* copied; NULL: "\n" */
    size_t delimiter_bytes;     /* 1 to JD_DELIMITER_MAX_BYTES; 0: up to the zero that ends delimiter */
    bool keep_delimiter;        /* the frame the callback gets ends with it */
    bool strip_carriage_return; /* and a "\r" before the delimiter goes with it (only when it is not kept) */
    size_t max_frame_bytes;     /* the whole frame, delimiter included; 0: 16 MiB */
} jd_delimiter_codec_options;

/* Makes a codec. options (copied; NULL: all defaults). A frame fails when max_frame_bytes have arrived without a
 * delimiter. Bytes once searched are not searched again when more arrive. Sending adds the delimiter behind data; data
 * that contains it becomes several frames. Returns 0, JD_EINVAL, JD_ENOMEM. */
JD_API int jd_delimiter_codec_create(jd_codec **codec, const jd_delimiter_codec_options *options);

JD_END_DECLS
#endif
