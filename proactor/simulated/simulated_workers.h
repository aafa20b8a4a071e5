/* The workers of a simulated Proactor: a few threads that perform its operations. Threads are started when there is work
 * for them, and take no signals.
 *
 * Files block whoever reads or writes them (open(2), O_NONBLOCK), sockets here do not: files never get all of the workers,
 * so that a slow disk holds up no socket, and within that limit they go first, so that busy sockets hold up no file.
 *
 * Everything but the threads' own work happens in the loop's thread. */
#ifndef PROACTOR_SIMULATED_SIMULATED_WORKERS_H
#define PROACTOR_SIMULATED_SIMULATED_WORKERS_H

#include "proactor/simulated/simulated_operation.h"

#include <pthread.h>

enum { SIMULATED_WORKERS = 2 };

struct simulated_workers {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct link socket_jobs, file_jobs, done;
    unsigned waiting_jobs;
    unsigned idle;          /* threads that wait for work */
    unsigned files_at_work; /* threads that are busy with a file */
    bool ending;
    int wakeup; /* the loop's eventfd: written to when there is something done */

    /* The loop's thread's alone. */
    unsigned given; /* and neither collected nor taken back */
    unsigned started;
    pthread_t threads[SIMULATED_WORKERS];
};

void simulated_workers_init(struct simulated_workers *workers, int wakeup);

/* Sees to it that there is at least one thread. Returns 0 or a negative error (pthread_create(3)). */
int simulated_workers_start(struct simulated_workers *workers);

/* An operation to perform; there is a thread. */
void simulated_workers_give(struct simulated_workers *workers, struct simulated_operation *operation);

/* Takes back an operation that was given, if no worker has begun with it; returns whether that is so. */
bool simulated_workers_take_back(struct simulated_workers *workers, struct simulated_operation *operation);

/* Moves what has been performed to an empty list, in the order in which it was. */
void simulated_workers_collect(struct simulated_workers *workers, struct link *done);

/* Ends the threads. No operation is with them. */
void simulated_workers_stop(struct simulated_workers *workers);

#endif
