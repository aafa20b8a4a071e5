/* The connections of a loop as one of its services (net/loop/loop_services.h). */
#include "net/connection/tcp_connection.h"

static void connections_init(jd_event_loop *loop, uint32_t first_generation)
{
    slot_map_init(&loop->connections.map, sizeof(jd_tcp_connection), first_generation);
    ring_buffer_init(&loop->delivery.view);
    loop->flush.touched_link = &loop->flush.touched_first;
}

static void connection_timer_expired(struct timer *timer)
{
    connection_check_timeouts((jd_tcp_connection *)((char *)timer - offsetof(jd_tcp_connection, timer)));
}

/* Leaves connections alone that are draining already, and those of jd_tcp_connection_close_after_output: their answer may not
 * have arrived although nothing is queued. */
static void connection_close_drained(jd_tcp_connection *connection)
{
    if (connection->flags & (CONNECTION_CLOSE_DRAINED | CONNECTION_DISCARDS_INPUT))
        return;
    if (connection_await_answers(connection)) {
        /* No further requests: they would put off the end. The input is discarded at the turn's end, as in
         * jd_tcp_connection_close_after_output, but the owner has a deadline of its own. */
        connection->flags |= CONNECTION_CLOSE_DRAINED | CONNECTION_DISCARDS_INPUT;
        connection->flags &= (uint16_t)~CONNECTION_AWAITS_FIRST_MESSAGE;
        connection->linger_ms = 0;
        connection_touch(connection, TODO_FINISH);
        return;
    }
    if (jd_tcp_connection_queued_bytes(connection) == 0 || connection_state(connection) >= CONNECTION_BROKEN) {
        connection_begin_close(connection, 0);
        return;
    }
    connection->flags |= CONNECTION_CLOSE_DRAINED;
    connection_set_disconnecting(connection);
    connection_touch(connection, TODO_FINISH);
}

void connections_close(jd_event_loop *loop, const struct connection_owner *owner, enum closing closing)
{
    jd_tcp_connection *connection;

    for (uint32_t slot = 0; (connection = slot_map_next(&loop->connections.map, slot)) != NULL;
         slot = connection->slot.slot + 1) {
        if (connection_state(connection) >= CONNECTION_CLOSING ||
            (owner != NULL && connection->profile->owner != owner))
            continue;
        if (closing == CLOSING_DRAINED)
            connection_close_drained(connection);
        else
            connection_begin_close_for(connection, 0, closing == CLOSING_OVERDUE ? CLOSED_OVERDUE : CLOSED_LOCALLY);
    }
}

static bool connections_are_all_closed(const jd_event_loop *loop)
{
    return loop->connections.open == 0;
}

static int connections_close_all(jd_event_loop *loop)
{
    connections_close(loop, NULL, CLOSING_NOW);
    return event_loop_turn_until(loop, connections_are_all_closed);
}

static void connections_free_dead(jd_event_loop *loop)
{
    /* One by one: a context's destructor may give back references to other connections, which joins them to the
     * list. */
    while (loop->connections.dead != NULL) {
        jd_tcp_connection *connection = loop->connections.dead;
        loop->connections.dead = connection->next;
        connection_free_in_loop(connection);
    }
}

const struct loop_service connection_service = {
    .init = connections_init,
    .flush_early = flush_early,
    .settle = settle_connections,
    .timer_expired = connection_timer_expired,
    .end_all = connections_close_all,
    .free_dead = connections_free_dead,
};
