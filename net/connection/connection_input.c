/* Input of a connection: delivered from the block in which the engine received it (the callback sees it borrowed). Only
 * bytes that the callback leaves unconsumed are moved to the connection's ring buffer. */
#include "base/log.h"
#include "net/connection/tcp_connection.h"

#include <jinduo/error.h>

size_t stream_budget(const struct stream *stream)
{
    const jd_tcp_connection *connection =
        (const jd_tcp_connection *)((const char *)stream - offsetof(jd_tcp_connection, stream));

    return connection->profile->budget_bytes;
}

/* ---- unconsumed input ---- */

static void connection_check_input_limit(jd_tcp_connection *connection)
{
    size_t unread = jd_buffer_readable(connection->input);
    char peer[JD_ENDPOINT_TEXT_BYTES];

    if (unread <= connection->profile->input_limit || connection->flags & CONNECTION_DISCARDS_INPUT)
        return;
    if (loop_may_log(connection_loop(connection))) {
        connection_peer_text(connection, peer);
        log_message(JD_LOG_WARNING,
                    "%s: %s: %zu bytes of input are unread, the limit is %zu (input_limit); connection closed",
                    connection->profile->name, peer, unread, connection->profile->input_limit);
    }
    connection_begin_close_for(connection, JD_ENOBUFS, CLOSED_INPUT_LIMIT);
}

void connection_drop_empty_input(jd_tcp_connection *connection)
{
    if (connection->input == NULL || jd_buffer_readable(connection->input) > 0)
        return;
    connection_forget_input(connection);
    jd_buffer_destroy(connection->input);
    connection->input = NULL;
}

bool connection_append_input(jd_tcp_connection *connection, const void *data, size_t length)
{
    int result = connection->input != NULL ? 0 : jd_buffer_create(&connection->input);

    if (result == 0)
        result = jd_buffer_append(connection->input, data, length);
    if (result < 0)
        connection_begin_close(connection, result);
    return result == 0;
}

void connection_defer_input(jd_tcp_connection *connection, const void *data, size_t length)
{
    if (length > 0 && connection_state(connection) < CONNECTION_CLOSING)
        connection_append_input(connection, data, length);
}

/* ---- messages ---- */

static void connection_invoke_message(jd_tcp_connection *connection, jd_buffer *input)
{
    const struct connection_profile *profile = connection->profile;
    size_t before = jd_buffer_readable(input);

    if (profile->on_message != NULL)
        profile->on_message(connection, input, connection_loop(connection)->now, profile->on_message_arg);
    else
        jd_buffer_consume(input, SIZE_MAX);
    if (jd_buffer_readable(input) < before)
        connection->flags &= (uint16_t)~CONNECTION_AWAITS_FIRST_MESSAGE;
}

/* Whether a callback that is delivering the connection's input has changed the codec or the message callback. */
static bool connection_has_switched(const jd_tcp_connection *connection)
{
    const jd_event_loop *loop = connection_loop(connection);

    return loop->delivery.switched_at == atomic_load_explicit(&loop->counters.bytes_received, memory_order_relaxed);
}

void connection_note_switch(jd_tcp_connection *connection)
{
    jd_event_loop *loop = connection_loop(connection);

    if (connection->input != NULL)
        connection->input->searched = connection->input->needed = 0;
    if (loop->delivery.redelivering == connection ||
        (loop->delivery.answering == connection && connection->input == NULL))
        loop->delivery.switched_at = atomic_load_explicit(&loop->counters.bytes_received, memory_order_relaxed);
    else if (connection->input != NULL)
        connection_touch(connection, TODO_INPUT);
}

/* The bytes that the callback left in the view go to those that it has set. Returns false if they must be kept: the callback
 * has changed nothing, has paused reading, or has written to the view. Not inlined, as few callbacks leave bytes. */
__attribute__((noinline)) static bool connection_pass_leftovers_on(jd_tcp_connection *connection, jd_buffer *view)
{
    struct block *block = view->borrowed;

    /* A callback that only changes what comes next, and consumes nothing, is invoked again in the next turn. */
    if (block == NULL || !connection_has_switched(connection) || !connection_may_deliver(connection) ||
        jd_buffer_readable(view) == block_length(block))
        return false;
    block->begin = block->end - (uint32_t)jd_buffer_readable(view);
    ring_buffer_clear(view);
    connection_deliver_rest(connection, block);
    return true;
}

