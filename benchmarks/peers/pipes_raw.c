/* Pipes written directly on epoll, level-triggered. */
#include "benchmarks/peers/pipes.h"

#include <stdbool.h>
#include <sys/epoll.h>

enum { EVENTS_PER_WAIT = 512 };

static int epoll_fd;

int pipes_prepare(const int *fds, unsigned count)
{
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < count; i++) {
        struct epoll_event event = { .events = EPOLLIN, .data.u32 = i };
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fds[i], &event) < 0)
            return -1;
    }
    return epoll_fd < 0;
}

void pipes_run(void)
{
    struct epoll_event events[EVENTS_PER_WAIT];
    bool last = false;

    while (!last) {
        int ready = epoll_wait(epoll_fd, events, EVENTS_PER_WAIT, -1);
        for (int i = 0; i < ready; i++)
            last |= pipes_readable(events[i].data.u32);
    }
}
