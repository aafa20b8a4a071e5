/* Thread pool: one queue under one lock. Tasks are entries of an array, so submit allocates nothing. A task that has
 * ended goes to its loop, for the report, and back to the pool by lock-free queues. */
#include "net/pool/thread_pool.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/platform/thread.h"

#include <inttypes.h>
#include <jinduo/error.h>
#include <stdio.h>

enum { MAX_THREADS = 1024, DEFAULT_TASKS = 1024, MAX_TASKS = 1 << 20 };

/* The pool to which the calling thread belongs; NULL: none. */
static _Thread_local const jd_thread_pool *current_pool;

/* ---- reporting the end of a task ---- */

void thread_pool_release(jd_thread_pool *pool)
{
    if (atomic_fetch_sub(&pool->references, 1) > 1)
        return;
    thread_condition_destroy(&pool->all_ended);
    thread_condition_destroy(&pool->task_arrived);
    thread_mutex_destroy(&pool->lock);
    memory_release(pool, sizeof(*pool) + pool->task_limit * sizeof(pool->tasks[0]));
}

/* Returns the task to the pool and invokes done. */
static void task_report(struct pool_task *task, int error)
{
    jd_thread_pool *pool = task->pool;
    jd_work_done done = task->done;
    void *arg = task->done_arg;

    /* Before done, which may submit the next task. */
    mpsc_queue_push(&pool->returned_tasks, &task->delivery.node);
    thread_pool_release(pool);
    if (done != NULL)
        done(error, arg);
}

static void task_deliver_on_loop(struct task_node *delivery)
{
    struct pool_task *task = (struct pool_task *)delivery;

    task_report(task, task->error);
}

static void task_end(struct pool_task *task, int error)
{
    jd_event_loop *loop = task->loop;
    bool delivered;

    if (loop == NULL) {
        task_report(task, error);
        return;
    }
    task->error = error;
    delivered = event_loop_push(loop, &task->delivery); /* if true, the loop owns the task from here on */
    event_loop_unref_memory(loop);
    if (!delivered)
        task_report(task, JD_ECANCELED);
}

/* ---- the threads; under the lock, except while work runs ---- */

/* Returns the next task of the queue; waits for one if it is empty. NULL: the pool is stopping and the queue is
 * empty. */
static struct pool_task *thread_next_task(jd_thread_pool *pool)
{
    while (pool->queue.first == NULL && !pool->stopping) {
        pool->idle_threads++;
        thread_condition_wait(&pool->task_arrived, &pool->lock);
        pool->idle_threads--;
    }
    return task_list_take(&pool->queue);
}

static void task_run_in_thread(jd_thread_pool *pool, struct pool_task *task)
{
    bool cancelled = pool->stopping || (task->strand != NULL && task->strand->destroyed);

    pool->waiting--;
    pool->running++;
    thread_mutex_unlock(&pool->lock);
    if (!cancelled)
        task->work(task->work_arg);
    task_end(task, cancelled ? JD_ECANCELED : 0);
    thread_mutex_lock(&pool->lock);
    pool->running--;
    *(cancelled ? &pool->cancelled : &pool->completed) += 1;
}

/* Runs a task and, if it belongs to a strand, some of the strand's next tasks. */
static void thread_run_tasks(jd_thread_pool *pool, struct pool_task *task)
{
    jd_strand *strand = task->strand;

    for (unsigned in_a_row = 1; task != NULL; in_a_row++) {
        task_run_in_thread(pool, task);
        task = strand != NULL ? strand_next(strand, in_a_row) : NULL;
    }
    if (pool->waiters > 0 && pool->waiting == 0 && pool->running == 0)
        thread_condition_broadcast(&pool->all_ended);
}

static void *thread_main(void *arg)
{
    jd_thread_pool *pool = arg;
    struct pool_task *task;
    unsigned number;

    current_pool = pool;
    thread_mutex_lock(&pool->lock);
    number = pool->threads_named++;
    thread_mutex_unlock(&pool->lock);
    thread_set_numbered_name(pool->name, number);
    if (pool->thread_init != NULL)
        pool->thread_init(pool->thread_init_arg);
    thread_mutex_lock(&pool->lock);
    while ((task = thread_next_task(pool)) != NULL)
        thread_run_tasks(pool, task);
    thread_mutex_unlock(&pool->lock);
    return NULL;
}

/* ---- submitting ---- */

/* Under the lock. NULL: all entries are in use. */
static struct pool_task *pool_take_free_task(jd_thread_pool *pool)
{
    struct mpsc_node *node = pool->free_tasks;

    if (node == NULL)
        node = mpsc_queue_take_all(&pool->returned_tasks);
    if (node == NULL)
        return pool->tasks_used < pool->task_limit ? &pool->tasks[pool->tasks_used++] : NULL;
    pool->free_tasks = node->next;
    return (struct pool_task *)node;
}

/* Under the lock. Returns whether a thread must be woken for it. */
static bool pool_enqueue(jd_thread_pool *pool, jd_strand *strand, struct pool_task *task,
                         const struct pool_task *request)
{
    *task = *request;
    task->delivery.run = task_deliver_on_loop;
    task->pool = pool;
    task->strand = strand;
    if (task->done == NULL)
        task->loop = NULL;
    if (task->loop != NULL)
        event_loop_ref_memory(task->loop);
    atomic_fetch_add(&pool->references, 1);
    pool->waiting++;
    if (strand != NULL && !strand_append(strand, task))
        return false;
    if (strand == NULL)
        task_list_append(&pool->queue, task);
    return pool->idle_threads > 0;
}

