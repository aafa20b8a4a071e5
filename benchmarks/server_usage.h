/* What a server process and the machine have used up to now, as the kernel counts it. The difference of two readings
 * explains a measurement: CPU time of the server and of each core, context switches, calls into the kernel. */
#ifndef BENCHMARKS_SERVER_USAGE_H
#define BENCHMARKS_SERVER_USAGE_H

#include "benchmarks/call_counts.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { USAGE_CORES_MAX = 64 };

struct server_usage {
    uint64_t cpu_ns;                   /* of all threads, also those that have exited */
    uint64_t user_ticks, kernel_ticks; /* of the same; the kernel counts their sum in ns, their shares by sampling */
    uint64_t waits, preemptions; /* context switches of the live threads: because it slept, because it was stopped */
    uint64_t retransmits;        /* TCP segments sent again, of the network namespace */
    unsigned cores;
    struct {
        uint64_t all, idle, stolen; /* ticks; stolen: used by the host of the virtual machine */
    } core[USAGE_CORES_MAX];
    uint64_t calls[CALL_KINDS];
};

/* Where the server counts its calls (call_counts.h); NULL: nowhere. The mapping lasts as long as the process. Returns false on
 * failure. */
bool server_usage_map_calls(const char *path, const struct call_counts **counts);

/* Returns false if there is no such process. calls may be NULL. */
bool server_usage_read(struct server_usage *usage, pid_t pid, const struct call_counts *calls);

/* Prints the members "usage" and "machine" of a JSON object, each after ", ". */
void server_usage_print_json(const struct server_usage *begin, const struct server_usage *end, bool with_calls);

#endif
