/* Output of a connection: appended to the output queue here, handed to the engine by flush.c. */
#include "net/codec/codec.h"
#include "net/connection/tcp_connection.h"

#include <jinduo/error.h>

static size_t connection_queued_bytes(const jd_tcp_connection *connection)
{
    return output_queue_bytes(&connection->stream.output) +
           connection_reserved_bytes(atomic_load_explicit(&connection->reserved, memory_order_relaxed));
}

size_t jd_tcp_connection_queued_bytes(const jd_tcp_connection *connection)
{
    return connection_queued_bytes(connection);
}

bool jd_tcp_connection_is_above_watermark(const jd_tcp_connection *connection)
{
    return (connection->flags & CONNECTION_ABOVE_WATERMARK) != 0;
}

static inline int connection_check_limit(const jd_tcp_connection *connection, size_t queued, size_t length)
{
    size_t limit = connection->profile->output_limit;

    queued += connection_reserved_bytes(atomic_load_explicit(&connection->reserved, memory_order_relaxed));
    return queued <= limit && length <= limit - queued ? 0 : JD_ENOBUFS;
}

/* The bytes that are within all limits for sure; perhaps more are. Nearly always no file is queued, and reserved is a number
 * of bytes. queued: the output queue's bytes, which the caller has read. */
static inline size_t connection_sure_room(const jd_tcp_connection *connection, size_t queued)
{
    size_t limit = connection->profile->unchecked_output;
    size_t at_most = queued + (size_t)atomic_load_explicit(&connection->reserved, memory_order_relaxed);

    return at_most <= limit ? limit - at_most : 0;
}

/* The same as a comparison, which takes fewer instructions where a length of 0 is allowed. */
static inline bool connection_has_room(const jd_tcp_connection *connection, size_t queued, size_t length)
{
    size_t limit = connection->profile->unchecked_output;
    size_t at_most = queued + (size_t)atomic_load_explicit(&connection->reserved, memory_order_relaxed);

    return at_most <= limit && length <= limit - at_most;
}

static inline int connection_check_send(const jd_tcp_connection *connection, size_t queued, size_t length)
{
    int result;

    if (connection_state(connection) != CONNECTION_CONNECTED)
        return JD_ENOTCONN;
    if (connection_has_room(connection, queued, length))
        return 0;
    result = connection_check_limit(connection, queued, length);
    if (result == 0 && connection->profile->totals != NULL && !connection_totals_have_room(connection, length))
        result = JD_ENOBUFS;
    return result;
}

__attribute__((noinline)) static int connection_refuse_send(const jd_tcp_connection *connection, size_t length)
{
    return connection_check_send(connection, output_queue_bytes(&connection->stream.output), length);
}

int connection_may_send(const jd_tcp_connection *connection, size_t length)
{
    if (connection_state(connection) == CONNECTION_CONNECTED &&
        connection_has_room(connection, output_queue_bytes(&connection->stream.output), length))
        return 0;
    return connection_refuse_send(connection, length);
}

static void connection_pause_by_output(jd_tcp_connection *connection)
{
    if (connection->profile->reads_above_watermark || connection->flags & CONNECTION_DISCARDS_INPUT)
        return;
    connection->flags |= CONNECTION_PAUSED_BY_OUTPUT;
    connection_loop(connection)->ops->stream->pause(&connection->stream);
}

void connection_rise_above_watermark(jd_tcp_connection *connection)
{
    connection->flags |= CONNECTION_ABOVE_WATERMARK;
    connection_touch(connection, TODO_WATERMARK);
    connection_pause_by_output(connection);
}

void connection_sink_to_watermark(jd_tcp_connection *connection)
{
    connection->flags &= (uint16_t)~CONNECTION_ABOVE_WATERMARK;
    connection->stream.flags &= ~(uint32_t)CONNECTION_RAISED_BY_PRESSURE;
    connection_touch(connection, TODO_WATERMARK);
    if (connection->flags & CONNECTION_PAUSED_BY_OUTPUT)
        connection_end_pause(connection, CONNECTION_PAUSED_BY_OUTPUT);
    else
        connection_touch(connection, TODO_INPUT); /* the callback may have left input because of the watermark */
}

