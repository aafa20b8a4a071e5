/* The user's descriptors. They are in an epoll instance of their own, which the backend polls as it would any descriptor:
 * so levels, edges and what can be watched at all are epoll's (epoll(7)), as on the Reactor; and a channel's end leaves
 * nothing under way that would hold the user's file open. */
#include "proactor/channels/proactor_channels.h"

#include "base/memory.h"
#include "base/posix/poller.h"
#include "net/engine/channel.h"
#include "proactor/completion_token.h"

#include <jinduo/error.h>

struct proactor_channels {
    struct poller poller;
    struct backend *backend;
    unsigned count;       /* watched */
    bool polled;          /* the poll of the epoll instance is under way */
    jd_channel *released; /* by engine_data; the poll may still be under way */
};

static uint64_t poll_token(void)
{
    return proactor_token(COMPLETES_CHANNELS, 0);
}

static int channels_open(struct proactor_channels **channels, struct backend *backend)
{
    struct proactor_channels *made = memory_allocate_zeroed(sizeof(*made));
    int result;

    if (made == NULL)
        return JD_ENOMEM;
    result = poller_open(&made->poller);
    if (result < 0) {
        memory_release(made, sizeof(*made));
        return result;
    }
    made->backend = backend;
    *channels = made;
    return 0;
}

static void channels_close(struct proactor_channels *channels)
{
    poller_close(&channels->poller);
    memory_release(channels, sizeof(*channels));
}

static int channels_poll(struct proactor_channels *channels)
{
    const struct operation_request request = {
        .opcode = OPCODE_POLL,
        .token = poll_token(),
        .fd = channels->poller.epoll,
        .poll_events = READY_INPUT,
    };
    int result;

    if (channels->count == 0 || channels->polled)
        return 0;
    result = channels->backend->ops->submit(channels->backend, &request);
    channels->polled = result == 0;
    return result;
}

static int channels_watch(struct proactor_channels *channels, jd_channel *channel)
{
    uint64_t token = (uint64_t)(uintptr_t)channel;
    uint32_t events = poller_interest(channel->events);
    int result;

    if (channel->watched)
        return poller_modify(&channels->poller, channel->fd, events, token);
    result = poller_add(&channels->poller, channel->fd, events, token);
    if (result == 0)
        channels->count++;
    return result;
}

static void release(struct proactor_channels *channels)
{
    while (channels->released != NULL) {
        jd_channel *channel = channels->released;
        channels->released = channel->engine_data;
        channel_released(channel);
    }
}

/* With the last channel the poll ends, too: until then that channel counts as watched, so that the loop waits for it. */
static void channels_unwatch(struct proactor_channels *channels, jd_channel *channel)
{
    poller_remove(&channels->poller, channel->fd);
    channel->engine_data = channels->released;
    channels->released = channel;
    channels->count--;
    if (channels->count > 0 || !channels->polled)
        release(channels);
    else
        channels->backend->ops->cancel(channels->backend, channels->poller.epoll, poll_token());
}

static int channels_ready(struct proactor_channels *channels)
{
    int count = poller_wait(&channels->poller, 0);

    channels->polled = false;
    release(channels);
    for (int i = 0; i < count; i++) {
        const struct epoll_event *event = &channels->poller.events[i];
        channel_ready((jd_channel *)(uintptr_t)event->data.u64, poller_readiness(event->events));
    }
    return count < 0 ? count : 0;
}

const struct proactor_channel_ops epoll_channels = {
    .open = channels_open,
    .close = channels_close,
    .watch = channels_watch,
    .unwatch = channels_unwatch,
    .poll = channels_poll,
    .ready = channels_ready,
};
