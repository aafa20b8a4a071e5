#include "base/mpsc_queue.h"

struct mpsc_node *mpsc_queue_take_all(struct mpsc_queue *queue)
{
    struct mpsc_node *newest, *oldest = NULL;

    /* An atomic exchange costs more than a load. */
    if (mpsc_queue_is_empty(queue))
        return NULL;
    newest = atomic_exchange(&queue->head, NULL);
    while (newest != NULL) {
        struct mpsc_node *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}
