/* Loop threads: a group of loops, each with its own thread (the io loops of a server; muduo: EventLoopThreadPool). */
#ifndef NET_LOOP_LOOP_THREADS_H
#define NET_LOOP_LOOP_THREADS_H

#include "base/platform/thread.h"
#include "net/loop/event_loop.h"

#include <jinduo/tcp_server.h>

/* The setup of all threads of a group. name, options and ops must outlive the group. */
struct loop_threads_setup {
    const char *name; /* of the threads, followed by a number */
    const jd_event_loop_options *options;
    const struct engine_ops *ops;
    jd_thread_init_callback on_init; /* invoked in each thread before its loop runs; may be NULL */
    void *on_init_arg;
    jd_thread_exit_callback on_exit; /* invoked in each thread after its loop has run; may be NULL */
    void *on_exit_arg;
};

struct loop_thread {
    struct loop_threads *group;
    thread_handle thread;
    jd_event_loop *loop; /* created, run and destroyed by the thread */
    int result;          /* of the creation */
};

struct loop_threads {
    unsigned count;
    struct loop_threads_setup setup;
    thread_mutex lock;
    thread_condition changed;
    unsigned ready; /* threads that have created their loop, or failed to */
    _Atomic bool stopping;
    struct loop_thread threads[];
};

/* Starts count (> 0) threads, and returns when all loops are created and on_init has returned in each thread. Returns
 * 0; or JD_ENOMEM, JD_EAGAIN (a thread could not be started) or an error of jd_event_loop_create: then no thread is
 * left. */
int loop_threads_start(struct loop_threads **threads, unsigned count, const struct loop_threads_setup *setup);

/* Ends the loops after the tasks that they have queued, joins the threads and frees the group. Not from one of its
 * threads. */
void loop_threads_stop(struct loop_threads *threads);

#endif
