/* jd_tcp_server_for_each: a task on each loop that has connections visits some of them per turn; the last of these
 * tasks to end queues one on the base loop, which invokes done. */
#include "base/memory.h"
#include "net/server/server.h"

#include <jinduo/error.h>

/* A bound, so that events and other tasks of the loop are not delayed for long. */
enum { VISITS_PER_TURN = 1024 };

struct loop_visit {
    struct task_node task;
    struct visit *visit;
    struct server_loop *slot;
    uint32_t next_map_slot;
};

struct visit {
    struct task_node begin, end;
    jd_tcp_server *server;
    jd_connection_task function;
    void *arg;
    jd_done_callback done;
    void *done_arg;
    _Atomic unsigned unfinished;
    unsigned loops;
    struct loop_visit on_loop[];
};

static size_t visit_bytes(unsigned loops)
{
    return sizeof(struct visit) + loops * sizeof(struct loop_visit);
}

static void visit_finish(struct visit *visit)
{
    jd_done_callback done = visit->done;
    void *arg = visit->done_arg;

    memory_release(visit, visit_bytes(visit->loops));
    if (done != NULL)
        done(arg);
}

static void visit_run_end(struct task_node *task)
{
    struct visit *visit = (struct visit *)((char *)task - offsetof(struct visit, end));
    jd_tcp_server *server = visit->server;

    visit_finish(visit);
    server_unref(server);
}

/* A connection that function closes is freed at the turn's end at the earliest. One that comes up during the visit may
 * be visited or not. */
static void loop_visit_run(struct task_node *task)
{
    struct loop_visit *here = (struct loop_visit *)task;
    struct visit *visit = here->visit;
    jd_event_loop *loop = here->slot->loop;
    jd_tcp_connection *connection;

    for (int i = 0; i < VISITS_PER_TURN; i++) {
        connection = slot_map_next(&loop->connections.map, here->next_map_slot);
        if (connection == NULL)
            break;
        here->next_map_slot = connection->slot.slot + 1;
        if (connection->profile->owner != &visit->server->owner || !jd_tcp_connection_is_connected(connection) ||
            !(connection->flags & CONNECTION_UP))
            continue;
        flush_before_callback(loop);
        visit->function(connection, visit->arg);
    }
    if (connection != NULL)
        event_loop_push(loop, &here->task);
    else if (atomic_fetch_sub(&visit->unfinished, 1) == 1)
        event_loop_push(visit->server->loop, &visit->end);
}

static void visit_run_begin(struct task_node *task)
{
    struct visit *visit = (struct visit *)task;
    jd_tcp_server *server = visit->server;
    bool has_connections = (server->io_threads == 0 || server->threads != NULL) && server_ref(server);

    atomic_fetch_sub(&server->pending_commands, 1);
    if (!has_connections) {
        visit_finish(visit);
        return;
    }
    atomic_init(&visit->unfinished, visit->loops);
    for (unsigned i = 0; i < visit->loops; i++) {
        struct server_loop *slot = server->io_threads > 0 ? &server->io_loops[i] : &server->base_loop;
        visit->on_loop[i] = (struct loop_visit){ .task.run = loop_visit_run, .visit = visit, .slot = slot };
        event_loop_push(slot->loop, &visit->on_loop[i].task);
    }
}

int jd_tcp_server_for_each(jd_tcp_server *server, jd_connection_task function, void *arg, jd_done_callback done,
                           void *done_arg)
{
    unsigned loops = server->io_threads > 0 ? server->io_threads : 1;
    struct visit *visit = memory_allocate_zeroed(visit_bytes(loops));

    if (visit == NULL)
        return JD_ENOMEM;
    visit->begin.run = visit_run_begin;
    visit->end.run = visit_run_end;
    visit->server = server;
    visit->function = function;
    visit->arg = arg;
    visit->done = done;
    visit->done_arg = done_arg;
    visit->loops = loops;
    atomic_fetch_add(&server->pending_commands, 1);
    if (event_loop_push_with_ref(server->loop, &visit->begin))
        return 0;
    atomic_fetch_sub(&server->pending_commands, 1);
    memory_release(visit, visit_bytes(loops));
    return JD_ECANCELED;
}
