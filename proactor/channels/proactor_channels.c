/* The user's descriptors. They are in an epoll instance of their own, which the backend polls as it would any descriptor:
 * so levels, edges and what can be watched at all are epoll's (epoll(7)), as on the Reactor; and a channel's end leaves
 * nothing under way that would hold the user's file open. */
#include "base/posix/poller.h"
#include "net/engine/channel.h"
#include "proactor/engine/proactor_engine.h"

#include <jinduo/error.h>

int proactor_poll_channels(struct proactor_engine *proactor)
{
    const struct operation_request request = {
        .kind = OPERATION_POLL,
        .token = proactor_token(COMPLETES_CHANNELS, 0),
        .fd = proactor->channels.epoll,
        .poll_events = EPOLLIN,
    };
    int result;

    if (proactor->channel_count == 0 || proactor->channels_polled)
        return 0;
    result = proactor_submit(proactor, &request);
    proactor->channels_polled = result == 0;
    return result;
}

static int open_channels(struct proactor_engine *proactor)
{
    int result = proactor->channels_open ? 0 : poller_open(&proactor->channels);

    if (result == 0)
        proactor->channels_open = true;
    return result;
}

void proactor_close_channels(struct proactor_engine *proactor)
{
    if (proactor->channels_open)
        poller_close(&proactor->channels);
}

int proactor_watch(struct engine *engine, jd_channel *channel)
{
    struct proactor_engine *proactor = proactor_of(engine);
    uint64_t token = (uint64_t)(uintptr_t)channel;
    uint32_t events = poller_interest(channel->events);
    int result;

    if (channel->watched)
        return poller_modify(&proactor->channels, channel->fd, events, token);
    result = open_channels(proactor);
    if (result == 0)
        result = poller_add(&proactor->channels, channel->fd, events, token);
    if (result == 0)
        proactor->channel_count++;
    return result;
}

static void release_channels(struct proactor_engine *proactor)
{
    while (proactor->released_channels != NULL) {
        jd_channel *channel = proactor->released_channels;
        proactor->released_channels = channel->engine_data;
        channel_released(channel);
    }
}

/* With the last channel the poll ends, too: until then that channel counts as watched, so that the loop waits for it. */
void proactor_unwatch(struct engine *engine, jd_channel *channel)
{
    struct proactor_engine *proactor = proactor_of(engine);

    poller_remove(&proactor->channels, channel->fd);
    channel->engine_data = proactor->released_channels;
    proactor->released_channels = channel;
    proactor->channel_count--;
    if (proactor->channel_count > 0 || !proactor->channels_polled)
        release_channels(proactor);
    else
        proactor_cancel(proactor, proactor->channels.epoll, proactor_token(COMPLETES_CHANNELS, 0));
}

void proactor_channels_ready(struct proactor_engine *proactor)
{
    int count = poller_wait(&proactor->channels, 0);

    proactor->channels_polled = false;
    release_channels(proactor);
    if (count < 0)
        proactor->error = count;
    for (int i = 0; i < count; i++) {
        const struct epoll_event *event = &proactor->channels.events[i];
        channel_ready((jd_channel *)(uintptr_t)event->data.u64, poller_readiness(event->events));
    }
}
