/* The life of a connection: accepted (or made), connected, disconnecting, closing, disconnected. */
#include "net/connection/tcp_connection.h"

#include <jinduo/error.h>

/* Not for DISCONNECTING, which other threads set too. None of these states is agreed on by looking at something else at
 * the same time, so that the order of a release is enough. */
static void set_state(jd_tcp_connection *connection, enum connection_state state)
{
    atomic_store_explicit(&connection->state, (uint8_t)state, memory_order_release);
}

/* ---- birth ---- */

int connection_open(jd_event_loop *loop, struct connection_profile *profile, socket_handle socket,
                    const struct peer_address *peer)
{
    jd_tcp_connection *connection = slot_map_allocate(&loop->connections.map);
    int result = connection != NULL ? 0 : JD_ENOMEM;

    if (connection != NULL) {
        connection->stream.loop = loop;
        connection->stream.socket = SOCKET_NONE;
        connection->stream.is_local = peer->family == AF_UNIX;
        connection->profile = profile;
        connection->peer = *peer;
        atomic_fetch_add_explicit(&profile->references, 1, memory_order_relaxed);
        event_loop_ref_memory(loop);
        atomic_store_explicit(&connection->references, 1, memory_order_relaxed);
        result = loop->ops->adopt(loop->engine, &connection->stream, socket);
        if (result < 0)
            connection_free_in_loop(connection);
    }
    if (result < 0) {
        socket_close(socket);
        counter_add(&loop->counters.connections_failed, 1);
        profile->owner->gone(profile->owner, loop, result);
        return result;
    }
    loop->connections.open++;
    result = loop->ops->stream->start(&connection->stream);
    if (result < 0) {
        connection_begin_close(connection, result);
        return result;
    }
    set_state(connection, CONNECTION_CONNECTED);
    connection->flags |= CONNECTION_UP;
    counter_add(&loop->counters.connections_opened, 1);
    profile->owner->seen(profile->owner, connection, 1);
    if (profile->has_timeouts)
        connection_start_timeouts(connection);
    flush_before_callback(loop);
    if (profile->on_connection != NULL)
        profile->on_connection(connection, profile->on_connection_arg);
    return 0;
}

/* ---- the end ---- */

static enum close_reason reason_of(const jd_tcp_connection *connection, int error)
{
    switch (error) {
    case 0: /* whose FIN was first */
        return connection->flags & CONNECTION_PEER_ENDED && !(connection->flags & CONNECTION_FIN_SENT) ? CLOSED_BY_PEER
                                                                                                       : CLOSED_LOCALLY;
    case JD_ECONNRESET:
    case JD_EPIPE: /* sent to after its reset */
        return CLOSED_BY_RESET;
    case JD_ENOMEM:
        return CLOSED_NO_MEMORY;
    default:
        return CLOSED_OTHERWISE;
    }
}

void connection_begin_close(jd_tcp_connection *connection, int error)
{
    connection_begin_close_for(connection, error, reason_of(connection, error));
}

void connection_begin_close_for(jd_tcp_connection *connection, int error, enum close_reason reason)
{
    if (connection_state(connection) >= CONNECTION_CLOSING)
        return;
    set_state(connection, CONNECTION_CLOSING);
    connection->error = (int16_t)error; /* errno's values are below 4096 (errno(3), the kernel's MAX_ERRNO) */
    connection->close_reason = (uint8_t)reason;
    timer_cancel(&connection_loop(connection)->timers.wheel, &connection->timer);
    connection_touch(connection, TODO_CLOSE);
}

bool connection_set_disconnecting(jd_tcp_connection *connection)
{
    uint8_t connected = CONNECTION_CONNECTED;

    return atomic_compare_exchange_strong(&connection->state, &connected, CONNECTION_DISCONNECTING);
}

/* FIN, or the close that stands for it, when nothing is left to be sent: neither here nor on its way from other threads,
 * whose sends have been promised. */
void connection_finish_output(jd_tcp_connection *connection)
{
    if (connection_state(connection) != CONNECTION_DISCONNECTING || connection->flags & CONNECTION_FIN_SENT)
        return;
    if (output_queue_bytes(&connection->stream.output) > 0) {
        /* What is under way may take its time only while nobody waits for it. */
        connection_loop(connection)->ops->stream->flush(&connection->stream);
        return;
    }
    if (atomic_load(&connection->queued_elsewhere) > 0)
        return;
    if (connection->flags & CONNECTION_PEER_ENDED) {
        connection_begin_close(connection, 0);
        return;
    }
    connection->flags |= CONNECTION_FIN_SENT;
    connection_loop(connection)->ops->stream->shutdown_write(&connection->stream);
    /* Closing now could cost the peer bytes it has not read yet, see stream_ops.close: its FIN says that it has. */
    if (connection->flags & CONNECTION_CLOSE_DRAINED)
        connection_discard_input(connection);
}

void connection_peer_ended(jd_tcp_connection *connection)
{
    const struct connection_profile *profile = connection->profile;

    connection->flags |= CONNECTION_PEER_ENDED;
    if (connection_state(connection) >= CONNECTION_CLOSING)
        return;
    if (connection->flags & CONNECTION_FIN_SENT) {
        connection_begin_close(connection, 0);
        return;
    }
    /* Without anyone to tell, nobody would ever close it. */
    if (profile->allow_half_open && profile->on_half_close != NULL) {
        profile->on_half_close(connection, profile->on_half_close_arg);
        return;
    }
    connection_set_disconnecting(connection);
    connection_touch(connection, TODO_FINISH);
}

