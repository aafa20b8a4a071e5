/* Flushing: output that handlers queued is sent in one gathered operation for each connection: answers to its own input
 * when that has been dealt with (stream_received), the rest at the turn's end, or earlier when the policy says so
 * (jd_event_loop_options). */
#include "net/connection/tcp_connection.h"
#include "net/loop/event_loop.h"

/* At most so many callbacks between two readings of the clock: a handler that has been fast may be slow this time. */
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

/* Reading the clock before each callback would cost more than a small handler: the distance between readings doubles
 * while they find that the handlers are quick. */
static bool output_is_old(jd_event_loop *loop)
{
    jd_timestamp clock = event_loop_clock(loop);
    int64_t passed_ns = clock - loop->flush.age_clock;
    bool quick = passed_ns < loop->flush.policy.age_ns / 4;

    loop->flush.age_step = !quick ? 1 : loop->flush.age_step < AGE_STEP_MAX ? loop->flush.age_step * 2 : AGE_STEP_MAX;
    loop->flush.age_check = loop->flush.age_step;
    loop->flush.age_clock = clock;
    return clock - loop->flush.oldest_output >= loop->flush.policy.age_ns;
}

/* Flushes what is on the list, but for the spared one's (or NULL); connections with nothing else to do leave it. */
static void flush_touched(jd_event_loop *loop, const jd_tcp_connection *spared)
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

/* What an engine gathers until the turn's end leaves now. */
static void push(jd_event_loop *loop)
{
    if (loop->ops->push != NULL)
        loop->ops->push(loop->engine);
}

void connection_flush_early(jd_tcp_connection *connection)
{
    connection_flush(connection);
    push(connection_loop(connection));
}

/* What answers the input that is being dealt with stays behind: more follows, and a peer that gets its answers in two parts
 * goes on in two parts, each of which costs what the whole does. But only once, if what waits is old. */
static jd_tcp_connection *spare(jd_event_loop *loop, bool is_old)
{
    jd_tcp_connection *connection = loop->delivery.answering;

    if (!is_old || connection == NULL || !(connection->todo & TODO_FLUSH))
        return connection;
    if (connection->flags & CONNECTION_SPARED)
        return NULL;
    connection->flags |= CONNECTION_SPARED;
    return connection;
}

void flush_early(jd_event_loop *loop)
{
    bool is_old = output_is_old(loop);

    if (!is_old && loop->flush.unflushed < loop->flush.policy.connections)
        return;
    flush_touched(loop, spare(loop, is_old));
    push(loop);
    /* The sends' own time makes nothing old. */
    loop->flush.age_clock = event_loop_clock(loop);
    if (is_old)
        loop->flush.oldest_output = loop->flush.age_clock;
}

static void append_touched(jd_event_loop *loop, jd_tcp_connection *connection)
{
    connection->next = NULL;
    *loop->flush.touched_link = connection;
    loop->flush.touched_link = &connection->next;
}

void connection_touch(jd_tcp_connection *connection, unsigned todo)
{
    jd_event_loop *loop = connection_loop(connection);

    if (connection_state(connection) == CONNECTION_DISCONNECTED)
        return; /* nothing is left to be done, and it may be on the list of the dead */
    if (todo & ~(unsigned)connection->todo & TODO_FLUSH && loop->flush.unflushed++ == 0)
        loop->flush.oldest_output = loop->flush.age_clock;
    connection->todo |= (uint8_t)todo;
    if (connection->flags & CONNECTION_TOUCHED)
        return;
    connection->flags |= CONNECTION_TOUCHED;
    append_touched(loop, connection);
}

static bool take_todo(jd_tcp_connection *connection, unsigned todo)
{
    bool is_set = (connection->todo & todo) != 0;

    connection->todo &= (uint8_t)~todo;
    return is_set;
}

/* In this order: what is told before the end that it may ask for or that would leave it untold, down last. A step may ask
 * for a later one, which is then done here, or an earlier one, which waits for the next turn. */
static void settle(jd_tcp_connection *connection)
{
    if (take_todo(connection, TODO_WATERMARK))
        connection_invoke_watermark(connection);
    if (take_todo(connection, TODO_WRITE_COMPLETE))
        connection_invoke_write_complete(connection);
    if (take_todo(connection, TODO_INPUT))
        connection_deliver_deferred(connection);
    if (take_todo(connection, TODO_FINISH))
        connection_finish_output(connection);
    if (connection->todo & TODO_CLOSE) {
        connection_flush(connection);
        connection->todo = (uint8_t)(connection->todo & TODO_DOWN);
        connection_close_stream(connection);
    }
    if (connection->todo & TODO_DOWN) {
        connection->todo = 0; /* what was sent while closing has asked for more, which is too late */
        connection_invoke_down(connection);
    }
}

unsigned settle_connections(jd_event_loop *loop)
{
    jd_tcp_connection *connection;
    unsigned count = loop->flush.unflushed;

    flush_touched(loop, NULL);
    connection = loop->flush.touched_first;
    loop->flush.touched_first = NULL;
    loop->flush.touched_link = &loop->flush.touched_first;
    for (jd_tcp_connection *next; connection != NULL; connection = next, count++) {
        next = connection->next;
        flush_before_callback(loop);
        /* It counts as touched meanwhile, so that nothing links it into the new list while it may die here. */
        settle(connection);
        if (connection->todo != 0)
            append_touched(loop, connection);
        else
            connection->flags &= (uint16_t)~CONNECTION_TOUCHED;
    }
    return count;
}
