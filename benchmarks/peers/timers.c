/* Measures a library's timers, in CPU time of the thread:
 *  1. start and cancel: with a million active timers, due in 1 to 60 s, cancel one random batch after another and start
 *     it again, so that the number of active timers stays nearly the same;
 *  2. expire: start a million timers that are due within seconds, and run the loop until all have expired. */
#include "benchmarks/peers/timers.h"

#include "benchmarks/process_usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    COUNT = 1000000,
    LEAST_MS = 1000,
    MOST_MS = 60000,
    EXPIRE_LEAST_MS = 500, /* none expires before all are started */
    EXPIRE_MOST_MS = 5000,
    EXIT_USAGE = 2,
};

uint32_t timers_awaited;

static uint32_t numbers[COUNT], delays_ms[COUNT], batch;
static uint64_t start_ns, cancel_ns, expire_ns, memory_before, memory_live;

static uint64_t cpu_ns(void)
{
    struct timespec used;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

/* xorshift64* (Vigna 2016): the same sequence for every library. */
static uint32_t random_below(uint32_t bound)
{
    static uint64_t state = 88172645463325252u;

    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)(((state * 2685821657736338717u >> 32) * bound) >> 32);
}

static void draw_delays(uint32_t least_ms, uint32_t most_ms)
{
    for (uint32_t i = 0; i < COUNT; i++)
        delays_ms[i] = least_ms + random_below(most_ms - least_ms + 1);
}

/* Fisher and Yates's shuffle. */
static void shuffle(void)
{
    for (uint32_t i = COUNT - 1; i > 0; i--) {
        uint32_t other = random_below(i + 1), number = numbers[i];
        numbers[i] = numbers[other];
        numbers[other] = number;
    }
}

static void measure(void)
{
    timers_start(numbers, delays_ms, COUNT);
    process_anonymous_bytes(getpid(), &memory_live);
    shuffle();
    draw_delays(LEAST_MS, MOST_MS);
    for (uint32_t i = 0; i < COUNT; i += batch) {
        uint64_t begin_ns = cpu_ns(), between_ns;
        timers_cancel(numbers + i, batch);
        between_ns = cpu_ns();
        timers_start(numbers + i, delays_ms + i, batch);
        start_ns += cpu_ns() - between_ns;
        cancel_ns += between_ns - begin_ns;
    }
    shuffle();
    timers_cancel(numbers, COUNT);
}

static void begin_expiring(void)
{
    timers_start(numbers, delays_ms, COUNT);
    expire_ns = cpu_ns();
}

/* Returns -1 to continue, or the exit status. */
static int read_arguments(int argc, char **argv, enum timers_clock *which)
{
    if (argc == 3 && (strcmp(argv[1], "turn") == 0 || strcmp(argv[1], "real") == 0)) {
        *which = strcmp(argv[1], "real") == 0 ? TIMERS_REAL : TIMERS_TURN;
        batch = (uint32_t)strtoul(argv[2], NULL, 10);
        if (batch > 0 && COUNT % batch == 0)
            return -1;
    }
    fprintf(
        stderr,
        "Usage: timers-LIBRARY turn|real BATCH\n"
        "turn: a delay starts at the time of the loop's turn; real: at the time of the clock, read for each start.\n"
        "BATCH: timers cancelled, then started again, at a time; a divisor of %d.\n",
        COUNT);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    enum timers_clock clock = TIMERS_TURN;
    int status = read_arguments(argc, argv, &clock);

    if (status >= 0)
        return status;
    for (uint32_t i = 0; i < COUNT; i++)
        numbers[i] = i;
    draw_delays(LEAST_MS, MOST_MS);
    process_anonymous_bytes(getpid(), &memory_before);
    if (timers_prepare(COUNT, clock) != 0) {
        fprintf(stderr, "timers: cannot create the loop or the timers\n");
        return EXIT_FAILURE;
    }
    timers_run(measure);
    draw_delays(EXPIRE_LEAST_MS, EXPIRE_MOST_MS);
    timers_awaited = COUNT;
    timers_run(begin_expiring);
    expire_ns = cpu_ns() - expire_ns;
    printf("{\"start_ns\": %.2f, \"cancel_ns\": %.2f, \"expire_ns\": %.2f, \"bytes_each\": %.2f}\n",
           (double)start_ns / COUNT, (double)cancel_ns / COUNT, (double)expire_ns / COUNT,
           (double)(memory_live - memory_before) / COUNT);
    return EXIT_SUCCESS;
}
