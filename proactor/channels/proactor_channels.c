/* The user's descriptors: registered with an epoll instance, which the backend polls like any descriptor.
 *
 *   - Level, edge and the kinds of files that can be watched are those of epoll(7), as on the Reactor.
 *   - A channel that ends leaves no operation in flight that would keep the user's file open. */
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
    bool polled;          /* the poll of the epoll instance is in flight */
    jd_channel *released; /* to be reported; linked by engine_data */
};

static uint64_t channels_poll_token(void)
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
        .token = channels_poll_token(),
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

static void channels_report_released(struct proactor_channels *channels)
{
    while (channels->released != NULL) {
        jd_channel *channel = channels->released;
        channels->released = channel->engine_data;
        channel_released(channel);
    }
}

/* The last channel is reported as released only when the poll has completed: until then it counts as watched, so that
 * the loop does not end before the poll. */
static void channels_unwatch(struct proactor_channels *channels, jd_channel *channel)
{
    poller_remove(&channels->poller, channel->fd);
    channel->engine_data = channels->released;
    channels->released = channel;
    channels->count--;
    if (channels->count > 0 || !channels->polled)
        channels_report_released(channels);
    else
        channels->backend->ops->cancel(channels->backend, channels->poller.epoll, channels_poll_token());
}

static int channels_ready(struct proactor_channels *channels)
{
    int count = poller_wait(&channels->poller, 0);

    channels->polled = false;
    channels_report_released(channels);
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