static unsigned connection_files(const jd_tcp_connection *connection)
{
    return connection_reserved_files(atomic_load_explicit(&connection->reserved, memory_order_relaxed));
}

/* Half of max_queued_files count as output above the high watermark, a quarter as output at the low one. */
void connection_file_added(jd_tcp_connection *connection)
{
    /* The flush may have sent the file, or have failed. */
    if (connection_state(connection) < CONNECTION_BROKEN && output_queue_bytes(&connection->stream.output) > 0 &&
        connection_files(connection) >= (connection->profile->max_queued_files + 1) / 2 &&
        !(connection->flags & CONNECTION_ABOVE_WATERMARK))
        connection_rise_above_watermark(connection);
}

void connection_check_low_watermark(jd_tcp_connection *connection)
{
    const struct connection_profile *profile = connection->profile;
    size_t queued = output_queue_bytes(&connection->stream.output);

    if (queued > 0 && profile->totals != NULL && connection_totals_are_pressed(profile->totals))
        return;
    if (queued <= profile->low_watermark && connection_files(connection) <= profile->max_queued_files / 4)
        connection_sink_to_watermark(connection);
}

void connection_apply_watermarks(jd_tcp_connection *connection)
{
    size_t queued = output_queue_bytes(&connection->stream.output);
    bool was_above = connection->flags & CONNECTION_ABOVE_WATERMARK;

    if (connection_state(connection) >= CONNECTION_BROKEN)
        return;
    if (was_above)
        connection_check_low_watermark(connection);
    else if (queued > connection->profile->high_watermark)
        connection_rise_above_watermark(connection);
    if (!(connection->flags & CONNECTION_ABOVE_WATERMARK))
        return;
    if (!was_above) /* an engine may have left a send without a report: now one is awaited (stream_needs_sent_report) */
        connection_touch(connection, TODO_FLUSH);
    else if (!connection->profile->reads_above_watermark)
        connection_pause_by_output(connection);
    else if (connection->flags & CONNECTION_PAUSED_BY_OUTPUT)
        connection_end_pause(connection, CONNECTION_PAUSED_BY_OUTPUT);
}

void connection_files_released(jd_tcp_connection *connection)
{
    struct output_pools *pools = &connection_loop(connection)->blocks.output;

    atomic_fetch_sub(&connection->reserved, pools->files_released * CONNECTION_RESERVED_FILE);
    pools->files_released = 0;
}

void connection_drop_output(jd_tcp_connection *connection)
{
    jd_event_loop *loop = connection_loop(connection);
    size_t before = output_queue_bytes(&connection->stream.output);

    counter_add(&loop->counters.bytes_dropped, output_queue_clear(&connection->stream.output, &loop->blocks.output));
    connection_files_released(connection);
    connection_count_output(connection, before);
}

__attribute__((noinline)) static void connection_watch_output(jd_tcp_connection *connection, size_t queued_before)
{
    if (queued_before == 0)
        connection_start_write_timeout(connection);
    connection_count_output(connection, queued_before);
}

/* Output of flush_bytes or more is sent at once, while the callback may still produce more. */
void connection_output_added(jd_tcp_connection *connection, size_t queued_before, uint64_t length)
{
    const struct connection_profile *profile = connection->profile;
    const struct output_queue *output = &connection->stream.output;
    size_t queued = output_queue_bytes(output);

    counter_add(&connection_loop(connection)->counters.bytes_queued, length);
    connection_touch(connection, TODO_FLUSH);
    if (profile->watches_output)
        connection_watch_output(connection, queued_before);
    if (queued >= connection_loop(connection)->flush.policy.bytes && !connection_loop(connection)->delivery.more)
        connection_flush_early(connection);
    if (queued > profile->high_watermark && output_queue_bytes(output) > profile->high_watermark &&
        !(connection->flags & CONNECTION_ABOVE_WATERMARK))
        connection_rise_above_watermark(connection);
}

