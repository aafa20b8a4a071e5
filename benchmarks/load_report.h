/* The results of a run, for people and for programs. */
#ifndef BENCHMARKS_LOAD_REPORT_H
#define BENCHMARKS_LOAD_REPORT_H

#include "benchmarks/load_connection.h"

enum load_end { LOAD_COMPLETE, LOAD_INTERRUPTED, LOAD_STALLED, LOAD_ALL_LOST };

struct load_result {
    const struct load_options *options;
    enum load_end end;
    double seconds; /* the measured span */
    double cpu_seconds;
    double server_cpu_seconds; /* with a server's pid */
    uint64_t held;             /* connections that exchanged their message, in idle mode */
    uint64_t server_bytes_before, server_bytes_held;
    struct load_counts counts;
    struct histogram latency;
};

bool load_result_is_good(const struct load_result *result);

void load_report_print(const struct load_result *result);

void load_report_print_json(const struct load_result *result);

#endif
