/* What the tests of the length codec share. */
#ifndef TESTS_LENGTH_CODEC_CHECKS_H
#define TESTS_LENGTH_CODEC_CHECKS_H

#include <jinduo/length_codec.h>

/* A string literal's bytes and their number, as two arguments. */
#define BYTES(literal) (literal), sizeof(literal) - 1

#define HELLO          "HELLO, WORLD"
#define TEN_BYTES      "0123456789"
#define HUNDRED_BYTES                                                                                                  \
    TEN_BYTES TEN_BYTES TEN_BYTES TEN_BYTES TEN_BYTES TEN_BYTES TEN_BYTES TEN_BYTES TEN_BYTES TEN_BYTES
#define THREE_HUNDRED HUNDRED_BYTES HUNDRED_BYTES HUNDRED_BYTES

jd_codec *length_codec_with(const jd_length_codec_options *options);

/* The first frame in buffer must be this one. Consumes it. */
void assert_frame(const jd_codec *codec, jd_buffer *buffer, const void *frame, size_t length, size_t whole);

/* What comes of decoding these bytes. */
int decode_result(const jd_codec *codec, const void *bytes, size_t length);

#endif
