/* Tasks with libevent. It has no task queue for other threads: a list under a lock, and event_active when it was
 * empty. */
#include "benchmarks/peers/task_list.h"
#include "benchmarks/peers/tasks.h"

#include <event2/event.h>
#include <event2/thread.h>

static struct event_base *base;
static struct event *wake;
static struct task_list list;

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    task_list_run(&list);
}

int tasks_prepare(void)
{
    task_list_init(&list);
    if (evthread_use_pthreads() < 0 || (base = event_base_new()) == NULL)
        return -1;
    wake = event_new(base, -1, EV_PERSIST, on_wake, NULL);
    return wake == NULL || event_add(wake, NULL) < 0;
}

void tasks_run(void)
{
    event_base_loop(base, EVLOOP_NO_EXIT_ON_EMPTY);
}

static void task(void *arg)
{
    if (tasks_ran())
        event_base_loopbreak(base);
}

void tasks_post(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (task_list_push(&list, task, NULL))
            event_active(wake, 0, 0);
}
