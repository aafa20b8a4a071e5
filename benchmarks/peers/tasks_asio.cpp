/* Tasks with Asio (asio::post). The context has the concurrency hint 1: one thread runs it. */
#include "benchmarks/peers/tasks.h"

#include <asio.hpp>

static asio::io_context context(1);

int tasks_prepare(void)
{
    return 0;
}

void tasks_run(void)
{
    auto work = asio::make_work_guard(context);
    context.run();
}

void tasks_post(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        asio::post(context, [] {
            if (tasks_ran())
                context.stop();
        });
}
