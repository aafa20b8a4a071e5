/* Compares a codec with a model of it: however a stream is split, the codec finds the frames, and the error, that the model
 * finds in the whole stream. */
#ifndef TESTS_FUZZ_CODEC_CHECKS_H
#define TESTS_FUZZ_CODEC_CHECKS_H

#include "tests/fuzz/fuzz.h"

#include <jinduo/codec.h>

/* A frame as the model sees it. */
struct model_frame {
    size_t begin;  /* of the data that the callback gets, from the frame's first byte on */
    size_t length; /* of that data */
    size_t whole;  /* the whole frame */
};

/* Finds the first frame of length (> 0) bytes. Returns 1 and sets *frame; 0: the frame is incomplete; or the codec's
 * error. */
typedef int (*model_decode)(const void *model, const uint8_t *data, size_t length, struct model_frame *frame);

/* Uses up the rest of the input as a stream: pieces, each a byte with its length and its bytes. Decodes the stream in these
 * pieces, byte by byte and in one piece; from a buffer and in the way of a connection. */
void check_splits(const jd_codec *codec, model_decode decode, const void *model, struct fuzz_input *input);

/* Encodes a message of length bytes. Requires the result to be expected: 0, or an error that leaves the buffer empty. After
 * success the model and the codec must agree about the frame's bytes. */
void check_encoding(const jd_codec *codec, model_decode decode, const void *model, const uint8_t *message,
                    size_t length, int expected);

#endif
