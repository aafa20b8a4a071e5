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

/* All members zero: the defaults. Lines that end with "\n", which is stripped, of at most 16 MiB. */
typedef struct jd_delimiter_codec_options {
    const void *delimiter;      /* copied; NULL: "\n" */
    size_t delimiter_bytes;     /* 1 to JD_DELIMITER_MAX_BYTES; 0: delimiter is a string that ends with a zero */
    bool keep_delimiter;        /* true: the callback gets the delimiter too; false: it is stripped */
    bool strip_carriage_return; /* true: a "\r" in front of a stripped delimiter is stripped too; default false */
    size_t max_frame_bytes;     /* maximum of the whole frame, with delimiter; 0: 16 MiB; at most SIZE_MAX / 2 */
    bool skip_too_long;         /* true: a frame that exceeds the maximum is skipped (jd_length_codec_options) */
} jd_delimiter_codec_options;

/* Creates a codec. options are copied; NULL: all defaults.
 *
 * Decoding fails with JD_EMSGSIZE when max_frame_bytes have arrived without a delimiter. Bytes that were searched are not
 * searched again when more arrive. Encoding adds the delimiter behind the data; data that contains the delimiter becomes
 * several frames.
 *
 * Returns 0; JD_EINVAL (delimiter_bytes or max_frame_bytes out of range, or max_frame_bytes below the delimiter's
 * length); JD_ENOMEM. The caller frees the codec with jd_codec_destroy. May be called from any thread. */
JD_API int jd_delimiter_codec_create(jd_codec **codec, const jd_delimiter_codec_options *options);

JD_END_DECLS
#endif
