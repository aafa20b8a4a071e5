/* A filter between the stream and the connection (net/filter/filter.h). The connection is open, but not up, until the filter
 * has finished. Until then it has a profile of its own, which holds the filter and its deadline; behind it the connection is
 * as one that never had a filter. */
#include "base/log.h"
#include "net/connection/tcp_connection.h"

#include <jinduo/error.h>

/* No other timeout runs. No callback can be invoked: the profile has input for none, and nothing is sent. */
static void profile_wait(struct connection_profile *own, uint32_t timeout_ms)
{
    own->first_message_timeout_ms = timeout_ms;
    own->idle_timeout_ms = own->read_timeout_ms = own->write_timeout_ms = 0;
    own->heartbeat_ms = own->max_age_ms = 0;
    connection_profile_derive(own);
}

int connection_await_header(jd_tcp_connection *connection)
{
    struct connection_profile *own;
    int result = connection_own_profile(connection, &own);

    if (result == 0) {
        own->filter = proxy_filter_create(own->proxy);
        result = own->filter != NULL ? 0 : JD_ENOMEM;
    }
    if (result < 0) {
        connection_begin_close(connection, result);
        return result;
    }
    connection->flags |= CONNECTION_FILTERED;
    profile_wait(own, own->proxy->timeout_ms);
    connection_start_timeouts(connection);
    return 0;
}

/* The filter has finished: its connection is as it was when it was opened. */
static void connection_end_filter(jd_tcp_connection *connection)
{
    struct connection_profile *own = connection->profile;

    timer_cancel(&connection_loop(connection)->timers.wheel, &connection->timer);
    connection->flags &= (uint16_t) ~(CONNECTION_FILTERED | CONNECTION_AWAITS_FIRST_MESSAGE);
    connection_forget_input(connection);
    jd_buffer_destroy(connection->input);
    connection->input = NULL;
    atomic_fetch_add_explicit(&own->base->references, 1, memory_order_relaxed);
    connection->profile = own->base;
    connection_profile_release(own); /* ends the filter */
}

static void connection_refuse_header(jd_tcp_connection *connection, int error, const char *reason)
{
    char peer[JD_ENDPOINT_TEXT_BYTES];

    if (loop_may_log(connection_loop(connection))) {
        connection_peer_text(connection, peer);
        log_message(JD_LOG_WARNING, "%s: %s: PROXY header refused: %s; connection closed", connection->profile->name,
                    peer, reason);
    }
    connection_begin_close_for(connection, error, CLOSED_FRAME);
}

/* Sets *data and *length to all bytes that the filter has not seen the end of. Returns false without memory: the connection is
 * closing. */
static bool connection_gather(jd_tcp_connection *connection, const struct block *block, const uint8_t **data,
                              size_t *length)
{
    *data = block->data + block->begin;
    *length = block_length(block);
    if (connection->input == NULL)
        return true;
    if (!connection_append_input(connection, *data, *length))
        return false;
    *length = jd_buffer_readable(connection->input);
    *data = jd_buffer_peek(connection->input, *length);
    if (*data == NULL)
        connection_begin_close(connection, JD_ENOMEM);
    return *data != NULL;
}

bool connection_filter_input(jd_tcp_connection *connection, struct block *block)
{
    struct filter *filter = connection->profile->filter;
    const char *reason = NULL;
    const uint8_t *data;
    size_t length;
    ptrdiff_t used;

    if (!(connection->flags & CONNECTION_FILTERED))
        return false; /* the input is discarded */
    if (connection_state(connection) != CONNECTION_ACCEPTED) {
        connection_begin_close(connection, 0); /* broken already: nobody could be answered */
        return false;
    }
    if (!connection_gather(connection, block, &data, &length))
        return false;
    used = filter->input(filter, data, length, &connection->peer, &reason);
    if (used < 0) {
        connection_refuse_header(connection, (int)used, reason);
        return false;
    }
    if (used == 0) {
        if (connection->input != NULL || connection_append_input(connection, data, length))
            connection_count_input(connection);
        return false;
    }
    /* What is left is the end of this block: the filter had not finished before it. */
    block->begin = block->end - (uint32_t)(length - (size_t)used);
    connection_end_filter(connection);
    connection_come_up(connection);
    return block_length(block) > 0 && connection_state(connection) < CONNECTION_CLOSING &&
           !(connection->flags & CONNECTION_DISCARDS_INPUT);
}

void connection_filter_ended(jd_tcp_connection *connection)
{
    connection->flags |= CONNECTION_PEER_ENDED;
    connection_begin_close(connection, 0);
}

/* A server's stop, and a lack of memory, say nothing about the header. */
void connection_filter_count(const jd_tcp_connection *connection)
{
    struct loop_counters *counters = &connection_loop(connection)->counters;

    if (!(connection->flags & CONNECTION_FILTERED))
        return;
    if (connection->close_reason == CLOSED_FRAME)
        counter_add(&counters->proxy_headers_invalid, 1);
    else if (connection->close_reason == CLOSED_BY_PEER || connection->close_reason == CLOSED_BY_RESET ||
             connection->close_reason == CLOSED_FIRST_MESSAGE || connection->close_reason == CLOSED_OTHERWISE)
        counter_add(&counters->proxy_headers_missing, 1);
}
