/* Measures how long a loop that sleeps takes to run a task that another thread posts: from before the call that posts it
 * until the task runs. The next task is posted some time after the last has run, so that the loop sleeps again. */
#include "benchmarks/histogram.h"
#include "benchmarks/peers/tasks.h"

#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { TASKS = 3000, WARMUP_TASKS = 200, PAUSE_NS = 100000, EXIT_USAGE = 2 };

static sem_t done;
static uint64_t posted_ns, ran;
static int post_core;
static struct histogram latency;

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* posted_ns was written before the task was posted, and the semaphore orders it before the next write. */
int tasks_ran(void)
{
    uint64_t waited_ns = now_ns() - posted_ns;

    if (++ran > WARMUP_TASKS)
        histogram_add(&latency, waited_ns, 1);
    sem_post(&done);
    return ran == TASKS + WARMUP_TASKS;
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
    const struct timespec pause = { .tv_nsec = PAUSE_NS };

    pin_to(post_core);
    for (unsigned i = 0; i < TASKS + WARMUP_TASKS; i++) {
        nanosleep(&pause, NULL);
        posted_ns = now_ns();
        tasks_post(1);
        while (sem_wait(&done) < 0)
            continue;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t poster;

    if (argc != 3) {
        fprintf(stderr,
                "Usage: wakeup-LIBRARY LOOP_CORE POST_CORE\nThe cores of the loop and of the thread that posts.\n");
        return EXIT_USAGE;
    }
    histogram_reset(&latency);
    post_core = (int)strtol(argv[2], NULL, 10);
    sem_init(&done, 0, 0);
    if (tasks_prepare() != 0 || pthread_create(&poster, NULL, post, NULL) != 0) {
        fprintf(stderr, "wakeup: cannot create the loop or the thread that posts\n");
        return EXIT_FAILURE;
    }
    pin_to((int)strtol(argv[1], NULL, 10));
    tasks_run();
    pthread_join(poster, NULL);
    printf("{\"p50_us\": %.3f, \"p99_us\": %.3f, \"mean_us\": %.3f, \"samples\": %" PRIu64 "}\n",
           (double)histogram_quantile(&latency, 0.5) / 1000, (double)histogram_quantile(&latency, 0.99) / 1000,
           histogram_mean(&latency) / 1000, latency.count);
    return EXIT_SUCCESS;
}
