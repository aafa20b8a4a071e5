#include "base/task_queue.h"

#include "base/memory.h"
#include "base/platform/thread.h"

#include <jinduo/error.h>

enum { PREFETCHED_CELLS = 32, PREFETCHED_TASKS = 16, TAKEN_PER_NOTE = 64, YIELDS = 64 };

static const uint64_t one_listed = UINT64_C(1) << 32, closed = UINT64_C(1) << 63;

/* ---- the word ---- */

static uint32_t place_of(uint64_t places)
{
    return (uint32_t)places;
}

static uint32_t listed_of(uint64_t places)
{
    return (uint32_t)((places & ~closed) >> 32);
}

static uint64_t one_more_in_the_ring(uint64_t places)
{
    return (places & ~(uint64_t)UINT32_MAX) | (uint32_t)(place_of(places) + 1);
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
    atomic_init(&queue->places, 0);
    atomic_init(&queue->free_until, cells);
    atomic_init(&queue->free_seen, cells);
    mpsc_queue_init(&queue->listed);
    return 0;
}

void task_queue_destroy(struct task_queue *queue)
{
    memory_release(queue->cells, ((size_t)queue->mask + 1) * sizeof(struct task_cell));
}

/* ---- producers ---- */

/* free_until is 0 to cells ahead of a place that is free to be taken; anything else is an old word for it. */
static bool has_room(const struct task_queue *queue, uint32_t free_until, uint32_t place)
{
    return free_until - place - 1 <= queue->mask;
}

/* The consumer's word for it is far away, and read only when what was seen of it does not do. */
static bool is_full(struct task_queue *queue, uint32_t place)
{
    uint32_t free_until = atomic_load_explicit(&queue->free_seen, memory_order_acquire);

    if (has_room(queue, free_until, place))
        return false;
    free_until = atomic_load_explicit(&queue->free_until, memory_order_acquire);
    atomic_store_explicit(&queue->free_seen, free_until, memory_order_release);
    return !has_room(queue, free_until, place);
}

static void write_cell(struct task_queue *queue, uint32_t place, void (*function)(void *), void *arg)
{
    struct task_cell *cell = &queue->cells[place & queue->mask];

    __builtin_prefetch(&queue->cells[(place + PREFETCHED_CELLS) & queue->mask], 1);
    cell->task.function = function;
    cell->task.arg = arg;
    atomic_store(&cell->turn, place + 1);
}

/* Returns 0 with a place in the ring, or JD_ENOBUFS if there is none; then it counts as on the list, if it can be there. */
static int take_place(struct task_queue *queue, bool can_be_listed, uint32_t *place)
{
    uint64_t places = atomic_load_explicit(&queue->places, memory_order_relaxed);
    uint64_t next;
    bool full;

    do {
        if (places & closed)
            return JD_ECANCELED;
        full = listed_of(places) > 0 || is_full(queue, place_of(places));
        if (full && !can_be_listed)
            return JD_ENOBUFS;
        next = full ? places + one_listed : one_more_in_the_ring(places);
    } while (!atomic_compare_exchange_weak(&queue->places, &places, next));
    *place = place_of(places);
    return full ? JD_ENOBUFS : 0;
}

int task_queue_put(struct task_queue *queue, void (*function)(void *), void *arg)
{
    uint32_t place;
    int result = take_place(queue, false, &place);

    if (result == 0)
        write_cell(queue, place, function, arg);
    return result;
}

int task_queue_put_node(struct task_queue *queue, struct task_node *task)
{
    uint32_t place;
    int result = take_place(queue, true, &place);

    if (result == 0)
        write_cell(queue, place, NULL, task);
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
    if (task_queue_is_in_batch(queue) || atomic_load(&next_cell(queue)->turn) == queue->taken + 1)
        return false;
    return place_of(atomic_load(&queue->places)) != queue->taken || mpsc_queue_is_empty(&queue->listed);
}

void task_queue_begin(struct task_queue *queue)
{
    uint64_t places;

    if (task_queue_is_in_batch(queue))
        return;
    places = atomic_load_explicit(&queue->places, memory_order_acquire);
    queue->batch_end = place_of(places);
    queue->batch_is_listed = listed_of(places) > 0;
}

static void give_cells_back(struct task_queue *queue)
{
    atomic_store_explicit(&queue->free_until, queue->taken + queue->mask + 1, memory_order_release);
}

static bool take_from_ring(struct task_queue *queue, struct task *task)
{
    const struct task_cell *cell = next_cell(queue);

    if (atomic_load_explicit(&cell->turn, memory_order_acquire) != queue->taken + 1) {
        queue->batch_end = queue->taken;
        queue->batch_is_listed = false;
        give_cells_back(queue);
        return false;
    }
    if (queue->batch_end - queue->taken > PREFETCHED_TASKS)
        __builtin_prefetch(&queue->cells[(queue->taken + PREFETCHED_TASKS) & queue->mask], 0);
    *task = cell->task;
    if (++queue->taken % TAKEN_PER_NOTE == 0 || queue->taken == queue->batch_end)
        give_cells_back(queue);
    return true;
}

/* Only now are cells given out again. */
static void take_list(struct task_queue *queue)
{
    uint64_t count = 0;

    queue->batch_is_listed = false;
    queue->list = mpsc_queue_take_all(&queue->listed);
    for (const struct mpsc_node *node = queue->list; node != NULL; node = node->next)
        count++;
    atomic_fetch_sub(&queue->places, count * one_listed);
}

bool task_queue_take(struct task_queue *queue, struct task *task)
{
    if (queue->list == NULL && queue->taken != queue->batch_end)
        return take_from_ring(queue, task);
    if (queue->batch_is_listed)
        take_list(queue);
    if (queue->list == NULL)
        return false;
    *task = (struct task){ .arg = queue->list };
    queue->list = queue->list->next;
    return true;
}

void task_queue_close(struct task_queue *queue)
{
    atomic_fetch_or(&queue->places, closed);
}

bool task_queue_take_last(struct task_queue *queue, struct task *task)
{
    enum { PAUSE_NS = 1000 * 1000 };

    for (unsigned tries = 0;; tries++) {
        uint64_t places = atomic_load(&queue->places);
        task_queue_begin(queue);
        if (task_queue_take(queue, task))
            return true;
        if (place_of(places) == queue->taken && listed_of(places) == 0)
            return false;
        if (tries < YIELDS)
            thread_yield();
        else
            thread_sleep_ns(PAUSE_NS); /* whoever it is may have a lower priority */
    }
}
