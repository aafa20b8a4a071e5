/* Acceptor: accepts until the kernel has no more connections, edge-triggered, a budget a turn. Out of descriptors or
 * memory it stops, and tries again when a descriptor has been freed here or, as others may free some, now and then. */
#include "net/reactor.h"

#include <jinduo/error.h>

enum {
    ACCEPT_BUDGET = 64,
    RETRY_AFTER_NS = 100 * 1000000,
};

int acceptor_listen(struct engine *engine, struct listener *listener)
{
    struct reactor *reactor = reactor_of(engine);
    uint64_t token = reactor_token(TOKEN_LISTENER, (uint64_t)(uintptr_t)listener);
    int result = socket_listen(&listener->socket, &listener->endpoint, &listener->options, &listener->bound);

    if (result < 0)
        return result;
    result = poller_add(&reactor->poller, listener->socket, EPOLLIN | EPOLLET, token);
    if (result < 0) {
        socket_close_listener(listener->socket, &listener->bound);
        listener->socket = SOCKET_NONE;
    }
    return result;
}

static void take_from(struct listener **list, struct listener *listener)
{
    while (*list != NULL && *list != listener)
        list = &(*list)->engine_next;
    if (*list != NULL)
        *list = listener->engine_next;
}

void acceptor_unlisten(struct engine *engine, struct listener *listener)
{
    struct reactor *reactor = reactor_of(engine);

    take_from(&reactor->ready_listeners, listener);
    take_from(&reactor->starved_listeners, listener);
    listener->engine_ready = listener->engine_starved = false;
    poller_remove(&reactor->poller, listener->socket);
    socket_close_listener(listener->socket, &listener->bound);
    listener->socket = SOCKET_NONE;
    listener_closed(listener);
}

static void put_on(struct listener **list, struct listener *listener)
{
    listener->engine_next = *list;
    *list = listener;
}

static void starve(struct reactor *reactor, struct listener *listener, int error)
{
    reactor->retry_accept_at = jd_event_loop_now(reactor->engine.loop) + RETRY_AFTER_NS;
    reactor->descriptor_freed = false;
    listener->engine_starved = true;
    put_on(&reactor->starved_listeners, listener);
    listener_starved(listener, error);
}

static void accept_some(struct reactor *reactor, struct listener *listener)
{
    for (int i = 0; i < ACCEPT_BUDGET; i++) {
        struct peer_address peer;
        socket_handle socket;
        int result = socket_accept(listener->socket, &socket, &peer);

        if (result == JD_EAGAIN)
            return;
        if (result < 0) {
            starve(reactor, listener, result);
            return;
        }
        listener->accepted(listener, socket, &peer);
        if (listener->socket == SOCKET_NONE) /* a callback has stopped it; it is freed in a later task only */
            return;
    }
    listener->engine_ready = true;
    put_on(&reactor->ready_listeners, listener);
}

void acceptor_event(struct reactor *reactor, struct listener *listener)
{
    if (listener->socket != SOCKET_NONE && !listener->engine_starved && !listener->engine_ready)
        accept_some(reactor, listener);
}

/* Runs each of a list once; those that come back to it meanwhile wait. One at a time from the list's own head, as a
 * callback may stop any of them. */
static unsigned run_list(struct reactor *reactor, struct listener **list)
{
    struct listener *waiting = *list;
    unsigned count = 0;

    for (struct listener *listener = waiting; listener != NULL; listener = listener->engine_next)
        count++;
    for (unsigned i = 0; i < count && *list != NULL; i++) {
        struct listener **last = list;
        struct listener *listener;
        while ((*last)->engine_next != NULL)
            last = &(*last)->engine_next;
        listener = *last; /* the oldest: others are put in front */
        *last = NULL;
        listener->engine_ready = listener->engine_starved = false;
        accept_some(reactor, listener);
    }
    return count;
}

unsigned acceptor_run_ready(struct reactor *reactor)
{
    return reactor->ready_listeners != NULL ? run_list(reactor, &reactor->ready_listeners) : 0;
}

unsigned acceptor_retry(struct reactor *reactor)
{
    if (!reactor->descriptor_freed && jd_event_loop_now(reactor->engine.loop) < reactor->retry_accept_at)
        return 0;
    reactor->descriptor_freed = false;
    return run_list(reactor, &reactor->starved_listeners);
}
