/* The workers of a simulated Proactor: a few threads that perform its operations. A thread is started when there is
 * work for it; all signals are blocked in it.
 *
 * A read or write of a file blocks its thread (open(2), O_NONBLOCK), an operation on a socket does not. So files
 * never occupy all workers: a slow disk delays no socket. Within that limit files come first: busy sockets delay no
 * file.
 *
 * Thread rule: the loop's thread, for every function here. */
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
    unsigned idle;          /* threads that wait for a job */
    unsigned files_at_work; /* threads that perform a file operation */
    bool ending;
    int wakeup; /* the loop's eventfd: written when done is no longer empty */

    /* Used by the loop's thread only. */
    unsigned given; /* operations given, and neither collected nor taken back */
    unsigned started;
    pthread_t threads[SIMULATED_WORKERS];
};

void simulated_workers_init(struct simulated_workers *workers, int wakeup);

/* Starts a thread if there is none. Returns 0 or a negative error (pthread_create(3)). */
int simulated_workers_start(struct simulated_workers *workers);

/* Gives an operation to the workers, which own it until it is collected or taken back. At least one thread must be
 * running. */
void simulated_workers_give(struct simulated_workers *workers, struct simulated_operation *operation);

/* Takes back an operation if no worker has begun it. Returns whether it did. */
bool simulated_workers_take_back(struct simulated_workers *workers, struct simulated_operation *operation);

/* Moves the performed operations to *done, a new list, in the order in which they were performed. */
void simulated_workers_collect(struct simulated_workers *workers, struct link *done);

/* Ends the threads and waits for them. Called when they have no operation. */
void simulated_workers_stop(struct simulated_workers *workers);

#endif
