/* Acceptor: accepts until the kernel has no more connections, edge-triggered, a budget a turn. Out of descriptors or
 * memory it stops, and tries again when a descriptor has been freed here or, as others may free some, now and then. */
#include "net/engine/listen_socket.h"
#include "net/reactor/reactor.h"

#include <jinduo/error.h>

enum { ACCEPT_BUDGET = 64 };

/* Of a listener's engine_flags. */
enum {
    LISTENER_STARVED = 1, /* on the list of those that ran out of descriptors or memory */
    LISTENER_READY = 2,   /* on the list of those that may have more to accept */
    LISTENER_WATCHED = 4, /* by the poller */
};

static void take_from(struct listener **list, struct listener *listener)
{
    while (*list != NULL && *list != listener)
        list = &(*list)->engine_next;
    if (*list != NULL)
        *list = listener->engine_next;
}

static void put_on(struct listener **list, struct listener *listener)
{
    listener->engine_next = *list;
    *list = listener;
}

static void starve(struct reactor *reactor, struct listener *listener, int error)
{
    reactor->retry_accept_at = jd_event_loop_now(reactor->engine.loop) + LISTEN_RETRY_NS;
    reactor->descriptor_freed = false;
    listener_set_flag(listener, LISTENER_STARVED);
    put_on(&reactor->starved_listeners, listener);
    listener_out_of_resources(listener, error);
}

/* Edge-triggered: what has come before is told as well, once (epoll(7)). */
static int watch(struct reactor *reactor, struct listener *listener)
{
    uint64_t token = reactor_token(TOKEN_LISTENER, (uint64_t)(uintptr_t)listener);
    int result = listener_has_flag(listener, LISTENER_WATCHED)
                     ? 0
                     : poller_add(&reactor->poller, listener->socket, EPOLLIN | EPOLLET, token);

    if (result == 0)
        listener_set_flag(listener, LISTENER_WATCHED);
    return result;
}

/* A callback may pause a listener, or close it: it is freed in a later task only. */
static bool is_accepting(const struct listener *listener)
{
    return listener->socket != SOCKET_NONE && !listener->paused;
}

static void accept_some(struct reactor *reactor, struct listener *listener)
{
    int result = is_accepting(listener) ? watch(reactor, listener) : 0;

    if (result < 0) {
        starve(reactor, listener, result);
        return;
    }
    for (int i = 0; i < ACCEPT_BUDGET && is_accepting(listener); i++) {
        struct peer_address peer;
        socket_handle socket;

        result = socket_accept(listener->socket, &socket, &peer);
        if (result == JD_EAGAIN)
            return;
        if (result < 0) {
            starve(reactor, listener, result);
            return;
        }
        listener->accepted(listener, socket, &peer);
    }
    if (is_accepting(listener) && !listener_has_flag(listener, LISTENER_READY)) {
        listener_set_flag(listener, LISTENER_READY);
        put_on(&reactor->ready_listeners, listener);
    }
}

void acceptor_event(struct reactor *reactor, struct listener *listener)
{
    if (!listener_has_flag(listener, LISTENER_STARVED | LISTENER_READY))
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
        listener_clear_flag(listener, LISTENER_READY | LISTENER_STARVED);
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

/* ---- asked for from above ---- */

/* No new edge comes for what has been queued meanwhile. */
void acceptor_accept(struct engine *engine, struct listener *listener)
{
    listener->paused = false;
    if (listener_has_flag(listener, LISTENER_READY | LISTENER_STARVED))
        return;
    listener_set_flag(listener, LISTENER_READY);
    put_on(&reactor_of(engine)->ready_listeners, listener);
}

void acceptor_pause(struct engine *engine, struct listener *listener)
{
    listener->paused = true;
    if (listener_has_flag(listener, LISTENER_READY))
        take_from(&reactor_of(engine)->ready_listeners, listener);
    listener_clear_flag(listener, LISTENER_READY);
}

static void leave(struct reactor *reactor, struct listener *listener)
{
    take_from(&reactor->ready_listeners, listener);
    take_from(&reactor->starved_listeners, listener);
    listener_clear_flag(listener, LISTENER_READY | LISTENER_STARVED);
    listen_socket_accept_rest(listener);
    if (listener_has_flag(listener, LISTENER_WATCHED))
        poller_remove(&reactor->poller, listener->socket);
}

void acceptor_unlisten(struct engine *engine, struct listener *listener)
{
    if (engine != NULL)
        leave(reactor_of(engine), listener);
    socket_close_listener(listener->socket, &listener->bound, &listener->path);
    listener->socket = SOCKET_NONE;
    listener_closed(listener);
}
