/* The end of a connection that is broken, while input is left. Output fails first: the queue is dropped, further sends are
 * refused. The input that has arrived is delivered, then the connection goes down with the first error. While reading is
 * paused, the peer-gone callback reports what has happened. */
#include "base/log.h"
#include "net/connection/tcp_connection.h"

#include <jinduo/error.h>

int connection_first_error(const jd_tcp_connection *connection)
{
    /* JD_EPIPE: the connection was reset behind the peer's FIN (Linux, tcp_reset). Or, behind our own FIN, a mistake. */
    return connection->error == JD_EPIPE && !(connection->flags & CONNECTION_FIN_SENT) ? JD_ECONNRESET
                                                                                       : connection->error;
}

static void connection_set_broken(jd_tcp_connection *connection, int error)
{
    connection_set_state(connection, CONNECTION_BROKEN);
    connection->error = (int16_t)error;
    connection->broken_bytes = 0;
    connection->flags &= (uint16_t)~CONNECTION_AWAITS_FIRST_MESSAGE;
    connection_touch(connection, TODO_PEER_GONE);
}

void stream_output_failed(struct stream *stream, int error)
{
    jd_tcp_connection *connection = connection_of_stream(stream);

    connection_drop_output(connection);
    if (connection_state(connection) < CONNECTION_BROKEN)
        connection_set_broken(connection, error);
    if (connection->flags & CONNECTION_DISCARDS_INPUT)
        connection_begin_close(connection, 0); /* nothing is left to be delivered */
    else if (connection->flags & CONNECTION_ABOVE_WATERMARK)
        connection_sink_to_watermark(connection);
}

void stream_failed(struct stream *stream, int error)
{
    connection_fail(connection_of_stream(stream), error);
}

void connection_fail(jd_tcp_connection *connection, int error)
{
    if (connection_state(connection) >= CONNECTION_FAILED)
        return;
    if (connection_state(connection) < CONNECTION_BROKEN)
        connection_set_broken(connection, error);
    connection_set_state(connection, CONNECTION_FAILED);
    if (connection->flags & CONNECTION_PAUSED_BY_OUTPUT)
        connection_end_pause(connection, CONNECTION_PAUSED_BY_OUTPUT);
    if (connection->flags & CONNECTION_END_DEFERRED)
        connection_touch(connection, TODO_INPUT); /* the FIN first, unless reading is paused */
    else if (connection->flags & CONNECTION_DISCARDS_INPUT || !connection_end_is_deferred(connection))
        connection_begin_close(connection, 0);
}

/* The peer, timeouts and the program end connections every day; a lack of memory, or an error of the system, should be
 * known to whoever runs the server. */
static jd_log_level connection_error_level(int error)
{
    enum jd_error_class kind = jd_error_class(error);

    return kind == JD_ERROR_RESOURCE || kind == JD_ERROR_MISUSE || kind == JD_ERROR_OTHER ? JD_LOG_WARNING
                                                                                          : JD_LOG_INFO;
}

/* The other reasons have log lines of their own. */
static bool connection_reason_is_untold(enum close_reason reason)
{
    return reason == CLOSED_BY_RESET || reason == CLOSED_NO_MEMORY || reason == CLOSED_OTHERWISE;
}

void connection_report_error(jd_tcp_connection *connection)
{
    jd_event_loop *loop = connection_loop(connection);
    jd_log_level level = connection_error_level(connection->error);
    char peer[JD_ENDPOINT_TEXT_BYTES];

    counters_add_error(&loop->counters, connection->error);
    if (connection->error == 0 || !connection_reason_is_untold((enum close_reason)connection->close_reason) ||
        !log_is_enabled(level) || !loop_may_log(loop))
        return;
    connection_peer_text(connection, peer);
    log_message(level, "%s: %s: connection closed: %s", connection->profile->name, peer,
                jd_strerror(connection->error));
}

void stream_end_seen(struct stream *stream)
{
    connection_of_stream(stream)->stream.flags |= CONNECTION_PEER_END_SEEN;
    connection_touch(connection_of_stream(stream), TODO_PEER_GONE);
}

void connection_invoke_peer_gone(jd_tcp_connection *connection)
{
    const struct connection_profile *profile = connection->profile;

    if (connection_state(connection) >= CONNECTION_CLOSING || profile->on_peer_gone == NULL ||
        !(connection->flags & (CONNECTION_PAUSED | CONNECTION_PAUSED_BY_OUTPUT)) ||
        connection->flags & CONNECTION_DISCARDS_INPUT || connection->stream.flags & CONNECTION_REPORTED_GONE)
        return;
    connection->stream.flags |= CONNECTION_REPORTED_GONE;
    profile->on_peer_gone(connection, jd_tcp_connection_error(connection), profile->on_peer_gone_arg);
}
