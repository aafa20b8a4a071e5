/* ThreadPool: threads for work that would block a loop (long computations, files, blocking calls), with the results
 * delivered on the loop. Strands run related tasks one after the other.
 *
 * Without a reference a connection may be used in its loop's thread only. So the callback gives the work a copy of its input and the
 * connection's id, and the result finds the connection by the id, which is safe however long the work takes:
 *
 *     struct request {
 *         jd_connection_id id;
 *         size_t length;
 *         char text[];
 *     };
 *
 *     static void compute(void *arg) // in a thread of the pool: touches nothing but the request
 *     {
 *         struct request *request = arg;
 *         ...
 *     }
 *
 *     static void answer(int error, void *arg) // in the connection's loop
 *     {
 *         struct request *request = arg;
 *         jd_tcp_connection *connection = error == 0 ? jd_tcp_connection_find(request->id) : NULL;
 *
 *         if (connection != NULL)
 *             jd_tcp_connection_send(connection, request->text, request->length);
 *         free(request);
 *     }
 *
 *     static void on_frame(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received,
 *                          void *pool)
 *     {
 *         struct request *request = malloc(sizeof(*request) + length);
 *         ...
 *         request->id = jd_tcp_connection_id(connection);
 *         if (jd_thread_pool_submit(pool, compute, request, jd_tcp_connection_loop(connection), answer, request) < 0) {
 *             free(request); // the pool is full: refuse, or pause reading
 *             jd_tcp_connection_close(connection);
 *         }
 *     }
 *
 * Tasks of one connection may end in any order. Where order matters, give each connection a strand: then the work and the
 * results keep the order of the requests. */
#ifndef JINDUO_THREAD_POOL_H
#define JINDUO_THREAD_POOL_H

#include <jinduo/types.h>

JD_BEGIN_DECLS

/* Reports the end of a task. error: 0 if its work has run; JD_ECANCELED if its work will never run, or if the loop that
 * the report is for has been destroyed. */
typedef void (*jd_work_done)(int error, void *arg);

/* All members zero: the defaults. */
typedef struct jd_thread_pool_options {
    const char *name; /* the threads' name, followed by a number; the first 10 characters count. NULL: "pool" */
    unsigned threads; /* at most 1024; 0: as many as there are cores that the process may use */

    /* Maximum number of tasks in the pool: waiting, running, or with their end not reported yet. 0: 1024; at most 2^20.
     * Their memory, 88 bytes each, is allocated with the pool. */
    uint32_t task_limit;

    /* Invoked with thread_init_arg in each thread, before its first work. NULL: nothing is invoked. */
    jd_task thread_init;
    void *thread_init_arg;
} jd_thread_pool_options;

/* Creates a pool and starts its threads; they block all signals. options are copied; NULL: all defaults. Returns 0;
 * JD_EINVAL (an option out of range); JD_ENOMEM; JD_EAGAIN (a thread could not be started). May be called from any
 * thread. */
JD_API int jd_thread_pool_create(jd_thread_pool **pool, const jd_thread_pool_options *options);

/* Queues a task: work(work_arg) runs in a thread of the pool, then done(error, done_arg) in the thread of loop, as a task of
 * the loop. Work starts in the order of submission. It may take any time and submit more work.
 *
 * Returns 0; JD_EAGAIN (task_limit is reached); JD_ECANCELED (the pool is being destroyed). After an error nothing is
 * invoked. Allocates no memory.
 *
 * After a return of 0, done is invoked exactly once, never inside a call into the library:
 * - on the loop: with 0 after the work has run, or with JD_ECANCELED if the pool or the strand was destroyed first;
 * - if the loop is destroyed first: with JD_ECANCELED in a thread of the pool, whether the work has run or not. The loop
 *   must not be used there; just free done_arg. This never happens if pools are destroyed before their loops.
 *
 * With loop NULL, done is invoked in a thread of the pool. done NULL: the end is not reported, and loop is not used.
 *
 * May be called from any thread. Pool and loop must live until done is invoked or this call has returned, whichever comes
 * first; so done may destroy them. */
JD_API int jd_thread_pool_submit(jd_thread_pool *pool, jd_task work, void *work_arg, jd_event_loop *loop,
                                 jd_work_done done, void *done_arg);

/* Blocks until no work is waiting or running, including work that the work itself submits. Ends may still be on their way
 * to their loops. Called before jd_thread_pool_destroy, it makes sure that no work is cancelled. Returns 0, or JD_EBUSY in
 * a thread of the pool. May be called from any other thread; in a callback it blocks that loop. */
JD_API int jd_thread_pool_wait(jd_thread_pool *pool);

/* Cancels the work that has not started, waits for the work that runs, joins the threads and frees the pool. Afterwards
 * the pool must not be used. Its strands are destroyed separately, before or after. NULL is allowed. Returns 0, or
 * JD_EBUSY in a thread of the pool, and then nothing changes. May be called from any thread. */
JD_API int jd_thread_pool_destroy(jd_thread_pool *pool);

/* A pool's counters. They count from the pool's creation; those marked "now" are current amounts. */
typedef struct jd_thread_pool_statistics {
    uint64_t threads;   /* now */
    uint64_t waiting;   /* now: tasks whose work has not started, those of strands included */
    uint64_t running;   /* now: tasks whose work runs */
    uint64_t completed; /* tasks whose work has run */
    uint64_t cancelled; /* tasks whose work never ran */
    uint64_t refused;   /* submissions that failed with JD_EAGAIN */
} jd_thread_pool_statistics;

/* Copies the pool's counters, all of the same moment. May be called from any thread. */
JD_API void jd_thread_pool_get_statistics(jd_thread_pool *pool, jd_thread_pool_statistics *statistics);

/* Creates a strand: a queue of tasks that run on the pool one after the other, in the order of submission, in any of its
 * threads. No thread blocks for it. After 16 tasks in a row the pool's other tasks get their turn. A strand takes 32 bytes,
 * so that each connection may have one. Returns 0 or JD_ENOMEM. May be called from any thread; the pool must live until
 * this call has returned. */
JD_API int jd_strand_create(jd_strand **strand, jd_thread_pool *pool);

/* Queues a task on the strand, as jd_thread_pool_submit, whose task_limit it counts towards. Ends that are reported on the
 * same loop are reported in order. Also returns JD_ECANCELED if the pool has been destroyed. May be called from any
 * thread. */
JD_API int jd_strand_submit(jd_strand *strand, jd_task work, void *work_arg, jd_event_loop *loop, jd_work_done done,
                            void *done_arg);

/* Destroys the strand; NULL is allowed. Does not block: work that runs continues, and its end is reported as usual. Work
 * that has not started is cancelled: its end is reported with JD_ECANCELED when its turn would have come. Afterwards the
 * strand must not be used. May be called from any thread, also in the strand's own work. */
JD_API void jd_strand_destroy(jd_strand *strand);

JD_END_DECLS
#endif
