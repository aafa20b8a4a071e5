/* Loop threads: a number of loops with a thread each (the sub-Reactors). */
#ifndef NET_LOOP_LOOP_THREADS_H
#define NET_LOOP_LOOP_THREADS_H

#include "base/platform/thread.h"
#include "net/loop/event_loop.h"

#include <jinduo/tcp_server.h>

/* What they all have in common. name, options and ops must outlive them. */
struct loop_threads_setup {
    const char *name;
    const jd_event_loop_options *options;
    const struct engine_ops *ops;
    jd_thread_init_callback on_init; /* may be NULL; called in each thread before its loop runs */
    void *on_init_arg;
};

struct loop_thread {
    struct loop_threads *all;
    thread_handle thread;
    jd_event_loop *loop; /* made, run and destroyed by the thread */
    int result;          /* of making it */
};

struct loop_threads {
    unsigned count;
    struct loop_threads_setup setup;
    thread_mutex lock;
    thread_condition changed;
    unsigned ready; /* threads that have made their loop, or failed to */
    _Atomic bool stopping;
    struct loop_thread threads[];
};

/* Starts count (> 0) threads and returns when their loops are about to run. All or nothing. Returns 0, JD_ENOMEM, JD_EAGAIN,
 * or an error of jd_event_loop_create. */
int loop_threads_start(struct loop_threads **threads, unsigned count, const struct loop_threads_setup *setup);

/* Ends the loops after what they have queued, and joins the threads. */
void loop_threads_stop(struct loop_threads *threads);

#endif
