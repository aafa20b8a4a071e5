/* The tail queues of queue(7) that the examples use. */
#ifndef EXAMPLES_WINDOWS_SYS_QUEUE_H
#define EXAMPLES_WINDOWS_SYS_QUEUE_H

#define TAILQ_HEAD(name, type)                                                                                         \
    struct name {                                                                                                      \
        struct type *tqh_first, **tqh_last;                                                                            \
    }

#define TAILQ_ENTRY(type)                                                                                              \
    struct {                                                                                                           \
        struct type *tqe_next, **tqe_prev;                                                                             \
    }

#define TAILQ_FIRST(head)       ((head)->tqh_first)
#define TAILQ_NEXT(item, field) ((item)->field.tqe_next)
#define TAILQ_EMPTY(head)       (TAILQ_FIRST(head) == NULL)

#define TAILQ_INIT(head)        ((head)->tqh_first = NULL, (head)->tqh_last = &(head)->tqh_first)

#define TAILQ_INSERT_TAIL(head, item, field)                                                                           \
    do {                                                                                                               \
        (item)->field.tqe_next = NULL;                                                                                 \
        (item)->field.tqe_prev = (head)->tqh_last;                                                                     \
        *(head)->tqh_last = (item);                                                                                    \
        (head)->tqh_last = &(item)->field.tqe_next;                                                                    \
    } while (0)

#define TAILQ_REMOVE(head, item, field)                                                                                \
    do {                                                                                                               \
        if ((item)->field.tqe_next != NULL)                                                                            \
            (item)->field.tqe_next->field.tqe_prev = (item)->field.tqe_prev;                                           \
        else                                                                                                           \
            (head)->tqh_last = (item)->field.tqe_prev;                                                                 \
        *(item)->field.tqe_prev = (item)->field.tqe_next;                                                              \
    } while (0)

#define TAILQ_FOREACH(item, head, field)                                                                               \
    for ((item) = TAILQ_FIRST(head); (item) != NULL; (item) = TAILQ_NEXT(item, field))

#endif
