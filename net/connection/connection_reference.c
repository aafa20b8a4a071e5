/* References to a connection. Its memory is freed in its loop's thread, also when the last reference is given back in
 * another thread: then a task brings the connection to the loop. */
#include "net/connection/tcp_connection.h"

/* All but the slot: the slots of a loop that has ended are freed with the loop's memory. From any thread. */
static void connection_free(jd_tcp_connection *connection)
{
    if (connection->context_destructor != NULL)
        connection->context_destructor(connection->context);
    connection_profile_release(connection->profile);
}

void connection_free_in_loop(jd_tcp_connection *connection)
{
    jd_event_loop *loop = connection_loop(connection);

    connection_free(connection);
    slot_map_free(&loop->connections.map, connection);
    event_loop_unref_memory(loop);
}

/* To be freed at the turn's end: events of this turn may still point to the connection. */
static void connection_queue_for_free(jd_tcp_connection *connection)
{
    jd_event_loop *loop = connection_loop(connection);

    connection->next = loop->connections.dead;
    loop->connections.dead = connection;
}

static void connection_run_return(struct task_node *task)
{
    connection_queue_for_free((jd_tcp_connection *)((char *)task - offsetof(jd_tcp_connection, return_task)));
}

jd_tcp_connection *jd_tcp_connection_ref(jd_tcp_connection *connection)
{
    atomic_fetch_add_explicit(&connection->references, 1, memory_order_relaxed);
    return connection;
}

void jd_tcp_connection_unref(jd_tcp_connection *connection)
{
    jd_event_loop *loop = connection_loop(connection);

    /* The only reference: no other thread can take or give back one, so no read-modify-write is needed. */
    if (atomic_load_explicit(&connection->references, memory_order_acquire) > 1 &&
        atomic_fetch_sub_explicit(&connection->references, 1, memory_order_acq_rel) > 1)
        return;
    if (event_loop_is_in_loop_thread(loop)) {
        connection_queue_for_free(connection);
        return;
    }
    /* The loop may end meanwhile. This reference to its memory keeps the queue, which then refuses the task, and the
     * connection's slot. */
    event_loop_ref_memory(loop);
    connection->return_task.run = connection_run_return;
    if (!event_loop_push(loop, &connection->return_task)) {
        connection_free(connection);
        event_loop_unref_memory(loop);
    }
    event_loop_unref_memory(loop);
}
