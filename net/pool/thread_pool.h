/* The members of a thread pool and of its strands. */
#ifndef NET_POOL_THREAD_POOL_H
#define NET_POOL_THREAD_POOL_H

#include "base/platform/thread.h"
#include "net/engine/engine_events.h"
#include "net/loop/loop_queue.h"

#include <jinduo/thread_pool.h>

struct pool_task {
    struct task_node delivery; /* takes the task to its loop for the report; then link of returned_tasks */
    struct pool_task *next;    /* in a task_list */
    jd_thread_pool *pool;
    jd_strand *strand; /* or NULL */
    jd_task work;
    void *work_arg;
    jd_event_loop *loop; /* or NULL; the task has a reference to its memory (event_loop_ref_memory) */
    jd_work_done done;
    void *done_arg;
    int error; /* the result to report */
};

_Static_assert(sizeof(struct pool_task) == 88, "the size documented at jd_thread_pool_options.task_limit");

/* A FIFO of tasks; all zero is empty. */
struct task_list {
    struct pool_task *first, *last;
};

static inline void task_list_append(struct task_list *list, struct pool_task *task)
{
    task->next = NULL;
    if (list->first == NULL)
        list->first = task;
    else
        list->last->next = task;
    list->last = task;
}

/* Removes and returns the first task; NULL if the list is empty. */
static inline struct pool_task *task_list_take(struct task_list *list)
{
    struct pool_task *task = list->first;

    if (task != NULL)
        list->first = task->next;
    return task;
}

struct jd_thread_pool {
    thread_mutex lock; /* protects the members before returned_tasks */
    thread_condition task_arrived, all_ended;
    struct task_list queue; /* with at most one task of each strand, its next one */
    uint64_t waiting, running, completed, cancelled, refused;
    uint32_t idle_threads; /* threads that wait for task_arrived */
    uint32_t waiters;      /* threads that wait for all_ended */
    uint32_t threads_named;
    bool stopping;
    struct mpsc_node *free_tasks;
    uint32_t tasks_used; /* entries of tasks[] used so far; the memory of the others has not been touched */

    struct mpsc_queue returned_tasks; /* reported tasks; the holder of the lock moves them to free_tasks */

    /* References to this memory: one of the user until jd_thread_pool_destroy, one of each pending task, one of each
     * strand. */
    _Atomic uint32_t references;

    char name[16];
    jd_task thread_init;
    void *thread_init_arg;
    thread_handle *threads;
    uint32_t thread_count, threads_wanted;
    uint32_t task_limit;
    struct pool_task tasks[];
};

/* All members but pool are under the pool's lock. */
struct jd_strand {
    jd_thread_pool *pool;
    struct task_list waiting; /* tasks after the one that the pool has */
    bool scheduled;           /* the pool has one of its tasks, in its queue or running */
    bool destroyed;           /* jd_strand_destroy was called */
};

_Static_assert(sizeof(struct jd_strand) == 32, "the size documented at jd_strand_create");

/* jd_thread_pool_submit and, with a strand, jd_strand_submit. request: the task without its delivery; it is copied.
 * From any thread. */
int thread_pool_submit(jd_thread_pool *pool, jd_strand *strand, const struct pool_task *request);

/* Drops one of pool->references; the last one frees the pool's memory. From any thread. */
void thread_pool_release(jd_thread_pool *pool);

/* ---- strand.c; all under the pool's lock ---- */

/* Appends a task to the strand, or to the pool's queue if the pool has no task of the strand. Returns true in the
 * second case. */
bool strand_append(jd_strand *strand, struct pool_task *task);

/* Returns the next task for a thread that has just run tasks_in_a_row tasks of the strand. NULL: none is waiting, or
 * the strand must let other tasks run first, and its next task is in the pool's queue. After NULL the strand may have
 * been freed. */
struct pool_task *strand_next(jd_strand *strand, unsigned tasks_in_a_row);

#endif