void connection_close_stream(jd_tcp_connection *connection)
{
    connection_loop(connection)->ops->stream->close(&connection->stream, connection->flags & CONNECTION_RESET);
}

void stream_failed(struct stream *stream, int error)
{
    connection_begin_close(connection_of_stream(stream), error);
}

void stream_closed(struct stream *stream)
{
    jd_event_loop *loop = stream->loop;

    counter_add(&loop->counters.bytes_dropped, output_queue_clear(&stream->output, &loop->blocks.output));
    connection_touch(connection_of_stream(stream), TODO_DOWN);
}

void connection_invoke_down(jd_tcp_connection *connection)
{
    struct connection_profile *profile = connection->profile;
    jd_event_loop *loop = connection_loop(connection);

    set_state(connection, CONNECTION_DISCONNECTED);
    jd_buffer_destroy(connection->input);
    connection->input = NULL;
    loop->connections.open--;
    event_loop_release_output(loop);
    if (connection->flags & CONNECTION_UP) {
        counter_add(&loop->counters.connections_closed, 1);
        counter_add(&loop->counters.closed[connection->close_reason], 1);
        profile->owner->seen(profile->owner, connection, -1);
        if (profile->on_connection != NULL)
            profile->on_connection(connection, profile->on_connection_arg);
    } else {
        counter_add(&loop->counters.connections_failed, 1);
    }
    profile->owner->gone(profile->owner, loop, connection->error);
    jd_tcp_connection_unref(connection);
}

void connection_carry_out(jd_tcp_connection *connection, enum connection_order order)
{
    if (connection_state(connection) >= CONNECTION_CLOSING)
        return;
    switch (order) {
    case ORDER_SEND: /* connection_remote.c does these */
    case ORDER_SEND_REFERENCE:
        break;
    case ORDER_SHUTDOWN:
    case ORDER_FINISH:
        connection_touch(connection, TODO_FINISH);
        break;
    case ORDER_RESET:
        connection->flags |= CONNECTION_RESET;
        connection_begin_close(connection, 0);
        break;
    case ORDER_CLOSE:
        connection_begin_close(connection, 0);
        break;
    }
}

static int give_order(jd_tcp_connection *connection, enum connection_order order)
{
    if (!event_loop_is_mine(connection_loop(connection)))
        return connection_post_order(connection, order);
    if (order == ORDER_SHUTDOWN && !connection_set_disconnecting(connection))
        return JD_ENOTCONN;
    connection_carry_out(connection, order);
    return 0;
}

int jd_tcp_connection_shutdown(jd_tcp_connection *connection)
{
    return give_order(connection, ORDER_SHUTDOWN);
}

int jd_tcp_connection_close(jd_tcp_connection *connection)
{
    return give_order(connection, ORDER_CLOSE);
}

int jd_tcp_connection_reset(jd_tcp_connection *connection)
{
    return give_order(connection, ORDER_RESET);
}

/* ---- what can be asked ---- */

bool jd_tcp_connection_is_connected(const jd_tcp_connection *connection)
{
    enum connection_state state = connection_state(connection);

    return state == CONNECTION_CONNECTED || state == CONNECTION_DISCONNECTING;
}

int jd_tcp_connection_error(const jd_tcp_connection *connection)
{
    return connection_state(connection) >= CONNECTION_CLOSING ? connection->error : 0;
}

void jd_tcp_connection_set_context(jd_tcp_connection *connection, void *context, void (*destructor)(void *))
{
    void (*old_destructor)(void *) = connection->context_destructor;
    void *old_context = atomic_exchange_explicit(&connection->context, context, memory_order_acq_rel);

    connection->context_destructor = destructor;
    if (old_destructor != NULL)
        old_destructor(old_context);
}

void *jd_tcp_connection_context(const jd_tcp_connection *connection)
{
    return atomic_load_explicit(&connection->context, memory_order_acquire);
}

jd_event_loop *jd_tcp_connection_loop(const jd_tcp_connection *connection)
{
    return connection_loop(connection);
}

int jd_tcp_connection_local_endpoint(const jd_tcp_connection *connection, jd_endpoint *endpoint)
{
    if (connection->stream.socket == SOCKET_NONE)
        return JD_ENOTCONN;
    return socket_local_endpoint(connection->stream.socket, endpoint);
}

int jd_tcp_connection_peer_endpoint(const jd_tcp_connection *connection, jd_endpoint *endpoint)
{
    peer_address_to_endpoint(&connection->peer, endpoint);
    return 0;
}

void connection_peer_text(const jd_tcp_connection *connection, char *text)
{
    jd_endpoint endpoint;

    jd_tcp_connection_peer_endpoint(connection, &endpoint);
    jd_endpoint_format(&endpoint, text, JD_ENDPOINT_TEXT_BYTES);
}

int jd_tcp_connection_native_handle(jd_tcp_connection *connection, jd_socket *handle)
{
    if (connection->stream.socket == SOCKET_NONE)
        return JD_ENOTCONN;
    connection->stream.shared_descriptor = true;
    *handle = connection->stream.socket;
    return 0;
}
