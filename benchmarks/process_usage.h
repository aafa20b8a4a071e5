/* What another process, the server, has used so far. */
#ifndef BENCHMARKS_PROCESS_USAGE_H
#define BENCHMARKS_PROCESS_USAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* CPU time of all its threads, ended ones included, in ns. False if there is no such process. */
bool process_cpu_ns(pid_t pid, uint64_t *ns);

/* Anonymous memory that is resident, in bytes: heap, stacks, private pages; not files, not shared memory. */
bool process_anonymous_bytes(pid_t pid, uint64_t *bytes);

#endif
