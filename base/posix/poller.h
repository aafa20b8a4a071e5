/* Poller: readiness by epoll (epoll(7)). Each descriptor is registered with a token, which its events return. In one
 * thread at a time. */
#ifndef BASE_POSIX_POLLER_H
#define BASE_POSIX_POLLER_H

#include <jinduo/channel.h>
#include <sys/epoll.h>

/* Converts the events of a channel (JD_READABLE ..., jinduo/channel.h) to those of epoll. */
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

/* Converts the events of epoll to those of a channel. */
static inline unsigned poller_readiness(uint32_t events)
{
    unsigned ready = 0;

    if (events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP))
        ready |= JD_READABLE;
    if (events & EPOLLOUT)
        ready |= JD_WRITABLE;
    /* After a hang-up or an error neither reading nor writing blocks. A pipe without a writer reports only EPOLLHUP
     * (poll(2)). */
    if (events & (EPOLLHUP | EPOLLERR))
        ready |= JD_HANGUP | JD_READABLE | JD_WRITABLE;
    return ready;
}

enum { POLLER_BATCH = 256 };

struct poller {
    int epoll;
    struct epoll_event events[POLLER_BATCH]; /* the events of the last wait */
};

/* These return 0 or a negative error (epoll_create1(2), epoll_ctl(2)). poller_modify changes events and token of a
 * registered descriptor. */
int poller_open(struct poller *poller);
void poller_close(struct poller *poller);
int poller_add(struct poller *poller, int fd, uint32_t events, uint64_t token);
int poller_modify(struct poller *poller, int fd, uint32_t events, uint64_t token);
int poller_remove(struct poller *poller, int fd);

/* Waits at most timeout_ns (negative: without limit; rounded up to milliseconds). Returns the number of events, 0 if a
 * signal has interrupted the wait, or a negative error. */
int poller_wait(struct poller *poller, int64_t timeout_ns);

#endif
