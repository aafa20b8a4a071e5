/* A server's statistics as text (jinduo/statistics.h). */
#include "net/server/server.h"

#include "base/memory.h"

#include <inttypes.h>
#include <jinduo/buffer.h>
#include <jinduo/statistics.h>
#include <stdio.h>
#include <string.h>

enum metric_kind { COUNTER, GAUGE, SECONDS_COUNTER, SECONDS_GAUGE };

/* One sample of each loop. Metrics of one name follow each other, and differ in their label. */
struct metric {
    const char *name, *help;
    const char *label; /* more than the loop; "": none */
    enum metric_kind kind;
    size_t offset; /* in jd_event_loop_statistics */
};

#define METRIC(kind, name, member, help)                                                                               \
    {                                                                                                                  \
        "jinduo_" name, help, "", kind, offsetof(jd_event_loop_statistics, member)                                     \
    }
#define CLOSED(reason, member)                                                                                         \
    {                                                                                                                  \
        "jinduo_connections_closed_total", "Connections closed, by reason.", ",reason=\"" reason "\"", COUNTER,        \
            offsetof(jd_event_loop_statistics, member)                                                                 \
    }
#define ERRORS(class, member)                                                                                          \
    {                                                                                                                  \
        "jinduo_errors_total", "Errors of connections, attempts to connect and accepting, by class.",                  \
            ",class=\"" class "\"", COUNTER, offsetof(jd_event_loop_statistics, member)                                \
    }

static const struct metric metrics[] = {
    METRIC(SECONDS_COUNTER, "cpu_seconds_total", cpu_ns, "CPU time of the loop's thread."),
    METRIC(SECONDS_COUNTER, "busy_seconds_total", busy_ns, "Time between waits, if the loop measures."),
    METRIC(SECONDS_GAUGE, "longest_callback_seconds", longest_callback_ns,
           "The longest callback, if the loop measures."),
    METRIC(SECONDS_COUNTER, "timers_late_seconds_total", timers_late_ns,
           "How late timers ran, added up, if the loop measures."),
    METRIC(SECONDS_GAUGE, "latest_timer_seconds", latest_timer_ns, "How late the latest timer ran."),
    METRIC(COUNTER, "turns_total", turns, "Turns of the loop."),
    METRIC(COUNTER, "idle_turns_total", idle_turns, "Turns that woke up and found nothing to do."),
    METRIC(COUNTER, "sleeps_total", sleeps, "Turns that blocked in the kernel."),
    METRIC(COUNTER, "enters_total", enters, "System calls that wait or submit."),
    METRIC(COUNTER, "events_total", events, "Readiness events or completions dispatched."),
    METRIC(COUNTER, "tasks_total", tasks, "Queued tasks run."),
    METRIC(COUNTER, "timers_total", timers, "Timers run."),
    METRIC(COUNTER, "wakeups_sent_total", wakeups_sent, "Times that another thread had to wake the loop."),
    METRIC(COUNTER, "wakeups_saved_total", wakeups_saved, "Tasks from other threads without a wake-up."),
    METRIC(COUNTER, "flushes_total", flushes, "Gathered sends."),
    METRIC(COUNTER, "received_bytes_total", bytes_received, "Bytes received."),
    METRIC(COUNTER, "sent_bytes_total", bytes_sent, "Bytes sent."),
    METRIC(COUNTER, "dropped_bytes_total", bytes_dropped, "Bytes queued, and dropped as the connection closed."),
    METRIC(GAUGE, "queued_bytes", bytes_queued, "Bytes queued for sending."),
    METRIC(COUNTER, "connections_accepted_total", connections_accepted, "Connections accepted on this loop."),
    METRIC(COUNTER, "connections_refused_total", connections_refused, "Connections accepted above the limit."),
    METRIC(COUNTER, "connections_failed_total", connections_failed, "Connections that failed before they were up."),
    METRIC(COUNTER, "proxy_sources_refused_total", proxy_sources_refused, "Peers that are not among proxy_sources."),
    METRIC(COUNTER, "proxy_headers_invalid_total", proxy_headers_invalid, "PROXY headers malformed or too long."),
    METRIC(COUNTER, "proxy_headers_missing_total", proxy_headers_missing, "PROXY headers that did not come in time."),
    METRIC(COUNTER, "connections_opened_total", connections_opened, "Connections reported up."),
    CLOSED("peer", closed_by_peer),
    CLOSED("local", closed_locally),
    CLOSED("reset", closed_by_reset),
    CLOSED("first_message_timeout", closed_by_first_message_timeout),
    CLOSED("idle_timeout", closed_by_idle_timeout),
    CLOSED("read_timeout", closed_by_read_timeout),
    CLOSED("write_timeout", closed_by_write_timeout),
    CLOSED("frame_error", closed_by_frame_error),
    CLOSED("drain_deadline", closed_by_drain_deadline),
    CLOSED("input_limit", closed_by_input_limit),
    CLOSED("out_of_memory", closed_out_of_memory),
    CLOSED("other", closed_otherwise),
    METRIC(GAUGE, "connections_open", connections_open, "Connections that are up."),
    METRIC(COUNTER, "connects_failed_total", connects_failed, "Addresses that clients could not connect to."),
    METRIC(COUNTER, "accept_pauses_total", accept_pauses, "Times that accepting stopped for lack of resources."),
    METRIC(COUNTER, "receive_pauses_total", receive_pauses, "Times that a connection waited for a receive block."),
    METRIC(COUNTER, "queue_overflows_total", queue_overflows, "Times that a queue of io_uring was full."),
    ERRORS("peer", errors_by_peer),
    ERRORS("retry", errors_to_retry),
    ERRORS("resource", errors_of_resources),
    ERRORS("misuse", errors_of_misuse),
    ERRORS("timeout", errors_of_timeouts),
    ERRORS("ended", errors_of_ends),
    ERRORS("other", errors_otherwise),
    METRIC(COUNTER, "block_overflows_total", block_overflows, "Blocks taken from the heap."),
    METRIC(GAUGE, "pool_blocks", pool_blocks, "Blocks of the loop's pools."),
    METRIC(GAUGE, "pool_blocks_used", pool_blocks_used, "Blocks that hold bytes or are about to."),
    METRIC(GAUGE, "pool_bytes", pool_bytes, "Memory of the loop's pools."),
    METRIC(GAUGE, "connection_bytes", connection_bytes, "Memory of the connections."),
};

