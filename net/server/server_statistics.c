/* Counts and statistics of a server, summed over its loops. */
#include "base/platform/thread.h"
#include "net/server/server.h"

void server_connection_up_changed(struct connection_owner *owner, jd_tcp_connection *connection, int change)
{
    jd_tcp_server *server = server_of_owner(owner);

    if (connection_loop(connection) == server->loop)
        counter_add(&server->connections_on_base_loop, (uint64_t)(int64_t)change);
    else
        atomic_fetch_add_explicit(&server->connections_on_io_loops, (size_t)change, memory_order_relaxed);
}

size_t jd_tcp_server_connection_count(const jd_tcp_server *server)
{
    return atomic_load_explicit(&server->connections_on_io_loops, memory_order_relaxed) +
           (size_t)atomic_load_explicit(&server->connections_on_base_loop, memory_order_relaxed);
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void statistics_add(jd_event_loop_statistics *sum, const jd_event_loop_statistics *more)
{
    /* All members are counters of one type (jinduo/event_loop.h). */
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)more;
    uint64_t longest_callback = larger(sum->longest_callback_ns, more->longest_callback_ns);
    uint64_t latest_timer = larger(sum->latest_timer_ns, more->latest_timer_ns);

    for (size_t i = 0; i < sizeof(*sum) / sizeof(*to); i++)
        to[i] += from[i];
    sum->longest_callback_ns = longest_callback;
    sum->latest_timer_ns = latest_timer;
}

/* Adds the counts of the io loops, if there are any. Under threads_lock, which keeps them in existence. */
static void statistics_add_io_loops(const jd_tcp_server *server, jd_event_loop_statistics *statistics)
{
    jd_event_loop_statistics one;

    if (server->threads == NULL)
        return;
    for (unsigned i = 0; i < server->io_threads; i++) {
        jd_event_loop_get_statistics(server->io_loops[i].loop, &one);
        statistics_add(statistics, &one);
    }
}

void jd_tcp_server_get_statistics(jd_tcp_server *server, jd_event_loop_statistics *statistics)
{
    jd_event_loop_statistics base;

    jd_event_loop_get_statistics(server->loop, &base);
    if (server->io_threads == 0) {
        *statistics = base;
        return;
    }
    thread_mutex_lock(&server->threads_lock);
    *statistics = server->ended_statistics;
    statistics_add_io_loops(server, statistics);
    thread_mutex_unlock(&server->threads_lock);
    /* The base loop only accepts for this server. */
    statistics->accept_pauses += base.accept_pauses;
    statistics->connections_accepted += base.connections_accepted;
    statistics->connections_refused += base.connections_refused;
    statistics->proxy_sources_refused += base.proxy_sources_refused;
    statistics->connections_failed += base.connections_failed;
}

/* Clears the values that describe the present: the loops they describe are about to end. */
static void statistics_clear_gauges(jd_event_loop_statistics *statistics)
{
    statistics->bytes_queued = 0;
    statistics->connections_open = 0;
    statistics->pool_blocks = 0;
    statistics->pool_blocks_used = 0;
    statistics->pool_bytes = 0;
    statistics->connection_bytes = 0;
}

/* The totals are kept and the threads detached under one lock, so that no reader sees a counter decrease. */
struct loop_threads *server_detach_threads(jd_tcp_server *server)
{
    struct loop_threads *threads = server->threads;

    if (threads == NULL)
        return NULL;
    thread_mutex_lock(&server->threads_lock);
    statistics_add_io_loops(server, &server->ended_statistics);
    statistics_clear_gauges(&server->ended_statistics);
    server->threads = NULL;
    thread_mutex_unlock(&server->threads_lock);
    return threads;
}
