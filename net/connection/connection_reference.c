/* References to a connection, and the end of its memory: in its loop, wherever the last reference is given back. */
#include "net/connection/tcp_connection.h"

void connection_free(jd_tcp_connection *connection)
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

static void queue_for_free(jd_tcp_connection *connection)
{
    jd_event_loop *loop = connection_loop(connection);

    connection->next = loop->connections.dead;
    loop->connections.dead = connection;
}

static void arrive_home(struct task_node *task)
{
    queue_for_free((jd_tcp_connection *)((char *)task - offsetof(jd_tcp_connection, home)));
}

jd_tcp_connection *jd_tcp_connection_ref(jd_tcp_connection *connection)
{
    atomic_fetch_add_explicit(&connection->references, 1, memory_order_relaxed);
    return connection;
}

void jd_tcp_connection_unref(jd_tcp_connection *connection)
{
    jd_event_loop *loop = connection_loop(connection);

    /* Who holds the only reference needs no read-modify-write to give it back: nobody is left who could take another. */
    if (atomic_load_explicit(&connection->references, memory_order_acquire) > 1 &&
        atomic_fetch_sub_explicit(&connection->references, 1, memory_order_acq_rel) > 1)
        return;
    if (event_loop_is_mine(loop)) {
        queue_for_free(connection);
        return;
    }
    /* The loop may be ending: a reference on its shell keeps the queue, which then refuses, and the connection's slot. */
    event_loop_ref_memory(loop);
    connection->home.run = arrive_home;
    if (!event_loop_push(loop, &connection->home)) {
        connection_free(connection);
        event_loop_unref_memory(loop);
    }
    event_loop_unref_memory(loop);
}
