/* The CPU time and memory that a process, the server, has used so far. */
#ifndef BENCHMARKS_PROCESS_USAGE_H
#define BENCHMARKS_PROCESS_USAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* CPU time of all its threads, including those that have exited, in ns. Returns false if there is no such process. */
bool process_cpu_ns(pid_t pid, uint64_t *ns);

/* Resident anonymous memory in bytes: heap, stacks, private pages; not files, not shared memory. Returns false on
 * failure. */
bool process_anonymous_bytes(pid_t pid, uint64_t *bytes);

#endif