/* Whether the flush is scheduled already and length more bytes cross neither flush_bytes nor the high watermark, and all
 * connections' output is not counted: then nothing but the count of bytes changes. */
static bool output_joins_scheduled_flush(const jd_tcp_connection *connection, size_t queued_before, size_t length)
{
    size_t queued = queued_before + length;

    return queued_before > 0 && connection->todo & TODO_FLUSH && queued <= connection->profile->unchecked_joining &&
           queued < connection_loop(connection)->flush.policy.bytes;
}

static inline int connection_queue_parts(jd_tcp_connection *connection, const jd_iovec *parts, int count, size_t length,
                                         size_t before)
{
    jd_event_loop *loop = connection_loop(connection);
    int result = output_queue_append(&connection->stream.output, &loop->blocks.output, parts, count, length,
                                     loop->delivery.answering == connection ? loop->delivery.arrived_bytes : 0);

    if (result < 0)
        return result;
    if (!output_joins_scheduled_flush(connection, before, length)) {
        connection_output_added(connection, before, length);
        return 0;
    }
    counter_add(&loop->counters.bytes_queued, length);
    return 0;
}

/* As connection_send_parts, in the loop's thread. Not inlined, as some others here: the registers that it needs would be
 * saved for each message. */
__attribute__((noinline)) static int connection_send_checked(jd_tcp_connection *connection, const jd_iovec *parts,
                                                             int count, size_t length)
{
    size_t before = output_queue_bytes(&connection->stream.output);
    int result = connection_check_send(connection, before, length);

    return result < 0 || length == 0 ? result : connection_queue_parts(connection, parts, count, length, before);
}

int connection_send_parts(jd_tcp_connection *connection, const jd_iovec *parts, int count, size_t length)
{
    size_t before = output_queue_bytes(&connection->stream.output);

    if (!event_loop_is_in_loop_thread(connection_loop(connection)))
        return connection_post_send(connection, parts, count, length);
    /* A length of 0 wraps around. */
    if (connection_state(connection) != CONNECTION_CONNECTED || length - 1 >= connection_sure_room(connection, before))
        return connection_send_checked(connection, parts, count, length);
    return connection_queue_parts(connection, parts, count, length, before);
}

int jd_tcp_connection_send(jd_tcp_connection *connection, const void *data, size_t length)
{
    jd_iovec part = { .data = (void *)(uintptr_t)data, .length = length };

    return connection_send_parts(connection, &part, 1, length);
}

int jd_tcp_connection_sendv(jd_tcp_connection *connection, const jd_iovec *parts, int count)
{
    struct frame_parts message;
    int result = frame_parts_make(&message, NULL, parts, count);

    if (result < 0)
        return result == JD_EMSGSIZE ? JD_ENOBUFS : result;
    result = connection_send_parts(connection, message.parts, message.count, message.length);
    frame_parts_release(&message);
    return result;
}

bool jd_tcp_connection_can_send(const jd_tcp_connection *connection, size_t length)
{
    size_t limit = connection_profile_of(connection)->output_limit;
    size_t queued = connection_queued_bytes(connection);

    return connection_state(connection) == CONNECTION_CONNECTED && queued <= limit && length <= limit - queued &&
           (connection_profile_of(connection)->totals == NULL || connection_totals_have_room(connection, length));
}

/* Whether the output queue may take the borrowed receive block instead of a copy of its bytes.
 *
 * - A block at least a quarter full: yes. Below that, copying is cheap, and a slow peer would pin much memory for few
 *   bytes.
 * - Any other: only if the flush follows at once, so that the kernel takes the bytes. Bytes that it does not take are
 *   copied then (connection_return_borrowed). */