/* The callback has returned: moves the bytes that it left in the view to the connection's own buffer. */
__attribute__((always_inline)) static inline void connection_keep_leftovers(jd_tcp_connection *connection,
                                                                            jd_buffer *view)
{
    int result;

    if (jd_buffer_readable(view) > 0 && connection_state(connection) < CONNECTION_CLOSING) {
        if (connection_pass_leftovers_on(connection, view))
            return;
        result = jd_buffer_create(&connection->input);
        if (result == 0)
            result = ring_buffer_move(connection->input, view);
        if (result < 0)
            connection_begin_close(connection, result);
        else if (connection_has_switched(connection))
            connection_touch(connection, TODO_INPUT);
    }
    ring_buffer_clear(view);
}

/* Inlined also where it is not called for each message. */
__attribute__((always_inline)) static inline void connection_deliver_message(jd_tcp_connection *connection,
                                                                             struct block *block)
{
    jd_buffer *view = &connection_loop(connection)->delivery.view;

    if (connection->input == NULL) {
        ring_buffer_view(view, block);
        connection_invoke_message(connection, view);
        connection_keep_leftovers(connection, view);
    } else if (connection_append_input(connection, block->data + block->begin, block_length(block))) {
        connection_invoke_message(connection, connection->input);
    }
    connection_drop_empty_input(connection);
    if (connection->input != NULL) {
        connection_check_input_limit(connection);
        connection_count_input(connection);
    }
}

/* The loop is here, and not in the callers, so that a callback that changes the codec with each message needs no more of the
 * stack than another. */
void connection_deliver_rest(jd_tcp_connection *connection, struct block *block)
{
    struct loop_delivery *delivery = &connection_loop(connection)->delivery;

    delivery->rest = true;
    if (delivery->redelivering == connection)
        return;
    delivery->redelivering = connection;
    while (delivery->rest) {
        delivery->rest = false;
        delivery->switched_at = 0;
        if (connection->profile->codec != NULL)
            connection_deliver_frames(connection, block);
        else
            connection_deliver_message(connection, block);
    }
    delivery->redelivering = NULL;
}

/* ---- reports from the engine ---- */

/* Whether the input that is left is going to be delivered without a report from the engine: when a pause ends, or at the
 * end of this turn or the next. Until then further input joins it. */
static bool connection_input_is_deferred(const jd_tcp_connection *connection)
{
    return connection->flags & CONNECTION_ANY_PAUSE || (connection->todo & TODO_INPUT && connection->input != NULL);
}

/* A message callback may have left input because of the watermark, and can answer it only before the FIN is
 * processed. */
bool connection_end_is_deferred(const jd_tcp_connection *connection)
{
    return connection_input_is_deferred(connection) ||
           (connection->flags & CONNECTION_ABOVE_WATERMARK && connection->input != NULL &&
            connection->profile->codec == NULL);
}

/* Nothing more can be sent. What the kernel has of input is a bounded number of bytes, but a peer that is not gone (after
 * JD_ENODATA, for example) may send without end. */
static bool connection_takes_broken_input(jd_tcp_connection *connection, size_t length)
{
    enum {
        BROKEN_INPUT_MAX_BYTES = 64 * 1024 * 1024
    }; /* more than the kernel buffers for a socket (tcp(7), tcp_rmem) */

    if (connection_state(connection) >= CONNECTION_CLOSING)
        return false;
    connection->broken_bytes += (uint32_t)length;
    if (connection->broken_bytes <= BROKEN_INPUT_MAX_BYTES)
        return true;
    connection_begin_close(connection, 0);
    return false;
}

/* Inlined for stream_received, which runs for each message. */
__attribute__((always_inline)) static inline void connection_receive(jd_tcp_connection *connection, jd_event_loop *loop,
                                                                     struct block **block)
{
    const struct block *taken = NULL;

