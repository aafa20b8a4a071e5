/* A thread of the load with its share of the connections. All threads go through the phases together: the coordinator
 * announces a phase, a worker enters it in its next turn and reports when it has finished its part. */
#ifndef BENCHMARKS_LOAD_WORKER_H
#define BENCHMARKS_LOAD_WORKER_H

#include "benchmarks/load_connection.h"
#include "benchmarks/server_usage.h"

#include <pthread.h>
#include <stdatomic.h>

enum load_phase {
    PHASE_OPENING,   /* connects and exchanges one message on each connection; finished when all have */
    PHASE_WARMUP,    /* a worker never finishes it: the coordinator ends it by time */
    PHASE_MEASURING, /* with --messages: finished when all are answered; else ended by time */
    PHASE_DRAINING,  /* grants no message; finished when no reply is outstanding */
    PHASE_STOPPED,   /* outstanding replies count as lost; connections are closed */
};

struct load_worker {
    struct load_context context;
    pthread_t thread;
    unsigned index;
    int wake_fd;   /* eventfd, written by the coordinator after it has announced a phase */
    int notify_fd; /* the coordinator's eventfd, written by the worker when it finishes a phase */
    const _Atomic int *announced;
    enum load_phase phase;
    struct load_connection *connections;
    struct load_batch *batches;
    unsigned connection_count, opened, greeting;
    uint64_t next_number;
    uint64_t quota; /* messages that may still be granted */
    bool unfilled;  /* stream mode: a send buffer has room, and no EPOLLOUT will report it */
    double period_ns, rate_begin_ns;
    uint64_t ticks; /* with a rate: messages that have become due, over all connections */
    uint64_t span_begin_ns, span_end_ns, cpu_begin_ns, cpu_end_ns;
    struct server_usage server_begin, server_end; /* read by worker 0 */
    const struct call_counts *calls;              /* of the server, or NULL */

    /* Read by the coordinator at any time. */
    _Alignas(64) _Atomic int finished; /* the last phase finished; -1: none */
    _Atomic unsigned live;             /* connections that are open or not opened yet */
    _Atomic uint64_t seen_moved_bytes, seen_messages, seen_outstanding;
};

/* Allocates all memory that the worker needs. Returns 0 or a negative errno. */
int load_worker_init(struct load_worker *worker, const struct load_options *options, unsigned index, int notify_fd,
                     const _Atomic int *announced);

int load_worker_start(struct load_worker *worker);

/* Wakes the worker, so that it reads the announced phase. Any thread. */
void load_worker_wake(struct load_worker *worker);

void load_worker_destroy(struct load_worker *worker);

#endif
