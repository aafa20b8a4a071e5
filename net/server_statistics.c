/* What a server has done, over all its loops. */
#include "net/server.h"

void server_connection_seen(jd_tcp_server *server, int change)
{
    atomic_fetch_add_explicit(&server->seen, (size_t)change, memory_order_relaxed);
}

size_t jd_tcp_server_connection_count(const jd_tcp_server *server)
{
    return atomic_load_explicit(&server->seen, memory_order_relaxed);
}

static void add(jd_event_loop_statistics *sum, const jd_event_loop_statistics *more)
{
    /* All members are counters of one type (jinduo/event_loop.h). */
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)more;

    for (size_t i = 0; i < sizeof(*sum) / sizeof(*to); i++)
        to[i] += from[i];
}

/* Under the lock: the io loops exist as long as it is held. */
static void add_io_loops(const jd_tcp_server *server, jd_event_loop_statistics *statistics)
{
    jd_event_loop_statistics one;

    /* The server's own loop only accepts. */
    jd_event_loop_get_statistics(server->loop, &one);
    *statistics = (jd_event_loop_statistics){
        .accept_pauses = one.accept_pauses,
        .connections_accepted = one.connections_accepted,
        .connections_refused = one.connections_refused,
        .connections_failed = one.connections_failed,
    };
    for (unsigned i = 0; i < server->io_threads; i++) {
        jd_event_loop_get_statistics(server->io_loops[i].loop, &one);
        add(statistics, &one);
    }
}

void jd_tcp_server_get_statistics(jd_tcp_server *server, jd_event_loop_statistics *statistics)
{
    if (server->io_threads == 0) {
        jd_event_loop_get_statistics(server->loop, statistics);
        return;
    }
    pthread_mutex_lock(&server->threads_lock);
    if (server->threads != NULL)
        add_io_loops(server, statistics);
    else
        *statistics = server->ended_statistics;
    pthread_mutex_unlock(&server->threads_lock);
}

void server_keep_statistics(jd_tcp_server *server)
{
    jd_event_loop_statistics ended;

    if (server->threads == NULL)
        return;
    jd_tcp_server_get_statistics(server, &ended);
    pthread_mutex_lock(&server->threads_lock);
    server->ended_statistics = ended;
    pthread_mutex_unlock(&server->threads_lock);
}