enum { METRICS = sizeof(metrics) / sizeof(metrics[0]), NAME_BYTES = 16 };

/* What is read of a loop. */
struct reading {
    char loop[NAME_BYTES];
    const char *engine;
    jd_event_loop_statistics statistics;
};

static void read_loop(struct reading *reading, const jd_event_loop *loop)
{
    reading->engine = loop->engine->ops->name;
    jd_event_loop_get_statistics(loop, &reading->statistics);
}

/* Returns the number of loops read. */
static unsigned read_loops(jd_tcp_server *server, struct reading readings[])
{
    unsigned count = 0;

    thread_mutex_lock(&server->threads_lock);
    for (; server->threads != NULL && count < server->io_threads; count++) {
        snprintf(readings[count].loop, NAME_BYTES, "%u", count);
        read_loop(&readings[count], server->io_loops[count].loop);
    }
    thread_mutex_unlock(&server->threads_lock);
    snprintf(readings[count].loop, NAME_BYTES, server->io_threads > 0 ? "accept" : "0");
    read_loop(&readings[count], server->loop);
    return count + 1;
}

static int add_head(jd_buffer *buffer, const char *name, const char *help, const char *type)
{
    return jd_buffer_append_format(buffer, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static int add_info(jd_buffer *buffer, const struct reading readings[], unsigned loops)
{
    int result = add_head(buffer, "jinduo_loop_info", "The loop's engine.", "gauge");

    for (unsigned i = 0; i < loops && result == 0; i++)
        result = jd_buffer_append_format(buffer, "jinduo_loop_info{loop=\"%s\",engine=\"%s\"} 1\n", readings[i].loop,
                                         readings[i].engine);
    return result;
}

static int add_sample(jd_buffer *buffer, const struct metric *metric, const struct reading *reading)
{
    const uint64_t ns_per_s = 1000000000;
    uint64_t value = *(const uint64_t *)((const char *)&reading->statistics + metric->offset);

    if (metric->kind == SECONDS_COUNTER || metric->kind == SECONDS_GAUGE)
        return jd_buffer_append_format(buffer, "%s{loop=\"%s\"%s} %" PRIu64 ".%09" PRIu64 "\n", metric->name,
                                       reading->loop, metric->label, value / ns_per_s, value % ns_per_s);
    return jd_buffer_append_format(buffer, "%s{loop=\"%s\"%s} %" PRIu64 "\n", metric->name, reading->loop,
                                   metric->label, value);
}

static int add_metric(jd_buffer *buffer, const struct metric *metric, const struct reading readings[], unsigned loops)
{
    bool is_gauge = metric->kind == GAUGE || metric->kind == SECONDS_GAUGE;
    int result = 0;

    if (metric == metrics || strcmp(metric[-1].name, metric->name) != 0)
        result = add_head(buffer, metric->name, metric->help, is_gauge ? "gauge" : "counter");
    for (unsigned i = 0; i < loops && result == 0; i++)
        result = add_sample(buffer, metric, &readings[i]);
    return result;
}

static int format_readings(jd_buffer *buffer, const struct reading readings[], unsigned loops)
{
    jd_buffer *text;
    int result = jd_buffer_create(&text);

    if (result < 0)
        return result;
    result = add_info(text, readings, loops);
    for (unsigned i = 0; i < METRICS && result == 0; i++)
        result = add_metric(text, &metrics[i], readings, loops);
    if (result == 0) {
        size_t length = jd_buffer_readable(text);
        const void *bytes = jd_buffer_peek(text, length);
        result = bytes == NULL ? JD_ENOMEM : jd_buffer_append(buffer, bytes, length);
    }
    jd_buffer_destroy(text);
    return result;
}

int jd_statistics_format(jd_tcp_server *server, jd_buffer *buffer)
{
    size_t bytes = (server->io_threads + 1) * sizeof(struct reading);
    struct reading *readings = memory_allocate(bytes);
    int result;

    if (readings == NULL)
        return JD_ENOMEM;
    result = format_readings(buffer, readings, read_loops(server, readings));
    memory_release(readings, bytes);
    return result;
}
