/* The result of a run, and its report as text or JSON. */
#ifndef BENCHMARKS_LOAD_REPORT_H
#define BENCHMARKS_LOAD_REPORT_H

#include "benchmarks/load_connection.h"
#include "benchmarks/server_usage.h"

enum load_end { LOAD_COMPLETE, LOAD_INTERRUPTED, LOAD_STALLED, LOAD_ALL_LOST };

struct load_result {
    const struct load_options *options;
    enum load_end end;
    double seconds; /* measured time */
    double cpu_seconds;
    struct server_usage server_begin, server_end; /* with --server-pid */
    uint64_t idle_connections;                    /* idle mode: open connections that have exchanged their message */
    uint64_t server_bytes_before, server_bytes_idle;
    struct load_counts counts;
    struct histogram latency;
};

bool load_result_is_good(const struct load_result *result);

void load_report_print(const struct load_result *result);

void load_report_print_json(const struct load_result *result);

#endif
