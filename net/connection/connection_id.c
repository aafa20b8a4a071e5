/* Ids of connections, and the tokens of their streams that engines hand to the kernel. Both are a slot of the loop's
 * slot map and its generation; an id also has the loop's index. So neither ever names a later connection. */
#include "base/memory.h"
#include "net/connection/tcp_connection.h"

#include <jinduo/error.h>

static jd_tcp_connection *connection_find_on_loop(const jd_event_loop *loop, jd_connection_id id)
{
    jd_tcp_connection *connection =
        slot_map_find(&loop->connections.map, (uint32_t)(id >> 32) & (SLOT_MAP_MAX_SLOTS - 1), (uint32_t)id);

    if (connection == NULL || !(connection->flags & CONNECTION_UP))
        return NULL;
    return connection_state(connection) < CONNECTION_DISCONNECTED ? connection : NULL;
}

uint64_t stream_token(const struct stream *stream)
{
    const jd_tcp_connection *connection =
        (const jd_tcp_connection *)((const char *)stream - offsetof(jd_tcp_connection, stream));

    return (uint64_t)connection->slot.slot << 32 | connection->slot.generation;
}

struct stream *stream_by_token(jd_event_loop *loop, uint64_t token)
{
    jd_tcp_connection *connection = slot_map_find(&loop->connections.map, (uint32_t)(token >> 32), (uint32_t)token);

    return connection != NULL ? &connection->stream : NULL;
}

const void *stream_address(const jd_event_loop *loop, uint64_t token)
{
    return slot_map_address(&loop->connections.map, (uint32_t)(token >> 32));
}

jd_connection_id jd_tcp_connection_id(const jd_tcp_connection *connection)
{
    return (uint64_t)connection_loop(connection)->index << 56 | stream_token(&connection->stream);
}

jd_tcp_connection *jd_tcp_connection_find(jd_connection_id id)
{
    const jd_event_loop *loop = event_loop_current();

    return loop != NULL && loop->index == id >> 56 ? connection_find_on_loop(loop, id) : NULL;
}

struct id_task {
    struct task_node task;
    jd_connection_id id;
    jd_connection_task function;
    void *arg;
};

static void id_task_run(struct task_node *task)
{
    struct id_task posted = *(struct id_task *)task;

    memory_release(task, sizeof(posted));
    posted.function(jd_tcp_connection_find(posted.id), posted.arg);
}

int jd_tcp_connection_post(jd_connection_id id, jd_connection_task function, void *arg)
{
    struct id_task *posted = memory_allocate(sizeof(*posted));
    int result;

    if (posted == NULL)
        return JD_ENOMEM;
    *posted = (struct id_task){ .task.run = id_task_run, .id = id, .function = function, .arg = arg };
    result = event_loop_push_by_index((uint8_t)(id >> 56), &posted->task);
    if (result < 0)
        memory_release(posted, sizeof(*posted));
    return result;
}
