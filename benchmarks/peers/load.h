/* What the small loads share: the command line, the clocks, the report, in the same words as jd-load's. */
#ifndef BENCHMARKS_PEERS_LOAD_H
#define BENCHMARKS_PEERS_LOAD_H

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
    uint64_t begin_ns, cpu_begin_ns, server_cpu_begin_ns;
    bool measuring;
    uint64_t messages; /* since measuring began */
};

/* Reads the command line; ends the program with a line of explanation when it makes no sense. */
void small_load_parse(struct small_load *load, int argc, char **argv);

/* A connected, blocking socket, or the end of the program. */
int small_load_connect(const struct small_load *load);

/* Counts messages, begins measuring when the warm-up is over; true when the time is over and the report printed. */
bool small_load_count(struct small_load *load, uint64_t messages);

__attribute__((noreturn)) void small_load_fail(const struct small_load *load, const char *what);

#endif
