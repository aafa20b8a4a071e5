/* Measures tasks that one thread posts and a loop in another thread runs. At most BATCHES_IN_FLIGHT batches are in
 * flight: the posting thread waits on a semaphore that the loop posts once per batch. So neither spins, and the
 * semaphore's cost per task is negligible. */
#include "benchmarks/peers/tasks.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BATCH = 1024, BATCHES_IN_FLIGHT = 4, BATCHES = 2048, EXIT_USAGE = 2 };

static sem_t room;
static uint64_t ran, post_cpu_ns;
static int post_core;

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int tasks_ran(void)
{
    if (++ran % BATCH != 0)
        return 0;
    sem_post(&room);
    return ran == (uint64_t)BATCH * BATCHES;
}

static void pin_to(int core)
{
    cpu_set_t cores;

    CPU_ZERO(&cores);
    CPU_SET(core, &cores);
    sched_setaffinity(0, sizeof(cores), &cores);
}

static void *post(void *arg)
{
    uint64_t begin_ns;

    pin_to(post_core);
    begin_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    for (unsigned i = 0; i < BATCHES; i++) {
        while (sem_wait(&room) < 0)
            continue;
        tasks_post(BATCH);
    }
    post_cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin_ns;
    return NULL;
}

int main(int argc, char **argv)
{
    const double count = (double)BATCH * BATCHES;
    uint64_t begin_ns, begin_cpu_ns, wall_ns, run_cpu_ns;
    pthread_t poster;

    if (argc != 3) {
        fprintf(stderr,
                "Usage: tasks-LIBRARY LOOP_CORE POST_CORE\nThe cores of the loop and of the thread that posts.\n");
        return EXIT_USAGE;
    }
    post_core = (int)strtol(argv[2], NULL, 10);
    sem_init(&room, 0, BATCHES_IN_FLIGHT);
    if (tasks_prepare() != 0 || pthread_create(&poster, NULL, post, NULL) != 0) {
        fprintf(stderr, "tasks: cannot create the loop or the thread that posts\n");
        return EXIT_FAILURE;
    }
    pin_to((int)strtol(argv[1], NULL, 10));
    begin_ns = clock_ns(CLOCK_MONOTONIC);
    begin_cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    tasks_run();
    run_cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin_cpu_ns;
    wall_ns = clock_ns(CLOCK_MONOTONIC) - begin_ns;
    pthread_join(poster, NULL);
    printf("{\"tasks_per_second\": %.0f, \"post_cpu_ns\": %.2f, \"run_cpu_ns\": %.2f, \"cpu_ns\": %.2f}\n",
           count * 1e9 / (double)wall_ns, (double)post_cpu_ns / count, (double)run_cpu_ns / count,
           (double)(post_cpu_ns + run_cpu_ns) / count);
    return EXIT_SUCCESS;
}
