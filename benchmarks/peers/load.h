/* The code that broadcast-load and file-load share: command line, clocks, and a report with the field names of
 * jd-load's. */
#ifndef BENCHMARKS_PEERS_LOAD_H
#define BENCHMARKS_PEERS_LOAD_H

#include "benchmarks/server_usage.h"

#include <jinduo/endpoint.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct small_load {
    const char *name;
    jd_endpoint server;
    double seconds, warmup_seconds;
    pid_t server_pid;
    unsigned connections, depth;
    const char *file;
    uint64_t begin_ns, cpu_begin_ns;
    const char *call_counts; /* file in which the server counts its calls, or NULL */
    const struct call_counts *calls;
    struct server_usage server_begin;
    const char *http_path; /* file-load: ask for the file by HTTP, at this path; NULL: connecting is asking */
    bool cold;             /* file-load: before each transfer, drop the file's pages from memory */
    bool measuring;
    uint64_t messages; /* since the measurement began */
};

/* Reads the command line. Exits with a usage message if it is wrong. */
void small_load_parse(struct small_load *load, int argc, char **argv);

/* Returns a connected, blocking socket. Exits with an error line on failure. */
int small_load_connect(const struct small_load *load);

/* Counts messages, and begins the measurement after the warm-up. Returns true when the measurement has ended and the
 * report has been printed. */
bool small_load_count(struct small_load *load, uint64_t messages);

/* Prints "NAME: what: text of errno" (without the text if errno is 0) and exits. */
__attribute__((noreturn)) void small_load_fail(const struct small_load *load, const char *what);

#endif
