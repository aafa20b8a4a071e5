/* Asio's tasks. Told that one thread runs the context (its concurrency hint). */
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
