/* The life of a connection: accepted (or connected by a client), connected, disconnecting, broken, failed, closing,
 * disconnected. */
#include "net/connection/tcp_connection.h"

#include <jinduo/error.h>

/* Release order is enough: no agreement between threads pairs one of these states with another variable. */
void connection_set_state(jd_tcp_connection *connection, enum connection_state state)
{
    atomic_store_explicit(&connection->state, (uint8_t)state, memory_order_release);
}

/* ---- open ---- */

int connection_come_up(jd_tcp_connection *connection)
{
    int result = connection->profile->session != NULL ? connection_create_session(connection) : 0;
    const struct connection_profile *profile = connection->profile; /* the session may have settings of its own */
    jd_event_loop *loop = connection_loop(connection);

    if (result < 0) {
        connection_begin_close(connection, result);
        return result;
    }
    connection_set_state(connection, CONNECTION_CONNECTED);
    connection->flags |= CONNECTION_UP;
    counter_add(&loop->counters.connections_opened, 1);
    profile->owner->up_changed(profile->owner, connection, 1);
    if (profile->has_timeouts) {
        connection->up_ms = loop->now_ms;
        connection_start_timeouts(connection);
    }
    flush_before_callback(loop);
    if (profile->on_connection != NULL)
        profile->on_connection(connection, profile->on_connection_arg);
    return 0;
}

