#include "base/posix/poller.h"

#include "base/posix/system_calls.h"
#include "base/timeout.h"

#include <errno.h>

int poller_open(struct poller *poller)
{
    poller->epoll = system_calls.epoll_create1(EPOLL_CLOEXEC);
    return poller->epoll < 0 ? -errno : 0;
}

void poller_close(struct poller *poller)
{
    system_calls.close(poller->epoll);
}

static int poller_control(struct poller *poller, int operation, int fd, uint32_t events, uint64_t token)
{
    struct epoll_event event = { .events = events, .data.u64 = token };

    return system_calls.epoll_ctl(poller->epoll, operation, fd, &event) < 0 ? -errno : 0;
}

int poller_add(struct poller *poller, int fd, uint32_t events, uint64_t token)
{
    return poller_control(poller, EPOLL_CTL_ADD, fd, events, token);
}

int poller_modify(struct poller *poller, int fd, uint32_t events, uint64_t token)
{
    return poller_control(poller, EPOLL_CTL_MOD, fd, events, token);
}

int poller_remove(struct poller *poller, int fd)
{
    return poller_control(poller, EPOLL_CTL_DEL, fd, 0, 0);
}

int poller_wait(struct poller *poller, int64_t timeout_ns)
{
    int count = system_calls.epoll_wait(poller->epoll, poller->events, POLLER_BATCH, timeout_to_ms(timeout_ns));

    if (count < 0)
        return errno == EINTR ? 0 : -errno;
    return count;
}
