/* Frames of a connection: decoded from its input and delivered, and sent. A frame that is complete in the block that
 * the engine received is delivered there, without a copy. */
#include "base/log.h"
#include "net/codec/codec.h"
#include "net/connection/tcp_connection.h"

#include <inttypes.h>
#include <jinduo/error.h>

/* What became of the bytes at which decoding has stopped. */
struct decoding {
    size_t searched;
    size_t needed;  /* of an incomplete frame; 0: not known */
    size_t skipped; /* bytes of a frame that is skipped */
    bool goes_on;   /* decoding goes on behind these */
};

static void connection_log_frame(jd_tcp_connection *connection, const jd_frame_error *error, const char *result)
{
    const char *name = connection->profile->name;
    char peer[JD_ENDPOINT_TEXT_BYTES];

    if (!loop_may_log(connection_loop(connection)))
        return;
    connection_peer_text(connection, peer);
    if (error->error == JD_EMSGSIZE)
        log_message(JD_LOG_WARNING, "%s: %s: %s: %" PRIu64 " bytes, the limit is %zu; %s", name, peer, error->reason,
                    error->claimed_bytes, error->limit_bytes, result);
    else
        log_message(JD_LOG_WARNING, "%s: %s: %s (%" PRIu64 "); %s", name, peer, error->reason, error->claimed_bytes,
                    result);
}

static void connection_report_frame(jd_tcp_connection *connection, const jd_frame_error *error)
{
    const struct connection_profile *profile = connection->profile;

    if (profile->on_frame_error != NULL)
        profile->on_frame_error(connection, error, profile->on_frame_error_arg);
}

/* Bytes of a frame that is skipped are there. */
static void connection_skip(jd_tcp_connection *connection, const jd_frame *frame)
{
    const jd_frame_error error = {
        .error = JD_EMSGSIZE,
        .claimed_bytes = connection->profile->skipped_bytes,
        .limit_bytes = connection->profile->codec->max_frame_bytes,
        .reason = "frame too long",
        .skipped = true,
    };

    if (frame->needed_bytes == 0)
        return;
    connection_end_skip(connection);
    connection_log_frame(connection, &error, "frame skipped");
    flush_before_callback(connection_loop(connection));
    connection_report_frame(connection, &error);
}

static void connection_refuse_frame(jd_tcp_connection *connection, int result, const jd_frame *frame)
{
    const jd_frame_error error = {
        .error = result,
        .claimed_bytes = frame->claimed_bytes,
        .limit_bytes = connection->profile->codec->max_frame_bytes,
        .reason = frame->reason,
    };

    connection_log_frame(connection, &error, "connection closed");
    connection_report_frame(connection, &error);
    if (connection_state(connection) == CONNECTION_DISCONNECTING && connection->flags & CONNECTION_DISCARDS_INPUT)
        connection->stream.flags |= CONNECTION_ANSWERED_BAD_FRAME;
    else
        connection_begin_close_for(connection, result, CLOSED_FRAME);
}

/* What begins the input is no complete frame. result: of decode. Not inlined, as most input is. */
__attribute__((noinline)) static void connection_take_no_frame(jd_tcp_connection *connection, int result,
                                                               const jd_frame *frame, struct decoding *decoding)
{
    decoding->goes_on = result == FRAME_SKIPPED || (result < 0 && connection_begin_skip(connection, result, frame));
    decoding->skipped = result == FRAME_SKIPPED ? frame->frame_bytes : 0;
    if (result == 0) {
        decoding->needed = frame->needed_bytes;
        return;
    }
    decoding->searched = 0;
    if (result == FRAME_SKIPPED)
        connection_skip(connection, frame);
    else if (!decoding->goes_on)
        connection_refuse_frame(connection, result, frame);
}

/* Decodes and delivers frames until one is incomplete or input may no longer be delivered. Returns the bytes
 * consumed. */
static size_t connection_decode_frames(jd_tcp_connection *connection, const uint8_t *data, size_t length,
                                       struct decoding *decoding)
{
    jd_event_loop *loop = connection_loop(connection);
    size_t used = 0;
    jd_frame frame;

    frame.connection = connection;
    while (used < length && connection_may_deliver(connection)) {
        const struct connection_profile *profile;
        const jd_codec *codec = connection->profile->decoder;
        int result = codec->decode(codec, data + used, length - used, &decoding->searched, &frame);
        if (result != 1) {
            connection_take_no_frame(connection, result, &frame, decoding);
            break;
        }
        profile = connection->profile;
        decoding->searched = 0;
        used += frame.frame_bytes;
        flush_before_callback(loop);
        if (profile->on_frame != NULL)
            profile->on_frame(connection, frame.data, frame.length, loop->now, profile->on_frame_arg);
    }
    if (used > 0)
        connection->flags &= (uint16_t)~CONNECTION_AWAITS_FIRST_MESSAGE;
    return used;
}

/* Decodes on behind used bytes, as long as frames are skipped. Returns the bytes consumed, the first ones included. */
__attribute__((noinline)) static size_t connection_decode_behind_skipped(jd_tcp_connection *connection,
                                                                         const uint8_t *data, size_t length,
                                                                         size_t used, struct decoding *decoding)
{
    while (decoding->goes_on) {
        used += decoding->skipped;
        decoding->goes_on = false;
        if (used < length && connection_may_deliver(connection))
            used += connection_decode_frames(connection, data + used, length - used, decoding);
    }
    return used;
}

