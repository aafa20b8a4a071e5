/* Tasks with jinduo (jd_event_loop_queue_in_loop). */
#include "benchmarks/peers/tasks.h"

#include <jinduo/jinduo.h>
#include <stdlib.h>

static jd_event_loop *loop;

int tasks_prepare(void)
{
    return jd_event_loop_create(&loop, NULL);
}

void tasks_run(void)
{
    if (jd_event_loop_run(loop) < 0)
        abort();
}

static void task(void *arg)
{
    if (tasks_ran())
        jd_event_loop_quit(loop);
}

void tasks_post(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (jd_event_loop_queue_in_loop(loop, task, NULL) < 0)
            abort();
}
