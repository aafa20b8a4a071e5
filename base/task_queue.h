/* Task queue: many threads put tasks in, one takes them out, in the order in which they were put. Nobody waits for anybody;
 * but a task is taken only when those whose places are before its own are written, so that a thread which is held up between
 * taking its place and writing it holds up the tasks behind.
 *
 * It is a ring of cells (after D. Vyukov's bounded queue, of which one consumer needs only half: it writes no cell), and a
 * list beside it (base/mpsc_queue.h) for when the ring is full, so that a task with memory of its own always finds room.
 * Who puts something in takes its place in one word: the next cell, or, from the first that found the ring full until the
 * list has been taken, one more on the list. While some are on the list no cell is given out, so what is in the ring is
 * older than what is on the list, and what comes after the list was taken is younger. */
#ifndef BASE_TASK_QUEUE_H
#define BASE_TASK_QUEUE_H

#include "base/mpsc_queue.h"

#include <stdint.h>

/* A task with memory of its own: embedded in what it is about, or allocated by who queues it. */
struct task_node {
    struct mpsc_node node;
    void (*run)(struct task_node *task);
};

/* One that was taken. Without a function arg is a struct task_node. */
struct task {
    void (*function)(void *arg);
    void *arg;
};

struct task_cell {
    _Atomic uint32_t turn; /* the place it holds, plus one, once that is written */
    struct task task;
};

enum { TASK_QUEUE_DISTANCE_BYTES = 128 }; /* two lines of the cache: processors fetch them in pairs */

struct task_queue {
    char distance_before[TASK_QUEUE_DISTANCE_BYTES];
    struct task_cell *cells; /* does not change */
    uint32_t mask;           /* neither */
    char distance_to_own[TASK_QUEUE_DISTANCE_BYTES];
    /* The consumer's. */
    uint32_t taken;         /* places */
    uint32_t batch_end;     /* what was there when the batch began */
    bool batch_is_listed;   /* and behind the ring the list, as it is by then */
    struct mpsc_node *list; /* taken, not run yet */
    char distance_to_shared[TASK_QUEUE_DISTANCE_BYTES];
    /* Everybody's: bits 0 to 31 the next place in the ring, 32 to 62 how many are on the list or on their way to it, 63
     * whether the queue is closed. */
    _Atomic uint64_t places;
    _Atomic uint32_t free_seen; /* as free_until, when a producer last looked there */
    struct mpsc_queue listed;
    char distance_to_free[TASK_QUEUE_DISTANCE_BYTES];
    _Atomic uint32_t free_until; /* the place before which cells may be written; written now and then */
    char distance_behind[TASK_QUEUE_DISTANCE_BYTES];
};

/* cells: a power of two. Returns 0 or JD_ENOMEM. */
int task_queue_init(struct task_queue *queue, uint32_t cells);

/* Of a queue that holds nothing. */
void task_queue_destroy(struct task_queue *queue);

/* Both from any thread, and sequentially consistent, as a sleeping consumer's flag is read after them (net/loop/loop_queue.c).
 * JD_ECANCELED if the queue is closed: the task is the caller's still. */

/* JD_ENOBUFS if only a task with memory of its own finds room. */
int task_queue_put(struct task_queue *queue, void (*function)(void *), void *arg);
int task_queue_put_node(struct task_queue *queue, struct task_node *task);

/* From any thread. */
static inline bool task_queue_is_closed(const struct task_queue *queue)
{
    return atomic_load(&queue->places) >> 63 != 0;
}

/* ---- the consumer ---- */

/* Whether there is nothing to take now. Somebody may be about to put something in: he is not done yet, and reads whether
 * the consumer sleeps afterwards. */
bool task_queue_is_empty(const struct task_queue *queue);

/* Begins a batch: what is in the queue now. If the last batch is not at its end, it goes on. */
void task_queue_begin(struct task_queue *queue);

/* Takes the next of the batch. False at its end: also in front of one that is being put in at this moment. */
bool task_queue_take(struct task_queue *queue, struct task *task);

/* Whether the batch was left in its midst. */
static inline bool task_queue_is_in_batch(const struct task_queue *queue)
{
    return queue->list != NULL || queue->taken != queue->batch_end || queue->batch_is_listed;
}

/* From now on nothing is put in. */
void task_queue_close(struct task_queue *queue);

/* Takes the next of a closed queue, waiting for who is putting something in at this moment. False when it is empty. */
bool task_queue_take_last(struct task_queue *queue, struct task *task);

static inline void task_run(const struct task *task)
{
    struct task_node *node = (struct task_node *)task->arg;

    if (task->function != NULL)
        task->function(task->arg);
    else
        node->run(node);
}

#endif
