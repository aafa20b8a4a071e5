/* A list of tasks under a lock, as programs need it with libraries that have no task queue for other threads. */
#ifndef BENCHMARKS_PEERS_TASK_LIST_H
#define BENCHMARKS_PEERS_TASK_LIST_H

#include <pthread.h>
#include <stdlib.h>

struct task_list_item {
    struct task_list_item *next;
    void (*function)(void *arg);
    void *arg;
};

struct task_list {
    pthread_mutex_t lock;
    struct task_list_item *first, **end;
};

static inline void task_list_init(struct task_list *list)
{
    pthread_mutex_init(&list->lock, NULL);
    list->first = NULL;
    list->end = &list->first;
}

/* Returns whether the list was empty: then the caller has to wake the loop. */
static inline int task_list_push(struct task_list *list, void (*function)(void *arg), void *arg)
{
    struct task_list_item *item = (struct task_list_item *)malloc(sizeof(*item));
    int was_empty;

    if (item == NULL)
        abort();
    item->next = NULL;
    item->function = function;
    item->arg = arg;
    pthread_mutex_lock(&list->lock);
    was_empty = list->first == NULL;
    *list->end = item;
    list->end = &item->next;
    pthread_mutex_unlock(&list->lock);
    return was_empty;
}

static inline void task_list_run(struct task_list *list)
{
    struct task_list_item *item;

    pthread_mutex_lock(&list->lock);
    item = list->first;
    list->first = NULL;
    list->end = &list->first;
    pthread_mutex_unlock(&list->lock);
    while (item != NULL) {
        struct task_list_item *next = item->next;
        item->function(item->arg);
        free(item);
        item = next;
    }
}

#endif
