/* Pipes with libevent: a persistent event for each. */
#include "benchmarks/peers/pipes.h"

#include <event2/event.h>
#include <stdint.h>

static struct event_base *base;

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    if (pipes_readable((unsigned)(uintptr_t)arg))
        event_base_loopbreak(base);
}

int pipes_prepare(const int *fds, unsigned count)
{
    base = event_base_new();
    for (unsigned i = 0; base != NULL && i < count; i++) {
        struct event *event = event_new(base, fds[i], EV_READ | EV_PERSIST, on_readable, (void *)(uintptr_t)i);
        if (event == NULL || event_add(event, NULL) < 0)
            return -1;
    }
    return base == NULL;
}

void pipes_run(void)
{
    event_base_dispatch(base);
}
