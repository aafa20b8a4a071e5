#include "base/mpsc_queue.h"

struct mpsc_node mpsc_closed;

static struct mpsc_node *take_and_leave(struct mpsc_queue *queue, struct mpsc_node *left)
{
    struct mpsc_node *newest = atomic_exchange(&queue->head, left);
    struct mpsc_node *oldest = NULL;

    if (newest == &mpsc_closed)
        return NULL;
    while (newest != NULL) {
        struct mpsc_node *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

struct mpsc_node *mpsc_queue_take_all(struct mpsc_queue *queue)
{
    /* The exchange costs more than a look. A closed queue stays closed. */
    return mpsc_queue_is_empty(queue) ? NULL : take_and_leave(queue, NULL);
}

struct mpsc_node *mpsc_queue_close(struct mpsc_queue *queue)
{
    return take_and_leave(queue, &mpsc_closed);
}