    connection->received_ms = loop->now_ms;
    if (connection_input_is_deferred(connection)) {
        connection_defer_input(connection, (*block)->data + (*block)->begin, block_length(*block));
        connection_count_input(connection);
        return;
    }
    loop->delivery.answering = connection;
    loop->delivery.arrived_bytes = block_length(*block);
    if (connection->profile->codec != NULL) {
        connection_deliver_frames(connection, *block);
    } else {
        flush_before_callback(loop);
        connection_deliver_message(connection, *block);
    }
    if (loop->delivery.view_taken) {
        taken = *block;
        *block = NULL;
        loop->delivery.view_taken = false;
    }
    loop->delivery.answering = NULL;
    /* The input of this connection has been processed: flushing now sends the response while it is in the cache. An
     * engine that gathers its sends (!sends_at_once) gets the response at the turn's end, with those of other
     * connections. With more input to be delivered at once, the responses to all of it leave in one send. */
    if (loop->delivery.flushes)
        connection_flush(connection);
    if (taken != NULL)
        connection_return_borrowed(connection, taken);
}

/* Not inlined, as it is rare. */
__attribute__((noinline)) static void connection_receive_filtered(jd_tcp_connection *connection, struct block **block)
{
    if (connection_filter_input(connection, *block))
        connection_receive(connection, connection_loop(connection), block);
}

void stream_received(struct stream *stream, struct block **block)
{
    jd_tcp_connection *connection = connection_of_stream(stream);
    jd_event_loop *loop = stream->loop;

    counter_add(&loop->counters.bytes_received, block_length(*block));
    if (connection_state(connection) >= CONNECTION_BROKEN &&
        !connection_takes_broken_input(connection, block_length(*block)))
        return;
    if (connection->flags & (CONNECTION_DISCARDS_INPUT | CONNECTION_FILTERED))
        connection_receive_filtered(connection, block);
    else
        connection_receive(connection, loop, block);
}

/* Whether the end of input is not the peer's FIN: the error of a reset may have been fetched by a send, whose completion may
 * be about to be reported. JD_EPIPE: the reset came behind the FIN (Linux, tcp_reset). */
static bool connection_end_is_failure(const jd_tcp_connection *connection)
{
    bool is_broken = connection_state(connection) >= CONNECTION_BROKEN;
    int fin;

    if (!is_broken && output_queue_bytes(&connection->stream.output) == 0)
        return false;
    fin = socket_fin_received(connection->stream.socket);
    return fin < 0 ? is_broken && connection->error != JD_EPIPE : fin == 0;
}

void stream_ended(struct stream *stream)
{
    jd_tcp_connection *connection = connection_of_stream(stream);

    if (connection->flags & CONNECTION_FILTERED) {
        connection_filter_ended(connection);
        return;
    }
    if (connection_end_is_failure(connection)) {
        connection_fail(connection, JD_ECONNRESET); /* unless the first error is known already */
        return;
    }
    if (connection_end_is_deferred(connection)) {
        connection->flags |= CONNECTION_END_DEFERRED;
        connection_touch(connection, TODO_PEER_GONE);
        return;
    }
    flush_before_callback(stream->loop);
    connection_peer_ended(connection);
}

/* ---- pausing ---- */

/* The pause until the next turn ends with this turn: the input is delivered at the end of the next. Returns whether there
 * was such a pause. */
static bool connection_end_pause_for_turn(jd_tcp_connection *connection)
{
    if (!(connection->flags & CONNECTION_PAUSED_FOR_TURN))
        return false;
    connection->flags &= (uint16_t)~CONNECTION_PAUSED_FOR_TURN;
    connection_touch(connection, TODO_INPUT);
    return true;
}

/* Delivers the input that is left. A callback may change what is to get the rest. */
static void connection_deliver_input(jd_tcp_connection *connection)
{
    struct loop_delivery *delivery = &connection_loop(connection)->delivery;
    size_t before;

    delivery->redelivering = connection;
    do {
        before = jd_buffer_readable(connection->input);
        delivery->switched_at = 0;
        if (connection->profile->codec != NULL)
            connection_decode_input(connection);
        else
            connection_invoke_message(connection, connection->input);
        connection_drop_empty_input(connection);
    } while (connection_has_switched(connection) && connection->input != NULL && connection_may_deliver(connection) &&
             jd_buffer_readable(connection->input) < before);
    delivery->redelivering = NULL;
    if (connection_has_switched(connection) && connection->input != NULL)
        connection_touch(connection, TODO_INPUT); /* the next turn continues */
}

