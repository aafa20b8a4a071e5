/* Thread pool: threads for work that would hold up a loop (computing long, reading files, calling what blocks), with
 * the results delivered on the loop. And strands on it: whose tasks run one after the other.
 *
 * A connection is its loop's alone. So its callback gives the work a copy of what it needs and the connection's id, and
 * the result looks for the connection by the id, which is safe however long the work has taken:
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
 *             free(request); // the pool has its fill: refuse, or pause reading
 *             jd_tcp_connection_close(connection);
 *         }
 *     }
 *
 * Several tasks of one connection may end in any order; where it matters, each connection has a strand (its context,
 * say): then both the work and the answers keep the order of the requests. */
#ifndef JINDUO_THREAD_POOL_H
#define JINDUO_THREAD_POOL_H

#include <jinduo/types.h>

JD_BEGIN_DECLS

/* Tells the end of a task. error: 0 when its work has run; JD_ECANCELED when it never will, or when the loop that was
 * to be told had ended. */
typedef void (*jd_work_done)(int error, void *arg);

/* All zero is the default. */
typedef struct jd_thread_pool_options {
    const char *name; /* of its threads, with a number behind; the first ten characters count. NULL: "pool" */
    unsigned threads; /* 0: as many as cores that this process may use; at most 1024 */

    /* Tasks taken whose end is not told yet: waiting, running, or on their way back to a loop. 0: 1024; at most 2^20.
     * Room for them, 88 bytes each, is allocated when the pool is made, and nothing later. */
    uint32_t task_limit;

    /* If not NULL, called with thread_init_arg in each thread before its first work. */
    jd_task thread_init;
    void *thread_init_arg;
} jd_thread_pool_options;

/* Makes a pool and starts its threads, which take no signals. options are copied; NULL: all defaults. From any thread.
 * Returns 0, JD_EINVAL (an option out of range), JD_ENOMEM, JD_EAGAIN (a thread could not be started). */
JD_API int jd_thread_pool_create(jd_thread_pool **pool, const jd_thread_pool_options *options);

/* Runs work(work_arg) in a thread of the pool, then done(error, done_arg) in loop's thread, as a task of the loop. Work
 * begins in the order of submitting; it may take any time, and submit more.
 *
 * After a submit that returned 0, done is called exactly once, and never from inside a call of the user's:
 *   - on the loop, with 0 after the work has run, or with JD_ECANCELED if the pool or the strand was destroyed first;
 *   - with JD_ECANCELED in a thread of the pool, if the loop was destroyed first, whether the work has run or not. Then
 *     there is no loop to be touched any more: all that is left to do is to free done_arg. A program that destroys its
 *     pools before its loops never sees the second case. With loop NULL, done is called in a thread of the pool when
 *     the work has ended. done may be NULL: then nobody is told, and loop does not matter.
 *
 * From any thread, as long as pool and loop exist until done is called or this has returned: done may be what ends them.
 * Returns 0; JD_EAGAIN when task_limit tasks are under way; JD_ECANCELED when the pool is being destroyed. After an error
 * nothing was taken, and nothing will be called. Allocates nothing. */
JD_API int jd_thread_pool_submit(jd_thread_pool *pool, jd_task work, void *work_arg, jd_event_loop *loop,
                                 jd_work_done done, void *done_arg);

/* Returns when no work waits or runs, what the work itself submitted included; results may be on their way to their
 * loops still. Before jd_thread_pool_destroy it makes sure that nothing is cancelled. Not from a loop's callback,
 * unless the loop may stand still as long. From any thread. Returns 0, or JD_EBUSY in a thread of the pool. */
JD_API int jd_thread_pool_wait(jd_thread_pool *pool);

/* Cancels the work that has not begun, waits for what runs, ends the threads and frees the pool. It must not be used
 * any more, but for its strands, which are destroyed on their own, before or after. From any thread. Returns 0, or
 * JD_EBUSY in a thread of the pool, and then nothing happened. NULL is allowed. */
JD_API int jd_thread_pool_destroy(jd_thread_pool *pool);

typedef struct jd_thread_pool_statistics {
    uint64_t threads;
    uint64_t waiting;   /* tasks whose work has not begun, now; those of strands included */
    uint64_t running;   /* tasks at work, now */
    uint64_t completed; /* tasks whose work has run, so far */
    uint64_t cancelled; /* tasks whose work never ran, so far */
    uint64_t refused;   /* submits that found task_limit reached, so far */
} jd_thread_pool_statistics;

/* Copies the pool's figures as of one moment. From any thread. */
JD_API void jd_thread_pool_get_statistics(jd_thread_pool *pool, jd_thread_pool_statistics *statistics);

/* Strand: a queue of tasks that run on the pool one after the other, in the order of submitting, in whatever thread; no
 * thread waits for them. After 16 tasks without a pause a strand lets what else waits in the pool go first.
 *
 * Makes a strand: 32 bytes, so that each connection may have one. From any thread; the pool must exist until this has
 * returned. Returns 0 or JD_ENOMEM. */
JD_API int jd_strand_create(jd_strand **strand, jd_thread_pool *pool);

/* As jd_thread_pool_submit, to whose task_limit it counts; the tasks' ends are told in order too, as far as they are
 * told on one loop. JD_ECANCELED when the pool is being destroyed or was. From any thread. */
JD_API int jd_strand_submit(jd_strand *strand, jd_task work, void *work_arg, jd_event_loop *loop, jd_work_done done,
                            void *done_arg);

/* Cancels the strand's work that has not begun: its ends are told, with JD_ECANCELED, when its turn would have come.
 * Waits for nothing: work that runs ends by itself, and its end is told as usual. The strand must not be used any more.
 * From any thread, in work of its own too. NULL is allowed. */
JD_API void jd_strand_destroy(jd_strand *strand);

JD_END_DECLS
#endif
