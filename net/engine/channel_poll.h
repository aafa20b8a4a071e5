/* A channel's events and epoll's, for the engines that watch channels by epoll. */
#ifndef NET_ENGINE_CHANNEL_POLL_H
#define NET_ENGINE_CHANNEL_POLL_H

#include "net/engine/channel.h"

#include <sys/epoll.h>

static inline uint32_t channel_poll_events(const jd_channel *channel)
{
    uint32_t events = 0;

    if (channel->events & JD_READABLE)
        events |= EPOLLIN | EPOLLRDHUP;
    if (channel->events & JD_WRITABLE)
        events |= EPOLLOUT;
    if (channel->events & JD_EDGE)
        events |= EPOLLET;
    return events;
}

static inline void channel_polled(jd_channel *channel, uint32_t events)
{
    unsigned ready = 0;

    if (events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP))
        ready |= JD_READABLE;
    if (events & EPOLLOUT)
        ready |= JD_WRITABLE;
    /* Then neither reading nor writing would block; a pipe whose writer is gone tells nothing but EPOLLHUP (poll(2)). */
    if (events & (EPOLLHUP | EPOLLERR))
        ready |= JD_HANGUP | JD_READABLE | JD_WRITABLE;
    channel_ready(channel, ready);
}

#endif
