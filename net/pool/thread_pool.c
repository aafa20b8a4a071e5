/* Thread pool: one queue under one lock. Tasks lie in an array of the pool's: nothing is allocated for each. What ends goes
 * to its loop, and home, by lock-free queues. */
#include "net/pool/thread_pool.h"

#include "base/memory.h"
#include "base/platform/thread.h"

#include <jinduo/error.h>
#include <stdio.h>

enum { MAX_THREADS = 1024, DEFAULT_TASKS = 1024, MAX_TASKS = 1 << 20 };

/* The pool whose thread this is. */
static _Thread_local const jd_thread_pool *current_pool;

/* ---- the end of a task ---- */

void thread_pool_release(jd_thread_pool *pool)
{
    if (atomic_fetch_sub(&pool->references, 1) > 1)
        return;
    thread_condition_destroy(&pool->all_ended);
    thread_condition_destroy(&pool->task_came);
    thread_mutex_destroy(&pool->lock);
    memory_release(pool, sizeof(*pool) + pool->task_limit * sizeof(pool->tasks[0]));
}

static void tell(struct pool_task *task, int error)
{
    jd_thread_pool *pool = task->pool;
    jd_work_done done = task->done;
    void *arg = task->done_arg;

    /* Before the call, which may submit the next one. */
    mpsc_queue_push(&pool->tasks_home, &task->delivery.node);
    thread_pool_release(pool);
    if (done != NULL)
        done(error, arg);
}

static void tell_on_loop(struct task_node *delivery)
{
    struct pool_task *task = (struct pool_task *)delivery;

    tell(task, task->error);
}

static void end(struct pool_task *task, int error)
{
    jd_event_loop *loop = task->loop;
    bool delivered;

    if (loop == NULL) {
        tell(task, error);
        return;
    }
    task->error = error;
    delivered = event_loop_push(loop, &task->delivery); /* from here on the task is the loop's */
    event_loop_unref_memory(loop);
    if (!delivered)
        tell(task, JD_ECANCELED);
}

/* ---- the threads; under the lock but while working ---- */

/* Waits for a task; NULL when the pool ends. */
static struct pool_task *next_task(jd_thread_pool *pool)
{
    while (pool->queue.first == NULL && !pool->stopping) {
        pool->idle_threads++;
        thread_condition_wait(&pool->task_came, &pool->lock);
        pool->idle_threads--;
    }
    return task_list_take(&pool->queue);
}

static void run(jd_thread_pool *pool, struct pool_task *task)
{
    bool cancelled = pool->stopping || (task->strand != NULL && task->strand->destroyed);

    pool->waiting--;
    pool->running++;
    thread_mutex_unlock(&pool->lock);
    if (!cancelled)
        task->work(task->work_arg);
    end(task, cancelled ? JD_ECANCELED : 0);
    thread_mutex_lock(&pool->lock);
    pool->running--;
    *(cancelled ? &pool->cancelled : &pool->completed) += 1;
}

/* A task, and of a strand's some of those behind it. */
static void run_some(jd_thread_pool *pool, struct pool_task *task)
{
    jd_strand *strand = task->strand;

    for (unsigned in_a_row = 1; task != NULL; in_a_row++) {
        run(pool, task);
        task = strand != NULL ? strand_next(strand, in_a_row) : NULL;
    }
    if (pool->waiters > 0 && pool->waiting == 0 && pool->running == 0)
        thread_condition_broadcast(&pool->all_ended);
}

static void *run_thread(void *arg)
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
    while ((task = next_task(pool)) != NULL)
        run_some(pool, task);
    thread_mutex_unlock(&pool->lock);
    return NULL;
}

/* ---- submitting ---- */

/* Under the lock. NULL when all are under way. */
static struct pool_task *take_free_task(jd_thread_pool *pool)
{
    struct mpsc_node *node = pool->free_tasks;

    if (node == NULL)
        node = mpsc_queue_take_all(&pool->tasks_home);
    if (node == NULL)
        return pool->tasks_used < pool->task_limit ? &pool->tasks[pool->tasks_used++] : NULL;
    pool->free_tasks = node->next;
    return (struct pool_task *)node;
}

/* Under the lock. Returns whether a thread must be woken for it. */
static bool enqueue(jd_thread_pool *pool, jd_strand *strand, struct pool_task *task, const struct pool_task *order)
{
    *task = *order;
    task->delivery.run = tell_on_loop;
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

int thread_pool_submit(jd_thread_pool *pool, jd_strand *strand, const struct pool_task *order)
{
    struct pool_task *task = NULL;
    bool wake = false;
    int result = 0;

    thread_mutex_lock(&pool->lock);
    if (pool->stopping)
        result = JD_ECANCELED;
    else if ((task = take_free_task(pool)) != NULL)
        wake = enqueue(pool, strand, task, order);
    else
        result = JD_EAGAIN;
    pool->refused += result == JD_EAGAIN;
    if (wake)
        atomic_fetch_add(&pool->references, 1); /* the task may have run by then, and its end may be the pool's */
    thread_mutex_unlock(&pool->lock);
    if (wake) {
        thread_condition_signal(&pool->task_came);
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

/* ---- beginning and end ---- */

static unsigned default_threads(void)
{
    unsigned processors = thread_processor_count();

    return processors < MAX_THREADS ? processors : MAX_THREADS;
}

static int make(jd_thread_pool **out, const jd_thread_pool_options *options)
{
    uint32_t task_limit = options->task_limit != 0 ? options->task_limit : DEFAULT_TASKS;
    unsigned threads = options->threads != 0 ? options->threads : default_threads();
    jd_thread_pool *pool;

    if (threads > MAX_THREADS || task_limit > MAX_TASKS)
        return JD_EINVAL;
    pool = memory_allocate(sizeof(*pool) + task_limit * sizeof(pool->tasks[0]));
    if (pool == NULL)
        return JD_ENOMEM;
    *pool = (jd_thread_pool){ .task_limit = task_limit,
                              .threads_wanted = threads,
                              .thread_init = options->thread_init,
                              .thread_init_arg = options->thread_init_arg };
    snprintf(pool->name, sizeof(pool->name), "%s", options->name != NULL ? options->name : "pool");
    pool->threads = memory_allocate(threads * sizeof(pool->threads[0]));
    if (pool->threads == NULL) {
        memory_release(pool, sizeof(*pool) + task_limit * sizeof(pool->tasks[0]));
        return JD_ENOMEM;
    }
    thread_mutex_init(&pool->lock);
    thread_condition_init(&pool->task_came);
    thread_condition_init(&pool->all_ended);
    mpsc_queue_init(&pool->tasks_home);
    atomic_init(&pool->references, 1);
    *out = pool;
    return 0;
}

/* The threads cancel what is queued still. */
static void stop(jd_thread_pool *pool)
{
    thread_mutex_lock(&pool->lock);
    pool->stopping = true;
    thread_condition_broadcast(&pool->task_came);
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
    int result = make(&pool, options != NULL ? options : &defaults);

    if (result < 0)
        return result;
    while (pool->thread_count < pool->threads_wanted) {
        result = thread_start(&pool->threads[pool->thread_count], run_thread, pool);
        if (result < 0) {
            stop(pool);
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
    stop(pool);
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
