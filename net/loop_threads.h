/* Loop threads: a number of loops with a thread each (the sub-Reactors). */
#ifndef NET_LOOP_THREADS_H
#define NET_LOOP_THREADS_H

#include "net/event_loop.h"

#include <pthread.h>

struct loop_thread {
    struct loop_threads *all;
    pthread_t thread;
    jd_event_loop *loop; /* made, run and destroyed by the thread */
    int result;          /* of making it */
};

struct loop_threads {
    unsigned count;
    unsigned next;
    const char *name;
    const jd_event_loop_options *options;
    const struct engine_ops *ops;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned ready; /* threads that have made their loop, or failed to */
    _Atomic bool stopping;
    struct loop_thread threads[];
};

/* Starts count (> 0) threads and returns when their loops run. name, options and ops must outlive them. All or nothing.
 * Returns 0, JD_ENOMEM, JD_EAGAIN, or an error of jd_event_loop_create. */
int loop_threads_start(struct loop_threads **threads, unsigned count, const char *name,
                       const jd_event_loop_options *options, const struct engine_ops *ops);

/* Ends the loops after what they have queued, and joins the threads. */
void loop_threads_stop(struct loop_threads *threads);

/* The loops in turn. */
jd_event_loop *loop_threads_next(struct loop_threads *threads);

/* Adds to *sum. */
void statistics_add(jd_event_loop_statistics *sum, const jd_event_loop_statistics *more);

#endif
