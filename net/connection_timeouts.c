/* A connection's timeouts: one timer for all of them. What happens on the connection only notes the time; the timer looks
 * at the notes when the earliest of the timeouts may be due, and starts itself again for what is left. */
#include "base/log.h"
#include "net/tcp_connection.h"

#include <jinduo/error.h>

static const uint32_t never_ms = UINT32_MAX;

static uint32_t now_ms(const jd_tcp_connection *connection)
{
    return connection_loop(connection)->now_ms;
}

static uint32_t earlier(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* What is left of a timeout that began at since_ms: 0 when it is over, never_ms when there is none. */
static uint32_t left_ms(const jd_tcp_connection *connection, uint32_t timeout_ms, uint32_t since_ms)
{
    uint32_t passed_ms = now_ms(connection) - since_ms;

    if (timeout_ms == 0)
        return never_ms;
    return passed_ms < timeout_ms ? timeout_ms - passed_ms : 0;
}

static uint32_t first_message_left_ms(const jd_tcp_connection *connection)
{
    int32_t left = (int32_t)(connection->first_message_by_ms - now_ms(connection));

    if (!(connection->flags & CONNECTION_FIRST_MESSAGE))
        return never_ms;
    return left > 0 ? (uint32_t)left : 0;
}

static uint32_t idle_left_ms(const jd_tcp_connection *connection)
{
    bool sent_later = (int32_t)(connection->sent_ms - connection->received_ms) > 0;

    return left_ms(connection, connection->profile->idle_timeout_ms,
                   sent_later ? connection->sent_ms : connection->received_ms);
}

static uint32_t read_left_ms(const jd_tcp_connection *connection)
{
    /* A pause, or the peer's FIN, is no silence of the peer's. */
    if (connection->flags & (CONNECTION_ANY_PAUSE | CONNECTION_PEER_ENDED))
        return connection->profile->read_timeout_ms > 0 ? connection->profile->read_timeout_ms : never_ms;
    return left_ms(connection, connection->profile->read_timeout_ms, connection->received_ms);
}

static uint32_t write_left_ms(const jd_tcp_connection *connection)
{
    if (output_queue_bytes(&connection->stream.output) == 0)
        return never_ms;
    return left_ms(connection, connection->profile->write_timeout_ms, connection->sent_ms);
}

static uint32_t heartbeat_left_ms(const jd_tcp_connection *connection)
{
    if (connection_state(connection) != CONNECTION_CONNECTED)
        return never_ms;
    return left_ms(connection, connection->profile->heartbeat_ms, connection->sent_ms);
}

/* One tick more: the clock's millisecond has been rounded down, and a timeout is never early. */
static void start_timer(jd_tcp_connection *connection, uint32_t in_ms)
{
    jd_event_loop *loop = connection_loop(connection);

    connection->timer.kind = TIMER_CONNECTION;
    timer_start(&loop->wheel, &connection->timer, (uint64_t)(loop->now / 1000000) + in_ms + 1);
}

static void time_out(jd_tcp_connection *connection, const char *what)
{
    char peer[JD_ENDPOINT_TEXT_BYTES];
    jd_endpoint endpoint;

    jd_tcp_connection_peer_endpoint(connection, &endpoint);
    jd_endpoint_format(&endpoint, peer, sizeof(peer));
    log_message(JD_LOG_INFO, "%s: %s: %s timeout: closing", connection->profile->name, peer, what);
    connection_begin_close(connection, JD_ETIMEDOUT);
}

static void beat(jd_tcp_connection *connection)
{
    const struct connection_profile *profile = connection->profile;

    /* Counted as sent even if the callback sends nothing: the next is a whole interval away. */
    connection->sent_ms = now_ms(connection);
    flush_before_callback(connection_loop(connection));
    if (profile->on_heartbeat != NULL)
        profile->on_heartbeat(connection, profile->on_heartbeat_arg);
}

void connection_check_timeouts(jd_tcp_connection *connection)
{
    uint32_t left;

    if (first_message_left_ms(connection) == 0)
        time_out(connection, "first message");
    else if (idle_left_ms(connection) == 0)
        time_out(connection, "idle");
    else if (read_left_ms(connection) == 0)
        time_out(connection, "read");
    else if (write_left_ms(connection) == 0)
        time_out(connection, "write");
    else if (heartbeat_left_ms(connection) == 0)
        beat(connection);
    if (connection_state(connection) >= CONNECTION_CLOSING)
        return;
    left = earlier(first_message_left_ms(connection), idle_left_ms(connection));
    left = earlier(left, earlier(read_left_ms(connection), write_left_ms(connection)));
    left = earlier(left, heartbeat_left_ms(connection));
    if (left != never_ms)
        start_timer(connection, left);
}

void connection_start_timeouts(jd_tcp_connection *connection)
{
    uint32_t first_ms = connection->profile->first_message_timeout_ms;

    connection->received_ms = now_ms(connection);
    connection->sent_ms = now_ms(connection);
    if (first_ms > 0) {
        connection->flags |= CONNECTION_FIRST_MESSAGE;
        connection->first_message_by_ms = now_ms(connection) + first_ms;
    }
    connection_check_timeouts(connection);
}

void connection_expect_progress(jd_tcp_connection *connection)
{
    uint32_t write_ms = connection->profile->write_timeout_ms;
    uint64_t expiry_ms = (uint64_t)(connection_loop(connection)->now / 1000000) + write_ms + 1;

    connection->sent_ms = now_ms(connection);
    /* Moved only when it would come too late: at most once in a timeout's span, not with each message. */
    if (write_ms > 0 && (!timer_is_started(&connection->timer) || connection->timer.expiry_ms > expiry_ms))
        start_timer(connection, write_ms);
}
