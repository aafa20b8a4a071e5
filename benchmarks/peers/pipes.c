/* Measures how a loop finds the few descriptors that are ready among many that are not, after the benchmark of libevent's
 * authors: a byte is written into some of the pipes; who reads a byte writes one into the next pipe. A round is
 * a thousand reads. */
#include "benchmarks/peers/pipes.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { READS = 1000, ROUNDS = 200, WARMUP_ROUNDS = 20, COUNT_MAX = 20000, EXIT_USAGE = 2 };

static int reads_of[COUNT_MAX], writes_of[COUNT_MAX];
static unsigned count, active, unread, unwritten;

static void fail(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

static void write_to(unsigned number)
{
    if (write(writes_of[number], "x", 1) != 1)
        fail("pipes: write");
    unwritten--;
}

int pipes_readable(unsigned number)
{
    char byte;

    /* Nobody else reads, but a loop may report a descriptor that it has reported before. */
    if (read(reads_of[number], &byte, 1) != 1)
        return 0;
    if (unwritten > 0)
        write_to((number + 1) % count);
    return --unread == 0;
}

static void run_round(void)
{
    unread = unwritten = READS;
    for (unsigned i = 0; i < active; i++)
        write_to(i * (count / active));
    pipes_run();
}

static void open_pipes(void)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (unsigned i = 0; i < count; i++) {
        int ends[2];
        if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0)
            fail("pipes: pipe");
        reads_of[i] = ends[0];
        writes_of[i] = ends[1];
    }
}

int main(int argc, char **argv)
{
    struct timespec begin, end;

    count = argc == 3 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
    active = argc == 3 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    if (count == 0 || count > COUNT_MAX || active == 0 || active > count || active > READS) {
        fprintf(stderr, "Usage: pipes-LIBRARY COUNT ACTIVE\nCOUNT up to %d, ACTIVE up to COUNT and %d.\n", COUNT_MAX,
                READS);
        return EXIT_USAGE;
    }
    open_pipes();
    if (pipes_prepare(reads_of, count) != 0) {
        fprintf(stderr, "pipes: cannot create the loop or watch the pipes\n");
        return EXIT_FAILURE;
    }
    for (unsigned i = 0; i < WARMUP_ROUNDS; i++)
        run_round();
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (unsigned i = 0; i < ROUNDS; i++)
        run_round();
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("{\"round_us\": %.3f}\n",
           ((double)(end.tv_sec - begin.tv_sec) * 1e6 + (double)(end.tv_nsec - begin.tv_nsec) / 1e3) / ROUNDS);
    return EXIT_SUCCESS;
}