void connection_deliver_deferred(jd_tcp_connection *connection)
{
    if (connection_end_pause_for_turn(connection))
        return;
    /* Behind the peer's FIN the user expects no more messages. */
    if (connection_may_deliver(connection) && connection->input != NULL &&
        !(connection->flags & CONNECTION_PEER_ENDED)) {
        connection_deliver_input(connection);
        if (connection->input != NULL && connection->profile->codec == NULL)
            connection_check_input_limit(connection);
        if (connection->input != NULL)
            connection_count_input(connection);
    }
    if (connection_end_pause_for_turn(connection) || !connection_may_deliver(connection))
        return;
    if (connection->flags & CONNECTION_END_DEFERRED) {
        if (connection_end_is_deferred(connection))
            return;
        connection->flags &= (uint16_t)~CONNECTION_END_DEFERRED;
        connection_peer_ended(connection);
        return;
    }
    if (connection_state(connection) == CONNECTION_FAILED) {
        if (!connection_end_is_deferred(connection))
            connection_begin_close(connection, 0);
        return;
    }
    connection_loop(connection)->ops->stream->resume(&connection->stream);
}

void connection_discard_input(jd_tcp_connection *connection)
{
    bool end_deferred = (connection->flags & CONNECTION_END_DEFERRED) != 0;

    connection->flags &= (uint16_t) ~(CONNECTION_ANY_PAUSE | CONNECTION_END_DEFERRED | CONNECTION_AWAITS_FIRST_MESSAGE);
    connection->flags |= CONNECTION_DISCARDS_INPUT;
    connection_forget_input(connection);
    jd_buffer_destroy(connection->input);
    connection->input = NULL;
    connection_loop(connection)->ops->stream->resume(&connection->stream);
    if (end_deferred)
        connection_peer_ended(connection);
}

void connection_end_pause(jd_tcp_connection *connection, unsigned pause)
{
    connection->flags &= (uint16_t)~pause;
    connection->received_ms = connection_loop(connection)->now_ms; /* a pause does not count for read_timeout_ms */
    connection_touch(connection, TODO_INPUT);
}

static int connection_may_pause(const jd_tcp_connection *connection)
{
    if (connection_state(connection) >= CONNECTION_CLOSING)
        return JD_ENOTCONN;
    return event_loop_is_in_loop_thread(connection_loop(connection)) ? 0 : JD_EPERM;
}

int jd_tcp_connection_pause_reading(jd_tcp_connection *connection)
{
    jd_event_loop *loop = connection_loop(connection);
    int result = connection_may_pause(connection);

    if (result < 0 || connection->flags & (CONNECTION_PAUSED | CONNECTION_DISCARDS_INPUT))
        return result;
    connection->flags |= CONNECTION_PAUSED;
    loop->ops->stream->pause(&connection->stream);
    if (connection->flags & CONNECTION_END_DEFERRED || connection_state(connection) >= CONNECTION_BROKEN)
        connection_touch(connection, TODO_PEER_GONE);
    return 0;
}

int jd_tcp_connection_resume_reading(jd_tcp_connection *connection)
{
    int result = connection_may_pause(connection);

    if (result < 0 || !(connection->flags & CONNECTION_PAUSED))
        return result;
    connection_end_pause(connection, CONNECTION_PAUSED);
    return 0;
}

int jd_tcp_connection_deliver_again(jd_tcp_connection *connection)
{
    int result = connection_may_pause(connection);

    if (result < 0 || connection->flags & (CONNECTION_DISCARDS_INPUT | CONNECTION_PEER_ENDED))
        return result;
    connection->flags |= CONNECTION_PAUSED_FOR_TURN;
    connection_loop(connection)->ops->stream->pause(&connection->stream);
    connection_touch(connection, TODO_INPUT);
    return 0;
}