int thread_pool_submit(jd_thread_pool *pool, jd_strand *strand, const struct pool_task *request)
{
    struct pool_task *task = NULL;
    bool wake = false;
    int result = 0;

    thread_mutex_lock(&pool->lock);
    if (pool->stopping)
        result = JD_ECANCELED;
    else if ((task = pool_take_free_task(pool)) != NULL)
        wake = pool_enqueue(pool, strand, task, request);
    else
        result = JD_EAGAIN;
    pool->refused += result == JD_EAGAIN;
    if (wake)
        atomic_fetch_add(&pool->references, 1); /* done may destroy the pool before the signal below */
    thread_mutex_unlock(&pool->lock);
    if (wake) {
        thread_condition_signal(&pool->task_arrived);
        thread_pool_release(pool);
    }
    return result;
}

int jd_thread_pool_submit(jd_thread_pool *pool, jd_task work, void *work_arg, jd_event_loop *loop, jd_work_done done,
                          void *done_arg)
{
    return thread_pool_submit(
        pool, NULL,
        &(struct pool_task){ .work = work, .work_arg = work_arg, .loop = loop, .done = done, .done_arg = done_arg });
}

/* ---- creation and destruction ---- */

static unsigned default_threads(void)
{
    unsigned processors = thread_processor_count();

    return processors < MAX_THREADS ? processors : MAX_THREADS;
}

static int pool_create(jd_thread_pool **out, const jd_thread_pool_options *options)
{
    uint32_t task_limit = options->task_limit != 0 ? options->task_limit : DEFAULT_TASKS;
    unsigned threads = options->threads != 0 ? options->threads : default_threads();
    const char *name = options->name != NULL ? options->name : "pool";
    jd_thread_pool *pool;

    if (threads > MAX_THREADS)
        return log_invalid("%s: threads %u: must be at most %d", name, threads, MAX_THREADS);
    if (task_limit > MAX_TASKS)
        return log_invalid("%s: task_limit %" PRIu32 ": must be at most %d", name, task_limit, MAX_TASKS);
    pool = memory_allocate(sizeof(*pool) + task_limit * sizeof(pool->tasks[0]));
    if (pool == NULL)
        return JD_ENOMEM;
    *pool = (jd_thread_pool){ .task_limit = task_limit,
                              .threads_wanted = threads,
                              .thread_init = options->thread_init,
                              .thread_init_arg = options->thread_init_arg };
    snprintf(pool->name, sizeof(pool->name), "%s", name);
    pool->threads = memory_allocate(threads * sizeof(pool->threads[0]));
    if (pool->threads == NULL) {
        memory_release(pool, sizeof(*pool) + task_limit * sizeof(pool->tasks[0]));
        return JD_ENOMEM;
    }
    thread_mutex_init(&pool->lock);
    thread_condition_init(&pool->task_arrived);
    thread_condition_init(&pool->all_ended);
    mpsc_queue_init(&pool->returned_tasks);
    atomic_init(&pool->references, 1);
    *out = pool;
    return 0;
}

/* Stops and joins the threads, which cancel the queued tasks first. */
static void pool_stop(jd_thread_pool *pool)
{
    thread_mutex_lock(&pool->lock);
    pool->stopping = true;
    thread_condition_broadcast(&pool->task_arrived);
    thread_mutex_unlock(&pool->lock);
    for (uint32_t i = 0; i < pool->thread_count; i++)
        thread_join(pool->threads[i]);
    memory_release(pool->threads, pool->threads_wanted * sizeof(pool->threads[0]));
    thread_pool_release(pool);
}

int jd_thread_pool_create(jd_thread_pool **out, const jd_thread_pool_options *options)
{
    static const jd_thread_pool_options defaults;
    jd_thread_pool *pool;
    int result = pool_create(&pool, options != NULL ? options : &defaults);

    if (result < 0)
        return result;
    while (pool->thread_count < pool->threads_wanted) {
        result = thread_start(&pool->threads[pool->thread_count], thread_main, pool);
        if (result < 0) {
            pool_stop(pool);
            return result;
        }
        pool->thread_count++;
    }
    *out = pool;
    return 0;
}

int jd_thread_pool_wait(jd_thread_pool *pool)
{
    if (current_pool == pool)
        return JD_EBUSY;
    thread_mutex_lock(&pool->lock);
    pool->waiters++;
    while (pool->waiting > 0 || pool->running > 0)
        thread_condition_wait(&pool->all_ended, &pool->lock);
    pool->waiters--;
    thread_mutex_unlock(&pool->lock);
    return 0;
}

int jd_thread_pool_destroy(jd_thread_pool *pool)
{
    if (pool == NULL)
        return 0;
    if (current_pool == pool)
        return JD_EBUSY;
    pool_stop(pool);
    return 0;
}

void jd_thread_pool_get_statistics(jd_thread_pool *pool, jd_thread_pool_statistics *statistics)
{
    thread_mutex_lock(&pool->lock);
    *statistics = (jd_thread_pool_statistics){
        .threads = pool->thread_count,
        .waiting = pool->waiting,
        .running = pool->running,
        .completed = pool->completed,
        .cancelled = pool->cancelled,
        .refused = pool->refused,
    };
    thread_mutex_unlock(&pool->lock);
}
