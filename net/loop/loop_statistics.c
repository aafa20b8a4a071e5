/* The statistics of a loop. Each counter is written by the loop's thread only and may be read by any thread. */
#include "net/loop/event_loop.h"

static uint64_t read_counter(const loop_counter *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* total - part, but at least 0: the two counters are not read at the same moment, so part may be the larger one. */
static uint64_t counter_difference(uint64_t total, uint64_t part)
{
    return total > part ? total - part : 0;
}

static void add_pool_statistics(const struct block_pool *pool, jd_event_loop_statistics *statistics)
{
    statistics->block_overflows += atomic_load_explicit(&pool->overflow_count, memory_order_relaxed);
    statistics->pool_bytes += block_pool_bytes(pool);
    statistics->pool_blocks += block_pool_blocks(pool);
    statistics->pool_blocks_used += atomic_load_explicit(&pool->blocks_used, memory_order_relaxed);
}

void jd_event_loop_get_statistics(const jd_event_loop *loop, jd_event_loop_statistics *statistics)
{
    const struct loop_counters *counters = &loop->counters;

#define READ(name)                .name = read_counter(&counters->name)
#define READ_CLOSED(name, reason) .name = read_counter(&counters->closed[reason])
#define READ_ERRORS(name, class)  .name = read_counter(&counters->errors[class])
    *statistics = (jd_event_loop_statistics){
        READ(turns),
        READ(idle_turns),
        READ(sleeps),
        READ(enters),
        READ(events),
        READ(tasks),
        READ(timers),
        READ(flushes),
        READ(bytes_received),
        READ(bytes_sent),
        READ(bytes_dropped),
        READ(connections_accepted),
        READ(connections_refused),
        READ(connections_failed),
        READ(connections_closed),
        READ(connections_opened),
        READ(connects_failed),
        READ(proxy_sources_refused),
        READ(proxy_headers_invalid),
        READ(proxy_headers_missing),
        READ(accept_pauses),
        READ(receive_pauses),
        READ(queue_overflows),
        READ_CLOSED(closed_by_peer, CLOSED_BY_PEER),
        READ_CLOSED(closed_locally, CLOSED_LOCALLY),
        READ_CLOSED(closed_by_reset, CLOSED_BY_RESET),
        READ_CLOSED(closed_by_first_message_timeout, CLOSED_FIRST_MESSAGE),
        READ_CLOSED(closed_by_idle_timeout, CLOSED_IDLE),
        READ_CLOSED(closed_by_read_timeout, CLOSED_READ),
        READ_CLOSED(closed_by_write_timeout, CLOSED_WRITE),
        READ_CLOSED(closed_by_frame_error, CLOSED_FRAME),
        READ_CLOSED(closed_by_drain_deadline, CLOSED_OVERDUE),
        READ_CLOSED(closed_by_input_limit, CLOSED_INPUT_LIMIT),
        READ_CLOSED(closed_out_of_memory, CLOSED_NO_MEMORY),
        READ_CLOSED(closed_otherwise, CLOSED_OTHERWISE),
        READ_ERRORS(errors_by_peer, JD_ERROR_PEER),
        READ_ERRORS(errors_to_retry, JD_ERROR_RETRY),
        READ_ERRORS(errors_of_resources, JD_ERROR_RESOURCE),
        READ_ERRORS(errors_of_misuse, JD_ERROR_MISUSE),
        READ_ERRORS(errors_of_timeouts, JD_ERROR_TIMEOUT),
        READ_ERRORS(errors_of_ends, JD_ERROR_ENDED),
        READ_ERRORS(errors_otherwise, JD_ERROR_OTHER),
        .connection_bytes = atomic_load_explicit(&loop->connections.map.bytes, memory_order_relaxed),
        .cpu_ns = thread_cpu_ns(atomic_load_explicit(&loop->cpu_clock, memory_order_relaxed)),
        .busy_ns = read_counter(&loop->measure.busy_ns),
        .longest_callback_ns = read_counter(&loop->measure.longest_callback_ns),
        .timers_late_ns = read_counter(&loop->measure.timers_late_ns),
        .latest_timer_ns = read_counter(&loop->measure.latest_timer_ns),
        .wakeups_sent = atomic_load_explicit(&loop->shared.wakeups_sent, memory_order_relaxed),
    };
#undef READ
#undef READ_CLOSED
#undef READ_ERRORS
    statistics->connections_open = counter_difference(statistics->connections_opened, statistics->connections_closed);
    statistics->bytes_queued =
        counter_difference(read_counter(&counters->bytes_queued), statistics->bytes_sent + statistics->bytes_dropped);
    /* Computed here: a counter of its own would be one more contended write for each task. */
    statistics->wakeups_saved =
        counter_difference(statistics->tasks, read_counter(&counters->tasks_from_inside) + statistics->wakeups_sent);
    add_pool_statistics(&loop->blocks.receive, statistics);
    add_pool_statistics(&loop->blocks.output.small, statistics);
    add_pool_statistics(&loop->blocks.output.large, statistics);
    add_pool_statistics(&loop->blocks.output.references, statistics);
}
