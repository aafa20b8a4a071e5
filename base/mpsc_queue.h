/* MPSC queue: many producers push nodes, one consumer takes all nodes at once. Lock-free and intrusive: a Treiber stack
 * (R. K. Treiber, IBM RJ 5118, 1986). The consumer exchanges the head for NULL, so there is no ABA problem, and
 * reverses the list, so the order of the pushes is kept. */
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

/* From any thread. Sequentially consistent: the producer reads afterwards whether the consumer sleeps
 * (net/loop/loop_queue.c). */
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

/* Returns all nodes pushed so far, linked by next, the oldest first; NULL: none. In the consumer's thread only. */
struct mpsc_node *mpsc_queue_take_all(struct mpsc_queue *queue);

#endif
