/* Tasks with libuv. It has no task queue for other threads: a list under a lock, and uv_async_send when it was
 * empty. */
#include "benchmarks/peers/task_list.h"
#include "benchmarks/peers/tasks.h"

#include <uv.h>

static uv_loop_t loop;
static uv_async_t wake;
static struct task_list list;

static void on_wake(uv_async_t *handle)
{
    task_list_run(&list);
}

int tasks_prepare(void)
{
    task_list_init(&list);
    return uv_loop_init(&loop) < 0 || uv_async_init(&loop, &wake, on_wake) < 0;
}

void tasks_run(void)
{
    uv_run(&loop, UV_RUN_DEFAULT);
}

static void task(void *arg)
{
    if (tasks_ran())
        uv_stop(&loop);
}

void tasks_post(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (task_list_push(&list, task, NULL))
            uv_async_send(&wake);
}
