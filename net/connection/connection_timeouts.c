/* A connection's timeouts: one timer for all of them. What happens on the connection only notes the time; the timer looks
 * at the notes when the earliest of the timeouts may be due, and starts itself again for what is left. */
#include "base/log.h"
#include "net/connection/tcp_connection.h"

#include <jinduo/error.h>

enum { NS_PER_MS = 1000000 };

static const uint32_t never_ms = UINT32_MAX;

/* The clock has 32 bits. A note of the time is looked at this often at least, and brought up to the longest timeout's
 * distance: so it is never so old that it looks like one of the future. */
static const uint32_t look_again_ms = CONNECTION_TIMEOUT_MAX_MS / 2;

static uint32_t now_ms(const jd_tcp_connection *connection)
{
    return connection_loop(connection)->now_ms;
}

/* Since then; 0 for a note that is later than the turn's beginning. */
static uint32_t passed_ms(const jd_tcp_connection *connection, uint32_t since_ms)
{
    int32_t passed = (int32_t)(now_ms(connection) - since_ms);

    return passed > 0 ? (uint32_t)passed : 0;
}

static void bring_up(const jd_tcp_connection *connection, uint32_t *since_ms)
{
    if (passed_ms(connection, *since_ms) > CONNECTION_TIMEOUT_MAX_MS)
        *since_ms = now_ms(connection) - CONNECTION_TIMEOUT_MAX_MS;
}

static uint32_t earlier(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* What is left of a timeout when so much has passed: 0 when it is over, never_ms when there is none. One tick more than
 * asked for, as notes are rounded down to the millisecond and a timeout is never early. */
static uint32_t left_ms(uint32_t timeout_ms, uint32_t passed)
{
    if (timeout_ms == 0)
        return never_ms;
    return passed <= timeout_ms ? timeout_ms + 1 - passed : 0;
}

static uint32_t first_message_left_ms(const jd_tcp_connection *connection)
{
    if (!(connection->flags & CONNECTION_FIRST_MESSAGE))
        return never_ms;
    return left_ms(connection->profile->first_message_timeout_ms, passed_ms(connection, connection->up_ms));
}

static uint32_t idle_left_ms(const jd_tcp_connection *connection)
{
    return left_ms(connection->profile->idle_timeout_ms,
                   earlier(passed_ms(connection, connection->sent_ms), passed_ms(connection, connection->received_ms)));
}

static uint32_t read_left_ms(const jd_tcp_connection *connection)
{
    /* A pause, or the peer's FIN, is no silence of the peer's. */
    if (connection->flags & (CONNECTION_ANY_PAUSE | CONNECTION_PEER_ENDED))
        return connection->profile->read_timeout_ms > 0 ? connection->profile->read_timeout_ms : never_ms;
    return left_ms(connection->profile->read_timeout_ms, passed_ms(connection, connection->received_ms));
}

static uint32_t write_left_ms(const jd_tcp_connection *connection)
{
    if (output_queue_bytes(&connection->stream.output) == 0)
        return never_ms;
    return left_ms(connection->profile->write_timeout_ms, passed_ms(connection, connection->sent_ms));
}

static uint32_t heartbeat_left_ms(const jd_tcp_connection *connection)
{
    if (connection_state(connection) != CONNECTION_CONNECTED || connection->profile->on_heartbeat == NULL)
        return never_ms;
    /* Output that waits says as much as a heartbeat would, once it goes. */
    if (output_queue_bytes(&connection->stream.output) > 0)
        return connection->profile->heartbeat_ms > 0 ? connection->profile->heartbeat_ms : never_ms;
    return left_ms(connection->profile->heartbeat_ms, passed_ms(connection, connection->sent_ms));
}

static void start_timer(jd_tcp_connection *connection, uint32_t in_ms)
{
    jd_event_loop *loop = connection_loop(connection);

    connection->timer.kind = TIMER_CONNECTION;
    timer_start(&loop->timers.wheel, &connection->timer, (uint64_t)(loop->now / NS_PER_MS) + in_ms);
}

static void time_out(jd_tcp_connection *connection, const char *what, enum close_reason reason)
{
    char peer[JD_ENDPOINT_TEXT_BYTES];

    if (loop_may_log(connection_loop(connection))) {
        connection_peer_text(connection, peer);
        log_message(JD_LOG_INFO, "%s: %s: %s timeout: closing", connection->profile->name, peer, what);
    }
    connection_begin_close_for(connection, JD_ETIMEDOUT, reason);
}

static void beat(jd_tcp_connection *connection)
{
    const struct connection_profile *profile = connection->profile;

    flush_before_callback(connection_loop(connection));
    profile->on_heartbeat(connection, profile->on_heartbeat_arg);
}

void connection_check_timeouts(jd_tcp_connection *connection)
{
    uint32_t left, until_beat;

    bring_up(connection, &connection->received_ms);
    bring_up(connection, &connection->sent_ms);
    if (first_message_left_ms(connection) == 0)
        time_out(connection, "first message", CLOSED_FIRST_MESSAGE);
    else if (idle_left_ms(connection) == 0)
        time_out(connection, "idle", CLOSED_IDLE);
    else if (read_left_ms(connection) == 0)
        time_out(connection, "read", CLOSED_READ);
    else if (write_left_ms(connection) == 0)
        time_out(connection, "write", CLOSED_WRITE);
    else if (heartbeat_left_ms(connection) == 0)
        beat(connection);
    if (connection_state(connection) >= CONNECTION_CLOSING)
        return;
    left = earlier(first_message_left_ms(connection), idle_left_ms(connection));
    left = earlier(left, earlier(read_left_ms(connection), write_left_ms(connection)));
    /* A callback that has sent nothing is not asked again at once. */
    until_beat = heartbeat_left_ms(connection);
    left = earlier(left, until_beat > 0 ? until_beat : connection->profile->heartbeat_ms);
    if (left != never_ms)
        start_timer(connection, earlier(left, look_again_ms));
}

void connection_start_timeouts(jd_tcp_connection *connection)
{
    connection->up_ms = now_ms(connection);
    connection->received_ms = now_ms(connection);
    connection->sent_ms = now_ms(connection);
    if (connection->profile->first_message_timeout_ms > 0)
        connection->flags |= CONNECTION_FIRST_MESSAGE;
    connection_check_timeouts(connection);
}

void connection_expect_progress(jd_tcp_connection *connection)
{
    uint32_t write_ms = connection->profile->write_timeout_ms;
    uint64_t clock_ms, expiry_ms;

    if (write_ms == 0)
        return;
    /* Not the turn's time: a slow callback before the send is not the peer's fault. */
    clock_ms = (uint64_t)(event_loop_clock(connection_loop(connection)) / NS_PER_MS);
    expiry_ms = clock_ms + write_ms + 1;
    connection->sent_ms = (uint32_t)clock_ms;
    /* Moved only when it would come too late: at most once in a timeout's span, not with each message. */
    if (!timer_is_started(&connection->timer) || connection->timer.expiry_ms > expiry_ms) {
        connection->timer.kind = TIMER_CONNECTION;
        timer_start(&connection_loop(connection)->timers.wheel, &connection->timer, expiry_ms);
    }
}