int connection_open(jd_event_loop *loop, struct connection_profile *profile, socket_handle socket,
                    const struct peer_address *peer)
{
    jd_tcp_connection *connection = slot_map_allocate(&loop->connections.map);
    int result = connection != NULL ? 0 : JD_ENOMEM;

    if (connection != NULL) {
        connection->stream.loop = loop;
        connection->stream.socket = SOCKET_NONE;
        connection->stream.flags = peer->family == AF_UNIX ? STREAM_LOCAL : 0;
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
    return profile->proxy != NULL ? connection_await_header(connection) : connection_come_up(connection);
}

/* ---- close ---- */

static enum close_reason connection_reason_of(const jd_tcp_connection *connection, int error)
{
    switch (error) {
    case 0: /* the side that sent its FIN first */
        return connection->flags & CONNECTION_PEER_ENDED && !(connection->flags & CONNECTION_FIN_SENT) ? CLOSED_BY_PEER
                                                                                                       : CLOSED_LOCALLY;
    case JD_ECONNRESET:
        return CLOSED_BY_RESET;
    case JD_ENOMEM:
        return CLOSED_NO_MEMORY;
    default:
        return CLOSED_OTHERWISE;
    }
}

void connection_begin_close(jd_tcp_connection *connection, int error)
{
    connection_begin_close_for(connection, error, connection_reason_of(connection, error));
}

void connection_begin_close_for(jd_tcp_connection *connection, int error, enum close_reason reason)
{
    if (connection_state(connection) >= CONNECTION_CLOSING)
        return;
    if (connection_state(connection) >= CONNECTION_BROKEN) { /* the first error counts */
        error = connection_first_error(connection);
        reason = connection_reason_of(connection, error);
    }
    if (error == 0 && connection->stream.flags & CONNECTION_ANSWERED_BAD_FRAME) {
        error = JD_EPROTO;
        reason = CLOSED_FRAME;
    }
    connection_set_state(connection, CONNECTION_CLOSING);
    connection->error = (int16_t)error; /* errno's values are below 4096 (errno(3), the kernel's MAX_ERRNO) */
    connection->close_reason = (uint8_t)reason;
    timer_cancel(&connection_loop(connection)->timers.wheel, &connection->timer);
    connection_forget_input(connection);
    connection_touch(connection, TODO_CLOSE);
}

bool connection_set_disconnecting(jd_tcp_connection *connection)
{
    uint8_t connected = CONNECTION_CONNECTED;

    return atomic_compare_exchange_strong(&connection->state, &connected, CONNECTION_DISCONNECTING);
}

bool connection_begin_disconnecting(jd_tcp_connection *connection, enum connection_command command)
{
    return connection_set_disconnecting(connection) ||
           (command == COMMAND_CLOSE_AFTER_OUTPUT && connection_state(connection) == CONNECTION_DISCONNECTING);
}

/* Sends the FIN, or closes if the peer's FIN has come, once no output is left: neither in the queue nor reserved by
 * other threads, whose sends have been accepted. */
void connection_finish_output(jd_tcp_connection *connection)
{
    if (connection->profile->awaits_next)
        connection_await_next(connection);
    if (connection->stream.flags & CONNECTION_CHECKS_PRESSURE)
        connection_meet_pressure(connection);
    if (connection_state(connection) < CONNECTION_CLOSING && connection->flags & CONNECTION_DISCARDS_INPUT)
        connection_discard_input(connection);
    if (connection_state(connection) != CONNECTION_DISCONNECTING || connection->flags & CONNECTION_FIN_SENT)
        return;
    if (output_queue_bytes(&connection->stream.output) > 0) {
        /* An engine may delay its report of a send in flight, but not while it is awaited (stream_needs_sent_report): the FIN
         * now awaits it. */
        connection_loop(connection)->ops->stream->flush(&connection->stream);
        return;
    }
    if (connection_reserved_bytes(atomic_load(&connection->reserved)) > 0)
        return;
    if (connection->flags & CONNECTION_PEER_ENDED) {
        connection_begin_close(connection, 0);
        return;
    }
    connection_loop(connection)->ops->stream->shutdown_write(&connection->stream);
    if (connection_state(connection) != CONNECTION_DISCONNECTING)
        return; /* broken: no FIN was sent */
    connection->flags |= CONNECTION_FIN_SENT;
    if (connection->flags & CONNECTION_DISCARDS_INPUT)
        connection_start_linger(connection);
    /* Closing now might send RST and cost the peer bytes that it has not read (stream_ops.close): wait for its FIN. */
    else if (connection->flags & CONNECTION_CLOSE_DRAINED) {
        connection->linger_ms = 0; /* the owner has a deadline of its own */
        connection_discard_input(connection);
    }
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
    /* Without a half-close callback, nothing would ever close the connection. */
    if (profile->allow_half_open && profile->on_half_close != NULL &&
        !(connection->flags & CONNECTION_DISCARDS_INPUT)) {
        profile->on_half_close(connection, profile->on_half_close_arg);
        if (connection_state(connection) >= CONNECTION_BROKEN)
            connection_begin_close(connection, 0);
        return;
    }
    if (connection_state(connection) >= CONNECTION_BROKEN) {
        connection_begin_close(connection, 0);
        return;
    }
    if (connection_await_answers(connection))
        return;
    connection_set_disconnecting(connection);
    connection_touch(connection, TODO_FINISH);
}

void connection_close_stream(jd_tcp_connection *connection)
{
    connection_loop(connection)->ops->stream->close(&connection->stream, connection->flags & CONNECTION_RESET);
}

void stream_closed(struct stream *stream)
{
    connection_drop_output(connection_of_stream(stream));
    connection_touch(connection_of_stream(stream), TODO_DOWN);
}

void connection_invoke_down(jd_tcp_connection *connection)
{
    const struct connection_profile *profile = connection->profile;
    struct connection_owner *owner = profile->owner;
    jd_event_loop *loop = connection_loop(connection);

    connection_set_state(connection, CONNECTION_DISCONNECTED);
    jd_buffer_destroy(connection->input);
    connection->input = NULL;
    loop->connections.open--;
    event_loop_release_output(loop);
    if (connection->flags & CONNECTION_UP) {
        counter_add(&loop->counters.connections_closed, 1);
        counter_add(&loop->counters.closed[connection->close_reason], 1);
        connection_report_error(connection);
        owner->up_changed(owner, connection, -1);
        if (profile->on_connection != NULL)
            profile->on_connection(connection, profile->on_connection_arg);
    } else {
        counter_add(&loop->counters.connections_failed, 1);
        connection_filter_count(connection);
    }
    owner->gone(owner, loop, connection->error);
    jd_tcp_connection_unref(connection);
}

/* The input is discarded at the turn's end: a message callback may be reading it. */
static void connection_close_after_output(jd_tcp_connection *connection, uint32_t linger_ms)
{
    if (connection_state(connection) >= CONNECTION_BROKEN) {
        connection_begin_close(connection, 0);
        return;
    }
    connection_keep_age(connection);
    connection->flags |= CONNECTION_DISCARDS_INPUT;
    connection->flags &= (uint16_t)~CONNECTION_AWAITS_FIRST_MESSAGE;
    connection->linger_ms = linger_ms;
    if (connection->flags & CONNECTION_FIN_SENT)
        connection_start_linger(connection);
    connection_touch(connection, TODO_FINISH);
}

void connection_execute_command(jd_tcp_connection *connection, enum connection_command command, uint32_t linger_ms)
{
    if (connection_state(connection) >= CONNECTION_CLOSING)
        return;
    switch (command) {
    case COMMAND_SEND: /* executed in connection_remote.c */
    case COMMAND_SEND_REFERENCE:
        break;
    case COMMAND_SHUTDOWN:
    case COMMAND_FINISH:
        connection_touch(connection, TODO_FINISH);
        if (connection->flags & CONNECTION_ABOVE_WATERMARK)
            connection_check_low_watermark(connection);
        break;
    case COMMAND_ANSWERED:
        connection_all_answered(connection);
        break;
    case COMMAND_CLOSE_AFTER_OUTPUT:
        connection_close_after_output(connection, linger_ms);
        break;
    case COMMAND_RESET:
        connection->flags |= CONNECTION_RESET;
        connection_begin_close(connection, 0);
        break;
    case COMMAND_CLOSE:
        connection_begin_close(connection, 0);
        break;
    }
}

static int connection_give_command(jd_tcp_connection *connection, enum connection_command command, uint32_t linger_ms)
{
    bool disconnects = command == COMMAND_SHUTDOWN || command == COMMAND_CLOSE_AFTER_OUTPUT;

    if (!event_loop_is_in_loop_thread(connection_loop(connection)))
        return connection_post_command(connection, command, linger_ms);
    if (disconnects && !connection_begin_disconnecting(connection, command))
        return JD_ENOTCONN;
    connection_execute_command(connection, command, linger_ms);
    return 0;
}

int jd_tcp_connection_shutdown(jd_tcp_connection *connection)
{
    return connection_give_command(connection, COMMAND_SHUTDOWN, 0);
}

int jd_tcp_connection_close(jd_tcp_connection *connection)
{
    return connection_give_command(connection, COMMAND_CLOSE, 0);
}

int jd_tcp_connection_reset(jd_tcp_connection *connection)
{
    return connection_give_command(connection, COMMAND_RESET, 0);
}

int jd_tcp_connection_close_after_output(jd_tcp_connection *connection, uint32_t linger_ms)
{
    enum { LINGER_DEFAULT_MS = 5000 };

    if (connection_timeout_check("close_after_output", "linger_ms", linger_ms) < 0)
        return JD_EINVAL;
    return connection_give_command(connection, COMMAND_CLOSE_AFTER_OUTPUT,
                                   linger_ms > 0 ? linger_ms : LINGER_DEFAULT_MS);
}

/* ---- queries ---- */

bool jd_tcp_connection_is_connected(const jd_tcp_connection *connection)
{
    enum connection_state state = connection_state(connection);

    return state >= CONNECTION_CONNECTED && state < CONNECTION_CLOSING;
}

int jd_tcp_connection_error(const jd_tcp_connection *connection)
{
    return connection_state(connection) >= CONNECTION_BROKEN ? connection_first_error(connection) : 0;
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
    connection->stream.flags |= STREAM_SHARED_DESCRIPTOR;
    *handle = connection->stream.socket;
    return 0;
}