static bool output_may_take_borrowed(const jd_tcp_connection *connection, const jd_buffer *buffer)
{
    const jd_event_loop *loop = connection_loop(connection);
    bool passes_through = loop->ops->sends_at_once && loop->delivery.answering == connection &&
                          output_queue_bytes(&connection->stream.output) == 0;

    if (buffer != &loop->delivery.view || buffer->borrowed == NULL || jd_buffer_readable(buffer) == 0)
        return false;
    return passes_through || jd_buffer_readable(buffer) >= block_pinned_bytes(buffer->borrowed) / 4;
}

static bool output_take_borrowed(jd_tcp_connection *connection, jd_buffer *buffer)
{
    struct block *block = block_keep(buffer->borrowed);

    if (block == NULL)
        return false;
    connection_loop(connection)->delivery.view_taken = block == buffer->borrowed;
    block->begin = block->end - (uint32_t)jd_buffer_readable(buffer);
    ring_buffer_clear(buffer);
    output_queue_append_block(&connection->stream.output, block);
    return true;
}

void connection_return_borrowed(jd_tcp_connection *connection, const struct block *block)
{
    struct output_queue *output = &connection->stream.output;
    jd_event_loop *loop = connection_loop(connection);

    if (output->first == block && block_length(block) < block->capacity / 4 && loop->ops->sends_at_once)
        output_queue_copy_first(output, &loop->blocks.output);
}

int jd_tcp_connection_send_buffer(jd_tcp_connection *connection, jd_buffer *buffer)
{
    bool mine = event_loop_is_in_loop_thread(connection_loop(connection));
    size_t before, length = jd_buffer_readable(buffer);
    jd_iovec parts[2];
    int result = mine ? connection_may_send(connection, length) : 0;

    if (result < 0)
        return result;
    before = output_queue_bytes(&connection->stream.output);
    if (mine && output_may_take_borrowed(connection, buffer) && output_take_borrowed(connection, buffer)) {
        connection_output_added(connection, before, length);
        return 0;
    }
    result = connection_send_parts(connection, parts, jd_buffer_peek_iov(buffer, parts), length);
    if (result == 0)
        ring_buffer_clear(buffer);
    return result;
}

bool stream_needs_sent_report(const struct stream *stream)
{
    enum { LIMIT_PARTS = 8 }; /* above 1/8 of output_limit, sends of other threads may soon be refused */
    const jd_tcp_connection *connection = connection_of_stream((struct stream *)(uintptr_t)stream);

    return connection->profile->on_write_complete != NULL || connection->flags & CONNECTION_ABOVE_WATERMARK ||
           connection_state(connection) == CONNECTION_DISCONNECTING ||
           output_queue_bytes(&stream->output) > connection->profile->output_limit / LIMIT_PARTS;
}

/* The bytes have left the queue. */
static inline void stream_count_sent(struct stream *stream, size_t length)
{
    jd_tcp_connection *connection = connection_of_stream(stream);

    counter_add(&stream->loop->counters.bytes_sent, length);
    connection->sent_ms = stream->loop->now_ms;
    connection->unacknowledged_note = 0;
    if (stream->loop->blocks.output.files_released > 0)
        connection_files_released(connection);
    if (connection->flags & CONNECTION_ABOVE_WATERMARK)
        connection_check_low_watermark(connection);
    if (output_queue_bytes(&stream->output) > 0)
        return;
    if (connection_state(connection) == CONNECTION_DISCONNECTING)
        connection_touch(connection, TODO_FINISH);
    if (connection->profile->on_write_complete != NULL)
        connection_touch(connection, TODO_WRITE_COMPLETE);
}

__attribute__((noinline)) static void stream_consume_counted(struct stream *stream, size_t length)
{
    size_t before = output_queue_bytes(&stream->output);

    output_queue_consume(&stream->output, &stream->loop->blocks.output, length);
    connection_totals_count_output(connection_of_stream(stream), before);
}

