/* Poller: readiness by epoll (epoll(7)), and nothing more: who is ready is a token that the caller chose. */
#ifndef BASE_POSIX_POLLER_H
#define BASE_POSIX_POLLER_H

#include <jinduo/channel.h>
#include <sys/epoll.h>

/* A channel's events (JD_READABLE and so on, jinduo/channel.h) as epoll's; and epoll's as a channel's. */
static inline uint32_t poller_interest(unsigned channel_events)
{
    uint32_t events = 0;

    if (channel_events & JD_READABLE)
        events |= EPOLLIN | EPOLLRDHUP;
    if (channel_events & JD_WRITABLE)
        events |= EPOLLOUT;
    if (channel_events & JD_EDGE)
        events |= EPOLLET;
    return events;
}

static inline unsigned poller_readiness(uint32_t events)
{
    unsigned ready = 0;

    if (events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP))
        ready |= JD_READABLE;
    if (events & EPOLLOUT)
        ready |= JD_WRITABLE;
    /* Then neither reading nor writing would block; a pipe whose writer is gone reports nothing but EPOLLHUP (poll(2)). */
    if (events & (EPOLLHUP | EPOLLERR))
        ready |= JD_HANGUP | JD_READABLE | JD_WRITABLE;
    return ready;
}

enum { POLLER_BATCH = 256 };

struct poller {
    int epoll;
    struct epoll_event events[POLLER_BATCH]; /* what the last wait found */
};

/* All return 0 (wait: a count) or a negative error. */
int poller_open(struct poller *poller);
void poller_close(struct poller *poller);
int poller_add(struct poller *poller, int fd, uint32_t events, uint64_t token);
int poller_modify(struct poller *poller, int fd, uint32_t events, uint64_t token);
int poller_remove(struct poller *poller, int fd);

/* Waits at most timeout_ns (negative: without end), rounded up to the millisecond. A signal ends it with a count of 0. */
int poller_wait(struct poller *poller, int64_t timeout_ns);

#endif
