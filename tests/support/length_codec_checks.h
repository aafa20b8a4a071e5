/* Helpers for tests of the length codec. */
#ifndef TESTS_LENGTH_CODEC_CHECKS_H
#define TESTS_LENGTH_CODEC_CHECKS_H

#include <jinduo/length_codec.h>

/* A string literal as two arguments: its bytes and their number, without the terminating zero. */
#define BYTES(literal) (literal), sizeof(literal) - 1

#define HELLO          "HELLO, WORLD"
#define TEN_BYTES      "0123456789"
#define HUNDRED_BYTES                                                                                                  \
    TEN_BYTES TEN_BYTES TEN_BYTES TEN_BYTES TEN_BYTES TEN_BYTES TEN_BYTES TEN_BYTES TEN_BYTES TEN_BYTES
#define THREE_HUNDRED HUNDRED_BYTES HUNDRED_BYTES HUNDRED_BYTES

jd_codec *length_codec_with(const jd_length_codec_options *options);

/* Fails the test unless the first frame in buffer is this one and takes frame_bytes in the buffer. Consumes it. */
void assert_frame(const jd_codec *codec, jd_buffer *buffer, const void *frame, size_t length, size_t frame_bytes);

/* The result of jd_codec_decode for these bytes. */
int decode_result(const jd_codec *codec, const void *bytes, size_t length);

#endif
