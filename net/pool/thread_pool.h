/* Thread pool's inside, shared with its strands. */
#ifndef NET_POOL_THREAD_POOL_H
#define NET_POOL_THREAD_POOL_H

#include "base/platform/thread.h"
#include "net/engine/engine_events.h"
#include "net/loop/loop_queue.h"

#include <jinduo/thread_pool.h>

struct pool_task {
    struct task_node delivery; /* carries the end to the loop, then the task home to its pool */
    struct pool_task *next;    /* in a task_list */
    jd_thread_pool *pool;
    jd_strand *strand; /* or NULL */
    jd_task work;
    void *work_arg;
    jd_event_loop *loop; /* a reference to its shell; or NULL */
    jd_work_done done;
    void *done_arg;
    int error;
};

_Static_assert(sizeof(struct pool_task) == 88, "jd_thread_pool_options says so");

/* First in, first out. */
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

/* NULL when it is empty. */
static inline struct pool_task *task_list_take(struct task_list *list)
{
    struct pool_task *task = list->first;

    if (task != NULL)
        list->first = task->next;
    return task;
}

struct jd_thread_pool {
    thread_mutex lock; /* for everything up to tasks_home */
    thread_condition task_came, all_ended;
    struct task_list queue; /* of each strand at most one task: the next one */
    uint64_t waiting, running, completed, cancelled, refused;
    uint32_t idle_threads; /* that wait for task_came */
    uint32_t waiters;      /* for all_ended */
    uint32_t threads_named;
    bool stopping;
    struct mpsc_node *free_tasks;
    uint32_t tasks_used; /* of the array, so far: the rest has not been touched yet */

    struct mpsc_queue tasks_home; /* ended: free, but not in free_tasks yet. Whoever holds the lock takes them */

    /* What keeps this memory: the user until destroy, each task under way, each strand. */
    _Atomic uint32_t references;

    char name[16];
    jd_task thread_init;
    void *thread_init_arg;
    thread_handle *threads;
    uint32_t thread_count, threads_wanted;
    uint32_t task_limit;
    struct pool_task tasks[];
};

/* The members are under the pool's lock. */
struct jd_strand {
    jd_thread_pool *pool;
    struct task_list waiting; /* behind the one that the pool has */
    bool scheduled;           /* the pool has one: in its queue, or running */
    bool destroyed;
};

_Static_assert(sizeof(struct jd_strand) == 32, "jd_strand_create says so");

/* What both submits do. strand may be NULL. */
int thread_pool_submit(jd_thread_pool *pool, jd_strand *strand, const struct pool_task *order);

/* One of references. */
void thread_pool_release(jd_thread_pool *pool);

/* ---- strand.c; all under the pool's lock ---- */

/* Takes a task; returns whether it went to the pool's queue. */
bool strand_append(jd_strand *strand, struct pool_task *task);

/* The next to be run by a thread that has just run tasks_in_a_row of the strand's; NULL when it is another's turn. The
 * strand may be gone then. */
struct pool_task *strand_next(jd_strand *strand, unsigned tasks_in_a_row);

#endif
