#include "base/task_queue.h"

#include "base/memory.h"
#include "base/platform/thread.h"

#include <jinduo/error.h>

enum { PREFETCHED_CELLS = 32, PREFETCHED_TASKS = 16, CELLS_PER_PUBLISH = 64, YIELDS_MAX = 64 };

static const uint64_t state_one_listed = UINT64_C(1) << 32, state_closed = UINT64_C(1) << 63;

/* ---- the state word (task_queue.h) ---- */

static uint32_t state_position(uint64_t state)
{
    return (uint32_t)state;
}

static uint32_t state_listed(uint64_t state)
{
    return (uint32_t)((state & ~state_closed) >> 32);
}

static uint64_t state_advanced(uint64_t state)
{
    return (state & ~(uint64_t)UINT32_MAX) | (uint32_t)(state_position(state) + 1);
}

/* ---- life ---- */

int task_queue_init(struct task_queue *queue, uint32_t cells)
{
    queue->cells = memory_allocate_zeroed(cells * sizeof(struct task_cell));
    if (queue->cells == NULL)
        return JD_ENOMEM;
    queue->mask = cells - 1;
    queue->taken = 0;
    queue->batch_end = 0;
    queue->batch_is_listed = false;
    queue->list = NULL;
    atomic_init(&queue->state, 0);
    atomic_init(&queue->free_until, cells);
    atomic_init(&queue->free_until_cached, cells);
    mpsc_queue_init(&queue->listed);
    return 0;
}

void task_queue_destroy(struct task_queue *queue)
{
    memory_release(queue->cells, ((size_t)queue->mask + 1) * sizeof(struct task_cell));
}

/* ---- producers ---- */

/* A free position is 1 to `cells` before free_until. Any other distance means a full ring, or an outdated value of
 * free_until. */
static bool has_room(const struct task_queue *queue, uint32_t free_until, uint32_t position)
{
    return free_until - position - 1 <= queue->mask;
}

/* free_until is on the consumer's cache line: read it only if the producers' copy of it shows no room. */
static bool is_full(struct task_queue *queue, uint32_t position)
{
    uint32_t free_until = atomic_load_explicit(&queue->free_until_cached, memory_order_acquire);

    if (has_room(queue, free_until, position))
        return false;
    free_until = atomic_load_explicit(&queue->free_until, memory_order_acquire);
    atomic_store_explicit(&queue->free_until_cached, free_until, memory_order_release);
    return !has_room(queue, free_until, position);
}

static void write_cell(struct task_queue *queue, uint32_t position, void (*function)(void *), void *arg)
{
    struct task_cell *cell = &queue->cells[position & queue->mask];

    __builtin_prefetch(&queue->cells[(position + PREFETCHED_CELLS) & queue->mask], 1);
    cell->task.function = function;
    cell->task.arg = arg;
    atomic_store(&cell->sequence, position + 1);
}

/* Reserves a cell. Returns 0 and its position; JD_ENOBUFS if the ring has none, and then, if the task can be listed,
 * counts it as listed; JD_ECANCELED if the queue is closed. */
static int reserve_cell(struct task_queue *queue, bool can_be_listed, uint32_t *position)
{
    uint64_t state = atomic_load_explicit(&queue->state, memory_order_relaxed);
    uint64_t next;
    bool full;

    do {
        if (state & state_closed)
            return JD_ECANCELED;
        full = state_listed(state) > 0 || is_full(queue, state_position(state));
        if (full && !can_be_listed)
            return JD_ENOBUFS;
        next = full ? state + state_one_listed : state_advanced(state);
    } while (!atomic_compare_exchange_weak(&queue->state, &state, next));
    *position = state_position(state);
    return full ? JD_ENOBUFS : 0;
}

int task_queue_push(struct task_queue *queue, void (*function)(void *), void *arg)
{
    uint32_t position;
    int result = reserve_cell(queue, false, &position);

    if (result == 0)
        write_cell(queue, position, function, arg);
    return result;
}

int task_queue_push_node(struct task_queue *queue, struct task_node *task)
{
    uint32_t position;
    int result = reserve_cell(queue, true, &position);

    if (result == 0)
        write_cell(queue, position, NULL, task);
    if (result != JD_ENOBUFS)
        return result;
    mpsc_queue_push(&queue->listed, &task->node);
    return 0;
}

/* ---- the consumer ---- */

static const struct task_cell *next_cell(const struct task_queue *queue)
{
    return &queue->cells[queue->taken & queue->mask];
}

bool task_queue_is_empty(const struct task_queue *queue)
{
    if (task_queue_is_in_batch(queue) || atomic_load(&next_cell(queue)->sequence) == queue->taken + 1)
        return false;
    return state_position(atomic_load(&queue->state)) != queue->taken || mpsc_queue_is_empty(&queue->listed);
}

void task_queue_begin(struct task_queue *queue)
{
    uint64_t state;

    if (task_queue_is_in_batch(queue))
        return;
    state = atomic_load_explicit(&queue->state, memory_order_acquire);
    queue->batch_end = state_position(state);
    queue->batch_is_listed = state_listed(state) > 0;
}

static void publish_free_cells(struct task_queue *queue)
{
    atomic_store_explicit(&queue->free_until, queue->taken + queue->mask + 1, memory_order_release);
}

static bool take_from_ring(struct task_queue *queue, struct task *task)
{
    const struct task_cell *cell = next_cell(queue);

    if (atomic_load_explicit(&cell->sequence, memory_order_acquire) != queue->taken + 1) {
        queue->batch_end = queue->taken;
        queue->batch_is_listed = false;
        publish_free_cells(queue);
        return false;
    }
    if (queue->batch_end - queue->taken > PREFETCHED_TASKS)
        __builtin_prefetch(&queue->cells[(queue->taken + PREFETCHED_TASKS) & queue->mask], 0);
    *task = cell->task;
    if (++queue->taken % CELLS_PER_PUBLISH == 0 || queue->taken == queue->batch_end)
        publish_free_cells(queue);
    return true;
}

/* Takes the whole list. Only now may producers reserve cells again. */
static void take_all_listed(struct task_queue *queue)
{
    uint64_t count = 0;

    queue->batch_is_listed = false;
    queue->list = mpsc_queue_take_all(&queue->listed);
    for (const struct mpsc_node *node = queue->list; node != NULL; node = node->next)
        count++;
    atomic_fetch_sub(&queue->state, count * state_one_listed);
}

bool task_queue_take(struct task_queue *queue, struct task *task)
{
    if (queue->list == NULL && queue->taken != queue->batch_end)
        return take_from_ring(queue, task);
    if (queue->batch_is_listed)
        take_all_listed(queue);
    if (queue->list == NULL)
        return false;
    *task = (struct task){ .arg = queue->list };
    queue->list = queue->list->next;
    return true;
}

void task_queue_close(struct task_queue *queue)
{
    atomic_fetch_or(&queue->state, state_closed);
}

bool task_queue_take_last(struct task_queue *queue, struct task *task)
{
    enum { PAUSE_NS = 1000 * 1000 };

    for (unsigned tries = 0;; tries++) {
        uint64_t state = atomic_load(&queue->state);
        task_queue_begin(queue);
        if (task_queue_take(queue, task))
            return true;
        if (state_position(state) == queue->taken && state_listed(state) == 0)
            return false;
        if (tries < YIELDS_MAX)
            thread_yield();
        else
            thread_sleep_ns(PAUSE_NS); /* the producer may have a lower priority */
    }
}
