/* Pipes with Asio: a stream descriptor for each, which waits to be readable again after each event. */
#include "benchmarks/peers/pipes.h"

#include <asio.hpp>
#include <memory>
#include <vector>

static asio::io_context context(1);
static std::vector<std::unique_ptr<asio::posix::stream_descriptor>> descriptors;

static void wait(unsigned number)
{
    descriptors[number]->async_wait(asio::posix::stream_descriptor::wait_read, [number](const asio::error_code &error) {
        if (error)
            return;
        int last = pipes_readable(number);
        wait(number);
        if (last)
            context.stop();
    });
}

int pipes_prepare(const int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        descriptors.push_back(std::make_unique<asio::posix::stream_descriptor>(context, fds[i]));
        wait(i);
    }
    return 0;
}

void pipes_run(void)
{
    context.restart();
    context.run();
}
