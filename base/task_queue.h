/* Task queue: many producers push tasks, one consumer (the loop's thread) takes them in the order of the pushes. No
 * thread waits for another. But the consumer takes a task only after the cells before it are written: a producer that
 * is preempted between reserving its cell and writing it delays the tasks after it.
 *
 * The queue is a ring of cells (after D. Vyukov's bounded MPMC queue; with one consumer, only the producers write
 * cells), and a list beside it (base/mpsc_queue.h) for a full ring: a task with memory of its own (struct task_node)
 * always finds room. One atomic word orders both: a producer reserves in it the next cell of the ring; or, from the
 * first push that finds the ring full until the consumer has taken the list, one more entry of the list. While entries
 * are listed no cell is reserved: so the tasks in the ring are older than those on the list, and tasks pushed after the
 * list was taken are younger. */
#ifndef BASE_TASK_QUEUE_H
#define BASE_TASK_QUEUE_H

#include "base/mpsc_queue.h"

#include <stdint.h>

/* A task with memory of its own: embedded in the object that it is about, or allocated by the producer. */
struct task_node {
    struct mpsc_node node;
    void (*run)(struct task_node *task);
};

/* A task that was taken from the queue. function NULL: arg is a struct task_node. */
struct task {
    void (*function)(void *arg);
    void *arg;
};

struct task_cell {
    _Atomic uint32_t sequence; /* position + 1 of the last task that was written to the cell */
    struct task task;
};

enum { TASK_QUEUE_PADDING_BYTES = 128 }; /* two cache lines: processors prefetch them in pairs */

struct task_queue {
    char padding_before[TASK_QUEUE_PADDING_BYTES];
    /* Constant. */
    struct task_cell *cells;
    uint32_t mask; /* number of cells - 1 */
    char padding_before_consumer[TASK_QUEUE_PADDING_BYTES];
    /* The consumer's. */
    uint32_t taken;         /* position of the next cell to take */
    uint32_t batch_end;     /* position at which the batch ends in the ring */
    bool batch_is_listed;   /* the batch continues with the list, as it is when the ring's part is taken */
    struct mpsc_node *list; /* the rest of the list that was taken */
    char padding_before_shared[TASK_QUEUE_PADDING_BYTES];
    /* Shared by all producers and the consumer. state: bits 0 to 31 position of the next cell to reserve, 32 to 62
     * number of entries that are listed or about to be, 63 whether the queue is closed. */
    _Atomic uint64_t state;
    _Atomic uint32_t free_until_cached; /* the producers' copy of free_until, perhaps outdated */
    struct mpsc_queue listed;
    char padding_before_free[TASK_QUEUE_PADDING_BYTES];
    _Atomic uint32_t free_until; /* cells before this position may be written; the consumer updates it now and then */
    char padding_after[TASK_QUEUE_PADDING_BYTES];
};

/* Creates an empty queue. cells: the size of the ring, a power of two. Returns 0 or JD_ENOMEM. */
int task_queue_init(struct task_queue *queue, uint32_t cells);

/* Frees the ring. The queue must be empty. */
void task_queue_destroy(struct task_queue *queue);

/* task_queue_push queues function(arg); task_queue_push_node queues a task, which the queue owns until it is taken.
 * From any thread. Sequentially consistent: the producer reads afterwards whether the consumer sleeps
 * (net/loop/loop_queue.c). Return 0; JD_ECANCELED: the queue is closed; JD_ENOBUFS (push only): the ring is full. After
 * an error nothing was queued. */
int task_queue_push(struct task_queue *queue, void (*function)(void *), void *arg);
int task_queue_push_node(struct task_queue *queue, struct task_node *task);

/* From any thread. */
static inline bool task_queue_is_closed(const struct task_queue *queue)
{
    return atomic_load(&queue->state) >> 63 != 0;
}

/* ---- the consumer; in its thread only ---- */

/* Whether there is no task to take now. A push that is not finished does not count: its producer reads afterwards
 * whether the consumer sleeps. */
bool task_queue_is_empty(const struct task_queue *queue);

/* Begins a batch: the tasks that are in the queue now. If the last batch has tasks left, it is continued instead. */
void task_queue_begin(struct task_queue *queue);

/* Takes the next task of the batch. False: the batch has ended, or its next task is not written yet, which ends it as
 * well. */
bool task_queue_take(struct task_queue *queue, struct task *task);

/* Whether the current batch has tasks left. */
static inline bool task_queue_is_in_batch(const struct task_queue *queue)
{
    return queue->list != NULL || queue->taken != queue->batch_end || queue->batch_is_listed;
}

/* Closes the queue: from now on it refuses tasks. */
void task_queue_close(struct task_queue *queue);

/* Takes the next task of a closed queue; waits for pushes that are not finished. False: the queue is empty. */
bool task_queue_take_last(struct task_queue *queue, struct task *task);

/* Runs a task that was taken. A struct task_node may be freed or reused inside. */
static inline void task_run(const struct task *task)
{
    struct task_node *node = (struct task_node *)task->arg;

    if (task->function != NULL)
        task->function(task->arg);
    else
        node->run(node);
}

#endif
