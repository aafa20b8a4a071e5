/* A thread of the load with its share of the connections, and the phases that all threads go through together. The
 * coordinator announces a phase; a worker takes it up at its next turn, and reports when its part of it is finished. */
#ifndef BENCHMARKS_LOAD_WORKER_H
#define BENCHMARKS_LOAD_WORKER_H

#include "benchmarks/load_connection.h"

#include <pthread.h>
#include <stdatomic.h>

enum load_phase {
    PHASE_OPENING,   /* connects, one message each; finished when all are through */
    PHASE_WARMUP,    /* never finished by a worker */
    PHASE_MEASURING, /* finished when the messages asked for are answered, if a number was */
    PHASE_DRAINING,  /* nothing new; finished when all is answered */
    PHASE_STOPPED,   /* what is unanswered is lost; connections are closed */
};

struct load_worker {
    struct load_context context;
    pthread_t thread;
    unsigned index;
    int wake_fd;   /* eventfd: written to after a change of the phase */
    int notify_fd; /* the coordinator's, written to by the worker */
    const _Atomic int *announced;
    enum load_phase phase;
    struct load_connection *connections;
    struct load_batch *batches;
    unsigned connection_count, opened, greeting;
    uint64_t next_number;
    uint64_t quota; /* messages that may still be granted */
    bool unfilled;  /* stream mode: a pipe has room that no event will tell of */
    double period_ns, rate_begin_ns;
    uint64_t ticks; /* messages that have become due, over all connections */
    uint64_t span_begin_ns, span_end_ns, cpu_begin_ns, cpu_end_ns;
    uint64_t server_cpu_begin_ns, server_cpu_end_ns; /* taken by worker 0 */

    /* For the coordinator, who may look at any time. */
    _Alignas(64) _Atomic int finished; /* the last phase finished, -1 at first */
    _Atomic unsigned live;             /* connections neither lost nor closed, or still to be opened */
    _Atomic uint64_t seen_moved_bytes, seen_messages, seen_outstanding;
};

/* Allocates all that it will need. Returns 0 or a negative errno. */
int load_worker_init(struct load_worker *worker, const struct load_options *options, unsigned index, int notify_fd,
                     const _Atomic int *announced);

int load_worker_start(struct load_worker *worker);

/* From any thread. */
void load_worker_wake(struct load_worker *worker);

void load_worker_destroy(struct load_worker *worker);

#endif
