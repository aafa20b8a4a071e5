/* Flushing and settling: the loop's list of touched connections (terms: tcp_connection.h).
 *
 * The output that callbacks queue on a connection is sent in one gathered operation. It is flushed:
 * 1. after the callback that answers its own connection's input (stream_received), if the engine sends at once;
 * 2. else at the turn's end;
 * 3. or early, by the flush policy (jd_event_loop_options): at flush_bytes on one connection, at flush_connections
 *    connections, or before a callback when the oldest output is flush_age_us old. */
#include "net/connection/tcp_connection.h"
#include "net/loop/event_loop.h"

/* At most so many callbacks between two readings of the clock: a callback that has been quick may be slow this time. */
enum { AGE_STEP_MAX = 16 };

void connection_flush(jd_tcp_connection *connection)
{
    jd_event_loop *loop = connection_loop(connection);

    if (!(connection->todo & TODO_FLUSH))
        return;
    connection->todo &= (uint8_t)~TODO_FLUSH;
    connection->flags &= (uint16_t)~CONNECTION_SPARED;
    loop->flush.unflushed--;
    if (connection->flags & CONNECTION_RESET)
        return;
    counter_add(&loop->counters.flushes, 1);
    loop->ops->stream->flush(&connection->stream);
}

/* Whether the oldest unflushed output has reached flush_age_us. Reading the clock before each callback would cost more
 * than a small callback: the number of callbacks between readings doubles while the callbacks are quick. */
static bool flush_output_is_old(jd_event_loop *loop)
{
    jd_timestamp clock = event_loop_clock(loop);
    int64_t passed_ns = clock - loop->flush.age_clock;
    bool quick = passed_ns < loop->flush.policy.age_ns / 4;

    loop->flush.age_step = !quick ? 1 : loop->flush.age_step < AGE_STEP_MAX ? loop->flush.age_step * 2 : AGE_STEP_MAX;
    loop->flush.age_check = loop->flush.age_step;
    loop->flush.age_clock = clock;
    return clock - loop->flush.oldest_output >= loop->flush.policy.age_ns;
}

/* Flushes all touched connections except spared (may be NULL). Connections without further work leave the list. */
static void touched_flush(jd_event_loop *loop, const jd_tcp_connection *spared)
{
    jd_tcp_connection **link = &loop->flush.touched_first;

    while (*link != NULL) {
        jd_tcp_connection *connection = *link;
        if (connection != spared)
            connection_flush(connection);
        if (connection->todo != 0) {
            link = &connection->next;
            continue;
        }
        *link = connection->next;
        connection->flags &= (uint16_t)~CONNECTION_TOUCHED;
    }
    loop->flush.touched_link = link;
}

/* Makes an engine that gathers sends for its next wait submit them now. */
static void engine_push(jd_event_loop *loop)
{
    if (loop->ops->push != NULL)
        loop->ops->push(loop->engine);
}

void connection_flush_early(jd_tcp_connection *connection)
{
    connection_flush(connection);
    engine_push(connection_loop(connection));
}

/* Returns the connection to leave out of an early flush: the one whose input is being delivered. More responses follow,
 * and splitting them splits the peer's next batch, of which each part costs as much as the whole. Its old output is
 * spared only once. */
static jd_tcp_connection *flush_choose_spared(jd_event_loop *loop, bool is_old)
{
    jd_tcp_connection *connection = loop->delivery.answering;

    if (!is_old || connection == NULL || !(connection->todo & TODO_FLUSH))
        return connection;
    if (connection->flags & CONNECTION_SPARED)
        return NULL;
    connection->flags |= CONNECTION_SPARED;
    return connection;
}

/* On a loop that measures: measures, and does what flush_before_callback would do. Returns the number of connections with unsent
 * output. */
static uint32_t flush_measure(jd_event_loop *loop)
{
    jd_timestamp now = loop_measure_callback(loop);
    uint32_t unflushed = loop->flush.unflushed - UNFLUSHED_BIAS;

    if (unflushed == 0)
        loop->flush.oldest_output = now;
    return unflushed;
}

void flush_early(jd_event_loop *loop)
{
    uint32_t unflushed = loop->measure.on ? flush_measure(loop) : loop->flush.unflushed;
    bool is_old;

    if (unflushed == 0)
        return;
    is_old = flush_output_is_old(loop);
    if (!is_old && unflushed < loop->flush.policy.connections)
        return;
    touched_flush(loop, flush_choose_spared(loop, is_old));
    engine_push(loop);
    /* The time that the sends took does not count for the age of the next output. */
    loop->flush.age_clock = event_loop_clock(loop);
    if (is_old)
        loop->flush.oldest_output = loop->flush.age_clock;
}

static void touched_append(jd_event_loop *loop, jd_tcp_connection *connection)
{
    connection->next = NULL;
    *loop->flush.touched_link = connection;
    loop->flush.touched_link = &connection->next;
}

void connection_touch(jd_tcp_connection *connection, unsigned todo)
{
    jd_event_loop *loop = connection_loop(connection);

    if (connection_state(connection) == CONNECTION_DISCONNECTED)
        return; /* no work is left, and next may link the list of dead connections */
    if (todo & ~(unsigned)connection->todo & TODO_FLUSH && loop->flush.unflushed++ == 0)
        loop->flush.oldest_output = loop->flush.age_clock;
    connection->todo |= (uint8_t)todo;
    if (connection->flags & CONNECTION_TOUCHED)
        return;
    connection->flags |= CONNECTION_TOUCHED;
    touched_append(loop, connection);
}

static bool connection_take_todo(jd_tcp_connection *connection, unsigned todo)
{
    bool is_set = (connection->todo & todo) != 0;

    connection->todo &= (uint8_t)~todo;
    return is_set;
}

/* Does the pending work of one connection. Callbacks come before the close, which they may ask for and which would
 * suppress them; down comes last. A step may add work: for a later step, it is done here; for an earlier one, in the
 * next turn. */
static void connection_settle(jd_tcp_connection *connection)
{
    if (connection_take_todo(connection, TODO_WATERMARK))
        connection_invoke_watermark(connection);
    if (connection_take_todo(connection, TODO_PEER_GONE))
        connection_invoke_peer_gone(connection);
    if (connection_take_todo(connection, TODO_WRITE_COMPLETE))
        connection_invoke_write_complete(connection);
    if (connection_take_todo(connection, TODO_INPUT))
        connection_deliver_deferred(connection);
    if (connection_take_todo(connection, TODO_FINISH))
        connection_finish_output(connection);
    if (connection->todo & TODO_CLOSE) {
        connection_flush(connection);
        connection->todo = (uint8_t)(connection->todo & TODO_DOWN);
        connection_close_stream(connection);
    }
    if (connection->todo & TODO_DOWN) {
        connection->todo = 0; /* drop work that bytes sent during the close have added */
        connection_invoke_down(connection);
    }
}

unsigned settle_connections(jd_event_loop *loop)
{
    jd_tcp_connection *connection;
    unsigned count = loop->flush.unflushed;

    touched_flush(loop, NULL);
    connection = loop->flush.touched_first;
    loop->flush.touched_first = NULL;
    loop->flush.touched_link = &loop->flush.touched_first;
    for (jd_tcp_connection *next; connection != NULL; connection = next, count++) {
        next = connection->next;
        flush_before_callback(loop);
        /* CONNECTION_TOUCHED stays set, so that nothing links the connection into the new list while it may go down
         * here. */
        connection_settle(connection);
        if (connection->todo != 0)
            touched_append(loop, connection);
        else
            connection->flags &= (uint16_t)~CONNECTION_TOUCHED;
    }
    return count;
}
