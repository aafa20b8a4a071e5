/* MPSC queue: many threads push, one takes all that is there at once. Lock-free and intrusive: a Treiber stack whose
 * whole content is exchanged away and turned around, so there is no ABA and the order of each pusher is kept
 * (R. K. Treiber, IBM RJ 5118, 1986). */
#ifndef BASE_MPSC_QUEUE_H
#define BASE_MPSC_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct mpsc_node {
    struct mpsc_node *next;
};

struct mpsc_queue {
    _Atomic(struct mpsc_node *) head;
};

static inline void mpsc_queue_init(struct mpsc_queue *queue)
{
    atomic_init(&queue->head, NULL);
}

/* From any thread. Sequentially consistent, as a sleeping consumer's flag is read after it (see net/loop/loop_queue.c). */
static inline void mpsc_queue_push(struct mpsc_queue *queue, struct mpsc_node *node)
{
    struct mpsc_node *head = atomic_load_explicit(&queue->head, memory_order_relaxed);
    do
        node->next = head;
    while (!atomic_compare_exchange_weak(&queue->head, &head, node));
}

/* From any thread. */
static inline bool mpsc_queue_is_empty(const struct mpsc_queue *queue)
{
    return atomic_load(&queue->head) == NULL;
}

/* Everything pushed so far, oldest first, linked by next. Only the consumer. */
struct mpsc_node *mpsc_queue_take_all(struct mpsc_queue *queue);

#endif
