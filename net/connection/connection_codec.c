/* Frames of a connection: decoded from its input and delivered, and sent. A frame that is complete in the block that
 * the engine received is delivered there, without a copy. */
#include "base/log.h"
#include "net/codec/codec.h"
#include "net/connection/tcp_connection.h"

#include <inttypes.h>
#include <jinduo/error.h>

static void connection_refuse_frame(jd_tcp_connection *connection, int result, const struct frame *frame)
{
    const struct connection_profile *profile = connection->profile;
    const jd_frame_error error = {
        .error = result,
        .claimed_bytes = frame->claimed,
        .limit_bytes = profile->codec->max_frame_bytes,
        .reason = frame->reason,
    };
    char peer[JD_ENDPOINT_TEXT_BYTES];

    if (loop_may_log(connection_loop(connection))) {
        connection_peer_text(connection, peer);
        log_message(JD_LOG_WARNING, "%s: %s: %s: %" PRIu64 " bytes, the limit is %zu; connection closed", profile->name,
                    peer, error.reason, error.claimed_bytes, error.limit_bytes);
    }
    connection_begin_close_for(connection, result, CLOSED_FRAME);
    if (profile->on_frame_error != NULL)
        profile->on_frame_error(connection, &error, profile->on_frame_error_arg);
}

/* Decodes and delivers frames until one is incomplete or input may no longer be delivered. Returns the bytes
 * consumed. */
static size_t connection_decode_frames(jd_tcp_connection *connection, const uint8_t *data, size_t length,
                                       size_t *searched)
{
    jd_event_loop *loop = connection_loop(connection);
    size_t used = 0;

    while (used < length && connection_may_deliver(connection)) {
        const struct connection_profile *profile = connection->profile;
        const jd_codec *codec = profile->codec;
        struct frame frame;
        int result = codec->decode(codec, data + used, length - used, searched, &frame);
        if (result == 0)
            break;
        if (result < 0) {
            connection_refuse_frame(connection, result, &frame);
            break;
        }
        *searched = 0;
        used += frame.whole;
        flush_before_callback(loop);
        if (profile->on_frame != NULL)
            profile->on_frame(connection, frame.data, frame.length, loop->now, profile->on_frame_arg);
    }
    if (used > 0)
        connection->flags &= (uint16_t)~CONNECTION_AWAITS_FIRST_MESSAGE;
    return used;
}

void connection_decode_input(jd_tcp_connection *connection)
{
    jd_buffer *input = connection->input;
    size_t length = jd_buffer_readable(input);
    const uint8_t *data = jd_buffer_peek(input, length);
    size_t searched = input->searched;
    size_t used;

    if (data == NULL) {
        connection_begin_close(connection, JD_ENOMEM);
        return;
    }
    used = connection_decode_frames(connection, data, length, &searched);
    jd_buffer_consume(input, used);
    input->searched = searched;
    connection_drop_empty_input(connection);
}

/* The input holds the beginning of a frame: only the bytes that it lacks are copied to it. Returns the bytes
 * consumed. */
static size_t connection_complete_pending_frame(jd_tcp_connection *connection, const uint8_t *data, size_t length)
{
    size_t used = 0;

    while (used < length && connection->input != NULL && connection_may_deliver(connection)) {
        const jd_codec *codec = connection->profile->codec;
        size_t pending = jd_buffer_readable(connection->input);
        const uint8_t *head = jd_buffer_peek(connection->input, pending);
        size_t missing = head != NULL ? codec->missing(codec, head, pending, data + used, length - used) : 0;
        if (head == NULL) {
            connection_begin_close(connection, JD_ENOMEM);
            break;
        }
        if (!connection_append_input(connection, data + used, missing))
            break;
        used += missing;
        connection_decode_input(connection);
    }
    return used;
}

void connection_deliver_frames(jd_tcp_connection *connection, const struct block *block)
{
    const uint8_t *data = block->data + block->begin;
    size_t length = block_length(block);
    size_t used = connection->input != NULL ? connection_complete_pending_frame(connection, data, length) : 0;
    size_t searched = 0;

    if (used < length && connection_may_deliver(connection))
        used += connection_decode_frames(connection, data + used, length - used, &searched);
    if (used == length || connection_state(connection) >= CONNECTION_CLOSING)
        return;
    if (!connection_may_deliver(connection))
        connection_defer_input(connection, data + used, length - used);
    else if (connection_append_input(connection, data + used, length - used))
        connection->input->searched = searched;
}

/* ---- sending ---- */

int jd_codec_send(const jd_codec *codec, jd_tcp_connection *connection, const void *data, size_t length)
{
    struct frame_addition addition;
    jd_iovec parts[FRAME_PARTS];
    int count = codec_parts(codec, data, length, &addition, parts);

    return count < 0 ? count : connection_send_parts(connection, parts, count, length + addition.length);
}
