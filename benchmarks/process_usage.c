#include "benchmarks/process_usage.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

/* Reads the process's CPU clock (clock_getcpuclockid(3)), not /proc/PID/task/.../schedstat: that is up to a tick old
 * for a running thread, and omits threads that have exited. */
bool process_cpu_ns(pid_t pid, uint64_t *ns)
{
    clockid_t clock;
    struct timespec used;

    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) < 0)
        return false;
    *ns = (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
    return true;
}

bool process_anonymous_bytes(pid_t pid, uint64_t *bytes)
{
    char line[256];
    uint64_t kib = 0;
    bool found = false;
    FILE *status;

    snprintf(line, sizeof(line), "/proc/%ld/status", (long)pid);
    status = fopen(line, "re");
    if (status == NULL)
        return false;
    while (!found && fgets(line, sizeof(line), status) != NULL)
        found = sscanf(line, "RssAnon: %" SCNu64 " kB", &kib) == 1;
    fclose(status);
    if (found)
        *bytes = kib * 1024;
    return found;
}
