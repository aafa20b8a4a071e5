/* Statistics as text, for Prometheus and other programs that read its format. */
#ifndef JINDUO_STATISTICS_H
#define JINDUO_STATISTICS_H

#include <jinduo/types.h>

JD_BEGIN_DECLS

/* The Content-Type of the text. */
#define JD_STATISTICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Appends the statistics of a server's loops to buffer, in the text format of Prometheus (version 0.0.4). Each sample has the
 * label loop: "0", "1" ... for the loops that serve connections; "accept" for the server's own loop if it has io threads. Metrics
 * that end in _total are counters since the loop's creation, the others are gauges. Each is the member of
 * jd_event_loop_statistics (event_loop.h) that stands behind it; seconds are its nanoseconds.
 *
 * jinduo_loop_info                    always 1; the label engine is the loop's
 * jinduo_cpu_seconds_total            cpu_ns; its rate is the share of a core that the loop uses
 * jinduo_busy_seconds_total           busy_ns (option measure); its rate is the share of the time that the loop does not wait
 * jinduo_longest_callback_seconds     longest_callback_ns (option measure)
 * jinduo_timers_late_seconds_total    timers_late_ns (option measure); by jinduo_timers_total: the mean lateness
 * jinduo_latest_timer_seconds         latest_timer_ns (option measure)
 * jinduo_turns_total                  turns
 * jinduo_idle_turns_total             idle_turns
 * jinduo_sleeps_total                 sleeps
 * jinduo_enters_total                 enters
 * jinduo_events_total                 events
 * jinduo_tasks_total                  tasks
 * jinduo_timers_total                 timers
 * jinduo_wakeups_sent_total           wakeups_sent
 * jinduo_wakeups_saved_total          wakeups_saved
 * jinduo_flushes_total                flushes
 * jinduo_received_bytes_total         bytes_received
 * jinduo_sent_bytes_total             bytes_sent
 * jinduo_dropped_bytes_total          bytes_dropped
 * jinduo_queued_bytes                 bytes_queued
 * jinduo_connections_accepted_total   connections_accepted
 * jinduo_connections_refused_total    connections_refused
 * jinduo_connections_failed_total     connections_failed
 * jinduo_proxy_sources_refused_total  proxy_sources_refused
 * jinduo_proxy_headers_invalid_total  proxy_headers_invalid
 * jinduo_proxy_headers_missing_total  proxy_headers_missing
 * jinduo_connections_opened_total     connections_opened
 * jinduo_connections_closed_total     closed_by_... and the others; the label reason says which
 * jinduo_connections_open             connections_open
 * jinduo_connects_failed_total        connects_failed
 * jinduo_accept_pauses_total          accept_pauses
 * jinduo_receive_pauses_total         receive_pauses
 * jinduo_queue_overflows_total        queue_overflows
 * jinduo_errors_total                 errors_by_peer and the others; the label class says which
 * jinduo_block_overflows_total        block_overflows
 * jinduo_pool_blocks                  pool_blocks
 * jinduo_pool_blocks_used             pool_blocks_used
 * jinduo_pool_bytes                   pool_bytes
 * jinduo_connection_bytes             connection_bytes
 *
 * Returns 0, or JD_ENOMEM: then buffer is unchanged. May be called from any thread while the server exists. */
JD_API int jd_statistics_format(jd_tcp_server *server, jd_buffer *buffer);

JD_END_DECLS
#endif
