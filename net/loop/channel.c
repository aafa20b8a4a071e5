#include "net/engine/channel.h"

#include "base/log.h"
#include "base/memory.h"
#include "net/loop/event_loop.h"

#include <jinduo/error.h>

static bool events_are_known(unsigned events)
{
    return (events & ~(unsigned)(JD_READABLE | JD_WRITABLE | JD_EDGE)) == 0;
}

static void link_channel(jd_channel *channel)
{
    jd_event_loop *loop = channel->loop;

    channel->next = loop->channels.first;
    if (channel->next != NULL)
        channel->next->previous = channel;
    loop->channels.first = channel;
}

static int events_check(unsigned events)
{
    return events_are_known(events)
               ? 0
               : log_invalid("channel: events 0x%x has bits other than JD_READABLE, JD_WRITABLE and JD_EDGE", events);
}

static void unlink_channel(jd_channel *channel)
{
    if (channel->previous != NULL)
        channel->previous->next = channel->next;
    else
        channel->loop->channels.first = channel->next;
    if (channel->next != NULL)
        channel->next->previous = channel->previous;
}

int jd_channel_create(jd_channel **out, jd_event_loop *loop, jd_handle handle, unsigned events,
                      jd_channel_callback callback, void *arg)
{
    jd_channel *channel;
    int result;

    if (handle < 0)
        return log_invalid("channel: the handle %d is none", (int)handle);
    if (callback == NULL)
        return log_invalid("channel: there is no callback");
    if (events_check(events) < 0)
        return JD_EINVAL;
    if (!event_loop_is_in_loop_thread(loop))
        return JD_EPERM;
    if (loop->destroying)
        return JD_ECANCELED;
    channel = memory_allocate_zeroed(sizeof(*channel));
    if (channel == NULL)
        return JD_ENOMEM;
    channel->loop = loop;
    channel->callback = callback;
    channel->arg = arg;
    channel->fd = handle;
    channel->events = events;
    result = loop->ops->watch(loop->engine, channel);
    if (result < 0) {
        memory_release(channel, sizeof(*channel));
        return result;
    }
    channel->watched = true;
    loop->channels.watched++;
    link_channel(channel);
    *out = channel;
    return 0;
}

int jd_channel_set_events(jd_channel *channel, unsigned events)
{
    jd_event_loop *loop = channel->loop;
    unsigned before = channel->events;
    int result;

    if (events_check(events) < 0)
        return JD_EINVAL;
    if (!event_loop_is_in_loop_thread(loop))
        return JD_EPERM;
    channel->events = events;
    result = loop->ops->watch(loop->engine, channel);
    if (result < 0)
        channel->events = before;
    return result;
}

void jd_channel_destroy(jd_channel *channel)
{
    jd_event_loop *loop;

    if (channel == NULL || channel->dead)
        return;
    loop = channel->loop;
    channel->dead = true;
    unlink_channel(channel);
    loop->ops->unwatch(loop->engine, channel);
}

void channel_released(jd_channel *channel)
{
    channel->loop->channels.watched--;
    channel->next = channel->loop->channels.dead;
    channel->loop->channels.dead = channel;
}

void channel_ready(jd_channel *channel, unsigned events)
{
    /* The callback of an earlier event of the same wait may have destroyed the channel, or changed its events. */
    events &= channel->events | JD_HANGUP;
    if (channel->dead || events == 0)
        return;
    flush_before_callback(channel->loop);
    channel->callback(channel, channel->fd, events, channel->arg);
}

void channels_free_dead(jd_event_loop *loop)
{
    while (loop->channels.dead != NULL) {
        jd_channel *channel = loop->channels.dead;
        loop->channels.dead = channel->next;
        memory_release(channel, sizeof(*channel));
    }
}

void channels_destroy_all(jd_event_loop *loop)
{
    while (loop->channels.first != NULL)
        jd_channel_destroy(loop->channels.first);
}
