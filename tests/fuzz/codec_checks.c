#include "tests/fuzz/codec_checks.h"

#include "net/codec/codec.h"

#include <jinduo/buffer.h>
#include <jinduo/error.h>
#include <stdlib.h>
#include <string.h>

enum { PIECES_MAX = 256, STREAM_MAX_BYTES = 8192 };

/* A stream, and what the model finds in it. */
struct stream {
    const jd_codec *codec;
    uint8_t bytes[STREAM_MAX_BYTES];
    size_t length;
    size_t pieces[PIECES_MAX]; /* their lengths */
    size_t piece_count;
    struct model_frame frames[STREAM_MAX_BYTES];
    size_t frame_count;
    int end; /* behind the last frame: 0, the stream's end or an incomplete frame; or an error */
};

/* How far a decoder has come. */
struct progress {
    const struct stream *stream;
    size_t frames, used;
    int result;
};

static void read_pieces(struct stream *stream, struct fuzz_input *input)
{
    while (input->left > 0 && stream->piece_count < PIECES_MAX) {
        size_t length = fuzz_byte(input);
        const uint8_t *bytes;

        if (length > STREAM_MAX_BYTES - stream->length)
            length = STREAM_MAX_BYTES - stream->length;
        bytes = fuzz_take(input, &length);
        if (length == 0)
            continue;
        memcpy(stream->bytes + stream->length, bytes, length);
        stream->length += length;
        stream->pieces[stream->piece_count++] = length;
    }
}

static void ask_model(struct stream *stream, model_decode decode, const void *model)
{
    size_t used = 0;

    while (used < stream->length) {
        struct model_frame *frame = &stream->frames[stream->frame_count];

        stream->end = decode(model, stream->bytes + used, stream->length - used, frame);
        if (stream->end <= 0)
            return;
        REQUIRE(frame->whole > 0 && frame->whole <= stream->length - used);
        used += frame->whole;
        stream->frame_count++;
        stream->end = 0;
    }
}

/* The decoder has found a frame. */
static void check_frame(struct progress *progress, const void *data, size_t length, size_t whole)
{
    const struct stream *stream = progress->stream;
    const struct model_frame *expected = &stream->frames[progress->frames];

    REQUIRE(progress->frames < stream->frame_count);
    REQUIRE(whole == expected->whole);
    REQUIRE(length == expected->length);
    REQUIRE(memcmp(data, stream->bytes + progress->used + expected->begin, length) == 0);
    progress->used += whole;
    progress->frames++;
}

/* All pieces have been given to the decoder, or it has failed. */
static void check_end(const struct progress *progress)
{
    REQUIRE(progress->frames == progress->stream->frame_count);
    REQUIRE(progress->result == progress->stream->end);
}

/* ---- from a buffer ---- */

static void decode_buffer(struct progress *progress, jd_buffer *buffer)
{
    const void *data;
    size_t length, whole;

    while ((progress->result = jd_codec_decode(progress->stream->codec, buffer, &data, &length, &whole)) == 1) {
        check_frame(progress, data, length, whole);
        REQUIRE(jd_buffer_consume(buffer, whole) == whole);
    }
    REQUIRE(progress->result <= 0);
}

static void check_buffer(const struct stream *stream, const size_t *pieces, size_t count)
{
    struct progress progress = { .stream = stream };
    const uint8_t *next = stream->bytes;
    jd_buffer *buffer;

    REQUIRE(jd_buffer_create(&buffer) == 0);
    for (size_t i = 0; i < count && progress.result == 0; next += pieces[i++]) {
        REQUIRE(jd_buffer_append(buffer, next, pieces[i]) == 0);
        decode_buffer(&progress, buffer);
    }
    check_end(&progress);
    jd_buffer_destroy(buffer);
}

/* ---- as a connection does (net/connection/connection_codec.c) ---- */

/* Decodes frames of bytes in memory of their own. Returns the bytes used. */
static size_t decode_bytes(struct progress *progress, const uint8_t *data, size_t length, size_t *searched)
{
    const jd_codec *codec = progress->stream->codec;
    size_t used = 0;

    progress->result = 0;
    while (used < length) {
        uint8_t *copy = fuzz_copy(data + used, length - used);
        jd_frame frame = { 0 };

        progress->result = codec->decode(codec, copy, length - used, searched, &frame);
        if (progress->result == 1)
            check_frame(progress, frame.data, frame.length, frame.frame_bytes);
        else if (progress->result == 0)
            REQUIRE(frame.needed_bytes > length - used);
        else
            REQUIRE(frame.reason != NULL);
        free(copy);
        if (progress->result != 1)
            break;
        progress->result = 0;
        *searched = 0;
        used += frame.frame_bytes;
    }
    return used;
}

