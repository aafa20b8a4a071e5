/* The loop side of the Reactor: engine_ops. */
#include "net/reactor/reactor.h"

#include "base/memory.h"
#include "base/platform/clock.h"
#include "base/posix/system_calls.h"
#include "net/engine/channel.h"
#include "net/engine/listen_socket.h"

#include <errno.h>
#include <jinduo/error.h>
#include <sys/eventfd.h>

static int reactor_create(struct engine **engine, jd_event_loop *loop)
{
    struct reactor *reactor = memory_allocate_zeroed(sizeof(*reactor));
    int result;

    if (reactor == NULL)
        return JD_ENOMEM;
    reactor->engine.ops = &reactor_engine;
    reactor->engine.loop = loop;
    reactor->ready_link = &reactor->ready_first;
    result = poller_open(&reactor->poller);
    if (result < 0)
        goto free_reactor;
    reactor->wakeup = system_calls.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (reactor->wakeup < 0) {
        result = -errno;
        goto close_poller;
    }
    /* Edge-triggered: each write to the eventfd is an edge, so it need not be read. Its counter, at most 2^64 - 2
     * (eventfd(2)), cannot fill up in practice. */
    result = poller_add(&reactor->poller, reactor->wakeup, EPOLLIN | EPOLLET, reactor_token(TOKEN_WAKEUP, 0));
    if (result < 0)
        goto close_wakeup;
    *engine = &reactor->engine;
    return 0;

close_wakeup:
    system_calls.close(reactor->wakeup);
close_poller:
    poller_close(&reactor->poller);
free_reactor:
    memory_release(reactor, sizeof(*reactor));
    return result;
}

static void reactor_destroy(struct engine *engine)
{
    struct reactor *reactor = reactor_of(engine);

    if (reactor->block != NULL)
        block_release(reactor->block);
    system_calls.close(reactor->wakeup);
    poller_close(&reactor->poller);
    memory_release(reactor, sizeof(*reactor));
}

static void reactor_wake(struct engine *engine)
{
    /* The only error, EAGAIN for a full counter, would mean that a wake-up is pending already. */
    eventfd_write(reactor_of(engine)->wakeup, 1);
}

static jd_timestamp reactor_now(const struct engine *engine)
{
    return clock_now();
}

static void reactor_dispatch(struct reactor *reactor, const struct epoll_event *event)
{
    uint64_t value = event->data.u64 & token_value_mask;
    struct stream *stream;

    switch ((enum reactor_token)(event->data.u64 >> TOKEN_KIND_SHIFT)) {
    case TOKEN_WAKEUP:
        break;
    case TOKEN_STREAM:
        stream = stream_by_token(reactor->engine.loop, value);
        if (stream != NULL)
            reactor_stream_event(reactor, stream, event->events);
        break;
    case TOKEN_LISTENER:
        acceptor_event(reactor, (struct listener *)(uintptr_t)value);
        break;
    case TOKEN_CONNECTOR:
        connector_event(reactor, (struct connector *)(uintptr_t)value);
        break;
    case TOKEN_CHANNEL:
        channel_ready((jd_channel *)(uintptr_t)value, poller_readiness(event->events));
        break;
    }
}

/* With many connections, the next one has left the cache since its last event: it is loaded while this one is
 * served. */
static void reactor_prefetch(const struct reactor *reactor, const struct epoll_event *event)
{
    enum { STREAM_LINES = 2, LINE_BYTES = 64 };
    const char *stream = NULL;

    if (event->data.u64 >> TOKEN_KIND_SHIFT == TOKEN_STREAM)
        stream = stream_address(reactor->engine.loop, event->data.u64 & token_value_mask);
    for (int i = 0; stream != NULL && i < STREAM_LINES; i++)
        __builtin_prefetch(stream + i * LINE_BYTES);
}

/* How long to wait: not at all if work is ready, at most until starved listeners are retried. */
static int64_t reactor_time_to_wait(const struct reactor *reactor, int64_t timeout_ns)
{
    int64_t until_retry_ns;

    if (reactor->ready_first != NULL || reactor->ready_listeners != NULL)
        return 0;
    if (reactor->starved_listeners == NULL)
        return timeout_ns;
    if (reactor->descriptor_freed)
        return 0;
    until_retry_ns = reactor->retry_accept_at - reactor_now(&reactor->engine);
    if (until_retry_ns < 0)
        until_retry_ns = 0;
    return timeout_ns < 0 || until_retry_ns < timeout_ns ? until_retry_ns : timeout_ns;
}

/* An epoll descriptor is readable while it has events (epoll(7), question 3). */
static int reactor_pollable(struct engine *engine)
{
    return reactor_of(engine)->poller.epoll;
}

static int64_t reactor_prepare_wait(struct engine *engine, int64_t timeout_ns)
{
    return reactor_time_to_wait(reactor_of(engine), timeout_ns);
}

static int reactor_wait(struct engine *engine, int64_t timeout_ns)
{
    struct reactor *reactor = reactor_of(engine);
    int count = poller_wait(&reactor->poller, reactor_time_to_wait(reactor, timeout_ns));
    unsigned more;

    event_loop_count_enter(engine->loop);
    event_loop_woke(engine->loop);
    /* The ready lists of the last turn come first, before new events add to them. */
    more = reactor_run_ready(reactor) + acceptor_run_ready(reactor);
    for (int i = 0; i < count; i++) {
        if (i + 1 < count)
            reactor_prefetch(reactor, &reactor->poller.events[i + 1]);
        reactor_dispatch(reactor, &reactor->poller.events[i]);
    }
    if (reactor->starved_listeners != NULL)
        more += acceptor_retry(reactor);
    return count < 0 ? count : count + (int)more;
}

static int reactor_watch(struct engine *engine, jd_channel *channel)
{
    struct poller *poller = &reactor_of(engine)->poller;
    uint64_t token = reactor_token(TOKEN_CHANNEL, (uint64_t)(uintptr_t)channel);
    uint32_t events = poller_interest(channel->events);

    return channel->watched ? poller_modify(poller, channel->fd, events, token)
                            : poller_add(poller, channel->fd, events, token);
}

static void reactor_unwatch(struct engine *engine, jd_channel *channel)
{
    poller_remove(&reactor_of(engine)->poller, channel->fd);
    channel_released(channel);
}

const struct engine_ops reactor_engine = {
    .id = JD_ENGINE_REACTOR,
    .name = "reactor",
    .stream = &reactor_stream_ops,
    .sends_at_once = true,
    .create = reactor_create,
    .destroy = reactor_destroy,
    .wait = reactor_wait,
    .pollable = reactor_pollable,
    .prepare_wait = reactor_prepare_wait,
    .wake = reactor_wake,
    .now = reactor_now,
    .listen = listen_socket_open,
    .accept = acceptor_accept,
    .pause_accept = acceptor_pause,
    .unlisten = acceptor_unlisten,
    .connect = connector_connect,
    .abandon = connector_abandon,
    .adopt = reactor_adopt,
    .watch = reactor_watch,
    .unwatch = reactor_unwatch,
};