static void connection_note_decoding(jd_tcp_connection *connection, const struct decoding *decoding)
{
    connection->input->searched = decoding->searched;
    connection->input->needed = decoding->needed;
}

void connection_decode_input(jd_tcp_connection *connection)
{
    jd_buffer *input = connection->input;
    size_t length = jd_buffer_readable(input);
    const uint8_t *data = jd_buffer_peek(input, length);
    struct decoding decoding = { .searched = input->searched };
    size_t used;

    if (data == NULL) {
        connection_begin_close(connection, JD_ENOMEM);
        return;
    }
    used = connection_decode_frames(connection, data, length, &decoding);
    if (used < length)
        used = connection_decode_behind_skipped(connection, data, length, used, &decoding);
    jd_buffer_consume(input, used);
    connection_note_decoding(connection, &decoding);
    connection_drop_empty_input(connection);
}

/* How many of the bytes at more belong to the frame of which the input holds the beginning, head; as far as that is known. */
static size_t connection_missing(const jd_tcp_connection *connection, const uint8_t *head, const uint8_t *more,
                                 size_t more_length)
{
    const jd_codec *codec = connection->profile->codec;
    size_t pending = jd_buffer_readable(connection->input);
    size_t needed = connection->input->needed;

    if (codec->missing != NULL)
        return codec->missing(codec, head, pending, more, more_length);
    if (needed == 0)
        return more_length;
    if (needed <= pending) /* the input was deferred: it is decoded first */
        return 0;
    return needed - pending < more_length ? needed - pending : more_length;
}

/* The input holds the beginning of a frame: only the bytes that it lacks are copied to it. Returns the bytes
 * consumed. */
static size_t connection_complete_pending_frame(jd_tcp_connection *connection, const uint8_t *data, size_t length)
{
    size_t used = 0;

    while (used < length && connection->input != NULL && connection->profile->codec != NULL &&
           connection_may_deliver(connection)) {
        const uint8_t *head = jd_buffer_peek(connection->input, jd_buffer_readable(connection->input));
        size_t missing = head != NULL ? connection_missing(connection, head, data + used, length - used) : 0;
        if (head == NULL) {
            connection_begin_close(connection, JD_ENOMEM);
            break;
        }
        if (!connection_append_input(connection, data + used, missing))
            break;
        used += missing;
        connection_decode_input(connection);
    }
    /* A callback has ended the framing: what is left goes to the message callback. */
    if (connection->input != NULL && connection->profile->codec == NULL && connection_may_deliver(connection)) {
        connection_append_input(connection, data + used, length - used);
        connection_touch(connection, TODO_INPUT);
        used = length;
    }
    connection_count_input(connection);
    return used;
}

void connection_deliver_frames(jd_tcp_connection *connection, struct block *block)
{
    const uint8_t *data = block->data + block->begin;
    size_t length = block_length(block);
    size_t used = connection->input != NULL ? connection_complete_pending_frame(connection, data, length) : 0;
    struct decoding decoding = { 0 };

    if (used < length && connection_may_deliver(connection))
        used += connection_decode_frames(connection, data + used, length - used, &decoding);
    if (used < length)
        used = connection_decode_behind_skipped(connection, data, length, used, &decoding);
    if (used < length && connection_state(connection) < CONNECTION_CLOSING) {
        if (!connection_may_deliver(connection)) {
            connection_defer_input(connection, data + used, length - used);
        } else if (connection->profile->codec == NULL) {
            block->begin += (uint32_t)used;
            connection_deliver_rest(connection, block);
        } else if (connection_append_input(connection, data + used, length - used)) {
            connection_note_decoding(connection, &decoding);
        }
        connection_count_input(connection);
    }
}

/* ---- sending ---- */

int jd_codec_sendv(const jd_codec *codec, jd_tcp_connection *connection, const jd_iovec *parts, int count)
{
    struct frame_parts frame;
    int result = frame_parts_make(&frame, codec, parts, count);

    if (result < 0)
        return result;
    result = connection_send_parts(connection, frame.parts, frame.count, frame.length);
    frame_parts_release(&frame);
    return result;
}

/* Not inlined: most frames are of other codecs. */
__attribute__((noinline)) static int codec_send_by_program(const jd_codec *codec, jd_tcp_connection *connection,
                                                           const void *data, size_t length)
{
    const jd_iovec message = { .data = (void *)(uintptr_t)data, .length = length };
    jd_frame_addition addition;
    jd_iovec parts[FRAME_PARTS];
    int result = program_codec_encode(codec, &message, 1, length, &addition), count = 0;

    if (result < 0)
        return result;
    parts[count++] = (jd_iovec){ .data = addition.header, .length = addition.header_bytes };
    parts[count++] = message;
    if (addition.trailer_bytes > 0)
        parts[count++] = (jd_iovec){ .data = addition.trailer, .length = addition.trailer_bytes };
    return connection_send_parts(connection, parts, count, addition.header_bytes + length + addition.trailer_bytes);
}

int jd_codec_send(const jd_codec *codec, jd_tcp_connection *connection, const void *data, size_t length)
{
    struct frame_addition addition;
    jd_iovec parts[FRAME_PARTS];
    int count = codec_parts(codec, data, length, &addition, parts);

    if (count >= 0)
        return connection_send_parts(connection, parts, count, length + addition.length);
    return count != FRAME_BY_PROGRAM ? count : codec_send_by_program(addition.codec, connection, data, length);
}