/* The beginning of a frame that is not complete yet. */
struct pending {
    uint8_t bytes[STREAM_MAX_BYTES];
    size_t length, searched;
};

static void keep(struct pending *pending, const uint8_t *data, size_t length)
{
    REQUIRE(length <= STREAM_MAX_BYTES - pending->length);
    memcpy(pending->bytes + pending->length, data, length);
    pending->length += length;
}

/* Copies to the pending frame only the bytes that it lacks. Returns the bytes used. */
static size_t complete_pending(struct progress *progress, struct pending *pending, const uint8_t *data, size_t length)
{
    const jd_codec *codec = progress->stream->codec;
    size_t used = 0;

    while (used < length && pending->length > 0 && progress->result == 0) {
        uint8_t *head = fuzz_copy(pending->bytes, pending->length), *more = fuzz_copy(data + used, length - used);
        size_t missing = codec->missing(codec, head, pending->length, more, length - used), decoded;

        free(head);
        free(more);
        REQUIRE(missing > 0 && missing <= length - used);
        keep(pending, data + used, missing);
        used += missing;
        decoded = decode_bytes(progress, pending->bytes, pending->length, &pending->searched);
        /* Else bytes of the next frame would have been copied. */
        REQUIRE(decoded == 0 || decoded == pending->length);
        pending->length -= decoded;
    }
    return used;
}

static void check_connection(const struct stream *stream, const size_t *pieces, size_t count)
{
    struct progress progress = { .stream = stream };
    static struct pending pending;
    const uint8_t *next = stream->bytes;

    pending.length = pending.searched = 0;
    for (size_t i = 0; i < count && progress.result == 0; next += pieces[i++]) {
        size_t used = complete_pending(&progress, &pending, next, pieces[i]), searched = 0;

        if (progress.result < 0 || used == pieces[i])
            continue;
        used += decode_bytes(&progress, next + used, pieces[i] - used, &searched);
        keep(&pending, next + used, pieces[i] - used);
        pending.searched = searched;
    }
    check_end(&progress);
}

void check_splits(const jd_codec *codec, model_decode decode, const void *model, struct fuzz_input *input)
{
    static size_t bytewise[STREAM_MAX_BYTES];
    static struct stream stream;

    stream.codec = codec;
    stream.length = stream.piece_count = stream.frame_count = 0;
    stream.end = 0;
    read_pieces(&stream, input);
    if (stream.length == 0)
        return;
    ask_model(&stream, decode, model);
    for (size_t i = 0; i < stream.length; i++)
        bytewise[i] = 1;
    check_buffer(&stream, stream.pieces, stream.piece_count);
    check_buffer(&stream, bytewise, stream.length);
    check_buffer(&stream, &stream.length, 1);
    check_connection(&stream, stream.pieces, stream.piece_count);
    check_connection(&stream, bytewise, stream.length);
    check_connection(&stream, &stream.length, 1);
}

/* The buffer holds an encoded message. */
static void check_encoded(const jd_codec *codec, model_decode decode, const void *model, jd_buffer *buffer)
{
    size_t readable = jd_buffer_readable(buffer), length, whole;
    uint8_t *encoded = fuzz_copy(jd_buffer_peek(buffer, readable), readable);
    struct model_frame frame;
    int result = decode(model, encoded, readable, &frame);
    const void *data;

    REQUIRE(readable <= jd_codec_max_frame(codec));
    REQUIRE(result == 1 || result == JD_EPROTO); /* JD_EPROTO: shorter than the bytes that the codec strips */
    REQUIRE(jd_codec_decode(codec, buffer, &data, &length, &whole) == result);
    if (result == 1) {
        REQUIRE(whole == frame.whole && length == frame.length);
        REQUIRE(memcmp(data, encoded + frame.begin, length) == 0);
    }
    free(encoded);
}

void check_encoding(const jd_codec *codec, model_decode decode, const void *model, const uint8_t *message,
                    size_t length, int expected)
{
    uint8_t *copy = fuzz_copy(message, length);
    jd_buffer *buffer;

    REQUIRE(jd_buffer_create(&buffer) == 0);
    REQUIRE(jd_codec_encode(codec, buffer, copy, length) == expected);
    if (expected == 0)
        check_encoded(codec, decode, model, buffer);
    else
        REQUIRE(jd_buffer_readable(buffer) == 0);
    jd_buffer_destroy(buffer);
    free(copy);
}
