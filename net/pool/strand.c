/* Strand: the pool has at most one task of a strand at a time. The thread that has run it takes the strand's next
 * task. */
#include "base/platform/thread.h"
#include "net/pool/thread_pool.h"

#include "base/memory.h"

#include <jinduo/error.h>

enum { STRAND_BUDGET_TASKS = 16 };

bool strand_append(jd_strand *strand, struct pool_task *task)
{
    bool first = !strand->scheduled;

    strand->scheduled = true;
    task_list_append(first ? &strand->pool->queue : &strand->waiting, task);
    return first;
}

static void strand_free(jd_strand *strand)
{
    jd_thread_pool *pool = strand->pool;

    memory_release(strand, sizeof(*strand));
    thread_pool_release(pool);
}

struct pool_task *strand_next(jd_strand *strand, unsigned tasks_in_a_row)
{
    struct pool_task *next = task_list_take(&strand->waiting);

    if (next == NULL) {
        strand->scheduled = false;
        if (strand->destroyed)
            strand_free(strand);
        return NULL;
    }
    if (tasks_in_a_row < STRAND_BUDGET_TASKS)
        return next;
    /* No thread must be woken: the calling thread takes its next task from the queue. */
    task_list_append(&strand->pool->queue, next);
    return NULL;
}

int jd_strand_create(jd_strand **out, jd_thread_pool *pool)
{
    jd_strand *strand = memory_allocate_zeroed(sizeof(*strand));

    if (strand == NULL)
        return JD_ENOMEM;
    strand->pool = pool;
    atomic_fetch_add(&pool->references, 1);
    *out = strand;
    return 0;
}

int jd_strand_submit(jd_strand *strand, jd_task work, void *work_arg, jd_event_loop *loop, jd_work_done done,
                     void *done_arg)
{
    return thread_pool_submit(
        strand->pool, strand,
        &(struct pool_task){ .work = work, .work_arg = work_arg, .loop = loop, .done = done, .done_arg = done_arg });
}

void jd_strand_destroy(jd_strand *strand)
{
    jd_thread_pool *pool;
    bool idle;

    if (strand == NULL)
        return;
    pool = strand->pool;
    thread_mutex_lock(&pool->lock);
    strand->destroyed = true;
    idle = !strand->scheduled;
    thread_mutex_unlock(&pool->lock);
    if (idle)
        strand_free(strand);
}
