/* The counters of a loop (jd_event_loop_get_statistics). */
#ifndef NET_LOOP_LOOP_STATISTICS_H
#define NET_LOOP_LOOP_STATISTICS_H

#include <jinduo/error.h>
#include <stdatomic.h>
#include <stdint.h>

/* Written by the loop's thread only, read by any: relaxed loads and stores are enough, no read-modify-write. */
typedef _Atomic uint64_t loop_counter;

static inline void counter_add(loop_counter *counter, uint64_t count)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + count, memory_order_relaxed);
}

/* Why a connection was closed. Counted for connections that were reported up. */
enum close_reason {
    CLOSED_BY_PEER,
    CLOSED_LOCALLY,
    CLOSED_BY_RESET,
    CLOSED_FIRST_MESSAGE,
    CLOSED_IDLE,
    CLOSED_READ,
    CLOSED_WRITE,
    CLOSED_FRAME,
    CLOSED_OVERDUE, /* not ended before the deadline of jd_tcp_server_stop or max_age_drain_ms */
    CLOSED_INPUT_LIMIT,
    CLOSED_NO_MEMORY,
    CLOSED_OTHERWISE,
    CLOSE_REASONS,
};

struct loop_counters {
    loop_counter turns, idle_turns, sleeps, enters, events, tasks, timers, flushes;
    loop_counter tasks_from_inside; /* tasks queued in the loop's own callbacks */
    loop_counter bytes_received, bytes_sent, bytes_dropped;
    loop_counter bytes_queued; /* queued for sending since the loop was created */
    loop_counter connections_opened, connections_closed, connections_failed;
    loop_counter accept_pauses, receive_pauses, queue_overflows;
    loop_counter connections_accepted, connections_refused;
    loop_counter connects_failed;
    loop_counter proxy_sources_refused, proxy_headers_invalid, proxy_headers_missing;
    loop_counter closed[CLOSE_REASONS];
    loop_counter errors[JD_ERROR_CLASSES]; /* of connections, attempts to connect, and accepting */
};

/* Counts an error by its class. 0: none. */
static inline void counters_add_error(struct loop_counters *counters, int error)
{
    if (error < 0)
        counter_add(&counters->errors[jd_error_class(error)], 1);
}

#endif