void stream_sent(struct stream *stream, size_t length)
{
    if (connection_of_stream(stream)->profile->totals == NULL)
        output_queue_consume(&stream->output, &stream->loop->blocks.output, length);
    else
        stream_consume_counted(stream, length);
    stream_count_sent(stream, length);
}

int stream_sent_zero_copy(struct stream *stream, size_t length, struct block_chain *zero_copy)
{
    size_t before = output_queue_bytes(&stream->output);
    size_t dropped = output_queue_move_zero_copy(&stream->output, &stream->loop->blocks.output, length, zero_copy);

    connection_count_output(connection_of_stream(stream), before);
    counter_add(&stream->loop->counters.bytes_dropped, dropped);
    stream_count_sent(stream, length);
    return dropped > 0 ? JD_ENOMEM : 0;
}

void stream_zero_copy_done(jd_event_loop *loop, struct block_chain *zero_copy)
{
    output_pools_end_zero_copy(&loop->blocks.output, zero_copy);
}

/* Bytes of a file have been read into the output queue, or the file has ended. */
static void stream_count_read(struct stream *stream, size_t before)
{
    connection_files_released(connection_of_stream(stream));
    connection_count_output(connection_of_stream(stream), before);
}

int stream_begin_read(struct stream *stream, size_t most, jd_iovec *room)
{
    size_t before = output_queue_bytes(&stream->output);
    int result = output_queue_begin_read(&stream->output, &stream->loop->blocks.output, most, room);

    connection_count_output(connection_of_stream(stream), before);
    return result;
}

int stream_end_read(struct stream *stream, ssize_t count)
{
    size_t before = output_queue_bytes(&stream->output);
    int result = output_queue_end_read(&stream->output, &stream->loop->blocks.output, count);

    stream_count_read(stream, before);
    return result;
}

int stream_read_file(struct stream *stream, size_t most)
{
    size_t before = output_queue_bytes(&stream->output);
    int result = output_queue_read_file(&stream->output, &stream->loop->blocks.output, most);

    stream_count_read(stream, before);
    return result;
}

static void connection_report_above(jd_tcp_connection *connection)
{
    const struct connection_profile *profile = connection->profile;

    connection->flags |= CONNECTION_REPORTED_ABOVE;
    if (profile->on_high_watermark != NULL)
        profile->on_high_watermark(connection, connection_queued_bytes(connection), profile->on_high_watermark_arg);
}

static void connection_report_below(jd_tcp_connection *connection)
{
    const struct connection_profile *profile = connection->profile;

    connection->flags &= (uint16_t)~CONNECTION_REPORTED_ABOVE;
    if (profile->on_low_watermark != NULL)
        profile->on_low_watermark(connection, connection_queued_bytes(connection), profile->on_low_watermark_arg);
}

/* Output has crossed a watermark since the last report. A rise is reported even if output has fallen since: a callback
 * that found the connection above its watermark waits for the report of the fall. */
void connection_invoke_watermark(jd_tcp_connection *connection)
{
    if (connection_state(connection) >= CONNECTION_CLOSING)
        return;
    if (!(connection->flags & CONNECTION_REPORTED_ABOVE)) {
        connection_report_above(connection);
        connection->todo &= (uint8_t)~TODO_WATERMARK; /* what the callback has crossed is reported below, or is so */
    }
    if (!(connection->flags & CONNECTION_ABOVE_WATERMARK) && connection_state(connection) < CONNECTION_CLOSING)
        connection_report_below(connection);
}

void connection_invoke_write_complete(jd_tcp_connection *connection)
{
    const struct connection_profile *profile = connection->profile;

    if (connection_state(connection) < CONNECTION_BROKEN && output_queue_bytes(&connection->stream.output) == 0 &&
        profile->on_write_complete != NULL)
        profile->on_write_complete(connection, profile->on_write_complete_arg);
}
