#include "benchmarks/server_usage.h"

#include "benchmarks/process_usage.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

bool server_usage_map_calls(const char *path, const struct call_counts **counts)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *mapped = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(**counts), PROT_READ, MAP_SHARED, fd, 0);

    if (fd >= 0)
        close(fd);
    *counts = mapped != MAP_FAILED ? mapped : NULL;
    return mapped != MAP_FAILED;
}

/* Fields 14 and 15 of /proc/PID/stat, after the command in brackets, which may contain spaces (proc(5)). */
static void read_ticks(struct server_usage *usage, pid_t pid)
{
    char path[64], text[1024];
    const char *fields = NULL;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    file = fopen(path, "re");
    if (file == NULL)
        return;
    if (fgets(text, sizeof(text), file) != NULL)
        fields = strrchr(text, ')');
    if (fields != NULL)
        sscanf(fields, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64, &usage->user_ticks,
               &usage->kernel_ticks);
    fclose(file);
}

static void add_switches(struct server_usage *usage, pid_t pid, const char *thread)
{
    char path[320], line[256];
    uint64_t number;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%ld/task/%s/status", (long)pid, thread);
    file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "voluntary_ctxt_switches: %" SCNu64, &number) == 1)
            usage->waits += number;
        else if (sscanf(line, "nonvoluntary_ctxt_switches: %" SCNu64, &number) == 1)
            usage->preemptions += number;
    }
    if (file != NULL)
        fclose(file);
}

static void read_switches(struct server_usage *usage, pid_t pid)
{
    const struct dirent *entry;
    char path[64];
    DIR *threads;

    snprintf(path, sizeof(path), "/proc/%ld/task", (long)pid);
    threads = opendir(path);
    while (threads != NULL && (entry = readdir(threads)) != NULL) {
        if (entry->d_name[0] != '.')
            add_switches(usage, pid, entry->d_name);
    }
    if (threads != NULL)
        closedir(threads);
}

/* Lines "cpuN user nice system idle iowait irq softirq steal ..." (proc(5)). */
static void read_cores(struct server_usage *usage)
{
    FILE *file = fopen("/proc/stat", "re");
    uint64_t ticks[8];
    char line[256];
    unsigned core;

    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line,
                   "cpu%u %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
                   &core, &ticks[0], &ticks[1], &ticks[2], &ticks[3], &ticks[4], &ticks[5], &ticks[6],
                   &ticks[7]) != 9 ||
            strncmp(line, "cpu ", 4) == 0 || core >= USAGE_CORES_MAX)
            continue;
        for (unsigned i = 0; i < 8; i++)
            usage->core[core].all += ticks[i];
        usage->core[core].idle = ticks[3] + ticks[4];
        usage->core[core].stolen = ticks[7];
        usage->cores = core + 1 > usage->cores ? core + 1 : usage->cores;
    }
    if (file != NULL)
        fclose(file);
}

/* The second line "Tcp: ..." of /proc/net/snmp has the values: RetransSegs is the 12th. */
static void read_retransmits(struct server_usage *usage)
{
    FILE *file = fopen("/proc/net/snmp", "re");
    char line[512];

    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        sscanf(line, "Tcp: %*d %*d %*d %*d %*d %*d %*d %*d %*d %*d %*d %" SCNu64, &usage->retransmits);
    if (file != NULL)
        fclose(file);
}

bool server_usage_read(struct server_usage *usage, pid_t pid, const struct call_counts *calls)
{
    *usage = (struct server_usage){ 0 };
    read_ticks(usage, pid);
    read_switches(usage, pid);
    read_cores(usage);
    read_retransmits(usage);
    for (unsigned i = 0; calls != NULL && i < CALL_KINDS; i++)
        usage->calls[i] = atomic_load_explicit(&calls->of[i], memory_order_relaxed);
    return process_cpu_ns(pid, &usage->cpu_ns); /* last, so that the time of this function is the least part */
}

static double share(uint64_t part, uint64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : 0;
}

static void print_calls(const struct server_usage *begin, const struct server_usage *end)
{
    static const char *const names[] = CALL_KIND_NAMES;

    printf(", \"calls\": {");
    for (unsigned i = 0; i < CALL_KINDS; i++)
        printf("%s\"%s\": %" PRIu64, i > 0 ? ", " : "", names[i], end->calls[i] - begin->calls[i]);
    printf("}");
}

static void print_cores(const struct server_usage *begin, const struct server_usage *end)
{
    printf(", \"machine\": {\"retransmits\": %" PRIu64 ", \"cores\": [", end->retransmits - begin->retransmits);
    for (unsigned i = 0; i < end->cores; i++) {
        uint64_t all = end->core[i].all - begin->core[i].all, idle = end->core[i].idle - begin->core[i].idle;
        printf("%s{\"busy_percent\": %.1f, \"stolen_percent\": %.1f}", i > 0 ? ", " : "", 100 * (1 - share(idle, all)),
               100 * share(end->core[i].stolen - begin->core[i].stolen, all));
    }
    printf("]}");
}

void server_usage_print_json(const struct server_usage *begin, const struct server_usage *end, bool with_calls)
{
    double seconds = (double)(end->cpu_ns - begin->cpu_ns) / 1e9;
    uint64_t user = end->user_ticks - begin->user_ticks, kernel = end->kernel_ticks - begin->kernel_ticks;

    printf(", \"usage\": {\"cpu_seconds\": %.6f, \"user_seconds\": %.6f, \"kernel_seconds\": %.6f", seconds,
           seconds * share(user, user + kernel), seconds * share(kernel, user + kernel));
    printf(", \"waits\": %" PRIu64 ", \"preemptions\": %" PRIu64, end->waits - begin->waits,
           end->preemptions - begin->preemptions);
    if (with_calls)
        print_calls(begin, end);
    printf("}");
    print_cores(begin, end);
}
