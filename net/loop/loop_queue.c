/* How other threads reach a loop: its task queue, its wake-up, and the registry of loops by index. */
#include "base/platform/thread.h"
#include "net/loop/event_loop.h"

#include "base/memory.h"

#include <jinduo/error.h>

enum { MAX_LOOPS = 255 };

/* Loops by index, so that the id of a connection leads to its loop from any thread. An index is allocated before the
 * loop is ready and freed after it is destroyed; the loop is found only from publish to withdraw. */
static thread_mutex registry_lock = THREAD_MUTEX_INITIALIZER;
static struct {
    bool taken;
    jd_event_loop *loop;
    uint32_t generation;   /* first_generation of the next loop */
} registry[MAX_LOOPS + 1]; /* index 0 is not used: no id is 0 */

static struct loop_wake wakes[MAX_LOOPS + 1]; /* by index */

int loop_registry_allocate_index(jd_event_loop *loop, uint32_t *first_generation)
{
    int result = JD_EMFILE;

    thread_mutex_lock(&registry_lock);
    for (int i = 1; i <= MAX_LOOPS && result < 0; i++) {
        if (registry[i].taken)
            continue;
        registry[i].taken = true;
        loop->index = (uint8_t)i;
        *first_generation = registry[i].generation;
        result = 0;
    }
    thread_mutex_unlock(&registry_lock);
    if (result < 0)
        return result;
    loop->shared.wake = &wakes[loop->index];
    loop->shared.wake->loop = loop;
    return 0;
}

void loop_registry_publish(jd_event_loop *loop)
{
    thread_mutex_lock(&registry_lock);
    registry[loop->index].loop = loop;
    thread_mutex_unlock(&registry_lock);
}

void loop_registry_withdraw(jd_event_loop *loop)
{
    thread_mutex_lock(&registry_lock);
    registry[loop->index].loop = NULL;
    thread_mutex_unlock(&registry_lock);
}

void loop_registry_free_index(uint8_t index, uint32_t generation)
{
    thread_mutex_lock(&registry_lock);
    registry[index].taken = false;
    registry[index].generation = generation;
    thread_mutex_unlock(&registry_lock);
}

/* ---- waking ---- */

void event_loop_wake(struct loop_wake *wake)
{
    int sleeping = LOOP_SLEEPING;

    /* Sequentially consistent on both sides: the producer pushes before it reads the state; the loop writes SLEEPING
     * before it checks the queue a last time. So the producer finds SLEEPING, or the loop finds the task. */
    if (atomic_load(&wake->state) != LOOP_SLEEPING)
        return;
    /* Meanwhile the loop may have been woken by another event and may be being destroyed: its destruction waits for
     * wakers. If the state belongs to the next loop of the index by now, that loop is woken without need. */
    atomic_fetch_add(&wake->wakers, 1);
    if (atomic_compare_exchange_strong(&wake->state, &sleeping, LOOP_SIGNALLED)) {
        jd_event_loop *loop = wake->loop;
        atomic_fetch_add_explicit(&loop->shared.wakeups_sent, 1, memory_order_relaxed);
        loop->ops->wake(loop->engine);
    }
    atomic_fetch_sub(&wake->wakers, 1);
}

void event_loop_wait_for_wakers(jd_event_loop *loop)
{
    /* The state may still be SLEEPING: after jd_event_loop_next_timeout_ms, or after a wait that failed. */
    atomic_store(&loop->shared.wake->state, LOOP_AWAKE);
    while (atomic_load(&loop->shared.wake->wakers) > 0)
        thread_yield();
}

/* ---- queueing ---- */

/* Wakes the loop unless the caller is one of its own callbacks: then it is awake. Elsewhere it may be asleep, even in
 * the owner's thread, because the owner changes when another thread runs the loop for the first time. */
static void wake_after_push(jd_event_loop *loop, struct loop_wake *wake)
{
    if (event_loop_current() == loop)
        counter_add(&loop->counters.tasks_from_inside, 1);
    else
        event_loop_wake(wake);
}

bool event_loop_push(jd_event_loop *loop, struct task_node *task)
{
    struct loop_wake *wake = loop->shared.wake;

    if (task_queue_push_node(&loop->queue, task) < 0)
        return false;
    wake_after_push(loop, wake);
    return true;
}

bool event_loop_push_with_ref(jd_event_loop *loop, struct task_node *task)
{
    bool pushed;

    event_loop_ref_memory(loop);
    pushed = event_loop_push(loop, task);
    event_loop_unref_memory(loop);
    return pushed;
}

int event_loop_push_by_index(uint8_t index, struct task_node *task)
{
    jd_event_loop *loop;
    bool pushed;

    thread_mutex_lock(&registry_lock);
    loop = registry[index].loop;
    if (loop != NULL)
        event_loop_ref_memory(loop); /* the loop may be destroyed as soon as the lock is released */
    thread_mutex_unlock(&registry_lock);
    if (loop == NULL)
        return JD_ENOENT;
    pushed = event_loop_push(loop, task);
    event_loop_unref_memory(loop);
    return pushed ? 0 : JD_ENOENT;
}

struct user_task {
    struct task_node task;
    jd_task function;
    void *arg;
};

static void run_user_task(struct task_node *task)
{
    struct user_task user = *(struct user_task *)task;

    memory_release(task, sizeof(struct user_task));
    user.function(user.arg);
}

/* Queues a task with memory of its own, for a full ring. */
static int queue_user_task(jd_event_loop *loop, jd_task function, void *arg)
{
    struct user_task *user = memory_allocate(sizeof(*user));

    if (user == NULL)
        return JD_ENOMEM;
    *user = (struct user_task){ .task.run = run_user_task, .function = function, .arg = arg };
    if (event_loop_push(loop, &user->task))
        return 0;
    memory_release(user, sizeof(*user));
    return JD_ECANCELED;
}

int jd_event_loop_queue_in_loop(jd_event_loop *loop, jd_task function, void *arg)
{
    struct loop_wake *wake = loop->shared.wake;
    int result = task_queue_push(&loop->queue, function, arg);

    if (result == JD_ENOBUFS)
        return queue_user_task(loop, function, arg);
    if (result == 0)
        wake_after_push(loop, wake);
    return result;
}

int jd_event_loop_run_in_loop(jd_event_loop *loop, jd_task function, void *arg)
{
    if (event_loop_current() != loop)
        return jd_event_loop_queue_in_loop(loop, function, arg);
    function(arg);
    return 0;
}
